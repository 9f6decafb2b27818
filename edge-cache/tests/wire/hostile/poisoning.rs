//! What one client sends must not change what another one gets.

use test_support::origin::{FakeOrigin, Reply};

use crate::support::{Edge, x_cache};

/// Applications are known to build pages from these (practical web cache poisoning; the list of Param Miner).
const UNKEYED: [&str; 34] = [
    "X-Forwarded-Host",
    "X-Forwarded-Scheme",
    "X-Forwarded-Proto",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Server",
    "X-Forwarded-Path",
    "X-Forwarded-Ssl",
    "X-Forwarded-For",
    "X-Forwarded",
    "Forwarded",
    "X-Original-URL",
    "X-Original-Host",
    "X-Rewrite-URL",
    "X-Host",
    "X-Host-Override",
    "X-HTTP-Host-Override",
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
    "X-HTTP-DestinationURL",
    "X-Proxy-URL",
    "X-Proxy-Host",
    "X-Override-URL",
    "X-Url-Scheme",
    "X-Scheme",
    "Front-End-Https",
    "Base-Url",
    "Request-Uri",
    "X-Real-IP",
    "True-Client-IP",
    "Client-IP",
    "X_Forwarded_Host",
    "X_Original_URL",
];

/// A page that says every field of the request that holds the word `evil`.
async fn reflecting() -> FakeOrigin {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|request| {
        let evil = request.headers.iter().filter(|(_, value)| value.contains("evil"));
        let evil: Vec<&str> = evil.map(|(name, _)| name.as_str()).collect();
        Reply::ok(format!("page {}", evil.join(" "))).header("Cache-Control", "max-age=60")
    });
    origin
}

#[tokio::test]
async fn unkeyed_fields_change_nothing() {
    let origin = reflecting().await;
    for flags in [&[][..], &["--trusted-proxies=127.0.0.0/8"]] {
        let edge = Edge::start(&origin, flags).await;
        let mut stored = 0;
        for (number, name) in UNKEYED.into_iter().enumerate() {
            // A trusted proxy tells the client; its address is in no page that others get.
            let told = ["X-Forwarded-For", "Forwarded", "X-Real-IP", "True-Client-IP", "Client-IP"];
            if !flags.is_empty() && told.contains(&name) {
                continue;
            }
            let path = format!("/{number}");
            let attack = edge.get_with(&path, &[(name, "evil.example")]).await;
            assert_eq!((attack.status, attack.text().as_str()), (200, "page "), "{name} {flags:?}");
            stored += 1;
            edge.stored(stored).await;
            assert_eq!(edge.get(&path).await.text(), "page ", "{name} {flags:?}");
        }
    }
    let arrived = String::from_utf8_lossy(&origin.bytes().concat()).to_lowercase();
    assert!(!arrived.contains("x_"), "nor what CGI would take for one of them");
}

#[tokio::test]
async fn the_scheme_that_a_proxy_tells_is_keyed() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|request| {
        let scheme = request.header("x-forwarded-proto").unwrap_or("none").to_owned();
        Reply::ok(scheme).header("Cache-Control", "max-age=60")
    });
    let edge = Edge::start(&origin, &["--trusted-proxies=127.0.0.0/8"]).await;
    for round in 0..2 {
        for scheme in ["https", "http"] {
            let response = edge.get_with("/", &[("X-Forwarded-Proto", scheme)]).await;
            assert_eq!(response.text(), scheme);
            assert_eq!(x_cache(&response), if round == 0 { "MISS" } else { "HIT" });
        }
        edge.stored(2).await;
    }
    // What is neither is not believed.
    assert_eq!(edge.get_with("/", &[("X-Forwarded-Proto", "evil")]).await.text(), "http");
}

#[tokio::test]
async fn a_method_override_arrives_where_nothing_is_stored() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|request| {
        Reply::ok(request.header("x-http-method-override").unwrap_or("none").to_owned())
            .header("Cache-Control", "max-age=60")
    });
    let edge = Edge::start(&origin, &[]).await;
    // WordPress' editor moves a page to the bin in this way.
    let post = edge.request("POST", "/", &[("X-HTTP-Method-Override", "DELETE")], b"").await;
    assert_eq!(post.text(), "DELETE");
    assert_eq!(edge.get_with("/", &[("X-HTTP-Method-Override", "DELETE")]).await.text(), "none");
    edge.stored(1).await;
    assert_eq!(edge.get("/").await.text(), "none");
}

/// Web cache deception: a victim is made to ask for its own page by a name that looks like a file's.
#[tokio::test]
async fn a_private_page_is_private_whatever_its_name() {
    let origin = FakeOrigin::start().await.unwrap();
    let kinds: [&[(&str, &str)]; 6] = [
        &[("Cache-Control", "private")],
        &[("Cache-Control", "no-store")],
        &[("Cache-Control", "private, max-age=600")],
        &[("Cache-Control", "max-age=600"), ("Set-Cookie", "s=1")],
        &[("Cache-Control", "no-cache, must-revalidate")],
        &[],
    ];
    origin.fallback(move |request| {
        let kind: usize = request.query().and_then(|query| query.parse().ok()).unwrap_or(0);
        let owner = request.header("cookie").unwrap_or("nobody").to_owned();
        kinds[kind].iter().fold(Reply::ok(owner), |reply, (name, value)| reply.header(name, *value))
    });
    let edge = Edge::start(&origin, &[]).await;
    for path in [
        "/account/x.css",
        "/account%2fx.css",
        "/account%2Fx.css",
        "/account;x.css",
        "/account/%0ax.css",
        "/account%00.css",
        "/account%23/x.css",
        "/account%3fx.css",
        "/account/..%2fx.css",
        "/static/..%2faccount/x.js",
        "/static/../account",
        "/account/x.css/",
        "/account.css",
        "/account/favicon.ico",
        "/account/robots.txt",
        "/account/x.avif",
        "//account/x.css",
    ] {
        for (kind, fields) in kinds.iter().enumerate() {
            let target = format!("{path}?{kind}");
            let victim = edge.get_with(&target, &[("Cookie", "victim")]).await;
            assert_eq!((victim.status, victim.text().as_str()), (200, "victim"), "{target}");
            let attacker = edge.get(&target).await;
            assert_eq!(attacker.text(), "nobody", "{target}: {fields:?}");
            assert_ne!(x_cache(&attacker), "HIT", "{target}");
        }
    }
    edge.metric_becomes("edge_cache_stored_total", 0.0).await;
}
