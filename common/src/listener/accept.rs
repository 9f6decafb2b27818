use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::socket::{self, Bound, ListenError, Socketed};
use super::{Peer, ProxyProtocolError, proxy_protocol};
use crate::config::ListenOptions;
use crate::net::{Address, Stream};

/// A listening socket and the permits of its connections.
#[derive(Debug)]
pub struct Listener {
    socket: Socketed,
    bound: Bound,
    permits: Arc<Semaphore>,
    proxy_protocol: bool,
}

/// One place among the connections served at once; dropping it gives the place back.
#[derive(Debug)]
pub struct ConnectionPermit(#[allow(dead_code, reason = "held for its Drop")] OwnedSemaphorePermit);

/// A connection just taken.
#[derive(Debug)]
pub struct Accepted {
    stream: Stream,
    peer: Peer,
    proxy_protocol: bool,
    permit: ConnectionPermit,
}

/// How long a client may take to send its PROXY protocol header.
const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const BACKOFF_FIRST: Duration = Duration::from_millis(5);
const BACKOFF_LAST: Duration = Duration::from_secs(1);

impl Listener {
    pub async fn bind(address: &Address, options: &ListenOptions) -> Result<Self, ListenError> {
        let socket = socket::open(address, options).await?;
        let bound = match &socket {
            Socketed::Tcp(listener) => Bound::Tcp(
                listener
                    .local_addr()
                    .map_err(|cause| ListenError::Other { address: address.clone(), cause })?,
            ),
            Socketed::Unix(_, file) => Bound::Unix(file.0.clone()),
        };
        let permits = Arc::new(Semaphore::new(options.max_connections as usize));
        Ok(Self { socket, bound, permits, proxy_protocol: options.proxy_protocol })
    }

    /// The address that was bound: the port chosen by the kernel where 0 was asked for.
    pub const fn local(&self) -> &Bound {
        &self.bound
    }

    /// The next connection. Cancel safe: a permit taken for a connection that did not come is returned.
    pub async fn accept(&self) -> Accepted {
        // The semaphore is never closed, so the loop runs once.
        let permit = loop {
            if let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await {
                break ConnectionPermit(permit);
            }
        };
        let mut backoff = BACKOFF_FIRST;
        loop {
            match self.try_accept().await {
                Ok((stream, peer)) => {
                    return Accepted { stream, peer, proxy_protocol: self.proxy_protocol, permit };
                }
                Err(error) if is_of_the_connection(&error) => {}
                // EMFILE, ENFILE, ENOBUFS, ENOMEM: the connection stays in the queue, and so
                // accept would fail again at once. Wait for descriptors to come back.
                Err(error) => {
                    tracing::warn!(%error, ?backoff, listener = %self.bound, "cannot accept");
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF_LAST);
                }
            }
        }
    }

    async fn try_accept(&self) -> io::Result<(Stream, Peer)> {
        match &self.socket {
            Socketed::Tcp(listener) => {
                let (stream, client) = listener.accept().await?;
                let local = stream.local_addr()?;
                Ok((Stream::Tcp(stream), Peer::Tcp { client, local }))
            }
            Socketed::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), Peer::Unix))
            }
        }
    }
}

impl Accepted {
    /// The connection with its client's true address: read from the PROXY protocol header where one is
    /// expected. To be called in the connection's task, since a client may take its time.
    pub async fn identify(self) -> Result<(Stream, Peer, ConnectionPermit), ProxyProtocolError> {
        let Self { mut stream, mut peer, proxy_protocol, permit } = self;
        if proxy_protocol {
            let header = proxy_protocol::read(&mut stream);
            if let Some(told) = tokio::time::timeout(PROXY_HEADER_TIMEOUT, header)
                .await
                .map_err(|_| ProxyProtocolError::TimedOut)??
            {
                peer = told;
            }
        }
        Ok((stream, peer, permit))
    }
}

/// Errors of a connection that was gone before it was accepted (accept(2)).
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpStream;

    use super::*;
    use crate::listener::plain_options;

    async fn listener(options: ListenOptions) -> (Listener, std::net::SocketAddr) {
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), &options).await.unwrap();
        let Bound::Tcp(address) = *listener.local() else { panic!("not TCP") };
        (listener, address)
    }

    #[tokio::test]
    async fn a_permit_is_taken_before_a_connection() {
        let (listener, address) = listener(plain_options(1)).await;
        let _clients =
            (TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap());
        let first = listener.accept().await;
        let second = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(second.is_err(), "a second connection without a permit");
        drop(first);
        listener.accept().await;
    }

    #[tokio::test]
    async fn a_taken_port_is_said_plainly() {
        let (_held, address) = listener(plain_options(1)).await;
        let error = Listener::bind(&Address::Ip(address), &plain_options(1)).await.unwrap_err();
        assert!(matches!(error, ListenError::Taken { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_dead_socket_file_is_replaced_and_removed_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listener = Listener::bind(&Address::Unix(path.clone()), &plain_options(1)).await.unwrap();
        let _client = tokio::net::UnixStream::connect(&path).await.unwrap();
        assert_eq!(listener.accept().await.identify().await.unwrap().1, Peer::Unix);
        drop(listener);
        assert!(!path.exists());
        std::fs::write(&path, "precious").unwrap();
        Listener::bind(&Address::Unix(path.clone()), &plain_options(1)).await.unwrap_err();
        assert!(path.exists(), "a file that is no socket stays");
    }

    #[tokio::test]
    async fn the_proxy_protocol_tells_the_client() {
        let options = ListenOptions { proxy_protocol: true, ..plain_options(9) };
        let (listener, address) = listener(options).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 443\r\nGET /").await.unwrap();
        let (mut stream, peer, _permit) = listener.accept().await.identify().await.unwrap();
        assert_eq!((peer.ip().to_string(), peer.port()), ("192.0.2.7".to_owned(), 4711));
        let mut rest = [0; 5];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut rest).await.unwrap();
        assert_eq!(&rest, b"GET /");
    }
}
