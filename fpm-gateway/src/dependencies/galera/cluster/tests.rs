use super::*;

const HOLD: Duration = Duration::from_mins(5);

fn endpoint(number: u16) -> Endpoint {
    Endpoint::Tcp(([10, 0, 0, 1], number).into())
}

/// A node of the cluster "a" with this index.
fn node(number: u16, state: State, index: u64) -> View {
    let membership = Membership { state_uuid: "a".into(), conf_id: 7, size: 3, index };
    View { endpoint: endpoint(number), state, membership: Some(membership) }
}

/// One that says nothing of a Primary component.
fn outside(number: u16, state: State) -> View {
    View { endpoint: endpoint(number), state, membership: None }
}

/// A node in another view, or another cluster.
fn elsewhere(number: u16, state_uuid: &str, conf_id: u64, size: u64) -> View {
    let membership = Membership { state_uuid: state_uuid.into(), conf_id, size, index: 0 };
    View { endpoint: endpoint(number), state: State::Synced, membership: Some(membership) }
}

fn first(views: &[View]) -> Decision {
    decide(views, &mut Memory::default(), Instant::now(), HOLD)
}

fn numbers(endpoints: impl IntoIterator<Item = Endpoint>) -> Vec<u16> {
    let port = |endpoint| if let Endpoint::Tcp(address) = endpoint { address.port() } else { 0 };
    endpoints.into_iter().map(port).collect()
}

/// Nodes → availability, writer, readers, alarms.
#[test]
fn the_first_decision() {
    use Availability::{Available, Lost, Unknown};
    use State::{
        Broken, Denied, Desynced, Donor, Joining, Lagging, NotPrimary, NotReady, ReadOnly, RejectsQueries,
        Silent, Standalone, Synced, Unreachable,
    };
    type Row<'a> = (&'a [View], Availability, &'a [u16], &'a [u16], &'a [Alarm]);
    let table: &[Row<'_>] = &[
        (&[], Unknown, &[], &[], &[]),
        (&[outside(1, State::Unknown), outside(2, Unreachable)], Unknown, &[], &[], &[]),
        // The lowest index, wherever it stands; readers in the order of the list.
        (&[node(1, Synced, 2), node(2, Synced, 0), node(3, Synced, 1)], Available, &[2], &[1, 2, 3], &[]),
        (&[node(1, Donor, 0), node(2, Synced, 2), node(3, Joining, 1)], Available, &[2], &[2], &[]),
        (&[node(1, Lagging, 0), node(2, Desynced, 1), node(3, Synced, 2)], Available, &[3], &[3], &[]),
        // The only node that has the data gives it to the others: it goes on.
        (&[node(1, Donor, 0), node(2, Joining, 1), outside(3, Unreachable)], Available, &[1], &[1], &[]),
        (
            &[node(1, RejectsQueries, 0), node(2, ReadOnly, 1), node(3, Synced, 2)],
            Available,
            &[3],
            &[2, 3],
            &[],
        ),
        (&[node(1, ReadOnly, 1), node(2, ReadOnly, 0)], Available, &[2], &[1, 2], &[Alarm::NoWriter]),
        // Better a node that is busy than one that cannot be written to.
        (&[node(1, ReadOnly, 0), node(2, Donor, 1)], Available, &[2], &[1], &[]),
        // A minority, and the rest cannot be reached.
        (
            &[outside(1, Unreachable), outside(2, Silent), outside(3, NotPrimary)],
            Lost(Loss::NoPrimary),
            &[],
            &[],
            &[Alarm::Lost],
        ),
        (&[outside(1, Unreachable), outside(2, Broken)], Lost(Loss::Unreachable), &[], &[], &[Alarm::Lost]),
        (&[outside(1, NotReady), outside(2, NotPrimary)], Lost(Loss::NotReady), &[], &[], &[Alarm::Lost]),
        (&[node(1, Joining, 0)], Lost(Loss::NotReady), &[], &[], &[Alarm::Lost]),
        // Nobody knows their state: better them than nothing, and an alarm.
        (
            &[outside(1, Unreachable), outside(2, Denied), outside(3, Denied)],
            Available,
            &[2],
            &[2, 3],
            &[Alarm::Denied],
        ),
        (&[outside(1, Denied), node(2, Synced, 4)], Available, &[2], &[2], &[Alarm::Denied]),
        // Servers without Galera: the first, and who copies it reads.
        (&[outside(1, Standalone)], Available, &[1], &[1], &[]),
        (
            &[outside(1, ReadOnly), outside(2, Standalone), outside(3, ReadOnly)],
            Available,
            &[2],
            &[1, 2, 3],
            &[],
        ),
        (&[outside(1, Unreachable), outside(2, Standalone)], Available, &[2], &[2], &[]),
        (&[node(1, Synced, 1), outside(2, Standalone)], Available, &[1], &[1], &[Alarm::Stranger]),
        // Two databases: the one with more nodes; else one that all gateways choose alike.
        (
            &[elsewhere(1, "b", 3, 1), node(2, Synced, 1), node(3, Synced, 0)],
            Available,
            &[3],
            &[2, 3],
            &[Alarm::SplitBrain],
        ),
        (&[elsewhere(1, "b", 3, 1), elsewhere(2, "a", 3, 1)], Available, &[2], &[2], &[Alarm::SplitBrain]),
        // Where one component cannot be used, the other is.
        (
            &[node(1, Joining, 0), node(2, Joining, 1), elsewhere(3, "b", 3, 1)],
            Available,
            &[3],
            &[3],
            &[Alarm::SplitBrain],
        ),
        // Three members of two.
        (
            &[elsewhere(1, "a", 3, 2), elsewhere(2, "a", 3, 2), elsewhere(3, "a", 3, 2)],
            Available,
            &[1],
            &[1, 2, 3],
            &[Alarm::SplitBrain],
        ),
    ];
    for (views, availability, writer, readers, alarms) in table {
        let decision = first(views);
        assert_eq!(decision.availability, *availability, "{views:?}");
        assert_eq!(numbers(decision.writer), *writer, "{views:?}");
        assert_eq!(numbers(decision.readers), *readers, "{views:?}");
        assert_eq!(decision.alarms, *alarms, "{views:?}");
    }
}

