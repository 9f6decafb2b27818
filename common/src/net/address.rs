use std::fmt::{self, Write as _};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpStream, UnixStream};

use super::Stream;

/// Where something listens, as an operator writes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// `127.0.0.1:9000`, `[::1]:9000`, or `:9000` for every address of the host.
    Ip(SocketAddr),
    /// `phpfpm:9000`: a name to be looked up, again and again.
    Name { host: String, port: u16 },
    /// `unix:/run/php/fpm.sock`
    Unix(PathBuf),
}

/// Where a connection goes: an [`Address`] after look-up.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected HOST:PORT or unix:/path")]
pub struct AddressError;

impl FromStr for Address {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') { Ok(Self::Unix(path.into())) } else { Err(AddressError) };
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        let (host, port) = text.rsplit_once(':').ok_or(AddressError)?;
        let port = port.parse().map_err(|_| AddressError)?;
        if host.is_empty() {
            return Ok(Self::Ip(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 0], port))));
        }
        // A host name (RFC 1123), with the underscore that Docker's service names may have.
        let plausible =
            host.len() <= 253 && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if plausible { Ok(Self::Name { host: host.to_owned(), port }) } else { Err(AddressError) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How a connection ended under us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The other side closed or reset it.
    Closed,
    /// The other side is not there any more: nobody acknowledges what is sent.
    Vanished,
}

impl End {
    /// `None` for an error that says nothing of the kind.
    pub fn of(error: &io::Error) -> Option<Self> {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => Some(Self::Closed),
            Kind::TimedOut | Kind::HostUnreachable | Kind::NetworkUnreachable => Some(Self::Vanished),
            _ => None,
        }
    }
}

/// A node that has gone without a word (a cable, a power supply) sends no reset, and whoever waits for its answer would wait for
/// the answer's deadline. A peer that is only slow answers these: its kernel does.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(3))
    .with_interval(Duration::from_secs(1))
    .with_retries(3);

impl Endpoint {
    /// Connects within `timeout`; an expired one is [`io::ErrorKind::TimedOut`].
    pub async fn connect(&self, timeout: Duration) -> io::Result<Stream> {
        let connecting = async {
            match self {
                Self::Tcp(address) => {
                    let stream = TcpStream::connect(address).await?;
                    // Heads and FastCGI records are written whole: waiting for more only adds latency.
                    stream.set_nodelay(true)?;
                    SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE)?;
                    Ok(Stream::Tcp(stream))
                }
                Self::Unix(path) => Ok(Stream::Unix(connect_unix(path)?)),
            }
        };
        tokio::time::timeout(timeout, connecting).await.unwrap_or_else(|_| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no connection to {self} within {timeout:?}"),
            ))
        })
    }
}

/// A Unix socket is connected at once or not at all (EAGAIN: its backlog is full). tokio's own `connect` waits until the
/// socket is reported as writable: a turn through the event loop for what is known already.
fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.connect(&SockAddr::unix(path)?)?;
    UnixStream::from_std(socket.into())
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Appends an address, as `Display` has it. For what every request writes: formatting machinery shows in a profile.
pub fn push_ip(text: &mut String, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            for (at, octet) in ip.octets().into_iter().enumerate() {
                if at > 0 {
                    text.push('.');
                }
                text.push_str(itoa::Buffer::new().format(octet));
            }
        }
        // Writing to a String cannot fail.
        IpAddr::V6(ip) => drop(write!(text, "{ip}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn an_address_is_written_as_it_is_displayed() {
        for ip in ["0.0.0.0", "192.0.2.100", "255.255.255.255", "::1", "2001:db8::7", "::ffff:192.0.2.1"] {
            let ip: IpAddr = ip.parse().unwrap();
            let mut text = String::from(">");
            push_ip(&mut text, ip);
            assert_eq!(text, format!(">{ip}"));
        }
    }

    #[test]
    fn forms() {
        assert_eq!("127.0.0.1:80".parse(), Ok(Address::Ip(([127, 0, 0, 1], 80).into())));
        assert_eq!("[::1]:80".parse::<Address>().unwrap().to_string(), "[::1]:80");
        assert_eq!(":80".parse::<Address>().unwrap().to_string(), "[::]:80");
        assert_eq!("php_fpm:9000".parse(), Ok(Address::Name { host: "php_fpm".into(), port: 9000 }));
        assert_eq!("unix:/run/x.sock".parse(), Ok(Address::Unix("/run/x.sock".into())));
        for bad in ["", "80", "host", "host:", "host:99999", "unix:", "unix:rel", "a b:80", "http://x:80"] {
            assert_eq!(bad.parse::<Address>(), Err(AddressError), "{bad}");
        }
    }
}
