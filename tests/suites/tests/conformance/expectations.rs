//! What each test is expected to do, committed beside the runner.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::edition::{Count, Edition, Kind, Outcomes};

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expectations {
    required: Expected,
    optimal: Expected,
    /// The tests of these two kinds that fail, each with its reason.
    pub(crate) failures: BTreeMap<String, String>,
    /// The answers to what a test only asks.
    pub(crate) check: BTreeMap<String, bool>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    passed: usize,
    of: usize,
}

/// As they are written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    required: Expected,
    optimal: Expected,
    #[serde(default)]
    failure: Vec<Failure>,
    check: BTreeMap<String, bool>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Failure {
    reason: String,
    tests: Vec<String>,
}

impl Expectations {
    pub(crate) fn read(edition: &Edition) -> Self {
        Self::read_file(&edition.expectations())
    }

    pub(crate) fn read_file(path: &Path) -> Self {
        let file: File = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let File { required, optimal, failure, check } = file;
        let with_reason =
            |Failure { reason, tests }| tests.into_iter().map(move |test| (test, String::clone(&reason)));
        Self { required, optimal, failures: failure.into_iter().flat_map(with_reason).collect(), check }
    }

    pub(crate) fn write(self, edition: &Edition) {
        let Self { required, optimal, failures, check } = self;
        let mut by_reason = BTreeMap::<String, Vec<String>>::new();
        for (test, reason) in failures {
            by_reason.entry(reason).or_default().push(test);
        }
        let failure = by_reason.into_iter().map(|(reason, tests)| Failure { reason, tests }).collect();
        let text = toml::to_string_pretty(&File { required, optimal, failure, check }).unwrap();
        std::fs::write(edition.expectations(), text).unwrap();
    }

    /// Takes what is for what is expected. Known failures keep their reasons.
    pub(crate) fn set(&mut self, outcomes: &Outcomes) {
        self.required = outcomes.count(Kind::Required).into();
        self.optimal = outcomes.count(Kind::Optimal).into();
        let mut known = std::mem::take(&mut self.failures);
        self.check.clear();
        for outcome in outcomes.iter() {
            let passes = outcomes.passes(outcome);
            if outcome.kind == Kind::Check {
                self.check.insert(outcome.id.clone(), passes);
            } else if !passes {
                let reason = known.remove(&outcome.id).unwrap_or_default();
                self.failures.insert(outcome.id.clone(), reason);
            }
        }
    }

    /// One line for every test that does something else.
    pub(crate) fn differences(&self, outcomes: &Outcomes) -> Vec<String> {
        let mut differences = Vec::new();
        for (kind, expected) in [(Kind::Required, &self.required), (Kind::Optimal, &self.optimal)] {
            let count = outcomes.count(kind);
            if Expected::from(count) != *expected {
                differences.push(format!("{kind:?}: {count}, not {}/{}", expected.passed, expected.of));
            }
        }
        let mut checks = self.check.clone();
        let mut failures = self.failures.clone();
        for outcome in outcomes.iter() {
            let (id, passes) = (&outcome.id, outcomes.passes(outcome));
            let was = match outcome.kind {
                Kind::Check => checks.remove(id),
                Kind::Required | Kind::Optimal => Some(failures.remove(id).is_none()),
            };
            let difference = match (was, passes) {
                (Some(before), now) if before == now => continue,
                (None, _) => "is not known".to_owned(),
                (Some(_), true) => "passes now".to_owned(),
                (Some(_), false) => format!("fails now: {}", outcome.problem()),
            };
            differences.push(format!("{:?} {id} {difference}\n    {}", outcome.kind, outcome.name));
        }
        let gone = checks.into_keys().chain(failures.into_keys());
        differences.extend(gone.map(|id| format!("{id} is no test of this edition")));
        differences
    }
}

impl From<Count> for Expected {
    fn from(Count { passed, of }: Count) -> Self {
        Self { passed, of }
    }
}
