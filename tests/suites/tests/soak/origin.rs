//! An origin that has every fault that was ever met in one.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::pages::{self, Pages};

pub(crate) struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    up: CancellationToken,
}

struct Shared {
    pages: Arc<Pages>,
    seed: u64,
    connections: AtomicU64,
    began: tokio::time::Instant,
    done: [AtomicUsize; FAULTS.len()],
}

/// What may happen to an answer, and how often in a thousand.
const FAULTS: [(Fault, &str, usize); 12] = [
    (Fault::None, "good", 0),
    (Fault::ResetAtOnce, "reset", 8),
    (Fault::CloseAtOnce, "close", 8),
    (Fault::ResetWithin, "reset within", 12),
    (Fault::Cut, "cut", 15),
    (Fault::SlowHead, "slow head", 2),
    (Fault::Stall, "stall", 2),
    (Fault::Drip, "drip", 20),
    (Fault::TooMuch, "too much", 12),
    (Fault::Ambiguous, "ambiguous", 6),
    (Fault::Garbage, "garbage", 6),
    (Fault::Error, "5xx", 10),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    ResetAtOnce,
    CloseAtOnce,
    ResetWithin,
    /// Less than was announced.
    Cut,
    /// Longer than the cache waits for a head.
    SlowHead,
    /// Longer than it waits within a body.
    Stall,
    Drip,
    /// More than was announced, and the rest looks like a response.
    TooMuch,
    Ambiguous,
    Garbage,
    Error,
}

/// A burst of 5xx of everything: so long, every so often.
const BURST: Duration = Duration::from_millis(300);
const BETWEEN_BURSTS: Duration = Duration::from_secs(4);
const POISON: &str =
    "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nX-Seed: 0\r\nContent-Length: 6\r\n\r\npoison";

enum After {
    KeepAlive,
    Close,
    Reset,
}

struct Request {
    method: String,
    path: String,
    fields: HashMap<String, String>,
}

impl Origin {
    pub(crate) async fn start(pages: Arc<Pages>, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            pages,
            seed,
            connections: AtomicU64::new(0),
            began: tokio::time::Instant::now(),
            done: Default::default(),
        });
        let up = CancellationToken::new();
        tokio::spawn(accept(listener, Arc::clone(&shared), up.clone()));
        Self { address, shared, up }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Closes every connection and takes no more.
    pub(crate) async fn stop(&mut self) {
        self.up.cancel();
        while TcpStream::connect(self.address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn restart(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.up = CancellationToken::new();
        tokio::spawn(accept(listener, Arc::clone(&self.shared), self.up.clone()));
    }

    /// How often each fault was made.
    pub(crate) fn faults(&self) -> Vec<(&'static str, usize)> {
        FAULTS
            .iter()
            .zip(&self.shared.done)
            .map(|((_, name, _), count)| (*name, count.load(Ordering::Relaxed)))
            .collect()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.up.cancel();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, up: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = up.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else { continue };
        let (shared, up) = (Arc::clone(&shared), up.clone());
        let number = shared.connections.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let rng = fastrand::Rng::with_seed(shared.seed.rotate_left(17) ^ number);
            tokio::select! {
                // Whatever ends a connection is as good as any other end.
                _ = serve(stream, &shared, rng) => {}
                () = up.cancelled() => {}
            }
        });
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared, mut rng: fastrand::Rng) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer).await? {
        if request.fields.contains_key("upgrade") {
            return echo(stream).await;
        }
        match answer(&mut stream, shared, &request, &mut rng).await? {
            After::KeepAlive => {}
            After::Close => return Ok(()),
            After::Reset => return SockRef::from(&stream).set_linger(Some(Duration::ZERO)),
        }
    }
    Ok(())
}

/// The request's head; its body is read and forgotten.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<Request>> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end + 4);
    let mut lines = head.split("\r\n");
    let mut start = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, path) = (start.next().unwrap_or_default(), start.next().unwrap_or_default());
    let fields: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let length = fields.get("content-length").map_or(0, |length| length.parse().unwrap_or(0));
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    buffer.drain(..length);
    Ok(Some(Request { method, path, fields }))
}

