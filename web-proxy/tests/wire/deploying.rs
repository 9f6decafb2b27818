//! A site that is deployed by swapping the link to its release.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use test_support::client::{Client, End};
use test_support::fastcgi_app::{FakeFastCgiApp, page};
use test_support::gate::Gate;
use test_support::wait::{DEADLINE, wait_until};

use crate::support::Proxy;

fn release(folder: &Path, name: &str) {
    let web = folder.join(name).join("web");
    fs::create_dir_all(&web).unwrap();
    fs::write(web.join("index.php"), "").unwrap();
    fs::write(web.join("release.txt"), name).unwrap();
    fs::write(web.join("large.bin"), vec![name.as_bytes()[0]; 16 << 20]).unwrap();
}

fn swap(folder: &Path, release: &str) {
    symlink(release, folder.join("next")).unwrap();
    fs::rename(folder.join("next"), folder.join("current")).unwrap();
}

#[tokio::test]
async fn a_link_that_is_swapped_is_followed_and_what_is_under_way_ends_where_it_began() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    release(&path, "1");
    release(&path, "2");
    swap(&path, "1");
    let gate = Gate::new();
    let app = {
        let gate = gate.clone();
        FakeFastCgiApp::tcp(move |mut exchange| {
            let gate = gate.clone();
            async move {
                if exchange.param("REQUEST_URI") == "/slow" {
                    gate.pass().await;
                }
                let script = exchange.param("SCRIPT_FILENAME");
                exchange.respond(page(&script)).await
            }
        })
        .await
        .unwrap()
    };
    let docroot = format!("--docroot={}", path.join("current/web").display());
    let proxy = Proxy::start(&app.address(), &[&docroot]).await;
    let script = |release: &str| path.join(release).join("web/index.php").display().to_string();
    assert_eq!(proxy.get("/release.txt").await.text(), "1");
    assert_eq!(proxy.get("/node").await.text(), script("1"));

    let mut reader = Client::connect_narrow(proxy.address, 4096).await.unwrap();
    reader.send("GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let head = reader.response_head("GET").await.unwrap();
    let mut waiting = Client::connect(proxy.address).await.unwrap();
    waiting.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    gate.arrived(1).await;

    swap(&path, "2");
    wait_until("the new release", DEADLINE, async || proxy.get("/release.txt").await.text() == "2").await;
    assert_eq!(proxy.get("/node").await.text(), script("2"));

    gate.open();
    assert_eq!(waiting.response("GET").await.unwrap().text(), script("1"));
    let mut bytes = 0;
    let end = reader.drain(head.framing, |piece| {
        assert!(piece.iter().all(|byte| *byte == b'1'));
        bytes += piece.len();
    });
    assert_eq!((end.await.unwrap(), bytes), (End::Complete, 16 << 20));

    // Between the two steps of a careless deployment the last release stays.
    fs::remove_file(path.join("current")).unwrap();
    assert_eq!(proxy.get("/release.txt").await.text(), "2");
    swap(&path, "1");
    wait_until("the old release", DEADLINE, async || proxy.get("/release.txt").await.text() == "1").await;
}
