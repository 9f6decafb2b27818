//! There is data, and nobody is Primary: who starts?

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::{Absence, Decision, Evidence, Records, Refusal, Situation, Waiting};
use crate::facts::{Data, Facts, Member, Phase, RecordedState, View, VolumeRecord};

/// How far: forced bootstraps first, then the sequence number.
type Progress = (usize, i64);

pub(super) fn elect(situation: &Situation<'_>) -> Decision {
    let me = situation.me;
    let heard: Vec<&Facts> = std::iter::once(me).chain(situation.peers).collect();
    let absent: Vec<&VolumeRecord> = match situation.records {
        Records::Read(ledger) => ledger.volumes.iter().filter(|record| !is_heard(&heard, record)).collect(),
        Records::NotConfigured | Records::Unreadable(_) => Vec::new(),
    };

    if let Some(refusal) = different_databases(&heard, &absent).or_else(|| branches(&heard, &absent)) {
        return Decision::Refuse(refusal);
    }
    // Whose position still moves, or is not known yet.
    let moving = |facts: &&&Facts| matches!(facts.phase, Phase::Starting | Phase::Joining | Phase::Stopping);
    if let Some(peer) = heard.iter().skip(1).find(moving) {
        return Decision::Wait(Waiting::Unsettled(peer.member()));
    }
    let Some(best) =
        heard.iter().copied().filter(|facts| facts.position().is_some()).max_by(|a, b| rank(a).cmp(&rank(b)))
    else {
        return nobody_can(situation, &heard, &absent);
    };
    let Some(progress) = progress(best) else { return nobody_can(situation, &heard, &absent) };

    let newer: Vec<&&VolumeRecord> =
        absent.iter().filter(|record| recorded(record).is_some_and(|theirs| theirs > progress)).collect();
    if let Some(record) = newer.iter().max_by_key(|record| recorded(record)) {
        let Some(position) = record.position.clone() else {
            return Decision::Wait(Waiting::Missing(vec![(
                record.member(),
                Absence::NotHeard(Some(record.at)),
            )]));
        };
        return Decision::Wait(Waiting::Newer { member: record.member(), position, at: record.at });
    }

    let views =
        || heard.iter().filter_map(|f| f.view.as_ref()).chain(absent.iter().filter_map(|r| r.view.as_ref()));
    let latest = views().map(|view| (view.epoch, view.seqno)).max();
    let last_to_leave = matches!(best.data, Data::At { last_to_leave: true, .. });
    let evidence = if last_to_leave && latest.is_none_or(|latest| latest <= progress) {
        Evidence::LastToLeave
    } else {
        let Some(latest) = latest else { return Decision::Refuse(Refusal::NoView(best.member())) };
        let views: Vec<&View> = views().filter(|view| (view.epoch, view.seqno) == latest).collect();
        let admitted: BTreeSet<&Member> = views.iter().flat_map(|view| &view.admitted).collect();
        let required = views.iter().flat_map(|view| &view.members).chain(admitted.iter().copied());
        let required: BTreeSet<&Member> = required.collect();
        let missing: Vec<(Member, Absence)> = required
            .into_iter()
            .filter_map(|member| {
                // A stop counts if it came after the view began; else the volume has run again since.
                let stopped = if admitted.contains(member) { None } else { Some(latest..=progress) };
                Some((member.clone(), absence(member, &heard, &absent, stopped)?))
            })
            .collect();
        if !missing.is_empty() {
            return Decision::Wait(Waiting::Missing(missing));
        }
        Evidence::AllAccounted
    };
    if best.volume != me.volume {
        return Decision::Wait(Waiting::Winner { member: best.member(), seqno: progress.1 });
    }
    // A node that runs without a majority and is behind gives way first: it could still find its majority.
    let running = |facts: &&&Facts| matches!(facts.phase, Phase::Running { .. });
    match heard.iter().skip(1).find(running) {
        Some(peer) if !running(&&me) => Decision::Wait(Waiting::GivesWay(peer.member())),
        _ => Decision::Bootstrap(evidence),
    }
}

