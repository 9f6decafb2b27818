//! Replicas that are killed, stopped or frozen while they work.

use std::time::Duration;

use rustix::process::Signal;
use test_support::wait::DEADLINE;
use tokio::time::Instant;

use crate::asking::{Ask, Seen};
use crate::load::Load;
use crate::pair::{Pair, WORKERS};

/// What is lost is what was with the killed replica and may not be done twice: responses that had begun, and POSTs, of
/// which nobody knows whether they were done. That is at most one for each of its workers. Pages that had not begun are
/// asked of the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_killed_under_load() {
    let mut pair = Pair::start(&["--slow-start", "0s"]).await;
    let load = Load::start(&pair.ways(), 8, |n| match n % 4 {
        0 => Ask::post("do=page&ms=40"),
        1 => Ask::get("do=stream&ms=60"),
        _ => Ask::get("do=page&ms=40"),
    });
    load.more(100).await;
    let before = Instant::now();
    pair.replicas[0].kill9();
    let dead = Instant::now();
    load.more(100).await;
    pair.replicas[0].restart().await.unwrap();
    // It may have been ejected, for five seconds, before it could not be connected to.
    pair.wait_usable(0, true, Duration::from_secs(7)).await;
    let back = Instant::now();
    load.more(200).await;
    let tally = load.stop().await;
    tally.note("a replica killed under load");
    let failed = tally.failed();
    assert!(failed.len() <= WORKERS, "{} of {WORKERS} workers: {failed:#?}", failed.len());
    for seen in failed {
        assert!(seen.began <= dead && seen.ended >= before, "it had a worker of the killed: {seen:?}");
        let begun = seen.status == Some(200) && !seen.complete;
        let lost = seen.ask.method == "POST" && seen.status == Some(502);
        assert!(begun || lost, "{seen:?}");
    }
    assert!(tally.served_by("a", back, Instant::now()) > 0, "the replica is used again");
}

/// The same with pages alone: none fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_killed_before_it_has_answered() {
    let mut pair = Pair::start(&[]).await;
    let load = Load::start(&pair.ways(), 8, |_| Ask::get("do=page&ms=40"));
    load.more(100).await;
    pair.replicas[1].kill9();
    load.more(200).await;
    load.stop().await.assert_none_failed("a replica killed before it had answered, GET");
}

/// None fails: workers end what they have, and what waits in the socket that closes has had no answer, so that it is
/// asked of the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_stopped_gracefully() {
    let mut pair = Pair::start(&["--slow-start", "0s"]).await;
    let load = Load::start(&pair.ways(), 8, |n| match n % 3 {
        0 => Ask::get("do=stream&ms=100"),
        1 => Ask::get("do=page&ms=30&behind=30"),
        _ => Ask::get("do=page&ms=30"),
    });
    load.more(50).await;
    for _ in 0..2 {
        pair.replicas[0].stop().await.unwrap();
        load.more(50).await;
        pair.replicas[0].restart().await.unwrap();
        pair.wait_usable(0, true, Duration::from_secs(2)).await;
        load.more(50).await;
    }
    load.stop().await.assert_none_failed("a replica stopped gracefully (SIGQUIT) twice, GET");
}

/// A POST that was in the socket when it closed is answered 502: PHP-FPM took it off the network, and it could have been
/// done. At most one for each worker that was free to be given one. Those that had a worker end.
#[tokio::test(flavor = "multi_thread")]
async fn posts_to_a_replica_that_is_stopped_gracefully() {
    let mut pair = Pair::start(&[]).await;
    let load = Load::start(&pair.ways(), 8, |_| Ask::post("do=page&ms=30"));
    load.more(100).await;
    pair.replicas[0].stop().await.unwrap();
    load.more(100).await;
    let tally = load.stop().await;
    tally.note("a replica stopped gracefully (SIGQUIT), POST");
    let failed = tally.failed();
    assert!(failed.len() <= WORKERS, "{failed:#?}");
    assert!(failed.iter().all(|seen| seen.status == Some(502) && seen.complete), "{failed:#?}");
}

/// Nobody asks it anything: probes find out, and no request fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_replica_that_is_idle() {
    let pair = Pair::start(&[]).await;
    assert!(ask(&pair, "do=page").await.is_good());
    pair.wait_idle(DEADLINE).await;
    pair.replicas[0].signal_all(Signal::STOP).unwrap();
    // Three probes, each half a second after the one before, with a second's time.
    pair.wait_usable(0, false, Duration::from_secs(8)).await;
    for _ in 0..10 {
        let seen = ask(&pair, "do=page").await;
        assert!(seen.is_good() && seen.replica.as_deref() == Some("b"), "{seen:?}");
    }
    pair.replicas[0].signal_all(Signal::CONT).unwrap();
    pair.wait_usable(0, true, Duration::from_secs(3)).await;
}

/// What a frozen replica has taken it may do when it is thawed, so that it is asked of nobody else: 504 after
/// `read-timeout`, for each of its workers. Time-outs eject it, the fifth in a row: by then its four workers have been
/// given a second request each.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_replica_under_load() {
    let pair = Pair::start(&["--read-timeout", "1s", "--slow-start", "0s"]).await;
    let load = Load::start(&pair.ways(), 8, |_| Ask::get("do=page&ms=20"));
    load.more(100).await;
    pair.replicas[0].signal_all(Signal::STOP).unwrap();
    let frozen = Instant::now();
    pair.wait_usable(0, false, Duration::from_secs(5)).await;
    let ejected = Instant::now();
    load.more(200).await;
    pair.replicas[0].signal_all(Signal::CONT).unwrap();
    let thawed = Instant::now();
    pair.wait_usable(0, true, Duration::from_secs(8)).await;
    let back = Instant::now();
    load.more(200).await;
    let tally = load.stop().await;
    tally.note("a replica frozen (SIGSTOP) under load");
    note!("gateway: a frozen replica out of use after {} ms", (ejected - frozen).as_millis());
    let failed = tally.failed();
    assert!(!failed.is_empty() && failed.len() <= 2 * WORKERS, "{}: {failed:#?}", failed.len());
    for seen in failed {
        assert_eq!((seen.status, seen.complete), (Some(504), true), "{seen:?}");
        assert!(
            seen.began < ejected + Duration::from_millis(100),
            "given to it when it was out of use: {seen:?}"
        );
        assert!(seen.ended - seen.began < Duration::from_secs(3), "{seen:?}");
    }
    assert_eq!(tally.served_by("a", ejected, thawed), 0);
    assert!(tally.served_by("a", back, Instant::now()) > 0, "it is used again");
}

async fn ask(pair: &Pair, query: &str) -> Seen {
    crate::asking::Asker::new(pair.straight()).ask(Ask::get(query)).await
}
