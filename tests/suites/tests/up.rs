//! ./up in a fresh clone, as a stranger runs it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use suites::service::root;
use suites::visitor::Visitor;
use tempfile::TempDir;
use test_support::client;
use test_support::process::{Group, descendants, free_port, is_alive};
use test_support::wait::{DEADLINE, wait_for};

/// A cold build on two cores.
const BUILD: Duration = Duration::from_mins(15);

#[tokio::test(flavor = "multi_thread")]
async fn serves_and_leaves_nothing() {
    let clone = Clone::make();
    let [site, admin] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port().unwrap())));
    let mut up = clone.up(&["--listen", &site.to_string(), "--admin", &admin.to_string()]);

    // 1. It says what it does, and where.
    let said = wait_for("./up to serve", BUILD, async || {
        assert!(up.exited().is_none(), "./up ended:\n{}", up.log());
        let log = up.log();
        log.contains(&format!("http://{admin}/")).then_some(log)
    })
    .await;
    for part in [&format!("http://{site}/"), "enjambre/site", "256MiB"] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
    let ready = async || {
        let answer = client::get(admin, "/readyz", &[]).await.ok()?;
        (answer.status == 200).then_some(())
    };
    wait_for("it to be ready", DEADLINE, ready).await;

    // 2. MISS, then HIT with Age.
    let mut person = Visitor::new(site);
    let first = person.get("/").await.unwrap();
    assert_eq!((first.status, first.header("x-cache")), (200, Some("MISS")), "{}", first.text());
    let second = person.get("/").await.unwrap();
    assert_eq!((second.status, second.header("x-cache")), (200, Some("HIT")));
    assert!(second.header("age").is_some() && second.header("cache-status").unwrap().contains("hit"));

    // 3. A static file answers 304 to its ETag.
    let file = person.get("/assets/logo.svg").await.unwrap();
    assert_eq!((file.status, file.header("content-type")), (200, Some("image/svg+xml")));
    let tag = file.header("etag").unwrap().to_owned();
    let again = person.request("GET", "/assets/logo.svg", &[("If-None-Match", &tag)], b"").await.unwrap();
    assert_eq!((again.status, again.body.len()), (304, 0));

    // 4. POST with a session passes, and what it answers is not stored.
    let form = person.get("/login").await.unwrap().text();
    let token = form.split("name=\"token\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let fields = [("name", "demo"), ("password", "demo"), ("token", token.as_str())];
    let entered = person.post("/login", &fields).await.unwrap();
    assert_eq!((entered.status, entered.header("x-cache")), (303, Some("PASS")), "{}", entered.text());
    for visit in ["1", "2"] {
        let own = person.get("/me").await.unwrap();
        assert_eq!((own.status, own.header("x-cache")), (200, Some("PASS")));
        assert!(own.text().contains(&format!("<b id=\"visits\">{visit}</b>")), "{}", own.text());
    }
    assert_eq!(Visitor::new(site).get("/me").await.unwrap().status, 303, "nobody else sees it");

    // 5. The access log goes on after the addresses. Its lines are gathered for some milliseconds.
    let logged = async || up.log().contains("\"GET /me HTTP/1.1\" 200").then_some(());
    wait_for("the access log", DEADLINE, logged).await;

    // 6. Ctrl-C, which a terminal sends to the whole group, ends everything.
    let group = up.pid();
    let processes = descendants(group);
    assert!(processes.len() > 3, "PHP-FPM and its workers");
    kill_process_group(Pid::from_raw(group.cast_signed()).unwrap(), Signal::INT).unwrap();
    let status = up.ended(Duration::from_secs(30)).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", up.log());
    assert!(!processes.iter().any(|pid| is_alive(*pid)), "processes are left");
    assert_eq!(list(&clone.temporary()), [""; 0], "files that are left");
    assert_eq!(clone.status(), "", "the clone is as it was");
    assert!(client::get(site, "/", &[]).await.is_err());

    // 7. What cannot be: one sentence, and 2.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (arguments, sentence) in
        [(vec!["--listen", taken.as_str()], "taken"), (vec!["/no/such/folder"], "no such folder")]
    {
        let mut up = clone.up(&arguments);
        let status = up.ended(BUILD).await.unwrap();
        assert_eq!(status.code(), Some(2), "{arguments:?}:\n{}", up.log());
        let last = up.log().trim_end().lines().next_back().unwrap().to_owned();
        assert!(last.starts_with("solo: ") && last.contains(sentence), "{arguments:?}: {last}");
        drop(up);
        assert_eq!(list(&clone.temporary()), [""; 0]);
    }
}

/// The repository as somebody gets it who has just cloned it.
struct Clone {
    folder: TempDir,
    target: PathBuf,
}

impl Clone {
    /// It always lies at the same place, so that the target folder does not grow with every run.
    fn make() -> Self {
        let folder = tempfile::Builder::new().prefix("test-up-").tempdir().unwrap();
        fs::create_dir(folder.path().join("tmp")).unwrap();
        let clone = Self { folder, target: seeded_target() };
        let _ = fs::remove_dir_all(clone.path());
        git(&["clone", "--quiet", root().to_str().unwrap(), clone.path().to_str().unwrap()]);
        clone
    }

    fn path(&self) -> PathBuf {
        self.target.join("enjambre")
    }

    fn temporary(&self) -> PathBuf {
        self.folder.path().join("tmp")
    }

    fn up(&self, arguments: &[&str]) -> Group {
        let mut command = Command::new("./up");
        command
            .args(arguments)
            .current_dir(self.path())
            .env("TMPDIR", self.temporary())
            .env("CARGO_TARGET_DIR", &self.target);
        Group::spawn(command, &self.folder.path().join("log")).unwrap()
    }

    fn status(&self) -> String {
        let path = self.path();
        git(&["-C", path.to_str().unwrap(), "status", "--porcelain", "--ignored"])
    }
}

/// A target folder of its own, so that the binaries of the other suites stay what they are. It stays from run to run,
/// and begins with the dependencies that are compiled already: what is tested is that the clone builds and runs,
/// not how long the compiler takes.
fn seeded_target() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let debug = test.ancestors().nth(2).unwrap();
    let target = debug.with_file_name("up");
    if !target.exists() {
        let seed = target.join("debug");
        fs::create_dir_all(&seed).unwrap();
        for part in ["deps", "build", ".fingerprint"] {
            let copied = Command::new("cp").arg("-a").arg(debug.join(part)).arg(&seed).status().unwrap();
            assert!(copied.success());
        }
    }
    target
}

/// The repository may belong to somebody else than who runs the tests.
fn git(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = Command::new("git")
        .args(arguments)
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .output()
        .unwrap();
    assert!(status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

fn list(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
