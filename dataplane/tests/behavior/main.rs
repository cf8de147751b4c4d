//! What the workers do to frames, each test a claim. Memory ports, manual time; threads only in `threads`.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

mod accounting;
mod allocations;
mod bridging;
mod captures;
mod churn;
mod cluster;
mod coalescing;
mod counting;
mod drops;
mod faults;
mod floods;
mod frames;
mod handed;
mod icmp_errors;
mod offloads;
mod pods;
mod reverse_path;
mod rig;
mod routed;
mod routed_allocations;
mod routed_drops;
mod routing;
mod soundness;
mod threads;
mod two_nodes;
