//! Who is at which MAC: neighbors by ARP and by neighbor discovery, with the states of RFC 4861 §7.3 for both.
//!
//! # Theory of operation
//!
//! Three values, each with one owner, none of which waits for another:
//!
//! | value | owner | what it does |
//! |---|---|---|
//! | [`Neighbors`] | control | the state machine: who is asked, who answered, who is probed, who is given up |
//! | [`NeighborMap`] | in the snapshot, read by workers | address → MAC, port and whether the use is to be told |
//! | [`WaitingRoom`] | a worker | frames that await a neighbor |
//!
//! The data plane meets a next hop like this:
//!
//! 1. A worker looks a burst's next hops up in the map. [`Lookup::Usable`]: it sends. If the entry is stale the
//!    first use is told to control ([`UseReports`]), which begins the delay before a probe.
//! 2. [`Lookup::Unknown`]: the frame goes to the waiting room, and the first frame for an address is told to
//!    control, which calls [`Neighbors::resolve`]. If that message is lost because its ring was full, the waiting
//!    room asks again a second later.
//! 3. Control carries out the [`Action`]s: it has a solicitation sent, and when the table's
//!    [`generation`](Neighbors::generation) has moved it publishes a new map.
//! 4. Answers reach control through [`Gateway::answer`](crate::gateway::Gateway::answer), which has checked them,
//!    and [`Neighbors::heard`]. [`Action::Resolved`] makes the workers send what waits
//!    ([`WaitingRoom::take`]), [`Action::Unreachable`] makes them answer it with host unreachable. The same happens
//!    to what has waited too long, whatever control does ([`WaitingRoom::overdue`]).
//! 5. [`Lookup::Unreachable`]: a neighbor that has just been given up. Frames for it are answered at once, so a
//!    flood to it costs neither memory nor solicitations.
//!
//! A table is that of one link (the bridge, or one uplink): link-local addresses mean nothing beyond it.
//!
//! # What strangers cannot do
//!
//! - **Poison.** An advertisement that was not asked for makes no entry (RFC 4861 §7.2.5; for ARP, "asked for" is
//!   what the table itself knows). A solicitation makes one only if it was for the gateway. Whatever is heard on
//!   one port changes no entry of another: an entry moves only after its neighbor has failed to answer, or its
//!   port is gone. Permanent entries are never changed by what is heard.
//! - **Fill the table.** What a port asked for without an answer is bounded, and the oldest of it makes room for
//!   the newest. What answers on a port is bounded, too, and makes room at the cost of the same port's stale
//!   entries. A reachable entry is never pushed out by anything; another's stale one, oldest first, only when the
//!   table is full.
//! - **Fill the queues.** Frames wait within bounds for a neighbor, for a port and for the worker.
//! - **Burn time.** Every operation is logarithmic in the table, timers come one by one
//!   ([`Neighbors::tick`] has a budget). An address that does not answer is solicited once a second at most, however
//!   many packets ask for it; and a port that scans a network has no more addresses solicited in a second than its
//!   quota.

mod map;
mod message;
mod store;
mod table;
mod waiting;

pub use map::{Lookup, NeighborMap, UseReports};
pub use message::{Message, read as read_message};
pub use table::{Action, Heard, Ignored, Neighbors, Resolution};
pub use waiting::{Queued, WaitingLimits, WaitingRoom};

use std::net::IpAddr;

use packet::{MacAddress, PortId};

/// Where a neighbor stands (RFC 4861 §7.3.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum State {
    /// Asked for, not answered yet.
    Incomplete,
    /// Known to have been there a short time ago.
    Reachable,
    /// Nothing is known since the reachable time passed, or the MAC was only heard of.
    Stale,
    /// Stale and in use: an upper layer may still confirm it.
    Delay,
    /// Being asked itself whether it is still there.
    Probe,
    /// Did not answer; held for a short time, so that what asks for it is answered at once.
    Failed,
    /// Set by the operator or by the control side for a port's own addresses. Never asked, never changed.
    Permanent,
}

impl State {
    /// True if there is a MAC to send to.
    #[must_use]
    pub const fn is_usable(self) -> bool {
        !matches!(self, Self::Incomplete | Self::Failed)
    }
}

/// One neighbor, as it is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Neighbor {
    /// Its address.
    pub address: IpAddr,
    /// Where it stands.
    pub state: State,
    /// Its MAC, while it is usable.
    pub mac: Option<MacAddress>,
    /// The port that it is behind; while it has not answered, the port that a packet for it came in by.
    pub port: PortId,
}

/// Times, tries and bounds of a table. The default is what Linux does, unless said otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Between two solicitations (`retrans_time_ms`; RFC 4861 §10, RETRANS_TIMER).
    pub retransmit_ms: u64,
    /// Solicitations to all before a neighbor has failed (`mcast_solicit`; MAX_MULTICAST_SOLICIT).
    pub solicits_max: u8,
    /// Probes to the neighbor itself before it is forgotten (`ucast_solicit`; MAX_UNICAST_SOLICIT).
    pub probes_max: u8,
    /// How long a neighbor stays reachable on average (`base_reachable_time_ms`; REACHABLE_TIME): each time it is
    /// drawn evenly from half to one and a half of this.
    pub reachable_ms: u64,
    /// From the first use of a stale entry to its probe (`delay_first_probe_time`; DELAY_FIRST_PROBE_TIME).
    pub delay_ms: u64,
    /// How long a stale entry is kept without use (`gc_stale_time`).
    pub stale_ms: u64,
    /// How long a neighbor that failed is not asked again. Linux asks at once.
    pub failed_ms: u64,
    /// Most entries (`gc_thresh3` is 1024; a node may have more pods).
    pub entries_max: usize,
    /// Most entries that what came in by one port asked for without an answer. Linux has no such bound.
    pub unanswered_per_port_max: usize,
    /// Most entries behind one port, permanent ones apart. Linux has no such bound.
    pub answered_per_port_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retransmit_ms: 1000,
            solicits_max: 3,
            probes_max: 3,
            reachable_ms: 30_000,
            delay_ms: 5000,
            stale_ms: 60_000,
            failed_ms: 1000,
            entries_max: 8192,
            unanswered_per_port_max: 64,
            answered_per_port_max: 2048,
        }
    }
}
