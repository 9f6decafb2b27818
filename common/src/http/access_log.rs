//! The access log in Apache's combined format.
//!
//! A request's task hands an [`Entry`] over; a thread of its own formats and writes, so that a slow disk
//! or terminal never holds a request up. When the thread falls behind by [`QUEUE`] lines, lines are
//! dropped and their number is logged.

use std::fmt::{self, Write as _};
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header};

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    Stdout,
    None,
    File(PathBuf),
}

/// One request, when it is over.
#[derive(Debug, Clone)]
pub struct Entry {
    pub client: IpAddr,
    pub time: SystemTime,
    pub method: Method,
    pub target: Uri,
    pub version: Version,
    pub status: StatusCode,
    /// Bytes of the body that were sent.
    pub bytes: u64,
    pub referer: Option<HeaderValue>,
    pub user_agent: Option<HeaderValue>,
    /// A word after the combined format's fields, such as the cache's `HIT`; empty for none.
    pub note: &'static str,
}

/// A handle on the log; clones share it. The last one to go writes what is left.
#[derive(Debug, Clone)]
pub struct AccessLog(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    sender: Option<SyncSender<Entry>>,
    dropped: AtomicU64,
    writer: Mutex<Option<JoinHandle<()>>>,
}

const QUEUE: usize = 16 * 1024;

impl AccessLog {
    pub fn open(destination: &Destination) -> io::Result<Self> {
        let out: Box<dyn Write + Send> = match destination {
            Destination::None => return Ok(Self(None)),
            Destination::Stdout => Box::new(io::stdout()),
            Destination::File(path) => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
        };
        let (sender, receiver) = sync_channel(QUEUE);
        let writer =
            std::thread::Builder::new().name("access-log".into()).spawn(move || write_all(&receiver, out))?;
        Ok(Self(Some(Arc::new(Shared {
            sender: Some(sender),
            dropped: AtomicU64::new(0),
            writer: Mutex::new(Some(writer)),
        }))))
    }

    pub const fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Never blocks.
    pub fn log(&self, entry: Entry) {
        let Some(shared) = &self.0 else { return };
        let Some(sender) = &shared.sender else { return };
        if sender.try_send(entry).is_err() {
            shared.dropped.fetch_add(1, Ordering::Relaxed);
        } else if shared.dropped.load(Ordering::Relaxed) > 0 {
            let lines = shared.dropped.swap(0, Ordering::Relaxed);
            tracing::warn!(lines, "access-log lines were dropped: their destination is too slow");
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The writer ends when its queue is closed and empty.
        self.sender = None;
        let writer = self.writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::warn!("the access log's thread has panicked");
        }
    }
}

fn write_all(receiver: &Receiver<Entry>, out: Box<dyn Write + Send>) {
    let mut out = BufWriter::with_capacity(64 * 1024, out);
    let mut line = String::with_capacity(256);
    // A destination that fails (a full disk, a closed pipe) loses lines, never requests.
    let mut put = |entry: &Entry, out: &mut BufWriter<_>| {
        line.clear();
        if writeln!(line, "{entry}").is_ok() {
            let _ = out.write_all(line.as_bytes());
        }
    };
    while let Ok(entry) = receiver.recv() {
        put(&entry, &mut out);
        while let Ok(entry) = receiver.try_recv() {
            put(&entry, &mut out);
        }
        let _ = out.flush();
    }
}

impl Entry {
    /// The request's part; status, bytes and note are known when the response is over.
    pub fn of_request(
        client: IpAddr,
        method: &Method,
        target: &Uri,
        version: Version,
        headers: &HeaderMap,
    ) -> Self {
        Self {
            client,
            time: SystemTime::now(),
            method: method.clone(),
            target: target.clone(),
            version,
            status: StatusCode::OK,
            bytes: 0,
            referer: headers.get(header::REFERER).cloned(),
            user_agent: headers.get(header::USER_AGENT).cloned(),
            note: "",
        }
    }
}

impl fmt::Display for Entry {
    /// `%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"`, and the note.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} - - [{}] \"{} ", self.client, CommonDate(self.time), self.method)?;
        escape(f, self.target.to_string().as_bytes())?;
        write!(f, " {:?}\" {} ", self.version, self.status.as_u16())?;
        if self.bytes == 0 {
            f.write_char('-')?;
        } else {
            write!(f, "{}", self.bytes)?;
        }
        for field in [&self.referer, &self.user_agent] {
            f.write_str(" \"")?;
            match field {
                Some(value) => escape(f, value.as_bytes())?,
                None => f.write_char('-')?,
            }
            f.write_char('"')?;
        }
        if self.note.is_empty() { Ok(()) } else { write!(f, " {}", self.note) }
    }
}

/// As Apache does since 2.0.46: a client's bytes must not be able to forge a line.
fn escape(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for byte in bytes {
        match byte {
            b'"' => f.write_str("\\\"")?,
            b'\\' => f.write_str("\\\\")?,
            0x20..=0x7e => f.write_char(char::from(*byte))?,
            other => write!(f, "\\x{other:02x}")?,
        }
    }
    Ok(())
}

/// `10/Oct/2000:13:55:36 +0000`, from the parts of an HTTP date.
struct CommonDate(SystemTime);

impl fmt::Display for CommonDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = httpdate::fmt_http_date(self.0);
        let mut words = date.split(' ').skip(1);
        let mut word = || words.next().unwrap_or_default();
        let (day, month, year, time) = (word(), word(), word(), word());
        write!(f, "{day}/{month}/{year}:{time} +0000")
    }
}

impl FromStr for Destination {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "stdout" | "-" => Self::Stdout,
            "none" | "off" => Self::None,
            path => Self::File(path.into()),
        })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::None => f.write_str("none"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::time::Duration;

    use super::*;

    fn entry() -> Entry {
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, HeaderValue::from_bytes(b"a\"b\\\x80").unwrap());
        let target = "/a?b=%20".parse().unwrap();
        let mut entry =
            Entry::of_request([192, 0, 2, 1].into(), &Method::GET, &target, Version::HTTP_11, &headers);
        entry.time = SystemTime::UNIX_EPOCH + Duration::from_secs(971_186_136);
        entry.bytes = 7;
        entry
    }

    #[test]
    fn the_combined_format() {
        let expected = "192.0.2.1 - - [10/Oct/2000:13:55:36 +0000] \"GET /a?b=%20 HTTP/1.1\" 200 7 \"-\" \"a\\\"b\\\\\\x80\"";
        assert_eq!(entry().to_string(), expected);
        let noted = Entry { note: "HIT", bytes: 0, ..entry() };
        assert!(noted.to_string().ends_with(" 200 - \"-\" \"a\\\"b\\\\\\x80\" HIT"), "{noted}");
    }

    #[test]
    fn every_line_is_written_before_the_log_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let log = AccessLog::open(&Destination::File(path.clone())).unwrap();
        for _ in 0..1000 {
            log.log(entry());
        }
        drop(log);
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 1000);
    }
}
