//! Replicas that go away and come back under load.

use std::time::Duration;

use common::fastcgi::{ResponseDecoder, ResponseEvent, io};
use common::net::Endpoint;
use rustix::process::{Pid, Signal, kill_process};
use test_support::client::{Client, End};
use test_support::php_fpm::PhpFpm;
use test_support::wait::{DEADLINE, wait_until};
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use crate::asking::{Ask, request};
use crate::load::Load;
use crate::pair::Pair;

/// One request fails, whose response had begun: half of it is with the client, which cannot be taken back. Of the rest
/// none does, since the other workers go on and the master starts another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_the_middle_of_a_response() {
    let pair = Pair::start(&[]).await;
    let load = Load::start(&pair.ways(), 6, |_| Ask::get("do=page&ms=20"));
    load.more(50).await;

    // By FastCGI: what comes before END_REQUEST is no whole response.
    let mut stream = Endpoint::Tcp(pair.gateway.address()).connect(DEADLINE).await.unwrap();
    let mut out = request(&pair.files.script().to_string_lossy(), &Ask::get("do=stream&ms=10000"));
    stream.write_all_buf(&mut out).await.unwrap();
    let mut decoder = ResponseDecoder::new(1);
    let Ok(Some(ResponseEvent::Stdout(first))) = io::response(&mut stream, &mut decoder).await else {
        panic!("no response");
    };
    let first = String::from_utf8_lossy(&first).into_owned();
    kill(first.lines().find_map(|line| line.strip_prefix("X-Worker: ")).unwrap());
    let end = tokio::time::timeout(Duration::from_secs(5), async {
        loop {
            match io::response(&mut stream, &mut decoder).await {
                Ok(Some(ResponseEvent::Stdout(_) | ResponseEvent::Stderr(_))) => {}
                end => break end,
            }
        }
    });
    let end = end.await.unwrap();
    assert!(!matches!(end, Ok(Some(_))), "cut: {end:?}");

    // Through web-proxy: the body ends without its last chunk.
    let mut client = Client::connect(pair.web.address()).await.unwrap();
    client.send("GET /app.php?do=stream&ms=10000 HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let head = client.response_head("GET").await.unwrap();
    kill(head.header("x-worker").unwrap());
    assert_eq!(client.drain(head.framing, |_| ()).await.unwrap(), End::Truncated);

    load.more(100).await;
    load.stop()
        .await
        .assert_none_failed("a worker killed in the middle of its response, those of the others");
    let replicas = &pair.replicas;
    wait_until("workers in the place of the killed", DEADLINE, async || {
        replicas.iter().all(|replica| replica.workers().len() == crate::pair::WORKERS)
    })
    .await;
    pair.wait_idle(DEADLINE).await;
}

/// None may fail: who has done its requests ends between two of them, and PHP-FPM's socket stays.
#[tokio::test(flavor = "multi_thread")]
async fn workers_that_are_recycled() {
    let pool = PhpFpm::builder().tcp().pool("pm.max_requests", "5");
    let pair = Pair::start_with(pool, &[]).await;
    let load = Load::start(&pair.ways(), 8, |n| match n % 4 {
        0 => Ask::post("do=page&ms=5"),
        1 => Ask::get("do=page&ms=5&behind=10"),
        _ => Ask::get("do=page&ms=5"),
    });
    load.more(800).await;
    load.stop().await.assert_none_failed("workers recycled after 5 requests each");
}

/// None may fail: with process_control_timeout workers end what they have, and the socket outlives the reload.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_reloaded() {
    let pair = Pair::start(&[]).await;
    let load = Load::start(&pair.ways(), 8, |n| match n % 4 {
        0 => Ask::post("do=page&ms=30"),
        1 => Ask::get("do=stream&ms=60"),
        _ => Ask::get("do=page&ms=30"),
    });
    load.more(50).await;
    for round in 0..3 {
        let replica = &pair.replicas[round % 2];
        let before = replica.workers();
        replica.reload().unwrap();
        wait_until("other workers", DEADLINE, async || {
            let now = replica.workers();
            now.len() == before.len() && !now.iter().any(|worker| before.contains(worker))
        })
        .await;
        load.more(50).await;
    }
    load.stop().await.assert_none_failed("a replica reloaded (SIGUSR2) three times");
}

/// All that comes while nobody is there is told when to return, at once or after `retry-timeout`. When one replica is
/// back it is used, without a restart of the gateway.
#[tokio::test(flavor = "multi_thread")]
async fn all_replicas_gone_and_back() {
    let mut pair = Pair::start(&["--retry-timeout", "500ms"]).await;
    let load = Load::start(&pair.ways(), 6, |_| Ask::get("do=page&ms=10"));
    load.more(50).await;
    for replica in &mut pair.replicas {
        replica.kill9();
    }
    let gone = Instant::now();
    load.more(50).await;
    assert!(!pair.gateway.is_ready().await, "/readyz says so");
    pair.replicas[1].restart().await.unwrap();
    let back = Instant::now();
    pair.wait_usable(1, true, Duration::from_secs(2)).await;
    let usable = Instant::now();
    load.more(100).await;
    assert!(pair.gateway.is_ready().await);
    let tally = load.stop().await;
    tally.note("all replicas killed, one back");
    let failed = tally.failed();
    assert!(!failed.is_empty());
    for seen in failed {
        // Its client has seen nothing of a response: it is told, not cut off.
        assert!(seen.is_told() && seen.ended >= gone, "{seen:?}");
        assert!(seen.ended - seen.began < Duration::from_millis(1500), "{seen:?}");
        assert!(seen.began < usable, "refused after it was back: {seen:?}");
    }
    note!("gateway: a replica that is back is used after {} ms", (usable - back).as_millis());
}

fn kill(pid: &str) {
    kill_process(Pid::from_raw(pid.trim().parse().unwrap()).unwrap(), Signal::KILL).unwrap();
}
