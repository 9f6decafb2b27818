//! The program itself: its verbs, its memory, its end.

use std::process::{Command, Output};

use bytes::Bytes;
use common::fastcgi::{Outbound, RequestEncoder, Role};
use common::net::Endpoint;
use rustix::process::Signal;
use test_support::fastcgi_app::{FakeFastCgiApp, page};
use test_support::process::{Group, free_port, peak_rss};
use test_support::wait::{DEADLINE, wait_until};

use crate::support::{WebServer, params};

const PROGRAM: &str = env!("CARGO_BIN_EXE_fpm-gateway");
const PIECE: usize = 1 << 16;
const PIECES: usize = 1600;

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).env_clear().output().unwrap()
}

#[test]
fn a_configuration_is_checked() {
    let good = run(&["check", "--upstream=dns://tasks.phpfpm:9000", "--workers-per-upstream=5"]);
    let printed = String::from_utf8_lossy(&good.stdout);
    assert!(good.status.success() && printed.contains("workers-per-upstream"), "{printed}");
    let bad = run(&["check", "--queue-timeout=soon"]);
    assert_eq!(bad.status.code(), Some(2));
    let dead = run(&["healthcheck", &format!("--admin=127.0.0.1:{}", free_port().unwrap())]);
    assert_eq!(dead.status.code(), Some(1));
}

#[tokio::test]
async fn a_hundred_megabytes_each_way_in_bounded_memory() {
    let app = FakeFastCgiApp::tcp(|mut exchange| async move {
        let mut length = 0;
        while let Some(chunk) = exchange.stdin().await? {
            length += chunk.len();
        }
        exchange.stdout(page(&length.to_string())).await?;
        for _ in 0..PIECES {
            exchange.stdout(vec![b'd'; PIECE]).await?;
        }
        exchange.end().await
    })
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (listen, admin) = (format!("127.0.0.1:{}", free_port().unwrap()), free_port().unwrap());
    let admin = format!("127.0.0.1:{admin}");
    let mut command = Command::new(PROGRAM);
    command.args(["--listen", &listen, "--admin", &admin, "--upstream", &app.address()]);
    let mut program = Group::spawn(command, &folder.path().join("log")).unwrap();
    let endpoint = Endpoint::Tcp(listen.parse().unwrap());
    wait_until("the program to serve", DEADLINE, async || {
        run(&["healthcheck", "--admin", &admin]).status.success()
    })
    .await;

    let mut web = WebServer::connect(&endpoint).await;
    let mut out = Outbound::new();
    RequestEncoder::new(1).begin(&mut out, Role::Responder, true, &params("/"));
    web.write(out).await;
    for _ in 0..PIECES {
        let mut out = Outbound::new();
        RequestEncoder::new(1).stdin(&mut out, Bytes::from(vec![b'u'; PIECE]));
        web.write(out).await;
    }
    let mut out = Outbound::new();
    RequestEncoder::new(1).stdin_end(&mut out);
    web.write(out).await;
    let answer = web.answer().await.unwrap();
    assert!(answer.body().starts_with((PIECE * PIECES).to_string().as_bytes()));
    assert!(answer.body().len() > PIECE * PIECES);
    let peak = peak_rss(program.pid()).unwrap();
    assert!(peak < 40 << 20, "{} MiB", peak >> 20);

    // An idle connection keeps nobody from leaving.
    program.signal(Signal::TERM).unwrap();
    let status = program.ended(DEADLINE).await.unwrap();
    assert!(status.success(), "{}", program.log());
}