async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    stream
        .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        .await?;
    let (mut read, mut write) = stream.split();
    tokio::io::copy(&mut read, &mut write).await?;
    Ok(())
}

async fn answer(
    stream: &mut TcpStream,
    shared: &Shared,
    request: &Request,
    rng: &mut fastrand::Rng,
) -> std::io::Result<After> {
    if let Some(number) = request.path.strip_prefix("/large/") {
        let body = pages::bytes(number.len() as u64, 0, pages::LARGE);
        let head = format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&body).await?;
        return Ok(After::KeepAlive);
    }
    let Some(number) = pages::number(&request.path) else {
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await?;
        return Ok(After::KeepAlive);
    };
    let fault = shared.fault(rng);
    match fault {
        Fault::ResetAtOnce => return Ok(After::Reset),
        Fault::CloseAtOnce => return Ok(After::Close),
        Fault::SlowHead => tokio::time::sleep(Duration::from_millis(1200)).await,
        Fault::Garbage => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nX-Seed: 0\nContent-Length: 0\r\n\r\n").await?;
            return Ok(After::KeepAlive);
        }
        Fault::Ambiguous => {
            let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(format!("{head}0\r\n\r\n{POISON}").as_bytes()).await?;
            return Ok(After::KeepAlive);
        }
        Fault::Error => {
            let status = [500, 502, 503, 504][rng.usize(..4)];
            let head = format!(
                "HTTP/1.1 {status} Sorry\r\nContent-Length: 5\r\nCache-Control: no-store\r\n\r\nsorry"
            );
            stream.write_all(head.as_bytes()).await?;
            return Ok(After::KeepAlive);
        }
        _ => {}
    }
    if request.method == "POST" {
        let (_, version) = shared.pages.publish(std::iter::once(number))[0];
        stream
            .write_all(format!("HTTP/1.1 204 No Content\r\nX-Version: {version}\r\n\r\n").as_bytes())
            .await?;
        return Ok(After::KeepAlive);
    }
    page(stream, shared, request, number, fault, rng).await
}

