//! One compressed copy at rest, and the form that each client accepts.

use std::io::{Read as _, Write as _};

use test_support::client::Response;
use test_support::gate::Gate;
use test_support::origin::{FakeOrigin, Reply};

use crate::support::{Edge, x_cache};

const PLAIN: &str = "the quick brown fox jumps over the lazy dog; ";

fn text() -> String {
    PLAIN.repeat(200)
}

fn page() -> Reply {
    Reply::ok(text())
        .header("Cache-Control", "max-age=60")
        .header("Content-Type", "text/html")
        .header("ETag", "\"v1\"")
}

fn gzip(plain: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn gunzip(body: &[u8]) -> String {
    let mut plain = String::new();
    flate2::read::GzDecoder::new(body).read_to_string(&mut plain).unwrap();
    plain
}

fn is_gzip_of_text(response: &Response) -> bool {
    response.header("content-encoding") == Some("gzip") && gunzip(&response.body) == text()
}

async fn compressed(edge: &Edge, count: usize) {
    edge.metric_becomes("edge_cache_compressed_total", count as f64).await;
}

#[tokio::test]
async fn a_page_is_a_hit_before_it_is_compressed_and_after() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|_| page().header("Cache-Tags", "a"));
    let edge = Edge::start(&origin, &["--purge-from=127.0.0.0/8"]).await;
    for path in ["/1", "/2", "/3"] {
        edge.get(path).await;
        let hit = edge.get_with(path, &[("Accept-Encoding", "gzip")]).await;
        assert!(hit.text() == text() || is_gzip_of_text(&hit), "{path}");
    }
    compressed(&edge, 3).await;
    edge.metric_becomes("edge_cache_variants", 3.0).await;
    let purged = edge.request("BAN", "/", &[("Cache-Tags", "a")], b"").await;
    assert_eq!(purged.text(), "invalidated 3\n", "the plain ones are not counted beside them");
    assert_eq!(origin.requests().len(), 3);
}

#[tokio::test]
async fn text_is_kept_compressed_and_sent_as_each_client_accepts_it() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |request| {
        assert_eq!(request.header("accept-encoding"), Some("gzip"), "whatever the client accepts");
        page()
    });
    let edge = Edge::start(&origin, &[]).await;
    assert_eq!(edge.get("/").await.text(), text());
    compressed(&edge, 1).await;
    assert!(edge.metric("edge_cache_stored_bytes").await < 2000.0);

    let coded = edge.get_with("/", &[("Accept-Encoding", "gzip, deflate, br")]).await;
    assert!(is_gzip_of_text(&coded), "{coded:?}");
    assert_eq!((x_cache(&coded), coded.header("etag")), ("HIT", Some("W/\"v1\"")));
    assert_eq!(coded.header("content-length"), Some(coded.body.len().to_string().as_str()));
    for accepted in ["identity", "br", "gzip;q=0", "gzip;q=0.2, identity;q=0.3", ""] {
        let plain = edge.get_with("/", &[("Accept-Encoding", accepted)]).await;
        assert_eq!((x_cache(&plain), plain.text()), ("HIT", text()), "{accepted}");
        assert_eq!((plain.header("content-encoding"), plain.header("etag")), (None, Some("\"v1\"")));
        assert_eq!(plain.header("content-length"), Some(text().len().to_string().as_str()));
        assert_eq!(plain.header("vary"), Some("Accept-Encoding"), "for the caches of browsers");
    }
    let head = edge.request("HEAD", "/", &[("Accept-Encoding", "gzip")], b"").await;
    assert_eq!(head.header("content-length"), Some(coded.body.len().to_string().as_str()));
    let head = edge.request("HEAD", "/", &[], b"").await;
    assert_eq!(head.header("content-length"), Some(text().len().to_string().as_str()));
    assert_eq!(origin.count("/"), 1);
}

#[tokio::test]
async fn parts_are_parts_of_the_identity_form() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |_| page());
    let edge = Edge::start(&origin, &[]).await;
    edge.get("/").await;
    compressed(&edge, 1).await;
    let gz = ("Accept-Encoding", "gzip");
    let range = ("Range", "bytes=100-199");
    for headers in [vec![gz, range], vec![range], vec![gz, range, ("If-Range", "\"v1\"")]] {
        let part = edge.get_with("/", &headers).await;
        assert_eq!((part.status, part.text().as_str()), (206, &text()[100..200]), "{headers:?}");
        assert_eq!(part.header("content-encoding"), None);
        let expected = format!("bytes 100-199/{}", text().len());
        assert_eq!(part.header("content-range"), Some(expected.as_str()));
    }
    let whole = edge.get_with("/", &[gz, range, ("If-Range", "W/\"v1\"")]).await;
    assert_eq!(whole.status, 200, "a weak tag makes no part");
    for tag in ["\"v1\"", "W/\"v1\""] {
        assert_eq!(edge.get_with("/", &[gz, ("If-None-Match", tag)]).await.status, 304, "{tag}");
    }
}

#[tokio::test]
async fn what_the_origin_compressed_is_kept_as_it_came() {
    let origin = FakeOrigin::start().await.unwrap();
    let coded = gzip(&text());
    let body = coded.clone();
    origin.route("/", move |_| {
        let length = body.len().to_string();
        page_of(body.clone()).header("Content-Encoding", "gzip").header("Content-Length", &length)
    });
    let edge = Edge::start(&origin, &[]).await;
    let miss = edge.get("/").await;
    assert_eq!((x_cache(&miss), miss.text()), ("MISS", text()), "undone on its way in");
    edge.stored(1).await;
    let hit = edge.get_with("/", &[("Accept-Encoding", "gzip")]).await;
    assert_eq!((hit.body.as_slice(), hit.header("etag")), (&coded[..], Some("\"v1\"")));
    let plain = edge.get("/").await;
    assert_eq!((plain.text(), plain.header("etag")), (text(), Some("W/\"v1\"")));
    assert_eq!(plain.header("content-length"), Some(text().len().to_string().as_str()));
    let part = edge.get_with("/", &[("Range", "bytes=0-2")]).await;
    assert_eq!((part.status, part.text().as_str()), (206, "the"));
}

