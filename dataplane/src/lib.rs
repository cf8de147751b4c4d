//! When, and in which order.
//!
//! *Tables decide; the pipeline acts; ports move bytes; the control side publishes.* This crate is where the
//! four meet: a [`Dataplane`] runs workers, each of which takes bursts of frames from its queues, passes them
//! through the stages of the pipeline and sends them on, by the [`Snapshot`] that the control side published
//! last.
//!
//! No worker waits for another: nothing on the way of a frame takes a lock, allocates, or makes a system call
//! beyond the I/O itself. Every mutable word has one writer, but for the cells of the forwarding database.
#![forbid(unsafe_code)]

mod admission;
pub mod capture;
mod control;
pub mod counters;
mod events;
pub mod exchange;
mod fate;
mod finish;
mod handoff;
mod joined;
mod mailbox;
mod pins;
mod pipeline;
mod punts;
mod route;
mod routing;
mod run;
pub mod simulation;
pub mod sleep;
mod snapshot;
mod view;
mod watchdog;
mod wiring;
mod worker;

pub use control::{CommandError, Dataplane, DataplaneConfig, StartError};
pub use events::{Event, Events};
pub use punts::{Punt, Punts};
pub use routing::{HostPort, Link, LinkId, Routing};
pub use snapshot::{PortEntry, PortRole, QueueOwners, Snapshot};
pub use watchdog::{STALL, Watchdog};
pub use worker::{Work, Worker};
