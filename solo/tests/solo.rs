//! The binary as a person runs it, over a copy of the site: it serves, it heals, it leaves nothing behind.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use test_support::client::{self, Client, Response};
use test_support::process::{self, Group};
use test_support::wait::{DEADLINE, wait_for, wait_until};

/// A running `solo`, everything it writes in one folder.
struct Solo {
    group: Group,
    site: SocketAddr,
    admin: SocketAddr,
    /// Its `TMPDIR`: empty before and after.
    temporary: PathBuf,
    docroot: PathBuf,
    _folder: TempDir,
}

impl Solo {
    async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("solo-").tempdir_in("/tmp").unwrap();
        let (temporary, project) = (folder.path().join("tmp"), folder.path().join("site"));
        std::fs::create_dir(&temporary).unwrap();
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../site"), &project);
        let mut command = Command::new(env!("CARGO_BIN_EXE_solo"));
        command
            .arg(&project)
            .args(["--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--workers=4", "--memory=32MiB"])
            .env("TMPDIR", &temporary);
        let mut group = Group::spawn(command, &folder.path().join("log")).unwrap();
        let addresses = async || {
            assert!(group.exited().is_none(), "it ended:\n{}", group.log());
            let log = group.log();
            log.contains("for cached answers").then(|| (said(&log, "site"), said(&log, "admin")))
        };
        let (site, admin) = wait_for("the addresses", DEADLINE, addresses).await;
        Self { group, site, admin, temporary, docroot: project.join("web"), _folder: folder }
    }

    async fn get(&self, path: &str) -> Response {
        client::get(self.site, path, &[]).await.unwrap()
    }

    async fn php_master(&self) -> Option<u32> {
        let status = client::get(self.admin, "/php/status", &[]).await.unwrap().text();
        let (_, rest) = status.split_once("\"master\":")?;
        rest.split(',').next()?.parse().ok()
    }

    /// Its process, PHP-FPM's, and the warden's.
    async fn processes(&self) -> Vec<u32> {
        let master = self.php_master().await.unwrap();
        let mut all = process::children(self.group.pid());
        all.extend(process::children(master));
        all.push(self.group.pid());
        all
    }

    fn nothing_is_left(&self, processes: &[u32]) -> bool {
        !processes.iter().any(|pid| process::is_alive(*pid))
            && std::fs::read_dir(&self.temporary).unwrap().next().is_none()
    }
}

/// The address in a line such as `  site     http://127.0.0.1:8080/`.
fn said(log: &str, what: &str) -> SocketAddr {
    let line = log.lines().find(|line| line.trim_start().starts_with(what)).unwrap();
    line.split("http://").nth(1).unwrap().trim_end_matches('/').parse().unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_name() == "files" {
            continue;
        }
        if source.is_dir() {
            copy(&source, &target);
        } else {
            std::fs::copy(&source, &target).unwrap();
        }
    }
}

#[tokio::test]
async fn the_site_is_served_and_cached() {
    let solo = Solo::start().await;
    let log = solo.group.log();
    assert!(log.contains("Enjambre serves enjambre/site (preset drupal)"), "{log}");
    assert!(log.contains("32MiB for cached answers"), "{log}");

    let first = solo.get("/articles").await;
    assert_eq!((first.status, first.header("x-cache")), (200, Some("MISS")), "{first:?}");
    let second = solo.get("/articles").await;
    assert_eq!((second.status, second.header("x-cache")), (200, Some("HIT")), "{second:?}");
    assert!(second.header("age").is_some());
    assert_eq!(first.body, second.body);

    let script = solo.get("/assets/site.js").await;
    let etag = script.header("etag").unwrap().to_owned();
    let again = client::get(solo.site, "/assets/site.js", &[("If-None-Match", &etag)]).await.unwrap();
    assert_eq!((again.status, again.body.len()), (304, 0));

    assert!(!solo.docroot.join("files").exists());
    let page = first.text();
    let style = page.split('"').find(|word| word.starts_with("/files/css/")).unwrap();
    let made = solo.get(style).await;
    assert_eq!((made.status, made.header("x-generated")), (200, Some("stored")));
    assert_eq!(std::fs::read(solo.docroot.join(&style[1..])).unwrap(), made.body);

    // The log of requests follows the addresses.
    let line = format!("\"GET {style} HTTP/1.1\" 200 {}", made.body.len());
    wait_until("the access log", DEADLINE, async || solo.group.log().contains(&line)).await;
}

