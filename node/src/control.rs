//! The control side: one owner of everything that is not the workers'.
//!
//! [`Control`] holds the configuration, the ports and the handle on the data plane. It lives on a thread of
//! its own ([`spawn`]) and is reached by sending it closures, so that all changes come one after the other
//! and no lock is needed; what it decides about the life of ports is in [`ports`](crate::ports). Everything
//! that the workers have to know goes into the next published snapshot.

mod announce;
mod capture;
mod faults;
mod forwarding;
mod port_table;
mod reload;
mod report;
mod router;
mod routes;
mod saved;
mod start;
mod thread;

pub use capture::{CaptureHandle, CaptureOptions};
pub use start::{Options, StartError};
pub use thread::{ControlGone, ControlHandle, ControlThread, spawn};

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use dataplane::capture::CaptureTap;
use dataplane::counters::PortCounters;
use dataplane::{Dataplane, HostPort, PortEntry, PortRole, QueueOwners, Snapshot, Watchdog};
use packet::{MacAddress, Offloads, PortId};
use switch::{Binding, Fdb};

use crate::api::types::{NewRoute, Origin};
use crate::config::{Config, PortConfig};
use crate::devices::{Devices, LinkWatcher};
use crate::kernel::KernelChange;
use crate::limit::RateLimit;
use crate::ports::lifecycle::Condition;
use crate::ports::numbers::Numbers;
use crate::router::Router;
use crate::state::StateDirectory;

/// Warnings kept for the status page, the oldest of which go first.
const NOTICES_MAX: usize = 32;

/// Why something that was asked for is not done.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// It makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It clashes with what there is.
    #[error("{0}")]
    Conflict(String),
    /// The system refuses.
    #[error("{0}")]
    Failed(String),
    /// The workers do not answer, or there is no room.
    #[error("{0}")]
    Unavailable(String),
}

/// Why the control side is to look at something. Sent from threads that must not wait.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// The workers have events: [`Control::take_events`].
    Events,
    /// A link has changed near this port: [`Control::link_changed`].
    Link(PortId),
    /// The kernel's network has changed: [`Control::kernel_changed`].
    Kernel(Vec<KernelChange>),
}

/// A port with everything known of it.
#[derive(Debug)]
struct Port {
    id: PortId,
    origin: Origin,
    config: PortConfig,
    mac: MacAddress,
    /// Largest IP packet, of a device that is somebody else's; else it is the node's.
    mtu_bytes: Option<u32>,
    /// False if the operator set it down.
    wanted_up: bool,
    condition: Condition,
    /// Of the device that the workers hold.
    identity: u64,
    offloads: Offloads,
    queues: usize,
    owners: QueueOwners,
    binding: Option<Arc<Binding>>,
    counters: Arc<PortCounters>,
    /// The namespace in which it was opened; 0 for the daemon's own.
    namespace: u64,
    /// Tells when links change in its namespace.
    watch: Option<OwnedFd>,
    /// When it was last looked at because of that, and whether it is to be looked at again.
    looked_ms: u64,
    is_look_due: bool,
    /// Static entries that were added for it, beyond its own address.
    static_macs: Vec<MacAddress>,
}

impl Port {
    fn is_up(&self) -> bool {
        self.wanted_up && self.condition == Condition::Working
    }

    /// True unless it is the uplink's.
    fn is_on_bridge(&self) -> bool {
        self.origin != Origin::Uplink
    }

    /// True if no other addresses than the configured ones can be behind it.
    fn is_bound_to_addresses(&self) -> bool {
        self.binding.as_ref().is_some_and(|binding| !binding.addresses.is_empty())
    }

    /// True if its own address is to be static: it cannot move, and it is known before it speaks.
    fn has_static_mac(&self) -> bool {
        !self.config.addresses.is_empty() || self.origin == Origin::Host
    }
}

/// The control side. See the [module](self).
pub struct Control {
    config: Config,
    node_name: String,
    dataplane: Dataplane,
    fdb: Arc<Fdb>,
    devices: Box<dyn Devices>,
    state: StateDirectory,
    ports: BTreeMap<String, Port>,
    numbers: Numbers,
    /// Numbers of removed ports that a worker may still know.
    retiring: Vec<PortId>,
    captures: Vec<Arc<CaptureTap>>,
    /// With `[uplink]`.
    router: Option<Router>,
    /// Routes of the API that a router would have.
    dormant_routes: Vec<NewRoute>,
    /// Keeps the kernel's changes coming.
    follower: Option<Box<dyn Send>>,
    /// Punts were left for the next round.
    has_punts: bool,
    started: Instant,
    links: LinkWatcher,
    /// Ticks so far.
    ticks: u64,
    watchdog: Watchdog,
    stalled: Vec<usize>,
    /// Set once a worker's thread has ended: the process is to be started anew.
    dead_worker: Option<usize>,
    events_lost: u64,
    is_ready: bool,
    notices: VecDeque<String>,
    limit: RateLimit,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("ports", &self.ports).finish_non_exhaustive()
    }
}

impl Control {
    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// True once every configured port exists (or existed once) and the workers run.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// The worker whose thread ended, if one did.
    #[must_use]
    pub fn dead_worker(&self) -> Option<usize> {
        self.dead_worker
    }

    /// What the workers work by now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.dataplane.snapshot()
    }

    fn port(&self, name: &str) -> Result<&Port, Refused> {
        self.ports.get(name).ok_or_else(|| no_such_port(name))
    }

    fn port_numbered(&self, id: PortId) -> Option<&Port> {
        self.ports.values().find(|port| port.id == id)
    }

    /// Remembers and logs something odd.
    fn notice(&mut self, text: String) {
        tracing::warn!("{text}");
        if self.notices.contains(&text) {
            return;
        }
        if self.notices.len() >= NOTICES_MAX {
            self.notices.pop_front();
        }
        self.notices.push_back(text);
    }

    /// Publishes what there is now, and returns the snapshot's generation.
    fn publish(&mut self) -> u64 {
        let routing = self.renew_routing();
        let entries = self.ports.values().map(|port| PortEntry {
            id: port.id,
            name: port.config.name.as_str().into(),
            role: if port.origin == Origin::Uplink { PortRole::Uplink } else { PortRole::Bridge },
            up: port.is_up(),
            mtu_bytes: port.mtu_bytes.unwrap_or(self.config.node.mtu),
            offloads: port.offloads,
            binding: port.binding.clone(),
            counters: Arc::clone(&port.counters),
            queues: port.owners,
        });
        let mut snapshot = Snapshot::new(Arc::clone(&self.fdb), entries, self.captures.clone());
        if let Some(host) = self.ports.values().find(|port| port.origin == Origin::Host) {
            snapshot = snapshot.with_host(HostPort {
                port: host.id,
                mac: host.mac,
                pods: self.config.node.pod_cidrs.clone(),
                gateways: host.config.hosts().collect(),
            });
        }
        if let Some(routing) = routing {
            snapshot = snapshot.with_routing(routing);
        }
        self.dataplane.publish(snapshot)
    }
}

fn no_such_port(name: &str) -> Refused {
    Refused::NotFound(format!("there is no port \"{name}\""))
}
