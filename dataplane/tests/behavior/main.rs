//! What the workers do to frames, each test a claim. Memory ports, manual time; threads only in `threads`.
#![cfg(not(loom))]

mod bridging;
mod frames;
mod rig;
