//! A thousand clients that take their time, while others are served as if they were not there.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use suites::chain::{Alone, Chain, Front};
use suites::site::Site;
use test_support::client::{self, Client};
use test_support::wait::{DEADLINE, wait_until};
use tokio::task::JoinSet;

const MIB: u64 = 1 << 20;
/// For a thousand connections, whatever is on them.
const MEMORY: u64 = 200 * MIB;
const HEADS: usize = 400;
const BODIES: usize = 300;
const READERS: usize = 300;
/// More than any socket's buffers hold.
const LARGE: u64 = 64 * MIB;
/// Between two signs of life of a slow client.
const PAUSE: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_slow_clients_of_web_proxy_alone() {
    many_are_slow(Site::<Alone>::serve(|plan| plan).await.unwrap(), "web-proxy alone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_slow_clients_of_the_chain() {
    many_are_slow(Site::<Chain>::serve(|plan| plan).await.unwrap(), "the chain").await;
}

async fn many_are_slow(site: Site<impl Front>, name: &str) {
    raise_open_files();
    // A file with a hole: it takes no room on the disk.
    File::create(site.docroot().join("large.bin")).unwrap().set_len(LARGE).unwrap();
    let front = &site.chain;
    let (_, entrance) = front.services()[0];
    let files = || entrance.open_files().unwrap();

    // The first ones find PHP's code not compiled yet.
    normal_clients(&site).await;
    let before = normal_clients(&site).await;
    let idle = files();
    let mut slow = JoinSet::new();
    for number in 0..HEADS + BODIES + READERS {
        // Each address has its share.
        let local = Ipv4Addr::new(127, 1, 0, (number % 20 + 1) as u8);
        slow.spawn(slow_client(local, front.address(), number));
    }
    let all = HEADS + BODIES + READERS;
    wait_until("all the slow ones to be there", DEADLINE, async || files() >= idle + all).await;
    // Nor are those held up that come together with them.
    normal_clients(&site).await;
    let during = normal_clients(&site).await;
    let open = files();
    assert!(open >= idle + all, "the slow ones were there until the end: {open} descriptors, {idle} before");
    assert!(slow.try_join_next().is_none(), "none of them was sent away, or had enough");
    for (service, process) in front.services() {
        let peak = process.peak_rss().unwrap();
        assert!(peak < MEMORY, "{service} had {} MiB of resident memory", peak / MIB);
        println!(
            "note: {all} slow clients of {name}: {service} {} MiB, {} MiB at most, {} descriptors",
            process.rss().unwrap() / MIB,
            peak / MIB,
            process.open_files().unwrap()
        );
    }
    println!("note: others of {name} meanwhile: {during}; without them: {before}");

    // They leave nothing behind.
    slow.shutdown().await;
    wait_until("their connections to be closed", DEADLINE, async || files() <= idle + 20).await;
    normal_clients(&site).await;
}

/// One of: a head that comes letter by letter; a form at 2 KiB a second; a large file read 4 KiB at a time.
async fn slow_client(local: Ipv4Addr, address: SocketAddr, number: usize) {
    let mut client = Client::connect_narrow_from(local, address, 16 << 10).await.unwrap();
    if number < HEADS {
        client.send("GET /articles HTTP/1.1\r\nHost: test\r\nX: ").await.unwrap();
        loop {
            tokio::time::sleep(PAUSE).await;
            client.send("x").await.unwrap();
        }
    }
    if number < HEADS + BODIES {
        let length = LARGE;
        let head = format!("PUT /upload/raw HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n");
        client.send(head).await.unwrap();
        let piece = "x".repeat(1 << 10);
        loop {
            tokio::time::sleep(PAUSE).await;
            client.send(&piece).await.unwrap();
        }
    }
    client.send("GET /large.bin HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    loop {
        assert!(!client.some_bytes().await.unwrap().is_empty(), "the answer broke off");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Four at a time; half of what they ask for is a file, half a page that PHP has to make. All of it is right.
async fn normal_clients(site: &Site<impl Front>) -> String {
    let script = std::fs::read(site.docroot().join("assets/site.js")).unwrap();
    let address = site.chain.address();
    let mut clients = JoinSet::new();
    for client in 0..4 {
        let script = script.clone();
        clients.spawn(async move {
            let mut times = Vec::new();
            for number in 0..50 {
                let began = Instant::now();
                // A page of its own, which no cache has.
                let page = format!("/articles?client={client}&number={number}-{}", fastrand::u64(..));
                for path in ["/assets/site.js", &page] {
                    let asked = client::get(address, path, &[]);
                    let response = tokio::time::timeout(DEADLINE, asked).await.unwrap().unwrap();
                    assert_eq!(response.status, 200, "{path}");
                    match path {
                        "/assets/site.js" => assert!(response.body == script),
                        _ => assert!(response.text().contains("<h1>"), "{}", response.text()),
                    }
                }
                times.push(began.elapsed() / 2);
            }
            times
        });
    }
    let mut times = clients.join_all().await.concat();
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    format!("median {:.1?}, 99% within {:.1?}", at(0.5), at(0.99))
}

/// The test has a thousand connections itself.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}
