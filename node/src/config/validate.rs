//! What no single value of the file can show: limits that depend on one another, things used twice,
//! things that do not exist on this machine.

mod ports;

pub use ports::PortCheck;

use std::path::Path;

use ipnet::IpNet;

use super::Config;

/// Most workers: as many queues as a TAP device has at most.
pub const WORKERS_MAX: u16 = 64;
/// Smallest MTU that IPv4 allows (RFC 791 §3.2).
pub const MTU_MIN_V4: u32 = 68;
/// Smallest MTU that IPv6 allows (RFC 8200 §5).
pub const MTU_MIN_V6: u32 = 1280;
/// Largest MTU of a TAP device: 65 535 less the Ethernet header (`IFLA_MAX_MTU` of a TAP).
pub const MTU_MAX: u32 = 65_521;
/// Most MACs of the forwarding database.
pub const MACS_MAX: u32 = 1 << 22;
/// Longest name of a device or port, in bytes (`IFNAMSIZ` − 1).
pub const NAME_BYTES_MAX: usize = 15;
/// Most tables of the kernel that are followed.
pub const TABLES_MAX: usize = 64;
/// The kernel's table of its own addresses (`RT_TABLE_LOCAL`).
const LOCAL_TABLE: u32 = 255;
/// Longest path of a unix socket, in bytes (`sun_path` less the final zero).
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// What validation has to know of the machine.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Machine {
    /// The CPUs that this process may use; empty if that is not known, and then not checked.
    pub cpus: Vec<u16>,
}

impl Machine {
    /// The machine that this process runs on.
    #[must_use]
    pub fn this() -> Self {
        let Ok(set) = rustix::thread::sched_getaffinity(None) else { return Self::default() };
        let count = u16::try_from(rustix::thread::CpuSet::MAX_CPU).unwrap_or(u16::MAX);
        Self { cpus: (0..count).filter(|cpu| set.is_set(usize::from(*cpu))).collect() }
    }
}

/// One thing that is wrong or odd.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Path of the key, such as `port[1].mac`.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// How bad it is.
    pub severity: Severity,
}

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Allowed, but probably not meant.
    Warning,
    /// Something else has it already.
    Clash,
    /// It can never be right.
    Mistake,
}

/// The findings so far.
#[derive(Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    fn error(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.0.push(Finding { key: key.into(), message: message.into(), severity: Severity::Mistake });
    }

    fn clash(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.0.push(Finding { key: key.into(), message: message.into(), severity: Severity::Clash });
    }

    fn warning(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.0.push(Finding { key: key.into(), message: message.into(), severity: Severity::Warning });
    }

    fn bounds(&mut self, key: &str, value: u32, min: u32, max: u32, unit: &str) {
        if !(min..=max).contains(&value) {
            self.error(key, format!("{value} is out of bounds: {min} to {max}{unit}"));
        }
    }
}

/// Everything wrong or odd in `config`, in the order of the file's sections.
#[must_use]
pub fn validate(config: &Config, machine: &Machine) -> Vec<Finding> {
    let mut findings = Findings::default();
    paths(config, &mut findings);
    node(config, &mut findings);
    workers(config, machine, &mut findings);
    bridge(config, &mut findings);
    host_and_uplink(config, &mut findings);
    snat(config, &mut findings);
    routes(config, &mut findings);
    let mut check = PortCheck::new(config);
    for (index, port) in config.ports.iter().enumerate() {
        findings.0.extend(check.admit(port, &format!("port[{index}].")));
    }
    findings.0
}

fn paths(config: &Config, findings: &mut Findings) {
    for (key, path) in [("socket", &config.socket), ("state_dir", &config.state_dir)] {
        absolute(path, key, findings);
    }
    let length = config.socket.as_os_str().len();
    if length > SOCKET_PATH_BYTES_MAX {
        findings.error(
            "socket",
            format!("the path is {length} bytes long; a unix socket's is {SOCKET_PATH_BYTES_MAX} at most"),
        );
    }
}

fn absolute(path: &Path, key: &str, findings: &mut Findings) {
    if !path.is_absolute() {
        findings.error(key, format!("\"{}\" is not an absolute path", path.display()));
    }
}

