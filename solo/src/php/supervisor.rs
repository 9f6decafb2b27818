use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, waitpgid};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::log::Log;
use super::{Pool, Warden};

/// What to run.
#[derive(Debug)]
pub struct Plan {
    pub program: PathBuf,
    pub pool: Pool,
    /// Added to our own environment.
    pub environment: Vec<(OsString, OsString)>,
}

/// Keeps one PHP-FPM master alive, in a process group of its own, until [`stop`](Self::stop).
#[derive(Debug)]
pub struct Supervisor {
    stop: CancellationToken,
    kill: CancellationToken,
    state: watch::Receiver<State>,
    task: JoinHandle<Warden>,
    folder: TempDir,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// The master's process identifier, while it answers.
    pub master: Option<u32>,
    /// How often a master came to answer.
    pub starts: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot prepare {}: {cause}", path.display())]
    Files { path: PathBuf, cause: std::io::Error },
    #[error("{} cannot be started: {cause}", program.display())]
    Spawn { program: PathBuf, cause: std::io::Error },
    #[error("{} ended as it started ({status}): {said}", program.display())]
    Ended { program: PathBuf, status: String, said: String },
    #[error("{} did not answer on its socket within {START_DEADLINE:?}: {said}", program.display())]
    Silent { program: PathBuf, said: String },
}

const START_DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks at whether the new socket answers.
const POLL: Duration = Duration::from_millis(5);
/// A killed process that is not gone by then hangs in the kernel.
const COLLECT_DEADLINE: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Starts the master and waits until its socket answers. `folder` is the pool's; it goes with us.
    pub async fn start(plan: Plan, folder: TempDir, mut warden: Warden) -> Result<Self, StartError> {
        let files = || -> std::io::Result<()> {
            std::fs::create_dir_all(plan.pool.temporary())?;
            plan.pool.account.give(&plan.pool.temporary())?;
            std::fs::write(plan.configuration(), plan.pool.render())
        };
        files().map_err(|cause| StartError::Files { path: plan.pool.folder.clone(), cause })?;

        // Orphans of a killed master become our children, so that none stays behind as a zombie where process
        // 1 collects none, as in many containers.
        if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
            tracing::debug!(%error, "orphans are left to process 1");
        }
        let first = Master::start(&plan, &mut warden).await?;
        let (sender, state) = watch::channel(State { master: Some(first.id), starts: 1 });
        let (stop, kill) = (CancellationToken::new(), CancellationToken::new());
        let task = tokio::spawn(keep(first, plan, warden, sender, stop.clone(), kill.clone()));
        Ok(Self { stop, kill, state, task, folder })
    }

    /// How PHP-FPM is, as it changes.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Lets requests in flight finish until `overdue` completes; then nothing is left: no process, no file.
    pub async fn stop(self, overdue: impl Future<Output = ()>) {
        let Self { stop, kill, mut task, folder, .. } = self;
        stop.cancel();
        let ended = tokio::select! {
            ended = &mut task => ended,
            () = overdue => {
                kill.cancel();
                task.await
            }
        };
        match ended {
            Ok(warden) => {
                if let Err(error) = folder.close() {
                    tracing::warn!(%error, "cannot remove our folder");
                }
                warden.dismiss();
            }
            // The warden's pipe closed as the task unwound: it clears up instead of us.
            Err(error) => tracing::error!(%error, "the supervisor failed"),
        }
    }
}

impl Plan {
    fn configuration(&self) -> PathBuf {
        self.pool.folder.join("php-fpm.conf")
    }
}

/// The life of the supervisor: watch, clear up, wait, start again.
async fn keep(
    first: Master,
    plan: Plan,
    mut warden: Warden,
    state: watch::Sender<State>,
    stop: CancellationToken,
    kill: CancellationToken,
) -> Warden {
    let mut master = first;
    let mut back_off = BackOff::default();
    loop {
        let status = tokio::select! {
            status = master.child.wait() => status,
            () = stop.cancelled() => {
                master.quit(&kill).await;
                warden.guard(None);
                return warden;
            }
        };
        state.send_modify(|state| state.master = None);
        tracing::warn!(status = %describe(status.ok()), "PHP-FPM's master died, starting another");
        master.clear(&plan).await;
        let lived = master.started.elapsed();
        master = loop {
            tokio::select! {
                () = tokio::time::sleep(back_off.next(lived)) => {}
                () = stop.cancelled() => {
                    warden.guard(None);
                    return warden;
                }
            }
            match Master::start(&plan, &mut warden).await {
                Ok(master) => break master,
                Err(error) => tracing::error!(%error, "PHP-FPM"),
            }
        };
        state.send_modify(|state| {
            *state = State { master: Some(master.id), starts: state.starts + 1 };
        });
        tracing::info!(pid = master.id, "PHP-FPM answers again");
    }
}

