use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::group::Group;
use super::master::{Master, START_DEADLINE};
use super::{Pool, Warden};

/// What to run.
#[derive(Debug)]
pub struct Plan {
    pub program: PathBuf,
    pub pool: Pool,
    /// Added to our own environment.
    pub environment: Vec<(OsString, OsString)>,
}

/// Keeps one PHP-FPM master alive until [`stop`](Self::stop).
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
        let (sender, state) = watch::channel(State { master: Some(first.group.id()), starts: 1 });
        let (stop, kill) = (CancellationToken::new(), CancellationToken::new());
        let care = Care { plan, warden, state: sender, stop: stop.clone(), kill: kill.clone() };
        let task = tokio::spawn(care.keep(first));
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
    pub(super) fn configuration(&self) -> PathBuf {
        self.pool.folder.join("php-fpm.conf")
    }
}

/// What the supervisor's task works with.
struct Care {
    plan: Plan,
    warden: Warden,
    state: watch::Sender<State>,
    stop: CancellationToken,
    kill: CancellationToken,
}

impl Care {
    /// Watches, starts again, and lets the workers of dead masters go in peace.
    async fn keep(mut self, first: Master) -> Warden {
        let mut master = first;
        let mut orphans = JoinSet::new();
        let mut back_off = BackOff::default();
        loop {
            let ended = tokio::select! {
                ended = master.ended() => ended,
                Some(Ok(group)) = orphans.join_next() => {
                    self.warden.release(group);
                    continue;
                }
                () = self.stop.cancelled() => {
                    master.quit(&self.kill).await;
                    return self.conclude(orphans).await;
                }
            };
            self.state.send_modify(|state| state.master = None);
            tracing::warn!(status = %ended, "PHP-FPM's master died, starting another");
            // Before its workers go: whoever connects from now on waits for the next master's socket.
            let _ = std::fs::remove_file(self.plan.pool.socket());
            orphans.spawn(retire(master.group, self.kill.clone()));
            master = match self.restart(&mut back_off, master.lived()).await {
                Some(master) => master,
                None => return self.conclude(orphans).await,
            };
        }
    }

    /// None when it is time to stop.
    async fn restart(&mut self, back_off: &mut BackOff, lived: Duration) -> Option<Master> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(back_off.next(lived)) => {}
                () = self.stop.cancelled() => return None,
            }
            match Master::start(&self.plan, &mut self.warden).await {
                Ok(master) => {
                    let id = master.group.id();
                    self.state
                        .send_modify(|state| *state = State { master: Some(id), starts: state.starts + 1 });
                    tracing::info!(pid = id, "PHP-FPM answers again");
                    return Some(master);
                }
                Err(error) => tracing::error!(%error, "PHP-FPM"),
            }
        }
    }

    async fn conclude(self, orphans: JoinSet<Group>) -> Warden {
        orphans.join_all().await;
        self.warden
    }
}

/// Connections that the kernel took before the socket's file was gone reach a worker within this time.
const LAST_CONNECTIONS: Duration = Duration::from_millis(50);
/// How long a worker without a master may go on with its request.
const LAST_REQUESTS: Duration = Duration::from_secs(10);

/// The end of the workers that a dead master left: each finishes its request. Idle ones would stay forever.
async fn retire(group: Group, kill: CancellationToken) -> Group {
    tokio::time::sleep(LAST_CONNECTIONS).await;
    group.ask_all(Signal::QUIT);
    tokio::select! {
        () = group.gone_within(LAST_REQUESTS) => {}
        () = kill.cancelled() => {}
    }
    group.end().await;
    group
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

#[cfg(test)]
mod tests;
