//! Parts of what is not stored whole (RFC 9111, section 3.3).

use test_support::gate::Gate;
use test_support::origin::{FakeOrigin, Reply};

use crate::support::{Edge, x_cache};

const WHOLE: &str = "0123456789";

fn ranged(range: Option<&str>) -> Reply {
    let fresh = |reply: Reply| reply.header("Cache-Control", "max-age=60").header("ETag", "\"v1\"");
    match range {
        Some("bytes=-3") => fresh(Reply::new(206).body(&WHOLE[7..])).header("Content-Range", "bytes 7-9/10"),
        Some("bytes=2-5") => {
            fresh(Reply::new(206).body(&WHOLE[2..6])).header("Content-Range", "bytes 2-5/10")
        }
        Some(other) => panic!("nobody asks for {other}"),
        None => fresh(Reply::ok(WHOLE)),
    }
}

#[tokio::test]
async fn a_range_at_the_end_waits_for_nothing_before_it_and_brings_the_whole_behind() {
    let origin = FakeOrigin::start().await.unwrap();
    let gate = Gate::new();
    let held = gate.clone();
    origin.route("/", move |request| match request.header("range") {
        Some(range) => ranged(Some(range)),
        None => ranged(None).held_by(&held),
    });
    let edge = Edge::start(&origin, &[]).await;
    let miss = edge.get_with("/", &[("Range", "bytes=-3")]).await;
    assert_eq!((miss.status, x_cache(&miss), miss.text().as_str()), (206, "MISS", "789"));
    assert_eq!(miss.header("content-range"), Some("bytes 7-9/10"));
    edge.stored(1).await;
    for (range, body, content_range) in [
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=8-", "89", "bytes 8-9/10"),
        ("bytes=7-7", "7", "bytes 7-7/10"),
    ] {
        let hit = edge.get_with("/", &[("Range", range)]).await;
        assert_eq!((hit.status, x_cache(&hit), hit.text().as_str()), (206, "HIT", body), "{range}");
        assert_eq!(hit.header("content-range"), Some(content_range));
        assert_eq!(hit.header("content-length"), Some(&*body.len().to_string()));
    }
    gate.open();
    edge.stored(2).await;
    let whole = edge.get("/").await;
    assert_eq!((whole.status, x_cache(&whole), whole.text().as_str()), (200, "HIT", WHOLE));
    assert_eq!(origin.count("/"), 2);
}

#[tokio::test]
async fn a_part_is_never_the_whole() {
    let origin = FakeOrigin::start().await.unwrap();
    // Too large to be stored whole.
    origin.route("/", |request| match request.header("range") {
        Some(range) => {
            let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
            Reply::new(206)
                .body("x".repeat(last - first + 1))
                .header("Content-Range", format!("bytes {first}-{last}/4194304"))
                .header("Cache-Control", "max-age=60")
                .header("Cache-Tags", "film")
        }
        None => Reply::ok("x".repeat(4 << 20)).header("Cache-Control", "max-age=60"),
    });
    let edge =
        Edge::start(&origin, &["--memory=16MiB", "--max-object=2MiB", "--purge-from=127.0.0.0/8"]).await;
    let range = |range: &'static str| [("Range", range)];
    // The first learns that it is too large, and asks again for the range alone.
    assert_eq!(edge.get_with("/", &range("bytes=0-9")).await.status, 206);
    let second = edge.get_with("/", &range("bytes=100-199")).await;
    assert_eq!((second.status, x_cache(&second), second.body.len()), (206, "MISS", 100));
    edge.stored(1).await;
    let part = edge.get_with("/", &range("bytes=150-159")).await;
    assert_eq!((part.status, x_cache(&part), part.body.len()), (206, "HIT", 10));
    assert_eq!(part.header("content-range"), Some("bytes 150-159/4194304"));
    let beyond = edge.get_with("/", &range("bytes=150-209")).await;
    assert_eq!((beyond.status, beyond.body.len()), (206, 60));
    assert!(beyond.header("cache-status").unwrap().contains("fwd=partial"), "{beyond:?}");
    let whole = edge.get("/").await;
    assert_eq!((whole.status, whole.body.len()), (200, 4 << 20));
    assert!(whole.header("cache-status").unwrap().contains("fwd=partial"), "{whole:?}");
    // What is invalidated is gone with all its parts.
    let purge = edge.request("PURGE", "/", &[("Cache-Tags", "film")], b"").await;
    assert_eq!(purge.status, 200);
    let gone = edge.get_with("/", &range("bytes=150-159")).await;
    assert!(gone.header("cache-status").unwrap().contains("fwd=uri-miss"), "{gone:?}");
}
