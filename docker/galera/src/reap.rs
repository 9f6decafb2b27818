//! Process 1 inherits the orphans of its container, such as the children of a state transfer that was cut off.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, WaitOptions, waitpid};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// The children that are waited for by name: these are not to be collected here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Children(Arc<Mutex<HashSet<u32>>>);

impl Children {
    /// Under the lock, so that a child that ends at once is not taken for an orphan.
    pub(crate) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let mut own = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn()?;
        own.extend(child.id());
        Ok(child)
    }

    pub(crate) fn forget(&self, pid: Option<u32>) {
        if let Some(pid) = pid {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
        }
    }

    /// Collects orphans until the program ends, where this is process 1.
    pub(crate) fn collect_orphans(&self) -> io::Result<()> {
        if std::process::id() != 1 {
            return Ok(());
        }
        let (mut ended, this) = (signal(SignalKind::child())?, self.clone());
        tokio::spawn(async move {
            while ended.recv().await.is_some() {
                this.collect();
            }
        });
        Ok(())
    }

    fn collect(&self) {
        let own = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for pid in zombies_of(std::process::id()).filter(|pid| !own.contains(pid)) {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                // Whoever is gone already needs nothing.
                let _ = waitpid(Some(pid), WaitOptions::NOHANG);
            }
        }
    }
}

fn zombies_of(parent: u32) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(move |entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name, in parentheses, may itself contain spaces and parentheses.
        let (_, rest) = stat.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let (state, its) = (fields.next()?, fields.next()?.parse::<u32>().ok()?);
        (state == "Z" && its == parent).then_some(pid)
    })
}
