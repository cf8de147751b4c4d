//! What the workers do to frames, each test a claim. Memory ports, manual time; threads only in `threads`.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

mod accounting;
mod allocations;
mod bridging;
mod captures;
mod cluster;
mod coalescing;
mod counting;
mod drops;
mod faults;
mod frames;
mod offloads;
mod pods;
mod rig;
mod threads;
