#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::future::Future;
use std::pin::Pin;

use futures_util::FutureExt as _;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(10);
const ROUTE: Route = Route { lane: Lane::Anonymous, cap: None };
const LIMITS: Limits = Limits {
    queue_length: 3,
    queue_timeout: [TIMEOUT; 3],
    shares: Shares { interactive_reserve: 0, background_limit: 25 },
    patience: Duration::from_secs(2),
    workers_per_upstream: 1,
    slow_start: Duration::ZERO,
};

fn endpoints(count: u16) -> Vec<Endpoint> {
    (1..=count).map(|port| Endpoint::Tcp(([127, 0, 0, 1], port).into())).collect()
}

/// A request that waits, as a future that the test polls when it wants to know.
type Waits = Pin<Box<dyn Future<Output = Result<Permit, Refusal>>>>;

fn waits(admission: &Arc<Admission>) -> Waits {
    let admission = Arc::clone(admission);
    let visit = admission.arrive(ROUTE);
    let mut waits: Waits = Box::pin(async move { admission.admit(&visit).await });
    assert!(waits.as_mut().now_or_never().is_none(), "has to wait");
    waits
}

async fn takes(admission: &Arc<Admission>) -> Result<Permit, Refusal> {
    admission.admit(&admission.arrive(ROUTE)).await
}

#[tokio::test(start_paused = true)]
async fn first_come_first_served() {
    let admission = Admission::new(LIMITS, Vec::new());
    admission.follow(&endpoints(1));
    let held = takes(&admission).await.unwrap();
    let (first, mut second, third) = (waits(&admission), waits(&admission), waits(&admission));
    assert_eq!(takes(&admission).await.unwrap_err(), Refusal::QueueFull { length: 3 });

    drop(held);
    assert!(second.as_mut().now_or_never().is_none(), "the first is first");
    let held = first.now_or_never().unwrap().unwrap();
    // One that leaves gives its place up.
    drop(second);
    assert_eq!(admission.overview().queued(), 1);
    drop(held);
    let held = third.now_or_never().unwrap().unwrap();
    drop(held);
    assert_eq!(admission.overview().replicas[0].busy, 0);
    takes(&admission).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_who_left_with_a_permit_leaves_it() {
    let admission = Admission::new(LIMITS, Vec::new());
    admission.follow(&endpoints(1));
    let held = takes(&admission).await.unwrap();
    let (first, second) = (waits(&admission), waits(&admission));
    drop(held); // It is the first's now, who does not look.
    drop(first);
    second.now_or_never().unwrap().unwrap();
    assert_eq!(admission.overview().replicas[0].busy, 0);
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_the_deadline() {
    let admission = Admission::new(LIMITS, Vec::new());
    admission.follow(&endpoints(1));
    let _held = takes(&admission).await.unwrap();
    let before = Instant::now();
    let refusal = waits(&admission).await.unwrap_err();
    assert_eq!(refusal, Refusal::QueueTimeout(TIMEOUT));
    assert_eq!(before.elapsed(), TIMEOUT);
    assert_eq!(admission.overview().queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_waited_out_for_a_while_only() {
    let admission = Admission::new(LIMITS, Vec::new());
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
    let admission = Admission::new(LIMITS, Vec::new());
    let replicas = admission.follow(&endpoints(2));
    let visit = admission.arrive(ROUTE);
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
    let admission = Admission::new(LIMITS, Vec::new());
    let replicas = admission.follow(&endpoints(2));
    let visit = admission.arrive(ROUTE);
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
    assert_eq!((replicas.len(), admission.overview().queued()), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn a_probe_takes_only_what_nobody_wants() {
    let admission = Admission::new(LIMITS, Vec::new());
    let replica = admission.follow(&endpoints(1)).remove(0).id;
    let probe = admission.spare(replica).unwrap();
    assert!(admission.spare(replica).is_none(), "full");
    let waiting = waits(&admission);
    drop(probe);
    let held = waiting.now_or_never().unwrap().unwrap();
    drop(held);
    assert!(admission.spare(replica).is_some());
}

const fn route(lane: Lane, cap: Option<usize>) -> Route {
    Route { lane, cap }
}

fn waits_as(admission: &Arc<Admission>, route: Route) -> Waits {
    let admission = Arc::clone(admission);
    let visit = admission.arrive(route);
    Box::pin(async move { admission.admit(&visit).await })
}

/// Those of the futures that are let in now.
fn admitted(waiting: &mut [Waits]) -> Vec<Option<Permit>> {
    waiting.iter_mut().map(|waits| waits.as_mut().now_or_never().map(Result::unwrap)).collect()
}

#[tokio::test(start_paused = true)]
async fn interactive_requests_come_first_and_background_ones_have_a_part() {
    let limits = Limits { queue_length: 10, workers_per_upstream: 4, ..LIMITS };
    let admission = Admission::new(limits, Vec::new());
    admission.follow(&endpoints(1));
    let lanes = [
        Lane::Background,
        Lane::Background,
        Lane::Anonymous,
        Lane::Anonymous,
        Lane::Anonymous,
        Lane::Interactive,
    ];
    let mut waiting: Vec<Waits> =
        lanes.into_iter().map(|lane| waits_as(&admission, route(lane, None))).collect();
    let mut held = admitted(&mut waiting);
    // One of four is all that background requests get; the others are anonymous ones', who came first.
    let who = |held: &[Option<Permit>]| held.iter().map(Option::is_some).collect::<Vec<_>>();
    assert_eq!(who(&held), [true, false, true, true, true, false]);
    let mut waiting: Vec<Waits> = waiting
        .into_iter()
        .enumerate()
        .filter(|(index, _)| [1, 5].contains(index))
        .map(|(_, waits)| waits)
        .collect();
    held[2] = None;
    let mut next = admitted(&mut waiting);
    assert_eq!(who(&next), [false, true], "the interactive one, though it came last");
    let overview = admission.overview();
    assert_eq!((overview.busy.get(Lane::Interactive), overview.busy.get(Lane::Background)), (1, 1));
    assert_eq!(overview.lines[Lane::Background as usize].length, 1);
    held[0] = None;
    assert!(waiting.remove(0).now_or_never().is_some(), "the first background request has ended");
    next.clear();
    held.clear();
    assert_eq!(admission.overview().busy, Busy::default());
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_bounded_leaves_workers_to_others() {
    let limits = Limits { queue_length: 10, workers_per_upstream: 4, ..LIMITS };
    let caps = vec![Cap { rule: "reports".into(), workers: 2 }];
    let admission = Admission::new(limits, caps);
    admission.follow(&endpoints(1));
    let report = route(Lane::Interactive, Some(0));
    let mut reports: Vec<Waits> = (0..4).map(|_| waits_as(&admission, report)).collect();
    let mut held = admitted(&mut reports);
    assert_eq!(held.iter().flatten().count(), 2);
    // Those that wait hold nobody up, not even in their lane.
    let other = waits_as(&admission, route(Lane::Interactive, None)).now_or_never();
    assert!(other.is_some());
    assert_eq!(admission.overview().capped, [2]);
    held[0] = None;
    assert!(reports.remove(2).now_or_never().is_some());
    drop((held, reports, other));
    assert_eq!(admission.overview().capped, [0]);
    assert_eq!(admission.overview().queued(), 0);
}
