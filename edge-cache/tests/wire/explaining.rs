//! `/explain`: what would happen to a request, and why, in words and JSON.

use serde_json::{Value, json};
use test_support::client;
use test_support::gate::Gate;
use test_support::origin::{FakeOrigin, Reply};

use crate::support::Edge;

async fn explain(edge: &Edge, query: &str) -> Value {
    let answer = client::get(edge.admin(), &format!("/explain?{query}"), &[]).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

fn decided(explanation: &Value) -> (&str, &str) {
    (explanation["decision"].as_str().unwrap(), explanation["reason"].as_str().unwrap())
}

#[tokio::test]
async fn why_was_this_a_miss() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |_| {
        Reply::ok("hello")
            .header("Cache-Control", "max-age=60")
            .header("Vary", "Accept-Language")
            .header("Cache-Tags", "node:1 node_list")
    });
    origin.route("/mine", |_| Reply::ok("x").header("Cache-Control", "private, max-age=60"));
    let edge = Edge::start(&origin, &["--preset=drupal"]).await;
    let url = "url=http%3A%2F%2Fsite.example%2F";

    let nothing = explain(&edge, url).await;
    assert_eq!(decided(&nothing), ("MISS", "uri-miss"));
    assert_eq!((&nothing["key"], &nothing["variants"]), (&json!("http://site.example/"), &json!([])));

    edge.get_with("/", &[("Accept-Language", "de")]).await;
    edge.stored(1).await;
    let hit = explain(&edge, &format!("{url}&header=Accept-Language:+de&header=Cookie:+_ga=1")).await;
    assert_eq!(decided(&hit), ("HIT", "fresh"));
    assert_eq!(hit["cookies"], json!({ "sent": ["_ga"], "kept": [] }));
    let variant = &hit["variants"][0];
    assert_eq!(variant["tags"], json!(["node:1", "node_list"]));
    assert_eq!((&variant["lifetime"], &variant["lifetime_from"]), (&json!(60), &json!("max-age")));
    assert_eq!((&variant["chosen"], &variant["bytes"]), (&json!(true), &json!(5)));
    let other = explain(&edge, &format!("{url}&header=Accept-Language:+en")).await;
    assert_eq!(decided(&other), ("MISS", "vary-miss"));
    assert!(other["varies_on"].get("accept-language").is_some(), "{other}");

    let session = format!("{url}&header=Cookie:+SESSd41d8cd98f00b204e9800998ecf8427e=x");
    let pass = explain(&edge, &session).await;
    assert_eq!((decided(&pass), &pass["decided_by"]), (("PASS", "rule"), &json!("session-cookie")));
    edge.get("/mine").await;
    let mine = explain(&edge, "url=http://site.example/mine").await;
    assert_eq!((decided(&mine), &mine["uncacheable"]), (("MISS", "uri-miss"), &json!("private")));
    let post = explain(&edge, &format!("{url}&method=POST")).await;
    assert_eq!(decided(&post), ("PASS", "method"));
    assert_eq!(origin.requests().len(), 2, "nobody was asked for an explanation");
}

#[tokio::test]
async fn in_words_and_in_mistakes() {
    let origin = FakeOrigin::start().await.unwrap();
    let gate = Gate::new();
    let held = gate.clone();
    origin.route("/", move |_| Reply::ok("x").header("Cache-Control", "max-age=60").held_by(&held));
    let edge = Edge::start(&origin, &[]).await;
    let asking = async {
        gate.arrived(1).await;
        let text = [("Accept", "text/plain")];
        let query = "/explain?url=http://site.example/&header=Accept-Language:+de";
        let words = client::get(edge.admin(), query, &text).await.unwrap().text();
        assert!(words.contains("The key is http://site.example/.\nNothing is stored"), "{words}");
        assert!(words.contains("A fetch is under way that it would take part in."), "{words}");
        let wrong = client::get(edge.admin(), "/explain?uri=x", &text).await.unwrap();
        assert_eq!(wrong.status, 400);
        assert!(wrong.text().contains("there is no parameter \"uri\""), "{}", wrong.text());
        gate.open();
    };
    tokio::join!(edge.get("/"), asking);
}