fn node(config: &Config, findings: &mut Findings) {
    let node = &config.node;
    if let Some(name) = &node.name {
        let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if name.is_empty() || name.len() > 253 || !name.bytes().all(is_safe) {
            findings.error(
                "node.name",
                format!("\"{name}\" is not a node's name: 1 to 253 letters, digits, '-', '.' or '_'"),
            );
        }
    }
    networks("node.cluster_cidrs", &node.cluster_cidrs, findings);
    networks("node.pod_cidrs", &node.pod_cidrs, findings);
    for (index, network) in node.pod_cidrs.iter().enumerate() {
        let key = format!("node.pod_cidrs[{index}]");
        if super::model::gateway_of(network).is_none() {
            findings.error(&key, format!("{network} has no room for a gateway and a pod"));
        }
        if !node.cluster_cidrs.iter().any(|cluster| cluster.contains(network)) {
            findings.warning(&key, format!("{network} lies in none of node.cluster_cidrs"));
        }
    }
    let has_v6 = node.pod_cidrs.iter().any(|network| matches!(network, IpNet::V6(_)));
    let (min, family) = if has_v6 { (MTU_MIN_V6, " (with IPv6)") } else { (MTU_MIN_V4, "") };
    findings.bounds("node.mtu", node.mtu, min, MTU_MAX, &format!(" bytes{family}"));
}

/// Networks without host bits, of unicast addresses, that do not overlap.
fn networks(key: &str, list: &[IpNet], findings: &mut Findings) {
    for (index, network) in list.iter().enumerate() {
        let key = format!("{key}[{index}]");
        if network.addr() != network.network() {
            findings.error(&key, format!("{network} has host bits set; the network is {}", network.trunc()));
            continue;
        }
        let address = network.network();
        if address.is_multicast() || address.is_loopback() || network.prefix_len() == 0 {
            findings.error(&key, format!("{network} is not a network of pods"));
        }
        if let Some(other) =
            list[..index].iter().find(|other| other.contains(network) || network.contains(*other))
        {
            findings.error(&key, format!("{network} overlaps with {other}"));
        }
    }
}

/// Networks without host bits.
fn destinations(key: &str, list: &[IpNet], findings: &mut Findings) {
    for (index, network) in list.iter().enumerate().filter(|(_, network)| network.addr() != network.network())
    {
        let message = format!("{network} has host bits set; the network is {}", network.trunc());
        findings.error(format!("{key}[{index}]"), message);
    }
}

fn workers(config: &Config, machine: &Machine, findings: &mut Findings) {
    let workers = &config.workers;
    findings.bounds("workers.count", workers.count.into(), 0, WORKERS_MAX.into(), "");
    findings.bounds("workers.busy_poll_us", workers.busy_poll_us, 0, 1_000_000, " µs");
    for (index, cpu) in workers.cpus.iter().enumerate() {
        let key = format!("workers.cpus[{index}]");
        if !machine.cpus.is_empty() && !machine.cpus.contains(cpu) {
            findings.error(key, format!("CPU {cpu} does not exist or may not be used by this process"));
        } else if workers.cpus[..index].contains(cpu) {
            findings
                .error(key, format!("CPU {cpu} is given twice; two workers on one CPU wait for one another"));
        }
    }
    let count = config.worker_count(machine);
    if !workers.cpus.is_empty() && workers.cpus.len() < count {
        let message = format!("{} listed for {count} workers; each needs one", workers.cpus.len());
        findings.error("workers.cpus", message);
    }
    if !machine.cpus.is_empty() && count > machine.cpus.len() && count <= WORKERS_MAX.into() {
        let message = format!("{count} workers share {} CPUs", machine.cpus.len());
        findings.warning("workers.count", message);
    }
}

fn bridge(config: &Config, findings: &mut Findings) {
    let bridge = &config.bridge;
    findings.bounds("bridge.aging_seconds", bridge.aging_seconds, 1, 1_000_000, " s");
    findings.bounds("bridge.max_macs", bridge.max_macs, 16, MACS_MAX, "");
    if bridge.max_macs_per_port > bridge.max_macs {
        let message =
            format!("{} is more than bridge.max_macs ({})", bridge.max_macs_per_port, bridge.max_macs);
        findings.error("bridge.max_macs_per_port", message);
    }
    findings.bounds("bridge.tap_queue_frames", bridge.tap_queue_frames, 16, 65_536, " frames");
}

