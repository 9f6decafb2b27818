use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use http::{HeaderMap, StatusCode, request};
use prometheus_client::metrics::counter::Counter;
use tokio::signal::unix::{SignalKind, signal};

use super::{BACKLOG, Began, Destination, Entry, Field, Fields, Format};
use crate::shutdown::Shutdown;

/// A handle on the log; clones share it. The last one to go writes what is left.
#[derive(Debug, Clone)]
pub struct AccessLog(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    format: Format,
    json: &'static [Field],
    /// What lines say.
    fields: Fields,
    queue: Arc<Queue>,
    dropped: Counter,
    writer: Option<JoinHandle<()>>,
}

/// Lines on their way to the thread that writes them.
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// There is something to do.
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    /// Lines that were dropped since it was last said.
    dropped: u64,
    reopen: bool,
    /// There will be no more.
    closed: bool,
}

/// The thread's side.
struct Writer {
    destination: Destination,
    out: Box<dyn Write + Send>,
    queue: Arc<Queue>,
}

/// Lines are gathered for so long before they are written, so that a line does not cost a system call and a switch of threads.
const GATHER: Duration = Duration::from_millis(50);
/// So many bytes are written at once.
const ENOUGH: usize = 128 * 1024;

thread_local! {
    /// Where this thread makes its lines.
    static LINE: RefCell<String> = RefCell::new(String::with_capacity(512));
}

impl AccessLog {
    /// A log in this format; as JSON, lines have the fields `json`.
    pub fn open(destination: &Destination, format: &Format, json: &'static [Field]) -> io::Result<Self> {
        if *destination == Destination::None {
            return Ok(Self(None));
        }
        let queue = Arc::<Queue>::default();
        let writer =
            Writer { destination: destination.clone(), out: open(destination)?, queue: Arc::clone(&queue) };
        let writer = std::thread::Builder::new().name("access-log".into()).spawn(move || writer.run())?;
        Ok(Self(Some(Arc::new(Shared {
            format: format.clone(),
            json,
            fields: format.fields(json),
            queue,
            dropped: Counter::default(),
            writer: Some(writer),
        }))))
    }

    /// The entry for a request, if there is a log.
    pub fn entry(
        &self,
        began: Began,
        client: IpAddr,
        scheme: &'static str,
        head: &request::Parts,
    ) -> Option<Box<Entry>> {
        let shared = self.0.as_ref()?;
        Some(Box::new(Entry::of_request(began, client, scheme, head, &shared.format, shared.fields)))
    }

    /// Whether a line says what is in fields of the response.
    pub fn names_response_fields(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| !shared.format.response_fields().is_empty())
    }

    /// The response's head is there `after` so long.
    pub fn answered(&self, entry: &mut Entry, status: StatusCode, headers: &HeaderMap, after: Duration) {
        if let Some(shared) = &self.0 {
            entry.answered(status, headers, after, &shared.format);
        }
    }

    /// Makes the line and hands it over. Never waits for the destination.
    pub fn log(&self, entry: &Entry) {
        let Some(shared) = &self.0 else { return };
        LINE.with_borrow_mut(|line| {
            line.clear();
            shared.format.write(entry, shared.json, line);
            line.push('\n');
            if !shared.queue.push(line.as_bytes()) {
                shared.dropped.inc();
            }
        });
    }

    /// Lines dropped so far, for the metrics.
    pub fn dropped(&self) -> Counter {
        self.0.as_ref().map(|shared| shared.dropped.clone()).unwrap_or_default()
    }

    /// Opens the file anew, where lines go to one: it may have been moved away.
    pub fn reopen(&self) {
        let Some(shared) = &self.0 else { return };
        shared.queue.lock().reopen = true;
        shared.queue.wake.notify_one();
    }

    /// Reopens with every SIGUSR1 until the drain begins. The signal ends the service no more, be there a file or
    /// not: whoever rotates logs need not know.
    pub fn reopen_on_signal(&self, shutdown: &Shutdown) -> io::Result<()> {
        let mut signals = signal(SignalKind::user_defined1())?;
        let log = self.clone();
        shutdown.spawn_until_drain(async move {
            while signals.recv().await.is_some() {
                log.reopen();
            }
        });
        Ok(())
    }
}

impl Queue {
    /// False where the thread is too far behind: then the line is dropped.
    fn push(&self, line: &[u8]) -> bool {
        let mut waiting = self.lock();
        let before = waiting.lines.len();
        if before + line.len() > BACKLOG {
            waiting.dropped += 1;
            return false;
        }
        waiting.lines.extend_from_slice(line);
        let now = waiting.lines.len();
        drop(waiting);
        if before == 0 || (before < ENOUGH && now >= ENOUGH) {
            self.wake.notify_one();
        }
        true
    }

    /// Waits for lines, or for something else to do, and takes it. `lines` is left in the place of what is taken.
    fn take(&self, mut lines: Vec<u8>) -> Waiting {
        lines.clear();
        let waiting = self.lock();
        let idle = |waiting: &mut Waiting| waiting.lines.is_empty() && !waiting.is_urgent();
        let waiting = self.wake.wait_while(waiting, idle).unwrap_or_else(PoisonError::into_inner);
        let few = |waiting: &mut Waiting| waiting.lines.len() < ENOUGH && !waiting.is_urgent();
        let waited = self.wake.wait_timeout_while(waiting, GATHER, few);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let closed = waiting.closed;
        std::mem::replace(&mut *waiting, Waiting { lines, dropped: 0, reopen: false, closed })
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    const fn is_urgent(&self) -> bool {
        self.reopen || self.closed
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The writer ends when it has written what is left.
        self.queue.lock().closed = true;
        self.queue.wake.notify_one();
        if self.writer.take().is_some_and(|writer| writer.join().is_err()) {
            tracing::warn!("the access log's thread has panicked");
        }
    }
}

impl Writer {
    fn run(mut self) {
        let mut spare = Vec::with_capacity(ENOUGH);
        loop {
            let taken = self.queue.take(spare);
            if taken.dropped > 0 {
                let lines = taken.dropped;
                tracing::warn!(lines, "access-log lines were dropped: their destination is too slow");
            }
            if taken.reopen {
                self.open_anew();
            }
            // A destination that fails (a full disk, a closed pipe) loses lines, never requests.
            let _ = self.out.write_all(&taken.lines).and_then(|()| self.out.flush());
            if taken.closed {
                return;
            }
            spare = taken.lines;
            spare.clear();
            spare.shrink_to(ENOUGH * 2);
        }
    }

    fn open_anew(&mut self) {
        if !matches!(self.destination, Destination::File(_)) {
            return;
        }
        match open(&self.destination) {
            Ok(out) => {
                self.out = out;
                tracing::info!(file = %self.destination, "the access log was reopened");
            }
            Err(error) => {
                tracing::error!(file = %self.destination, %error, "the access log stays where it was: it cannot be reopened");
            }
        }
    }
}

fn open(destination: &Destination) -> io::Result<Box<dyn Write + Send>> {
    Ok(match destination {
        Destination::None => Box::new(io::sink()),
        Destination::Stdout => Box::new(io::stdout()),
        Destination::File(path) => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
    })
}
