#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

struct Echo(AtomicBool);

impl Pages for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }
    fn ready(&self) -> Result<(), String> {
        if self.0.load(Ordering::Relaxed) { Ok(()) } else { Err("no origin".into()) }
    }
    fn routes(&self) -> &'static [(&'static str, &'static str)] {
        &[("/say", "what was said")]
    }
    fn page<'a>(&'a self, request: &'a Request<Bytes>) -> PageFuture<'a> {
        let page = (request.uri().path() == "/say").then(|| {
            text(StatusCode::OK, [request.uri().query().unwrap_or("").as_bytes(), request.body()].concat())
        });
        Box::pin(std::future::ready(page))
    }
}

async fn ask(address: SocketAddr, head: &str, body: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request =
        format!("{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_routes_answer() {
    let shutdown = Shutdown::new(Duration::from_secs(1));
    let admin = Admin::bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = admin.local_addr().unwrap();
    let mut registry = Registry::default();
    telemetry::register_process(&mut registry);
    let echo = Arc::new(Echo(AtomicBool::new(true)));
    admin.serve(registry, vec![echo.clone()], &shutdown);

    assert!(ask(address, "GET /healthz", "").await.starts_with("HTTP/1.1 200"));
    assert!(ask(address, "GET /readyz", "").await.starts_with("HTTP/1.1 200"));
    let metrics = ask(address, "GET /metrics", "").await;
    assert!(metrics.contains("process_resident_memory_bytes ") && metrics.ends_with("# EOF\n"), "{metrics}");
    assert!(ask(address, "GET /", "").await.contains("/echo/say  what was said"));
    assert!(ask(address, "POST /say?a=", "b").await.ends_with("\r\n\r\na=b"));
    assert!(ask(address, "POST /echo/say?a=", "c").await.ends_with("\r\n\r\na=c"));
    assert!(ask(address, "GET /other", "").await.starts_with("HTTP/1.1 404"));
    healthcheck(&Address::Ip(address)).await.unwrap();

    echo.0.store(false, Ordering::Relaxed);
    let unready = ask(address, "GET /readyz", "").await;
    assert!(unready.starts_with("HTTP/1.1 503") && unready.contains("echo: no origin"), "{unready}");
    echo.0.store(true, Ordering::Relaxed);
    shutdown.drain();
    assert!(ask(address, "GET /readyz", "").await.contains("not ready: draining"));
    assert!(ask(address, "GET /healthz", "").await.starts_with("HTTP/1.1 200"), "alive while it drains");
}

#[tokio::test]
async fn a_dead_service_is_unhealthy() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = healthcheck(&Address::Ip(free)).await.unwrap_err();
    assert!(matches!(error, HealthcheckError::Unreachable { .. }), "{error}");
}
