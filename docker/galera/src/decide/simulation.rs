//! Clusters of up to five volumes that crash, part, stop, move and are lost, with the decisions of [`super::decide`].
//!
//! The model of Galera: a Primary component acknowledges a write on one member, which has it on its disk at once; the
//! others have received it, and write it down later. A view is written down by a member when it gets to it, after all
//! writes before it. Whoever joins has been let in by all members first. A component goes on with a majority of its
//! last view; who leaves in order does not count.
//!
//! What must never happen: two Primary components; a Primary component without a write that was acknowledged (unless
//! an operator has forced it: then without one from before); a database founded beside another. What must happen:
//! once everybody is there, somebody starts.

#![allow(clippy::indexing_slicing, reason = "a model in a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::facts::{ClusterId, Founding, Lineage, Member, RecordedState, View, VolumeRecord};

const SLOTS: usize = 5;

/// What happens next. Numbers choose among what is there.
#[derive(Debug, Clone)]
enum Event {
    /// A container is started in this slot, on the volume that is there.
    Start(usize),
    /// Killed, with everything that was not on the disk.
    Crash(usize),
    /// All at once.
    CrashAll,
    /// Stopped in order.
    Stop(usize),
    /// All at once; the lowest slot leaves last.
    StopAll,
    /// Its volume is lost with the host; the slot has a new one. Only ever when the cluster can spare it.
    Move(usize),
    /// Nodes on one side do not hear those on the other.
    Part(u8),
    Heal,
    /// A client writes on a member.
    Write(usize),
    /// A member writes down what it has received.
    Apply(usize),
    /// A node asks and decides.
    Ask(usize),
    /// All who were started, in a few rounds.
    AskAll,
    StartAll,
    /// A non-Primary member's patience is over.
    Elect(usize),
}

#[derive(Debug, Clone, Default)]
struct Disk {
    volume: usize,
    /// The writes and views that are written down, in order; `None` for an empty volume.
    seqno: Option<i64>,
    view: Option<View>,
    last_to_leave: bool,
}

#[derive(Debug, Clone)]
struct Process {
    /// What it has received, and not all written down.
    received: i64,
    state: State,
    /// Decided, in a moment before it acts.
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Deciding,
    /// A member of this component of Galera.
    Member(usize),
}

/// A component of Galera: who is in its latest view, and whether that is Primary.
#[derive(Debug, Clone)]
struct Component {
    members: BTreeSet<usize>,
    seqno: i64,
    primary: bool,
}

#[derive(Debug, Default)]
struct World {
    disks: Vec<Disk>,
    processes: BTreeMap<usize, Process>,
    components: Vec<Component>,
    side: u8,
    next_volume: usize,
    founding: Option<Founding>,
    records: BTreeMap<usize, VolumeRecord>,
    with_records: bool,
    /// The furthest write that a client was told of.
    acknowledged: i64,
    founded: usize,
}

fn cluster() -> ClusterId {
    ClusterId("11111111-1111-1111-1111-111111111111".to_owned())
}

impl World {
    fn new(with_records: bool) -> Self {
        let disks = (0..SLOTS).map(|volume| Disk { volume, ..Disk::default() }).collect();
        Self { disks, next_volume: SLOTS, with_records, ..Self::default() }
    }

    fn member(&self, slot: usize) -> Member {
        Member {
            volume: VolumeId(format!("{:012x}", self.disks[slot].volume)),
            slot: u32::try_from(slot + 1).unwrap_or(0),
        }
    }

    fn hears(&self, one: usize, other: usize) -> bool {
        (self.side >> one) & 1 == (self.side >> other) & 1
    }

    fn component(&self, slot: usize) -> Option<usize> {
        match self.processes.get(&slot)?.state {
            State::Member(component) => Some(component),
            State::Deciding => None,
        }
    }

    fn is_primary(&self, slot: usize) -> bool {
        self.component(slot).is_some_and(|component| self.components[component].primary)
    }

    fn facts(&self, slot: usize) -> Option<Facts> {
        let (process, disk) = (self.processes.get(&slot)?, &self.disks[slot]);
        let phase = match process.state {
            State::Member(component) => {
                let primary = self.components[component].primary;
                Phase::Running { primary, synced: primary }
            }
            State::Deciding => process.phase,
        };
        let running = matches!(process.state, State::Member(_));
        let data = match disk.seqno {
            None => Data::Empty,
            Some(seqno) => Data::At {
                position: Position {
                    cluster: cluster(),
                    seqno: if running { process.received } else { seqno },
                },
                last_to_leave: disk.last_to_leave && !running,
            },
        };
        let Member { volume, slot } = self.member(slot);
        Some(Facts { volume, slot, phase, data, lineage: Lineage::default(), view: disk.view.clone() })
    }

