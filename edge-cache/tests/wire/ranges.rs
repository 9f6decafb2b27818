//! Ranges: from the store, from what is still arriving, and from an origin whose answer is too long to be
//! fetched for one.

use crate::support::{Edge, x_cache};
use test_support::client::{Client, Response};
use test_support::gate::Gate;
use test_support::origin::{FakeOrigin, Reply, Request, Step};
use test_support::wait::{DEADLINE, wait_until};

/// Bytes of which any part can be told from any other.
fn content(length: usize) -> Vec<u8> {
    (0_u32..).flat_map(u32::to_be_bytes).take(length).collect()
}

fn cacheable(body: Vec<u8>) -> Reply {
    Reply::ok(body)
        .header("Cache-Control", "max-age=60")
        .header("Content-Type", "image/x-test")
        .header("ETag", "\"v1\"")
}

/// As an origin with ranges answers, for one range.
fn ranged(request: &Request, body: &[u8]) -> Reply {
    let Some(range) = request.header("range").and_then(|range| range.strip_prefix("bytes=")) else {
        return cacheable(body.to_vec());
    };
    let (first, last) = range.split_once('-').unwrap();
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    Reply::new(206)
        .header("Cache-Control", "max-age=60")
        .header("Content-Range", format!("bytes {first}-{last}/{}", body.len()))
        .body(body[first..=last].to_vec())
}

/// The parts of a `multipart/byteranges` body: each one's fields and content, read as RFC 2046 says.
fn parts(response: &Response) -> Vec<(Vec<String>, Vec<u8>)> {
    let kind = response.header("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").expect(kind);
    assert_eq!(response.header("content-length").unwrap(), response.body.len().to_string());
    assert_eq!(response.header("content-range"), None, "that is the parts' to say (section 15.3.7.2)");
    let body = [b"\r\n", &response.body[..]].concat();
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    let at: Vec<usize> = (0..body.len())
        .filter(|at| body[*at..].starts_with(&delimiter))
        .map(|at| at + delimiter.len())
        .collect();
    assert_eq!(&body[*at.last().unwrap()..], b"--\r\n");
    at.windows(2)
        .map(|pair| {
            let part = &body[pair[0]..pair[1] - delimiter.len()];
            let head = part.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
            let fields = String::from_utf8(part[..head].to_vec()).unwrap();
            (fields.trim_start().split("\r\n").map(str::to_owned).collect(), part[head + 4..].to_vec())
        })
        .collect()
}

#[tokio::test]
async fn several_ranges_are_one_body_in_parts() {
    // More than one of the pieces that the store keeps.
    let body = content(3 << 20);
    let origin = FakeOrigin::start().await.unwrap();
    let sent = body.clone();
    origin.route("/", move |_| cacheable(sent.clone()));
    let edge = Edge::start(&origin, &["--memory=64MiB"]).await;
    edge.get("/").await;
    edge.stored(1).await;

    let range = "bytes=0-0,1000000-1100000, 9999999-,-4,3-3";
    let response = edge.get_with("/", &[("Range", range)]).await;
    assert_eq!((response.status, x_cache(&response)), (206, "HIT"));
    assert_eq!(response.header("etag"), Some("\"v1\""));
    let end = body.len();
    let expected = [(0, 1), (1_000_000, 1_100_001), (end - 4, end), (3, 4)];
    let parts = parts(&response);
    assert_eq!(parts.len(), expected.len());
    for ((fields, part), (from, to)) in parts.iter().zip(expected) {
        let range = format!("Content-Range: bytes {from}-{}/{end}", to - 1);
        assert_eq!(*fields, ["Content-Type: image/x-test".to_owned(), range]);
        assert!(*part == body[from..to], "{from}-{to}");
    }
    let again = edge.get_with("/", &[("Range", range)]).await;
    assert_ne!(again.header("content-type"), response.header("content-type"), "a boundary of its own");
    assert_eq!(origin.count("/"), 1);
}

/// Method, path, fields; status and length of the body.
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], (u16, usize));

