//! The pure steps of a request in web-proxy, and its routing, which asks the file system:
//! `cargo bench -p bench-micro --bench web [-- FILTER]`.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::fs;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use common::http::forwarded::{Scheme, TrustedProxies};
use common::listener::Peer;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{Request, request};
use web_proxy::docroot::{Followed, Wait};
use web_proxy::request::Received;
use web_proxy::route::Router;
use web_proxy::route::path::UrlPath;
use web_proxy::rules::{Preset, Rules};
use web_proxy::static_files::FileCache;

fn path(c: &mut Criterion) {
    let mut group = c.benchmark_group("path");
    let cases = [
        ("plain", "/sites/default/files/styles/large/public/2024-05/photo.jpg"),
        ("encoded", "/sites/default/files/a%20b/%C3%A9t%C3%A9.jpg"),
        ("dot segments", "/core/misc/../themes/./site/logo.svg"),
    ];
    for (name, raw) in cases {
        group.bench_function(name, |b| b.iter(|| UrlPath::parse(black_box(raw))));
    }
    group.finish();
}

fn understand(c: &mut Criterion) {
    let trusted = TrustedProxies::new(Vec::new());
    c.bench_function("request/understand", |b| {
        b.iter_batched(
            || head("/node/1?page=2"),
            |head| Received::of(head, peer(), Scheme::Http, &trusted).unwrap(),
            BatchSize::SmallInput,
        );
    });
}

fn route(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("index.php"), "").unwrap();
    fs::create_dir_all(folder.path().join("core/misc")).unwrap();
    fs::write(folder.path().join("core/misc/drupal.js"), "js").unwrap();
    let router = Router {
        docroot: Arc::new(Followed::open(folder.path(), false).unwrap()),
        // A file that was made just now is not kept: this is the way of the first request.
        files: Arc::new(FileCache::new(1 << 20, Duration::from_secs(1))),
        rules: Arc::new(Rules::of(Preset::Drupal, None).unwrap()),
        index: vec!["index.php".into()],
        front_controller: "/index.php".parse().unwrap(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut group = c.benchmark_group("route, preset drupal");
    let cases = [
        ("a file", "/core/misc/drupal.js"),
        ("front controller", "/node/1?page=2"),
        ("denied", "/.git/config"),
    ];
    for (name, target) in cases {
        let trusted = TrustedProxies::new(Vec::new());
        let request = Received::of(head(target), peer(), Scheme::Http, &trusted).unwrap();
        group.bench_function(name, |b| {
            b.iter(|| drop(runtime.block_on(router.route(black_box(&request), Wait::Allowed))));
        });
    }
    group.finish();
}

fn peer() -> Peer {
    Peer::Tcp { client: "192.0.2.1:4711".parse().unwrap(), local: "10.0.0.1:80".parse().unwrap() }
}

fn head(target: &str) -> request::Parts {
    let request = Request::get(target)
        .header("host", "site.example")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
        .header("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
        .header("accept-language", "en-US,en;q=0.5")
        .header("accept-encoding", "gzip, deflate, br");
    request.body(()).unwrap().into_parts().0
}

criterion_group!(benches, path, understand, route);
criterion_main!(benches);
