//! HTTP/2: the same answers as over HTTP/1.1, and nothing that one client can do to the others.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use test_support::gate::Gate;
use test_support::origin::{Reply, Step};
use test_support::wait::{DEADLINE, wait_until};

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, Outcome, RST_STREAM, WINDOW_UPDATE, block,
};
use super::serving::site;
use super::support::{field, get, get2, text};

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "site.example"), (":path", "/a")];
const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "https"), (":authority", "site.example"), (":path", "/echo")];

fn with<'a>(fields: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [fields, more].concat()
}

#[tokio::test]
async fn one_entry_answers_over_both() {
    let (origin, authority, edge) = site(&[]).await;
    let mut h1 = authority.client(&["http/1.1"]).http1(edge.tls(), "site.example").await;
    let mut h2 = authority.client(&["h2", "http/1.1"]).http2(edge.tls(), "site.example").await;
    let miss = h2.send_request(get2("/")).await.unwrap();
    assert_eq!(field(&miss, "x-cache"), "MISS");
    assert_eq!(text(miss).await, "page");
    edge.stored(1).await;
    for _ in 0..2 {
        let over_h1 = h1.send_request(get("/")).await.unwrap();
        let over_h2 = h2.send_request(get2("/")).await.unwrap();
        assert_eq!((field(&over_h1, "x-cache"), field(&over_h2, "x-cache")), ("HIT", "HIT"));
        assert_eq!((text(over_h1).await, text(over_h2).await), ("page".into(), "page".into()));
    }
    assert_eq!(origin.count("/"), 1);
}

#[tokio::test]
async fn a_request_reaches_the_origin_as_one_of_http1_does() {
    let (_origin, authority, edge) = site(&[]).await;
    let mut h2 = authority.client(&["h2"]).http2(edge.tls(), "site.example").await;
    let request = Request::post("https://SITE.example:443/echo")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(Full::new(Bytes::from_static(b"body")))
        .unwrap();
    let echo = text(h2.send_request(request).await.unwrap()).await;
    let expected = "host: site.example\nx-forwarded-proto: https\nx-forwarded-port: 443\n\
        forwarded: for=127.0.0.1;host=\"site.example\";proto=https\nvia: 2.0 edge-cache\ncookie: a=1; b=2\n\
        content-length: 4\nbody";
    assert_eq!(echo, expected);
}

#[tokio::test]
async fn a_body_of_unknown_length_and_interim_responses() {
    let (origin, authority, edge) = site(&[]).await;
    origin.route("/hints", |_| {
        Reply::raw("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage")
    });
    let mut frames = Frames::connect(&authority, &edge, &[]).await;
    frames.headers(1, 0, &POST).await;
    for piece in ["one", "two"] {
        frames.send(DATA, 0, 1, piece.as_bytes()).await;
    }
    frames.send(DATA, END_STREAM, 1, b"").await;
    let (outcome, body) = frames.outcome(1).await;
    assert_eq!(outcome, Outcome::Status(200));
    assert!(String::from_utf8(body).unwrap().ends_with("content-length: none\nonetwo"));
    let mut hinted = GET;
    hinted[3].1 = "/hints";
    frames.headers(3, END_STREAM, &hinted).await;
    assert_eq!(frames.outcome(3).await, (Outcome::Status(200), b"page".to_vec()));
}

#[tokio::test]
async fn an_upload_is_longer_than_every_window() {
    let (origin, authority, edge) = site(&[]).await;
    // It answers when all of the body has come, and keeps the beginning.
    origin.route("/upload", |request| {
        Reply::ok(format!("{} {}", request.header("content-length").unwrap_or("none"), request.body.len()))
    });
    let mut h2 = authority.client(&["h2"]).http2(edge.tls(), "site.example").await;
    let upload = |length: usize| {
        let body = Full::new(Bytes::from(vec![b'x'; length]));
        Request::post("https://site.example/upload").body(body).unwrap()
    };
    let (one, two) = tokio::join!(h2.clone().send_request(upload(5 << 20)), h2.send_request(upload(3 << 20)));
    assert_eq!(
        (text(one.unwrap()).await, text(two.unwrap()).await),
        ("5242880 1048576".into(), "3145728 1048576".into())
    );
}

