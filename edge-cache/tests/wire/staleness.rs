//! Stale responses by the operator's word, and variants beyond their budget.

use test_support::gate::Gate;
use test_support::origin::{FakeOrigin, Reply};
use test_support::wait::{DEADLINE, wait_until};

use crate::support::{Edge, x_cache};

fn stale(body: &'static str) -> Reply {
    Reply::ok(body).header("Cache-Control", "max-age=60").header("Age", "65").header("ETag", "\"v1\"")
}

fn detail(response: &test_support::client::Response) -> &str {
    response.header("cache-status").unwrap()
}

#[tokio::test]
async fn within_grace_a_stale_page_is_served_while_one_refresh_runs() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |_| stale("old"));
    let edge = Edge::start(&origin, &["--grace=1h"]).await;
    edge.get("/").await;
    edge.stored(1).await;
    let gate = Gate::new();
    let held = gate.clone();
    origin.route("/", move |_| Reply::ok("new").header("Cache-Control", "max-age=60").held_by(&held));
    for _ in 0..5 {
        let served = edge.get("/").await;
        assert_eq!((x_cache(&served), served.text().as_str()), ("STALE", "old"));
        assert!(detail(&served).ends_with("detail=grace"), "{}", detail(&served));
        assert!(served.header("age").unwrap().parse::<u64>().unwrap() >= 65, "an honest age");
    }
    gate.open();
    edge.stored(2).await;
    let hit = edge.get("/").await;
    assert_eq!((x_cache(&hit), hit.text().as_str()), ("HIT", "new"));
    assert_eq!(origin.count("/"), 2, "one refresh for all of them");
}

#[tokio::test]
async fn grace_also_covers_server_errors_and_must_revalidate_wins() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |_| stale("old"));
    origin.route("/strict", |_| stale("old").header("Cache-Control", "must-revalidate"));
    let edge = Edge::start(&origin, &["--grace=1h"]).await;
    for (count, path) in ["/", "/strict"].into_iter().enumerate() {
        edge.get(path).await;
        edge.stored(count + 1).await;
        origin.route(path, |_| Reply::new(503));
    }
    let served = edge.get("/").await;
    assert_eq!((served.status, x_cache(&served)), (200, "STALE"));
    assert_eq!(edge.get("/strict").await.status, 503);
}

#[tokio::test]
async fn keep_holds_a_page_for_a_dead_origin_only() {
    let mut origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |_| stale("old"));
    let edge = Edge::start(&origin, &["--keep=1h"]).await;
    edge.get("/").await;
    edge.stored(1).await;
    origin.route("/", |_| Reply::new(503));
    assert_eq!(edge.get("/").await.status, 503, "the origin is there and says so");
    origin.stop().await;
    let served = edge.get("/").await;
    assert_eq!((served.status, x_cache(&served), served.text().as_str()), (200, "STALE", "old"));
    assert!(detail(&served).ends_with("detail=origin-failed"), "{}", detail(&served));
}

#[tokio::test]
async fn beyond_their_budget_variants_are_not_stored_and_wait_for_nobody() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |request| {
        let agent = request.header("user-agent").unwrap_or("none").to_owned();
        Reply::ok(agent).header("Cache-Control", "max-age=60").header("Vary", "Accept-Language, User-Agent")
    });
    let edge = Edge::start(&origin, &["--max-variants=2"]).await;
    let ask =
        async |agent: &str| edge.get_with("/", &[("User-Agent", agent), ("Accept-Language", "de")]).await;
    for (count, agent) in ["a", "b"].into_iter().enumerate() {
        ask(agent).await;
        edge.stored(count + 1).await;
    }
    for _ in 0..2 {
        let third = ask("c").await;
        assert_eq!((x_cache(&third), third.text().as_str()), ("MISS", "c"));
    }
    assert!(detail(&ask("d").await).ends_with("detail=variant-budget"));
    for agent in ["a", "b"] {
        let hit = ask(agent).await;
        assert_eq!((x_cache(&hit), hit.text().as_str()), ("HIT", agent), "those that were there stay");
    }
    let name = "edge_cache_variant_budget_exceeded_total{header=\"user-agent\"}";
    wait_until("the field to be named", DEADLINE, async || edge.metrics().await.contains(name)).await;
}
