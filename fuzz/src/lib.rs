//! What the fuzz targets do with their input, one module a target.
//!
//! The modules need no nightly compiler and nothing of libFuzzer: the ordinary tests include them by path
//! and replay `corpus/` with them.

pub mod arp_nd;
pub mod fdb_operations;
pub mod frame_parser;
pub mod lpm_operations;
pub mod pipeline_step;
