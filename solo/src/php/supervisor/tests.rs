#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::collections::BTreeSet;
use std::path::Path;

use fastcgi_client::Params;
use tokio::net::UnixStream;

use super::super::{Account, Installation};
use rustix::process::{Pid, kill_process};
use tokio::time::Instant;

use super::*;

/// A supervisor over a docroot with one script that says which worker runs it.
struct Running {
    supervisor: Supervisor,
    socket: PathBuf,
    folder: PathBuf,
    docroot: TempDir,
}

async fn start(program: PathBuf) -> Result<Running, StartError> {
    let docroot = tempfile::tempdir().unwrap();
    std::fs::write(docroot.path().join("index.php"), "<?php echo getmypid();").unwrap();
    let folder = tempfile::Builder::new().prefix("enjambre-test-").tempdir_in("/tmp").unwrap();
    let account = Account::choose(docroot.path()).unwrap();
    let pool = Pool {
        folder: folder.path().to_owned(),
        account,
        workers: 3,
        grace: Duration::from_secs(5),
        settings: vec![],
    };
    let (socket, path) = (pool.socket(), folder.path().to_owned());
    let warden = Warden::post(folder.path()).unwrap();
    let plan = Plan { program, pool, environment: vec![] };
    let supervisor = Supervisor::start(plan, folder, warden).await?;
    Ok(Running { supervisor, socket, folder: path, docroot })
}

impl Running {
    /// The worker that answered.
    async fn request(&self) -> Option<u32> {
        self.run("index.php").await?.parse().ok()
    }

    /// What a script prints.
    async fn run(&self, script: &str) -> Option<String> {
        let stream = UnixStream::connect(&self.socket).await.ok()?;
        let script = self.docroot.path().join(script).to_string_lossy().into_owned();
        let params = Params::default()
            .request_method("GET")
            .script_filename(script)
            .request_uri("/")
            .server_protocol("HTTP/1.1");
        let request = fastcgi_client::Request::new(params, fastcgi_client::io::empty());
        let response = fastcgi_client::Client::new_tokio(stream).execute_once(request).await.ok()?;
        let output = String::from_utf8(response.stdout?).ok()?;
        Some(output.rsplit("\r\n\r\n").next()?.trim().to_owned())
    }

    fn master(&self) -> u32 {
        self.supervisor.state().borrow().master.unwrap()
    }
}

fn program() -> PathBuf {
    Installation::find(None).unwrap().program
}

/// Processes of a group, from /proc.
fn group(id: u32) -> BTreeSet<u32> {
    let mut members = BTreeSet::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        // pid (name) state ppid pgrp: the name may hold blanks.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        if fields[2] == id.to_string() && fields[0] != "Z" {
            members.insert(pid);
        }
    }
    members
}

async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_killed_master_is_back_within_two_seconds_and_its_workers_are_gone() {
    let running = start(program()).await.unwrap();
    assert!(running.request().await.is_some());
    for _ in 0..2 {
        let old = running.master();
        eventually("a master and three workers", async || group(old).len() == 4).await;
        let orphans = group(old);
        let killed = Instant::now();
        kill_process(Pid::from_raw(old.cast_signed()).unwrap(), Signal::KILL).unwrap();
        // Until the kill is noticed an orphan of the old master may still answer.
        eventually("another worker answers", async || {
            running.request().await.is_some_and(|worker| !orphans.contains(&worker))
        })
        .await;
        assert!(killed.elapsed() < Duration::from_secs(2), "took {:?}", killed.elapsed());
        eventually("the orphans are gone", async || group(old).is_empty()).await;
        let mut state = running.supervisor.state();
        state.wait_for(|state| state.master.is_some_and(|master| master != old)).await.unwrap();
    }
    assert_eq!(running.supervisor.state().borrow().starts, 3);
    running.supervisor.stop(std::future::pending()).await;
}

