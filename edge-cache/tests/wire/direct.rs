//! What is answered without hyper is what hyper would have sent.

use test_support::client::{Client, Response};
use test_support::origin::{FakeOrigin, Reply};

use crate::support::{Edge, x_cache};

const FIELDS: &[&[(&str, &str)]] = &[
    &[],
    &[("Accept-Encoding", "gzip, br")],
    &[("Accept-Encoding", "identity")],
    &[("If-None-Match", "\"v1\"")],
    &[("If-None-Match", "W/\"v1\"")],
    &[("If-None-Match", "\"v2\"")],
    &[("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT")],
    &[("If-Modified-Since", "Sun, 06 Nov 1994 08:49:36 GMT")],
    &[("Range", "bytes=2-5")],
    &[("Range", "bytes=2-5"), ("If-Range", "\"v2\"")],
    &[("Range", "bytes=2-5"), ("Accept-Encoding", "gzip")],
    &[("Range", "bytes=-3,0-1")],
    &[("Range", "bytes=999999-")],
    &[("Cookie", "a=b"), ("User-Agent", "x"), ("Accept-Language", "de")],
    &[("Cache-Control", "only-if-cached")],
];

fn page(kind: &str) -> Reply {
    Reply::ok("the quick brown fox jumps over the lazy dog; ".repeat(200))
        .header("Cache-Control", "max-age=60")
        .header("Content-Type", kind)
        .header("ETag", "\"v1\"")
        .header("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")
        .header("X-Cache", "upstream's")
        .header("Cache-Status", "upstream; hit")
        .header("Set-Language", "a")
        .header("Link", "</a>; rel=preload")
        .header("Link", "</b>; rel=preload")
}

/// A response but for what a connection and time make of it. Fields of one name stay in their order.
fn told(response: &Response) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let mut fields: Vec<_> = response
        .headers
        .iter()
        .filter(|(name, _)| !["connection", "age", "date"].contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.split("; ttl=").next().unwrap().to_owned()))
        .collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    // Several parts have a boundary of their own each time.
    let is_multipart = fields.iter_mut().filter(|(_, value)| value.starts_with("multipart/"));
    let boundaries: Vec<String> = is_multipart
        .filter_map(|(_, value)| Some(std::mem::take(value).split_once("boundary=")?.1.to_owned()))
        .collect();
    let mut body = response.body.clone();
    for boundary in boundaries {
        body = String::from_utf8(body).unwrap().replace(&boundary, "boundary").into_bytes();
    }
    (response.status, fields, body)
}

#[tokio::test]
async fn is_what_hyper_sends() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/plain", |_| page("image/x-test"));
    origin.route("/text", |_| page("text/html"));
    let status = |code: u16| Reply::new(code).header("Cache-Control", "max-age=60");
    origin.route("/gone", move |_| status(410).body("gone"));
    origin.route("/empty", move |_| status(204));
    origin.route("/moved", move |_| status(301).header("Location", "/plain"));
    let edge = Edge::start(&origin, &[]).await;
    let paths = ["/plain", "/text", "/gone", "/empty", "/moved", "/never"];
    for path in &paths[..5] {
        edge.get(path).await;
    }
    edge.metric_becomes("edge_cache_compressed_total", 1.0).await;
    edge.stored(5).await;
    for path in paths {
        for method in ["GET", "HEAD"] {
            let mut kept = edge.connect().await;
            for fields in FIELDS {
                // What is not stored would be the one's miss and the other's hit.
                if path == "/never" && fields.first().is_none_or(|(name, _)| *name != "Cache-Control") {
                    continue;
                }
                let mut all = vec![("Host", "site.example")];
                all.extend(*fields);
                let direct = kept.request(method, path, &all, b"").await.unwrap();
                all.push(("Connection", "close"));
                let by_hyper = edge.connect().await.request(method, path, &all, b"").await.unwrap();
                assert_eq!(told(&direct), told(&by_hyper), "{method} {path} {fields:?}");
                assert_eq!(by_hyper.header("connection"), Some("close"));
                let is_dated = |response: &Response| response.header("date").is_some();
                assert!(is_dated(&direct) && is_dated(&by_hyper), "{method} {path}");
            }
        }
    }
    assert_eq!(origin.requests().len(), 5);
}

#[tokio::test]
async fn one_connection_goes_from_hits_to_misses_and_on() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|request| Reply::ok(request.target.clone()).header("Cache-Control", "max-age=60"));
    let edge = Edge::start(&origin, &[]).await;
    edge.get("/a").await;
    edge.stored(1).await;
    let mut client = edge.connect().await;
    // All at once: what is behind a hit is not lost when hyper gets the connection.
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: site.example\r\n\r\n");
    client.send([get("/a"), get("/a"), get("/b"), get("/a"), get("/b")].concat()).await.unwrap();
    for (body, cache) in [("/a", "HIT"), ("/a", "HIT"), ("/b", "MISS"), ("/a", "HIT"), ("/b", "HIT")] {
        let response = client.response("GET").await.unwrap();
        assert_eq!((response.text().as_str(), x_cache(&response)), (body, cache));
    }
    let counted = edge.metric("edge_cache_requests_total").await;
    assert!((counted - 6.0).abs() < 0.5, "nothing is counted twice: {counted}");
}

impl Edge {
    async fn connect(&self) -> Client {
        Client::connect(self.address).await.unwrap()
    }
}
