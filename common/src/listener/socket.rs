use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener, lookup_host};

use crate::config::ListenOptions;
use crate::net::Address;

/// Why an address cannot be listened on, said to an operator.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error(
        "cannot listen on {address}: the port is taken; stop what uses it or choose another with --listen"
    )]
    Taken { address: Address },
    #[error("cannot listen on {address}: not permitted; ports below 1024 need CAP_NET_BIND_SERVICE")]
    NotPermitted { address: Address },
    #[error("cannot listen on {address}: {cause}")]
    Other { address: Address, cause: io::Error },
}

/// A listening socket's own address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[derive(Debug)]
pub(super) enum Socketed {
    Tcp(TcpListener),
    /// The socket's file is removed when the listener goes.
    Unix(UnixListener, SocketFile),
}

#[derive(Debug)]
pub(super) struct SocketFile(pub(super) PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have removed it before: nothing is left to do then.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Connections that the kernel holds for us; it caps the number at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

pub(super) async fn open(address: &Address, options: &ListenOptions) -> Result<Socketed, ListenError> {
    let result = match address {
        Address::Ip(ip) => tcp(*ip, options),
        Address::Name { host, port } => match lookup_host((host.as_str(), *port)).await {
            Ok(mut found) => match found.next() {
                Some(ip) => tcp(ip, options),
                None => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
            },
            Err(error) => Err(error),
        },
        Address::Unix(path) => unix(path),
    };
    result.map_err(|cause| {
        let address = address.clone();
        match cause.kind() {
            io::ErrorKind::AddrInUse => ListenError::Taken { address },
            io::ErrorKind::PermissionDenied => ListenError::NotPermitted { address },
            _ => ListenError::Other { address, cause },
        }
    })
}

fn tcp(address: SocketAddr, options: &ListenOptions) -> io::Result<Socketed> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `[::]:80` serves IPv4 as well, as with Varnish and HAProxy.
        socket.set_only_v6(false)?;
    }
    // A restart must not wait for the old process' connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(options.reuse_port)?;
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit it: a response is written whole, so Nagle only adds latency.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(Socketed::Tcp(TcpListener::from_std(socket.into())?))
}

fn unix(path: &Path) -> io::Result<Socketed> {
    // A socket that nobody answers is left over from a process that was killed. Anything else that has the
    // name is somebody's, and stays.
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket
        && let Err(error) = std::os::unix::net::UnixStream::connect(path)
        && error.kind() == io::ErrorKind::ConnectionRefused
    {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    Ok(Socketed::Unix(listener, SocketFile(path.to_owned())))
}
