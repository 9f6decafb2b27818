//! Nodes that die, join and lose their majority, while PHP goes on.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use test_support::client;
use test_support::galera::{Galera, Timing};
use test_support::wait::{DEADLINE, wait_for, wait_until};
use tokio::time::Instant;

use crate::stand::{Seen, Stand, WATCHER, WATCHER_PASSWORD, Writers};

/// What the issue promises.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(3);
/// What PHP says of a node that is gone, or goes while it asks.
const LOST: [&str; 3] = ["Connection refused", "gone away", "Lost connection"];
/// For what Galera does, on a machine that is busy.
const PATIENCE: Duration = Duration::from_mins(1);

async fn cluster(flags: &[&str], timing: Timing) -> (Galera, Stand) {
    let cluster = Galera::start(3, &["site"], timing).await.unwrap();
    let password = WATCHER_PASSWORD.replace('\'', "''");
    for host in ["localhost", "127.0.0.1"] {
        // No privilege but to log in.
        cluster.sql(0, &format!("CREATE USER '{WATCHER}'@'{host}' IDENTIFIED BY '{password}'")).unwrap();
    }
    cluster.sql(0, "CREATE TABLE site.visit (id INT PRIMARY KEY, node INT NOT NULL) ENGINE=InnoDB").unwrap();
    let addresses = cluster.addresses();
    let stand = Stand::start(&[&["--galera", &addresses], flags].concat()).await;
    wait_until("three synced nodes", DEADLINE, async || {
        for node in 0..3 {
            if stand.state(cluster.address(node)).await != "synced" {
                return false;
            }
        }
        true
    })
    .await;
    (cluster, stand)
}

/// The node that PHP is told to write to.
async fn writer(cluster: &Galera, stand: &Stand) -> usize {
    let told = stand.told("GALERA_WRITER").await.unwrap();
    (0..3).find(|node| cluster.address(*node).to_string() == told).unwrap()
}

