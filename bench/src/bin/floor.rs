//! The floor: a server that writes a canned response and does nothing else, on one thread with a bare epoll loop.
//!
//! It shows what the kernel's sockets cost alone, and is the origin of every other scenario. It reads of a request only
//! its target and `If-None-Match`:
//!
//! | target | answer |
//! |---|---|
//! | `/b/SIZE/…` | that many bytes, with an entity tag and a day of freshness |
//! | `/t/TAG/SIZE/…` | the same with `Cache-Tag: TAG` |
//! | `/slow/MS/SIZE/…` | the same after that many milliseconds |
//! | `/_count` | how many requests came so far, without those of `/_…` |
//! | `/_next` | like `/_count`, and later answers say the next `X-Generation` |

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use memchr::memmem::{Finder, find};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

/// Larger than any request that is sent to it; what is longer is cut off.
const READ: usize = 64 * 1024;
const LISTENER: u64 = u64::MAX;

fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8088".to_owned());
    let listener = TcpListener::bind(&address)?;
    listener.set_nonblocking(true)?;
    Floor::new(listener)?.run()
}

struct Floor {
    epoll: rustix::fd::OwnedFd,
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    /// Places in `connections` that are free.
    free: Vec<usize>,
    /// What was answered within this second, by target; `Date` is part of it.
    prepared: HashMap<Vec<u8>, Rc<[u8]>>,
    second: u64,
    count: u64,
    generation: u64,
    /// Answers that wait for their time.
    later: Vec<(Instant, usize, Rc<[u8]>)>,
    head_end: Finder<'static>,
}

struct Connection {
    stream: TcpStream,
    /// What came of a request that is not complete.
    input: Vec<u8>,
    /// What could not be written yet, and from where on.
    output: Vec<(Rc<[u8]>, usize)>,
    /// Whether epoll waits for it to become writable, and for nothing else.
    blocked: bool,
}

