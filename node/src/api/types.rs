//! What the API says, in the shapes of iproute2's JSON with keys of our own added. The command line and
//! other clients read the very same types.

use packet::MacAddress;
use serde::{Deserialize, Serialize};

use crate::config::mac;

mod routing;

pub use routing::{
    ExplainRequest, ExplainStep, Neighbor, NewNextHop, NewRoute, NextHop, Route, RouteAnswer, RouteType,
    RoutingSummary,
};

/// Any failure.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Error {
    /// What is wrong, and what to do if that is not obvious.
    pub error: String,
}

/// Who asked for a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// `[host]`: the host's own port.
    Host,
    /// `[uplink]`: the node's network card.
    Uplink,
    /// `[[port]]` of the configuration file.
    Config,
    /// The API (and with it the command line and CNI).
    Api,
}

/// What a port does now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortState {
    /// It carries frames.
    Up,
    /// The operator set it down.
    Down,
    /// The device is set down, or has no carrier; the port is up again as soon as that is.
    LinkDown,
    /// The device or its namespace is not there (any more).
    Gone,
    /// The system refuses; it is tried again.
    Failed,
}

impl PortState {
    /// The word for it in JSON and tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::LinkDown => "link-down",
            Self::Gone => "gone",
            Self::Failed => "failed",
        }
    }
}

/// One port: `ip -j -s link` and more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Port {
    /// Number of the port, from 1 on.
    pub ifindex: u16,
    /// Name of the port.
    pub ifname: String,
    /// `BROADCAST`, `MULTICAST`, and `UP`, `LOWER_UP` or `NO-CARRIER` as they apply.
    pub flags: Vec<String>,
    /// In bytes.
    pub mtu: u32,
    /// `UP`, `DOWN`, `LOWERLAYERDOWN` or `NOTPRESENT`.
    pub operstate: String,
    /// Frames of the kernel's queue toward us, for each TAP queue; 0 for other types.
    pub txqlen: u32,
    /// Always `ether`.
    pub link_type: String,
    /// MAC address of the device.
    #[serde(with = "mac")]
    pub address: MacAddress,
    /// Always `ff:ff:ff:ff:ff:ff`.
    #[serde(with = "mac")]
    pub broadcast: MacAddress,
    /// As the switch sees it: `rx` came from the port.
    pub stats64: Stats64,
    /// `tap`, `pcap`, …
    #[serde(rename = "type")]
    pub port_type: String,
    /// What it does now.
    pub state: PortState,
    /// Why it is not up, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who asked for it.
    pub origin: Origin,
    /// Path of its network namespace; absent: the daemon's own, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
    /// Device in that namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Addresses with prefix lengths.
    pub addresses: Vec<String>,
    /// Whether it is bound to its MAC and addresses.
    pub anti_spoof: bool,
    /// Queues.
    pub queues: usize,
    /// The worker of a port with one queue among several workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<usize>,
    /// Offloads by name: `csum`, `tso4`, `tso6`, `tso-ecn`, `uso`.
    pub features: Vec<String>,
    /// MACs learned from it.
    pub macs: usize,
}

/// Counters of a port in both directions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Stats64 {
    /// From the port into the switch.
    pub rx: DirectionStats,
    /// From the switch to the port.
    pub tx: DirectionStats,
}

/// Counters of one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DirectionStats {
    /// Without frame check sequences.
    pub bytes: u64,
    /// Frames; a super-frame is one.
    pub packets: u64,
    /// Frames that came but went nowhere, or were to go there but could not.
    pub dropped: u64,
}

/// Sets a port up or down.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetState {
    /// Up or down.
    pub state: AdminState,
}

/// What an operator can want of a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdminState {
    /// To carry frames.
    Up,
    /// Not to.
    Down,
}

/// One entry of the forwarding database: `bridge -j fdb show` and more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FdbEntry {
    /// The address.
    #[serde(with = "mac")]
    pub mac: MacAddress,
    /// The port behind which it is.
    pub ifname: String,
    /// Always empty; iproute2 has the key.
    pub flags: Vec<String>,
    /// The bridge: the name of the host port.
    pub master: String,
    /// `permanent` for ports' own addresses, `static` for those that were added, empty for learned ones.
    pub state: String,
    /// Time since the last frame from a learned address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<u64>,
}

