#![no_main]
mod web;

libfuzzer_sys::fuzz_target!(|data: &[u8]| web::rules(data));
