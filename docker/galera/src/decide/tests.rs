//! What is to be done, as a table: a picture of the situation, and the decision.

#![allow(clippy::too_many_lines, reason = "a table is read line by line")]

use super::*;
use crate::facts::{ClusterId, Forced, Founding, Lineage, Member, RecordedState, View, VolumeRecord};

const OURS: &str = "11111111-1111-1111-1111-111111111111";
const OTHER: &str = "22222222-2222-2222-2222-222222222222";

fn id(name: &str) -> VolumeId {
    VolumeId(name.to_owned())
}

fn slot(name: &str) -> u32 {
    // a is 1, b is 2, …
    name.bytes().next().map_or(0, |first| u32::from(first - b'a') + 1)
}

fn member(name: &str) -> Member {
    Member { volume: id(name), slot: slot(name) }
}

fn position(seqno: i64) -> Position {
    Position { cluster: ClusterId(OURS.to_owned()), seqno }
}

fn view(seqno: i64, members: &str) -> View {
    let members = members.split_whitespace().map(member).collect();
    View { cluster: ClusterId(OURS.to_owned()), epoch: 0, seqno, members, admitted: [].into() }
}

fn empty(name: &str) -> Facts {
    Facts {
        volume: id(name),
        slot: slot(name),
        phase: Phase::Deciding,
        data: Data::Empty,
        lineage: Lineage::default(),
        view: None,
    }
}

/// Stopped at `seqno`, having seen these members from `since` on.
fn at(name: &str, seqno: i64, since: i64, members: &str) -> Facts {
    let data = Data::At { position: position(seqno), last_to_leave: false };
    Facts { data, view: Some(view(since, members)), ..empty(name) }
}

fn last(name: &str, seqno: i64) -> Facts {
    let data = Data::At { position: position(seqno), last_to_leave: true };
    Facts { data, view: Some(view(seqno, name)), ..empty(name) }
}

fn phase(phase: Phase, facts: Facts) -> Facts {
    Facts { phase, ..facts }
}

fn primary(facts: Facts) -> Facts {
    phase(Phase::Running { primary: true, synced: true }, facts)
}

fn lonely(facts: Facts) -> Facts {
    phase(Phase::Running { primary: false, synced: false }, facts)
}

fn data(data: Data, facts: Facts) -> Facts {
    Facts { data, ..facts }
}

/// Descends from a bootstrap that was forced at `seqno`.
fn forced_at(seqno: i64, by: &str, facts: Facts) -> Facts {
    let lineage = Lineage(vec![Forced { by: id(by), seqno }]);
    let view = facts.view.clone().map(|view| View { epoch: 1, ..view });
    Facts { lineage, view, ..facts }
}

fn stopped(name: &str, seqno: i64, since: i64, members: &str) -> VolumeRecord {
    VolumeRecord {
        volume: id(name),
        slot: slot(name),
        state: RecordedState::Stopped,
        position: Some(position(seqno)),
        lineage: Lineage::default(),
        view: Some(view(since, members)),
        at: 0,
    }
}

fn running(name: &str, since: i64, members: &str) -> VolumeRecord {
    VolumeRecord { state: RecordedState::Running, ..stopped(name, since, since, members) }
}

fn founding(name: &str) -> Founding {
    Founding { volume: id(name), slot: slot(name), at: 0 }
}

fn ledger(founder: Option<&str>, volumes: &[VolumeRecord]) -> Records {
    Records::Read(Ledger { founding: founder.map(founding), volumes: volumes.to_vec() })
}

fn settled(me: &Facts, peers: &[Facts], records: &Records) -> Decision {
    decide(&Situation { me, peers, silent: &[], records, settled: true, force: None })
}

