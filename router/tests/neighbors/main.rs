//! The neighbor table and the waiting room against slow models, with random events and virtual time.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod machine;
mod model;
mod waiting;
