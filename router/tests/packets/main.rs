//! What the router does with packets, on random ones and hostile ones: against slow models, other people's parsers
//! and a whole IP stack that was written independently.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod allocations;
#[path = "../../../dataplane/tests/behavior/counting.rs"]
mod counting;
mod errors;
mod fragments;
mod hostile;
mod stack;
