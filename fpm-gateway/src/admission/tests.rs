#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::future::Future;
use std::pin::Pin;

use futures_util::FutureExt as _;

use super::*;

const LIMITS: Limits = Limits {
    queue_length: 3,
    queue_timeout: Duration::from_secs(10),
    patience: Duration::from_secs(2),
    workers_per_upstream: 1,
};

fn endpoints(count: u16) -> Vec<Endpoint> {
    (1..=count).map(|port| Endpoint::Tcp(([127, 0, 0, 1], port).into())).collect()
}

/// A request that waits, as a future that the test polls when it wants to know.
type Waits = Pin<Box<dyn Future<Output = Result<Permit, Refusal>>>>;

fn waits(admission: &Arc<Admission>) -> Waits {
    let admission = Arc::clone(admission);
    let visit = admission.arrive();
    let mut waits: Waits = Box::pin(async move { admission.admit(&visit).await });
    assert!(waits.as_mut().now_or_never().is_none(), "has to wait");
    waits
}

async fn takes(admission: &Arc<Admission>) -> Result<Permit, Refusal> {
    admission.admit(&admission.arrive()).await
}

#[tokio::test(start_paused = true)]
async fn first_come_first_served() {
    let admission = Admission::new(LIMITS);
    admission.follow(&endpoints(1));
    let held = takes(&admission).await.unwrap();
    let (first, mut second, third) = (waits(&admission), waits(&admission), waits(&admission));
    assert_eq!(takes(&admission).await.unwrap_err(), Refusal::QueueFull { length: 3 });

    drop(held);
    assert!(second.as_mut().now_or_never().is_none(), "the first is first");
    let held = first.now_or_never().unwrap().unwrap();
    // One that leaves gives its place up.
    drop(second);
    assert_eq!(admission.snapshot().1, 1);
    drop(held);
    let held = third.now_or_never().unwrap().unwrap();
    drop(held);
    assert_eq!(admission.snapshot().0[0].busy, 0);
    takes(&admission).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_who_left_with_a_permit_leaves_it() {
    let admission = Admission::new(LIMITS);
    admission.follow(&endpoints(1));
    let held = takes(&admission).await.unwrap();
    let (first, second) = (waits(&admission), waits(&admission));
    drop(held); // It is the first's now, who does not look.
    drop(first);
    second.now_or_never().unwrap().unwrap();
    assert_eq!(admission.snapshot().0[0].busy, 0);
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_the_deadline() {
    let admission = Admission::new(LIMITS);
    admission.follow(&endpoints(1));
    let _held = takes(&admission).await.unwrap();
    let before = Instant::now();
    let refusal = waits(&admission).await.unwrap_err();
    assert_eq!(refusal, Refusal::QueueTimeout(LIMITS.queue_timeout));
    assert_eq!(before.elapsed(), LIMITS.queue_timeout);
    assert_eq!(admission.snapshot().1, 0);
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_waited_out_for_a_while_only() {
    let admission = Admission::new(LIMITS);
    let replica = admission.follow(&endpoints(1)).remove(0).id;
    admission.note(replica, Sign::Unreachable);
    let before = Instant::now();
    let (mut early, late) = (waits(&admission), waits(&admission));
    tokio::time::advance(Duration::from_millis(1500)).await;
    assert!(early.as_mut().now_or_never().is_none());
    assert_eq!(early.await.unwrap_err(), Refusal::Unavailable);
    assert_eq!(before.elapsed(), LIMITS.patience, "counted from the outage's beginning");
    drop(late);
    // Whoever comes later knows at once.
    tokio::time::advance(Duration::from_secs(5)).await;
    let before = Instant::now();
    assert_eq!(takes(&admission).await.unwrap_err(), Refusal::Unavailable);
    assert_eq!(before.elapsed(), Duration::ZERO);
    // And when it is over, those who wait go on.
    admission.note(replica, Sign::Alive);
    let held = takes(&admission).await.unwrap();
    admission.note(replica, Sign::Unreachable);
    let waiting = waits(&admission);
    drop(held);
    admission.note(replica, Sign::Alive);
    waiting.now_or_never().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_keeps_its_place() {
    let admission = Admission::new(LIMITS);
    let replicas = admission.follow(&endpoints(2));
    let visit = admission.arrive();
    let first = admission.admit(&visit).await.unwrap();
    let _second = takes(&admission).await.unwrap();
    let mut later = waits(&admission);
    // It cannot be connected to: back to the queue, in front of who came after.
    first.note(Sign::Unreachable);
    drop(first);
    let mut again = Box::pin(admission.admit(&visit));
    assert!(again.as_mut().now_or_never().is_none());
    admission.note(replicas[0].id, Sign::Alive);
    admission.note(replicas[1].id, Sign::Alive);
    assert!(later.as_mut().now_or_never().is_none());
    let _permit = again.now_or_never().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_finds_its_place_in_a_full_queue() {
    let admission = Admission::new(LIMITS);
    let replicas = admission.follow(&endpoints(2));
    let visit = admission.arrive();
    let first = admission.admit(&visit).await.unwrap();
    let second = takes(&admission).await.unwrap();
    let _later = (waits(&admission), waits(&admission), waits(&admission));
    first.note(Sign::Unreachable);
    drop(first);
    let mut again = Box::pin(admission.admit(&visit));
    assert!(again.as_mut().now_or_never().is_none());
    assert_eq!(takes(&admission).await.unwrap_err(), Refusal::QueueFull { length: 4 });
    drop(second);
    let _permit = again.now_or_never().unwrap().unwrap();
    assert_eq!((replicas.len(), admission.snapshot().1), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn a_probe_takes_only_what_nobody_wants() {
    let admission = Admission::new(LIMITS);
    let replica = admission.follow(&endpoints(1)).remove(0).id;
    let probe = admission.spare(replica).unwrap();
    assert!(admission.spare(replica).is_none(), "full");
    let waiting = waits(&admission);
    drop(probe);
    let held = waiting.now_or_never().unwrap().unwrap();
    drop(held);
    assert!(admission.spare(replica).is_some());
}
