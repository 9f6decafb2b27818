use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use http::{HeaderMap, StatusCode, request};
use prometheus_client::metrics::counter::Counter;
use tokio::signal::unix::{SignalKind, signal};

use super::{Destination, Entry, Field, Format, QUEUE};
use crate::shutdown::Shutdown;

/// A handle on the log; clones share it. The last one to go writes what is left.
#[derive(Debug, Clone)]
pub struct AccessLog(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    sender: Option<SyncSender<Message>>,
    format: Arc<Format>,
    /// Lines that were dropped, ever and since it was last said.
    dropped: Counter,
    unsaid: AtomicU64,
    reopen: Arc<AtomicBool>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
enum Message {
    Line(Box<Entry>),
    /// Something else is to be done.
    Wake,
}

/// The thread's side.
struct Writer {
    destination: Destination,
    out: BufWriter<Box<dyn Write + Send>>,
    format: Arc<Format>,
    json: &'static [Field],
    reopen: Arc<AtomicBool>,
    line: String,
}

impl AccessLog {
    /// A log in this format; as JSON, lines have the fields `json`.
    pub fn open(destination: &Destination, format: &Format, json: &'static [Field]) -> io::Result<Self> {
        if *destination == Destination::None {
            return Ok(Self(None));
        }
        let (format, reopen) = (Arc::new(format.clone()), Arc::<AtomicBool>::default());
        let writer = Writer {
            destination: destination.clone(),
            out: BufWriter::with_capacity(64 * 1024, open(destination)?),
            format: Arc::clone(&format),
            json,
            reopen: Arc::clone(&reopen),
            line: String::with_capacity(512),
        };
        let (sender, receiver) = sync_channel(QUEUE);
        let writer =
            std::thread::Builder::new().name("access-log".into()).spawn(move || writer.run(&receiver))?;
        Ok(Self(Some(Arc::new(Shared {
            sender: Some(sender),
            format,
            dropped: Counter::default(),
            unsaid: AtomicU64::new(0),
            reopen,
            writer: Mutex::new(Some(writer)),
        }))))
    }

    /// The entry for a request, if there is a log.
    pub fn entry(&self, client: IpAddr, scheme: &'static str, head: &request::Parts) -> Option<Box<Entry>> {
        let shared = self.0.as_ref()?;
        Some(Box::new(Entry::of_request(client, scheme, head, &shared.format)))
    }

    /// The response's head is there.
    pub fn answered(&self, entry: &mut Entry, status: StatusCode, headers: &HeaderMap) {
        if let Some(shared) = &self.0 {
            entry.answered(status, headers, &shared.format);
        }
    }

    /// Never blocks.
    pub fn log(&self, entry: Box<Entry>) {
        let Some(shared) = &self.0 else { return };
        let Some(sender) = &shared.sender else { return };
        if sender.try_send(Message::Line(entry)).is_err() {
            shared.dropped.inc();
            shared.unsaid.fetch_add(1, Ordering::Relaxed);
        } else if shared.unsaid.load(Ordering::Relaxed) > 0 {
            let lines = shared.unsaid.swap(0, Ordering::Relaxed);
            tracing::warn!(lines, "access-log lines were dropped: their destination is too slow");
        }
    }

    /// Lines dropped so far, for the metrics.
    pub fn dropped(&self) -> Counter {
        self.0.as_ref().map(|shared| shared.dropped.clone()).unwrap_or_default()
    }

    /// Opens the file anew, where lines go to one: it may have been moved away.
    pub fn reopen(&self) {
        let Some(shared) = &self.0 else { return };
        shared.reopen.store(true, Ordering::Release);
        if let Some(sender) = &shared.sender {
            // A full queue keeps the thread awake anyway.
            let _ = sender.try_send(Message::Wake);
        }
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

impl Drop for Shared {
    fn drop(&mut self) {
        // The writer ends when its queue is closed and empty.
        self.sender = None;
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::warn!("the access log's thread has panicked");
        }
    }
}

impl Writer {
    fn run(mut self, receiver: &Receiver<Message>) {
        while let Ok(message) = receiver.recv() {
            self.take(message);
            while let Ok(message) = receiver.try_recv() {
                self.take(message);
            }
            // A destination that fails (a full disk, a closed pipe) loses lines, never requests.
            let _ = self.out.flush();
        }
    }

    fn take(&mut self, message: Message) {
        if self.reopen.swap(false, Ordering::Acquire) {
            self.open_anew();
        }
        if let Message::Line(entry) = message {
            self.line.clear();
            self.format.write(&entry, self.json, &mut self.line);
            self.line.push('\n');
            let _ = self.out.write_all(self.line.as_bytes());
        }
    }

    fn open_anew(&mut self) {
        let _ = self.out.flush();
        if !matches!(self.destination, Destination::File(_)) {
            return;
        }
        match open(&self.destination) {
            Ok(out) => {
                self.out = BufWriter::with_capacity(64 * 1024, out);
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
