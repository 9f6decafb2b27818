#![no_main]
#[allow(dead_code, reason = "each target uses one of its functions")]
mod edge;

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::target(data));
