use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::{Child, Command};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::group::Group;
use super::log::Log;
use super::supervisor::{Plan, StartError};
use super::warden::Warden;

/// One run of PHP-FPM's master, in a process group of its own.
#[derive(Debug)]
pub(super) struct Master {
    child: Child,
    pub(super) group: Group,
    started: Instant,
    log: Log,
}

pub(super) const START_DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks at whether the new socket answers.
const POLL: Duration = Duration::from_millis(5);

impl Master {
    /// Completes when the socket takes connections.
    pub(super) async fn start(plan: &Plan, warden: &mut Warden) -> Result<Self, StartError> {
        // PHP-FPM refuses a socket on which a killed master's workers still listen, so it gets a new file.
        let _ = std::fs::remove_file(plan.pool.socket());
        let mut master = Self::spawn(plan)?;
        warden.guard(master.group);
        match master.answers(plan).await {
            Ok(()) => Ok(master),
            Err(error) => {
                warden.release(master.group);
                Err(error)
            }
        }
    }

    pub(super) fn lived(&self) -> Duration {
        self.started.elapsed()
    }

    /// Completes when the master has ended; its workers may go on.
    pub(super) async fn ended(&mut self) -> Ended {
        Ended(self.child.wait().await.ok())
    }

    /// SIGQUIT lets workers finish what they have; `kill` ends the wait. Nothing is left then.
    pub(super) async fn quit(mut self, kill: &CancellationToken) {
        self.group.ask_leader(Signal::QUIT);
        tokio::select! {
            _ = self.child.wait() => {}
            () = kill.cancelled() => tracing::warn!("PHP-FPM is still busy: killing it"),
        }
        self.end().await;
    }

    fn spawn(plan: &Plan) -> Result<Self, StartError> {
        let mut command = Command::new(&plan.program);
        command.args(["--nodaemonize", "--force-stderr", "--fpm-config"]).arg(plan.configuration());
        if plan.pool.account.is_root() {
            command.arg("--allow-to-run-as-root");
        }
        let failed = |cause| StartError::Spawn { program: plan.program.clone(), cause };
        let mut child = command
            .envs(plan.environment.iter().map(|(name, value)| (name, value)))
            .env("TMPDIR", plan.pool.temporary())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let group = child.id().and_then(Group::led_by);
        let group = group.ok_or_else(|| failed(std::io::Error::other("it has no process identifier")))?;
        let log = Log::follow(child.stderr.take());
        Ok(Self { child, group, started: Instant::now(), log })
    }

    async fn answers(&mut self, plan: &Plan) -> Result<(), StartError> {
        let program = || plan.program.clone();
        while tokio::net::UnixStream::connect(plan.pool.socket()).await.is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                self.end().await;
                let (status, said) = (Ended(Some(status)).to_string(), self.log.last_words().await);
                return Err(StartError::Ended { program: program(), status, said });
            }
            if self.lived() > START_DEADLINE {
                self.end().await;
                return Err(StartError::Silent { program: program(), said: self.log.last_words().await });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn end(&mut self) {
        self.group.ask_all(Signal::KILL);
        let _ = self.child.wait().await;
        self.group.end().await;
    }
}

/// How a master ended.
#[derive(Debug)]
pub(super) struct Ended(Option<ExitStatus>);

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.map(|status| (status.signal(), status.code())) {
            Some((Some(signal), _)) => write!(f, "signal {signal}"),
            Some((None, Some(code))) => write!(f, "exit code {code}"),
            Some((None, None)) | None => f.write_str("unknown"),
        }
    }
}
