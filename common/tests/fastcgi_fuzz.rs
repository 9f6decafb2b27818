//! The bodies of the fuzz targets, on bytes that resemble FastCGI: a smoke test without cargo-fuzz.

#[path = "../../tests/fuzz/fuzz_targets/fastcgi.rs"]
mod fastcgi;

use common::fastcgi::{Header, RecordType};
use proptest::collection::vec;
use proptest::prelude::*;

/// Records of likely types, ids and contents, with a chance of damage at the end.
fn likely() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![8 => 1..12_u8, 1 => any::<u8>()];
    let id = prop_oneof![8 => 0..4_u16, 1 => any::<u16>()];
    let content = prop_oneof![
        Just(Vec::new()),
        Just(vec![0, 1, 0, 0, 0, 0, 0, 0]),
        Just(vec![0, 1, 1, 0, 0, 0, 0, 0]),
        Just(b"\x04\x01NAMEv\x00\x00".to_vec()),
        vec(prop_oneof![4 => 0..6_u8, 1 => any::<u8>()], 0..64),
        vec(any::<u8>(), 0..3000),
    ];
    let record = (kind, id, content, 0..20_u8).prop_map(|(kind, request_id, content, padding_length)| {
        let kind = RecordType::from_u8(kind);
        let header = Header { kind, request_id, content_length: content.len() as u16, padding_length };
        [&header.encode(), &content[..], &vec![0; padding_length.into()]].concat()
    });
    (vec(record, 0..12), vec(any::<u8>(), 0..12))
        .prop_map(|(records, tail)| [records.concat(), tail].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn record(data in likely()) {
        fastcgi::record(&data);
    }

    #[test]
    fn params(data in vec(prop_oneof![4 => 0..6_u8, 1 => any::<u8>()], 0..400)) {
        fastcgi::params(&data);
    }

    #[test]
    fn request(data in likely()) {
        fastcgi::request(&data);
    }

    #[test]
    fn response(data in likely()) {
        fastcgi::response(&data);
    }

    #[test]
    fn noise(data in vec(any::<u8>(), 0..2000)) {
        fastcgi::record(&data);
        fastcgi::params(&data);
        fastcgi::request(&data);
        fastcgi::response(&data);
    }
}
