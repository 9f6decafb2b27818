use std::fs;
use std::path::Path;
use std::time::Duration;

use test_support::origin::{FakeOrigin, Reply};
use test_support::wait::{DEADLINE, wait_until};

use super::support::{Authority, TlsClient, get, leaf, replace, text};
use crate::support::Edge;

async fn reloading(authority: &Authority, file: &Path) -> (FakeOrigin, Edge) {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|_| Reply::ok("page"));
    let flags = authority.flags();
    let edge = Edge::with_file(&origin, file, &flags.each_ref().map(String::as_str)).await;
    (origin, edge)
}

async fn shown(client: &TlsClient, edge: &Edge) -> Vec<u8> {
    leaf(&client.connect(edge.tls(), "site.example").await.unwrap())
}

#[tokio::test]
async fn a_renewed_certificate_counts_for_new_connections() {
    let authority = Authority::of_the_site();
    let file = authority.folder.path().join("edge.toml");
    fs::write(&file, "").unwrap();
    let (_origin, edge) = reloading(&authority, &file).await;
    let client = authority.client(&["http/1.1"]);
    let before = shown(&client, &edge).await;
    let mut live = client.http1(edge.tls(), "site.example").await;
    text(live.send_request(get("/")).await.unwrap()).await;

    authority.issue("site", &["site.example"]);
    wait_until("the new certificate", DEADLINE, async || {
        // Without a session of before, which shows the certificate of before.
        shown(&authority.client(&["http/1.1"]), &edge).await != before
    })
    .await;
    assert_eq!(text(live.send_request(get("/")).await.unwrap()).await, "page", "the connection lives on");
    edge.metric_becomes("edge_cache_certificate_reloads_total", 1.0).await;
}

#[tokio::test]
async fn a_bad_certificate_changes_nothing_and_a_good_one_is_taken_later() {
    let authority = Authority::of_the_site();
    let site = authority.folder.path().join("site.pem");
    let file = authority.folder.path().join("edge.toml");
    fs::write(&file, "").unwrap();
    let (_origin, edge) = reloading(&authority, &file).await;
    let before = shown(&authority.client(&[]), &edge).await;
    replace(&site, "not a certificate");
    let refused = "edge_cache_certificate_reloads_total{outcome=\"refused\"}";
    wait_until("the refusal", DEADLINE, async || edge.sample(refused).await > 0.5).await;
    assert_eq!(shown(&authority.client(&[]), &edge).await, before);
    // Nor does a broken configuration keep a certificate from being renewed.
    fs::write(&file, "nonsense = 1\n").unwrap();
    authority.issue("site", &["site.example"]);
    wait_until("the new certificate", DEADLINE, async || {
        shown(&authority.client(&[]), &edge).await != before
    })
    .await;
}

#[tokio::test]
async fn a_folder_may_be_empty_at_first() {
    let authority = Authority::new();
    let file = authority.folder.path().join("edge.toml");
    fs::write(&file, "").unwrap();
    let (_origin, edge) = reloading(&authority, &file).await;
    let client = authority.client(&[]);
    client.connect(edge.tls(), "site.example").await.unwrap_err();
    assert!(edge.sample("edge_cache_tls_handshake_failures_total{reason=\"no-certificate\"}").await > 0.5);
    assert_eq!(edge.get("/").await.status, 200, "plain HTTP is served meanwhile: a challenge needs it");
    authority.issue("site", &["site.example"]);
    wait_until("the first certificate", DEADLINE, async || {
        client.connect(edge.tls(), "site.example").await.is_ok()
    })
    .await;
    assert!(edge.metric("edge_cache_certificate_expiry_timestamp_seconds").await > 1e9);
}

#[tokio::test]
async fn without_a_configuration_file_certificates_are_watched_too() {
    let authority = Authority::of_the_site();
    let origin = FakeOrigin::start().await.unwrap();
    let flags = authority.flags();
    let edge =
        Edge::watching(&origin, &flags.each_ref().map(String::as_str), Duration::from_millis(100)).await;
    let before = shown(&authority.client(&[]), &edge).await;
    authority.issue("site", &["site.example"]);
    wait_until("the new certificate", DEADLINE, async || {
        shown(&authority.client(&[]), &edge).await != before
    })
    .await;
}
