//! nginx and Apache in front of the gateway, with their stock FastCGI directives.

use std::time::Duration;

use suites::service::Service;
use test_support::client::{self, Client, End};
use test_support::php_fpm::PhpFpm;
use test_support::wait::{DEADLINE, wait_until};
use tokio::time::timeout;

use crate::asking::{Ask, Way};
use crate::load::Load;
use crate::pair::{Files, WORKERS, replica};
use crate::web_server::{Connections, WebServer};

/// Dropped in the order of its fields.
struct Stack {
    web: WebServer,
    gateway: Service,
    _fpm: PhpFpm,
    files: Files,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nginx,
    Apache,
}

impl Stack {
    async fn start(kind: Kind, connections: Connections) -> Self {
        let files = Files::new();
        let fpm = replica(PhpFpm::builder().tcp().max_children(WORKERS.try_into().unwrap()), "a").await;
        let (upstream, workers) = (fpm.address(), WORKERS.to_string());
        let flags = ["--upstream", upstream.as_str(), "--workers-per-upstream", workers.as_str()];
        let gateway = Service::start("fpm-gateway", &flags).await.unwrap();
        let fastcgi = gateway.address().to_string();
        let web = match kind {
            Kind::Nginx => WebServer::nginx(files.docroot(), &fastcgi, connections).await,
            Kind::Apache => WebServer::apache(files.docroot(), &fastcgi, connections).await,
        };
        Self { web, gateway, _fpm: fpm, files }
    }

    async fn in_flight(&self) -> f64 {
        self.gateway.metrics().await.unwrap().value("fpm_gateway_in_flight", &[])
    }

    async fn get(&self, query: &str) -> client::Response {
        client::get(self.web.address(), &format!("/app.php?{query}"), &[]).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx() {
    serves(Kind::Nginx, Connections::Each).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_with_kept_connections() {
    serves(Kind::Nginx, Connections::Kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apache() {
    serves(Kind::Apache, Connections::Each).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apache_with_kept_connections() {
    serves(Kind::Apache, Connections::Kept).await;
}

async fn serves(kind: Kind, connections: Connections) {
    let stack = Stack::start(kind, connections).await;
    parameters(&stack).await;
    bodies(&stack).await;
    heads(&stack).await;
    cut(&stack).await;
    leaving(&stack).await;
    load(&stack).await;
    kept(&stack, connections).await;
    note!("gateway: {}: parameters, bodies, heads, cut responses, clients that leave", stack.web.name);
}

async fn parameters(stack: &Stack) {
    let answer = stack.get("do=server").await;
    let text = answer.text();
    assert_eq!((answer.status, answer.is_complete()), (200, true), "{text}\n{}", stack.web.log());
    // proxy:fcgi:// puts its own scheme in front, which PHP-FPM takes off for Apache alone.
    let script = stack.files.script().display().to_string();
    for line in [
        &format!("SCRIPT_FILENAME={script}"),
        "SCRIPT_NAME=/app.php",
        "REQUEST_URI=/app.php?do=server",
        "QUERY_STRING=do=server",
        "REQUEST_METHOD=GET",
        "REMOTE_ADDR=127.0.0.1",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}:\n{text}");
    }
    let missing = stack.get("do=missing").await;
    assert_eq!((missing.status, missing.text().as_str()), (404, "no such page"));
    let none = client::get(stack.web.address(), "/none.php", &[]).await.unwrap();
    assert_eq!(none.status, 404, "PHP-FPM's own");
}

async fn bodies(stack: &Stack) {
    let body: Vec<u8> =
        (0..5_u32 << 20).map(|n| u8::try_from(n.wrapping_mul(2_654_435_761) >> 24).unwrap()).collect();
    let answer =
        client::request(stack.web.address(), "POST", "/app.php?do=length", &[], &body).await.unwrap();
    let text = answer.text();
    assert_eq!(text, format!("{} {}", body.len(), md5(&body)), "{}", answer.status);

    for query in ["do=large", "do=large&announced"] {
        let answer = stack.get(query).await;
        assert_eq!(
            (answer.status, answer.is_complete(), answer.body.len()),
            (200, true, 20 << 20),
            "{query}"
        );
        assert!(answer.body.chunks(16).all(|piece| piece == b"0123456789abcdef"), "{query}");
    }
}

/// More than 8 KiB each way.
async fn heads(stack: &Stack) {
    let long = "q".repeat(6000);
    let fields = [("X-First", long.as_str()), ("X-Second", long.as_str())];
    let answer = client::get(stack.web.address(), "/app.php?do=headers", &fields).await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "6000 6000"), "{}", stack.web.log());
    let came =
        (0..12).filter(|n| answer.header(&format!("X-Long-{n}")).is_some_and(|value| value.len() == 1000));
    assert_eq!(came.count(), 12);
}

/// The worker dies in the middle: the web server must see that, and its client too.
async fn cut(stack: &Stack) {
    for query in ["do=cut", "do=cut&announced"] {
        let answer = stack.get(query).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        assert!(!answer.is_complete(), "{query}: {:?} of {}", answer.framing, answer.body.len());
        assert_eq!(answer.end, End::Truncated);
    }
    assert_eq!(stack.get("do=page").await.text(), "page", "and goes on");
}

/// A client that leaves gives its worker back: the script ends at its next output.
async fn leaving(stack: &Stack) {
    let mut clients = Vec::new();
    for _ in 0..WORKERS {
        let mut client = Client::connect(stack.web.address()).await.unwrap();
        client.send("GET /app.php?do=stream&ms=60000 HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
        clients.push(client);
    }
    wait_until("all workers to be busy", DEADLINE, async || stack.in_flight().await > 3.5).await;
    drop(clients);
    wait_until("the workers to be free", DEADLINE, async || stack.in_flight().await < 0.5).await;
}

async fn load(stack: &Stack) {
    let load = Load::start(&[Way::Http(stack.web.address())], 16, |n| match n % 4 {
        0 => Ask::post("do=page&ms=10"),
        1 => Ask::get("do=page&ms=10&behind=20"),
        _ => Ask::get("do=page&ms=10"),
    });
    load.more(400).await;
    load.stop().await.assert_none_failed(&format!("{} before the gateway", stack.web.name));
}

/// What is to be kept is kept, and what is not is not.
async fn kept(stack: &Stack, connections: Connections) {
    let open = async || stack.gateway.metrics().await.unwrap().value("fpm_gateway_connections", &[]);
    match connections {
        Connections::Each => wait_until("no connection", DEADLINE, async || open().await < 0.5).await,
        Connections::Kept => {
            assert_eq!(stack.get("do=page").await.text(), "page");
            let closed =
                timeout(Duration::from_secs(1), wait_until("", DEADLINE, async || open().await < 0.5));
            assert!(closed.await.is_err(), "no connection is kept");
        }
    }
}

fn md5(bytes: &[u8]) -> String {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let mut child = Command::new("md5sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).split_whitespace().next().unwrap().to_owned()
}
