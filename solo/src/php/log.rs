//! PHP-FPM's standard error, line by line into our own log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::ChildStderr;
use tokio::task::JoinHandle;

#[derive(Debug)]
pub(super) struct Log {
    worst: Arc<Mutex<String>>,
    task: JoinHandle<()>,
}

/// How PHP-FPM ranks a line (`fpm/zlog.c`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Error,
    Warning,
    Notice,
}

/// The pipe closes when the last worker has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);

impl Log {
    pub(super) fn follow(stderr: Option<ChildStderr>) -> Self {
        let worst = Arc::new(Mutex::new(String::new()));
        let seen = Arc::clone(&worst);
        let task = tokio::spawn(async move {
            let Some(stderr) = stderr else { return };
            let mut lines = BufReader::new(stderr).split(b'\n');
            while let Ok(Some(line)) = lines.next_segment().await {
                let line = String::from_utf8_lossy(&line);
                let (level, text) = read(line.trim_end());
                match level {
                    Level::Error => tracing::error!(target: "php", "{text}"),
                    Level::Warning => tracing::warn!(target: "php", "{text}"),
                    Level::Notice => tracing::info!(target: "php", "{text}"),
                }
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                // The first error is the cause; what follows it are consequences.
                if level == Level::Error && seen.is_empty() {
                    text.clone_into(&mut seen);
                }
            }
        });
        Self { worst, task }
    }

    /// The first error that was said, once the process is gone.
    pub(super) async fn last_words(&mut self) -> String {
        // A worker that survives keeps the pipe open: what has come until then has to do.
        let _ = tokio::time::timeout(LAST_WORDS, &mut self.task).await;
        let said = self.worst.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if said.is_empty() { "it said nothing".into() } else { said }
    }
}

/// `[23-Nov-2026 21:12:21] WARNING: [pool php] …`; a line without a level is a worker's own.
fn read(line: &str) -> (Level, &str) {
    let rest = line.strip_prefix('[').and_then(|rest| rest.split_once("] ")).map_or(line, |(_, rest)| rest);
    for (word, level) in [
        ("ALERT: ", Level::Error),
        ("ERROR: ", Level::Error),
        ("WARNING: ", Level::Warning),
        ("NOTICE: ", Level::Notice),
        ("DEBUG: ", Level::Notice),
    ] {
        if let Some(text) = rest.strip_prefix(word) {
            return (level, text);
        }
    }
    (Level::Notice, line)
}

#[cfg(test)]
mod tests {
    use super::{Level, read};

    #[test]
    fn lines() {
        let cases = [
            ("[23-Nov-2026 21:12:21] ERROR: no pool", Level::Error, "no pool"),
            (
                "[23-Nov-2026 21:12:21] WARNING: [pool php] child 7 exited",
                Level::Warning,
                "[pool php] child 7 exited",
            ),
            ("NOTICE: PHP message: x", Level::Notice, "PHP message: x"),
            ("[a worker's own line", Level::Notice, "[a worker's own line"),
            ("", Level::Notice, ""),
        ];
        for (line, level, text) in cases {
            assert_eq!(read(line), (level, text), "{line}");
        }
    }
}
