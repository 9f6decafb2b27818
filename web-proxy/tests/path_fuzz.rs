//! The body of the path fuzz target, on trees and requests by chance: a smoke test without cargo-fuzz.

#[allow(clippy::unnecessary_debug_formatting, reason = "names of any bytes")]
#[path = "../../tests/fuzz/fuzz_targets/paths.rs"]
mod paths;

use std::collections::HashSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

#[test]
fn what_is_found_is_what_the_kernel_finds() {
    let mut runner = TestRunner::new(Config { cases: 5000, ..Config::default() });
    let seen = std::cell::RefCell::new(HashSet::new());
    runner
        .run(&vec(any::<u8>(), 0..140), |data| {
            seen.borrow_mut().extend(paths::paths(&data));
            Ok(())
        })
        .expect("paths");
    // By chance each of these comes up.
    for outcome in ["file", "file with a rest", "directory", "nothing", "outside"] {
        assert!(seen.borrow().contains(outcome), "{outcome} among {:?}", seen.borrow());
    }
}
