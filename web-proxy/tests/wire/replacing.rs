//! Files that change, vanish or cannot be read while they are sent.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use test_support::client::{Client, End};

use crate::support::{NOBODY, Proxy};

/// Of several pieces each, of different lengths, and one byte all through.
const STATES: [(u8, usize); 4] = [(b'a', 400_000), (b'b', 400_000), (b'c', 300_000), (b'd', 1_000)];
const READERS: usize = 6;
const REQUESTS: usize = 150;

/// What readers have seen.
#[derive(Debug, Default)]
struct Seen {
    complete: usize,
    broken: usize,
    busy: usize,
}

/// Calls `change` with one state after the other until all readers have had their fill. Every response that looks
/// complete must be of one state all through.
async fn under_readers(proxy: &Proxy, change: impl Fn(u8, usize) + Send + 'static, range: bool) -> Seen {
    let done = Arc::new(AtomicBool::new(false));
    let writing = tokio::task::spawn_blocking({
        let done = Arc::clone(&done);
        move || {
            for (byte, length) in STATES.iter().cycle() {
                change(*byte, *length);
                if done.load(Ordering::Relaxed) {
                    break;
                }
            }
        }
    });
    let readers = (0..READERS).map(|at| tokio::spawn(reader(proxy.address, range, at % 2 == 0)));
    let readers: Vec<_> = readers.collect();
    let mut seen = Seen::default();
    for reader in readers {
        let Seen { complete, broken, busy } = reader.await.unwrap();
        seen.complete += complete;
        seen.broken += broken;
        seen.busy += busy;
    }
    done.store(true, Ordering::Relaxed);
    writing.await.unwrap();
    seen
}