fn page_of(body: Vec<u8>) -> Reply {
    Reply::ok(body)
        .header("Cache-Control", "max-age=60")
        .header("Content-Type", "text/html")
        .header("ETag", "\"v1\"")
}

#[tokio::test]
async fn under_no_transform_nothing_is_changed() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/plain", |_| page().header("Cache-Control", "no-transform"));
    origin.route("/coded", |request| {
        let reply = match request.header("accept-encoding") {
            Some("gzip") => page_of(gzip(&text())).header("Content-Encoding", "gzip"),
            _ => page(),
        };
        reply.header("Cache-Control", "no-transform").header("Vary", "Accept-Encoding")
    });
    let edge = Edge::start(&origin, &[]).await;
    edge.get("/plain").await;
    edge.stored(1).await;
    let hit = edge.get_with("/plain", &[("Accept-Encoding", "gzip")]).await;
    assert_eq!((x_cache(&hit), hit.text()), ("HIT", text()));
    let miss = edge.get("/coded").await;
    assert_eq!(
        (miss.header("content-encoding"), miss.text()),
        (None, text()),
        "asked for again as it is accepted"
    );
    edge.get_with("/coded", &[("Accept-Encoding", "gzip")]).await;
    edge.stored(2).await;
    let hit = edge.get_with("/coded", &[("Accept-Encoding", "gzip")]).await;
    assert_eq!(x_cache(&hit), "HIT");
    assert!(is_gzip_of_text(&hit));
    assert_eq!(edge.get("/coded").await.text(), text());
}

#[tokio::test]
async fn a_damaged_gzip_body_is_nobodys_but_theirs_who_accept_gzip() {
    let origin = FakeOrigin::start().await.unwrap();
    let mut damaged = gzip(&text());
    let at = damaged.len() - 6;
    damaged[at] ^= 0xff;
    let body = damaged.clone();
    origin.route("/", move |request| match request.header("accept-encoding") {
        Some("gzip") => page_of(body.clone()).header("Content-Encoding", "gzip"),
        _ => page(),
    });
    let edge = Edge::start(&origin, &[]).await;
    edge.get_with("/", &[("Accept-Encoding", "gzip")]).await;
    edge.stored(1).await;
    let same = edge.get_with("/", &[("Accept-Encoding", "gzip")]).await;
    assert_eq!((x_cache(&same), &same.body), ("HIT", &damaged));
    let plain = edge.get_with("/", &[("Accept-Encoding", "identity")]).await;
    assert_eq!(plain.text(), text(), "from the origin");
}

#[tokio::test]
async fn a_304_leaves_the_compressed_copy_as_it_is() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |request| match request.header("if-none-match") {
        Some("\"v1\"") => Reply::new(304).header("Cache-Control", "max-age=60").header("Vary", "Cookie"),
        _ => page().header("Age", "61"),
    });
    let edge = Edge::start(&origin, &[]).await;
    edge.get("/").await;
    compressed(&edge, 1).await;
    let validated = edge.get_with("/", &[("Accept-Encoding", "gzip")]).await;
    assert!(is_gzip_of_text(&validated), "{validated:?}");
    edge.stored(2).await;
    let hit = edge.get("/").await;
    assert_eq!((x_cache(&hit), hit.text(), hit.header("etag")), ("HIT", text(), Some("\"v1\"")));
    let hit = edge.get_with("/", &[("Accept-Encoding", "gzip")]).await;
    assert!(is_gzip_of_text(&hit));
    let varies: Vec<&str> =
        hit.headers.iter().filter(|(name, _)| name == "vary").map(|(_, v)| v.as_str()).collect();
    assert_eq!(varies, ["Cookie", "Accept-Encoding"]);
}

#[tokio::test]
async fn readers_of_a_body_that_is_compressed_meanwhile_get_it_whole() {
    let origin = FakeOrigin::start().await.unwrap();
    let gate = Gate::new();
    let held = gate.clone();
    origin.route("/", move |_| page().held_by(&held));
    let edge = Edge::start(&origin, &[]).await;
    let readers = futures_util::future::join_all((0..10).map(|_| edge.get("/")));
    let (responses, ()) = tokio::join!(readers, async {
        edge.metric_becomes("edge_cache_connections", 10.0).await;
        gate.open();
    });
    assert!(responses.iter().all(|response| response.text() == text()));
    assert_eq!(origin.count("/"), 1);
}

#[tokio::test]
async fn without_compression_vary_is_taken_at_its_word() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |request| {
        let reply = match request.header("accept-encoding") {
            Some(accepted) if accepted.contains("gzip") => {
                page_of(gzip(&text())).header("Content-Encoding", "gzip")
            }
            _ => page(),
        };
        reply.header("Vary", "Accept-Encoding")
    });
    let edge = Edge::start(&origin, &["--compress=off"]).await;
    edge.get_with("/", &[("Accept-Encoding", "gzip, deflate")]).await;
    edge.stored(1).await;
    let same = edge.get_with("/", &[("Accept-Encoding", "deflate , gzip;q=0.9")]).await;
    assert_eq!(x_cache(&same), "HIT", "browsers write it differently and mean the same");
    let plain = edge.get("/").await;
    assert_eq!((x_cache(&plain), plain.text()), ("MISS", text()));
}
