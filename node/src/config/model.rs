//! The sections of the file with their defaults.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use port::EngineKind;
use serde::{Deserialize, Serialize};

use super::port::{PortConfig, PortType};
use super::text::{PortRange, address, network, networks};
use crate::router::{MAIN_TABLE, Protocol};

/// The whole file. Every key is optional, but for those that name an entry of `[[route]]` and `[[port]]`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Control socket, mode 0600.
    pub socket: PathBuf,
    /// Directory that survives a restart of the daemon.
    pub state_dir: PathBuf,
    /// `[node]`
    pub node: NodeConfig,
    /// `[workers]`
    pub workers: WorkersConfig,
    /// `[bridge]`
    pub bridge: BridgeConfig,
    /// `[host]`
    pub host: HostConfig,
    /// `[uplink]`; absent: everything off the bridge goes to the host port.
    pub uplink: Option<UplinkConfig>,
    /// `[snat]`
    pub snat: SnatConfig,
    /// `[[route]]`
    #[serde(rename = "route")]
    pub routes: Vec<RouteConfig>,
    /// `[[port]]`
    #[serde(rename = "port")]
    pub ports: Vec<PortConfig>,
    /// `[metrics]`; absent: on the control socket only.
    pub metrics: Option<MetricsConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/run/flyover/flyover.sock"),
            state_dir: PathBuf::from("/run/flyover"),
            node: NodeConfig::default(),
            workers: WorkersConfig::default(),
            bridge: BridgeConfig::default(),
            host: HostConfig::default(),
            uplink: None,
            snat: SnatConfig::default(),
            routes: Vec::new(),
            ports: Vec::new(),
            metrics: None,
        }
    }
}

/// `[node]`: the node and its networks.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// Name of the node; absent: the host name.
    pub name: Option<String>,
    /// Networks of all pods of the cluster.
    #[serde(deserialize_with = "networks::deserialize")]
    pub cluster_cidrs: Vec<IpNet>,
    /// Networks of this node's pods. The first usable address of each is the gateway.
    #[serde(deserialize_with = "networks::deserialize")]
    pub pod_cidrs: Vec<IpNet>,
    /// MTU of pods and of the host port, in bytes.
    pub mtu: u32,
}

impl Default for NodeConfig {
    fn default() -> Self {
        let v4 = |a, b, c, d, length| IpNet::new_assert([a, b, c, d].into(), length);
        Self {
            name: None,
            cluster_cidrs: vec![v4(10, 244, 0, 0, 16)],
            pod_cidrs: vec![v4(10, 244, 1, 0, 24)],
            mtu: 1500,
        }
    }
}

/// `[workers]`: the data plane's threads.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkersConfig {
    /// How many; 0 = one per CPU that the daemon may use.
    pub count: u16,
    /// Worker `i` is pinned to `cpus[i]`; empty: not pinned.
    pub cpus: Vec<u16>,
    /// How long a worker keeps polling after its last frame before it sleeps, in µs.
    pub busy_poll_us: u32,
    /// How TAPs are read and written: `auto`, `io_uring` or `epoll`.
    pub engine: EngineChoice,
}

impl Default for WorkersConfig {
    fn default() -> Self {
        Self { count: 1, cpus: Vec::new(), busy_poll_us: 50, engine: EngineChoice::Auto }
    }
}

/// How TAPs are read and written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineChoice {
    /// `io_uring` where the kernel offers what it takes, else `epoll`.
    #[default]
    Auto,
    /// `io_uring`, or no start.
    IoUring,
    /// `epoll`.
    Epoll,
}

impl From<EngineChoice> for EngineKind {
    fn from(choice: EngineChoice) -> Self {
        match choice {
            EngineChoice::Auto => Self::Auto,
            EngineChoice::IoUring => Self::Uring,
            EngineChoice::Epoll => Self::Epoll,
        }
    }
}

/// `[bridge]`: the forwarding database and the queues of TAPs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BridgeConfig {
    /// A learned MAC that was silent this long is forgotten, in seconds.
    pub aging_seconds: u32,
    /// Most MACs, learned and static.
    pub max_macs: u32,
    /// Most MACs learned from one port; 0 = no limit.
    pub max_macs_per_port: u32,
    /// The kernel's queue toward us, in frames per TAP queue.
    pub tap_queue_frames: u32,
}

impl Default for BridgeConfig {
    fn default() -> Self {
        Self { aging_seconds: 300, max_macs: 8192, max_macs_per_port: 64, tap_queue_frames: 4096 }
    }
}

/// `[host]`: the host's own port on the bridge.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostConfig {
    /// Without it (and without `[uplink]`) the node is a bare switch.
    pub enabled: bool,
    /// Name of the device; it carries the gateway addresses.
    pub name: String,
    /// Destinations left to the host's stack, such as the service range.
    #[serde(deserialize_with = "networks::deserialize")]
    pub cidrs: Vec<IpNet>,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self { enabled: true, name: "cni0".to_owned(), cidrs: Vec::new() }
    }
}

