//! What a container's HEALTHCHECK runs: images have no shell and no curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;

use crate::net::{Address, Endpoint};

#[derive(Debug, thiserror::Error)]
pub enum HealthcheckError {
    #[error("{address}/healthz: no answer: {cause}")]
    Unreachable { address: String, cause: String },
    #[error("{address}/healthz answered {status}")]
    Unhealthy { address: String, status: StatusCode },
}

const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks the service whose admin listener is configured as `admin` whether it is alive.
pub async fn healthcheck(admin: &Address) -> Result<(), HealthcheckError> {
    let address = admin.to_string();
    let unreachable = |cause: String| HealthcheckError::Unreachable { address: address.clone(), cause };
    let status = tokio::time::timeout(TIMEOUT, ask(admin))
        .await
        .map_err(|_| unreachable(format!("not within {TIMEOUT:?}")))?
        .map_err(|error| unreachable(error.to_string()))?;
    if status.is_success() { Ok(()) } else { Err(HealthcheckError::Unhealthy { address, status }) }
}

async fn ask(admin: &Address) -> Result<StatusCode, Box<dyn std::error::Error + Send + Sync>> {
    let endpoint = match admin {
        Address::Ip(ip) => Endpoint::Tcp(reachable(*ip)),
        Address::Unix(path) => Endpoint::Unix(path.clone()),
        Address::Name { host, port } => {
            let found = tokio::net::lookup_host((host.as_str(), *port)).await?.next();
            Endpoint::Tcp(found.ok_or("the name has no address")?)
        }
    };
    let stream = endpoint.connect(TIMEOUT).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = Request::get("/healthz").header(header::HOST, "localhost").body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    response.into_body().collect().await?;
    drop(sender);
    driver.abort();
    Ok(status)
}

/// A service that listens on every address is asked on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
