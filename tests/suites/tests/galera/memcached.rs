//! memcached servers that die and come back.

use std::time::Duration;

use test_support::memcached::Memcached;
use test_support::process::free_port;
use test_support::wait::{DEADLINE, wait_until};

use crate::stand::Stand;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_keeps_its_place_and_costs_workers() {
    let mut servers = [Memcached::start().await.unwrap(), Memcached::start().await.unwrap()];
    let mut addresses = servers.each_ref().map(|server| server.address().to_string());
    let flags = ["--memcached", &[&*addresses[1], &*addresses[0]].join(","), "--memcached-hold=5s"];
    let stand = Stand::start(&flags).await;
    addresses.sort();
    let both = addresses.join(",");
    assert_eq!(stand.told("MEMCACHED_SERVERS").await.unwrap(), both, "sorted");
    let share = async || stand.metric("fpm_gateway_memcached_workers_share").await;
    wait_until("both to answer", DEADLINE, async || stand.status().await["memcached"]["up"] == 2).await;
    assert_eq!(share().await, 1.0);

    servers[0].kill9();
    wait_until("three quarters of the workers", DEADLINE, async || share().await == 0.75).await;
    assert_eq!(stand.told("MEMCACHED_SERVERS").await.unwrap(), both, "its place is kept");
    servers[1].kill9();
    wait_until("half of the workers", DEADLINE, async || share().await == 0.5).await;
    wait_until("the end of the hold time", DEADLINE, async || {
        stand.told("MEMCACHED_SERVERS").await.as_deref() == Some("")
    })
    .await;
    assert!(stand.gateway.is_ready().await);

    for server in &mut servers {
        server.restart().await.unwrap();
    }
    wait_until("all as before", DEADLINE, async || {
        share().await == 1.0 && stand.told("MEMCACHED_SERVERS").await.unwrap() == both
    })
    .await;
    let status = stand.status().await;
    let server = &status["memcached"]["servers"][0];
    assert_eq!(server["state"], "up");
    assert!(server["version"].as_str().unwrap().starts_with("1."), "{server}");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_the_workers_are_busy_at_most_without_memcached() {
    let dead = format!("127.0.0.1:{}", free_port().unwrap());
    let stand = Stand::start(&["--memcached", &dead]).await;
    std::fs::write(stand.docroot().join("slow.php"), "<?php usleep(300000); echo 'done';").unwrap();
    wait_until("the cap", DEADLINE, async || {
        stand.metric("fpm_gateway_memcached_workers_share").await == 0.5
    })
    .await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..24 {
        let address = stand.address();
        clients
            .spawn(async move { test_support::client::get(address, "/slow.php", &[]).await.unwrap().status });
    }
    let mut most = 0.0_f64;
    while !clients.is_empty() {
        most = most.max(stand.metric("fpm_gateway_in_flight").await);
        while let Some(status) = clients.try_join_next() {
            assert_eq!(status.unwrap(), 200, "they wait, and are served");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(most, 4.0, "half of eight");
}