/// One run of the master.
struct Master {
    child: Child,
    /// Of the process and, since it leads one, of its group.
    id: u32,
    started: Instant,
    log: Log,
}

impl Master {
    async fn start(plan: &Plan, warden: &mut Warden) -> Result<Self, StartError> {
        // PHP-FPM refuses a socket on which orphans of a killed master still listen, so it gets a new file.
        let _ = std::fs::remove_file(plan.pool.socket());
        let mut command = Command::new(&plan.program);
        command.args(["--nodaemonize", "--force-stderr", "--fpm-config"]).arg(plan.configuration());
        if plan.pool.account.is_root() {
            command.arg("--allow-to-run-as-root");
        }
        let spawn = |cause| StartError::Spawn { program: plan.program.clone(), cause };
        let mut child = command
            .envs(plan.environment.iter().map(|(name, value)| (name, value)))
            .env("TMPDIR", plan.pool.temporary())
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(spawn)?;
        let id = child.id().ok_or_else(|| spawn(std::io::Error::other("it ended at once")))?;
        warden.guard(Some(id));
        let log = Log::follow(child.stderr.take());
        let mut master = Self { child, id, started: Instant::now(), log };
        match master.answers(plan).await {
            Ok(()) => Ok(master),
            Err(error) => {
                master.clear(plan).await;
                Err(error)
            }
        }
    }

    /// Completes when the socket takes connections.
    async fn answers(&mut self, plan: &Plan) -> Result<(), StartError> {
        let program = || plan.program.clone();
        while tokio::net::UnixStream::connect(plan.pool.socket()).await.is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                self.kill_group();
                let said = self.log.last_words().await;
                return Err(StartError::Ended { program: program(), status: describe(Some(status)), said });
            }
            if self.started.elapsed() > START_DEADLINE {
                self.kill_group();
                let _ = self.child.wait().await;
                let said = self.log.last_words().await;
                return Err(StartError::Silent { program: program(), said });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// SIGQUIT lets workers finish what they have; `kill` ends the wait.
    async fn quit(&mut self, kill: &CancellationToken) {
        if let Some(pid) = Pid::from_raw(self.id.cast_signed()) {
            // It may have ended a moment ago.
            let _ = kill_process(pid, Signal::QUIT);
        }
        tokio::select! {
            _ = self.child.wait() => {}
            () = kill.cancelled() => tracing::warn!("PHP-FPM is still busy: killing it"),
        }
        self.kill_group();
        let _ = self.child.wait().await;
        self.collect().await;
    }

    /// After the master's end: its workers would go on, each waiting on a socket that nobody connects to.
    async fn clear(&self, plan: &Plan) {
        self.kill_group();
        let _ = std::fs::remove_file(plan.pool.socket());
        self.collect().await;
    }

    /// Waits for killed workers to be gone. The master itself has been waited for already.
    async fn collect(&self) {
        let Some(group) = Pid::from_raw(self.id.cast_signed()) else { return };
        let deadline = Instant::now() + COLLECT_DEADLINE;
        // ECHILD: none is left, or none ever became ours.
        while let Ok(collected) = waitpgid(group, WaitOptions::NOHANG) {
            if collected.is_none() {
                if Instant::now() > deadline {
                    return;
                }
                tokio::time::sleep(POLL).await;
            }
        }
    }

    fn kill_group(&self) {
        if let Some(group) = Pid::from_raw(self.id.cast_signed()) {
            // No such group: no worker was left.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// How long to wait before the next start: not at all after a good run, longer and longer after bad ones.
#[derive(Debug, Default)]
struct BackOff {
    failures: u32,
}

/// A master that lived so long was well.
const GOOD_RUN: Duration = Duration::from_secs(10);
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

impl BackOff {
    fn next(&mut self, lived: Duration) -> Duration {
        if lived >= GOOD_RUN && self.failures > 0 {
            self.failures = 0;
        }
        let delay = match self.failures {
            0 => Duration::ZERO,
            failures => FIRST_DELAY.saturating_mul(1 << (failures - 1).min(16)).min(LONGEST_DELAY),
        };
        self.failures += 1;
        delay
    }
}

fn describe(status: Option<ExitStatus>) -> String {
    match status {
        Some(status) => match (status.signal(), status.code()) {
            (Some(signal), _) => format!("signal {signal}"),
            (None, Some(code)) => format!("exit code {code}"),
            (None, None) => "unknown".into(),
        },
        None => "unknown".into(),
    }
}

#[cfg(test)]
mod tests;
