//! The body of the fuzz target, on text that resembles hosts and targets: a smoke test without cargo-fuzz.

#[path = "../../tests/fuzz/fuzz_targets/hosts.rs"]
mod hosts;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

    #[test]
    fn canonical(
        name in prop_oneof![
            "[A-Za-z0-9_.-]{0,12}",
            "\\[[0-9a-fA-F:.%]{0,20}\\]",
            "([a-z]{1,3}\\.){1,100}",
            "\\PC{0,10}",
        ],
        port in prop_oneof!["", ":[0-9]{0,6}", ":80", ":443", "\\PC{0,4}"],
    ) {
        hosts::canonical(format!("{name}{port}").as_bytes());
    }

    #[test]
    fn normalised(
        target in prop_oneof![
            "/[ -~]{0,20}",
            "(http|https|ftp)://[a-zA-Z0-9.@:-]{0,12}[/?]?[a-z%?]{0,10}",
            "\\*",
            "[ -~]{0,10}",
        ],
        host in prop_oneof!["[A-Za-z0-9.:-]{0,12}", "\\[::[0-9a-f]{0,4}\\](:[0-9]{1,5})?"],
    ) {
        hosts::normalised(format!("{target}\n{host}").as_bytes());
        // An absolute target whose host says the same.
        hosts::normalised(format!("http://{host}{target}\n{host}").as_bytes());
    }

    #[test]
    fn noise(data in proptest::collection::vec(any::<u8>(), 0..60)) {
        hosts::canonical(&data);
        hosts::normalised(&data);
    }
}