/// A static entry to add.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewFdbEntry {
    /// The address.
    #[serde(with = "mac")]
    pub mac: MacAddress,
    /// Name of the port.
    pub dev: String,
}

/// How many learned entries were forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Flushed {
    /// Their number.
    pub flushed: usize,
}

/// One screen about the node.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Name of the node.
    pub node: String,
    /// Process id.
    pub pid: u32,
    /// Since the daemon's start.
    pub uptime_seconds: u64,
    /// True once every configured port exists and the workers run.
    pub ready: bool,
    /// True if a worker is stalled or a port that should be up is not.
    pub degraded: bool,
    /// I/O engine: `io_uring` or `epoll`.
    pub engine: String,
    /// Gateway addresses with prefix lengths.
    pub gateways: Vec<String>,
    /// The workers.
    pub workers: Vec<Worker>,
    /// The ports in numbers.
    pub ports: PortSummary,
    /// The forwarding database in numbers.
    pub fdb: FdbSummary,
    /// The router in numbers; absent without `[uplink]`, where the kernel is the router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing: Option<RoutingSummary>,
    /// Reasons for which frames were dropped, most frequent first; none with 0.
    pub drops: Vec<Drops>,
    /// What is odd, one line each.
    pub warnings: Vec<String>,
}

/// One worker. `rx_packets = forwarded + consumed + dropped`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Worker {
    /// From 0 on.
    pub worker: usize,
    /// The CPU that it is pinned to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u16>,
    /// True if it made no progress for a second.
    pub stalled: bool,
    /// Frames received from ports.
    pub rx_packets: u64,
    /// Frames of which at least one copy was sent.
    pub forwarded: u64,
    /// Frames that were for the switch itself.
    pub consumed: u64,
    /// Frames of which nothing was sent.
    pub dropped: u64,
    /// Copies of flooded frames beyond the first.
    pub copies: u64,
    /// Copies of flooded frames that could not be sent.
    pub copies_dropped: u64,
    /// Frames that the switch itself sent.
    pub originated: u64,
    /// Frames handed to another worker.
    pub handed_off: u64,
    /// Bursts with at least one frame.
    pub bursts: u64,
    /// Times that it went to sleep.
    pub sleeps: u64,
}

/// Ports in numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PortSummary {
    /// All.
    pub total: usize,
    /// Those that carry frames.
    pub up: usize,
    /// The others.
    pub not_up: Vec<PortTrouble>,
}

/// A port that is not up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PortTrouble {
    /// Its name.
    pub ifname: String,
    /// What it does instead.
    pub state: PortState,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The forwarding database in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FdbSummary {
    /// Learned entries.
    pub learned: usize,
    /// Static entries.
    pub statics: usize,
    /// Most learned entries.
    pub max: usize,
    /// Addresses that changed ports, since the start.
    pub moved: u64,
    /// Entries given up for a newcomer, since the start.
    pub evicted: u64,
    /// Times that an address was not entered, since the start.
    pub refused: u64,
}

/// Frames dropped for one reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Drops {
    /// Name of the reason.
    pub reason: String,
    /// Where in the pipeline.
    pub stage: String,
    /// How many.
    pub packets: u64,
    /// One line.
    pub help: String,
}

/// Counters of one port.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PortStats {
    /// Name of the port.
    pub ifname: String,
    /// Frames received from it.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Those that were dropped.
    pub rx_dropped: u64,
    /// Frames sent to it.
    pub tx_packets: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Those that could not be sent.
    pub tx_dropped: u64,
    /// Frames that the kernel dropped before us, because its queue toward us was full (TAP only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_dropped: Option<u64>,
}

/// All counters.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Every reason, summed over the workers, in the order of the pipeline.
    pub drops: Vec<Drops>,
    /// Every worker.
    pub workers: Vec<Worker>,
    /// Every port.
    pub ports: Vec<PortStats>,
}
