//! What a node is to do, from what it has heard. Pure: no I/O, no clock.
//!
//! 1. A peer is Primary: join it.
//! 2. Nothing is known anywhere: slot 1 founds the database.
//! 3. There is data and nobody is Primary: the volume that has come furthest starts, once every volume that could
//!    have acknowledged a write beyond it is accounted for.
//! 4. Otherwise: wait, and say for what.
//!
//! Why the third is enough. A Primary view is recorded by its members, in order with the write sets, and a volume that
//! joins is let in (`admitted`) by all members before it starts. Whatever Primary component came after the latest view
//! that is known therefore had a member of that view in it; and each write is on the volume that acknowledged it. When
//! all volumes of that view are heard, or are recorded as stopped in order since it began and no further than the
//! winner, nothing is beyond. A record that could not be written makes the others wait, and is never believed too much.

mod elect;
mod reasons;

use crate::facts::{Data, Facts, Ledger, Phase, Position, VolumeId};

pub use reasons::{Absence, Evidence, Refusal, Waiting};

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Start and join the cluster that this volume is in; with a whole state transfer if what is here must not be
    /// built upon.
    Join { primary: VolumeId, whole: bool },
    /// Make a new database.
    Found,
    /// Become the first member with the data that is here.
    Bootstrap(Evidence),
    /// Time may change it.
    Wait(Waiting),
    /// Only an operator can change it.
    Refuse(Refusal),
}

/// The shared records, as they could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records {
    NotConfigured,
    Unreadable(String),
    Read(Ledger),
}

/// The value of `force-bootstrap`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Force {
    Volume(VolumeId),
    Position(Position),
}

/// All that is known when deciding.
#[derive(Debug, Clone)]
pub struct Situation<'a> {
    pub me: &'a Facts,
    /// Those that have just answered.
    pub peers: &'a [Facts],
    /// Addresses that are listed as peers and do not answer.
    pub silent: &'a [String],
    pub records: &'a Records,
    /// It has been asking for long enough to have heard everybody who is there.
    pub settled: bool,
    pub force: Option<&'a Force>,
}

pub fn decide(situation: &Situation<'_>) -> Decision {
    let Situation { me, peers, .. } = situation;
    if let Some(decision) = join(me, peers) {
        return decision;
    }
    if let Some(peer) = peers.iter().find(|peer| matches!(peer.phase, Phase::Founding | Phase::Bootstrapping))
    {
        return Decision::Wait(Waiting::Starting(peer.member()));
    }
    if let Some(forced) = forced(situation) {
        return forced;
    }
    if !situation.settled {
        return Decision::Wait(Waiting::Listening);
    }
    let has_data = |facts: &Facts| !matches!(facts.data, Data::Empty | Data::Unfinished);
    if has_data(me) || peers.iter().any(has_data) {
        return elect::elect(situation);
    }
    found(situation)
}

/// Where there is a Primary component nothing else is to be considered.
fn join(me: &Facts, peers: &[Facts]) -> Option<Decision> {
    let primaries: Vec<&Facts> = peers.iter().filter(|peer| peer.is_primary()).collect();
    let synced = |facts: &&&Facts| matches!(facts.phase, Phase::Running { synced: true, .. });
    let target = primaries.iter().find(synced).or(primaries.first())?;
    if let Some(other) = primaries.iter().find(|other| are_apart(target, other)) {
        return Some(Decision::Refuse(Refusal::TwoPrimaries(target.member(), other.member())));
    }
    let (Some(theirs), primary) = (target.position(), target.volume.clone()) else {
        return Some(Decision::Wait(Waiting::Starting(target.member())));
    };
    let whole = match &me.data {
        Data::Empty | Data::Unfinished | Data::Partial => true,
        Data::Unknown(why) => match &me.view {
            // It was a member: what it had is in the cluster.
            Some(view) if view.cluster == theirs.cluster => true,
            _ => return Some(Decision::Refuse(Refusal::UnknownData(why.clone()))),
        },
        Data::At { position, .. } if position.cluster != theirs.cluster => {
            return Some(Decision::Refuse(Refusal::TwoDatabases(vec![
                (me.member(), position.clone()),
                (target.member(), theirs.clone()),
            ])));
        }
        Data::At { .. } if !target.lineage.descends_from(&me.lineage) => {
            return Some(Decision::Refuse(Refusal::Branches(me.member(), target.member())));
        }
        // What is here beyond a forced bootstrap is another history: Galera itself would not notice.
        Data::At { position, .. } => {
            let since = target.lineage.0.iter().skip(me.lineage.epoch());
            since.map(|forced| forced.seqno).min().is_some_and(|seqno| position.seqno > seqno)
        }
    };
    Some(Decision::Join { primary, whole })
}

