#![no_main]
mod ranges;

libfuzzer_sys::fuzz_target!(|data: &[u8]| ranges::range(data));
