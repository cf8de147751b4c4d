//! See `src/pipeline_step/mod.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::pipeline_step::run(data));
