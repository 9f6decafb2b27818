//! The access log: what each kind of answer leaves in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::client::Client;
use test_support::gate::Gate;
use test_support::origin::{FakeOrigin, Reply};
use test_support::wait::{DEADLINE, wait_for, wait_until};

use crate::support::Edge;

struct Log {
    folder: TempDir,
}

impl Log {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("access.log")
    }

    fn flag(&self) -> String {
        format!("--access-log={}", self.path().display())
    }

    /// Waits for so many lines, and no more.
    async fn lines(&self, count: usize) -> Vec<String> {
        wait_for(&format!("{count} lines"), DEADLINE, async || lines(&self.path(), count)).await
    }

    async fn json(&self, count: usize) -> Vec<Value> {
        self.lines(count).await.iter().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

fn lines(path: &Path, count: usize) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    (lines.len() == count && text.ends_with('\n')).then_some(lines)
}

/// Of one line, these fields.
fn of<const N: usize>(line: &Value, names: [&str; N]) -> Value {
    names
        .iter()
        .map(|name| ((*name).to_owned(), line.get(*name).expect(name).clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

impl Log {
    async fn edge(&self, origin: &FakeOrigin, format: &str, flags: &[&str]) -> Edge {
        let (log, format) = (self.flag(), format!("--access-log-format={format}"));
        let flags: Vec<&str> = [&*log, &*format].into_iter().chain(flags.iter().copied()).collect();
        Edge::start(origin, &flags).await
    }
}

#[tokio::test]
async fn every_kind_of_answer_says_what_was_done_and_why() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |_| Reply::ok("hello").header("Cache-Control", "max-age=60").header("ETag", "\"a\""));
    origin.route("/mine", |_| Reply::ok("mine").header("Cache-Control", "private"));
    let (log, flags) = (Log::new(), ["--trusted-proxies=127.0.0.0/8"]);
    let edge = log.edge(&origin, "json", &flags).await;
    let fields = [
        ("X-Forwarded-For", "198.51.100.7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Request-Id", "id-1"),
        ("Referer", "https://a.example/\"x\\"),
    ];
    edge.get_with("/?a=b", &fields).await;
    edge.stored(1).await;
    edge.get_with("/?a=b", &fields).await;
    edge.get_with("/?a=b", &[fields[1], ("If-None-Match", "\"a\"")]).await;
    edge.request("HEAD", "/?a=b", &[fields[1]], b"").await;
    edge.get("/mine").await;
    edge.request("POST", "/mine", &[], b"x").await;
    edge.get_with("/", &[("Host", "a b")]).await;
    edge.get_with("/none", &[("Cache-Control", "only-if-cached")]).await;
    let all = log.json(8).await;

    let first =
        of(&all[0], ["client", "scheme", "host", "method", "target", "protocol", "referer", "request_id"]);
    let expected = json!({
        "client": "198.51.100.7", "scheme": "https", "host": "site.example", "method": "GET",
        "target": "/?a=b", "protocol": "HTTP/1.1", "referer": "https://a.example/\"x\\", "request_id": "id-1",
    });
    assert_eq!(first, expected);
    let done = ["status", "bytes", "decision", "reason", "stored", "not_stored", "collapsed", "complete"];
    let expected = [
        json!([200, 5, "MISS", "uri-miss", true, null, false, true]),
        json!([200, 5, "HIT", "fresh", null, null, false, true]),
        json!([304, 0, "HIT", "fresh", null, null, false, true]),
        json!([200, 0, "HIT", "fresh", null, null, false, true]),
        json!([200, 4, "MISS", "uri-miss", false, "private", false, true]),
        json!([200, 4, "PASS", "method", null, null, false, true]),
        json!([400, all[6]["bytes"], "ERROR", "error", null, null, false, true]),
        json!([504, all[7]["bytes"], "ERROR", "error", null, null, false, true]),
    ];
    for (line, expected) in all.iter().zip(expected) {
        let got: Value = done.iter().map(|name| line[name].clone()).collect::<Vec<_>>().into();
        assert_eq!(got, expected, "{line}");
        assert!(line["total_us"].as_u64() >= line["first_byte_us"].as_u64(), "{line}");
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
        // The origin's time, where it was asked.
        let asked = matches!(line["decision"].as_str(), Some("MISS" | "PASS"));
        assert_eq!(line["upstream_us"].is_u64(), asked, "{line}");
    }
    assert_eq!(all[0]["ttl"], 60);
    assert!(all[1]["ttl"].as_i64().unwrap() > 50 && all[1]["age"].as_u64().unwrap() < 5, "{}", all[1]);
    assert!(all[4]["request_id"].as_str().unwrap().len() == 32, "made here");
}

#[tokio::test]
async fn what_was_cut_off_and_who_left() {
    let origin = FakeOrigin::start().await.unwrap();
    let gate = Gate::new();
    let (held, body_held) = (gate.clone(), gate.clone());
    origin.route("/cut", |_| Reply::new(200).header("Cache-Control", "no-store").cut(10, "half"));
    origin.route("/cut-fill", |_| Reply::new(200).header("Cache-Control", "max-age=60").cut(10, "half"));
    origin
        .route("/cut-chunked", |_| Reply::new(200).header("Cache-Control", "no-store").cut_chunked(["half"]));
    origin.route("/late", move |_| Reply::ok("late").held_by(&held));
    origin.route("/slow", move |_| {
        Reply::new(200).header("Cache-Control", "max-age=60").chunked(["one", "two"]).body_held_by(&body_held)
    });
    let log = Log::new();
    let edge = log.edge(&origin, "json", &[]).await;
    for (count, path) in ["/cut", "/cut-fill", "/cut-chunked"].into_iter().enumerate() {
        assert!(!edge.get(path).await.is_complete());
        let line = log.json(count + 1).await.remove(count);
        assert_eq!(of(&line, ["status", "complete"]), json!({"status": 200, "complete": false}), "{line}");
    }
    // One leaves before there is an answer, one within it.
    let mut client = Client::connect(edge.address).await.unwrap();
    client.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    gate.arrived(1).await;
    drop(client);
    let line = log.json(4).await.remove(3);
    let expected =
        json!({"status": 499, "decision": "ABORTED", "reason": "client-gone", "complete": false, "bytes": 0});
    assert_eq!(of(&line, ["status", "decision", "reason", "complete", "bytes"]), expected);
    assert!(line["total_us"].as_u64().unwrap() > 0);
    let mut client = Client::connect(edge.address).await.unwrap();
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    client.response_head("GET").await.unwrap();
    drop(client);
    let line = log.json(5).await.remove(4);
    assert_eq!(of(&line, ["status", "complete"]), json!({"status": 200, "complete": false}), "{line}");
    gate.open();
    // And one that ends as it should, of unknown length.
    wait_until("the fetch to be over", DEADLINE, async || edge.metric("edge_cache_fills").await.abs() < 0.5)
        .await;
    assert_eq!(edge.get("/slow?2").await.text(), "onetwo");
    let line = log.json(6).await.remove(5);
    assert_eq!(of(&line, ["bytes", "complete"]), json!({"bytes": 6, "complete": true}), "{line}");
}

#[tokio::test]
async fn who_follows_another_s_fetch() {
    let origin = FakeOrigin::start().await.unwrap();
    let gate = Gate::new();
    let held = gate.clone();
    origin.route("/", move |_| Reply::ok("x").header("Cache-Control", "max-age=60").held_by(&held));
    let log = Log::new();
    let edge = log.edge(&origin, "json", &[]).await;
    let open = async {
        edge.metric_becomes("edge_cache_connections", 2.0).await;
        gate.arrived(1).await;
        // Both are there, so one of them follows.
        wait_until("both to ask", DEADLINE, async || {
            edge.metric("edge_cache_accepted_connections_total").await > 1.5
        })
        .await;
        gate.open();
    };
    tokio::join!(edge.get("/"), edge.get("/"), open);
    let lines = log.json(2).await;
    let leader = lines.iter().find(|line| line["upstream_us"].is_u64()).expect("who led");
    assert_eq!(leader["collapsed"], json!(false));
    let other = lines.iter().find(|line| line["upstream_us"].is_null()).expect("who did not");
    assert!(other["collapsed"] == json!(true) || other["decision"] == json!("HIT"), "{other}");
}

#[tokio::test]
async fn a_format_of_one_s_own() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/", |_| Reply::ok("hello").header("Cache-Control", "max-age=60").header("X-Of", "origin"));
    let log = Log::new();
    let format = r#"%h "%r" %>s %B %{decision}x/%{reason}x %{ttl}x "%{Accept}i" "%{X-Of}o" "%{X-Cache}o""#;
    let edge = log.edge(&origin, format, &[]).await;
    edge.get_with("/", &[("Accept", "a\"b")]).await;
    edge.stored(1).await;
    edge.get("/").await;
    let lines = log.lines(2).await;
    assert_eq!(lines[0], r#"127.0.0.1 "GET / HTTP/1.1" 200 5 MISS/uri-miss 60 "a\"b" "origin" "MISS""#);
    assert!(lines[1].contains(" HIT/fresh ") && lines[1].ends_with(r#" "-" "origin" "HIT""#), "{}", lines[1]);

    let plain = Log::new();
    let edge = plain.edge(&origin, "combined", &[]).await;
    edge.get_with("/", &[("User-Agent", "t")]).await;
    let lines = plain.lines(1).await;
    assert!(lines[0].starts_with("127.0.0.1 - - ["), "{}", lines[0]);
    assert!(lines[0].ends_with(r#""GET / HTTP/1.1" 200 5 "-" "t" MISS"#), "{}", lines[0]);
}

#[tokio::test]
async fn sigusr1_opens_the_file_anew() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|_| Reply::ok("x"));
    let log = Log::new();
    let edge = log.edge(&origin, "%U %%", &[]).await;
    edge.get("/before").await;
    log.lines(1).await;
    let moved = log.folder.path().join("access.log.1");
    std::fs::rename(log.path(), &moved).unwrap();
    let sent = Command::new("kill").args(["-USR1", &std::process::id().to_string()]).status().unwrap();
    assert!(sent.success());
    wait_until("a new file", DEADLINE, async || log.path().exists()).await;
    edge.get("/after").await;
    assert_eq!(log.lines(1).await, ["/after %"]);
    assert_eq!(std::fs::read_to_string(moved).unwrap(), "/before %\n");
}
