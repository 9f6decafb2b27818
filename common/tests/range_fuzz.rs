//! The body of the range fuzz target, on bytes that resemble ranges: a smoke test without cargo-fuzz.

#[path = "../../tests/fuzz/fuzz_targets/ranges.rs"]
mod ranges;

use proptest::collection::vec;
use proptest::prelude::*;

/// A length and a field of likely characters, ranges and noise.
fn likely() -> impl Strategy<Value = Vec<u8>> {
    let spec = prop_oneof![
        6 => (0..5000_u64, 0..300_u64).prop_map(|(first, more)| format!("{first}-{}", first + more)),
        1 => any::<(u64, u64)>().prop_map(|(first, last)| format!("{first}-{last}")),
        1 => any::<u64>().prop_map(|count| format!("-{count}")),
        1 => "[0-9, -]{0,8}",
    ];
    let field = vec(spec, 0..20).prop_map(|specs| format!("bytes={}", specs.join(",")));
    let length = prop_oneof![4 => 0..6000_u64, 1 => any::<u64>()];
    (length, prop_oneof![4 => Just(0_u8), 1 => any::<u8>()], field)
        .prop_map(|(length, bits, field)| [&length.to_be_bytes()[..], &[bits], field.as_bytes()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

    #[test]
    fn ranges_of_any_length(data in likely()) {
        ranges::range(&data);
    }

    #[test]
    fn noise(data in vec(any::<u8>(), 0..200)) {
        ranges::range(&data);
    }
}