/// `closes`: says that it wants no more than this answer, which is hyper's then.
async fn reader(address: std::net::SocketAddr, range: bool, closes: bool) -> Seen {
    let mut seen = Seen::default();
    for _ in 0..REQUESTS {
        let mut client = Client::connect_narrow(address, 16 << 10).await.unwrap();
        let range = if range { "Range: bytes=100-\r\n" } else { "" };
        let close = if closes { "Connection: close\r\n" } else { "" };
        let request = format!("GET /changing.bin HTTP/1.1\r\nHost: x\r\n{range}{close}\r\n");
        client.send(request).await.unwrap();
        let response = client.response("GET").await.unwrap();
        match (response.status, response.end) {
            (200 | 206, End::Complete) => {
                seen.complete += 1;
                let first = response.body.first();
                assert!(
                    response.body.iter().all(|byte| Some(byte) == first),
                    "a mixture of {} bytes",
                    response.body.len()
                );
                let length = response.header("content-length").unwrap();
                assert_eq!(length, response.body.len().to_string());
            }
            (200 | 206, _) => seen.broken += 1,
            (503, _) => {
                assert_eq!(response.header("retry-after"), Some("2"));
                seen.busy += 1;
            }
            // Shorter than where the range begins.
            (416, _) => {}
            other => panic!("{other:?}"),
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_replaced_are_sent_whole() {
    for range in [false, true] {
        let proxy = Proxy::start(NOBODY, &[]).await;
        proxy.file("changing.bin", vec![b'a'; 400_000]);
        let (next, path) = (proxy.docroot().join("next"), proxy.docroot().join("changing.bin"));
        let seen = under_readers(
            &proxy,
            move |byte, length| {
                fs::write(&next, vec![byte; length]).unwrap();
                fs::rename(&next, &path).unwrap();
            },
            range,
        )
        .await;
        // Who has opened a file keeps it.
        assert_eq!((seen.complete, seen.broken, seen.busy), (READERS * REQUESTS, 0, 0));
        proxy.is_idle().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_rewritten_in_place_are_never_a_mixture() {
    let proxy = Proxy::start(NOBODY, &[]).await;
    proxy.file("changing.bin", vec![b'a'; 400_000]);
    let path = proxy.docroot().join("changing.bin");
    let rewrite = move |byte: u8, length: usize| {
        let mut file = File::create(&path).unwrap();
        for piece in vec![byte; length].chunks(64 << 10) {
            file.write_all(piece).unwrap();
        }
        // Longer than a tick of the clock that file systems stamp with: within one, nobody can tell.
        std::thread::sleep(Duration::from_millis(25));
    };
    let seen = under_readers(&proxy, rewrite, false).await;
    assert!(seen.complete > 0, "{seen:?}");
    proxy.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_that_are_rewritten_never_break_off() {
    let proxy = Proxy::start(NOBODY, &[]).await;
    proxy.file("changing.bin", "x");
    let path = proxy.docroot().join("changing.bin");
    let rewrite = move |byte: u8, length: usize| fs::write(&path, vec![byte; length / 10]).unwrap();
    let seen = under_readers(&proxy, rewrite, false).await;
    // Read as a whole before the head is sent, and once more if that was no good.
    assert_eq!(seen.broken, 0, "{seen:?}");
    assert!(seen.complete > 0, "{seen:?}");
}

#[tokio::test]
async fn a_file_that_is_written_to_while_it_is_sent_breaks_off() {
    let proxy = Proxy::start(NOBODY, &[]).await;
    for (name, change) in [
        ("rewritten.bin", (|file: &File| file.set_len(0).unwrap()) as fn(&File)),
        ("appended.bin", |file| file.set_len(40 << 20).unwrap()),
        ("edited.bin", |file| std::os::unix::fs::FileExt::write_all_at(file, b"y", 20 << 20).unwrap()),
    ] {
        proxy.old_file(name, vec![b'x'; 32 << 20]);
        let mut client = Client::connect_narrow(proxy.address, 4096).await.unwrap();
        client.send(format!("GET /{name} HTTP/1.1\r\nHost: x\r\n\r\n")).await.unwrap();
        let head = client.response_head("GET").await.unwrap();
        assert_eq!(head.status, 200, "{name}");
        change(&File::options().write(true).open(proxy.docroot().join(name)).unwrap());
        assert_eq!(client.drain(head.framing, |_| {}).await.unwrap(), End::Truncated, "{name}");
    }
    proxy.metric_becomes("web_proxy_broken_total", 3.0).await;
    proxy.is_idle().await;
}

#[tokio::test]
async fn a_file_whose_name_is_taken_away_is_sent_to_its_end() {
    let proxy = Proxy::start(NOBODY, &[]).await;
    proxy.old_file("removed.bin", vec![b'x'; 32 << 20]);
    let mut client = Client::connect_narrow(proxy.address, 4096).await.unwrap();
    client.send("GET /removed.bin HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let head = client.response_head("GET").await.unwrap();
    fs::remove_file(proxy.docroot().join("removed.bin")).unwrap();
    let mut length = 0;
    let end = client.drain(head.framing, |piece| length += piece.len()).await.unwrap();
    assert_eq!((end, length), (End::Complete, 32 << 20));
}

/// Files of the kernel's: of the loopback device's speed reading fails, and its MTU says that it is a page long.
#[tokio::test]
async fn what_cannot_be_read_is_a_failure_and_never_an_empty_file() {
    let (unreadable, short) = ("/sys/class/net/lo/speed", "/sys/class/net/lo/mtu");
    if !Path::new(unreadable).exists() {
        eprintln!("skipped: no {unreadable}");
        return;
    }
    assert!(fs::read(unreadable).is_err());
    let proxy = Proxy::start(NOBODY, &["--follow-symlinks"]).await;
    for (name, target) in [("speed.txt", unreadable), ("mtu.txt", short)] {
        std::os::unix::fs::symlink(target, proxy.docroot().join(name)).unwrap();
    }
    let response = proxy.get("/speed.txt").await;
    assert_eq!((response.status, response.end), (500, End::Complete));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(proxy.get_with("/speed.txt", &[("Range", "bytes=0-1,5-6")]).await.status, 500);
    // Nothing is read for these.
    assert_eq!(proxy.request("HEAD", "/speed.txt", &[], b"").await.status, 200);
    let response = proxy.get("/mtu.txt").await;
    assert_eq!((response.status, response.end), (200, End::Truncated));
    proxy.is_idle().await;
}
