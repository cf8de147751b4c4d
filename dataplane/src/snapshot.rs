//! What the workers are to do: an immutable value that the control side publishes as one pointer.
//!
//! A worker looks at the pointer once a burst, so all frames of a burst are treated by one snapshot. What
//! does not change between two snapshots (the forwarding database, a port's counters, a binding) is shared
//! by reference count, which only the control side touches.

use std::sync::Arc;

use packet::{Frame, Offloads, PORTS_MAX, PortId};
use switch::{Binding, Fdb};

use crate::capture::CaptureTap;
use crate::counters::PortCounters;
use crate::routing::{HostPort, Routing};

/// Bytes that a frame may exceed the MTU by: an Ethernet header and one VLAN tag, which the kernel bridge
/// grants to tagged and untagged frames alike (`is_skb_forwardable`).
const LINK_OVERHEAD_BYTES: usize = 14 + 4;
/// The outermost VLAN tag, which the kernel takes off before it compares.
const TAG_BYTES: usize = 4;

/// Which workers hold a queue of a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QueueOwners {
    /// Every worker has one.
    All,
    /// One worker has the only one; the others hand their frames to it.
    One(usize),
}

/// Where a port stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PortRole {
    /// On the bridge: it learns, floods and forwards there.
    #[default]
    Bridge,
    /// The node's network card, which only the router speaks to. Nothing is learned from it or flooded to it.
    Uplink,
}

/// One port, as the workers see it.
#[derive(Clone, Debug)]
pub struct PortEntry {
    /// Its number, which is its place in [`Snapshot::port`].
    pub id: PortId,
    /// Its name, for captures.
    pub name: Arc<str>,
    /// Where it stands.
    pub role: PortRole,
    /// False while an operator has set it down or its device is gone: nothing is taken from it or sent to it.
    pub up: bool,
    /// Longest IP packet that may be sent to it.
    pub mtu_bytes: u32,
    /// What it takes off our hands.
    pub offloads: Offloads,
    /// Who may speak on it; `None` lets everybody.
    pub binding: Option<Arc<Binding>>,
    /// Its counters, which outlive the snapshot.
    pub counters: Arc<PortCounters>,
    /// Where its queues are.
    pub queues: QueueOwners,
}

impl PortEntry {
    /// True if `frame` is not too long for the port. A super-frame always fits: its segments do.
    #[must_use]
    #[inline]
    pub fn fits(&self, frame: &Frame) -> bool {
        let longest = self.mtu_bytes as usize + LINK_OVERHEAD_BYTES;
        frame.offload.segmentation.is_some()
            || frame.len() <= longest
            || (frame.len() <= longest + TAG_BYTES && is_tagged(frame))
    }

    /// Longest frame that `worker` can send here as it is, if nothing is left to do on it; 0 if the port is
    /// down or its queue is another worker's. (A tagged frame may be a little longer: see
    /// [`fits`](Self::fits).)
    #[must_use]
    pub fn takes_up_to(&self, worker: usize) -> usize {
        let takes = self.up && self.owner_other_than(worker).is_none();
        if takes { self.mtu_bytes as usize + LINK_OVERHEAD_BYTES } else { 0 }
    }

    /// The worker that frames for the port have to be handed to, or `None` if `worker` can send to it
    /// itself.
    #[must_use]
    #[inline]
    pub fn owner_other_than(&self, worker: usize) -> Option<usize> {
        match self.queues {
            QueueOwners::One(owner) if owner != worker => Some(owner),
            _ => None,
        }
    }
}

/// True if the first tag is that of 802.1Q or 802.1ad.
fn is_tagged(frame: &Frame) -> bool {
    matches!(frame.bytes().get(12..14), Some([0x81, 0x00] | [0x88, 0xa8]))
}

/// All that the workers look at, and the control side never changes in place.
#[derive(Debug)]
pub struct Snapshot {
    ports: Box<[Option<PortEntry>]>,
    flood: Box<[PortId]>,
    fdb: Arc<Fdb>,
    captures: Box<[Arc<CaptureTap>]>,
    host: Option<HostPort>,
    routing: Option<Arc<Routing>>,
    has_uplink: bool,
    generation: u64,
}

impl Snapshot {
    /// A snapshot with these ports (at most [`PORTS_MAX`], each once; a later one with the same number wins).
    /// The generation is given when it is published.
    #[must_use]
    pub fn new(
        fdb: Arc<Fdb>,
        entries: impl IntoIterator<Item = PortEntry>,
        captures: Vec<Arc<CaptureTap>>,
    ) -> Self {
        let mut ports: Vec<Option<PortEntry>> = Vec::new();
        for entry in entries {
            let index = entry.id.index();
            debug_assert!(index < PORTS_MAX);
            if ports.len() <= index {
                ports.resize_with(index + 1, || None);
            }
            ports[index] = Some(entry);
        }
        let floods = |entry: &&PortEntry| entry.up && entry.role == PortRole::Bridge;
        let flood = ports.iter().flatten().filter(floods).map(|entry| entry.id).collect();
        let has_uplink = ports.iter().flatten().any(|entry| entry.role == PortRole::Uplink);
        Self {
            ports: ports.into(),
            has_uplink,
            flood,
            fdb,
            captures: captures.into(),
            host: None,
            routing: None,
            generation: 0,
        }
    }

    /// The same with the host's own port.
    #[must_use]
    pub fn with_host(mut self, host: HostPort) -> Self {
        self.host = Some(host);
        self
    }

    /// The same with a router.
    #[must_use]
    pub fn with_routing(mut self, routing: Arc<Routing>) -> Self {
        self.routing = Some(routing);
        self
    }

    /// The port with this number.
    #[must_use]
    #[inline]
    pub fn port(&self, id: PortId) -> Option<&PortEntry> {
        self.ports.get(id.index())?.as_ref()
    }

    /// All ports in the order of their numbers.
    pub fn ports(&self) -> impl Iterator<Item = &PortEntry> {
        self.ports.iter().flatten()
    }

    /// The ports that a flooded frame goes to, but for the one that it came from: those that are up.
    #[must_use]
    pub fn flood(&self) -> &[PortId] {
        &self.flood
    }

    /// The forwarding database.
    #[must_use]
    pub fn fdb(&self) -> &Arc<Fdb> {
        &self.fdb
    }

    /// The host's own port, if it has one.
    #[must_use]
    pub fn host(&self) -> Option<&HostPort> {
        self.host.as_ref()
    }

    /// What the router works by, if there is one.
    #[must_use]
    pub fn routing(&self) -> Option<&Arc<Routing>> {
        self.routing.as_ref()
    }

    /// True if a port is the uplink's.
    #[must_use]
    pub fn has_uplink(&self) -> bool {
        self.has_uplink
    }

    /// Captures under way.
    #[must_use]
    pub fn captures(&self) -> &[Arc<CaptureTap>] {
        &self.captures
    }

    /// Counts the publications; what a worker reports to have seen.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn with_generation(mut self, generation: u64) -> Self {
        self.generation = generation;
        self
    }
}