    fn ledger(&self) -> Records {
        if !self.with_records {
            return Records::NotConfigured;
        }
        Records::Read(Ledger {
            founding: self.founding.clone(),
            volumes: self.records.values().cloned().collect(),
        })
    }

    fn record(&mut self, slot: usize, state: RecordedState) {
        let (Member { volume, slot: number }, disk) = (self.member(slot), &self.disks[slot]);
        let position = disk.seqno.map(|seqno| Position { cluster: cluster(), seqno });
        let (view, lineage) = (disk.view.clone(), Lineage::default());
        let record = VolumeRecord { volume, slot: number, state, position, lineage, view, at: 0 };
        self.records.insert(disk.volume, record);
    }

    fn ask(&self, slot: usize) -> Option<Decision> {
        let me = self.facts(slot)?;
        let others = self.processes.keys().filter(|other| **other != slot);
        let (heard, silent): (Vec<usize>, Vec<usize>) = others.partition(|other| self.hears(slot, **other));
        let peers: Vec<Facts> = heard.into_iter().filter_map(|other| self.facts(other)).collect();
        let silent: Vec<String> = silent.iter().map(ToString::to_string).collect();
        let records = self.ledger();
        let situation = Situation {
            me: &me,
            peers: &peers,
            silent: &silent,
            records: &records,
            settled: true,
            force: None,
        };
        Some(decide(&situation))
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Start(slot) => {
                let (received, state) = (self.disks[slot].seqno.unwrap_or(0), State::Deciding);
                let process = Process { received, state, phase: Phase::Deciding };
                self.processes.entry(slot).or_insert(process);
            }
            Event::Crash(slot) => {
                if self.processes.remove(&slot).is_some() {
                    self.part_components();
                }
            }
            Event::CrashAll => {
                self.processes.clear();
                self.part_components();
            }
            Event::Stop(slot) => self.stop(slot),
            Event::StopAll => (0..SLOTS).rev().for_each(|slot| self.stop(slot)),
            Event::Move(slot) => self.relocate(slot),
            Event::Part(side) => {
                self.side = side;
                self.part_components();
            }
            Event::Heal => {
                self.side = 0;
                self.merge();
            }
            Event::Write(slot) => self.write(slot),
            Event::Apply(slot) => self.apply(slot),
            Event::Ask(slot) => self.decide_and_do(slot),
            Event::AskAll => (0..SLOTS * 2).for_each(|round| self.decide_and_do(round % SLOTS)),
            Event::StartAll => (0..SLOTS).for_each(|slot| self.happen(&Event::Start(slot))),
            Event::Elect(slot) => self.elect(slot),
        }
        self.check();
    }

    fn write(&mut self, slot: usize) {
        let Some(component) = self.component(slot).filter(|_| self.is_primary(slot)) else { return };
        // Nothing is received before the member has caught up, or it could not acknowledge in order.
        self.apply(slot);
        self.components[component].seqno += 1;
        let seqno = self.components[component].seqno;
        for member in self.components[component].members.clone() {
            if let Some(process) = self.processes.get_mut(&member) {
                process.received = seqno;
            }
        }
        self.disks[slot].seqno = Some(seqno);
        self.acknowledged = seqno;
    }

    /// Writes down what was received, and the view that it led to.
    fn apply(&mut self, slot: usize) {
        let Some(component) = self.component(slot) else { return };
        let received = self.processes[&slot].received;
        self.disks[slot].seqno = Some(received);
        let Component { members, primary, .. } = self.components[component].clone();
        if primary {
            let members: BTreeSet<Member> = members.iter().map(|member| self.member(*member)).collect();
            let seen = self.disks[slot]
                .view
                .as_ref()
                .is_some_and(|view| view.members == members && view.admitted.is_empty());
            if !seen {
                let admitted = BTreeSet::new();
                let view = View { cluster: cluster(), epoch: 0, seqno: received, members, admitted };
                self.disks[slot].view = Some(view);
                self.record(slot, RecordedState::Running);
            }
        }
    }

    fn stop(&mut self, slot: usize) {
        if let Some(component) = self.component(slot) {
            let primary = self.is_primary(slot);
            self.apply(slot);
            self.disks[slot].last_to_leave = primary && self.components[component].members.len() == 1;
            self.record(slot, RecordedState::Stopped);
            self.components[component].members.remove(&slot);
            if primary && !self.components[component].members.is_empty() {
                self.new_view(component);
            }
        }
        self.processes.remove(&slot);
    }

    /// A host is replaced while the others go on without it: what is lost with its volume they have.
    fn relocate(&mut self, slot: usize) {
        if self.component(slot).is_some() || !(0..SLOTS).any(|other| self.is_primary(other)) {
            return;
        }
        // Without records nobody could tell an empty slot 1 that hears no peer from the very first start.
        if slot == 0 && !self.with_records {
            return;
        }
        self.processes.remove(&slot);
        // The others have noticed that it is gone, long before.
        (0..SLOTS)
            .filter(|other| self.is_primary(*other))
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|other| self.apply(other));
        self.disks[slot] = Disk { volume: self.next_volume, ..Disk::default() };
        self.next_volume += 1;
    }

    fn new_view(&mut self, component: usize) {
        self.components[component].seqno += 1;
        let Component { members, seqno, .. } = self.components[component].clone();
        for member in members {
            if let Some(process) = self.processes.get_mut(&member) {
                process.received = seqno;
            }
        }
    }

    /// Components lose those who are gone or not heard; a part with the majority goes on.
    fn part_components(&mut self) {
        for component in 0..self.components.len() {
            let before = self.components[component].members.clone();
            let alive: BTreeSet<usize> =
                before.iter().copied().filter(|slot| self.component(*slot) == Some(component)).collect();
            let sides = [0, 1].map(|side| {
                alive
                    .iter()
                    .copied()
                    .filter(|slot| (self.side >> slot) & 1 == side)
                    .collect::<BTreeSet<usize>>()
            });
            for members in sides.into_iter().filter(|members| !members.is_empty() && *members != before) {
                let seqno = self.components[component].seqno;
                let primary = self.components[component].primary && members.len() * 2 > before.len();
                let index = self.components.len();
                for member in &members {
                    if let Some(process) = self.processes.get_mut(member) {
                        process.state = State::Member(index);
                    }
                }
                self.components.push(Component { members, seqno, primary });
                if primary {
                    self.new_view(index);
                }
            }
            self.components[component].members.retain(|slot| alive.contains(slot));
            let gone = self.components[component]
                .members
                .iter()
                .any(|slot| self.component(*slot) != Some(component));
            if gone {
                self.components[component].members.clear();
                self.components[component].primary = false;
            }
        }
    }

    /// Parts without a majority find the Primary component again, and are members before they acknowledge anything.
    fn merge(&mut self) {
        let Some(primary) = (0..self.components.len()).find(|one| {
            let component = &self.components[*one];
            component.primary && !component.members.is_empty()
        }) else {
            return;
        };
        let lonely: Vec<usize> = (0..SLOTS)
            .filter(|slot| self.component(*slot).is_some_and(|component| component != primary))
            .collect();
        if lonely.is_empty() {
            return;
        }
        for slot in &lonely {
            let old = self.component(*slot).unwrap_or_default();
            self.components[old].members.remove(slot);
            self.components[primary].members.insert(*slot);
            if let Some(process) = self.processes.get_mut(slot) {
                process.state = State::Member(primary);
            }
        }
        self.new_view(primary);
        for slot in self.components[primary].members.clone() {
            self.apply(slot);
        }
    }

    fn decide_and_do(&mut self, slot: usize) {
        if self.component(slot).is_some() {
            return;
        }
        match self.ask(slot) {
            Some(Decision::Found) => {
                self.founded += 1;
                let Member { volume, slot: number } = self.member(slot);
                self.founding = Some(Founding { volume, slot: number, at: 0 });
                self.disks[slot].seqno = Some(0);
                self.begin(slot);
            }
            Some(Decision::Bootstrap(_)) => self.begin(slot),
            Some(Decision::Join { .. }) => self.join(slot),
            _ => {}
        }
    }

    /// A new Primary component of one.
    fn begin(&mut self, slot: usize) {
        let seqno = self.disks[slot].seqno.unwrap_or(0);
        assert!(seqno >= self.acknowledged, "slot {} begins at {seqno}: {self:#?}", slot + 1);
        let index = self.components.len();
        let members = BTreeSet::from([slot]);
        let process = Process { received: seqno, state: State::Member(index), phase: Phase::Deciding };
        self.processes.insert(slot, process);
        self.disks[slot].last_to_leave = false;
        self.components.push(Component { members, seqno, primary: true });
        self.new_view(index);
        self.apply(slot);
    }

    fn join(&mut self, slot: usize) {
        let Some(primary) = (0..SLOTS).find(|other| self.hears(slot, *other) && self.is_primary(*other))
        else {
            return;
        };
        let Some(component) = self.component(primary) else { return };
        let members = self.components[component].members.clone();
        // Every member lets it in, or nobody.
        let knows = |other: &usize| self.hears(slot, *other);
        if !members.iter().all(knows) {
            return;
        }
        let me = self.member(slot);
        for other in &members {
            // It waits for what it has received, so that its view is today's.
            self.apply(*other);
            if let Some(view) = &mut self.disks[*other].view {
                view.admitted.insert(me.clone());
            }
            self.record(*other, RecordedState::Running);
        }
        self.components[component].members.insert(slot);
        if let Some(process) = self.processes.get_mut(&slot) {
            process.state = State::Member(component);
        }
        self.disks[slot].last_to_leave = false;
        self.new_view(component);
        // The state is whole before it takes part; the others may be behind with the new view.
        self.apply(slot);
    }

    /// Nobody has a majority for long.
    fn elect(&mut self, slot: usize) {
        if self.component(slot).is_none() || self.is_primary(slot) {
            return;
        }
        match self.ask(slot) {
            Some(Decision::Bootstrap(_)) => {
                let Some(component) = self.component(slot) else { return };
                let received = self.processes[&slot].received;
                assert!(received >= self.acknowledged, "slot {} goes on at {received}: {self:#?}", slot + 1);
                self.components[component].primary = true;
                self.components[component].seqno = received;
                self.new_view(component);
                self.apply(slot);
            }
            Some(Decision::Wait(Waiting::Winner { member, .. })) => {
                let running =
                    (0..SLOTS).any(|other| self.member(other) == member && self.component(other).is_some());
                if !running {
                    self.restart(slot);
                }
            }
            Some(Decision::Join { .. }) => self.restart(slot),
            _ => {}
        }
    }

    fn restart(&mut self, slot: usize) {
        self.stop(slot);
        self.happen(&Event::Start(slot));
    }

    fn check(&self) {
        let primaries: Vec<&Component> =
            self.components.iter().filter(|one| one.primary && !one.members.is_empty()).collect();
        assert!(primaries.len() <= 1, "two Primary components: {self:#?}");
        assert!(self.founded <= 1, "founded twice: {self:#?}");
        for component in primaries {
            assert!(component.seqno >= self.acknowledged, "a write is lost: {self:#?}");
        }
    }

    /// Everybody is there and hears everybody: somebody is Primary before long.
    fn everybody_comes(&mut self) {
        self.happen(&Event::Heal);
        for slot in 0..SLOTS {
            self.happen(&Event::Start(slot));
        }
        for _ in 0..4 {
            for slot in 0..SLOTS {
                self.happen(&Event::Elect(slot));
                self.happen(&Event::Ask(slot));
            }
        }
        let waiting: Vec<_> = (0..SLOTS).map(|slot| self.ask(slot)).collect();
        assert!((0..SLOTS).all(|slot| self.is_primary(slot)), "no progress: {waiting:#?} in {self:#?}");
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let slot = || 0..SLOTS;
    let event = prop_oneof![
        4 => slot().prop_map(Event::Start),
        2 => slot().prop_map(Event::Crash),
        1 => Just(Event::CrashAll),
        2 => slot().prop_map(Event::Stop),
        1 => Just(Event::StopAll),
        1 => slot().prop_map(Event::Move),
        1 => (0..32_u8).prop_map(Event::Part),
        2 => Just(Event::Heal),
        6 => slot().prop_map(Event::Write),
        3 => slot().prop_map(Event::Apply),
        4 => slot().prop_map(Event::Ask),
        4 => Just(Event::AskAll),
        2 => Just(Event::StartAll),
        2 => slot().prop_map(Event::Elect),
    ];
    proptest::collection::vec(event, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn one_cluster_and_every_write(events in events(), with_records: bool, calm: bool) {
        let mut world = World::new(with_records);
        if calm {
            world.happen(&Event::StartAll);
            world.happen(&Event::AskAll);
        }
        for event in &events {
            world.happen(event);
        }
        world.everybody_comes();
    }
}
