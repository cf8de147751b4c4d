//! See `src/frame_parser.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::frame_parser::run(data));