/// `[uplink]`: the node's network card. With it flyover is the node's router.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UplinkConfig {
    /// The device; it stays the kernel's.
    pub device: String,
    /// The kernel's tables whose routes are followed; of two with the same route the first one counts.
    #[serde(default = "main_table")]
    pub tables: Vec<u32>,
    /// Whose routes are followed, as names or numbers (`ip route … proto`); empty: everybody's.
    #[serde(default)]
    pub protocols: Vec<Protocol>,
}

fn main_table() -> Vec<u32> {
    vec![MAIN_TABLE]
}

/// `[snat]`: masquerading of what leaves the cluster by the uplink.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SnatConfig {
    /// On or off; without `[uplink]` the kernel's own rules decide.
    pub enabled: bool,
    /// External ports.
    pub ports: PortRange,
    /// More destinations that are never masqueraded.
    #[serde(deserialize_with = "networks::deserialize")]
    pub exempt_cidrs: Vec<IpNet>,
    /// Most sessions, up to 16 777 216.
    pub sessions_max: u32,
    /// Most sessions of one pod.
    pub sessions_max_per_pod: u32,
}

impl Default for SnatConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            ports: PortRange { first: 40_000, last: 59_999 },
            exempt_cidrs: Vec::new(),
            sessions_max: 262_144,
            sessions_max_per_pod: 16_384,
        }
    }
}

/// `[[route]]`: a static route.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// Destination; several routes with one destination are equal-cost paths.
    #[serde(deserialize_with = "network::deserialize")]
    pub dst: IpNet,
    /// Next hop.
    #[serde(deserialize_with = "address::deserialize")]
    pub via: IpAddr,
}

/// `[metrics]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsConfig {
    /// TCP address at which `/metrics`, `/healthz` and `/readyz` are answered too.
    pub listen: SocketAddr,
}

impl Config {
    /// The gateway address of each pod network, with the network's prefix length: its first usable address.
    #[must_use]
    pub fn gateways(&self) -> Vec<IpNet> {
        self.node.pod_cidrs.iter().filter_map(gateway_of).collect()
    }

    /// The name of the node: from the file, or the host name.
    #[must_use]
    pub fn node_name(&self) -> String {
        match &self.node.name {
            Some(name) => name.clone(),
            None => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        }
    }

    /// The network of this node's pods that is or contains `network`.
    #[must_use]
    pub fn own_network(&self, network: &IpNet) -> Option<&IpNet> {
        self.node.pod_cidrs.iter().find(|pods| pods.contains(network))
    }

    /// Whether there may be a route to `prefix` by way of others.
    ///
    /// # Errors
    /// A sentence, if it lies in a network of this node's pods.
    pub fn may_lead_away(&self, prefix: &IpNet) -> Result<(), String> {
        match self.own_network(prefix) {
            None => Ok(()),
            Some(pods) => Err(format!(
                "{prefix} lies in {pods}, the network of this node's own pods; the pod networks of two nodes \
                 must not overlap"
            )),
        }
    }

    /// What the configuration asks for that this version cannot do, one `(key, sentence)` each.
    #[must_use]
    pub fn unavailable(&self) -> Vec<(String, String)> {
        let mut missing = Vec::new();
        for (index, port) in self.ports.iter().enumerate().filter(|(_, port)| !port.port_type.is_available())
        {
            missing.push((
                format!("port[{index}].type"),
                format!(
                    "port \"{}\": type \"{}\" is not available in this version",
                    port.name,
                    port.port_type.name()
                ),
            ));
        }
        missing
    }

    /// Number of worker threads, with 0 resolved to the CPUs that the daemon may use.
    #[must_use]
    pub fn worker_count(&self, machine: &super::Machine) -> usize {
        match self.workers.count {
            0 => machine.cpus.len().max(1),
            count => usize::from(count),
        }
    }

    /// True if there is a port of this kind among the static ones.
    #[must_use]
    pub fn has_port_type(&self, port_type: PortType) -> bool {
        self.ports.iter().any(|port| port.port_type == port_type)
    }
}

/// The first usable address of `network` with its prefix length; `None` if it has no room for a gateway
/// and a pod.
pub(crate) fn gateway_of(network: &IpNet) -> Option<IpNet> {
    let room = network.max_prefix_len() - network.prefix_len();
    if room < 2 {
        return None;
    }
    let gateway: IpAddr = match network.network() {
        IpAddr::V4(first) => std::net::Ipv4Addr::from_bits(first.to_bits() + 1).into(),
        IpAddr::V6(first) => std::net::Ipv6Addr::from_bits(first.to_bits() + 1).into(),
    };
    IpNet::new(gateway, network.prefix_len()).ok()
}
