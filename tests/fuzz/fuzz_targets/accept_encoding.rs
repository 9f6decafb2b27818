#![no_main]
mod encodings;

libfuzzer_sys::fuzz_target!(|data: &[u8]| encodings::accepted(data));