/// The decision in a word and what it is about.
fn word(decision: &Decision) -> String {
    let names = |members: &[Member]| {
        members.iter().map(|member| member.volume.0.clone()).collect::<Vec<_>>().join(" ")
    };
    match decision {
        Decision::Join { primary, whole: false } => format!("join {primary}"),
        Decision::Join { primary, whole: true } => format!("join {primary} whole"),
        Decision::Found => "found".to_owned(),
        Decision::Bootstrap(Evidence::LastToLeave) => "bootstrap last".to_owned(),
        Decision::Bootstrap(Evidence::AllAccounted) => "bootstrap all".to_owned(),
        Decision::Bootstrap(Evidence::Forced) => "bootstrap forced".to_owned(),
        Decision::Wait(Waiting::Listening) => "wait listening".to_owned(),
        Decision::Wait(Waiting::Starting(who)) => format!("wait starting {}", who.volume),
        Decision::Wait(Waiting::Unsettled(who)) => format!("wait unsettled {}", who.volume),
        Decision::Wait(Waiting::Winner { member, .. }) => format!("wait winner {}", member.volume),
        Decision::Wait(Waiting::GivesWay(who)) => format!("wait gives-way {}", who.volume),
        Decision::Wait(Waiting::Missing(who)) => {
            let members: Vec<Member> = who.iter().map(|(member, _)| member.clone()).collect();
            format!("wait missing {}", names(&members))
        }
        Decision::Wait(Waiting::Newer { member, .. }) => format!("wait newer {}", member.volume),
        Decision::Wait(Waiting::NobodyCan(who)) => format!("wait nobody {}", names(who)).trim().to_owned(),
        Decision::Wait(Waiting::NoDataHere { known, .. }) => format!("wait elsewhere {}", names(known)),
        Decision::Wait(Waiting::Founder(founding)) => format!("wait founder {}", founding.volume),
        Decision::Wait(Waiting::FirstSlot) => "wait first-slot".to_owned(),
        Decision::Wait(Waiting::Silent(_)) => "wait silent".to_owned(),
        Decision::Wait(Waiting::Records(_)) => "wait records".to_owned(),
        Decision::Refuse(Refusal::TwoDatabases(_)) => "refuse two-databases".to_owned(),
        Decision::Refuse(Refusal::TwoPrimaries(..)) => "refuse two-primaries".to_owned(),
        Decision::Refuse(Refusal::Branches(..)) => "refuse branches".to_owned(),
        Decision::Refuse(Refusal::UnknownData(_)) => "refuse unknown-data".to_owned(),
        Decision::Refuse(Refusal::NoView(who)) => format!("refuse no-view {}", who.volume),
        Decision::Refuse(Refusal::FoundedButEmpty(_)) => "refuse founded-but-empty".to_owned(),
    }
}

fn check(cases: &[(&str, Facts, Vec<Facts>, Records, &str)]) {
    for (what, me, peers, records, expected) in cases {
        assert_eq!(word(&settled(me, peers, records)), *expected, "{what}");
    }
}

#[test]
fn the_beginning() {
    let none = || ledger(None, &[]);
    let unreadable = || Records::Unreadable("hangs".to_owned());
    let unfinished = |name| data(Data::Unfinished, empty(name));
    check(&[
        ("slot 1 founds", empty("a"), vec![], none(), "found"),
        ("also without records", empty("a"), vec![], Records::NotConfigured, "found"),
        ("with empty peers", empty("a"), vec![empty("b"), empty("c")], none(), "found"),
        ("the others wait", empty("b"), vec![empty("a")], none(), "wait first-slot"),
        ("even alone", empty("b"), vec![], none(), "wait first-slot"),
        ("records that hang may tell of a database", empty("a"), vec![], unreadable(), "wait records"),
        (
            "somebody founds already",
            empty("b"),
            vec![phase(Phase::Founding, empty("a"))],
            none(),
            "wait starting a",
        ),
        (
            "somebody has not looked yet",
            empty("a"),
            vec![phase(Phase::Starting, empty("b"))],
            none(),
            "wait starting b",
        ),
        ("slot 1 on another host, empty", empty("a"), vec![], ledger(Some("x"), &[]), "wait founder x"),
        (
            "a founding that was cut off begins again",
            unfinished("a"),
            vec![],
            ledger(Some("a"), &[]),
            "found",
        ),
        ("before it was recorded, too", unfinished("a"), vec![], none(), "found"),
        ("but not another's", unfinished("a"), vec![], ledger(Some("x"), &[]), "wait founder x"),
        (
            "the founder's data was deleted",
            empty("a"),
            vec![],
            ledger(Some("a"), &[]),
            "refuse founded-but-empty",
        ),
        (
            "the database is elsewhere",
            empty("a"),
            vec![],
            ledger(Some("x"), &[running("x", 1, "x")]),
            "wait elsewhere x",
        ),
        (
            "a peer has data: it starts, not an empty volume",
            empty("a"),
            vec![at("b", 5, 1, "b")],
            Records::NotConfigured,
            "wait winner b",
        ),
    ]);
}

