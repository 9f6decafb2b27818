//! What is thought of one node. Pure: answers and the time in, a state out.

use std::time::Duration;

use tokio::time::Instant;

use super::observation::{Answer, Observation, Wsrep};
use crate::dependencies::options::Thresholds;

/// A node's state with its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Not asked yet.
    Unknown,
    Synced,
    /// A server without Galera that takes statements.
    Standalone,
    /// Synced, with more in its receive queue than it should have.
    Lagging,
    /// It gives its state to a node that joins.
    Donor,
    /// `wsrep_desync`: an operator let it fall behind, for a backup for instance.
    Desynced,
    /// `read_only`, and otherwise well.
    ReadOnly,
    /// Its state is not known: it does not let us in.
    Denied,
    /// It receives the state, or what it has missed since.
    Joining,
    RejectsQueries,
    /// Not a member of a Primary component.
    NotPrimary,
    /// A member that does not take statements.
    NotReady,
    /// It speaks something else, or breaks off.
    Broken,
    Silent,
    Unreachable,
}

/// What a node is good for, from nothing up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    None,
    /// Nobody knows: better than nothing.
    Denied,
    ReadOnly,
    /// It takes statements, but has other things to do: used when there is nothing better.
    LastResort,
    Best,
}

/// One node over time.
#[derive(Debug, Clone)]
pub struct Node {
    state: State,
    since: Instant,
    /// Answers in a row that would change the state.
    streak: u32,
    /// The last answer; one that stays out does not replace it before it counts.
    said: Option<Observation>,
    /// Why there was none when it was last asked.
    trouble: Option<String>,
    paused: Pause,
}

/// Flow control between the last two answers.
#[derive(Debug, Clone, Copy, Default)]
struct Pause {
    at: Option<(Instant, u64)>,
    share: f64,
}

impl State {
    pub const ALL: [Self; 15] = [
        Self::Unknown,
        Self::Synced,
        Self::Standalone,
        Self::Lagging,
        Self::Donor,
        Self::Desynced,
        Self::ReadOnly,
        Self::Denied,
        Self::Joining,
        Self::RejectsQueries,
        Self::NotPrimary,
        Self::NotReady,
        Self::Broken,
        Self::Silent,
        Self::Unreachable,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Synced => "synced",
            Self::Standalone => "standalone",
            Self::Lagging => "lagging",
            Self::Donor => "donor",
            Self::Desynced => "desynced",
            Self::ReadOnly => "read_only",
            Self::Denied => "denied",
            Self::Joining => "joining",
            Self::RejectsQueries => "rejects_queries",
            Self::NotPrimary => "not_primary",
            Self::NotReady => "not_ready",
            Self::Broken => "broken",
            Self::Silent => "silent",
            Self::Unreachable => "unreachable",
        }
    }

    pub const fn rank(self) -> Rank {
        match self {
            Self::Synced | Self::Standalone => Rank::Best,
            Self::Lagging | Self::Donor | Self::Desynced => Rank::LastResort,
            Self::ReadOnly => Rank::ReadOnly,
            Self::Denied => Rank::Denied,
            Self::Unknown
            | Self::Joining
            | Self::RejectsQueries
            | Self::NotPrimary
            | Self::NotReady
            | Self::Broken
            | Self::Silent
            | Self::Unreachable => Rank::None,
        }
    }
}

impl Node {
    pub const fn new(now: Instant) -> Self {
        Self {
            state: State::Unknown,
            since: now,
            streak: 0,
            said: None,
            trouble: None,
            paused: Pause { at: None, share: 0.0 },
        }
    }

    /// Takes an answer. What a node says against itself counts at once, and so does its first answer. What
    /// stays without an answer counts after `fall` questions, and a better state after `rise` answers.
    pub fn note(&mut self, answer: Answer, now: Instant, queue: u64, thresholds: Thresholds) {
        let seen = classify(&answer, queue, self.state);
        let no_answer = matches!(seen, State::Silent | State::Unreachable | State::Broken);
        let needed = if self.state == State::Unknown {
            1
        } else if no_answer && self.state.rank() > Rank::None {
            thresholds.fall
        } else if seen.rank() > self.state.rank() {
            thresholds.rise
        } else {
            1
        };
        self.streak = if seen == self.state { 0 } else { self.streak + 1 };
        if seen != self.state && self.streak >= needed {
            self.state = seen;
            self.since = now;
            self.streak = 0;
        }
        // Until its silence counts, what it said last does.
        let keep = no_answer && self.state != seen;
        self.take(answer, keep, now);
    }

