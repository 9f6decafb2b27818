//! What is thought of one memcached server. Pure: answers and the time in, a state out.

use std::time::Duration;

use tokio::time::Instant;

use crate::dependencies::options::Thresholds;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Not asked yet.
    Unknown,
    Up,
    Unreachable,
    Silent,
    /// It speaks something else, or breaks off.
    Broken,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    pub version: String,
    pub uptime: u64,
    pub curr_connections: u64,
    pub max_connections: u64,
    pub get_hits: u64,
    pub get_misses: u64,
    pub evictions: u64,
    pub bytes: u64,
    pub limit_bytes: u64,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Said(Stats),
    Unreachable(String),
    Silent,
    Broken(String),
}

/// One server over time.
#[derive(Debug, Clone)]
pub struct Server {
    state: State,
    since: Instant,
    /// Since when it is of no use, whatever the reason; `None` while it may be of use.
    absent: Option<Instant>,
    streak: u32,
    stats: Option<Stats>,
    trouble: Option<String>,
    window: Window,
}

/// Hits and evictions over the last while: those since the server's start say nothing of now.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    began: Option<(Instant, [u64; 3])>,
    hit_ratio: Option<f64>,
    evictions_per_second: f64,
}

const WINDOW: Duration = Duration::from_mins(1);

impl State {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Unreachable => "unreachable",
            Self::Silent => "silent",
            Self::Broken => "broken",
        }
    }
}

impl Server {
    pub const fn new(now: Instant) -> Self {
        Self {
            state: State::Unknown,
            since: now,
            absent: None,
            streak: 0,
            stats: None,
            trouble: None,
            window: Window { began: None, hit_ratio: None, evictions_per_second: 0.0 },
        }
    }

    /// The first answer counts at once; then `fall` that stay out put it out of use, and `rise` bring it back.
    pub fn note(&mut self, answer: Answer, now: Instant, thresholds: Thresholds) {
        let (seen, stats, trouble) = match answer {
            Answer::Said(stats) => (State::Up, Some(stats), None),
            Answer::Unreachable(why) => (State::Unreachable, None, Some(why)),
            Answer::Silent => (State::Silent, None, Some("no answer in time".to_owned())),
            Answer::Broken(why) => (State::Broken, None, Some(why)),
        };
        let needed = match self.state {
            State::Unknown => 1,
            State::Up => thresholds.fall,
            _ if seen == State::Up => thresholds.rise,
            _ => 1,
        };
        self.streak = if seen == self.state { 0 } else { self.streak + 1 };
        if seen != self.state && self.streak >= needed {
            self.state = seen;
            self.since = now;
            self.streak = 0;
            self.absent = if seen == State::Up { None } else { Some(self.absent.unwrap_or(now)) };
        }
        self.window.take(stats.as_ref(), now);
        if stats.is_some() || self.state != State::Up {
            self.stats = stats;
        }
        self.trouble = trouble;
    }

    pub const fn state(&self) -> State {
        self.state
    }

    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// How long it has been of no use.
    pub fn absence(&self, now: Instant) -> Option<Duration> {
        self.absent.map(|since| now.saturating_duration_since(since))
    }

    pub const fn stats(&self) -> Option<&Stats> {
        self.stats.as_ref()
    }

    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Of the last minute; `None` when nothing was asked for.
    pub const fn hit_ratio(&self) -> Option<f64> {
        self.window.hit_ratio
    }

    /// Of the last minute.
    pub const fn evictions_per_second(&self) -> f64 {
        self.window.evictions_per_second
    }

    /// It did not answer, and is still used: it is asked again soon.
    pub fn is_wavering(&self) -> bool {
        self.state == State::Up && self.streak > 0
    }
}

impl Window {
    fn take(&mut self, stats: Option<&Stats>, now: Instant) {
        let Some(stats) = stats else { return };
        let counts = [stats.get_hits, stats.get_misses, stats.evictions];
        let Some((began, before)) = self.began else {
            self.began = Some((now, counts));
            return;
        };
        // Less than before: it has started anew.
        if counts.iter().zip(before).any(|(count, before)| *count < before) {
            *self = Self { began: Some((now, counts)), ..Self::default() };
            return;
        }
        let [hits, misses, evictions] = [0, 1, 2].map(|n: usize| counts[n] - before[n]);
        let elapsed = now.saturating_duration_since(began);
        let asked = hits + misses;
        self.hit_ratio = (asked > 0).then(|| hits as f64 / asked as f64);
        if !elapsed.is_zero() {
            self.evictions_per_second = evictions as f64 / elapsed.as_secs_f64();
        }
        if elapsed >= WINDOW {
            self.began = Some((now, counts));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { fall: 2, rise: 3 };

    fn up() -> Answer {
        Answer::Said(Stats::default())
    }

    fn refused() -> Answer {
        Answer::Unreachable("refused".into())
    }

    #[test]
    fn thresholds() {
        use State::{Silent, Unreachable, Up};
        let table: [&[(Answer, State)]; 4] = [
            &[(refused(), Unreachable), (up(), Unreachable), (up(), Unreachable), (up(), Up)],
            &[(up(), Up), (refused(), Up), (up(), Up), (refused(), Up), (refused(), Unreachable)],
            &[
                (up(), Up),
                (refused(), Up),
                (Answer::Silent, Silent),
                (refused(), Unreachable),
                (up(), Unreachable),
            ],
            &[
                (refused(), Unreachable),
                (up(), Unreachable),
                (refused(), Unreachable),
                (up(), Unreachable),
                (up(), Unreachable),
                (up(), Up),
            ],
        ];
        for (row, sequence) in table.iter().enumerate() {
            let mut server = Server::new(Instant::now());
            for (step, (answer, state)) in sequence.iter().enumerate() {
                server.note(answer.clone(), Instant::now(), THRESHOLDS);
                assert_eq!(server.state(), *state, "row {row}, step {step}");
            }
        }
    }

    #[test]
    fn an_absence_lasts_whatever_its_reasons() {
        let start = Instant::now();
        let mut server = Server::new(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        server.note(refused(), at(1), THRESHOLDS);
        server.note(Answer::Silent, at(5), THRESHOLDS);
        assert_eq!(server.absence(at(11)), Some(Duration::from_secs(10)));
        for second in 12..15 {
            server.note(up(), at(second), THRESHOLDS);
        }
        assert_eq!(server.absence(at(15)), None);
    }

    #[test]
    fn ratios_are_of_the_last_while() {
        let start = Instant::now();
        let mut server = Server::new(start);
        let mut ask = |seconds, get_hits, get_misses, evictions| {
            let stats = Stats { get_hits, get_misses, evictions, ..Stats::default() };
            server.note(Answer::Said(stats), start + Duration::from_secs(seconds), THRESHOLDS);
            let ratio = server.hit_ratio().map(|ratio| (ratio * 100.0).round() as i64);
            (ratio, server.evictions_per_second().round() as i64)
        };
        assert_eq!(ask(0, 1000, 0, 50), (None, 0), "since its start");
        assert_eq!(ask(10, 1000, 0, 50), (None, 0), "nothing was asked for");
        assert_eq!(ask(20, 1030, 10, 90), (Some(75), 2));
        assert_eq!(ask(60, 1060, 60, 170), (Some(50), 2));
        assert_eq!(ask(61, 1061, 60, 170), (Some(100), 0), "the next window");
        assert_eq!(ask(62, 5, 0, 0), (None, 0), "it has started anew");
    }
}
