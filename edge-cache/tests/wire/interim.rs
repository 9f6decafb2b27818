//! Interim responses (RFC 9110, section 15.2; RFC 8297) over HTTP/1.1.

use test_support::client::Client;
use test_support::gate::Gate;
use test_support::origin::{FakeOrigin, Reply, Step};

use crate::support::{Edge, x_cache};

const HINTS: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nX-Hint: 1\r\n\
    Connection: X-Hop\r\nX-Hop: 1\r\n\r\n";
const PROCESSING: &[u8] = b"HTTP/1.1 102 Processing\r\n\r\n";
const FINAL: &[u8] =
    b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nLink: </b.css>\r\nContent-Length: 5\r\n\r\nhello";

#[tokio::test]
async fn interim_responses_reach_the_client_before_the_answer_and_never_the_store() {
    let origin = FakeOrigin::start().await.unwrap();
    let gates = [("GET", "/", Gate::new()), ("POST", "/post", Gate::new())];
    for (_, path, gate) in gates.clone() {
        origin.route(path, move |_| {
            let early = Step::Bytes([PROCESSING, HINTS].concat().into());
            Reply::script([early, Step::Pass(gate.clone()), Step::Bytes(FINAL.into())])
        });
    }
    let edge = Edge::start(&origin, &[]).await;
    let mut client = Client::connect(edge.address).await.unwrap();
    for (method, path, gate) in gates {
        client
            .send(format!("{method} {path} HTTP/1.1\r\nHost: site.example\r\nContent-Length: 0\r\n\r\n"))
            .await
            .unwrap();
        // Both come while the origin still holds its answer back.
        let mut early = Vec::new();
        while !String::from_utf8_lossy(&early).contains("x-hint: 1\r\n\r\n") {
            early.extend(client.some_bytes().await.unwrap());
        }
        let early = String::from_utf8(early).unwrap();
        assert_eq!(
            early,
            "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\
             x-hint: 1\r\n\r\n"
        );
        gate.open();
        let answer = client.response(method).await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
        assert_eq!(answer.header("x-hint"), None);
        assert_eq!(answer.all("link").collect::<Vec<_>>(), ["</b.css>"]);
    }
    edge.stored(1).await;
    let hit = client.request("GET", "/", &[("Host", "site.example")], b"").await.unwrap();
    assert_eq!((x_cache(&hit), hit.informational.len()), ("HIT", 0));
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_no_interim_response() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.fallback(|_| Reply::raw([HINTS, FINAL].concat()));
    let edge = Edge::start(&origin, &[]).await;
    let mut client = Client::connect(edge.address).await.unwrap();
    client.send("GET / HTTP/1.0\r\nHost: site.example\r\n\r\n").await.unwrap();
    let answer = client.response("GET").await.unwrap();
    assert_eq!((answer.status, answer.informational.len()), (200, 0));
}

#[tokio::test]
async fn interim_responses_are_bounded() {
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/many", |_| Reply::raw([HINTS.repeat(500), FINAL.to_vec()].concat()));
    origin.route("/large", |_| {
        let large = format!("HTTP/1.1 103 Early Hints\r\nX-Large: {}\r\n\r\n", "x".repeat(20_000));
        Reply::raw([large.repeat(3).into_bytes(), FINAL.to_vec()].concat())
    });
    let edge = Edge::start(&origin, &[]).await;
    for (path, most) in [("/many", 16), ("/large", 1)] {
        let answer = edge.get(path).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"), "{path}");
        assert_eq!(answer.informational.len(), most, "{path}");
    }
}

/// Pipelined requests, a slow reader and interim responses: they never come within another response.
#[tokio::test]
async fn interim_responses_never_break_into_an_answer() {
    const LARGE: usize = 3 << 20;
    let origin = FakeOrigin::start().await.unwrap();
    origin.route("/large", |_| {
        let body = vec![b'x'; LARGE];
        Reply::raw(
            [
                HINTS,
                format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {LARGE}\r\n\r\n")
                    .as_bytes(),
                &body,
            ]
            .concat(),
        )
    });
    origin.route("/small", |_| Reply::raw([HINTS, PROCESSING, FINAL].concat()));
    let edge = Edge::start(&origin, &[]).await;
    let mut client = Client::connect_narrow(edge.address, 4096).await.unwrap();
    let request = |path: &str| format!("GET {path}?{} HTTP/1.1\r\nHost: site.example\r\n\r\n", path.len());
    let paths = ["/large", "/small", "/large", "/small", "/small"];
    client.send(paths.map(request).concat()).await.unwrap();
    for path in paths {
        let answer = client.response("GET").await.unwrap();
        let expected = if path == "/large" { LARGE } else { 5 };
        assert_eq!((answer.status, answer.body.len()), (200, expected), "{path}");
        assert!(answer.informational.len() <= 2 && answer.is_complete(), "{path}");
        assert!(answer.informational.iter().all(|interim| [102, 103].contains(&interim.status)), "{path}");
    }
}