#[tokio::test]
async fn a_session_passes_and_is_its_own() {
    let solo = Solo::start().await;
    let form = solo.get("/login").await;
    assert_eq!(form.cookies(), "", "an anonymous visitor gets no cookie");
    let token =
        form.text().split("name=\"token\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let body = format!("name=demo&password=demo&token={token}");
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let mut client = Client::connect(solo.site).await.unwrap();
    let answer = client.request("POST", "/login", &headers, body.as_bytes()).await.unwrap();
    assert_eq!((answer.status, answer.header("location")), (303, Some("/me")), "{}", answer.text());
    let cookie = answer.cookies();
    for visit in 1..=2 {
        let page = client.request("GET", "/me", &[("Cookie", &cookie)], b"").await.unwrap();
        assert_eq!((page.status, page.header("x-cache")), (200, Some("PASS")), "{page:?}");
        assert!(page.text().contains(&format!("id=\"visits\">{visit}<")));
    }
    assert_eq!(solo.get("/me").await.status, 303, "nobody else sees it");
}

#[tokio::test]
async fn a_killed_php_is_back_within_two_seconds() {
    let solo = Solo::start().await;
    assert_eq!(solo.get("/articles").await.status, 200);
    let master = solo.php_master().await.unwrap();
    kill_process(Pid::from_raw(master.cast_signed()).unwrap(), Signal::KILL).unwrap();
    let killed = Instant::now();
    let mut refused = 0;
    wait_until("another master", DEADLINE, async || {
        assert_eq!(solo.get("/articles").await.header("x-cache"), Some("HIT"), "what is cached goes on");
        let answer = solo.get(&format!("/whoami?{refused}")).await;
        if answer.status != 200 {
            assert_eq!((answer.status, answer.header("retry-after").is_some()), (503, true), "{answer:?}");
            refused += 1;
        }
        answer.status == 200 && solo.php_master().await.is_some_and(|now| now != master)
    })
    .await;
    assert!(killed.elapsed() < Duration::from_secs(2), "took {:?}", killed.elapsed());
}

#[tokio::test]
async fn interrupting_leaves_no_process_and_no_file() {
    let mut solo = Solo::start().await;
    assert_eq!(solo.get("/articles").await.status, 200);
    let processes = solo.processes().await;
    assert!(processes.len() >= 7, "solo, a shell, a master, four workers: {processes:?}");
    solo.group.signal(Signal::INT).unwrap();
    let status = solo.group.ended(DEADLINE).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", solo.group.log());
    assert!(solo.nothing_is_left(&processes));
}

#[tokio::test]
async fn a_request_in_flight_is_finished_first() {
    let mut solo = Solo::start().await;
    let address = solo.site;
    let slow = tokio::spawn(async move { client::get(address, "/slow?ms=1500", &[]).await });
    let busy = async || {
        let metrics = test_support::metrics::Metrics::fetch(solo.admin).await.unwrap();
        metrics.value("edge_cache_origin_requests_total", &[]) >= 1.0
    };
    wait_until("the request", DEADLINE, busy).await;
    solo.group.signal(Signal::TERM).unwrap();
    let answer = slow.await.unwrap().unwrap();
    assert_eq!((answer.status, answer.is_complete()), (200, true), "{answer:?}");
    assert_eq!(solo.group.ended(DEADLINE).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn even_sigkill_leaves_no_process_and_no_file() {
    let mut solo = Solo::start().await;
    let processes = solo.processes().await;
    solo.group.signal(Signal::KILL).unwrap();
    solo.group.ended(DEADLINE).await.unwrap();
    wait_until("the end of everything", DEADLINE, async || solo.nothing_is_left(&processes)).await;
}

/// Runs it to its end; it must not serve.
fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } =
        Command::new(env!("CARGO_BIN_EXE_solo")).args(arguments).stdin(Stdio::null()).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn what_cannot_be_run_is_one_sentence_and_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    let site = path.join("site");
    let fake = path.join("php-fpm8.2");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../site"), &site);
    std::fs::create_dir(path.join("empty")).unwrap();
    let script =
        "#!/bin/sh\ncase $1 in -v) echo 'PHP 8.2.36 (fpm-fcgi)';; -m) echo json; echo session;; esac\n";
    std::fs::write(&fake, script).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&fake, executable).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();

    let site = site.to_str().unwrap();
    let cases: Vec<(Vec<String>, &str)> = vec![
        (vec![format!("{}/no", path.display())], "there is no such folder"),
        (vec![format!("{}/empty", path.display())], "has an index.php or index.html"),
        (vec![site.into(), format!("--listen={taken}"), "--admin=127.0.0.1:0".into()], "the port is taken"),
        (vec![site.into(), format!("--admin={taken}"), "--listen=127.0.0.1:0".into()], "the port is taken"),
        (vec![site.into(), "--php-fpm=/no/such/fpm".into()], "/no/such/fpm: cannot be run"),
        (
            vec![site.into(), format!("--php-fpm={}", fake.display())],
            "enjambre/site needs the PHP extensions PDO, hash, pcre, pdo_sqlite, zlib, which php-fpm8.2 does not have",
        ),
        (vec![site.into(), "--memory=lots".into()], "expected a size such as"),
        (vec![site.into(), "--memory=1KiB".into()], "at least 1MiB is needed"),
    ];
    for (arguments, sentence) in cases {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (code, said) = run(&arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(said.contains(sentence), "{arguments:?}: {said}");
        if !sentence.starts_with("expected") {
            assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
        }
    }
}

#[test]
fn check_prints_the_configuration() {
    let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("../site/web");
    let output = Command::new(env!("CARGO_BIN_EXE_solo"))
        .arg("check")
        .arg(site)
        .env("SOLO_MEMORY", "48MiB")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("memory = \"48MiB\"  # environment"), "{said}");
    assert!(said.contains("workers-per-upstream = \"12\"  # default"), "{said}");
}
