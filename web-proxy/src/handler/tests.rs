#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::fs;

use common::shutdown::Shutdown;
use common::telemetry::Registry;
use prometheus_client::encoding::text::encode;

use super::*;
use crate::Config;

fn rendered(registry: &Registry) -> String {
    let mut text = String::new();
    encode(&mut text, registry).unwrap();
    text
}

/// The flags, the request, and the status if it is answered.
type Case<'a> = (&'a [&'a str], &'a str, &'a str, &'a [(&'a str, &'a str)], Option<u16>);

/// What is answered at once, and that nothing remains of what is not.
#[tokio::test]
async fn at_once_or_without_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("index.php"), "").unwrap();
    fs::write(path("a.css"), "body {}".repeat(1000)).unwrap();
    fs::write(path("large.bin"), vec![b'x'; 1 << 20]).unwrap();
    fs::create_dir(path("docs")).unwrap();
    for missing in ["none", ".git", "a.css.br", "a.css.zst", "a.css.gz", "docs/index.php"] {
        // From now on the kernel knows that it is not there.
        assert!(path(missing).metadata().is_err());
    }
    let log = format!("--access-log={}", path("access.log").display());
    let docroot = format!("--docroot={}", folder.path().display());
    let plain = ["--listen=127.0.0.1:0", "--fastcgi=127.0.0.1:1", &log, &docroot];
    let compressing = [&plain[..], &["--compress=gzip"]].concat();
    let gzip = ("accept-encoding", "gzip");
    let range = ("range", "bytes=0-9");
    let cases: [Case<'_>; 18] = [
        (&plain, "GET", "/a.css", &[], Some(200)),
        (&plain, "HEAD", "/a.css", &[], Some(200)),
        (&plain, "GET", "/a.css", &[gzip], Some(200)),
        (&plain, "GET", "/a.css", &[range], Some(206)),
        (&plain, "GET", "/a.css", &[("range", "bytes=0-1,5-6")], Some(206)),
        (&plain, "GET", "/a.css", &[("if-none-match", "*")], Some(304)),
        (&plain, "GET", "/a.css", &[("if-match", "\"x\"")], Some(412)),
        (&plain, "GET", "/large.bin", &[], Some(200)),
        (&plain, "GET", "/large.bin", &[range], Some(206)),
        (&plain, "GET", "/.git/config", &[], Some(403)),
        (&plain, "GET", "/docs", &[], Some(301)),
        (&compressing, "GET", "/a.css", &[], Some(200)),
        (&compressing, "GET", "/a.css", &[gzip, range], Some(206)),
        (&compressing, "GET", "/a.css", &[gzip], None),
        (&plain, "GET", "/index.php", &[], None),
        (&plain, "GET", "/none", &[], None),
        (&plain, "POST", "/a.css", &[], None),
        (&plain, "GET", "/a.css", &[("host", "a b")], None),
    ];
    for (flags, method, target, fields, expected) in cases {
        let shutdown = Shutdown::new(std::time::Duration::from_secs(1));
        let mut registry = Registry::default();
        let config = Config::from_flags(flags.iter().copied()).unwrap();
        let service = crate::bind(config, &mut registry, &shutdown).await.unwrap();
        let before = rendered(&registry);
        let mut request = Request::builder().method(method).uri(target);
        if fields.iter().all(|(name, _)| *name != "host") {
            request = request.header("host", "site.example");
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let head = request.body(()).unwrap().into_parts().0;
        let response = at_once(service.site(), &Peer::Unix, Scheme::Http, head, &mut HeadText::default());
        let status = response.as_ref().map(|reply| match reply {
            Reply::Response(response) => response.status().as_u16(),
            Reply::Written(_) => unreachable!("nothing is kept of what has just been written"),
        });
        assert_eq!(status, expected, "{method} {target} {fields:?}");
        assert_eq!(rendered(&registry) == before, expected.is_none(), "{method} {target} {fields:?}");
        drop(response);
        shutdown.terminate();
    }
}