#[tokio::test]
async fn what_is_malformed_reaches_nobody() {
    let (origin, authority, edge) = site(&[]).await;
    origin.fallback(|_| Reply::ok("reached"));
    let cases = [
        // h2 refuses these, by a reset or the end of the connection (RFC 9113, sections 8.2.1, 8.2.2, 8.3).
        (with(&GET, &[("X-Upper", "a")]), None),
        (with(&GET, &[("connection", "close")]), None),
        (with(&GET, &[("keep-alive", "1")]), None),
        (with(&GET, &[("proxy-connection", "close")]), None),
        (with(&GET, &[("transfer-encoding", "chunked")]), None),
        (with(&GET, &[("upgrade", "websocket")]), None),
        (with(&GET, &[("te", "gzip")]), None),
        (with(&GET, &[("x", "a\r\nx-smuggled: 1")]), None),
        (with(&GET, &[("x", "a\nb")]), None),
        (with(&GET, &[("x", "a\0b")]), None),
        (with(&GET, &[("x: y", "a")]), None),
        (with(&GET, &[("x\r\ny", "a")]), None),
        (with(&GET, &[("", "a")]), None),
        (with(&GET, &[("x", "y"), (":path", "/b")]), None),
        (with(&GET, &[(":path", "/b")]), None),
        (with(&GET, &[(":unknown", "b")]), None),
        (with(&GET[1..], &[]), None),
        (with(&GET[..3], &[]), None),
        (with(&GET[..3], &[(":path", "")]), None),
        (with(&GET[..3], &[(":path", "/a b")]), None),
        (with(&GET[..3], &[(":path", "/a\r\nx: y")]), None),
        (with(&GET, &[("content-length", "-1")]), None),
        (with(&GET, &[("content-length", "1, 2")]), None),
        // No body, though one is announced.
        (with(&GET, &[("content-length", "4")]), None),
        // These we do.
        (with(&GET, &[("x", " a")]), Some(400)),
        (with(&GET, &[("x", "a\t")]), Some(400)),
        (with(&GET, &[("content-length", "0"), ("content-length", "0")]), Some(400)),
        (with(&GET, &[("host", "other.example")]), Some(400)),
        (with(&GET, &[("host", "site.example"), ("host", "site.example")]), Some(400)),
        (with(&[GET[0], GET[1], (":authority", "user@site.example"), GET[3]], &[]), Some(400)),
        (with(&[GET[0], GET[1], (":authority", "a/b"), GET[3]], &[]), None),
        (with(&[GET[0], GET[1], GET[3]], &[]), Some(400)),
        (with(&[GET[0], (":scheme", "ftp"), GET[2], GET[3]], &[("host", "other.example")]), Some(400)),
        (with(&[(":method", "TRACE"), GET[1], GET[2], GET[3]], &[]), Some(405)),
    ];
    let mut problems = Vec::new();
    for (fields, expected) in cases {
        let mut frames = Frames::connect(&authority, &edge, &[]).await;
        frames.headers(1, END_STREAM, &fields).await;
        let (outcome, _) = frames.outcome(1).await;
        let is_refused = match expected {
            None => matches!(outcome, Outcome::Reset(1) | Outcome::Gone),
            Some(status) => outcome == Outcome::Status(status),
        };
        if !is_refused {
            problems.push(format!("{fields:?}: {outcome:?} instead of {expected:?}"));
        }
    }
    assert_eq!(problems, [""; 0]);
    assert_eq!(origin.requests().len(), 0);
}