#[tokio::test]
async fn sets_of_ranges_that_end_otherwise() {
    let body = content(10_000);
    let origin = FakeOrigin::start().await.unwrap();
    let sent = body.clone();
    origin.route("/", move |_| cacheable(sent.clone()));
    let sent = body.clone();
    origin.route("/gzip", move |_| cacheable(sent.clone()).header("Content-Encoding", "gzip"));
    let edge = Edge::start(&origin, &[]).await;
    for (count, path) in ["/", "/gzip"].into_iter().enumerate() {
        edge.get_with(path, &[("Accept-Encoding", "gzip")]).await;
        edge.stored(count + 1).await;
    }
    let many = (0..17).map(|at| format!("{0}-{0}", at * 2)).collect::<Vec<_>>().join(",");
    let many = format!("bytes={many}");
    let whole = (200, body.len());
    let cases: [Case<'_>; 9] = [
        ("GET", "/", &[("Range", "bytes=5-9,20000-")], (206, 5)),
        ("GET", "/", &[("Range", "bytes=5-9,10-14")], (206, 10)),
        ("GET", "/", &[("Range", "bytes=20000-,10000-,-0")], (416, 0)),
        ("GET", "/", &[("Range", &many)], whole),
        ("GET", "/", &[("Range", "bytes=0-9,0-9,0-9")], whole),
        ("GET", "/", &[("Range", "bytes=5000-,0-9999")], whole),
        ("GET", "/", &[("Range", "bytes=0-1,5-6"), ("If-Range", "\"v2\"")], whole),
        ("GET", "/gzip", &[("Range", "bytes=0-1,5-6"), ("Accept-Encoding", "gzip")], whole),
        ("HEAD", "/", &[("Range", "bytes=0-1,5-6")], (200, 0)),
    ];
    for (method, path, headers, expected) in cases {
        let response = edge.request(method, path, headers, b"").await;
        assert_eq!((response.status, response.body.len()), expected, "{method} {path} {headers:?}");
        assert_eq!(x_cache(&response), "HIT", "{method} {path} {headers:?}");
        match response.status {
            416 => assert_eq!(response.header("content-range"), Some("bytes */10000")),
            200 => assert_eq!(response.header("content-length"), Some("10000")),
            _ => assert!(response.header("content-range").is_some()),
        }
    }
}

#[tokio::test]
async fn a_range_that_is_missed_fetches_the_whole() {
    let body = content(10_000);
    let origin = FakeOrigin::start().await.unwrap();
    let sent = body.clone();
    origin.route("/", move |request| ranged(request, &sent));
    let edge = Edge::start(&origin, &["--range-fetch-limit=10000"]).await;
    let miss = edge.get_with("/", &[("Range", "bytes=10-19")]).await;
    assert_eq!((miss.status, x_cache(&miss), &miss.body[..]), (206, "MISS", &body[10..20]));
    assert_eq!(miss.header("content-range"), Some("bytes 10-19/10000"));
    edge.stored(1).await;
    assert_eq!(origin.requests()[0].header("range"), None, "the whole was asked for");
    let hit = edge.get_with("/", &[("Range", "bytes=-5")]).await;
    assert_eq!((hit.status, x_cache(&hit), &hit.body[..]), (206, "HIT", &body[9995..]));
    assert_eq!(origin.count("/"), 1);
}

#[tokio::test]
async fn a_range_of_what_is_too_long_is_passed_on() {
    let body = content(10_000);
    let origin = FakeOrigin::start().await.unwrap();
    let (gate, sent) = (Gate::new(), body.clone());
    let held = gate.clone();
    origin.route("/", move |request| {
        let reply = ranged(request, &sent);
        if request.header("range").is_some() { reply } else { reply.body_held_by(&held) }
    });
    let edge = Edge::start(&origin, &["--range-fetch-limit=9999"]).await;
    let range = [("Range", "bytes=10-19")];
    let first = edge.get_with("/", &range).await;
    assert_eq!((first.status, x_cache(&first), &first.body[..]), (206, "MISS", &body[10..20]));
    assert!(first.header("cache-status").unwrap().ends_with("detail=range-fetch-limit"), "{first:?}");
    // The whole was given up although none of it had come.
    wait_until("the whole to be given up", DEADLINE, async || origin.abandoned() == 1).await;
    assert_eq!(origin.count("/"), 2);

    // Remembered: the next ones go straight through, several at once too.
    for range in ["bytes=10-19", "bytes=20-29"] {
        let next = edge.get_with("/", &[("Range", range)]).await;
        assert_eq!((next.status, x_cache(&next), next.body.len()), (206, "MISS", 10));
        assert!(next.header("cache-status").unwrap().ends_with("detail=range-fetch-limit"), "{next:?}");
    }
    let ranges: Vec<_> = origin.requests().iter().map(|request| request.header("range").is_some()).collect();
    assert_eq!(ranges, [false, true, true, true]);

    // It says nothing of the whole, which is stored, and then has its ranges.
    gate.open();
    assert_eq!(edge.get("/").await.body, body);
    edge.stored(1).await;
    let hit = edge.get_with("/", &range).await;
    assert_eq!((hit.status, x_cache(&hit), &hit.body[..]), (206, "HIT", &body[10..20]));
}

#[tokio::test]
async fn who_follows_a_range_that_is_given_up_gets_the_whole() {
    let body = content(10_000);
    let origin = FakeOrigin::start().await.unwrap();
    let (gate, sent) = (Gate::new(), body.clone());
    let held = gate.clone();
    origin.route("/", move |request| {
        let reply = ranged(request, &sent);
        if request.header("range").is_some() { reply } else { reply.held_by(&held) }
    });
    let edge = Edge::start(&origin, &["--range-fetch-limit=1000"]).await;
    let range = edge.get_with("/", &[("Range", "bytes=10-19")]);
    let follow = async {
        gate.arrived(1).await;
        let open = async {
            edge.metric_becomes("edge_cache_connections", 3.0).await;
            gate.open();
        };
        tokio::join!(edge.get("/"), edge.get("/"), open)
    };
    let (range, (one, two, ())) = tokio::join!(range, follow);
    assert_eq!((range.status, &range.body[..]), (206, &body[10..20]));
    for whole in [one, two] {
        assert_eq!((whole.status, whole.body == body), (200, true));
    }
    edge.stored(1).await;
    assert_eq!(x_cache(&edge.get("/").await), "HIT");
}

