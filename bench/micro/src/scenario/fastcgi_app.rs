//! What is behind fpm-gateway: an application that answers every request with the same page. It looks at the heads of
//! records and not into them, since the codec's instructions are to be counted where the services use it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug)]
pub(super) struct FastCgiApp {
    pub(super) address: SocketAddr,
    pub(super) requests: Arc<AtomicUsize>,
}

const BEGIN_REQUEST: u8 = 1;
const END_REQUEST: u8 = 3;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const GET_VALUES: u8 = 9;
const GET_VALUES_RESULT: u8 = 10;
const KEEP_CONN: u8 = 1;

const PAGE: &str = "X-Powered-By: PHP/8.2.29\r\nContent-type: text/html; charset=UTF-8\r\n\r\n<!DOCTYPE html>\n\
    <html lang=\"en\"><head><title>A page</title></head><body><p>Hello, visitor.</p></body></html>\n";

impl FastCgiApp {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let app = Self { address: listener.local_addr()?, requests: Arc::default() };
        let requests = Arc::clone(&app.requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&requests)));
            }
        });
        Ok(app)
    }
}

/// Until the peer goes, or has asked for no more than one answer. What it asks behind a request is answered behind that.
async fn serve(mut stream: TcpStream, requests: Arc<AtomicUsize>) {
    let (mut buffer, mut keeps) = (Vec::new(), true);
    while stream.read_buf(&mut buffer).await.is_ok_and(|count| count > 0) {
        let (mut read, mut answer, mut ended) = (0, Vec::new(), false);
        while let Some(&[1, kind, id_high, id_low, length_high, length_low, padding, _, ref rest @ ..]) =
            buffer.get(read..)
        {
            let length = usize::from(u16::from_be_bytes([length_high, length_low]));
            if rest.len() < length + usize::from(padding) {
                break;
            }
            let id = [id_high, id_low];
            match kind {
                BEGIN_REQUEST => keeps = rest.get(2).is_some_and(|flags| flags & KEEP_CONN != 0),
                STDIN if length == 0 => {
                    requests.fetch_add(1, Ordering::Relaxed);
                    answer.extend(record(STDOUT, id, PAGE.as_bytes()));
                    answer.extend(record(END_REQUEST, id, &[0; 8]));
                    ended = true;
                }
                GET_VALUES => answer.extend(record(GET_VALUES_RESULT, [0, 0], b"")),
                _ => {}
            }
            read += 8 + length + usize::from(padding);
        }
        buffer.drain(..read);
        if stream.write_all(&answer).await.is_err() || ended && !keeps {
            return;
        }
    }
}

/// As PHP-FPM pads it.
fn record(kind: u8, [high, low]: [u8; 2], content: &[u8]) -> Vec<u8> {
    let padding = content.len().wrapping_neg() & 7;
    let [length_high, length_low] = (content.len() as u16).to_be_bytes();
    let header = [1, kind, high, low, length_high, length_low, padding as u8, 0];
    [&header, content, &[0; 7][..padding]].concat()
}
