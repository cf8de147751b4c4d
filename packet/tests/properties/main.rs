//! Claims about all frames, checked on random ones: against slow models, and against the parsers of smoltcp,
//! pnet and etherparse, which were written independently.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod edits;
mod frames;
mod oracles;
mod parser;
mod segmentation;
