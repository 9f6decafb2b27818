//! Taking connections.
//!
//! 1. [`Listener::bind`]: socket options, then `listen`.
//! 2. [`Listener::accept`]: a permit first, so that a full service leaves connections in the kernel's
//!    queue; then accept, waiting out a shortage of file descriptors.
//! 3. [`Accepted::identify`], in the connection's own task: the PROXY protocol header, if one is expected.
//! 4. [`Clients`]: a place among the connections of the same client, where their number has a limit.

mod accept;
mod clients;
mod proxy_protocol;
mod socket;

pub use accept::{Accepted, ConnectionPermit, Listener};
pub use clients::{ClientPlace, Clients};
pub use proxy_protocol::ProxyProtocolError;
pub use socket::{Bound, ListenError};

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::config::ListenOptions;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// The client and the address it reached.
    Tcp { client: SocketAddr, local: SocketAddr },
    /// A process on this host.
    Unix,
}

impl Peer {
    /// The client's address; a Unix socket's peer counts as loopback.
    pub fn ip(&self) -> IpAddr {
        match self {
            Self::Tcp { client, .. } => client.ip().to_canonical(),
            Self::Unix => IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }
    pub fn port(&self) -> u16 {
        match self {
            Self::Tcp { client, .. } => client.port(),
            Self::Unix => 0,
        }
    }
    /// The address that the client reached, if there is one.
    pub fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp { local, .. } => Some(SocketAddr::new(local.ip().to_canonical(), local.port())),
            Self::Unix => None,
        }
    }
}

/// For tests and admin listeners: no PROXY protocol, an unshared port.
pub const fn plain_options(max_connections: u32) -> ListenOptions {
    ListenOptions { max_connections, proxy_protocol: false, reuse_port: false }
}
