//! The agent: one small HTTP server a node, for the whole life of the container.
//!
//! - `GET /status`: what this node knows, as JSON.
//! - `POST /admit?volume=ID&slot=N`: asked by a volume that is about to join. It is written into this node's view
//!   before the answer, so that it is missed if it acknowledges writes and all are lost together. 200 or 503.
//! - `GET /healthz`: 200 unless the node is stuck.
//!
//! It knows nothing secret, and listens where Galera's own ports do, which ask for no password either.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::facts::{Facts, Member, VolumeId};

/// What an agent answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    #[serde(flatten)]
    pub facts: Facts,
    /// `wsrep_node_name`.
    pub name: String,
    /// Where its Galera is reached, once it knows its address.
    pub group: Option<SocketAddr>,
    /// What it waits for or refuses, and how that is resolved.
    pub waiting: Option<String>,
    /// What its mariadbd says.
    pub server: Option<Server>,
    /// What it has heard from others, newest first.
    #[serde(default)]
    pub heard: Vec<Heard>,
}

/// The state of the local mariadbd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// `wsrep_cluster_status`
    pub cluster_status: String,
    /// `wsrep_local_state_comment`
    pub local_state: String,
    pub cluster_size: u32,
    pub ready: bool,
}

/// Another node, as this one has heard it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    pub address: SocketAddr,
    pub volume: VolumeId,
    pub slot: u32,
    /// Seconds since 1970.
    pub at: u64,
}

/// A volume that asks to be let in; answered when that is on the disk.
#[derive(Debug)]
pub struct Admission {
    pub member: Member,
    pub answer: oneshot::Sender<bool>,
}

/// What the agent answers with, set by the node.
#[derive(Debug, Clone)]
pub struct Board(Arc<Mutex<Posted>>);

#[derive(Debug)]
struct Posted {
    report: Report,
    /// When the node last showed that it is not stuck, and how long it may be silent.
    alive: Instant,
    patience: Duration,
}

/// More connections wait.
const AT_ONCE: usize = 64;
const DEADLINE: Duration = Duration::from_secs(5);
const LONGEST_REQUEST: usize = 4096;
const LONGEST_ANSWER: u64 = 1 << 20;
/// The node comes round more than once a second; a disk that hangs holds it up for less than this.
const STUCK: Duration = Duration::from_mins(2);

impl Board {
    pub fn new(report: Report) -> Self {
        Self(Arc::new(Mutex::new(Posted { report, alive: Instant::now(), patience: STUCK })))
    }

    /// Changes the report, and shows that the node is alive.
    pub fn post(&self, change: impl FnOnce(&mut Report)) {
        let mut posted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut posted.report);
        posted.alive = Instant::now();
        posted.patience = STUCK;
    }

    /// The node is about to do something that takes up to this long.
    pub fn expect_silence(&self, patience: Duration) {
        let mut posted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        posted.alive = Instant::now();
        posted.patience = patience.max(STUCK);
    }

    pub fn report(&self) -> Report {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).report.clone()
    }

    fn is_alive(&self) -> bool {
        let posted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        posted.alive.elapsed() < posted.patience
    }
}

/// Answers until the program ends.
pub async fn serve(listener: TcpListener, board: Board, admissions: mpsc::Sender<Admission>) {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (board, admissions) = (board.clone(), admissions.clone());
        tokio::spawn(async move {
            // Whoever is too slow is not answered.
            let _ = tokio::time::timeout(DEADLINE, answer(stream, &board, &admissions)).await;
            drop(permit);
        });
    }
}

