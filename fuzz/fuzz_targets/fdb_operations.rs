//! See `src/fdb_operations.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::fdb_operations::run(data));
