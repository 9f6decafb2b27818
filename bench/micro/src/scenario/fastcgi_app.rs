//! What is behind fpm-gateway: an application that answers every request with the same page. It knows a request's end by
//! its last record alone, since the codec's instructions are to be counted where the services use it.

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

/// Until the peer goes, or has asked for no more than one answer.
async fn serve(mut stream: TcpStream, requests: Arc<AtomicUsize>) {
    let mut buffer = Vec::new();
    while stream.read_buf(&mut buffer).await.is_ok_and(|count| count > 0) {
        let (answer, keep) = match (&buffer[..], buffer.last_chunk()) {
            ([1, GET_VALUES, ..], _) => (record(GET_VALUES_RESULT, [0, 0], b""), true),
            ([1, BEGIN_REQUEST, ..], Some([1, STDIN, high, low, 0, 0, 0, _])) => {
                requests.fetch_add(1, Ordering::Relaxed);
                let id = [*high, *low];
                let page = record(STDOUT, id, PAGE.as_bytes());
                let keep = buffer.get(10).is_some_and(|flags| flags & KEEP_CONN != 0);
                ([page, record(END_REQUEST, id, &[0; 8])].concat(), keep)
            }
            _ => continue,
        };
        buffer.clear();
        if stream.write_all(&answer).await.is_err() || !keep {
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
