//! The rig of the end-to-end tests: network namespaces, the daemon inside one of them, and people who talk.
//!
//! - [`Namespace`]: a network namespace that goes away with its value; code runs inside it by [`Namespace::run`].
//! - [`Daemon`]: `flyover run` as a child process, started, signalled, killed and awaited.
//! - [`Rig`]: a node with pods, described by a [`Plan`].
//! - [`RawSocket`]: frames byte for byte, to and from a device.
//! - [`BridgeRig`]: the same ports behind a Linux bridge, for comparison.
//! - [`router`]: the kernel as a router, and what it is compared by.
//! - [`run_root_tests`]: the harness that reports what it cannot run as ignored.
//!
//! Everything made here is named `fly-<process id>-…`, so that test programs never meet and leftovers are recognizable.

mod bird;
mod bridge;
mod cluster;
mod daemon;
mod harness;
mod namespace;
mod rig;
mod sys;
mod talk;
mod wait;

pub mod frames;
pub mod router;
pub mod script;
pub mod workspace;

pub use bird::Bird;
pub use bridge::BridgeRig;
pub use cluster::Cluster;
pub use daemon::{CommandOutput, Daemon, flyover_binary};
pub use harness::{Test, missing_rights, run_root_tests};
pub use namespace::{Namespace, unique_name};
pub use rig::{Plan, Pod, Rig};
pub use sys::RawSocket;
pub use talk::{Trickle, bulk_transfer, connect, exchange, listen, ping, send_cut_datagrams, send_datagrams};
pub use wait::{DEADLINE, wait_until};