#[test]
fn two_first_slots_agree() {
    let rival = Facts { slot: 1, ..empty("b") };
    let none = Records::NotConfigured;
    assert_eq!(word(&settled(&empty("a"), std::slice::from_ref(&rival), &none)), "found");
    assert_eq!(word(&settled(&rival, &[empty("a")], &none)), "wait starting a");
}

#[test]
fn silence() {
    let silent = ["10.0.0.3:4570".to_owned()];
    let me = empty("a");
    let ask = |records: &Records, settled| {
        word(&decide(&Situation { me: &me, peers: &[], silent: &silent, records, settled, force: None }))
    };
    assert_eq!(ask(&Records::NotConfigured, true), "wait silent");
    // The record is exclusive: who is silent cannot have founded.
    assert_eq!(ask(&ledger(None, &[]), true), "found");
    assert_eq!(ask(&ledger(None, &[]), false), "wait listening");
}

#[test]
fn a_primary_is_joined() {
    let none = || Records::NotConfigured;
    let living = || primary(at("b", 9, 7, "b c"));
    let other = |seqno| {
        data(
            Data::At {
                position: Position { cluster: ClusterId(OTHER.to_owned()), seqno },
                last_to_leave: true,
            },
            empty("a"),
        )
    };
    let unknown = |facts| data(Data::Unknown("?".to_owned()), facts);
    check(&[
        ("empty", empty("a"), vec![living()], none(), "join b whole"),
        ("with data", at("a", 5, 1, "a b"), vec![living()], none(), "join b"),
        ("last to leave, and still", last("a", 5), vec![living()], none(), "join b"),
        ("half a transfer", data(Data::Partial, empty("a")), vec![living()], none(), "join b whole"),
        (
            "who synced is asked first",
            empty("a"),
            vec![phase(Phase::Running { primary: true, synced: false }, at("c", 9, 7, "b c")), living()],
            none(),
            "join b whole",
        ),
        ("another database", other(3), vec![living()], none(), "refuse two-databases"),
        ("a database of unknown origin", unknown(empty("a")), vec![living()], none(), "refuse unknown-data"),
        ("a member that is damaged", unknown(at("a", 5, 1, "a b")), vec![living()], none(), "join b whole"),
        (
            "a view that lags behind",
            empty("a"),
            vec![living(), primary(at("c", 9, 7, "c"))],
            none(),
            "join b whole",
        ),
        (
            "two clusters that do not see each other",
            empty("a"),
            vec![primary(at("b", 9, 7, "b")), primary(at("c", 9, 7, "c"))],
            none(),
            "refuse two-primaries",
        ),
        (
            "stopping is not joined",
            at("a", 5, 1, "a b"),
            vec![phase(Phase::Stopping, at("b", 9, 7, "b"))],
            none(),
            "wait unsettled b",
        ),
        (
            "before a forced bootstrap, not beyond it",
            at("a", 5, 1, "a b"),
            vec![primary(forced_at(6, "b", at("b", 9, 7, "b")))],
            none(),
            "join b",
        ),
        (
            "beyond it: another history",
            at("a", 8, 1, "a b"),
            vec![primary(forced_at(6, "b", at("b", 9, 7, "b")))],
            none(),
            "join b whole",
        ),
        (
            "forced on both sides",
            forced_at(5, "a", at("a", 8, 7, "a")),
            vec![primary(forced_at(6, "b", at("b", 9, 7, "b")))],
            none(),
            "refuse branches",
        ),
    ]);
}

