//! What an attacker sends, for every hop that speaks HTTP/1.1.

/// What an attacker wants to get past a hop. It stands behind every hostile message.
pub const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// Heads that two hops could read in two ways, the answer that each deserves, and its reason in the metrics.
#[allow(clippy::too_many_lines, reason = "a table")]
pub fn ambiguous_heads() -> Vec<(String, u16, &'static str)> {
    let post = |fields: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
    let mut cases = Vec::new();
    for fields in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: 5,6",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length: 5.0",
        "Content-Length: 5 6",
        "Content-Length: \"5\"",
        "Content-Length:",
        "Content-Length: 9223372036854775808",
        "Content-Length: 18446744073709551617",
        "Content-Length: 99999999999999999999999999999999",
    ] {
        cases.push((post(fields), 400, "content-length"));
    }
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
    ] {
        cases.push((post(fields), 400, "length-and-coding"));
    }
    for fields in [
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: x",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding:",
        "transfer-encoding: cow",
        "Content-Length: 5\r\nTransfer-Encoding: \r\n\tchunked",
    ] {
        cases.push((post(fields), 400, "transfer-encoding"));
    }
    cases.push((
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
        400,
        "transfer-encoding",
    ));
    for fields in [
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        "Transfer-Encoding\x0b: chunked",
        "Transfer-Encoding\x0c: chunked",
        "Transfer Encoding: chunked",
        "Content-Length : 5",
        "Content-Length\0: 5",
        "X\r\nContent-Length: 5",
        ": x",
    ] {
        cases.push((post(fields), 400, "field-name"));
    }
    for fields in
        ["X: a\0b", "X: a\x08", "X: a\x7f", "Transfer-Encoding:\x0bchunked", "Transfer-Encoding: chunked\x0b"]
    {
        cases.push((post(fields), 400, "field-value"));
    }
    for fields in ["X: a\r\n Transfer-Encoding: chunked", "X: a\r\n\tb", " X: a"] {
        cases.push((post(fields), 400, "folding"));
    }
    for head in [
        post("X: a\rTransfer-Encoding: chunked"),
        post("X: a\nTransfer-Encoding: chunked"),
        post("X: a\r\r\nContent-Length: 5"),
        "GET / HTTP/1.1\nHost: a\n\n".into(),
        "GET / HTTP/1.1\r\nHost: a\n\r\n".into(),
        "GET / HTTP/1.1\r\nHost: a\r\n\n".into(),
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n".into(),
        "GET /\rHost: a HTTP/1.1\r\nHost: a\r\n\r\n".into(),
    ] {
        cases.push((head, 400, "line-end"));
    }
    for line in [
        "GET /",
        "GET",
        " GET / HTTP/1.1",
        "GET\t/\tHTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / http/1.1",
        "G(ET / HTTP/1.1",
        "GET / HTTP /1.1",
    ] {
        cases.push((format!("{line}\r\nHost: a\r\n\r\n"), 400, "request-line"));
    }
    for version in ["HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/1.10", "HTTP/9"] {
        cases.push((format!("GET / {version}\r\nHost: a\r\n\r\n"), 505, "version"));
    }
    cases.push(("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 505, "version"));
    for target in ["/a b", "/\u{1}", "/a\tb", "/#x", "/<x>", "/account/\u{b}x.css"] {
        cases.push((format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"), 400, "target"));
    }
    cases.push((format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(40_000)), 414, "target-too-long"));
    cases.push((format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(400_000)), 414, "target-too-long"));
    cases.push((post(&format!("X: {}", "a".repeat(70_000))), 431, "head-too-long"));
    cases.push((post(&format!("X: {}", "a".repeat(700_000))), 431, "head-too-long"));
    cases.push((post(&"X: a\r\n".repeat(20_000)), 431, "too-many-fields"));
    cases.push((post(&"X: a\r\n".repeat(260)), 431, "too-many-fields"));
    cases
}

/// Chunked bodies that violate the framing, and the reason in the metrics.
pub fn broken_chunks() -> Vec<(String, &'static str)> {
    let long = format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(20_000));
    let trailer = format!("1\r\nx\r\n0\r\nX: {}\r\n\r\n", "a".repeat(20_000));
    let cases: [(&str, &'static str); 23] = [
        ("5\r\nhellogarbage\r\n0\r\n\r\n", "chunk-end"),
        ("4\r\nhello\r\n0\r\n\r\n", "chunk-end"),
        ("5\r\nhello\n0\r\n\r\n", "chunk-end"),
        ("5\r\nhello0\r\n\r\n", "chunk-end"),
        ("-1\r\nhello\r\n0\r\n\r\n", "chunk-size"),
        ("0x5\r\nhello\r\n0\r\n\r\n", "chunk-size"),
        ("+5\r\nhello\r\n0\r\n\r\n", "chunk-size"),
        (" 5\r\nhello\r\n0\r\n\r\n", "chunk-size"),
        ("5 \r\nhello\r\n0\r\n\r\n", "chunk-size"),
        ("5\nhello\r\n0\r\n\r\n", "chunk-size"),
        ("\r\n", "chunk-size"),
        ("g\r\n", "chunk-size"),
        ("fffffffffffffffff\r\n", "chunk-size"),
        ("10000000000000005\r\nhello\r\n0\r\n\r\n", "chunk-size"),
        ("00000000000000005\r\nhello\r\n0\r\n\r\n", "chunk-size"),
        ("5;a=b\nhello\r\n0\r\n\r\n", "chunk-extension"),
        ("5;a\rb\r\nhello\r\n0\r\n\r\n", "line-end"),
        ("5;a\0b\r\nhello\r\n0\r\n\r\n", "chunk-extension"),
        ("5\r\nhello\r\n0\r\nX y: z\r\n\r\n", "trailer"),
        ("5\r\nhello\r\n0\r\n\n", "trailer"),
        ("5\r\nhello\r\n0\r\n\rGET", "line-end"),
        (&long, "chunk-extension"),
        (&trailer, "trailer"),
    ];
    cases.map(|(body, reason)| (body.to_owned(), reason)).to_vec()
}