/// Seconds, nodes, and the writer then.
fn play(steps: &[(u64, Vec<View>, &[u16])]) {
    let (mut memory, start) = (Memory::default(), Instant::now());
    for (seconds, views, writer) in steps {
        let decision = decide(views, &mut memory, start + Duration::from_secs(*seconds), HOLD);
        assert_eq!(numbers(decision.writer), *writer, "after {seconds} s");
    }
}

#[test]
fn a_writer_that_works_is_kept() {
    use State::{Donor, Joining, Synced, Unreachable};
    let all = || vec![node(1, Synced, 0), node(2, Synced, 1), node(3, Synced, 2)];
    let lost = || vec![outside(1, Unreachable), node(2, Synced, 0), node(3, Synced, 1)];
    play(&[
        (0, all(), &[1]),
        (10, lost(), &[2]),
        (20, vec![node(1, Joining, 0), node(2, Donor, 1), node(3, Synced, 2)], &[3]),
        // Node 1 is back with its old index: no fail-back at once …
        (30, all(), &[3]),
        (329, all(), &[3]),
        // … but after the hold time, so that a gateway that began later agrees with this one.
        (330, all(), &[1]),
        (331, all(), &[1]),
    ]);
}

#[test]
fn nobody_is_kept_before_every_node_was_heard() {
    use State::{Synced, Unknown};
    play(&[
        (0, vec![outside(1, Unknown), outside(2, Unknown), node(3, Synced, 2)], &[3]),
        (0, vec![outside(1, Unknown), node(2, Synced, 1), node(3, Synced, 2)], &[2]),
        (0, vec![node(1, Synced, 1), node(2, Synced, 2), node(3, Synced, 0)], &[3]),
        // One that is listed later is a challenger.
        (1, vec![outside(4, Unknown), node(1, Synced, 1), node(3, Synced, 2)], &[3]),
        (2, vec![node(4, Synced, 0), node(1, Synced, 1), node(3, Synced, 2)], &[3]),
    ]);
}