#[test]
fn elections() {
    let none = || Records::NotConfigured;
    check(&[
        ("alone in its view", at("a", 9, 5, "a"), vec![], none(), "bootstrap all"),
        (
            "all crashed, the furthest starts",
            at("a", 9, 5, "a b c"),
            vec![at("b", 7, 5, "a b c"), at("c", 8, 5, "a b c")],
            none(),
            "bootstrap all",
        ),
        (
            "and the others wait",
            at("b", 7, 5, "a b c"),
            vec![at("a", 9, 5, "a b c"), at("c", 8, 5, "a b c")],
            none(),
            "wait winner a",
        ),
        (
            "of equals the lowest slot",
            at("b", 7, 5, "a b"),
            vec![at("a", 7, 5, "a b")],
            none(),
            "wait winner a",
        ),
        ("one is missing", at("a", 9, 5, "a b c"), vec![at("b", 7, 5, "a b c")], none(), "wait missing c"),
        ("it had left before", at("a", 9, 6, "a b"), vec![at("b", 7, 6, "a b")], none(), "bootstrap all"),
        (
            "only another knows that",
            at("a", 9, 5, "a b c"),
            vec![at("b", 9, 6, "a b")],
            none(),
            "bootstrap all",
        ),
        (
            "only another knows that it is missing",
            at("a", 5, 5, "a b"),
            vec![at("b", 9, 6, "b c")],
            none(),
            "wait missing c",
        ),
        ("last to leave", last("a", 9), vec![], none(), "bootstrap last"),
        ("last to leave, behind", at("b", 7, 5, "a b"), vec![last("a", 9)], none(), "wait winner a"),
        ("an empty peer changes nothing", at("a", 9, 5, "a"), vec![empty("b")], none(), "bootstrap all"),
        (
            "an empty volume in a member's place is none",
            at("a", 9, 5, "a b"),
            vec![empty("x")],
            none(),
            "wait missing b",
        ),
        (
            "a joiner's position moves",
            at("a", 9, 5, "a b"),
            vec![phase(Phase::Joining, at("b", 7, 5, "a b"))],
            none(),
            "wait unsettled b",
        ),
        (
            "half a transfer counts as heard",
            at("a", 9, 5, "a b"),
            vec![data(Data::Partial, at("b", 0, 5, "a b"))],
            none(),
            "bootstrap all",
        ),
        (
            "a damaged member does not",
            at("a", 9, 5, "a b"),
            vec![data(Data::Unknown("?".to_owned()), at("b", 0, 5, "a b"))],
            none(),
            "wait missing b",
        ),
        (
            "a member whose data was deleted does not",
            at("a", 9, 5, "a b"),
            vec![data(Data::Empty, at("b", 0, 5, "a b"))],
            none(),
            "wait missing b",
        ),
        (
            "two databases",
            at("a", 9, 5, "a"),
            vec![data(
                Data::At {
                    position: Position { cluster: ClusterId(OTHER.to_owned()), seqno: 3 },
                    last_to_leave: true,
                },
                empty("b"),
            )],
            none(),
            "refuse two-databases",
        ),
        (
            "nobody knows the members",
            Facts { view: None, ..at("a", 9, 5, "a") },
            vec![],
            none(),
            "refuse no-view a",
        ),
        (
            "a running node without majority starts",
            lonely(at("b", 9, 5, "a b c")),
            vec![at("a", 9, 5, "a b c"), at("c", 8, 5, "a b c")],
            none(),
            "bootstrap all",
        ),
        (
            "and is waited for",
            at("a", 9, 5, "a b c"),
            vec![lonely(at("b", 9, 5, "a b c")), at("c", 8, 5, "a b c")],
            none(),
            "wait winner b",
        ),
        (
            "one that is behind gives way",
            at("a", 9, 5, "a b"),
            vec![lonely(at("b", 8, 5, "a b"))],
            none(),
            "wait gives-way b",
        ),
        (
            "only half a transfer anywhere",
            data(Data::Partial, empty("a")),
            vec![empty("b")],
            none(),
            "wait nobody",
        ),
        (
            "the younger lineage wins",
            forced_at(5, "a", at("a", 7, 6, "a")),
            vec![at("b", 9, 4, "a b")],
            none(),
            "bootstrap all",
        ),
        (
            "the older one waits",
            at("b", 9, 4, "a b"),
            vec![forced_at(5, "a", at("a", 7, 6, "a"))],
            none(),
            "wait winner a",
        ),
    ]);
}

#[test]
fn who_was_let_in_is_missed() {
    let mut me = at("a", 9, 5, "a");
    if let Some(view) = &mut me.view {
        view.admitted = [member("d")].into();
    }
    assert_eq!(word(&settled(&me, &[], &Records::NotConfigured)), "wait missing d");
    assert_eq!(word(&settled(&me, &[empty("d")], &Records::NotConfigured)), "bootstrap all");
}

