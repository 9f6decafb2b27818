#![no_main]
#[allow(dead_code, reason = "each target uses one of its functions")]
mod fields;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fields::cache_control(data));
