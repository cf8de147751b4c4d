//! See `src/lpm_operations.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::lpm_operations::run(data));
