use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitOptions, kill_process, kill_process_group, test_kill_process_group, waitpgid,
};
use tokio::time::Instant;

/// The process group of a master and its workers. It outlives the master: workers go on without one, on a
/// socket that nobody finds any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group(Pid);

/// Between two looks at whether it is gone.
const POLL: Duration = Duration::from_millis(5);
/// A killed process that is not gone by then hangs in the kernel.
const COLLECT: Duration = Duration::from_secs(1);

impl Group {
    pub(super) fn led_by(id: u32) -> Option<Self> {
        Pid::from_raw(id.cast_signed()).map(Self)
    }

    pub(super) const fn id(self) -> u32 {
        self.0.as_raw_nonzero().get().cast_unsigned()
    }

    /// Asks the master alone; it tells its workers.
    pub(super) fn ask_leader(self, signal: Signal) {
        // It may have ended a moment ago.
        let _ = kill_process(self.0, signal);
    }

    pub(super) fn ask_all(self, signal: Signal) {
        // No such group: none is left.
        let _ = kill_process_group(self.0, signal);
    }

    /// SIGKILL for all that is left, and waits for their end. The master has been waited for already.
    pub(super) async fn end(self) {
        self.ask_all(Signal::KILL);
        self.gone_within(COLLECT).await;
    }

    pub(super) async fn gone_within(self, time: Duration) {
        let deadline = Instant::now() + time;
        while !self.is_gone() && Instant::now() < deadline {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Whether no process is left. Orphans are ours (see [`super::Supervisor::start`]), so the dead among them
    /// are collected here.
    fn is_gone(self) -> bool {
        loop {
            match waitpgid(self.0, WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => return false,
                // ECHILD: none is left, or process 1 has them.
                Err(_) => return test_kill_process_group(self.0).is_err(),
            }
        }
    }
}