impl Floor {
    fn new(listener: TcpListener) -> anyhow::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        Ok(Self {
            epoll,
            listener,
            connections: Vec::new(),
            free: Vec::new(),
            prepared: HashMap::new(),
            second: 0,
            count: 0,
            generation: 1,
            later: Vec::new(),
            head_end: Finder::new(b"\r\n\r\n"),
        })
    }

    fn run(&mut self) -> anyhow::Result<()> {
        let mut events = Vec::with_capacity(512);
        let mut buffer = vec![0; READ];
        loop {
            let timeout = self.later.iter().map(|(due, ..)| *due).min().map(|due| {
                // Rounded up, so that it is due when epoll returns.
                let left = due.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
                Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 })
            });
            match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            let now = SystemTime::now();
            let second = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
            if second != self.second {
                self.second = second;
                self.prepared.clear();
            }
            for event in events.drain(..) {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    place => self.serve(usize::try_from(place)?, event.flags, &mut buffer),
                }
            }
            self.answer_due();
        }
    }

    fn accept(&mut self) -> anyhow::Result<()> {
        loop {
            // Also when there are no descriptors left: those that are open are to be served.
            let Ok((stream, _)) = self.listener.accept() else { return Ok(()) };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let place = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let data = epoll::EventData::new_u64(place as u64);
            epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN)?;
            self.connections[place] =
                Some(Connection { stream, input: Vec::new(), output: Vec::new(), blocked: false });
        }
    }

    fn serve(&mut self, place: usize, flags: epoll::EventFlags, buffer: &mut [u8]) {
        let Some(mut connection) = self.connections[place].take() else { return };
        if self.go_on(place, &mut connection, flags, buffer).is_ok() {
            self.connections[place] = Some(connection);
        } else {
            self.forget(place);
        }
    }

    /// The connection of this place has ended; dropping its stream takes it out of epoll.
    fn forget(&mut self, place: usize) {
        self.later.retain(|(_, other, _)| *other != place);
        self.free.push(place);
    }

    /// An error means that the connection has ended.
    fn go_on(
        &mut self,
        place: usize,
        connection: &mut Connection,
        flags: epoll::EventFlags,
        buffer: &mut [u8],
    ) -> Result<(), ErrorKind> {
        if flags.contains(epoll::EventFlags::OUT) {
            self.flush(place, connection)?;
        }
        if !flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
            return Ok(());
        }
        let length = match connection.stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.kind()),
        };
        let mut joined;
        let mut input = &buffer[..length];
        if !connection.input.is_empty() {
            joined = std::mem::take(&mut connection.input);
            joined.extend_from_slice(input);
            input = &joined;
        }
        while let Some(end) = self.head_end.find(input) {
            let (head, rest) = input.split_at(end + 4);
            let (wait, answer) = self.answer(head);
            input = rest;
            if let Some(wait) = wait {
                self.later.push((Instant::now() + wait, place, answer));
            } else {
                self.send(place, connection, answer)?;
            }
        }
        if input.len() > READ {
            return Err(ErrorKind::InvalidData);
        }
        connection.input = input.to_vec();
        Ok(())
    }

    fn answer_due(&mut self) {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.later).into_iter().partition(|(at, ..)| *at <= now);
        self.later = later;
        let due: Vec<(Instant, usize, Rc<[u8]>)> = due;
        for (_, place, answer) in due {
            let Some(mut connection) = self.connections[place].take() else { continue };
            if self.send(place, &mut connection, answer).is_ok() {
                self.connections[place] = Some(connection);
            } else {
                self.forget(place);
            }
        }
    }

    fn send(&self, place: usize, connection: &mut Connection, answer: Rc<[u8]>) -> Result<(), ErrorKind> {
        connection.output.push((answer, 0));
        if connection.output.len() == 1 { self.flush(place, connection) } else { Ok(()) }
    }

    fn flush(&self, place: usize, connection: &mut Connection) -> Result<(), ErrorKind> {
        let mut blocked = false;
        while let Some((answer, done)) = connection.output.first_mut() {
            match connection.stream.write(&answer[*done..]) {
                Ok(length) => *done += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    blocked = true;
                    break;
                }
                Err(error) => return Err(error.kind()),
            }
            if *done == answer.len() {
                connection.output.remove(0);
            }
        }
        if blocked != connection.blocked {
            connection.blocked = blocked;
            let flags = if blocked { epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
            let data = epoll::EventData::new_u64(place as u64);
            epoll::modify(&self.epoll, &connection.stream, data, flags).map_err(Errno::kind)?;
        }
        Ok(())
    }

    fn answer(&mut self, head: &[u8]) -> (Option<Duration>, Rc<[u8]>) {
        let target = head.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
        if target.starts_with(b"/_") {
            let text = self.count.to_string();
            self.generation += u64::from(target == b"/_next");
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
            self.prepared.clear();
            return (None, answer.into_bytes().into());
        }
        self.count += 1;
        let conditional = find(head, b"\r\nIf-None-Match: ").is_some();
        if !conditional && let Some(answer) = self.prepared.get(target) {
            return (None, Rc::clone(answer));
        }
        let (answer, wait) = self.prepare(target, conditional);
        // What is asked for once each must not fill the memory.
        if !conditional && wait.is_none() && self.prepared.len() < 64 {
            self.prepared.insert(target.to_vec(), Rc::clone(&answer));
        }
        (wait, answer)
    }

    fn prepare(&self, target: &[u8], conditional: bool) -> (Rc<[u8]>, Option<Duration>) {
        let target = String::from_utf8_lossy(target);
        let mut words = target.split('/').skip(1);
        let (mut tag, mut wait) = (String::new(), None);
        match words.next() {
            Some("t") => tag = format!("Cache-Tag: {}\r\n", words.next().unwrap_or_default()),
            Some("slow") => wait = words.next().and_then(|ms| ms.parse().ok()).map(Duration::from_millis),
            Some("b") => {}
            _ => return (Rc::from(*b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), None),
        }
        let size: usize = words.next().and_then(|size| size.parse().ok()).unwrap_or(0);
        let date = httpdate::fmt_http_date(SystemTime::now());
        let generation = self.generation;
        let fields = format!(
            "Date: {date}\r\nETag: \"b{size}\"\r\nCache-Control: public, max-age=86400\r\n{tag}X-Generation: {generation}\r\n"
        );
        if conditional {
            return (format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n").into_bytes().into(), wait);
        }
        let mut answer =
            format!("HTTP/1.1 200 OK\r\nContent-Type: image/webp\r\nContent-Length: {size}\r\n{fields}\r\n")
                .into_bytes();
        answer.extend(body(size));
        (answer.into(), wait)
    }
}

/// The bytes of a body of this size, as the harness expects them (`content.rs`).
fn body(size: usize) -> impl Iterator<Item = u8> {
    (0..size).map(|place| (place.wrapping_mul(2_654_435_761) >> 13) as u8)
}