#[tokio::test]
async fn a_body_of_another_length_than_announced_is_no_request() {
    let (origin, authority, edge) = site(&[]).await;
    origin.route("/echo", |_| Reply::ok("taken"));
    for (length, body) in [("4", "smuggled"), ("40", "short")] {
        let mut frames = Frames::connect(&authority, &edge, &[]).await;
        frames.headers(1, 0, &with(&POST, &[("content-length", length)])).await;
        frames.send(DATA, END_STREAM, 1, body.as_bytes()).await;
        let (outcome, _) = frames.outcome(1).await;
        assert_ne!(outcome, Outcome::Status(200), "{length} {body}");
    }
    assert!(origin.requests().iter().all(|request| request.body.len() <= 4), "{:?}", origin.requests());
}

#[tokio::test]
async fn a_long_head_is_refused_and_an_endless_one_ends_the_connection() {
    let (_origin, authority, edge) = site(&["--max-head=8KiB"]).await;
    let mut frames = Frames::connect(&authority, &edge, &[]).await;
    let long = "a".repeat(9000);
    frames.headers(1, END_STREAM, &with(&GET, &[("x", &long)])).await;
    assert_eq!(frames.outcome(1).await.0, Outcome::Status(431));
    drop(frames);
    let many: Vec<(&str, &str)> = vec![("x", "y"); 257];
    let mut frames = Frames::connect(&authority, &edge, &[]).await;
    frames.headers(1, END_STREAM, &with(&GET, &many)).await;
    assert_eq!(frames.outcome(1).await.0, Outcome::Status(431));
    drop(frames);
    // CVE-2024-27316 and its like.
    let mut frames = Frames::connect(&authority, &edge, &[]).await;
    frames.send(HEADERS, END_STREAM, 1, &block(&GET)).await;
    for _ in 0..1000 {
        frames.send(CONTINUATION, 0, 1, &block(&[("x", &long[..1000])])).await;
    }
    frames.send(CONTINUATION, END_HEADERS, 1, &[]).await;
    assert_eq!(frames.outcome(1).await.0, Outcome::Gone);
    edge.metric_becomes("edge_cache_connections", 0.0).await;
}

#[tokio::test]
async fn a_flood_of_resets_ends_the_connection() {
    let (origin, authority, edge) = site(&[]).await;
    let gate = Gate::new();
    let held = gate.clone();
    origin.fallback(move |_| Reply::ok("x").held_by(&held));
    // Each reset as soon as it is asked.
    let mut frames = Frames::connect(&authority, &edge, &[]).await;
    for number in 0..2000 {
        frames.headers(2 * number + 1, END_STREAM, &GET).await;
        frames.send(RST_STREAM, 0, 2 * number + 1, &8_u32.to_be_bytes()).await;
    }
    frames.gone().await;
    drop(frames);
    // Each reset once it has reached the handler.
    let before = origin.requests().len();
    let mut frames = Frames::connect(&authority, &edge, &[]).await;
    let aborts = "edge_cache_http2_aborts_total{reason=\"reset-flood\"}";
    let mut number = 0;
    while edge.sample(aborts).await < 0.5 {
        assert!(number < 1000, "it goes on");
        let path = format!("/{number}");
        let mut fields = GET;
        fields[3].1 = &path;
        let stream = 2 * number + 1;
        frames.headers(stream, END_STREAM, &fields).await;
        let arrived = async || origin.count(&path) > 0 || edge.sample(aborts).await > 0.5;
        wait_until("the request", DEADLINE, arrived).await;
        frames.send(RST_STREAM, 0, stream, &8_u32.to_be_bytes()).await;
        number += 1;
    }
    assert!(origin.requests().len() - before <= 250, "{}", origin.requests().len());
    edge.metric_becomes("edge_cache_connections", 0.0).await;
    wait_until("the origin to be left alone", DEADLINE, async || origin.open_connections() == 0).await;
}