#[test]
fn records_stand_for_those_who_are_absent() {
    let all =
        |c: VolumeRecord| ledger(Some("a"), &[stopped("a", 9, 5, "a b c"), stopped("b", 9, 5, "a b c"), c]);
    let me = || at("a", 9, 5, "a b c");
    check(&[
        (
            "stopped in order, not further",
            me(),
            vec![at("b", 8, 5, "a b c")],
            all(stopped("c", 7, 5, "a b c")),
            "bootstrap all",
        ),
        (
            "stopped before the view began: it has run again since",
            at("a", 9, 8, "a b c"),
            vec![at("b", 8, 8, "a b c")],
            all(stopped("c", 7, 5, "a b c")),
            "wait missing c",
        ),
        (
            "stopped further",
            me(),
            vec![at("b", 8, 5, "a b c")],
            all(stopped("c", 11, 10, "c")),
            "wait newer c",
        ),
        (
            "it ran when it was last recorded",
            me(),
            vec![at("b", 8, 5, "a b c")],
            all(running("c", 5, "a b c")),
            "wait missing c",
        ),
        (
            "it went on alone, and crashed",
            me(),
            vec![at("b", 8, 5, "a b c")],
            all(running("c", 10, "c")),
            "wait missing c",
        ),
        (
            "one replica after an orderly stop of three",
            last("a", 11),
            vec![],
            ledger(Some("a"), &[stopped("b", 10, 10, "a b"), stopped("c", 9, 5, "a b c")]),
            "bootstrap last",
        ),
        (
            "the last to leave is not there",
            at("b", 10, 10, "a b"),
            vec![],
            ledger(Some("a"), &[stopped("a", 11, 11, "a"), stopped("c", 9, 5, "a b c")]),
            "wait newer a",
        ),
        (
            "an empty slot 1 beside it",
            empty("x"),
            vec![],
            ledger(Some("a"), &[stopped("a", 11, 11, "a")]),
            "wait elsewhere a",
        ),
        (
            "a record that is older than what is heard",
            at("a", 9, 5, "a"),
            vec![],
            ledger(Some("a"), &[running("a", 2, "a b")]),
            "bootstrap all",
        ),
        (
            "records that cannot be read do not matter to those who hear all",
            me(),
            vec![at("b", 8, 5, "a b c"), at("c", 8, 5, "a b c")],
            Records::Unreadable("hangs".to_owned()),
            "bootstrap all",
        ),
        (
            "but to others",
            me(),
            vec![at("b", 8, 5, "a b c")],
            Records::Unreadable("hangs".to_owned()),
            "wait missing c",
        ),
    ]);
}

#[test]
fn forcing() {
    let me = at("a", 9, 5, "a b");
    let none = Records::NotConfigured;
    let ask = |me: &Facts, peers: &[Facts], records: &Records, force: &Force| {
        word(&decide(&Situation { me, peers, silent: &[], records, settled: true, force: Some(force) }))
    };
    let by_volume = Force::Volume(id("a"));
    assert_eq!(ask(&me, &[], &none, &by_volume), "bootstrap forced");
    assert_eq!(ask(&me, &[], &none, &Force::Position(position(9))), "bootstrap forced");
    assert_eq!(ask(&me, &[], &none, &Force::Position(position(8))), "wait missing b");
    assert_eq!(ask(&me, &[], &none, &Force::Volume(id("b"))), "wait missing b");
    assert_eq!(ask(&me, &[primary(at("b", 5, 5, "b"))], &none, &by_volume), "join b");
    assert_eq!(
        ask(&me, &[phase(Phase::Bootstrapping, at("b", 5, 5, "b"))], &none, &by_volume),
        "wait starting b"
    );
    // An empty volume: only where there never was any database.
    assert_eq!(ask(&empty("a"), &[], &ledger(Some("x"), &[]), &by_volume), "found");
    let known = ledger(Some("x"), &[running("x", 1, "x")]);
    assert_eq!(ask(&empty("a"), &[], &known, &by_volume), "wait elsewhere x");
    assert_eq!(ask(&empty("a"), &[at("b", 5, 5, "b")], &ledger(None, &[]), &by_volume), "wait winner b");
}

#[test]
fn reasons_name_who_is_missing() {
    let decision = settled(&at("a", 9, 5, "a b c"), &[], &ledger(None, &[running("c", 5, "a b c")]));
    let Decision::Wait(waiting) = decision else { panic!("{decision:?}") };
    let text = waiting.to_string();
    assert!(text.contains("volume b (slot 2), not heard, never recorded"), "{text}");
    assert!(
        text.contains("volume c (slot 3), not heard, last recorded") && text.contains("days ago"),
        "{text}"
    );
    assert!(waiting.can_be_forced());
}
