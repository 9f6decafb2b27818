//! The FastCGI codec, both sides: `cargo bench -p bench-micro --bench fastcgi [-- FILTER]`.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;

use bytes::{Buf as _, Bytes, BytesMut};
use common::fastcgi::{
    EndRequest, Limits, Outbound, Params, ProtocolStatus, RequestDecoder, RequestEncoder, ResponseDecoder,
    ResponseEncoder, ResponseEvent, Role,
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

/// What web-proxy tells PHP of a browser's request.
fn params() -> Params {
    let pairs = [
        ("SCRIPT_FILENAME", "/var/www/html/web/index.php"),
        ("SCRIPT_NAME", "/index.php"),
        ("DOCUMENT_ROOT", "/var/www/html/web"),
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_URI", "/node/1?page=2"),
        ("QUERY_STRING", "page=2"),
        ("REQUEST_SCHEME", "https"),
        ("HTTPS", "on"),
        ("REMOTE_ADDR", "192.0.2.1"),
        ("REMOTE_PORT", "4711"),
        ("SERVER_ADDR", "10.0.0.1"),
        ("SERVER_PORT", "443"),
        ("SERVER_NAME", "site.example"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("SERVER_SOFTWARE", "web-proxy/0.1.0"),
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("REDIRECT_STATUS", "200"),
        ("HTTP_HOST", "site.example"),
        ("HTTP_USER_AGENT", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        ("HTTP_ACCEPT", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("HTTP_ACCEPT_LANGUAGE", "en-US,en;q=0.5"),
        ("HTTP_ACCEPT_ENCODING", "gzip, deflate, br"),
        ("HTTP_X_REQUEST_ID", "0123456789abcdef0123456789abcdef"),
    ];
    pairs.into_iter().collect()
}

fn requests(c: &mut Criterion) {
    let mut group = c.benchmark_group("a request");
    let params = params();
    let encode = || {
        let mut out = Outbound::new();
        let encoder = RequestEncoder::new(1);
        encoder.begin(&mut out, Role::Responder, true, black_box(&params));
        encoder.stdin_end(&mut out);
        out
    };
    group.bench_function("encode", |b| b.iter(encode));
    let wire = encode().copy_to_bytes(encode().remaining());
    group.bench_function("decode", |b| {
        b.iter_batched(
            || BytesMut::from(&wire[..]),
            |bytes| {
                let mut decoder = RequestDecoder::new(Limits::default());
                *decoder.buffer() = bytes;
                let mut events = 0;
                while decoder.next_event().unwrap().is_some() {
                    events += 1;
                }
                assert_eq!(events, 3, "begin, parameters, the body's end");
                decoder
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn responses(c: &mut Criterion) {
    let mut group = c.benchmark_group("a response");
    for size in [1 << 10, 100 << 10] {
        let page = Bytes::from(vec![b'x'; size]);
        let encode = || {
            let mut out = Outbound::new();
            let encoder = ResponseEncoder::new(1);
            encoder.stdout(&mut out, black_box(page.clone()));
            encoder.end(
                &mut out,
                EndRequest { app_status: 0, protocol_status: ProtocolStatus::RequestComplete },
            );
            out
        };
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(format!("encode {} KiB", size >> 10), |b| b.iter(encode));
        let wire = encode().copy_to_bytes(encode().remaining());
        group.bench_function(format!("decode {} KiB", size >> 10), |b| {
            b.iter_batched(
                || BytesMut::from(&wire[..]),
                |bytes| {
                    let mut decoder = ResponseDecoder::new(1);
                    *decoder.buffer() = bytes;
                    let mut length = 0;
                    while let Some(event) = decoder.next_event().unwrap() {
                        if let ResponseEvent::Stdout(chunk) = event {
                            length += chunk.len();
                        }
                    }
                    assert_eq!(length, size);
                    decoder
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, requests, responses);
criterion_main!(benches);
