//! The numbers to reach, beside what was measured.

use super::{FLOOR, Results};
use crate::statistics::Spread;

/// One number to reach.
struct Target {
    scenario: &'static str,
    what: &'static str,
    measure: Measure,
    bound: Bound,
}

#[derive(Clone, Copy)]
enum Measure {
    /// A figure of ours.
    Own(&'static str),
    /// A figure of ours as a multiple of another's.
    Over(&'static str, &'static str),
    /// A figure of one variant of ours as a multiple of that of another variant.
    Variants(&'static str, &'static str, &'static str),
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// A target with what was measured of it.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) what: &'static str,
    pub(super) scenario: &'static str,
    pub(super) bound: String,
    /// `None` if the scenario was not run.
    pub(super) measured: Option<Spread>,
    pub(super) reached: Option<bool>,
}

const fn over(scenario: &'static str, what: &'static str, other: &'static str, most: f64) -> Target {
    Target { scenario, what, measure: Measure::Over("cpu_us", other), bound: Bound::AtMost(most) }
}

/// How far two may differ to be called level; what is measured spreads as much.
const LEVEL: f64 = 1.05;

const TARGETS: &[Target] = &[
    over("hit-1k", "CPU of a 1 KiB hit as a multiple of Varnish's", "Varnish", 1.0 / 2.5),
    over("hit-1k", "CPU of a 1 KiB hit as a multiple of nginx's", "nginx", 1.0 / 1.6),
    over("hit-1k", "CPU of a 1 KiB hit as a multiple of HAProxy's", "HAProxy", 1.0),
    over("hit-1k", "CPU of a 1 KiB hit as a multiple of the floor", FLOOR, 1.35),
    over("hit-16k", "CPU of a 16 KiB hit as a multiple of Varnish's", "Varnish", 1.0 / 2.5),
    over("hit-16k", "CPU of a 16 KiB hit as a multiple of nginx's", "nginx", 1.0 / 1.6),
    over("hit-16k", "CPU of a 16 KiB hit as a multiple of HAProxy's", "HAProxy", 1.0),
    over("hit-16k", "CPU of a 16 KiB hit as a multiple of the floor", FLOOR, 1.35),
    Target {
        scenario: "hit-256k",
        what: "bytes per CPU second of a 256 KiB hit as a multiple of nginx's: level",
        measure: Measure::Over("mib_per_cpu_s", "nginx"),
        bound: Bound::AtLeast(1.0 / LEVEL),
    },
    Target {
        scenario: "hit-million",
        what: "CPU of a hit among a million objects as a multiple of that among a thousand",
        measure: Measure::Variants("cpu_us", "1,000,000 objects", "1,000 objects"),
        bound: Bound::AtMost(1.3),
    },
    Target {
        scenario: "hit-10k-connections",
        what: "KiB for each of 10,000 idle connections",
        measure: Measure::Own("connection_kib"),
        bound: Bound::AtMost(12.0),
    },
    Target {
        scenario: "coalesced",
        what: "requests to the origin for a thousand clients",
        measure: Measure::Own("origin_requests"),
        bound: Bound::AtMost(1.0),
    },
    Target {
        scenario: "cores",
        what: "throughput of two cores as a multiple of one core's, from CPU per request",
        measure: Measure::Variants("capacity_rps", "2 cores", "1 core"),
        bound: Bound::AtLeast(1.8),
    },
    over("static-1k", "CPU of a 1 KiB file as a multiple of Apache's", "Apache", 1.0 / 8.0),
    over("static-1k", "CPU of a 1 KiB file as a multiple of nginx's: level", "nginx", LEVEL),
    over("static-64k", "CPU of a 64 KiB file as a multiple of Apache's", "Apache", 1.0 / 8.0),
    over("static-64k", "CPU of a 64 KiB file as a multiple of nginx's: level", "nginx", LEVEL),
    over("static-10m", "CPU of a 10 MiB file as a multiple of nginx's", "nginx", 1.15),
    Target {
        scenario: "php-trivial",
        what: "throughput of a trivial PHP page as a multiple of nginx's",
        measure: Measure::Over("rps", "nginx"),
        bound: Bound::AtLeast(0.95),
    },
    over("php-trivial", "CPU of both hops as a multiple of nginx's one", "nginx", 1.0),
    Target {
        scenario: "overload",
        what: "requests lost in overload: neither served nor answered 503",
        measure: Measure::Own("failed"),
        bound: Bound::AtMost(0.0),
    },
    Target {
        scenario: "overload",
        what: "p99 of a 503 in overload, ms: at once",
        measure: Measure::Own("refusal_p99_ms"),
        bound: Bound::AtMost(100.0),
    },
];

pub(super) fn outcomes(all: &[Results]) -> Vec<Outcome> {
    TARGETS.iter().map(|target| outcome(target, all)).collect()
}

fn outcome(target: &Target, all: &[Results]) -> Outcome {
    let results = all.iter().find(|results| results.scenario == target.scenario);
    let measured = results.and_then(|results| measured(target.measure, results));
    let (bound, reached) = match target.bound {
        Bound::AtMost(most) => (format!("≤ {}", number(most)), measured.map(|spread| spread.median <= most)),
        Bound::AtLeast(least) => {
            (format!("≥ {}", number(least)), measured.map(|spread| spread.median >= least))
        }
    };
    Outcome { what: target.what, scenario: target.scenario, bound, measured, reached }
}

fn measured(measure: Measure, results: &Results) -> Option<Spread> {
    match measure {
        Measure::Own(figure) => results.ours("")?.spread(figure),
        Measure::Over(figure, other) => results.ours("")?.over(results.line(other, "")?, figure),
        Measure::Variants(figure, one, other) => results.ours(one)?.over(results.ours(other)?, figure),
    }
}

/// With as many digits as it needs.
pub(super) fn number(value: f64) -> String {
    if value >= 100.0 || value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::super::tests::results;
    use super::*;

    #[test]
    fn every_target_is_of_a_scenario_and_a_figure_that_exist() {
        for target in TARGETS {
            assert!(crate::scenario::SCENARIOS.iter().any(|scenario| scenario.name == target.scenario));
            let (Measure::Own(figure) | Measure::Over(figure, _) | Measure::Variants(figure, ..)) =
                target.measure;
            assert!(super::super::FIGURES.iter().any(|known| known.name == figure), "{figure}");
        }
    }

    #[test]
    fn reached_or_not() {
        let all = [results(
            "hit-1k",
            &[("edge-cache", true, 10.0), ("Varnish", false, 30.0), ("nginx", false, 12.0)],
        )];
        let outcomes = outcomes(&all);
        let of = |what: &str| outcomes.iter().find(|outcome| outcome.what.contains(what)).unwrap();
        assert_eq!(of("1 KiB hit as a multiple of Varnish").reached, Some(true));
        assert_eq!(of("1 KiB hit as a multiple of nginx").reached, Some(false));
        // Not there, and not run.
        assert_eq!(of("1 KiB hit as a multiple of HAProxy").reached, None);
        assert_eq!(of("16 KiB hit as a multiple of nginx").reached, None);
    }
}