    fn take(&mut self, answer: Answer, keep: bool, now: Instant) {
        let (said, trouble) = match answer {
            Answer::Said(said) => (Some(said), None),
            Answer::NotReady => (None, Some("error 1047: it does not take statements".to_owned())),
            Answer::Denied(why) | Answer::Unreachable(why) | Answer::Broken(why) => (None, Some(why)),
            Answer::Silent => (None, Some("no answer in time".to_owned())),
        };
        self.trouble = trouble;
        if !keep {
            self.said = said;
            let paused_ns = self.wsrep().map(|wsrep| wsrep.paused_ns);
            self.paused = self.paused.after(now, paused_ns);
        }
    }

    pub const fn state(&self) -> State {
        self.state
    }

    /// How long it has been in its state.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// What it said last, while that counts.
    pub const fn said(&self) -> Option<&Observation> {
        self.said.as_ref()
    }

    pub const fn wsrep(&self) -> Option<&Wsrep> {
        match &self.said {
            Some(said) => said.wsrep.as_ref(),
            None => None,
        }
    }

    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// The part of the time that flow control held replication back, between the last two answers.
    pub const fn paused(&self) -> f64 {
        self.paused.share
    }

    /// It did not answer, and is still used: it is asked again soon.
    pub const fn is_wavering(&self) -> bool {
        self.streak > 0 && self.trouble.is_some() && self.said.is_some()
    }
}

impl Pause {
    fn after(self, now: Instant, paused_ns: Option<u64>) -> Self {
        let Some(paused_ns) = paused_ns else { return Self::default() };
        let share = self.at.map_or(0.0, |(at, before)| {
            let elapsed = now.saturating_duration_since(at).as_nanos() as f64;
            // Less than before: the counter was reset.
            let paused = paused_ns.saturating_sub(before) as f64;
            if elapsed > 0.0 { (paused / elapsed).clamp(0.0, 1.0) } else { 0.0 }
        });
        Self { at: Some((now, paused_ns)), share }
    }
}