/// A page as it is now, or what a fault makes of it.
async fn page(
    stream: &mut TcpStream,
    shared: &Shared,
    request: &Request,
    number: usize,
    fault: Fault,
    rng: &mut fastrand::Rng,
) -> std::io::Result<After> {
    let version = shared.pages.page(number).version.load(Ordering::SeqCst);
    let asked = request.fields.get("x-variant").map_or("", String::as_str);
    let variant = if pages::varies(number) { asked } else { "" };
    let accepts = request.fields.get("accept-encoding").is_some_and(|codings| codings.contains("gzip"));
    let is_gzip = pages::is_text(number) && accepts;
    let suffix = if is_gzip { "z" } else { "" };
    let etag = format!("\"v-{version}-{variant}{suffix}\"");
    let control = match number % 7 {
        0 => "max-age=1, stale-while-revalidate=2",
        1 => "max-age=2, stale-if-error=5",
        2 => "no-cache",
        3 if number.is_multiple_of(2) => "no-store",
        4 => "max-age=1, must-revalidate",
        _ => "max-age=30",
    };
    let vary = match (pages::varies(number), pages::is_text(number)) {
        (true, true) => "Vary: X-Variant, Accept-Encoding\r\n",
        (true, false) => "Vary: X-Variant\r\n",
        (false, true) => "Vary: Accept-Encoding\r\n",
        (false, false) => "",
    };
    // More than one segment may come in pieces.
    let fault =
        if fault == Fault::TooMuch && pages::length(number, version) > 10_000 { Fault::None } else { fault };
    let seed = pages::seed(&request.path, version, variant);
    let length = pages::length(number, version);
    let fields = format!(
        "Cache-Control: {control}\r\nETag: {etag}\r\n{vary}X-Version: {version}\r\nX-Variant-Sent: {variant}\r\n\
         X-Seed: {seed:x}\r\nX-Length: {length}\r\nCache-Tags: page-{number} group-{} all\r\n",
        number % pages::GROUPS
    );
    if request.fields.get("if-none-match").is_some_and(|known| known.contains(&etag)) {
        stream.write_all(format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n").as_bytes()).await?;
        return Ok(After::KeepAlive);
    }
    let kind = if pages::is_text(number) { "text/plain" } else { "application/octet-stream" };
    let mut body = pages::bytes(seed, 0, length);
    if is_gzip {
        body = pages::gzip(&body);
    }
    let coding = if is_gzip { "Content-Encoding: gzip\r\n" } else { "" };
    let framing = if fault == Fault::TooMuch { 0 } else { rng.usize(..3) };
    let framed = match framing {
        0 => format!("Content-Length: {}\r\n", body.len()),
        1 => "Transfer-Encoding: chunked\r\n".to_owned(),
        // Its end cannot be told from a fault: only a good one is sent so.
        _ if fault == Fault::None => "Connection: close\r\n".to_owned(),
        _ => format!("Content-Length: {}\r\n", body.len()),
    };
    let (is_chunked, is_until_close) = (framed.starts_with('T'), framed.starts_with("Connection"));
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{fields}{coding}{framed}\r\n");
    if request.method == "HEAD" {
        stream.write_all(head.as_bytes()).await?;
        return Ok(if is_until_close { After::Close } else { After::KeepAlive });
    }
    let is_cut = matches!(fault, Fault::Cut | Fault::ResetWithin | Fault::Stall) && !body.is_empty();
    let sent = if is_cut { rng.usize(..body.len()) } else { body.len() };
    if fault == Fault::TooMuch {
        // In one segment: what comes only after the next request cannot be told from its response.
        stream.write_all(&[head.as_bytes(), &body, POISON.as_bytes()].concat()).await?;
        return Ok(After::KeepAlive);
    }
    stream.write_all(head.as_bytes()).await?;
    send(stream, &body[..sent], is_chunked, fault == Fault::Drip, rng).await?;
    if fault == Fault::Stall && is_cut {
        tokio::time::sleep(Duration::from_millis(1300)).await;
    }
    if is_cut {
        return Ok(if fault == Fault::ResetWithin { After::Reset } else { After::Close });
    }
    if is_chunked {
        stream.write_all(b"0\r\n\r\n").await?;
    }
    Ok(if is_until_close { After::Close } else { After::KeepAlive })
}

async fn send(
    stream: &mut TcpStream,
    body: &[u8],
    is_chunked: bool,
    drips: bool,
    rng: &mut fastrand::Rng,
) -> std::io::Result<()> {
    let width = if drips { body.len() / 5 + 1 } else { rng.usize(1..1 << 17) };
    for piece in body.chunks(width) {
        if is_chunked {
            let framed = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
            stream.write_all(&framed).await?;
        } else {
            stream.write_all(piece).await?;
        }
        if drips {
            tokio::time::sleep(Duration::from_millis(rng.u64(1..30))).await;
        }
    }
    Ok(())
}

impl Shared {
    fn fault(&self, rng: &mut fastrand::Rng) -> Fault {
        if self.pages.calm.load(Ordering::Relaxed) {
            return Fault::None;
        }
        let phase = self.began.elapsed().as_millis() % (BURST + BETWEEN_BURSTS).as_millis();
        let chosen = if phase > BETWEEN_BURSTS.as_millis() {
            FAULTS.len() - 1
        } else {
            let mut dice = rng.usize(..1000);
            let mut chosen = 0;
            for (index, (_, _, share)) in FAULTS.iter().enumerate().skip(1) {
                if dice < *share {
                    chosen = index;
                    break;
                }
                dice -= share;
            }
            chosen
        };
        self.done[chosen].fetch_add(1, Ordering::Relaxed);
        FAULTS[chosen].0
    }
}