/// A reply of 300 KB, of which the second half waits at the gate.
fn in_halves(body: &[u8], gate: &Gate) -> Reply {
    let head = format!(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"v1\"\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let (first, second) = body.split_at(body.len() / 2);
    let bytes = |bytes: &[u8]| Step::Bytes(bytes.to_vec().into());
    Reply::script([bytes(head.as_bytes()), bytes(first), Step::Pass(gate.clone()), bytes(second)])
}

#[tokio::test]
async fn a_range_is_answered_as_soon_as_its_bytes_are_there() {
    let body = content(300_000);
    let origin = FakeOrigin::start().await.unwrap();
    let gate = Gate::new();
    let (held, sent) = (gate.clone(), body.clone());
    origin.route("/", move |_| in_halves(&sent, &held));
    let edge = Edge::start(&origin, &[]).await;
    // Both while the origin still holds the second half.
    let first = edge.get_with("/", &[("Range", "bytes=0-99")]).await;
    assert_eq!((first.status, &first.body[..]), (206, &body[..100]));
    assert_eq!(first.header("content-range"), Some("bytes 0-99/300000"));
    let follower = edge.get_with("/", &[("Range", "bytes=1000-1999")]).await;
    assert_eq!((follower.status, &follower.body[..]), (206, &body[1000..2000]));
    assert!(follower.header("cache-status").unwrap().contains("collapsed"), "{follower:?}");

    // One across the gap: what is there comes at once, the rest when it does.
    let mut client = Client::connect(edge.address).await.unwrap();
    client.send("GET / HTTP/1.1\r\nHost: site.example\r\nRange: bytes=149000-150999\r\n\r\n").await.unwrap();
    let across = client.response_head("GET").await.unwrap();
    assert_eq!((across.status, across.header("content-length")), (206, Some("2000")));
    let mut received = Vec::new();
    while received.len() < 1000 {
        received.extend(client.some_bytes().await.unwrap());
    }
    assert!(received == body[149_000..150_000]);
    // And one far beyond what has come.
    let mut beyond = Client::connect(edge.address).await.unwrap();
    beyond.send("GET / HTTP/1.1\r\nHost: site.example\r\nRange: bytes=-10\r\n\r\n").await.unwrap();
    let far = beyond.response_head("GET").await.unwrap();
    assert_eq!((far.status, far.header("content-range")), (206, Some("bytes 299990-299999/300000")));
    // Several at once are the whole, while it comes.
    let mut several = Client::connect(edge.address).await.unwrap();
    several.send("GET / HTTP/1.1\r\nHost: site.example\r\nRange: bytes=0-1,9-9\r\n\r\n").await.unwrap();
    let whole = several.response_head("GET").await.unwrap();
    assert_eq!((whole.status, whole.header("content-length")), (200, Some("300000")));

    gate.open();
    while received.len() < 2000 {
        received.extend(client.some_bytes().await.unwrap());
    }
    assert!(received == body[149_000..151_000]);
    let mut last = Vec::new();
    beyond.drain(far.framing, |bytes| last.extend_from_slice(bytes)).await.unwrap();
    assert!(last == body[299_990..]);
    let mut all = Vec::new();
    several.drain(whole.framing, |bytes| all.extend_from_slice(bytes)).await.unwrap();
    assert!(all == body);
    edge.stored(1).await;
    assert_eq!(origin.count("/"), 1);
}

#[tokio::test]
async fn a_range_does_not_wait_for_a_whole_that_is_too_long() {
    let body = content(300_000);
    let origin = FakeOrigin::start().await.unwrap();
    let gate = Gate::new();
    let (held, sent) = (gate.clone(), body.clone());
    origin.route("/", move |request| match request.header("range") {
        Some(_) => ranged(request, &sent),
        None => in_halves(&sent, &held),
    });
    let edge = Edge::start(&origin, &["--range-fetch-limit=100KiB"]).await;
    let mut client = Client::connect(edge.address).await.unwrap();
    client.send("GET / HTTP/1.1\r\nHost: site.example\r\n\r\n").await.unwrap();
    let whole = client.response_head("GET").await.unwrap();
    let part = edge.get_with("/", &[("Range", "bytes=299000-299999")]).await;
    assert_eq!((part.status, &part.body[..]), (206, &body[299_000..]));
    gate.open();
    let mut all = Vec::new();
    client.drain(whole.framing, |bytes| all.extend_from_slice(bytes)).await.unwrap();
    assert!(all == body);
}
