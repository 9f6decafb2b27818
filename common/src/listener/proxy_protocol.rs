//! HAProxy's PROXY protocol, versions 1 and 2 (haproxy.org/download/2.9/doc/proxy-protocol.txt).
//!
//! The header is read without taking a byte more than it has: what follows belongs to the connection.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

use super::Peer;

#[derive(Debug, thiserror::Error)]
pub enum ProxyProtocolError {
    #[error("the connection does not begin with a PROXY protocol header")]
    Missing,
    #[error("malformed PROXY protocol header")]
    Malformed,
    #[error("no PROXY protocol header in time")]
    TimedOut,
    #[error("cannot read the PROXY protocol header: {0}")]
    Io(#[from] io::Error),
}

const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// "107-byte buffer … large enough to contain the longest line" (section 2.1).
const V1_LONGEST: usize = 107;
/// Addresses of AF_UNIX are the longest; the rest is TLVs, which are read and dropped.
const V2_LONGEST: usize = 4096;

/// The peer that the header names, or `None` for `LOCAL` and `UNKNOWN`: the connection's own peer counts.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<Peer>, ProxyProtocolError> {
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    if start == V2_SIGNATURE {
        return read_v2(stream).await;
    }
    if !start.starts_with(b"PROXY ") {
        return Err(ProxyProtocolError::Missing);
    }
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() >= V1_LONGEST {
            return Err(ProxyProtocolError::Malformed);
        }
        line.push(stream.read_u8().await?);
    }
    parse_v1(&line)
}

fn parse_v1(line: &[u8]) -> Result<Option<Peer>, ProxyProtocolError> {
    let line = std::str::from_utf8(line).map_err(|_| ProxyProtocolError::Malformed)?;
    let mut words = line.trim_end_matches("\r\n").split(' ').skip(1);
    let mut word = || words.next().ok_or(ProxyProtocolError::Malformed);
    let family = word()?;
    if family == "UNKNOWN" {
        return Ok(None);
    }
    let malformed = |_| ProxyProtocolError::Malformed;
    let (client, local) = (word()?, word()?);
    let (client_port, local_port) = (word()?, word()?);
    let client: IpAddr = client.parse().map_err(malformed)?;
    let local: IpAddr = local.parse().map_err(malformed)?;
    let port = |text: &str| text.parse::<u16>().map_err(|_| ProxyProtocolError::Malformed);
    let expected = match family {
        "TCP4" => client.is_ipv4() && local.is_ipv4(),
        "TCP6" => client.is_ipv6() && local.is_ipv6(),
        _ => false,
    };
    if !expected || words.next().is_some() {
        return Err(ProxyProtocolError::Malformed);
    }
    Ok(Some(Peer::Tcp {
        client: SocketAddr::new(client, port(client_port)?),
        local: SocketAddr::new(local, port(local_port)?),
    }))
}

async fn read_v2(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<Peer>, ProxyProtocolError> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let [version_command, family, length @ ..] = head;
    let length = usize::from(u16::from_be_bytes(length));
    if version_command >> 4 != 2 || length > V2_LONGEST {
        return Err(ProxyProtocolError::Malformed);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    match version_command & 0xf {
        0 => Ok(None),
        1 => parse_v2(family, &body),
        _ => Err(ProxyProtocolError::Malformed),
    }
}

fn parse_v2(family: u8, body: &[u8]) -> Result<Option<Peer>, ProxyProtocolError> {
    fn ports(bytes: &[u8]) -> Option<(u16, u16)> {
        let (client, local) = bytes.split_first_chunk::<2>()?;
        Some((u16::from_be_bytes(*client), u16::from_be_bytes(*local.first_chunk::<2>()?)))
    }
    let peer = match family {
        // AF_INET, STREAM
        0x11 => (|| {
            let (client, rest) = body.split_first_chunk::<4>()?;
            let (local, rest) = rest.split_first_chunk::<4>()?;
            let (client_port, local_port) = ports(rest)?;
            Some((
                SocketAddr::new(Ipv4Addr::from(*client).into(), client_port),
                SocketAddr::new(Ipv4Addr::from(*local).into(), local_port),
            ))
        })(),
        // AF_INET6, STREAM
        0x21 => (|| {
            let (client, rest) = body.split_first_chunk::<16>()?;
            let (local, rest) = rest.split_first_chunk::<16>()?;
            let (client_port, local_port) = ports(rest)?;
            Some((
                SocketAddr::new(Ipv6Addr::from(*client).into(), client_port),
                SocketAddr::new(Ipv6Addr::from(*local).into(), local_port),
            ))
        })(),
        // AF_UNSPEC, datagrams and Unix sockets: "the receiver should use the real connection endpoints".
        _ => return Ok(None),
    };
    let (client, local) = peer.ok_or(ProxyProtocolError::Malformed)?;
    Ok(Some(Peer::Tcp { client, local }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    async fn client_of(mut bytes: &[u8]) -> Result<Option<String>, ProxyProtocolError> {
        let peer = read(&mut bytes).await?;
        assert_eq!(bytes, b"rest", "took more or less than the header");
        Ok(peer.map(|peer| format!("{} {}", peer.ip(), peer.port())))
    }

    #[tokio::test]
    async fn version_1() {
        let good: [(&[u8], Option<&str>); 4] = [
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 65535 1\r\nrest", Some("192.0.2.1 65535")),
            (b"PROXY TCP6 2001:db8::1 ::1 7 8\r\nrest", Some("2001:db8::1 7")),
            (b"PROXY UNKNOWN\r\nrest", None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\nrest", None),
        ];
        for (bytes, expected) in good {
            assert_eq!(client_of(bytes).await.unwrap().as_deref(), expected);
        }
        let bad: [&[u8]; 6] = [
            b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 1\r\n",
            b"PROXY TCP4 ::1 ::1 1 1\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 1 1\r\n",
            b"PROXY TCP9 192.0.2.1 192.0.2.2 1 1\r\n",
            &[b"PROXY ".as_slice(), &[b'x'; 200]].concat(),
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        ];
        for bytes in bad {
            let mut stream = bytes;
            assert!(read(&mut stream).await.is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[tokio::test]
    async fn version_2() {
        let header = |command: u8, family: u8, body: &[u8]| {
            let length = u16::try_from(body.len()).unwrap().to_be_bytes();
            [&V2_SIGNATURE, [command, family].as_slice(), &length, body, b"rest"].concat()
        };
        let v4 = [192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x34, 0, 80];
        assert_eq!(client_of(&header(0x21, 0x11, &v4)).await.unwrap().as_deref(), Some("192.0.2.1 4660"));
        let with_tlv = [&v4[..], &[4, 0, 1, 0]].concat();
        assert_eq!(
            client_of(&header(0x21, 0x11, &with_tlv)).await.unwrap().as_deref(),
            Some("192.0.2.1 4660")
        );
        let v6 = [[0; 15].as_slice(), &[1], &[0; 15], &[1], &[0, 7, 0, 8]].concat();
        assert_eq!(client_of(&header(0x21, 0x21, &v6)).await.unwrap().as_deref(), Some("::1 7"));
        assert_eq!(client_of(&header(0x20, 0, &[])).await.unwrap(), None, "LOCAL");
        assert_eq!(client_of(&header(0x21, 0, &[])).await.unwrap(), None, "AF_UNSPEC");
        assert!(client_of(&header(0x21, 0x11, &v4[..5])).await.is_err(), "short");
        assert!(client_of(&header(0x11, 0x11, &v4)).await.is_err(), "version 1 in a version 2 header");
    }
}
