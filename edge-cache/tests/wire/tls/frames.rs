//! A client of HTTP/2 that writes frames as it is told, be they right or wrong.

use test_support::wait::DEADLINE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::support::Authority;
use crate::support::Edge;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

pub(crate) struct Frames {
    stream: TlsStream<TcpStream>,
    /// Answers to PING, without which a graceful end does not come to its end.
    pub(crate) is_ponging: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Status(u16),
    /// RST_STREAM with this code.
    Reset(u32),
    /// GOAWAY, or the end of the connection.
    Gone,
}

impl Frames {
    /// With `settings` beside the preface.
    pub(crate) async fn connect(authority: &Authority, edge: &Edge, settings: &[(u16, u32)]) -> Self {
        let mut stream = authority.client(&["h2"]).connect(edge.tls(), "site.example").await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut frames = Self { stream, is_ponging: true };
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        frames.send(SETTINGS, 0, 0, &payload).await;
        frames
    }

    pub(crate) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        // It may have been closed by now: what came of it is read.
        let _ = self.stream.write_all(&frame).await;
        let _ = self.stream.flush().await;
    }

    pub(crate) async fn headers(&mut self, stream: u32, flags: u8, fields: &[(&str, &str)]) {
        self.send(HEADERS, END_HEADERS | flags, stream, &block(fields)).await;
    }

    /// The next frame; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let frame = tokio::time::timeout(DEADLINE, self.read()).await.expect("a frame in time").ok()?;
        if frame.kind == PING && frame.flags & ACK == 0 && self.is_ponging {
            self.send(PING, ACK, 0, &frame.payload).await;
        }
        Some(frame)
    }

    async fn read(&mut self) -> std::io::Result<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await?;
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        Ok(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// What comes of the request on `stream`, read until its end.
    pub(crate) async fn outcome(&mut self, stream: u32) -> (Outcome, Vec<u8>) {
        let (mut status, mut body) = (None, Vec::new());
        while let Some(frame) = self.next().await {
            match frame.kind {
                GOAWAY => break,
                RST_STREAM if frame.stream == stream => {
                    let code = u32::from_be_bytes(frame.payload[..4].try_into().unwrap());
                    // "No error" behind a response says that its request needs no body (RFC 9113, section 8.1).
                    match status {
                        Some(status) if code == 0 => return (Outcome::Status(status), body),
                        _ => return (Outcome::Reset(code), body),
                    }
                }
                HEADERS if frame.stream == stream => status = Some(status_of(&frame.payload)),
                DATA if frame.stream == stream => body.extend_from_slice(&frame.payload),
                _ => continue,
            }
            if frame.stream == stream && frame.flags & END_STREAM != 0 {
                return (Outcome::Status(status.expect("a response's head")), body);
            }
        }
        (Outcome::Gone, body)
    }

    /// Reads until GOAWAY or the end of the connection.
    pub(crate) async fn gone(&mut self) {
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY && frame.payload[..4] != [0x7f, 0xff, 0xff, 0xff] {
                return;
            }
        }
    }
}

/// Fields as HPACK literals that are never indexed (RFC 7541, section 6.2.3).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fn text(block: &mut Vec<u8>, text: &str) {
        match u8::try_from(text.len()) {
            Ok(length) if length < 127 => block.push(length),
            _ => {
                block.push(127);
                let mut rest = text.len() - 127;
                while rest >= 128 {
                    block.push((rest % 128 + 128) as u8);
                    rest /= 128;
                }
                block.push(rest as u8);
            }
        }
        block.extend(text.as_bytes());
    }
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0x10);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

/// The first field of a response: `:status` by its index, or with it and a literal value.
fn status_of(block: &[u8]) -> u16 {
    const KNOWN: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    // A change of the table's size may come first.
    let block = if block[0] & 0xe0 == 0x20 { &block[1..] } else { block };
    match block[0] {
        indexed @ 0x88..=0x8e => KNOWN[usize::from(indexed - 0x88)],
        0x48 | 0x08 | 0x18 => {
            let value = &block[2..2 + usize::from(block[1] & 0x7f)];
            // Digits in Huffman's code are five or six bits: 0, 1 and 2 are 0 to 2, the others 0x19 and on.
            if block[1] & 0x80 == 0 {
                std::str::from_utf8(value).unwrap().parse().unwrap()
            } else {
                digits(value)
            }
        }
        other => panic!("a response begins with {other:#x}"),
    }
}

fn digits(coded: &[u8]) -> u16 {
    let bits: Vec<u8> = coded.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let of =
            |count: usize| bits[at..at + count].iter().fold(0_u16, |sum, bit| sum << 1 | u16::from(*bit));
        let five = of(5);
        let (digit, length) = if five < 3 { (five, 5) } else { (of(6) - 0x19 + 3, 6) };
        number = number * 10 + digit;
        at += length;
    }
    number
}