async fn answer(
    mut stream: TcpStream,
    board: &Board,
    admissions: &mpsc::Sender<Admission>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > LONGEST_REQUEST || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head);
    let mut words = head.split_ascii_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (status, body) = match (method, path) {
        ("GET", "/status") => ("200 OK", serde_json::to_string_pretty(&board.report())?),
        ("GET", "/healthz") if board.is_alive() => ("200 OK", "ok".to_owned()),
        ("GET", "/healthz") => ("503 Service Unavailable", "stuck".to_owned()),
        ("POST", "/admit") => match member_of(query) {
            None => ("400 Bad Request", "expected volume=ID&slot=N".to_owned()),
            Some(member) => {
                if admit(member, admissions).await {
                    ("200 OK", "ok".to_owned())
                } else {
                    ("503 Service Unavailable", "not now".to_owned())
                }
            }
        },
        _ => ("404 Not Found", String::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await?;
    stream.shutdown().await
}

fn member_of(query: &str) -> Option<Member> {
    let value = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    let volume = value("volume").filter(|id| id.len() == 12 && id.chars().all(|c| c.is_ascii_hexdigit()))?;
    Some(Member { volume: VolumeId(volume.to_owned()), slot: value("slot")?.parse().ok()? })
}

async fn admit(member: Member, admissions: &mpsc::Sender<Admission>) -> bool {
    let (answer, answered) = oneshot::channel();
    admissions.try_send(Admission { member, answer }).is_ok() && answered.await.unwrap_or(false)
}

/// Asks another agent what it knows.
pub async fn ask(address: SocketAddr, patience: Duration) -> std::io::Result<Report> {
    let body = exchange(address, "GET /status", patience).await?;
    serde_json::from_str(&body).map_err(std::io::Error::other)
}

/// Asks to be let in.
pub async fn ask_admission(address: SocketAddr, member: &Member, patience: Duration) -> std::io::Result<()> {
    let request = format!("POST /admit?volume={}&slot={}", member.volume, member.slot);
    exchange(address, &request, patience).await.map(|_| ())
}

pub async fn ask_health(address: SocketAddr, patience: Duration) -> std::io::Result<()> {
    exchange(address, "GET /healthz", patience).await.map(|_| ())
}

/// One request, and the body of its answer if that is 200.
async fn exchange(address: SocketAddr, request: &str, patience: Duration) -> std::io::Result<String> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let head = format!("{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut answer = String::new();
        stream.take(LONGEST_ANSWER).read_to_string(&mut answer).await?;
        let (head, body) =
            answer.split_once("\r\n\r\n").ok_or_else(|| std::io::Error::other("the answer was cut off"))?;
        if head.split_ascii_whitespace().nth(1) == Some("200") {
            Ok(body.to_owned())
        } else {
            Err(std::io::Error::other(format!("{}: {body}", head.lines().next().unwrap_or_default())))
        }
    };
    tokio::time::timeout(patience, exchange)
        .await
        .unwrap_or_else(|_| Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::facts::{Data, Lineage, Phase};

    fn report() -> Report {
        let facts = Facts {
            volume: VolumeId("3fa92c01d4e5".to_owned()),
            slot: 2,
            phase: Phase::Running { primary: true, synced: false },
            data: Data::Unknown("why \"not\"".to_owned()),
            lineage: Lineage::default(),
            view: None,
        };
        let (name, waiting) = ("galera-2".to_owned(), Some("for you".to_owned()));
        Report { facts, name, group: None, waiting, server: None, heard: Vec::new() }
    }

    #[tokio::test]
    async fn asked_and_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let board = Board::new(report());
        let (sender, mut admissions) = mpsc::channel(1);
        tokio::spawn(serve(listener, board.clone(), sender));
        let patience = Duration::from_secs(5);

        assert_eq!(ask(address, patience).await.unwrap(), report());
        ask_health(address, patience).await.unwrap();
        board.post(|report| report.waiting = None);
        assert_eq!(ask(address, patience).await.unwrap().waiting, None);

        let member = Member { volume: VolumeId("aaaaaaaaaaaa".to_owned()), slot: 3 };
        for expected in [true, false] {
            let expect = async {
                let admission = admissions.recv().await.unwrap();
                assert_eq!(admission.member, member);
                admission.answer.send(expected).unwrap();
            };
            let (admitted, ()) = tokio::join!(ask_admission(address, &member, patience), expect);
            assert_eq!(admitted.is_ok(), expected);
        }
        let stranger = Member { volume: VolumeId("x y".to_owned()), slot: 3 };
        assert!(ask_admission(address, &stranger, patience).await.is_err());
    }

    #[tokio::test]
    async fn a_stuck_node_is_not_healthy() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let board = Board::new(report());
        board.0.lock().unwrap().patience = Duration::ZERO;
        tokio::spawn(serve(listener, board.clone(), mpsc::channel(1).0));
        assert!(ask_health(address, Duration::from_secs(5)).await.is_err());
        board.post(|_| ());
        assert!(ask_health(address, Duration::from_secs(5)).await.is_ok());
    }
}