/// Highest first; of equals one that runs, then the lowest slot, then the lowest id.
fn rank(facts: &Facts) -> (Option<Progress>, bool, Reverse<u32>, Reverse<&str>) {
    let runs = matches!(facts.phase, Phase::Running { .. });
    (progress(facts), runs, Reverse(facts.slot), Reverse(&facts.volume.0))
}

fn progress(facts: &Facts) -> Option<Progress> {
    facts.position().map(|position| (facts.lineage.epoch(), position.seqno))
}

/// Where a volume that is not heard has been for certain.
fn recorded(record: &VolumeRecord) -> Option<Progress> {
    match record.state {
        RecordedState::Stopped => {
            record.position.as_ref().map(|position| (record.lineage.epoch(), position.seqno))
        }
        RecordedState::Running => None,
    }
}

/// `None` where nothing that this volume has acknowledged is beyond the winner. A volume that is not heard may have
/// `stopped` in order somewhere in that range.
fn absence(
    member: &Member,
    heard: &[&Facts],
    absent: &[&VolumeRecord],
    stopped: Option<RangeInclusive<Progress>>,
) -> Option<Absence> {
    if let Some(facts) = heard.iter().find(|facts| facts.volume == member.volume) {
        return match &facts.data {
            Data::At { .. } | Data::Partial => None,
            // Let in, and never came to hold anything. With a view it was a member.
            Data::Empty | Data::Unfinished => facts.view.is_some().then_some(Absence::Emptied),
            Data::Unknown(why) => Some(Absence::Damaged(why.clone())),
        };
    }
    let Some(record) = absent.iter().find(|record| record.volume == member.volume) else {
        return Some(Absence::NotHeard(None));
    };
    let at = recorded(record);
    let covered = stopped.zip(at).is_some_and(|(range, at)| range.contains(&at));
    (!covered).then_some(Absence::NotHeard(Some(record.at)))
}

fn is_heard(heard: &[&Facts], record: &VolumeRecord) -> bool {
    heard.iter().any(|facts| facts.volume == record.volume)
}

fn different_databases(heard: &[&Facts], absent: &[&VolumeRecord]) -> Option<Refusal> {
    let recorded = absent.iter().filter_map(|record| Some((record.member(), record.position.clone()?)));
    let heard = heard.iter().filter_map(|facts| Some((facts.member(), facts.position()?.clone())));
    let all: Vec<_> = heard.chain(recorded).collect();
    let (_, first) = all.first()?;
    all.iter()
        .any(|(_, position)| position.cluster != first.cluster)
        .then(|| Refusal::TwoDatabases(all.clone()))
}

/// Two forced bootstraps that knew nothing of each other.
fn branches(heard: &[&Facts], absent: &[&VolumeRecord]) -> Option<Refusal> {
    let heard = heard.iter().map(|facts| (facts.member(), &facts.lineage));
    let all: Vec<_> = heard.chain(absent.iter().map(|record| (record.member(), &record.lineage))).collect();
    let (longest, lineage) = all.iter().max_by_key(|(_, lineage)| lineage.epoch())?;
    let (other, _) = all.iter().find(|(_, other)| !lineage.descends_from(other))?;
    Some(Refusal::Branches(longest.clone(), other.clone()))
}

/// There is data, but none that a database could be started from.
fn nobody_can(situation: &Situation<'_>, heard: &[&Facts], absent: &[&VolumeRecord]) -> Decision {
    if let Data::Unknown(why) = &situation.me.data
        && situation.me.view.is_none()
    {
        return Decision::Refuse(Refusal::UnknownData(why.clone()));
    }
    let members = heard
        .iter()
        .filter_map(|facts| facts.view.as_ref())
        .flat_map(|view| &view.members)
        .filter(|member| !heard.iter().any(|facts| facts.volume == member.volume));
    let known: BTreeSet<Member> =
        members.cloned().chain(absent.iter().map(|record| record.member())).collect();
    Decision::Wait(Waiting::NobodyCan(known.into_iter().collect()))
}
