#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> Result<(u16, Vec<String>), HeadError> {
    let head = parse(text.as_bytes())?;
    let fields = head.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
    Ok((head.status.as_u16(), fields.collect()))
}

type Expected = Result<(u16, &'static [&'static str]), HeadError>;

#[test]
fn more_fields_than_a_map_holds() {
    let fields = (0..40_000).map(|number| format!("{number:x}:\n")).collect::<Vec<_>>().concat();
    assert!(fields.len() < MAX_HEAD);
    assert_eq!(parse(fields.as_bytes()), Err(HeadError::TooLarge));
}

#[test]
fn heads() {
    let cases: [(&str, Expected); 20] = [
        ("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nX: 1\r\n\r\n", Ok((200, &["x: 1"]))),
        ("Content-Type: text/html\r\n\r\n", Ok((200, &["content-type: text/html"]))),
        ("Content-Type:text/html\n\n", Ok((200, &["content-type: text/html"]))),
        ("Status: 404 Not Found\r\nX: 1\r\n\r\n", Ok((404, &["x: 1"]))),
        ("X: 1\r\nstatus: 500\r\n\r\n", Ok((500, &["x: 1"]))),
        ("\r\n", Ok((200, &[]))),
        ("Location: /x\r\n\r\n", Ok((302, &["location: /x"]))),
        ("Status: 201 Created\r\nLocation: /x\r\n\r\n", Ok((201, &["location: /x"]))),
        ("Set-Cookie: a\r\nSet-Cookie: b\r\n\r\n", Ok((200, &["set-cookie: a", "set-cookie: b"]))),
        ("Connection: close, X-A\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n", Ok((200, &[]))),
        ("Content-Length: 5\r\nContent-Length: 5\r\n\r\n", Ok((200, &["content-length: 5"]))),
        ("Content-Length: 5\r\nContent-Length: 6\r\n\r\n", Err(HeadError::Length)),
        ("Content-Length: +5\r\n\r\n", Err(HeadError::Length)),
        ("Content-Length: five\r\n\r\n", Err(HeadError::Length)),
        ("Status: abc\r\n\r\n", Err(HeadError::Status)),
        ("Status: 100 Continue\r\n\r\n", Err(HeadError::Status)),
        ("PHP Warning\r\n\r\n", Err(HeadError::Field)),
        ("X: 1\r\n folded\r\n\r\n", Err(HeadError::Field)),
        ("X Y: 1\r\n\r\n", Err(HeadError::Field)),
        ("X: a\0b\r\n\r\n", Err(HeadError::Field)),
    ];
    for (text, expected) in cases {
        let expected = expected.map(|(status, fields)| {
            (status, fields.iter().map(|&field| field.to_owned()).collect::<Vec<_>>())
        });
        assert_eq!(parsed(text), expected, "{text:?}");
    }
}

#[test]
fn ends() {
    let cases = [
        ("A: 1\r\n\r\nbody", Some(8)),
        ("A: 1\n\nbody", Some(6)),
        ("A: 1\n\r\nbody\r\n\r\n", Some(7)),
        ("\r\nbody", Some(2)),
        ("\nbody", Some(1)),
        ("A: 1\r\nB: 2\r\n", None),
        ("A: 1", None),
        ("", None),
    ];
    for (text, expected) in cases {
        assert_eq!(end(text.as_bytes(), 0), expected, "{text:?}");
    }
}

proptest! {
    #[test]
    fn the_end_is_found_wherever_pieces_are_cut(text in "[a\r\n]{0,20}", cut in 0_usize..20) {
        let bytes = text.as_bytes();
        let cut = cut.min(bytes.len());
        let whole = end(bytes, 0);
        if end(&bytes[..cut], 0).is_none() {
            prop_assert_eq!(end(bytes, cut), whole);
        }
    }
}
