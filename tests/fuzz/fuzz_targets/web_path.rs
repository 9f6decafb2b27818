#![no_main]
mod paths;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    paths::paths(data);
});
