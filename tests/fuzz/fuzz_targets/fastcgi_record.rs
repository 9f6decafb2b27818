#![no_main]
#[allow(dead_code, reason = "each target uses one of its functions")]
mod fastcgi;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fastcgi::record(data));
