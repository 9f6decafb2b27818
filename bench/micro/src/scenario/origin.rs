//! What is behind edge-cache: an image and a page, as Drupal sends them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug)]
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    pub(super) requests: Arc<AtomicUsize>,
}

/// Bytes of the image's body.
const IMAGE: usize = 1024;
/// Lines of the page's body.
const LINES: usize = 200;

impl Origin {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let origin = Self { address: listener.local_addr()?, requests: Arc::default() };
        let requests = Arc::clone(&origin.requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&requests)));
            }
        });
        Ok(origin)
    }
}

/// Until the client goes.
async fn serve(mut stream: TcpStream, requests: Arc<AtomicUsize>) {
    let mut buffer = Vec::new();
    while stream.read_buf(&mut buffer).await.is_ok_and(|count| count > 0) {
        while let Some(end) = memmem::find(&buffer, b"\r\n\r\n") {
            requests.fetch_add(1, Ordering::Relaxed);
            let answer = if buffer.starts_with(b"GET /logo") { image() } else { page() };
            buffer.drain(..end + 4);
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}

fn image() -> Vec<u8> {
    let body: Vec<u8> = (0..IMAGE).map(|at| (at * 31 % 251) as u8).collect();
    let fields = "Content-Type: image/png\r\nETag: \"5f3c-1024\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
        Cache-Control: public, max-age=86400\r\nAccept-Ranges: bytes\r\n";
    answer(fields, &body)
}

fn page() -> Vec<u8> {
    use std::fmt::Write as _;
    let mut body = String::from("<!DOCTYPE html>\n<html lang=\"en\"><body>\n");
    for line in 0..LINES {
        let _ = writeln!(
            body,
            "<p class=\"node__content\">Paragraph {line} of a page that has {LINES} of them.</p>"
        );
    }
    body.push_str("</body></html>\n");
    let fields = "Content-Type: text/html; charset=UTF-8\r\nCache-Control: max-age=3600, public\r\n\
        ETag: \"1234567890\"\r\nVary: Cookie\r\nX-Generator: Drupal 10 (https://www.drupal.org)\r\n\
        X-Content-Type-Options: nosniff\r\nX-Frame-Options: SAMEORIGIN\r\nContent-language: en\r\n\
        X-Drupal-Dynamic-Cache: MISS\r\nExpires: Sun, 19 Nov 1978 05:00:00 GMT\r\n\
        Cache-Tags: http_response node:1 node_view rendered config:system.site user:1\r\n";
    answer(fields, body.as_bytes())
}

fn answer(fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}