/// Two Primary components: other databases, or none of the two has the other in its view.
fn are_apart(one: &Facts, other: &Facts) -> bool {
    let sees = |from: &Facts, to: &Facts| {
        from.view.as_ref().is_none_or(|view| {
            view.members.iter().chain(&view.admitted).any(|member| member.volume == to.volume)
        })
    };
    let databases = (one.position(), other.position());
    let differ = matches!(databases, (Some(one), Some(other)) if one.cluster != other.cluster);
    differ || (one.volume != other.volume && !sees(one, other) && !sees(other, one))
}

/// What an operator has ordered, where that is not beside a Primary component.
fn forced(situation: &Situation<'_>) -> Option<Decision> {
    let me = situation.me;
    let ledger_is_empty = match situation.records {
        Records::Read(ledger) => ledger.volumes.is_empty(),
        Records::NotConfigured => true,
        Records::Unreadable(_) => false,
    };
    match (situation.force?, &me.data) {
        (Force::Volume(volume), Data::At { .. }) if *volume == me.volume => {
            Some(Decision::Bootstrap(Evidence::Forced))
        }
        (Force::Position(wanted), Data::At { position, .. }) if wanted == position => {
            Some(Decision::Bootstrap(Evidence::Forced))
        }
        // A founding that never was finished, by a volume that is lost: there is nothing yet to lose.
        (Force::Volume(volume), Data::Empty | Data::Unfinished)
            if *volume == me.volume
                && ledger_is_empty
                && situation.peers.iter().all(|peer| matches!(peer.data, Data::Empty | Data::Unfinished)) =>
        {
            Some(Decision::Found)
        }
        _ => None,
    }
}

/// Nobody who is heard has data.
fn found(situation: &Situation<'_>) -> Decision {
    let me = situation.me;
    let wait = Decision::Wait;
    let ledger = match situation.records {
        Records::Unreadable(why) => return wait(Waiting::Records(why.clone())),
        Records::NotConfigured => None,
        Records::Read(ledger) => Some(ledger),
    };
    if let Some(volume) = ledger.and_then(|ledger| ledger.volumes.first()) {
        let known =
            ledger.into_iter().flat_map(|ledger| &ledger.volumes).map(crate::facts::VolumeRecord::member);
        let cluster = volume.view.as_ref().map(|view| view.cluster.clone());
        return wait(Waiting::NoDataHere { cluster, known: known.collect() });
    }
    if let Some(founding) = ledger.and_then(|ledger| ledger.founding.as_ref()) {
        if founding.volume != me.volume {
            return wait(Waiting::Founder(founding.clone()));
        }
        if me.data != Data::Unfinished {
            return Decision::Refuse(Refusal::FoundedButEmpty(founding.clone()));
        }
    }
    if let Some(peer) = situation.peers.iter().find(|peer| peer.phase == Phase::Starting) {
        return wait(Waiting::Starting(peer.member()));
    }
    if me.slot != 1 {
        return wait(Waiting::FirstSlot);
    }
    // With records the founding is exclusive; without, everybody who is listed has to say that he has nothing.
    if ledger.is_none() && !situation.silent.is_empty() {
        return wait(Waiting::Silent(situation.silent.to_vec()));
    }
    let rivals = situation.peers.iter().filter(|peer| peer.slot == 1);
    if let Some(rival) = rivals.filter(|rival| rival.volume < me.volume).min_by_key(|rival| &rival.volume) {
        return wait(Waiting::Starting(rival.member()));
    }
    Decision::Found
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod simulation;
