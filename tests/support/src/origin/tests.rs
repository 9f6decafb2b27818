#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::client::{self, Client};
use crate::gate::Gate;

#[tokio::test]
async fn answers_and_records() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/a", |request| Reply::ok(format!("{:?}", request.query())).header("X-Y", "z"));
    let response = client::get(origin.address(), "/a?b=c", &[]).await.unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "Some(\"b=c\")"));
    assert_eq!(response.header("x-y"), Some("z"));
    assert_eq!(client::get(origin.address(), "/b", &[]).await.unwrap().status, 404);

    let mut client = Client::connect(origin.address()).await.unwrap();
    client.request("POST", "/a", &[], b"hello").await.unwrap();
    let head = client.request("HEAD", "/a", &[], b"").await.unwrap();
    assert!(head.is_complete() && head.body.is_empty());
    assert_eq!((origin.count("/a"), origin.connections()), (3, 3));
    assert_eq!(origin.requests()[2].body, b"hello");
}

#[tokio::test]
async fn misbehaves() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/cut", |_| Reply::new(200).cut(10, "half"));
    origin.route("/chunks", |_| Reply::new(200).chunked(["a", "bc"]));
    origin.route("/cut-chunks", |_| Reply::new(200).cut_chunked(["a", "bc"]));
    origin.route("/close", |_| Reply::new(200).until_close("abc"));
    origin.route("/hang-up", |_| Reply::hang_up());
    origin.route("/reset", |_| Reply::reset());
    for (path, body, complete) in [
        ("/cut", "half", false),
        ("/chunks", "abc", true),
        ("/cut-chunks", "abc", false),
        ("/close", "abc", true),
    ] {
        let response = client::get(origin.address(), path, &[]).await.unwrap();
        assert_eq!((response.text().as_str(), response.is_complete()), (body, complete), "{path}");
    }
    assert!(client::get(origin.address(), "/hang-up", &[]).await.is_err());
    let reset = client::get(origin.address(), "/reset", &[]).await.unwrap_err();
    assert!(format!("{reset:#}").contains("reset"), "{reset:#}");
}

#[tokio::test]
async fn holds_and_notices_who_left() {
    let origin = FakeOrigin::start().await.unwrap();
    let gate = Gate::new();
    let held = gate.clone();
    origin.route("/", move |_| Reply::ok("late").held_by(&held));
    let address = origin.address();
    let waiting = tokio::spawn(async move { client::get(address, "/", &[]).await });
    gate.arrived(1).await;
    let mut leaver = Client::connect(address).await.unwrap();
    leaver.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    gate.arrived(2).await;
    drop(leaver);
    wait_until("the origin to notice", DEADLINE, async || origin.abandoned() == 1).await;
    gate.open();
    assert_eq!(waiting.await.unwrap().unwrap().text(), "late");
}

#[tokio::test]
async fn stops_and_comes_back() {
    let mut origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|_| Reply::ok("up"));
    let mut idle = Client::connect(origin.address()).await.unwrap();
    idle.request("GET", "/", &[], b"").await.unwrap();
    origin.stop().await;
    assert!(idle.is_closed().await);
    assert!(client::get(origin.address(), "/", &[]).await.is_err());
    origin.restart().await.unwrap();
    assert_eq!(client::get(origin.address(), "/", &[]).await.unwrap().text(), "up");
}
