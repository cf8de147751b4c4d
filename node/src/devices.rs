//! What is behind a port: the kernel's devices, or simulated ones.
//!
//! The control side decides *that* a device is to be there; this is *how*. [`KernelDevices`] makes real
//! ones, [`SimulatedDevices`] keeps them in memory, with namespaces that can be deleted and links that can
//! be set down, so that the life cycle of ports is tested without a right and without a kernel.

mod kernel;
mod simulated;
mod watch;

pub use kernel::KernelDevices;
pub(crate) use watch::{LinkWatcher, drain};

pub use simulated::{SimulatedDevices, SimulatedWorld};

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use ipnet::IpNet;
use packet::{MacAddress, Offloads};
use port::Queue;

use crate::config::PortConfig;
use crate::kernel::KernelChange;

/// A device as the control side wants it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceRequest {
    /// What was configured.
    pub port: PortConfig,
    /// The MAC, derived if none was configured.
    pub mac: MacAddress,
    /// Largest IP packet.
    pub mtu_bytes: u32,
    /// Workers: a TAP gets a queue for each.
    pub workers: usize,
    /// Frames of the kernel's queue toward us, for each TAP queue.
    pub queue_frames: u32,
    /// Gateways of default routes inside the namespace, at most one of each family.
    pub default_routes: Vec<IpAddr>,
    /// Whether the pod sees a carrier: not on a port that the operator set down.
    pub carrier: bool,
    /// Of the uplink: the networks of the node's pods. Nothing else that the device hears is copied to the workers but
    /// ARP and neighbor discovery; and what the host itself sends for a pod.
    pub ours: Option<Vec<IpNet>>,
}

/// An open device.
#[derive(Debug)]
pub struct OpenDevice {
    /// One for each worker, or a single one.
    pub queues: Vec<Queue>,
    /// What it takes unfinished.
    pub offloads: Offloads,
    /// Tells it from a later device of the same name; 0 where that cannot happen.
    pub identity: u64,
    /// MAC and largest IP packet of a device that is somebody else's.
    pub given: Option<Given>,
    /// True if it was there already, as after a restart.
    pub adopted: bool,
    /// For the log.
    pub warnings: Vec<String>,
}

/// What a device that is somebody else's has of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Given {
    /// Its MAC, if it has one.
    pub mac: Option<MacAddress>,
    /// Largest IP packet that it takes.
    pub mtu_bytes: u32,
}

/// What became of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// It is there; a link that is not up carries nothing.
    There {
        /// See [`OpenDevice::identity`].
        identity: u64,
        /// Administratively up; of a device that is somebody else's, also with carrier.
        up: bool,
        /// Largest IP packet, of a device that is somebody else's.
        mtu_bytes: Option<u32>,
    },
    /// It is not there, or its namespace is not.
    Missing,
}

/// Why a device could not be opened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// Its namespace is not there (yet, or any more).
    #[error("{0}")]
    NoNamespace(String),
    /// Somebody else's device is not there (yet, or any more).
    #[error("{0}")]
    NoDevice(String),
    /// Something else of that name is in the way.
    #[error("{0}")]
    InTheWay(String),
    /// The process lacks a right.
    #[error("{0}")]
    NotPermitted(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// What of the kernel's routes is followed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Followed {
    /// The tables.
    pub tables: Vec<u32>,
    /// The protocols; empty: all.
    pub protocols: Vec<u8>,
}

/// What the kernel's stack is not to see of what comes in by the uplink.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Guard {
    /// The uplink's device.
    pub device: String,
    /// Destinations that are ours.
    pub ours: Vec<IpNet>,
    /// Destinations within them that are the node's own.
    pub except: Vec<IpAddr>,
}

/// Is called with what has changed in the kernel, by a thread of its own.
pub type Tell = Box<dyn Fn(Vec<KernelChange>) + Send>;

/// Makes, watches and removes devices. Two implementations: the kernel's and simulated ones.
pub trait Devices: Send {
    /// Makes the device, or adopts the one that a former daemon left.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is left behind.
    fn open(&mut self, request: &DeviceRequest) -> Result<OpenDevice, OpenError>;

    /// Gives the device the carrier that it is to have and, if its link is up, the addresses and default routes
    /// that it lost when it was down. Says what was missing. A device that is not there misses nothing.
    ///
    /// # Errors
    /// A sentence.
    fn restore(&mut self, request: &DeviceRequest) -> Result<Vec<String>, String>;

    /// What became of the device.
    ///
    /// # Errors
    /// A sentence.
    fn presence(&mut self, port: &PortConfig) -> Result<Presence, String>;

    /// Removes the device. It is no error if it is not there.
    ///
    /// # Errors
    /// A sentence.
    fn remove(&mut self, port: &PortConfig) -> Result<(), String>;

    /// Which namespace the port's path stands for now: `None` if there is none there, `Some(0)` for a port
    /// that has no namespace of its own. An open device keeps its namespace alive, so that nothing but this
    /// tells that the pod is gone.
    fn namespace(&mut self, port: &PortConfig) -> Option<u64>;

    /// A socket that becomes readable when a link changes in the port's namespace; `None` if there is nothing
    /// to watch.
    fn watch(&mut self, port: &PortConfig) -> Option<OwnedFd>;

    /// Makes the settings that the host port needs, once its device is open. Returns what could not be done.
    fn prepare_host(&mut self, port: &PortConfig) -> Vec<String>;

    /// Has `tell` called with what the kernel has of devices, addresses, routes and permanent neighbors in the
    /// daemon's namespace, and from then on with each change, until the answer is dropped.
    ///
    /// # Errors
    /// A sentence.
    fn follow_kernel(&mut self, followed: Followed, tell: Tell) -> Result<Box<dyn Send>, String>;

    /// Sees to it that the kernel's stack leaves alone what `guard` says, and nothing else; `None`: nothing. True if
    /// something had to be done about it.
    ///
    /// # Errors
    /// A sentence.
    fn guard_uplink(&mut self, guard: Option<&Guard>) -> Result<bool, String>;

    /// Frames from the device that the kernel dropped before us; `None` if that is not known.
    fn queue_dropped(&mut self, port: &PortConfig) -> Option<u64>;
}
