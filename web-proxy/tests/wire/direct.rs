//! What is answered at once is answered like what goes through hyper, to the byte; and what the kernel sends of a file is
//! that file or breaks off.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use test_support::client::{Client, End, Response};
use test_support::wait::{DEADLINE, wait_until};

use crate::support::{NOBODY, Proxy, THEN};

/// Longer than a test.
const NEVER: &str = "--file-cache-valid=1h";

/// A connection of hyper's: the first request on it is of those that are never answered at once.
async fn with_hyper(proxy: &Proxy) -> Client {
    let mut client = Client::connect(proxy.address).await.unwrap();
    client.send("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(client.response("OPTIONS").await.unwrap().status, 204);
    client
}

async fn ask(client: &mut Client, method: &str, path: &str, fields: &[(&str, &str)]) -> Response {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let fields = fields.concat();
    client.send(format!("{method} {path} HTTP/1.1\r\nHost: site.example\r\n{fields}\r\n")).await.unwrap();
    client.response(method).await.unwrap()
}

/// All of it, in no order, but for the date and what no two multipart bodies have in common.
fn whole(response: &Response) -> (u16, String, Vec<String>, Vec<u8>) {
    let kind = response.header("content-type").unwrap_or_default();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap_or("\0").to_owned();
    assert!(response.header("date").is_some_and(|date| httpdate::parse_http_date(date).is_ok()));
    let fields = response.headers.iter().filter(|(name, _)| name != "date");
    let field = |(name, value): &(String, String)| {
        if name == "expires" {
            // In the second in which each of them was asked.
            assert!(httpdate::parse_http_date(value).is_ok());
            return name.clone();
        }
        format!("{name}: {}", value.replace(&boundary, "BOUNDARY"))
    };
    let mut fields: Vec<String> = fields.map(field).collect();
    fields.sort();
    let body = match String::from_utf8(response.body.clone()) {
        Ok(text) => text.replace(&boundary, "BOUNDARY").into_bytes(),
        Err(binary) => binary.into_bytes(),
    };
    (response.status, response.reason.clone(), fields, body)
}

async fn is_kept(proxy: &Proxy, path: &str) {
    let hits = async || proxy.metric("web_proxy_file_cache_total", &[("outcome", "hit")]).await;
    wait_until(&format!("{path} to be kept"), DEADLINE, async || {
        let before = hits().await;
        proxy.get_with(path, &[("Accept-Encoding", "gzip")]).await;
        hits().await > before
    })
    .await;
}

#[tokio::test]
async fn like_hyper() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("web.toml");
    fs::write(
        &rules,
        "[[rule]]\nname = \"expires\"\nextension = [\"css\", \"bin\"]\nexpires = \"1h\"\n\n\
         [[rule]]\nname = \"edits\"\npath = \"/edited*\"\nset-response-headers = { X-Edited = \"yes\", ETag = \"\\\"own\\\"\" }\n\n\
         [[rule]]\nname = \"keyed\"\nheader = \"X-Key\"\nset-response-headers = { X-Keyed = \"yes\" }\n\n\
         [[rule]]\nname = \"private\"\npath = \"/private/**\"\nunless = { header = { X-Key = \"1\" } }\ndeny = true\n\n\
         [[rule]]\nname = \"moved\"\npath = \"/moved.css\"\nredirect = \"/a.css{?query}\"\n",
    )
    .unwrap();
    let rules = format!("--config={}", rules.display());
    for more in [&["--file-cache=64MiB"][..], &["--file-cache=0"], &["--compress=gzip"]] {
        let flags: Vec<&str> =
            [&rules, NEVER, "--front-controller=none"].into_iter().chain(more.iter().copied()).collect();
        let proxy = Proxy::start(NOBODY, &flags).await;
        let text = "0123456789".repeat(1000);
        proxy.old_file("a.css", &text);
        proxy.old_file("a.css.gz", &text[..5000]);
        proxy.old_file("a.png", &text);
        proxy.old_file("empty.css", "");
        proxy.old_file("edited.txt", &text);
        proxy.old_file("private/a.txt", &text);
        proxy.old_file("moved.css", &text);
        proxy.old_file("large.bin", text.repeat(40));
        proxy.old_file("docs/index.html", &text);
        let paths = [
            "/a.css",
            "/a.png",
            "/empty.css",
            "/edited.txt",
            "/edited.txt?query",
            "/private/a.txt",
            "/moved.css?a=b",
            "/large.bin",
            "/docs/",
            "/docs",
            "/none",
            "/.git/config",
            "/a.css/",
            "//./a.css",
            "http://site.example/a.css",
        ];
        if !more.contains(&"--file-cache=0") {
            for path in ["/a.css", "/a.png", "/empty.css", "/edited.txt", "/large.bin", "/docs/"] {
                is_kept(&proxy, path).await;
            }
        }
        let etag = proxy.get("/a.css").await.header("etag").unwrap().to_owned();
        let coded = proxy.get_with("/a.css", &[("Accept-Encoding", "gzip")]).await;
        let coded = coded.header("etag").unwrap().to_owned();
        let requests: [&[(&str, &str)]; 13] = [
            &[],
            &[("Connection", "Keep-Alive"), ("X-Key", "1"), ("X-Forwarded-For", "1.2.3.4")],
            &[("Accept-Encoding", "gzip, br")],
            &[("If-None-Match", &etag)],
            &[("If-None-Match", &etag), ("Accept-Encoding", "gzip")],
            &[("If-None-Match", &coded), ("Accept-Encoding", "gzip")],
            &[("If-None-Match", "\"x\", *")],
            &[("If-Modified-Since", THEN)],
            &[("If-Match", "\"x\"")],
            &[("Range", "bytes=10-19")],
            &[("Range", "bytes=10-19,-5")],
            &[("Range", "bytes=1000000-")],
            &[("Range", "bytes=0-0"), ("Accept-Encoding", "gzip")],
        ];
        let mut hyper = with_hyper(&proxy).await;
        let mut direct = Client::connect(proxy.address).await.unwrap();
        for path in paths {
            for method in ["GET", "HEAD"] {
                for fields in requests {
                    let expected = ask(&mut hyper, method, path, fields).await;
                    let response = ask(&mut direct, method, path, fields).await;
                    assert_eq!(whole(&response), whole(&expected), "{method} {path} {fields:?} {more:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn requests_that_come_together_are_answered_in_their_order() {
    let proxy = Proxy::start(NOBODY, &["--front-controller=none"]).await;
    proxy.old_file("a.txt", "first");
    proxy.old_file("large.bin", vec![b'x'; 1 << 20]);
    proxy.old_file("b.txt", "second");
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut client = Client::connect(proxy.address).await.unwrap();
    // The last ones are hyper's.
    let post = "POST /a.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    let paths = ["/a.txt", "/large.bin", "/b.txt"].map(get).concat();
    let all = [paths.as_str(), post, &get("/b.txt"), &get("/none")].concat();
    client.send(all).await.unwrap();
    for (method, status, body) in
        [("GET", 200, b"first".to_vec()), ("GET", 200, vec![b'x'; 1 << 20]), ("GET", 200, b"second".to_vec())]
    {
        let response = client.response(method).await.unwrap();
        assert_eq!((response.status, response.end), (status, End::Complete));
        assert!(response.body == body);
    }
    assert_eq!(client.response("POST").await.unwrap().status, 405);
    assert_eq!(client.response("GET").await.unwrap().text(), "second");
    assert_eq!(client.response("GET").await.unwrap().status, 404);
}

#[tokio::test]
async fn every_request_is_counted_and_logged_once() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let flag = format!("--access-log={}", log.display());
    let proxy =
        Proxy::start(NOBODY, &[&flag, "--access-log-format=json", NEVER, "--front-controller=none"]).await;
    proxy.old_file("a.txt", "0123456789");
    proxy.old_file("large.bin", vec![b'x'; 1 << 20]);
    let mut client = Client::connect(proxy.address).await.unwrap();
    for (path, fields) in [
        ("/a.txt", &[][..]),
        ("/a.txt", &[("Range", "bytes=0-3"), ("User-Agent", "test")]),
        ("/a.txt", &[("If-Modified-Since", "Sun, 06 Nov 2044 08:49:37 GMT")]),
        ("/large.bin", &[]),
        ("/none", &[]),
    ] {
        ask(&mut client, "GET", path, fields).await;
    }
    let expected =
        [("/a.txt", 200, 10), ("/a.txt", 206, 4), ("/a.txt", 304, 0), ("/large.bin", 200, 1 << 20)];
    wait_until("five lines", DEADLINE, async || {
        fs::read_to_string(&log).is_ok_and(|text| text.lines().count() == 5)
    })
    .await;
    let text = fs::read_to_string(&log).unwrap();
    for (line, (target, status, bytes)) in text.lines().zip(expected) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((line["target"].as_str(), line["status"].as_u64()), (Some(target), Some(status)));
        assert_eq!((line["bytes"].as_u64(), line["complete"].as_bool()), (Some(bytes), Some(true)), "{line}");
        assert_eq!(line["request_id"].as_str().map(str::len), Some(32));
    }
    let counted = proxy.metric("web_proxy_requests_total", &[("route", "static"), ("status", "2xx")]).await;
    assert!((counted - 3.0).abs() < 0.5, "{counted}");
    let sent = proxy.metric("web_proxy_sent_bytes_total", &[]).await;
    assert!(sent >= f64::from((1_u32 << 20) + 14), "{sent}");
    drop(client);
    proxy.is_idle().await;
}

#[tokio::test]
async fn a_file_that_is_replaced_in_between() {
    let proxy = Proxy::start(NOBODY, &["--file-cache-valid=100ms"]).await;
    let mut client = Client::connect(proxy.address).await.unwrap();
    for (length, byte) in [(10, b'a'), (300_000, b'b'), (300_000, b'c'), (10, b'd'), (0, b'e')] {
        proxy.old_file("next", vec![byte; length]);
        fs::rename(proxy.docroot().join("next"), proxy.docroot().join("a.txt")).unwrap();
        wait_until(&format!("{length} {}", char::from(byte)), DEADLINE, async || {
            let response = ask(&mut client, "GET", "/a.txt", &[]).await;
            assert_eq!((response.status, response.end), (200, End::Complete));
            assert!(response.body.iter().all(|other| response.body.first() == Some(other)));
            response.body == vec![byte; length]
        })
        .await;
        // Long enough to be kept, some of them.
        is_kept(&proxy, "/a.txt").await;
    }
}

#[tokio::test]
async fn a_large_file_that_is_written_to_while_it_is_sent_breaks_off() {
    type Change = fn(&File);
    let proxy = Proxy::start(NOBODY, &[NEVER]).await;
    let changes: [(&str, Change); 4] = [
        ("emptied", |file| file.set_len(0).unwrap()),
        ("shorter", |file| file.set_len(31 << 20).unwrap()),
        ("longer", |file| file.set_len(40 << 20).unwrap()),
        ("edited", |file| file.write_all_at(b"y", 20 << 20).unwrap()),
    ];
    for (name, change) in changes {
        let path = format!("/{name}.bin");
        proxy.old_file(&path[1..], vec![b'x'; 32 << 20]);
        is_kept(&proxy, &path).await;
        for fields in ["", "Range: bytes=5-\r\n"] {
            let mut client = Client::connect_narrow(proxy.address, 4096).await.unwrap();
            client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n")).await.unwrap();
            let head = client.response_head("GET").await.unwrap();
            change(&File::options().write(true).open(proxy.docroot().join(&path[1..])).unwrap());
            assert_eq!(client.drain(head.framing, |_| {}).await.unwrap(), End::Truncated, "{name} {fields}");
            // The next one gets what is there now, or that it is being written.
            proxy.old_file(&path[1..], vec![b'x'; 32 << 20]);
        }
    }
    wait_until("all of them to be noticed", DEADLINE, async || {
        proxy.metric("web_proxy_broken_total", &[]).await > 7.5
    })
    .await;
    proxy.is_idle().await;
}

#[tokio::test]
async fn who_is_slow_gets_all_of_it_and_holds_nobody_up() {
    let proxy = Proxy::start(NOBODY, &[NEVER]).await;
    let content: Vec<u8> = (0..16_u32 << 20).map(|at| (at / 4096 * 7 + at) as u8).collect();
    proxy.old_file("large.bin", &content);
    proxy.old_file("a.txt", "small");
    let mut slow = Client::connect_narrow(proxy.address, 4096).await.unwrap();
    slow.send("GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let head = slow.response_head("GET").await.unwrap();
    let mut others = Client::connect(proxy.address).await.unwrap();
    for _ in 0..20 {
        assert_eq!(ask(&mut others, "GET", "/a.txt", &[]).await.text(), "small");
        assert!(ask(&mut others, "GET", "/large.bin", &[]).await.body == content);
    }
    let mut got = Vec::new();
    let end = slow.drain(head.framing, |piece| got.extend_from_slice(piece)).await.unwrap();
    assert_eq!(end, End::Complete);
    assert!(got == content);
    // The connection goes on.
    assert_eq!(ask(&mut slow, "GET", "/a.txt", &[]).await.text(), "small");
    let range = ask(&mut others, "GET", "/large.bin", &[("Range", "bytes=1000000-9999999")]).await;
    assert!(range.body == content[1_000_000..10_000_000]);
}
