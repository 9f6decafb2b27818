#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use bytes::Buf as _;

use super::*;
use crate::fastcgi::{Header, Record};

fn encoded(params: &Params) -> Vec<Bytes> {
    let mut out = Outbound::new();
    params.encode(RecordType::Params, 1, &mut out);
    let mut bytes = BytesMut::from(&out.copy_to_bytes(out.remaining())[..]);
    let mut contents = Vec::new();
    while let Some(record) = Record::decode(&mut bytes).unwrap() {
        contents.push(record.content);
    }
    assert!(bytes.is_empty());
    contents
}

fn decoded(contents: impl IntoIterator<Item = Bytes>) -> Result<Params, ProtocolError> {
    let mut decoder = ParamsDecoder::new(1 << 24);
    for content in contents {
        decoder.push(content)?;
    }
    decoder.finish()
}

#[test]
fn lengths_take_one_byte_or_four() {
    let cases: [(usize, &[u8]); 4] =
        [(0, &[0]), (127, &[127]), (128, &[0x80, 0, 0, 128]), (70_000, &[0x80, 1, 0x11, 0x70])];
    for (length, prefix) in cases {
        let params: Params = [("N", "v".repeat(length))].into_iter().collect();
        let bytes: Vec<u8> = encoded(&params).concat();
        assert_eq!(&bytes[..=prefix.len()], [&[1], prefix].concat(), "{length}");
        assert_eq!(decoded(encoded(&params)).unwrap(), params);
    }
    // The long form is allowed for short lengths too.
    let long_form = Bytes::from_static(&[0x80, 0, 0, 1, 0x80, 0, 0, 1, b'N', b'v']);
    assert_eq!(decoded([long_form]).unwrap().get("N").unwrap(), "v");
}

#[test]
fn records_are_cut_between_pairs() {
    let params: Params = (0..40).map(|n| (format!("N{n:02}"), "v".repeat(5000))).collect();
    let contents = encoded(&params);
    assert_eq!(contents.len(), 4, "13 pairs of 5008 bytes fit into 65528");
    for content in contents {
        assert!(content.len() <= MAX_SENT);
        assert!(decoded([content]).is_ok(), "a record can be read alone");
    }
}

#[test]
fn the_largest_pair_that_fits_a_record_is_not_cut() {
    let fits: Params = [("N", "v".repeat(MAX_SENT - 6))].into_iter().collect();
    assert_eq!(encoded(&fits).len(), 1);
    let too_long: Params = [("A", "1".into()), ("N", "v".repeat(MAX_SENT - 5)), ("Z", "2".into())]
        .into_iter()
        .collect::<Params>();
    let contents = encoded(&too_long);
    let lengths: Vec<usize> = contents.iter().map(Bytes::len).collect();
    assert_eq!(lengths, [4, MAX_SENT, 1, 4], "the long pair shares its records with no other");
    assert_eq!(decoded(contents).unwrap(), too_long);
}

#[test]
fn the_limit_counts_bytes_and_pairs() {
    let mut decoder = ParamsDecoder::new(1000);
    decoder.push(Bytes::from(vec![0; 20])).unwrap();
    let limit = ProtocolError::ParamsTooLarge { limit: 1000 };
    assert_eq!(decoder.push(Bytes::from(vec![0; 20])), Err(limit.clone()), "20 empty pairs");
    // A pair that announces 2 GiB is refused by the bytes that come, not by what it announces.
    let mut decoder = ParamsDecoder::new(1000);
    decoder.push(Bytes::from_static(&[0xff; 8])).unwrap();
    decoder.push(Bytes::from(vec![0xff; 900])).unwrap();
    assert_eq!(decoder.push(Bytes::from(vec![0xff; 900])), Err(limit));
}

#[test]
fn a_pair_cut_short_is_an_error() {
    for content in [&b"\x01"[..], b"\x01\x01N", b"\x80\0", b"\x01\x00N\x01"] {
        let result = decoded([Bytes::from_static(content)]);
        assert_eq!(result, Err(ProtocolError::TruncatedPair), "{content:?}");
    }
}

#[test]
fn names_may_repeat_and_the_last_counts() {
    let mut params: Params = [("A", "1"), ("B", "2"), ("A", "3")].into_iter().collect();
    assert_eq!(params.get("A").unwrap(), "3");
    assert_eq!(params.remove("A"), 2);
    assert_eq!(params.remove("A"), 0);
    params.push("C", vec![4]);
    params.retain(|name, _| name != b"B");
    assert_eq!(params.iter().collect::<Vec<_>>(), [(&Bytes::from("C"), &Bytes::from(vec![4]))]);
    assert_eq!(Header::padded(RecordType::Params, 1, 9).padding_length, 7);
}