#[test]
fn the_hold_time_begins_anew_with_every_break() {
    use State::{Lagging, Synced};
    let pair = |first| vec![node(1, first, 0), node(2, Synced, 1)];
    play(&[
        (0, vec![outside(1, State::Unreachable), node(2, Synced, 0)], &[2]),
        (10, pair(Synced), &[2]),
        (200, pair(Lagging), &[2]),
        (201, pair(Synced), &[2]),
        (310, pair(Synced), &[2]),
        (500, pair(Synced), &[2]),
        (501, pair(Synced), &[1]),
    ]);
    // Another challenger counts from its own beginning.
    let three = |first| vec![node(1, first, 0), node(2, Synced, 1), node(3, Synced, 2)];
    play(&[
        (0, vec![node(3, Synced, 2)], &[3]),
        (10, three(State::Unreachable), &[3]),
        (300, three(Synced), &[3]),
        (310, three(Synced), &[3]),
        (600, three(Synced), &[1]),
    ]);
}

#[test]
fn a_writer_of_no_use_is_left_at_once() {
    use State::{Donor, Lagging, ReadOnly, RejectsQueries, Synced};
    for worse in [Donor, Lagging, ReadOnly, RejectsQueries, State::NotPrimary, State::Denied] {
        play(&[
            (0, vec![node(1, Synced, 0), node(2, Synced, 1)], &[1]),
            (1, vec![node(1, worse, 0), node(2, Synced, 1)], &[2]),
            // Both alike: the one that writes goes on.
            (2, vec![node(1, Synced, 0), node(2, Synced, 1)], &[2]),
        ]);
    }
}

#[test]
fn a_server_without_galera_does_not_take_over_from_a_cluster() {
    use State::{Standalone, Synced, Unreachable};
    play(&[
        (0, vec![node(1, Synced, 0), outside(2, Standalone)], &[1]),
        (1, vec![outside(1, Unreachable), outside(2, Standalone)], &[]),
    ]);
}

#[test]
fn of_two_databases_the_writers_is_kept() {
    use State::Synced;
    let (mut memory, now) = (Memory::default(), Instant::now());
    let mut at = |views: &[View]| decide(views, &mut memory, now, HOLD);
    assert_eq!(numbers(at(&[elsewhere(1, "b", 1, 1)]).writer), [1]);
    let both = at(&[elsewhere(1, "b", 1, 1), node(2, Synced, 0), node(3, Synced, 1)]);
    assert_eq!((numbers(both.writer), numbers(both.readers)), (vec![1], vec![1]));
    assert_eq!(both.alarms, [Alarm::SplitBrain]);
}

/// After a network was cut in two and both halves were made Primary by hand.
#[test]
fn views_that_differ_for_long_are_two_databases() {
    let (mut memory, start) = (Memory::default(), Instant::now());
    let halves = [elsewhere(1, "a", 8, 1), elsewhere(2, "a", 8, 2), elsewhere(3, "a", 8, 2)];
    let whole = [node(1, State::Synced, 0), node(2, State::Synced, 1), node(3, State::Synced, 2)];
    let mut at = |seconds, views: &[View]| {
        let decision = decide(views, &mut memory, start + Duration::from_secs(seconds), HOLD);
        (numbers(decision.writer), numbers(decision.readers), decision.alarms)
    };
    let calm = (vec![1], vec![1, 2, 3], vec![]);
    assert_eq!(at(0, &whole), calm);
    // For a moment: a node comes or goes.
    assert_eq!(at(1, &halves), calm);
    assert_eq!(at(5, &whole), calm);
    assert_eq!(at(20, &halves), calm);
    assert_eq!(at(29, &halves), calm);
    assert_eq!(at(30, &halves), (vec![1], vec![1], vec![Alarm::SplitBrain]));
    assert_eq!(at(40, &whole), calm);
}
