//! See `src/arp_nd.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::arp_nd::run(data));
