#![no_main]
#[allow(dead_code, reason = "each target uses one of its functions")]
mod strict;

libfuzzer_sys::fuzz_target!(|data: &[u8]| strict::stream(data));
