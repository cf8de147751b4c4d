//! Which port? The learning bridge.
//!
//! Everything in this crate is a plain value: no I/O, no clock, no thread, no `unsafe`. Time is an argument:
//! milliseconds since any start that all callers share.
//!
//! - [`Fdb`]: the forwarding database, the one table of the switch that several workers write.
//! - [`Forwarding`]: what the bridge decides for a frame, by [`Fdb::forward`] and [`Fdb::forward_burst`].
//! - [`Binding`]: port security, who may say what on a port.
//! - [`model::ModelBridge`]: the same bridge, slow and obvious, that the tests hold against the fast one.
#![forbid(unsafe_code)]

mod binding;
mod clock;
mod counts;
mod fdb;
mod forward;
pub mod model;
mod sync;
mod table;
mod word;

pub use binding::Binding;
pub use fdb::{EntryKind, Fdb, FdbEntry, FdbError, FdbLimits, FdbStatistics, Learned};
pub use forward::{Addresses, Forwarding};
