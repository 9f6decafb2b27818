//! What edge-cache holds to be true of any host and target: what is accepted is legal, has one spelling, and is
//! accepted again as it is.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use common::http::forwarded::Scheme;
use common::listener::Peer;
use common::shutdown::Shutdown;
use edge_cache::Config;
use edge_cache::key::CacheKey;
use edge_cache::live::Live;
use edge_cache::request::normalise;
use edge_cache::request::normalise::canonical_host;
use http::header::{HOST, HeaderValue};
use http::uri::Authority;

static LIVE: LazyLock<Arc<Live>> = LazyLock::new(|| {
    let config = Config::from_flags([]).expect("defaults");
    Arc::new(Live::new(config, &Shutdown::new(Duration::ZERO), None).expect("no names to look up"))
});

pub(crate) fn canonical(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for scheme in [Scheme::Http, Scheme::Https] {
        let Some(host) = canonical_host(text, scheme) else { continue };
        assert_eq!(canonical_host(&host, scheme).as_deref(), Some(&*host), "another spelling");
        assert!(host.len() <= 253 + ":65535".len() && !host.is_empty());
        assert!(
            host.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:[]".contains(&byte))
        );
        let authority: Authority = host.parse().expect("a legal authority");
        assert_eq!(authority.as_str(), host);
        assert_ne!(authority.port_u16(), Some(0));
        assert_ne!(authority.port_u16(), Some(scheme.default_port()));
        let key = CacheKey::new(scheme, &host, "/");
        assert_eq!(CacheKey::of_url(key.as_str()), Some(key), "a purger finds it");
    }
}

/// The first line is the target, the second the host.
pub(crate) fn normalised(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let (target, host) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let (Ok(target), Ok(host)) = (http::Uri::try_from(target), HeaderValue::from_bytes(host)) else { return };
    let again = |target: http::Uri, host: HeaderValue| {
        let (mut head, ()) = http::Request::new(()).into_parts();
        head.uri = target;
        head.headers.insert(HOST, host);
        normalise(head, &Peer::Unix, Scheme::Http, Arc::clone(&LIVE))
    };
    let Ok(first) = again(target, host) else { return };
    let target = first.head.uri.to_string();
    assert!(target.starts_with('/') || target == "*", "{target}");
    let host = first.head.headers[HOST].clone();
    let second = again(first.head.uri.clone(), host.clone());
    if target == "*" {
        return;
    }
    let second = second.expect("what was accepted");
    assert_eq!(first.key, second.key);
    assert_eq!(second.head.headers.get_all(HOST).iter().collect::<Vec<_>>(), [&host]);
    let (key_host, key_target) = first.key.host_and_target();
    assert_eq!(key_host.as_bytes(), host.as_bytes());
    assert_eq!(key_target, target);
}
