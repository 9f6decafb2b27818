use std::fmt;
use std::str::FromStr;

use crate::net::{Address, Endpoint};

/// One source of endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An IP address with its port, or a Unix socket.
    Fixed(Endpoint),
    /// `name:port` or `dns://name:port`: every address of the name, followed as it changes.
    Name { host: String, port: u16 },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected HOST:PORT, unix:/path or dns://NAME:PORT")]
pub struct TargetError;

impl FromStr for Target {
    type Err = TargetError;
    fn from_str(text: &str) -> Result<Self, TargetError> {
        let address = text.strip_prefix("dns://").unwrap_or(text);
        match address.parse().map_err(|_| TargetError)? {
            Address::Unix(_) if text.starts_with("dns://") => Err(TargetError),
            Address::Unix(path) => Ok(Self::Fixed(Endpoint::Unix(path))),
            Address::Ip(ip) if ip.port() == 0 || address.starts_with(':') => Err(TargetError),
            Address::Ip(ip) => Ok(Self::Fixed(Endpoint::Tcp(ip))),
            Address::Name { port: 0, .. } => Err(TargetError),
            Address::Name { host, port } => Ok(Self::Name { host, port }),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(endpoint) => endpoint.fmt(f),
            Self::Name { host, port } => write!(f, "dns://{host}:{port}"),
        }
    }
}

impl From<Endpoint> for Target {
    fn from(endpoint: Endpoint) -> Self {
        Self::Fixed(endpoint)
    }
}