#[tokio::test]
async fn a_request_survives_the_master() {
    let running = start(program()).await.unwrap();
    let docroot = running.docroot.path().to_owned();
    let script = "<?php touch('busy'); while (!file_exists('go')) { clearstatcache(); usleep(1000); } echo getmypid();";
    std::fs::write(docroot.join("slow.php"), script).unwrap();
    let old = running.master();
    let conduct = async {
        eventually("a worker is in the script", async || docroot.join("busy").exists()).await;
        kill_process(Pid::from_raw(old.cast_signed()).unwrap(), Signal::KILL).unwrap();
        let mut state = running.supervisor.state();
        state.wait_for(|state| state.starts == 2).await.unwrap();
        // Idle orphans go, the busy one stays.
        eventually("one worker is left", async || group(old).len() == 1).await;
        let left = group(old);
        std::fs::write(docroot.join("go"), "").unwrap();
        left
    };
    let (worker, left) = tokio::join!(running.run("slow.php"), conduct);
    assert_eq!(left, BTreeSet::from([worker.unwrap().parse().unwrap()]));
    eventually("it is gone too", async || group(old).is_empty()).await;
    running.supervisor.stop(std::future::pending()).await;
}

#[tokio::test]
async fn stopping_leaves_no_process_and_no_file() {
    let running = start(program()).await.unwrap();
    let (master, folder) = (running.master(), running.folder.clone());
    assert!(running.request().await.is_some());
    running.supervisor.stop(std::future::pending()).await;
    assert_eq!(group(master), BTreeSet::new());
    assert!(!folder.exists());
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_stuck_worker_forever() {
    let running = start(program()).await.unwrap();
    let master = running.master();
    std::fs::write(running.docroot.path().join("index.php"), "<?php touch('busy'); sleep(60);").unwrap();
    let stuck = UnixStream::connect(&running.socket).await.unwrap();
    let script = running.docroot.path().join("index.php").to_string_lossy().into_owned();
    let params = Params::default().request_method("GET").script_filename(script).server_protocol("HTTP/1.1");
    let request = fastcgi_client::Request::new(params, fastcgi_client::io::empty());
    let asking = tokio::spawn(async move {
        let _ = fastcgi_client::Client::new_tokio(stuck).execute_once(request).await;
    });
    eventually("a worker is in the script", async || running.docroot.path().join("busy").exists()).await;
    let before = Instant::now();
    running.supervisor.stop(tokio::time::sleep(Duration::from_millis(200))).await;
    assert!(before.elapsed() < Duration::from_secs(4), "took {:?}", before.elapsed());
    assert_eq!(group(master), BTreeSet::new());
    asking.await.unwrap();
}

#[tokio::test]
async fn a_warden_without_its_master_clears_up() {
    let running = start(program()).await.unwrap();
    let (master, folder) = (running.master(), running.folder.clone());
    // What a SIGKILL of this process does: the pipe to the warden closes, and nothing else happens.
    running.supervisor.task.abort();
    eventually("the folder is gone", async || !Path::new(&folder).exists()).await;
    eventually("the processes are gone", async || group(master).is_empty()).await;
}

#[tokio::test]
async fn a_program_that_ends_at_once_is_an_error_with_its_words() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("php-fpm");
    let script = "#!/bin/sh\necho '[23-Nov-2026 21:12:21] ERROR: no pool defined' >&2\nexit 78\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let error = start(program.clone()).await.map(|_| ()).unwrap_err();
    let said = format!("{} ended as it started (exit code 78): no pool defined", program.display());
    assert_eq!(error.to_string(), said);
}

#[test]
fn delays_grow_and_a_good_run_forgives() {
    let mut back_off = BackOff::default();
    let (bad, good) = (Duration::from_secs(1), Duration::from_mins(1));
    let delays: Vec<u128> = (0..8).map(|_| back_off.next(bad).as_millis()).collect();
    assert_eq!(delays, [0, 100, 200, 400, 800, 1600, 3200, 5000]);
    assert_eq!(back_off.next(good), Duration::ZERO);
    assert_eq!(back_off.next(bad).as_millis(), 100);
}
