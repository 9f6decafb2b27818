//! What is compressed on its way.

use std::io::Read as _;

use test_support::client::{Client, End, Response};
use test_support::fastcgi_app::{FakeFastCgiApp, page};
use test_support::gate::Gate;
use test_support::wait::{DEADLINE, wait_until};

use crate::support::{NOBODY, Proxy};

const ON: &[&str] = &["--compress=br,gzip"];

fn decoded(response: &Response) -> Vec<u8> {
    let mut plain = Vec::new();
    match response.header("content-encoding") {
        None => return response.body.clone(),
        Some("gzip") => {
            flate2::read::MultiGzDecoder::new(&response.body[..]).read_to_end(&mut plain).unwrap()
        }
        Some("br") => brotli::Decompressor::new(&response.body[..], 4096).read_to_end(&mut plain).unwrap(),
        Some(other) => panic!("{other}"),
    };
    plain
}

/// Text that is worth compressing and the same nowhere.
fn text(length: usize) -> Vec<u8> {
    (0_usize..).flat_map(|line| format!("line {line} {}\n", line * line).into_bytes()).take(length).collect()
}

#[tokio::test]
async fn a_file() {
    let proxy = Proxy::start(NOBODY, ON).await;
    for length in [1024, 9_000, 3_000_000] {
        let content = text(length);
        proxy.old_file("a.txt", &content);
        for (accepted, coding) in [("gzip", "gzip"), ("gzip, deflate, br", "br"), ("br;q=0.5, gzip", "gzip")]
        {
            let response = proxy.get_with("/a.txt", &[("Accept-Encoding", accepted)]).await;
            assert_eq!((response.status, response.end), (200, End::Complete));
            assert_eq!(response.header("content-encoding"), Some(coding));
            assert_eq!(response.header("vary"), Some("Accept-Encoding"));
            assert_eq!((response.header("content-length"), response.header("accept-ranges")), (None, None));
            assert!(response.body.len() < length / 2, "{} of {length}", response.body.len());
            assert!(decoded(&response) == content, "{accepted} {length}");
        }
    }
    let plain = proxy.get("/a.txt").await;
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), (None, Some("Accept-Encoding")));
    assert_eq!(plain.header("accept-ranges"), Some("bytes"));
    let strong = plain.header("etag").unwrap().to_owned();
    let gzip = ("Accept-Encoding", "gzip");
    let weak = proxy.get_with("/a.txt", &[gzip]).await.header("etag").unwrap().to_owned();
    assert_eq!(weak, format!("W/{strong}"));

    // The client has it, in this form or that; the plain one it may go on with by ranges.
    for tag in [&strong, &weak] {
        let unchanged = proxy.get_with("/a.txt", &[gzip, ("If-None-Match", tag)]).await;
        assert_eq!((unchanged.status, unchanged.header("etag")), (304, Some(tag.as_str())));
        assert_eq!(unchanged.header("vary"), Some("Accept-Encoding"));
    }
    // Ranges are of the plain form, and never go on with a compressed one.
    let part = proxy.get_with("/a.txt", &[gzip, ("Range", "bytes=0-1999")]).await;
    assert_eq!((part.status, part.header("content-encoding"), part.body.len()), (206, None, 2000));
    let whole = proxy.get_with("/a.txt", &[gzip, ("Range", "bytes=0-1999"), ("If-Range", &weak)]).await;
    assert_eq!((whole.status, whole.header("content-encoding")), (200, Some("gzip")));
    let head = proxy.request("HEAD", "/a.txt", &[gzip], b"").await;
    assert_eq!((head.status, head.header("content-encoding"), head.body.len()), (200, Some("gzip"), 0));
    assert_eq!((head.header("content-length"), head.header("etag")), (None, Some(weak.as_str())));
    proxy.is_idle().await;
}

#[tokio::test]
async fn what_stays_as_it_is() {
    let gzip = ("Accept-Encoding", "gzip");
    let proxy = Proxy::start(NOBODY, ON).await;
    proxy.old_file("short.txt", text(1023));
    proxy.old_file("photo.jpg", text(5000));
    proxy.old_file("style.css", text(5000));
    proxy.old_file("style.css.gz", "made beforehand");
    for path in ["/short.txt", "/photo.jpg"] {
        let response = proxy.get_with(path, &[gzip]).await;
        assert_eq!(response.header("content-encoding"), None, "{path}");
        assert!(response.header("content-length").is_some());
    }
    let beforehand = proxy.get_with("/style.css", &[gzip]).await;
    assert_eq!(
        (beforehand.text().as_str(), beforehand.header("content-length")),
        ("made beforehand", Some("15"))
    );
    // HTTP/1.0 could not tell where it ends.
    let mut client = Client::connect(proxy.address).await.unwrap();
    client.send("GET /style.css HTTP/1.0\r\nHost: x\r\nAccept-Encoding: br\r\n\r\n").await.unwrap();
    let old = client.response("GET").await.unwrap();
    assert_eq!((old.header("content-encoding"), old.body.len()), (None, 5000));

    let off = Proxy::start(NOBODY, &[]).await;
    off.old_file("a.txt", text(5000));
    assert_eq!(off.get_with("/a.txt", &[gzip]).await.header("content-encoding"), None);
    let longer = Proxy::start(NOBODY, &["--compress=gzip", "--compress-min-length=6KiB"]).await;
    longer.old_file("a.txt", text(5000));
    assert_eq!(longer.get_with("/a.txt", &[gzip]).await.header("content-encoding"), None);
}