fn host_and_uplink(config: &Config, findings: &mut Findings) {
    if config.host.enabled {
        if let Err(why) = device_name(&config.host.name) {
            findings.error("host.name", why);
        }
        if config.node.pod_cidrs.is_empty() {
            findings.error(
                "node.pod_cidrs",
                "the host port needs a gateway address: give a network, or set host.enabled = false",
            );
        }
    }
    destinations("host.cidrs", &config.host.cidrs, findings);
    for (index, network) in config.host.cidrs.iter().enumerate() {
        if let Some(pods) = config.own_network(network) {
            let message = format!("{network} lies in {pods}, the network of this node's pods");
            findings.error(format!("host.cidrs[{index}]"), message);
        }
    }
    if let Some(uplink) = &config.uplink {
        if !config.host.enabled && config.node.pod_cidrs.is_empty() {
            findings.error("node.pod_cidrs", "the router needs a gateway address: give a network");
        }
        if uplink.tables.len() > TABLES_MAX {
            findings.error("uplink.tables", format!("more than {TABLES_MAX} tables cannot be followed"));
        }
        for (index, table) in uplink.tables.iter().enumerate() {
            let key = format!("uplink.tables[{index}]");
            if matches!(*table, 0 | LOCAL_TABLE) {
                findings
                    .error(key, format!("table {table} cannot be followed: it has no routes to other nodes"));
            } else if uplink.tables[..index].contains(table) {
                findings.error(key, format!("table {table} is given twice"));
            }
        }
        if let Err(why) = device_name(&uplink.device) {
            findings.error("uplink.device", why);
        } else if config.host.enabled && uplink.device == config.host.name {
            findings.error("uplink.device", format!("\"{}\" is the host port", uplink.device));
        }
    }
}

fn snat(config: &Config, findings: &mut Findings) {
    let snat = &config.snat;
    findings.bounds("snat.sessions_max", snat.sessions_max, 1, 1 << 24, "");
    findings.bounds("snat.sessions_max_per_pod", snat.sessions_max_per_pod, 1, snat.sessions_max.max(1), "");
    destinations("snat.exempt_cidrs", &snat.exempt_cidrs, findings);
}

fn routes(config: &Config, findings: &mut Findings) {
    if config.uplink.is_none() && !config.routes.is_empty() {
        findings.warning("route", "it has no effect without [uplink]: the kernel is the router then");
    }
    for (index, route) in config.routes.iter().enumerate() {
        if route.dst.addr() != route.dst.network() {
            let message = format!("{} has host bits set; the network is {}", route.dst, route.dst.trunc());
            findings.error(format!("route[{index}].dst"), message);
        } else if let Err(why) = config.may_lead_away(&route.dst) {
            findings.error(format!("route[{index}].dst"), why);
        }
        let via = route.via;
        if via.is_ipv4() != route.dst.addr().is_ipv4() {
            let message = format!("{via} and {} are of different families", route.dst);
            findings.error(format!("route[{index}].via"), message);
        } else if via.is_unspecified() || via.is_multicast() || via.is_loopback() {
            findings.error(format!("route[{index}].via"), format!("{via} cannot be a next hop"));
        }
        if config.routes[..index].contains(route) {
            findings.error(format!("route[{index}].dst"), format!("{} via {via} is given twice", route.dst));
        }
    }
}

/// Whether `name` may name a device or a port: what the kernel takes, less what scripts stumble over.
///
/// # Errors
/// A sentence that says what is expected.
pub fn device_name(name: &str) -> Result<(), String> {
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let starts_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if name.len() <= NAME_BYTES_MAX
        && starts_well
        && name.bytes().all(is_safe)
        && name != "all"
        && name != "default"
    {
        return Ok(());
    }
    Err(format!(
        "\"{name}\" is not a usable name: 1 to {NAME_BYTES_MAX} letters, digits, '-', '.' or '_', the first \
         a letter, digit or '_' (and not \"all\" or \"default\")"
    ))
}
