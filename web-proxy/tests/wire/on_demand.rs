//! Files that the application makes when they are first asked for.

use std::fs;
use std::path::PathBuf;

use futures_util::future::join_all;
use tempfile::TempDir;
use test_support::client::{Client, Response};
use test_support::fastcgi_app::{Exchange, FakeFastCgiApp, Outcome, page};
use test_support::gate::Gate;
use test_support::wait::{DEADLINE, wait_until};

use crate::support::Proxy;

const CSS: &str = "/sites/default/files/css/css_abc.css?delta=0&include=x";
const CONTENT: &str = "body { color: red }";

struct Site {
    proxy: Proxy,
    app: FakeFastCgiApp,
    file: PathBuf,
}

/// With an application that gets the place of the file.
async fn site<F, Fut>(handler: F) -> Site
where
    F: Fn(Exchange, PathBuf) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Outcome> + Send + 'static,
{
    let docroot = TempDir::new().unwrap();
    fs::create_dir_all(docroot.path().join("sites/default/files/css")).unwrap();
    fs::write(docroot.path().join("index.php"), "").unwrap();
    let file = docroot.path().join("sites/default/files/css/css_abc.css");
    let place = file.clone();
    let app = FakeFastCgiApp::tcp(move |exchange| handler(exchange, place.clone())).await.unwrap();
    let proxy = Proxy::serve(docroot, &app.address(), &["--preset=drupal"]).await;
    Site { proxy, app, file }
}

/// As Drupal answers for what it has just made.
fn first_answer() -> String {
    format!("Content-Type: text/css\r\nCache-Control: private, no-store\r\n\r\n{CONTENT}")
}

impl Site {
    async fn outcome(&self, outcome: &str) -> f64 {
        self.proxy.metrics().await.value("web_proxy_on_demand_total", &[("outcome", outcome)])
    }

    /// Waits until so many requests are under way, beside those that the metrics' own page makes.
    async fn under_way(&self, count: f64) {
        self.proxy.metric_becomes("web_proxy_requests_in_flight", count).await;
    }
}

fn is_of_the_disk(response: &Response) -> bool {
    assert_eq!((response.status, response.text().as_str()), (200, CONTENT));
    response.header("cache-control").is_some_and(|value| value.contains("max-age=31536000"))
}

#[tokio::test]
async fn one_run_makes_it_for_all() {
    let gate = Gate::new();
    let held = gate.clone();
    let site = site(move |mut exchange, file| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            fs::write(file, CONTENT)?;
            exchange.respond(first_answer()).await
        }
    })
    .await;
    let clients = join_all((0..20).map(|_| site.proxy.get(CSS)));
    let opening = async {
        gate.arrived(1).await;
        site.under_way(20.0).await;
        gate.open();
    };
    let (responses, ()) = tokio::join!(clients, opening);
    assert_eq!(responses.iter().filter(|response| !is_of_the_disk(response)).count(), 1);
    assert_eq!(site.app.requests().len(), 1);
    assert_eq!(site.app.requests()[0].param("QUERY_STRING"), "delta=0&include=x");
    assert!((site.outcome("made").await - 1.0).abs() < 0.1);
    assert!(is_of_the_disk(&site.proxy.get(CSS).await));
    site.proxy.is_idle().await;
}

#[tokio::test]
async fn what_is_refused_to_one_is_asked_by_each() {
    let gate = Gate::new();
    let held = gate.clone();
    let site = site(move |mut exchange, _| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            exchange.respond("Status: 403 Forbidden\r\n\r\nno").await
        }
    })
    .await;
    let clients = join_all((0..5).map(|_| site.proxy.get(CSS)));
    let opening = async {
        gate.arrived(1).await;
        site.under_way(5.0).await;
        gate.open();
    };
    let (responses, ()) = tokio::join!(clients, opening);
    assert!(responses.iter().all(|response| response.status == 403));
    assert_eq!(site.app.requests().len(), 5);
}

#[tokio::test]
async fn whoever_leads_may_leave() {
    let gate = Gate::new();
    let held = gate.clone();
    let site = site(move |mut exchange, file| {
        let gate = held.clone();
        async move {
            if gate.arrivals() == 0 {
                // The first one's work is in vain.
                gate.pass().await;
                return Ok(());
            }
            fs::write(file, CONTENT)?;
            exchange.respond(first_answer()).await
        }
    })
    .await;
    let mut leader = Client::connect(site.proxy.address).await.unwrap();
    leader.send(format!("GET {CSS} HTTP/1.1\r\nHost: a\r\n\r\n")).await.unwrap();
    gate.arrived(1).await;
    let follower = site.proxy.get(CSS);
    let leaving = async {
        site.under_way(2.0).await;
        drop(leader);
    };
    let (response, ()) = tokio::join!(follower, leaving);
    assert_eq!((response.status, response.text().as_str()), (200, CONTENT));
    gate.open();
    site.proxy.is_idle().await;
}

#[tokio::test]
async fn another_replica_makes_it() {
    let site = site(|mut exchange, file| async move {
        exchange.respond("Status: 503 Service Unavailable\r\nRetry-After: 3\r\n\r\nin progress").await?;
        fs::write(file, CONTENT)?;
        Ok(())
    })
    .await;
    assert!(is_of_the_disk(&site.proxy.get(CSS).await));
    assert!((site.outcome("elsewhere").await - 1.0).abs() < 0.1);
    assert_eq!(site.app.requests().len(), 1);
}

#[tokio::test]
async fn a_file_that_is_being_written_is_waited_for() {
    let gate = Gate::new();
    let held = gate.clone();
    let site = site(move |mut exchange, file| {
        let gate = held.clone();
        async move {
            fs::write(&file, &CONTENT[..7])?;
            gate.pass().await;
            fs::write(&file, CONTENT)?;
            exchange.respond(first_answer()).await
        }
    })
    .await;
    let opening = async {
        gate.arrived(1).await;
        let second = site.proxy.get(CSS);
        let opening = async {
            site.under_way(2.0).await;
            gate.open();
        };
        tokio::join!(second, opening).0
    };
    let (first, second) = tokio::join!(site.proxy.get(CSS), opening);
    assert_eq!(first.text(), CONTENT);
    assert!(is_of_the_disk(&second));
}

#[tokio::test]
async fn nobody_remembers_that_it_was_missing() {
    let site = site(|mut exchange, _| async move { exchange.respond(page("")).await }).await;
    for _ in 0..2 {
        assert_eq!(site.proxy.get(CSS).await.text(), "");
    }
    fs::write(&site.file, CONTENT).unwrap();
    assert!(is_of_the_disk(&site.proxy.get(CSS).await));
    // What is not read is no request for a file; and what no rule calls lazy is not collapsed.
    fs::remove_file(&site.file).unwrap();
    assert_eq!(site.proxy.request("POST", CSS, &[], b"x").await.status, 200);
    let pages = join_all((0..3).map(|_| site.proxy.get("/node/1"))).await;
    assert!(pages.iter().all(|response| response.status == 200));
    wait_until("six runs", DEADLINE, async || site.app.requests().len() == 6).await;
}
