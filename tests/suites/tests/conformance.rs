//! http-cache-tests against edge-cache: no fewer tests may pass than `conformance/baseline.json` says.
//!
//! `PRINT_FAILURES=1` lists what fails; `CONFORMANCE_ID=freshness-max-age` runs one test and shows its traffic.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};
use suites::service::{Service, cache, root};
use tempfile::TempDir;
use test_support::process::{Group, program};
use test_support::wait::{DEADLINE, wait_for};

#[derive(Debug, Deserialize)]
struct Outcome {
    id: String,
    name: String,
    kind: Kind,
    depends_on: Vec<String>,
    passed: bool,
    problem: Option<String>,
}

/// What a failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// The cache violates the standard.
    Required,
    /// It missed a chance to reuse a response.
    Optimal,
    /// Nothing: the test asks how the cache behaves.
    Check,
}

/// What may only rise.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Baseline {
    required: Passed,
    optimal: Passed,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Passed {
    passed: usize,
    of: usize,
}

#[tokio::test]
async fn no_worse_than_the_baseline() {
    let package = package();
    let (origin, port) = Origin::start(&package).await;
    let edge =
        Service::start("edge-cache", &["--origin", &format!("http://127.0.0.1:{port}")]).await.unwrap();

    if let Ok(id) = env::var("CONFORMANCE_ID") {
        return show(&package, &edge, &id).await;
    }
    let outcomes = run(&package, &edge.url("")).await;
    drop(origin);

    if env::var_os("PRINT_FAILURES").is_some() {
        print_failures(&outcomes);
    }
    let now =
        Baseline { required: count(&outcomes, Kind::Required), optimal: count(&outcomes, Kind::Optimal) };
    let yes = count(&outcomes, Kind::Check);
    // ./test shows notes.
    println!(
        "\nnote: http-cache-tests: required {}/{}, optimal {}/{}, check {}/{} yes",
        now.required.passed, now.required.of, now.optimal.passed, now.optimal.of, yes.passed, yes.of
    );
    let file = root().join("tests/suites/conformance/baseline.json");
    let baseline: Baseline = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    for (what, now, before) in
        [("required", &now.required, &baseline.required), ("optimal", &now.optimal, &baseline.optimal)]
    {
        assert_eq!(
            now.of, before.of,
            "the number of {what} tests has changed: another version of the package?"
        );
        if now.passed < before.passed {
            print_failures(&outcomes);
            panic!("{} of {} {what} tests pass, {} did before", now.passed, now.of, before.passed);
        }
        if now.passed > before.passed {
            println!(
                "note: better than the baseline: set {what}.passed to {} in {}",
                now.passed,
                file.display()
            );
        }
    }
}

/// The package's test server, which answers as each test wants it.
struct Origin {
    _group: Group,
    _folder: TempDir,
}

impl Origin {
    async fn start(package: &Path) -> (Self, u16) {
        let folder = tempfile::Builder::new().prefix("test-conformance-").tempdir().unwrap();
        let mut command = Command::new(program(&["node", "nodejs"]).unwrap());
        command
            .arg(package.join("server/server.mjs"))
            .current_dir(folder.path())
            .env("npm_config_protocol", "http")
            .env("npm_config_port", "0")
            .env("npm_config_pidfile", folder.path().join("pid"));
        let group = Group::spawn(command, &folder.path().join("log")).unwrap();
        let port = wait_for("the test server", DEADLINE, async || {
            let log = group.log();
            let (_, after) = log.split_once("Listening on ")?;
            after.lines().next()?.trim_end_matches('/').rsplit(':').next()?.parse().ok()
        })
        .await;
        (Self { _group: group, _folder: folder }, port)
    }
}

async fn run(package: &Path, base: &str) -> Vec<Outcome> {
    let output = tokio::process::Command::new(program(&["node", "nodejs"]).unwrap())
        .arg(root().join("tests/suites/conformance/run.mjs"))
        .arg(package)
        .arg(base)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {} {}", output.status, String::from_utf8_lossy(&output.stderr))
    })
}

/// One test with the package's own client, which then shows what goes over the wire.
async fn show(package: &Path, edge: &Service, id: &str) {
    let status = tokio::process::Command::new(program(&["node", "nodejs"]).unwrap())
        .args(["--no-warnings", "cli.mjs"])
        .current_dir(package)
        .env("npm_config_base", edge.url(""))
        .env("npm_config_id", id)
        .kill_on_drop(true)
        .status()
        .await
        .unwrap();
    println!("{status}\n{}", edge.log());
}

fn count(outcomes: &[Outcome], kind: Kind) -> Passed {
    let by_id: HashMap<&str, &Outcome> =
        outcomes.iter().map(|outcome| (outcome.id.as_str(), outcome)).collect();
    let of_kind: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.kind == kind).collect();
    Passed { passed: of_kind.iter().filter(|outcome| counts(outcome, &by_id)).count(), of: of_kind.len() }
}

/// A test passes only if those that it depends on do, as the public results count it.
fn counts(outcome: &Outcome, by_id: &HashMap<&str, &Outcome>) -> bool {
    let depends = |id: &String| by_id.get(id.as_str()).is_none_or(|dependency| counts(dependency, by_id));
    outcome.passed && outcome.depends_on.iter().all(depends)
}

fn print_failures(outcomes: &[Outcome]) {
    let by_id: HashMap<&str, &Outcome> =
        outcomes.iter().map(|outcome| (outcome.id.as_str(), outcome)).collect();
    for kind in [Kind::Required, Kind::Optimal] {
        for outcome in outcomes.iter().filter(|outcome| outcome.kind == kind && !counts(outcome, &by_id)) {
            let Outcome { id, name, problem, .. } = outcome;
            let why = problem.as_deref().unwrap_or("what it depends on fails");
            println!("{kind:?} {id}\n    {name}\n    {why}");
        }
    }
}

fn package() -> PathBuf {
    let given = env::var_os("HTTP_CACHE_TESTS").map(PathBuf::from);
    let package = given.unwrap_or_else(|| cache().join("npm/node_modules/http-cache-tests"));
    assert!(package.join("cli.mjs").is_file(), "http-cache-tests is missing: ./test installs it");
    package
}
