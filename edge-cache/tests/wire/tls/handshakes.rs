use test_support::origin::FakeOrigin;
use test_support::wait::{DEADLINE, wait_until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::serving::site;
use super::support::{Authority, leaf};
use crate::support::Edge;

async fn failed(edge: &Edge, reason: &str) {
    let sample = format!("edge_cache_tls_handshake_failures_total{{reason=\"{reason}\"}}");
    wait_until(&format!("a failure of {reason}"), DEADLINE, async || edge.sample(&sample).await > 0.5).await;
}

#[tokio::test]
async fn the_name_chooses_the_certificate() {
    let origin = FakeOrigin::start().await.unwrap();
    let authority = Authority::of_the_site();
    // By name: it is the first, and the default.
    authority.issue("another", &["another.example", "*.another.example"]);
    let flags = authority.flags();
    let edge = Edge::start(&origin, &flags.each_ref().map(String::as_str)).await;
    let client = authority.client(&[]);
    for name in ["site.example", "another.example", "www.another.example"] {
        client.connect(edge.tls(), name).await.unwrap();
    }
    let unknown = client.connect(edge.tls(), "unknown.example").await.unwrap_err().to_string();
    assert!(unknown.contains("another.example"), "the default is the first: {unknown}");
    failed(&edge, "certificate-refused").await;
    let site = leaf(&client.connect(edge.tls(), "site.example").await.unwrap());
    let another = leaf(&client.connect(edge.tls(), "another.example").await.unwrap());
    assert_ne!(site, another);
}

#[tokio::test]
async fn a_handshake_has_its_time_and_no_more() {
    let (_origin, authority, edge) = site(&["--tls-handshake-timeout=200ms"]).await;
    let mut silent = TcpStream::connect(edge.tls()).await.unwrap();
    let mut dribbling = TcpStream::connect(edge.tls()).await.unwrap();
    dribbling.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    for client in [&mut silent, &mut dribbling] {
        let mut rest = Vec::new();
        // A reset is an end, too.
        let _ = tokio::time::timeout(DEADLINE, client.read_to_end(&mut rest)).await.unwrap();
        assert!(rest.is_empty());
    }
    edge.metric_becomes("edge_cache_tls_handshake_failures_total", 2.0).await;
    failed(&edge, "timeout").await;
    edge.metric_becomes("edge_cache_connections", 0.0).await;
    authority.client(&[]).connect(edge.tls(), "site.example").await.unwrap();
}

#[tokio::test]
async fn plain_http_is_told_to_speak_tls() {
    let (_origin, _authority, edge) = site(&[]).await;
    let response = test_support::client::get(edge.tls(), "/", &[]).await.unwrap();
    assert_eq!((response.status, response.is_complete()), (400, true));
    assert!(response.text().ends_with(".\n"), "all of it");
    assert!(response.text().contains("https://"), "{}", response.text());
    failed(&edge, "http").await;
}

#[tokio::test]
async fn what_is_not_tls_is_closed_and_counted() {
    let (_origin, authority, edge) = site(&[]).await;
    for (bytes, reason) in [
        (&b"\0\0\0\0\0\0\0\0"[..], "not-tls"),
        // A record that says it is a handshake, and is none.
        (&[22, 3, 1, 0, 4, 99, 0, 0, 0][..], "not-tls"),
        (b"", "gone"),
    ] {
        let mut client = TcpStream::connect(edge.tls()).await.unwrap();
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(DEADLINE, client.read_to_end(&mut rest)).await.unwrap();
        failed(&edge, reason).await;
    }
    let stranger = Authority::of_the_site().client(&[]);
    stranger.connect(edge.tls(), "site.example").await.unwrap_err();
    failed(&edge, "certificate-refused").await;
    authority.client(&["h3"]).connect(edge.tls(), "site.example").await.unwrap_err();
    failed(&edge, "nothing-in-common").await;
}
