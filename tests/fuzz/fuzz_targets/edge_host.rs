#![no_main]
#[allow(dead_code, reason = "each target uses one of its functions")]
mod hosts;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    hosts::canonical(data);
    hosts::normalised(data);
});
