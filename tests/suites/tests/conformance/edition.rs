//! The two forms that http-cache-tests comes in, and how they are run.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use suites::service::{Service, cache, root};
use tempfile::TempDir;
use test_support::process::{Group, program};
use test_support::wait::{DEADLINE, wait_for};

#[derive(Debug)]
pub(crate) enum Edition {
    /// The npm package http-cache-tests.
    Package(PathBuf),
    /// A checkout of the repository, which has another layout and newer tests.
    Repository(PathBuf),
}

/// What a failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// The cache violates the standard.
    Required,
    /// It missed a chance to reuse a response.
    Optimal,
    /// Nothing: the test asks how the cache behaves.
    Check,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) suite: String,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    depends_on: Vec<String>,
    passed: bool,
    problem: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Outcomes(Vec<Outcome>);

/// So many of so many pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count {
    pub(crate) passed: usize,
    pub(crate) of: usize,
}

/// The test server, which answers as each test wants it.
pub(crate) struct Origin {
    port: u16,
    _group: Group,
    _folder: TempDir,
}

impl Edition {
    pub(crate) fn find() -> Self {
        let given = std::env::var_os("HTTP_CACHE_TESTS").map(PathBuf::from);
        let folder = given.unwrap_or_else(|| cache().join("npm/node_modules/http-cache-tests"));
        if folder.join("test-engine/cli.mjs").is_file() {
            return Self::Repository(folder);
        }
        assert!(folder.join("cli.mjs").is_file(), "http-cache-tests is missing: ./test installs it");
        Self::Package(folder)
    }

    pub(crate) const fn is_repository(&self) -> bool {
        matches!(self, Self::Repository(_))
    }

    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Package(_) => "package",
            Self::Repository(_) => "repository",
        }
    }

    /// What is expected of it.
    pub(crate) fn expectations(&self) -> PathBuf {
        root().join(format!("tests/suites/conformance/{}.toml", self.name()))
    }

    fn folder(&self) -> &Path {
        let (Self::Package(folder) | Self::Repository(folder)) = self;
        folder
    }

    fn engine(&self) -> PathBuf {
        match self {
            Self::Package(folder) => folder.clone(),
            Self::Repository(folder) => folder.join("test-engine"),
        }
    }

    pub(crate) async fn start_origin(&self) -> Origin {
        let folder = tempfile::Builder::new().prefix("test-conformance-").tempdir().unwrap();
        let mut command = Command::new(node());
        command
            .arg(self.engine().join("server/server.mjs"))
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
        Origin { port, _group: group, _folder: folder }
    }

    pub(crate) async fn run(&self, base: &str) -> Outcomes {
        let output = tokio::process::Command::new(node())
            .arg(root().join("tests/suites/conformance/run.mjs"))
            .arg(self.folder())
            .arg(base)
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{error}: {} {}", output.status, String::from_utf8_lossy(&output.stderr))
        })
    }

    /// One test with the suite's own client, which then shows what goes over the wire.
    pub(crate) async fn show(&self, edge: &Service, id: &str) {
        let status = tokio::process::Command::new(node())
            .arg("--no-warnings")
            .arg(self.engine().join("cli.mjs"))
            .current_dir(self.folder())
            .env("npm_config_base", edge.url(""))
            .env("npm_config_id", id)
            .kill_on_drop(true)
            .status()
            .await
            .unwrap();
        println!("{status}\n{}", edge.log());
    }
}

fn node() -> PathBuf {
    program(&["node", "nodejs"]).unwrap()
}

impl Origin {
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }
}

impl Outcomes {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Outcome> {
        self.0.iter()
    }

    pub(crate) fn count(&self, kind: Kind) -> Count {
        let by_id = self.by_id();
        let of_kind: Vec<&Outcome> = self.iter().filter(|outcome| outcome.kind == kind).collect();
        let passed = of_kind.iter().filter(|outcome| counts(outcome, &by_id)).count();
        Count { passed, of: of_kind.len() }
    }

    /// Whether a test passes, and those do that it depends on, as the public results count it.
    pub(crate) fn passes(&self, outcome: &Outcome) -> bool {
        counts(outcome, &self.by_id())
    }

    fn by_id(&self) -> HashMap<&str, &Outcome> {
        self.iter().map(|outcome| (outcome.id.as_str(), outcome)).collect()
    }
}

fn counts(outcome: &Outcome, by_id: &HashMap<&str, &Outcome>) -> bool {
    let depends = |id: &String| by_id.get(id.as_str()).is_none_or(|dependency| counts(dependency, by_id));
    outcome.passed && outcome.depends_on.iter().all(depends)
}

impl Outcome {
    pub(crate) fn problem(&self) -> &str {
        self.problem.as_deref().unwrap_or("what it depends on fails")
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.passed, self.of)
    }
}