/// What one answer says, for a node that was in the state `before`.
fn classify(answer: &Answer, queue: u64, before: State) -> State {
    let said = match answer {
        Answer::Said(said) => said,
        Answer::NotReady => return State::NotReady,
        Answer::Denied(_) => return State::Denied,
        Answer::Unreachable(_) => return State::Unreachable,
        Answer::Silent => return State::Silent,
        Answer::Broken(_) => return State::Broken,
    };
    let Some(wsrep) = &said.wsrep else {
        return if said.read_only { State::ReadOnly } else { State::Standalone };
    };
    // Who lags has caught up at half of what made him lag.
    let queue = if before == State::Lagging { queue / 2 } else { queue };
    match wsrep.local_state {
        _ if !wsrep.primary || !wsrep.connected => State::NotPrimary,
        _ if wsrep.rejects_queries => State::RejectsQueries,
        1 | 3 => State::Joining,
        _ if !wsrep.ready => State::NotReady,
        2 | 4 if wsrep.desync => State::Desynced,
        2 => State::Donor,
        4 if said.read_only => State::ReadOnly,
        4 if wsrep.recv_queue > queue => State::Lagging,
        4 => State::Synced,
        _ => State::NotReady,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: u64 = 100;
    const THRESHOLDS: Thresholds = Thresholds { fall: 2, rise: 3 };

    fn synced() -> Wsrep {
        Wsrep { primary: true, ready: true, connected: true, local_state: 4, ..Wsrep::default() }
    }

    fn said(wsrep: Wsrep) -> Answer {
        Answer::Said(Observation { wsrep: Some(wsrep), read_only: false })
    }

    fn unreachable() -> Answer {
        Answer::Unreachable("refused".into())
    }

    #[test]
    fn answers() {
        let read_only = |wsrep| Answer::Said(Observation { wsrep, read_only: true });
        let table: [(Answer, State); 20] = [
            (said(synced()), State::Synced),
            (said(Wsrep { recv_queue: 100, ..synced() }), State::Synced),
            (said(Wsrep { recv_queue: 101, ..synced() }), State::Lagging),
            (said(Wsrep { local_state: 1, ready: false, ..synced() }), State::Joining),
            (said(Wsrep { local_state: 3, ready: false, ..synced() }), State::Joining),
            (said(Wsrep { local_state: 2, ..synced() }), State::Donor),
            (said(Wsrep { local_state: 2, desync: true, ..synced() }), State::Desynced),
            (said(Wsrep { desync: true, ..synced() }), State::Desynced),
            (said(Wsrep { rejects_queries: true, ..synced() }), State::RejectsQueries),
            (said(Wsrep { primary: false, ready: false, local_state: 0, ..synced() }), State::NotPrimary),
            (said(Wsrep { connected: false, ..synced() }), State::NotPrimary),
            (said(Wsrep { ready: false, ..synced() }), State::NotReady),
            (said(Wsrep { local_state: 9, ..synced() }), State::NotReady),
            (read_only(Some(synced())), State::ReadOnly),
            (read_only(None), State::ReadOnly),
            (Answer::Said(Observation::default()), State::Standalone),
            (Answer::NotReady, State::NotReady),
            (Answer::Denied("1045".into()), State::Denied),
            (Answer::Silent, State::Silent),
            (unreachable(), State::Unreachable),
        ];
        for (answer, state) in table {
            let mut node = Node::new(Instant::now());
            assert_eq!(node.state(), State::Unknown);
            node.note(answer.clone(), Instant::now(), QUEUE, THRESHOLDS);
            assert_eq!(node.state(), state, "the first answer counts at once: {answer:?}");
        }
    }

    /// A sequence of answers, and the state after each.
    #[test]
    fn thresholds() {
        use State::{Donor, Lagging, NotPrimary, Silent, Synced, Unreachable};
        let donor = || said(Wsrep { local_state: 2, ..synced() });
        let not_primary = || said(Wsrep { primary: false, ..synced() });
        let queue = |recv_queue| said(Wsrep { recv_queue, ..synced() });
        let table: [&[(Answer, State)]; 7] = [
            // A node that does not answer once is still used.
            &[
                (said(synced()), Synced),
                (unreachable(), Synced),
                (said(synced()), Synced),
                (unreachable(), Synced),
            ],
            &[(said(synced()), Synced), (Answer::Silent, Synced), (Answer::Silent, Silent)],
            // Whatever kept it from answering.
            &[(said(synced()), Synced), (Answer::Silent, Synced), (unreachable(), Unreachable)],
            // What it says against itself counts at once; that it is well again, when it has said so for a while.
            &[
                (said(synced()), Synced),
                (not_primary(), NotPrimary),
                (said(synced()), NotPrimary),
                (said(synced()), NotPrimary),
                (said(synced()), Synced),
            ],
            &[
                (unreachable(), Unreachable),
                (said(synced()), Unreachable),
                (unreachable(), Unreachable),
                (said(synced()), Unreachable),
                (said(synced()), Unreachable),
                (said(synced()), Synced),
            ],
            // Among states of no use there is no waiting, and no answer is better than another.
            &[
                (unreachable(), Unreachable),
                (not_primary(), NotPrimary),
                (Answer::Silent, Silent),
                (donor(), Silent),
            ],
            &[
                (queue(100), Synced),
                (queue(101), Lagging),
                (queue(100), Lagging),
                (queue(51), Lagging),
                (queue(50), Lagging),
                (queue(50), Lagging),
                (queue(50), Synced),
            ],
        ];
        for (row, sequence) in table.iter().enumerate() {
            let mut node = Node::new(Instant::now());
            for (step, (answer, state)) in sequence.iter().enumerate() {
                node.note(answer.clone(), Instant::now(), QUEUE, THRESHOLDS);
                assert_eq!(node.state(), *state, "row {row}, step {step}");
            }
        }
        assert!(Donor.rank() < Synced.rank());
    }

    #[test]
    fn flow_control_is_measured_between_two_answers() {
        let mut node = Node::new(Instant::now());
        let mut now = Instant::now();
        let mut shares = Vec::new();
        for paused_ns in [5_000_000_000, 5_250_000_000, 5_250_000_000, 0, 1_000_000_000] {
            now += Duration::from_secs(1);
            node.note(said(Wsrep { paused_ns, ..synced() }), now, QUEUE, THRESHOLDS);
            shares.push((node.paused() * 100.0).round() as i64);
        }
        assert_eq!(shares, [0, 25, 0, 0, 100]);
    }
}