#[tokio::test]
async fn what_the_application_sends() {
    let long = text(200_000);
    let app = {
        let long = long.clone();
        FakeFastCgiApp::tcp(move |mut exchange| {
            let long = long.clone();
            async move {
                let head = match exchange.param("REQUEST_URI").as_str() {
                    "/sized" => "Content-Type: text/html\r\nContent-Length: 200000\r\nETag: \"a\"\r\nVary: Cookie\r\n\r\n",
                    "/coded" => "Content-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n",
                    "/exact" => "Content-Type: text/html\r\nCache-Control: no-transform\r\n\r\n",
                    "/events" => "Content-Type: text/event-stream\r\n\r\n",
                    "/cut" => {
                        exchange.stdout("Content-Type: text/html\r\n\r\n").await?;
                        exchange.stdout(long).await?;
                        exchange.hang_up();
                        return Ok(());
                    }
                    _ => "Content-Type: text/html\r\n\r\n",
                };
                exchange.stdout(head).await?;
                exchange.stdout(long).await?;
                exchange.end().await
            }
        })
        .await
        .unwrap()
    };
    let proxy = Proxy::start(&app.address(), ON).await;
    let gzip = [("Accept-Encoding", "gzip")];
    let sized = proxy.get_with("/sized", &gzip).await;
    assert_eq!((sized.end, sized.header("content-encoding")), (End::Complete, Some("gzip")));
    assert_eq!((sized.header("content-length"), sized.header("etag")), (None, Some("W/\"a\"")));
    assert_eq!(sized.all("vary").collect::<Vec<_>>(), ["Cookie", "Accept-Encoding"]);
    assert!(decoded(&sized) == long);
    assert!(decoded(&proxy.get_with("/node", &[("Accept-Encoding", "br")]).await) == long);
    for path in ["/coded", "/exact", "/events"] {
        let response = proxy.get_with(path, &gzip).await;
        assert!(response.body == long, "{path}");
        assert_eq!(response.header("vary"), None, "{path}");
    }
    // A broken response stays one.
    assert_eq!(proxy.get_with("/cut", &gzip).await.end, End::Truncated);
    let head = proxy.request("HEAD", "/sized", &gzip, b"").await;
    assert_eq!((head.header("content-encoding"), head.header("content-length")), (Some("gzip"), None));
    proxy.is_idle().await;
}

/// BigPipe: what the application has flushed is seen before it goes on.
#[tokio::test]
async fn what_is_flushed_is_seen_at_once() {
    for coding in ["gzip", "br"] {
        let gate = Gate::new();
        let app = {
            let gate = gate.clone();
            FakeFastCgiApp::tcp(move |mut exchange| {
                let gate = gate.clone();
                async move {
                    exchange.stdout(page("<p>first")).await?;
                    gate.pass().await;
                    exchange.stdout("<p>second").await?;
                    exchange.end().await
                }
            })
            .await
            .unwrap()
        };
        let proxy = Proxy::start(&app.address(), ON).await;
        let mut client = Client::connect(proxy.address).await.unwrap();
        client.send(format!("GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {coding}\r\n\r\n")).await.unwrap();
        let mut response = client.response_head("GET").await.unwrap();
        assert_eq!(response.header("content-encoding"), Some(coding));
        let seen = std::sync::Mutex::new(Vec::new());
        let reading = client.drain(response.framing, |piece| seen.lock().unwrap().extend_from_slice(piece));
        let opening = async {
            wait_until("the first piece", DEADLINE, async || {
                readable(coding, &seen.lock().unwrap()) == b"<p>first"
            })
            .await;
            gate.open();
        };
        let (end, ()) = tokio::join!(reading, opening);
        response.body = seen.into_inner().unwrap();
        assert_eq!((end.unwrap(), decoded(&response).as_slice()), (End::Complete, &b"<p>first<p>second"[..]));
    }
}

/// What can be read of a body that is not at its end.
fn readable(coding: &str, coded: &[u8]) -> Vec<u8> {
    let mut plain = vec![0; 4096];
    let read = match coding {
        "gzip" => flate2::read::GzDecoder::new(coded).read(&mut plain),
        _ => brotli::Decompressor::new(coded, 4096).read(&mut plain),
    };
    plain.truncate(read.unwrap_or(0));
    plain
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_compressed_breaks_off() {
    let proxy = Proxy::start(NOBODY, ON).await;
    // What does not become smaller, or the client's side would hold all of it.
    let noise: Vec<u8> = {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        };
        (0..32 << 20).map(|_| next()).collect()
    };
    proxy.old_file("large.txt", noise);
    let mut client = Client::connect_narrow(proxy.address, 4096).await.unwrap();
    client.send("GET /large.txt HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n").await.unwrap();
    let head = client.response_head("GET").await.unwrap();
    assert_eq!(head.header("content-encoding"), Some("gzip"));
    let path = proxy.docroot().join("large.txt");
    std::fs::File::options().write(true).open(path).unwrap().set_len(10).unwrap();
    assert_eq!(client.drain(head.framing, |_| {}).await.unwrap(), End::Truncated);
    proxy.is_idle().await;
}
