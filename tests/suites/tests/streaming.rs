//! Half a gigabyte up and down through three processes, none of which may hold it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use suites::chain::{Alone, Chain, Front};
use suites::site::Site;
use test_support::client::{Client, End, Framing, Response};
use test_support::wait::{DEADLINE, wait_until};

const MIB: u64 = 1 << 20;
const SIZE: u64 = 500 * MIB;
/// What a service may have of resident memory, at its highest.
const MEMORY: u64 = 100 * MIB;

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_with_a_length() {
    upload_with_a_length(&Site::start().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_chunks() {
    upload_in_chunks(&Site::start().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_with_a_length_to_web_proxy_alone() {
    upload_with_a_length(&Site::<Alone>::serve(|plan| plan).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_chunks_to_web_proxy_alone() {
    upload_in_chunks(&Site::<Alone>::serve(|plan| plan).await.unwrap()).await;
}

async fn upload_with_a_length(site: &Site<impl Front>) {
    let mut client = Client::connect(site.chain.address()).await.unwrap();
    client.send(head("PUT", "/upload/raw", &format!("Content-Length: {SIZE}"))).await.unwrap();
    let mut expected = Sha256::start();
    for block in blocks() {
        expected.update(&block);
        client.send(&block).await.unwrap();
    }
    is_whole(client, site, expected).await;
    print_memory(&site.chain, "with its length");
}

/// PHP has to know the length beforehand: somebody in the chain keeps the body until its end is known, but not
/// in memory.
async fn upload_in_chunks(site: &Site<impl Front>) {
    let mut client = Client::connect(site.chain.address()).await.unwrap();
    client.send(head("PUT", "/upload/raw", "Transfer-Encoding: chunked")).await.unwrap();
    let mut expected = Sha256::start();
    for block in blocks() {
        expected.update(&block);
        let chunk = [format!("{:x}\r\n", block.len()).as_bytes(), &block, b"\r\n"].concat();
        if client.send(chunk).await.is_err() {
            // Refused before it was whole: the answer says why.
            break;
        }
    }
    let _ = client.send("0\r\n\r\n").await;
    is_whole(client, site, expected).await;
    print_memory(&site.chain, "in chunks");
}

/// What arrived is what was sent, and nobody has held it.
async fn is_whole(mut client: Client, site: &Site<impl Front>, expected: Sha256) {
    let response = client.response("PUT").await.unwrap();
    let text = response.text();
    assert_eq!(response.status, 200, "{text}\n{}", site.chain.logs());
    assert!(text.contains(&format!("\"size\": {SIZE}")) && text.contains(&expected.finish()), "{text}");
    assert_small(&site.chain);
}

fn print_memory(front: &impl Front, how: &str) {
    let services = front.services();
    let peaks =
        services.iter().map(|(name, service)| format!("{name} {}", service.peak_rss().unwrap() / MIB));
    let peaks = peaks.collect::<Vec<_>>().join(", ");
    println!("note: an upload of {} MB {how}: {peaks} MiB at most", SIZE / MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_from_php() {
    let site = Site::start().await.unwrap();
    let (head, end, problems) = download(&site.chain, "/download?mb=500").await;
    assert_eq!((head.status, head.framing, end), (200, Framing::Length(SIZE), End::Complete));
    assert_eq!(problems, 0, "blocks that differ from the pattern");
    assert_small(&site.chain);
}

/// Cacheable, but larger than what the cache stores: it is streamed all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_static_file() {
    let site = Site::start_with(|mut plan| {
        plan.edge = &["--memory", "32MiB"];
        plan
    })
    .await
    .unwrap();
    // A file with a hole: it takes no room on the disk.
    File::create(site.docroot().join("large.bin")).unwrap().set_len(SIZE).unwrap();
    for _ in 0..2 {
        let mut client = Client::connect(site.chain.address()).await.unwrap();
        client.send(head("GET", "/large.bin", "Accept: */*")).await.unwrap();
        let response = client.response_head("GET").await.unwrap();
        assert_eq!(response.framing, Framing::Length(SIZE), "{:?}", response.headers);
        let mut zeros = 0;
        let end = client
            .drain(response.framing, |chunk| zeros += chunk.iter().filter(|byte| **byte == 0).count() as u64)
            .await
            .unwrap();
        assert_eq!((end, zeros), (End::Complete, SIZE));
    }
    assert_small(&site.chain);
}

/// A client that reads nothing stops the sender; one that goes away frees everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stalls_and_leaves() {
    let site = Site::start().await.unwrap();
    let chain = &site.chain;
    let mut client = Client::connect_narrow(chain.address(), 16 << 10).await.unwrap();
    client.send(head("GET", "/download?mb=500", "Accept: */*")).await.unwrap();
    assert_eq!(client.response_head("GET").await.unwrap().status, 200);
    assert_eq!(in_flight(chain).await, 1.0);
    // While it does not read, others are served, and what it does not read is not piled up anywhere.
    let (_, end, problems) = download(chain, "/download?mb=100").await;
    assert_eq!((end, problems), (End::Complete, 0));
    assert_eq!(in_flight(chain).await, 1.0, "{}", chain.logs());
    assert_small(chain);
    drop(client);
    wait_until("the permit to be free", DEADLINE, async || in_flight(chain).await == 0.0).await;
    wait_until("the client's connections to be closed", DEADLINE, async || {
        chain.edge.metrics().await.unwrap().value("edge_cache_connections", &[]) == 0.0
    })
    .await;
}

/// What PHP flushes arrives now, not when there is more of it.
#[tokio::test(flavor = "multi_thread")]
async fn pieces_arrive_one_by_one() {
    let site = Site::start().await.unwrap();
    let mut client = Client::connect(site.chain.address()).await.unwrap();
    client.send(head("GET", "/stream?chunks=4&ms=300", "Accept: */*")).await.unwrap();
    let response = client.response_head("GET").await.unwrap();
    let mut arrivals = Vec::new();
    let end = client
        .drain(response.framing, |chunk| {
            arrivals.extend(chunk.iter().filter(|byte| **byte == b'\n').map(|_| Instant::now()));
        })
        .await
        .unwrap();
    assert_eq!((end, arrivals.len()), (End::Complete, 4));
    // PHP sent the first 900 ms before the last.
    assert!(arrivals[3] - arrivals[0] > Duration::from_millis(600), "{arrivals:?}");
}

/// A whole body of `Download.php`, and how many of its 64 KiB blocks are not what they should be.
async fn download(chain: &Chain, path: &str) -> (Response, End, u64) {
    const BLOCK: usize = 1 << 16;
    let pattern: Vec<u8> = (0..BLOCK).map(|i| ((31 * i + (i >> 8)) & 255) as u8).collect();
    let mut client = Client::connect(chain.address()).await.unwrap();
    client.send(head("GET", path, "Accept: */*")).await.unwrap();
    let response = client.response_head("GET").await.unwrap();
    let (mut block, mut offset, mut problems) = (Vec::with_capacity(BLOCK), 0_u64, 0);
    let mut check = |block: &[u8]| {
        if block[..16] != *format!("{offset:016x}").as_bytes() || block[16..] != pattern[16..block.len()] {
            problems += 1;
        }
        offset += block.len() as u64;
    };
    let end = client
        .drain(response.framing, |mut chunk| {
            while !chunk.is_empty() {
                let (now, later) = chunk.split_at(chunk.len().min(BLOCK - block.len()));
                block.extend_from_slice(now);
                chunk = later;
                if block.len() == BLOCK {
                    check(&block);
                    block.clear();
                }
            }
        })
        .await
        .unwrap();
    assert!(block.is_empty() || end == End::Truncated, "not whole blocks");
    (response, end, problems)
}

/// The requests that the gateway has sent to PHP-FPM and not seen the end of.
async fn in_flight(chain: &Chain) -> f64 {
    chain.gateway.metrics().await.unwrap().get("fpm_gateway_in_flight", &[]).unwrap()
}

fn assert_small(front: &impl Front) {
    for (name, service) in front.services() {
        let peak = service.peak_rss().unwrap();
        println!("{name}: {} MiB at most", peak / MIB);
        assert!(peak < MEMORY, "{name} had {} MiB of resident memory", peak / MIB);
    }
}

fn head(method: &str, path: &str, field: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{field}\r\n\r\n")
}

/// 500 MiB in blocks of 1 MiB, each different.
fn blocks() -> impl Iterator<Item = Vec<u8>> {
    (0..SIZE / MIB).map(|n| (0..MIB).map(|i| (i.wrapping_mul(n + 7) >> 3) as u8).collect())
}

/// `sha256sum`, which is where the tests are.
struct Sha256(std::process::Child);

impl Sha256 {
    fn start() -> Self {
        let child = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        Self(child.unwrap())
    }

    fn update(&mut self, bytes: &[u8]) {
        self.0.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    fn finish(mut self) -> String {
        drop(self.0.stdin.take());
        let output = self.0.wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
    }
}