fn list(nodes: impl IntoIterator<Item = SocketAddr>) -> String {
    let texts: Vec<String> = nodes.into_iter().map(|node| node.to_string()).collect();
    texts.join(",")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_writer_is_replaced_and_not_at_once_put_back() {
    let (mut cluster, stand) = cluster(&[], Timing::Quick).await;
    let first = writer(&cluster, &stand).await;
    assert_eq!(cluster.status(first, "wsrep_local_index"), "0", "the lowest index");
    assert_eq!(stand.told("GALERA_READERS").await.unwrap(), list((0..3).map(|node| cluster.address(node))));

    let writers = Writers::start(4, stand.address(), 1000);
    wait_until("the first rows", DEADLINE, async || writers.written() > 50).await;
    let killed = Instant::now();
    cluster.kill9(first);
    let second = wait_for("another writer", DEADLINE, async || {
        let now = writer(&cluster, &stand).await;
        (now != first).then_some(now)
    })
    .await;
    let announced = Instant::now();
    assert!(announced - killed < ANNOUNCED_WITHIN, "after {:?}", announced - killed);
    let so_far = writers.written();
    wait_until("rows on the new writer", PATIENCE, async || writers.written() > so_far + 100).await;
    let writing = Instant::now();
    let seen = writers.stop().await;

    // The least possible: who was with the killed node, and who was sent to it before its silence was noticed. Whoever
    // came later waited until Galera had given the dead member up, and was served.
    let failed: Vec<&Seen> = seen.iter().filter(|seen| seen.status != Some(200)).collect();
    for seen in &failed {
        assert_eq!(seen.status, Some(500), "{seen:?}");
        assert!(LOST.iter().any(|reason| seen.body.contains(reason)), "{seen:?}");
        assert!(
            seen.ended > killed && seen.began < announced,
            "{seen:?}, killed {killed:?}, announced {announced:?}"
        );
    }
    println!(
        "\nnote: a killed writer: announced after {} ms, rows again after {} ms, {} of {} requests failed, all begun before \
         the announcement",
        (announced - killed).as_millis(),
        (writing - killed).as_millis(),
        failed.len(),
        seen.len(),
    );
    // Those whose node died under them were asked again, with the new one.
    let struck = seen.iter().filter(|seen| seen.began < announced && seen.ended > announced).count();
    assert!(struck > 0, "the writer was killed under load");
    // What was answered well is there; what failed may be there, if the answer was lost.
    let stored: BTreeSet<usize> = cluster
        .sql(second, "SELECT id FROM site.visit")
        .unwrap()
        .lines()
        .map(|id| id.parse().unwrap())
        .collect();
    for seen in seen.iter().filter(|seen| seen.status == Some(200)) {
        assert!(stored.contains(&seen.id), "acknowledged and lost: {seen:?}");
    }
    let others: Vec<SocketAddr> =
        (0..3).filter(|node| *node != first).map(|node| cluster.address(node)).collect();
    assert_eq!(stand.told("GALERA_READERS").await.unwrap(), list(others));

    // Back, with the lowest index perhaps: it is read from, and not written to.
    cluster.restart(first).await.unwrap();
    wait_until("three readers", PATIENCE, async || {
        stand.told("GALERA_READERS").await.unwrap() == list((0..3).map(|node| cluster.address(node)))
    })
    .await;
    let until = Instant::now() + Duration::from_secs(3);
    wait_until("six questions and more", DEADLINE, async || {
        assert_ne!(writer(&cluster, &stand).await, first);
        Instant::now() > until
    })
    .await;
    // Another gateway begins now: it knows nothing of the past, and both work on one cluster.
    let flags = ["--galera", &cluster.addresses(), "--galera-hold=1s"];
    let other = Stand::start(&flags).await;
    let chosen = wait_for("its writer", DEADLINE, async || other.told("GALERA_WRITER").await).await;
    let lowest = (0..3).find(|node| cluster.status(*node, "wsrep_local_index") == "0").unwrap();
    assert_eq!(chosen, cluster.address(lowest).to_string());
}

/// It holds its connections and says nothing: only time tells.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_writer_is_replaced() {
    let (cluster, stand) = cluster(&["--galera-timeout=500ms"], Timing::Quick).await;
    let first = writer(&cluster, &stand).await;
    let writers = Writers::start(2, stand.address(), 200_000);
    wait_until("the first rows", DEADLINE, async || writers.written() > 20).await;
    let frozen = Instant::now();
    cluster.freeze(first).unwrap();
    wait_until("another writer", DEADLINE, async || writer(&cluster, &stand).await != first).await;
    let announced = Instant::now();
    assert!(announced - frozen < ANNOUNCED_WITHIN, "after {:?}", announced - frozen);
    let so_far = writers.written();
    wait_until("rows on the new writer", PATIENCE, async || writers.written() > so_far + 50).await;
    assert_eq!(stand.state(cluster.address(first)).await, "silent");
    cluster.thaw(first).unwrap();
    let seen = writers.stop().await;
    let failed: Vec<&Seen> = seen.iter().filter(|seen| seen.status != Some(200)).collect();
    for seen in &failed {
        assert!(
            seen.ended > frozen && seen.began < announced,
            "{seen:?}, frozen {frozen:?}, announced {announced:?}"
        );
    }
    println!(
        "\nnote: a frozen writer: announced after {} ms, {} of {} requests failed, all begun before the announcement",
        (announced - frozen).as_millis(),
        failed.len(),
        seen.len()
    );
    // It wakes up, sees that it was given up, and joins again.
    wait_until("three readers", PATIENCE, async || {
        stand.told("GALERA_READERS").await.unwrap() == list((0..3).map(|node| cluster.address(node)))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_is_used_when_it_is_synced() {
    let (mut cluster, stand) = cluster(&[], Timing::Usual).await;
    let (address, current) = (cluster.address(2).to_string(), writer(&cluster, &stand).await);
    assert_ne!(current, 2);
    cluster.stop(2).await.unwrap();
    // While it is away a good deal is written: it has to catch up after the transfer.
    cluster.forget(2).unwrap();
    cluster
        .sql(0, "CREATE TABLE site.bulk (id INT AUTO_INCREMENT PRIMARY KEY, text LONGTEXT) ENGINE=InnoDB")
        .unwrap();
    for _ in 0..20 {
        cluster.sql(0, "INSERT INTO site.bulk (text) VALUES (REPEAT('x', 2000000))").unwrap();
    }
    wait_until("two readers", DEADLINE, async || {
        !stand.told("GALERA_READERS").await.unwrap().contains(&address)
    })
    .await;
    let writers = Writers::start(2, stand.address(), 100_000);
    cluster.begin(2).unwrap();
    let mut states = BTreeSet::new();
    let (mut synced, mut donors) = (false, BTreeSet::new());
    wait_until("the node to be used", PATIENCE, async || {
        // In this order: what is told now was known before.
        let used = stand.told("GALERA_READERS").await.is_some_and(|readers| readers.contains(&address));
        synced |= cluster.status(2, "wsrep_local_state_comment") == "Synced";
        assert!(!used || synced, "used before it is synced");
        states.insert(stand.state(cluster.address(2)).await);
        for node in 0..2 {
            if stand.state(cluster.address(node)).await == "donor" {
                donors.insert(node);
                let told = stand.told("GALERA_WRITER").await.unwrap();
                let busy = stand.state(cluster.address(node)).await == "donor";
                assert!(!busy || told != cluster.address(node).to_string(), "a donor is not written to");
            }
        }
        used
    })
    .await;
    assert!(synced && states.contains("synced"), "{states:?}");
    assert!(cluster.log(2).contains("rsync SST completed on joiner"), "{}", cluster.log(2));
    let seen = writers.stop().await;
    let failed = seen.iter().filter(|seen| seen.status != Some(200)).count();
    println!(
        "\nnote: a node joins: states {states:?}, donors {donors:?}, {failed} of {} requests failed",
        seen.len()
    );
    assert_eq!(failed, 0, "{:?}", seen.iter().find(|seen| seen.status != Some(200)));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_requests_are_refused_at_once() {
    let (mut cluster, stand) = cluster(&[], Timing::Quick).await;
    cluster.kill9(1);
    cluster.kill9(2);
    wait_until("the cluster to be lost", PATIENCE, async || stand.status().await["shedding"] == "no_primary")
        .await;
    let status = stand.status().await;
    assert_eq!(
        (&status["galera"]["availability"], &status["galera"]["alarms"][0]),
        (&"no_primary".into(), &"lost".into())
    );
    assert!(
        stand.gateway.is_ready().await,
        "the gateway is well: it answers, and nobody else would do better"
    );

    let (began, before) = (Instant::now(), stand.metric("fpm_gateway_shedding_probes_total").await);
    let (mut refused, mut tried) = (0, 0);
    while began.elapsed() < Duration::from_secs(4) {
        let page = client::get(stand.address(), &format!("/write.php?id={tried}"), &[]).await.unwrap();
        match page.status {
            503 => {
                assert_eq!(page.header("retry-after"), Some("5"));
                refused += 1;
            }
            500 => tried += 1,
            other => panic!("{other}: {}", page.text()),
        }
        let post = client::request(stand.address(), "POST", "/write.php?id=1", &[], b"").await.unwrap();
        assert_eq!(post.status, 503, "nothing is done in vain");
    }
    let probes = stand.metric("fpm_gateway_shedding_probes_total").await - before;
    assert!(
        (1.0..=f64::from(u32::try_from(began.elapsed().as_secs()).unwrap()) + 1.5).contains(&probes),
        "{probes}"
    );
    assert_eq!(probes, f64::from(tried), "the probes are the ones that ran");
    assert!(refused > 50, "{refused}: they did not wait");
    println!("\nnote: no majority: {refused} requests refused at once, {tried} probes in 4 s");

    // An operator says that this node has the truth.
    cluster.sql(0, "SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'").unwrap();
    wait_until("to be served again", PATIENCE, async || {
        client::get(stand.address(), "/write.php?id=9999", &[]).await.unwrap().status == 200
    })
    .await;
    assert_eq!(writer(&cluster, &stand).await, 0);
    for node in [1, 2] {
        cluster.restart(node).await.unwrap();
    }
    wait_until("three readers", PATIENCE, async || {
        stand.told("GALERA_READERS").await.unwrap() == list((0..3).map(|node| cluster.address(node)))
    })
    .await;
    assert_eq!(stand.status().await["galera"]["alarms"].as_array().unwrap().len(), 0);
}