#[tokio::test]
async fn a_drain_lets_streams_end_and_takes_no_more() {
    let (origin, authority, edge) = site(&[]).await;
    let gate = Gate::new();
    let held = gate.clone();
    origin.route("/slow", move |_| Reply::ok("at last").held_by(&held));
    let mut h2 = authority.client(&["h2"]).http2(edge.tls(), "site.example").await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams
            .push(h2.send_request(Request::post("https://site.example/slow").body(Full::default()).unwrap()));
    }
    let streams = tokio::spawn(futures_util::future::join_all(streams));
    gate.arrived(3).await;
    edge.shutdown().drain();
    wait_until("GOAWAY", DEADLINE, async || h2.is_closed() || h2.send_request(get2("/")).await.is_err())
        .await;
    gate.open();
    for response in streams.await.unwrap() {
        assert_eq!(text(response.unwrap()).await, "at last");
    }
    edge.metric_becomes("edge_cache_connections", 0.0).await;
}

#[tokio::test]
async fn a_client_that_wants_nothing_or_does_not_answer_is_let_go() {
    let (_origin, authority, edge) = site(&["--client-timeout=200ms"]).await;
    let mut polite = Frames::connect(&authority, &edge, &[]).await;
    polite.headers(1, END_STREAM, &[GET[0], GET[1], GET[2], (":path", "/")]).await;
    assert_eq!(polite.outcome(1).await.0, Outcome::Status(200));
    polite.gone().await;
    assert!(polite.next().await.is_none(), "and the connection ends");
    // Without an answer to the ping that goes with GOAWAY.
    let mut deaf = Frames::connect(&authority, &edge, &[]).await;
    deaf.is_ponging = false;
    while deaf.next().await.is_some() {}
    edge.metric_becomes("edge_cache_connections", 0.0).await;
}

#[tokio::test]
async fn a_slow_reader_holds_little_and_gets_all() {
    const PIECES: usize = 64;
    let (origin, authority, edge) = site(&[]).await;
    let gate = Gate::new();
    gate.open();
    let end = gate.clone();
    let piece = Bytes::from(vec![b'x'; 1 << 20]);
    origin.route("/big", move |_| {
        let head =
            format!("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: {}\r\n\r\n", PIECES << 20);
        let mut steps = vec![Step::Bytes(head.into())];
        steps.extend(vec![Step::Bytes(piece.clone()); PIECES / 2]);
        steps.push(Step::Pass(end.clone()));
        steps.extend(vec![Step::Bytes(piece.clone()); PIECES / 2]);
        Reply::script(steps)
    });
    let mut frames = Frames::connect(&authority, &edge, &[]).await;
    let mut big = GET;
    big[3].1 = "/big";
    frames.headers(1, END_STREAM, &big).await;
    // The window is 64 KiB and stays so; the others go on meanwhile, on this connection too.
    let mut received = 0;
    while received < 65_535 {
        let frame = frames.next().await.unwrap();
        received += if frame.kind == DATA { frame.payload.len() } else { 0 };
    }
    let mut h2 = authority.client(&["h2"]).http2(edge.tls(), "site.example").await;
    for _ in 0..200 {
        assert_eq!(text(h2.send_request(get2("/")).await.unwrap()).await, "page");
    }
    assert_eq!(gate.arrivals(), 0, "the origin has sent half of it to a client that takes nothing");
    for stream in [0, 1] {
        frames.send(WINDOW_UPDATE, 0, stream, &(1_u32 << 30).to_be_bytes()).await;
    }
    while received < PIECES << 20 {
        let frame = frames.next().await.expect("all of it");
        received += if frame.kind == DATA { frame.payload.len() } else { 0 };
    }
    assert_eq!(received, PIECES << 20);
}

#[tokio::test]
async fn a_broken_response_breaks_its_stream_alone() {
    let (origin, authority, edge) = site(&[]).await;
    origin.route("/broken", |_| Reply::new(200).cut(100, "half"));
    let mut h2 = authority.client(&["h2"]).http2(edge.tls(), "site.example").await;
    let broken = h2.send_request(get2("/broken")).await.unwrap();
    assert!(broken.into_body().collect().await.is_err());
    assert_eq!(text(h2.send_request(get2("/")).await.unwrap()).await, "page");
}
