//! Where frames enter and leave.
//!
//! A worker owns one [`PortSet`]: its queue of every port, an I/O [engine](EngineKind) and the sleep until
//! one of them has something to say. The queues of devices ([TAPs](tap) and
//! [packet sockets](packet_socket)) are driven by the engine itself, many at once with one system call; every
//! other kind of port ([`memory`]) implements [`PortQueue`] and is polled.
//!
//! Nothing here decides anything about a frame except whether it is one: what is too short, too long or
//! carries metadata that contradict its length never reaches a burst and is reported instead.

mod direct;
mod engine;
mod fault;
pub mod memory;
pub mod packet_socket;
pub mod pcap;
pub mod pcapng;
mod port_set;
mod queue;
mod sys;
pub mod tap;
mod waker;

pub use engine::{EngineKind, UringOptions};
pub use fault::PortFault;
pub use port_set::{PortSet, PortSetOptions, Received, Transmission};
pub use queue::{DeviceQueue, Intake, PortQueue, Queue};
pub use waker::Waker;
