//! edge-cache in front of an origin that is asked once for each resource.

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::shutdown::Shutdown;
use common::telemetry::Registry;

use super::origin::Origin;
use super::{Stage, request, tcp};
use crate::client::Exchange;

/// Hits: 1 KiB, 304, compressed text, HEAD, and a part.
pub(super) async fn hits() -> anyhow::Result<Stage> {
    let origin = Origin::start().await?;
    let url = format!("http://{}", origin.address);
    let flags = ["--listen=127.0.0.1:0", "--access-log=/dev/null", "--origin", &url];
    let config = edge_cache::Config::from_flags(flags)?;
    let shutdown = Shutdown::new(Duration::from_secs(1));
    let service = edge_cache::bind(config, &mut Registry::default(), &shutdown).await?;
    let address = tcp(&service.bound())?;
    tokio::spawn(service.run());
    let exchange = |line: &str, fields: &str, status, mark| Exchange {
        request: request(line, fields),
        status,
        mark,
        bodiless: false,
    };
    let hit = "\r\nx-cache: HIT";
    let exchanges = vec![
        exchange("GET /logo.png", "", "HTTP/1.1 200 ", hit),
        Exchange {
            bodiless: true,
            ..exchange("GET /logo.png", "If-None-Match: \"5f3c-1024\"\r\n", "HTTP/1.1 304 ", hit)
        },
        exchange("GET /node/1?page=2", "", "HTTP/1.1 200 ", "\r\ncontent-encoding: "),
        Exchange { bodiless: true, ..exchange("HEAD /node/1?page=2", "", "HTTP/1.1 200 ", hit) },
        exchange("GET /logo.png", "Range: bytes=100-299\r\n", "HTTP/1.1 206 ", hit),
    ];
    let requests = origin.requests;
    let behind = Some(Box::new(move || requests.load(Ordering::Relaxed)) as Box<dyn Fn() -> usize>);
    Ok(Stage { address, exchanges, behind, passes: false, _folder: None })
}
