//! Replicas from a name, whose answers are partial, empty, wrong, late or none.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use test_support::php_fpm::PhpFpm;
use test_support::process::free_port;
use test_support::wait::{DEADLINE, wait_until};
use tokio::time::Instant;

use crate::asking::Ask;
use crate::load::Load;
use crate::names::{Answer, Names};
use crate::pair::{Pair, WORKERS, replica};

const A: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// None may fail: an answer that names no replica takes none away, and one that is no longer named ends what it has.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_dns_says_no_request_fails() {
    let port = free_port().unwrap();
    let pool = |address| {
        let address = SocketAddr::new(IpAddr::V4(address), port);
        PhpFpm::builder().on(address).max_children(WORKERS.try_into().unwrap())
    };
    let replicas = [replica(pool(A), "a").await, replica(pool(B), "b").await];
    let names = Names::start(Answer::Addresses(vec![A, B])).await;
    let (upstream, server) = (format!("dns://tasks.phpfpm:{port}"), names.address().to_string());
    let flags = ["--upstream", &upstream, "--dns-server", &server, "--dns-interval", "100ms"];
    let pair = Pair::before(replicas, &flags).await;
    pair.wait_usable(1, true, DEADLINE).await;
    let load = Load::start(&pair.ways(), 8, |_| Ask::get("do=page&ms=30"));
    load.more(100).await;

    // No answer of these says anything of the replicas: both stay.
    let late = Answer::Late(Duration::from_millis(700), vec![A, B]);
    for bad in [Answer::Empty, Answer::Failure, Answer::NoSuchName, late, Answer::Silence] {
        names.say(bad.clone());
        let (asked, from) = (names.asked(), Instant::now());
        wait_until("DNS to be asked three times more", DEADLINE, async || names.asked() >= asked + 3).await;
        load.more(50).await;
        for index in 0..2 {
            let status = pair.status(index).await;
            assert_eq!((&status["usable"], &status["leaving"]), (&true.into(), &false.into()), "{bad:?}");
        }
        note!("gateway: DNS answers {}: both replicas stay in use", name(&bad));
        assert!(from.elapsed() < DEADLINE);
    }

    // One is no longer named: it ends what it has, and is gone.
    names.say(Answer::Addresses(vec![A]));
    wait_until("the replica to be gone", DEADLINE, async || pair.status(1).await.is_null()).await;
    let alone = Instant::now();
    load.more(50).await;
    let both = Instant::now();
    names.say(Answer::Addresses(vec![B, A]));
    pair.wait_usable(1, true, Duration::from_secs(2)).await;
    load.more(100).await;
    let tally = load.stop().await;
    assert_eq!(tally.served_by("b", alone, both), 0, "it was not named");
    assert!(tally.served_by("b", both, Instant::now()) > 0, "it was named again");
    tally.assert_none_failed("DNS answers empty, failing, late, not at all, partial");
}

const fn name(answer: &Answer) -> &'static str {
    match answer {
        Answer::Addresses(_) => "addresses",
        Answer::Empty => "without addresses",
        Answer::Failure => "SERVFAIL",
        Answer::NoSuchName => "NXDOMAIN",
        Answer::Silence => "not at all",
        Answer::Late(..) => "late",
    }
}
