//! The body of the Accept-Encoding fuzz target, on text that resembles such fields: a smoke test without cargo-fuzz.

#[path = "../../tests/fuzz/fuzz_targets/encodings.rs"]
mod encodings;

use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn fields(
        elements in vec(
            (
                prop_oneof![8 => "br|zstd|gzip|x-gzip|GZip|deflate|identity|\\*", 1 => "[a-z!*]{0,5}"],
                prop_oneof![
                    3 => Just(String::new()),
                    4 => "[ \t]{0,2};[ \t]{0,2}[qQ]=(0(\\.[0-9]{0,3})?|1(\\.0{0,3})?)",
                    1 => ";[ -~]{0,8}",
                ],
                prop_oneof![4 => Just(", "), 1 => Just(","), 1 => Just(" ,,\t"), 1 => Just("\n")],
            ),
            0..8,
        )
    ) {
        let text: String = elements.iter().flat_map(|(name, weight, end)| [name, weight.as_str(), end]).collect();
        encodings::accepted(text.as_bytes());
    }

    #[test]
    fn noise(data in vec(any::<u8>(), 0..80)) {
        encodings::accepted(&data);
    }
}
