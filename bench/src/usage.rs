//! What processes cost: CPU time and memory, from /proc.

use std::collections::HashMap;
use std::fs;

use test_support::process::descendants;

/// CPU time of processes, their threads and their children up to a moment.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    /// Nanoseconds on a CPU of each thread, from `schedstat`.
    threads: HashMap<(u32, u32), u64>,
    /// User and system time in ticks, threads and children that have ended included, from `stat`.
    ticks: (u64, u64),
}

/// CPU time of an interval, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cpu {
    pub(crate) total: f64,
    /// How much of it was user time, between 0 and 1; sampled by ticks of 10 ms.
    pub(crate) user_share: f64,
}

/// The kernel's USER_HZ, which is 100 on every platform that Rust's std knows.
const TICK_US: f64 = 10_000.0;

impl Usage {
    /// Of these processes and all that descend from them.
    pub(crate) fn now(roots: &[u32]) -> Self {
        let mut usage = Self::default();
        for pid in tree(roots) {
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
            for tid in tasks.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
                let path = format!("/proc/{pid}/task/{tid}/schedstat");
                if let Some(time) = fs::read_to_string(path).ok().as_deref().and_then(on_cpu) {
                    usage.threads.insert((pid, tid), time);
                }
            }
            if let Some((user, system)) =
                fs::read_to_string(format!("/proc/{pid}/stat")).ok().as_deref().and_then(ticks)
            {
                usage.ticks = (usage.ticks.0 + user, usage.ticks.1 + system);
            }
        }
        usage
    }

    /// What was used between two moments. Nanoseconds where no thread has ended meanwhile, else ticks.
    pub(crate) fn until(&self, later: &Self) -> Cpu {
        let user = later.ticks.0.saturating_sub(self.ticks.0) as f64;
        let system = later.ticks.1.saturating_sub(self.ticks.1) as f64;
        let ended = self.threads.keys().any(|thread| !later.threads.contains_key(thread));
        let total = if ended || later.threads.is_empty() {
            (user + system) * TICK_US
        } else {
            let nanoseconds: u64 = later
                .threads
                .iter()
                .map(|(thread, time)| time - self.threads.get(thread).copied().unwrap_or(0).min(*time))
                .sum();
            nanoseconds as f64 / 1000.0
        };
        let user_share = if user + system > 0.0 { user / (user + system) } else { 0.0 };
        Cpu { total, user_share }
    }
}

/// Resident memory in bytes: the sum of `Rss`, and that of `Pss`, which counts shared pages once.
pub(crate) fn memory(roots: &[u32]) -> (u64, u64) {
    let sums = tree(roots).into_iter().filter_map(|pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        Some((kib(&text, "Rss:")?, kib(&text, "Pss:")?))
    });
    sums.fold((0, 0), |(rss, pss), (r, p)| (rss + r * 1024, pss + p * 1024))
}

fn tree(roots: &[u32]) -> Vec<u32> {
    roots.iter().flat_map(|&root| std::iter::once(root).chain(descendants(root))).collect()
}

fn on_cpu(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

/// User and system time with those of children that were waited for: fields 14 to 17 of proc_pid_stat(5).
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<u64> =
        rest.split(' ').skip(11).take(4).map(|field| field.parse().ok()).collect::<Option<_>>()?;
    match fields[..] {
        [user, system, children_user, children_system] => {
            Some((user + children_user, system + children_system))
        }
        _ => None,
    }
}

fn kib(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        assert_eq!(on_cpu("123456 47801 7\n"), Some(123_456));
        let stat = "42 (a (strange) name) S 1 42 42 0 -1 4194560 1 2 3 4 150 50 7 3 20 0 8 0 99 1 2";
        assert_eq!(ticks(stat), Some((157, 53)));
        assert_eq!(ticks("42 (cut) S 1"), None);
        assert_eq!(kib("Rss:       1234 kB\nPss:   99 kB\n", "Pss:"), Some(99));
    }

    #[test]
    fn a_thread_that_ended_is_counted_by_ticks() {
        let usage = |threads: &[(u32, u64)], ticks| Usage {
            threads: threads.iter().map(|&(tid, time)| ((1, tid), time)).collect(),
            ticks,
        };
        let before = usage(&[(1, 1_000_000), (2, 500_000)], (10, 10));
        let all_there = before.until(&usage(&[(1, 3_000_000), (2, 500_000), (3, 7_000)], (13, 11)));
        assert_eq!(all_there, Cpu { total: 2007.0, user_share: 0.75 });
        let one_gone = before.until(&usage(&[(1, 3_000_000)], (13, 11)));
        assert_eq!(one_gone, Cpu { total: 40_000.0, user_share: 0.75 });
    }

    #[test]
    fn sees_this_process() {
        let (rss, pss) = memory(&[std::process::id()]);
        assert!(rss >= pss && pss > 0);
        assert!(!Usage::now(&[std::process::id()]).threads.is_empty());
    }
}
