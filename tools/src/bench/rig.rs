//! What is compared: two pods (network namespaces with the same addresses) joined by flyover, by the
//! kernel's bridge, or by another switch.

use super::ovs::OpenVSwitch;
use crate::host::{Daemon, Lifetime, Namespace, ip, ip_json};
use crate::traffic::Agent;
use anyhow::{Context, Result};
use serde::Serialize;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

/// The sending pod's address and the receiving one's; both in 10.244.1.0/24.
const POD_ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 244, 1, 11), Ipv4Addr::new(10, 244, 1, 12)];
/// The gateway's address with its prefix length.
const GATEWAY: &str = "10.244.1.1/24";

/// What joins the pods.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum System {
    /// A daemon of this binary.
    Flyover,
    /// cni0 as the CNI plugin `bridge` makes it: a bridge and a veth pair a pod.
    KernelBridge,
    /// The userspace datapath with TAP ports and userspace TSO.
    OpenVSwitch,
}

impl System {
    /// Its name in tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Flyover => "flyover",
            Self::KernelBridge => "kernel bridge",
            Self::OpenVSwitch => "Open vSwitch",
        }
    }

    fn slug(self) -> &'static str {
        match self {
            Self::Flyover => "flyover",
            Self::KernelBridge => "bridge",
            Self::OpenVSwitch => "ovs",
        }
    }
}

/// What the kernel's devices of a rig dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct DeviceDrops {
    /// `tx_dropped`: such as frames for a switch that was slower than the sender (a full TAP queue).
    pub tx_dropped: u64,
    /// `rx_dropped`.
    pub rx_dropped: u64,
    /// `tx_errors` and `rx_errors`.
    pub errors: u64,
}

/// Two pods, what joins them, and an agent in each. Dropping it removes everything.
#[derive(Debug)]
pub(crate) struct Rig {
    /// What joins the pods.
    pub system: System,
    /// The agent that sends.
    pub client: Agent,
    /// The agent that receives.
    pub server: Agent,
    // The order is that of removal: agents, switch, namespaces.
    switch: Switch,
    namespaces: Vec<Namespace>,
}

/// A program that a rig runs.
#[derive(Debug)]
enum Switch {
    Flyover(Daemon),
    Kernel,
    OpenVSwitch(OpenVSwitch),
}

impl Rig {
    /// Builds `system` with namespaces that begin with `prefix` and files below `directory`.
    ///
    /// # Errors
    /// When anything cannot be made; what was made before is removed.
    pub(crate) fn build(system: System, prefix: &str, directory: &Path, workers: u16) -> Result<Self> {
        let namespaces = ["node", "pod1", "pod2"]
            .iter()
            .map(|role| Namespace::create(&format!("{prefix}{}-{role}", system.slug())))
            .collect::<Result<Vec<_>>>()?;
        let [node, pods @ ..] = namespaces.as_slice() else { unreachable!("three were made") };
        let switch = match system {
            System::Flyover => Switch::Flyover(start_flyover(node, pods, directory, workers)?),
            System::KernelBridge => {
                build_bridge(node, pods)?;
                Switch::Kernel
            }
            System::OpenVSwitch => {
                let switch = OpenVSwitch::start(node, pods, &directory.join("ovs"))?;
                for (pod, address) in pods.iter().zip(POD_ADDRESSES) {
                    configure(pod, address)?;
                }
                Switch::OpenVSwitch(switch)
            }
        };
        let client = Agent::start(pods[0].name())?;
        let server = Agent::start(pods[1].name())?;
        Ok(Self { system, client, server, switch, namespaces })
    }

    /// Where the receiving pod is reached.
    pub(crate) fn address(&self) -> IpAddr {
        POD_ADDRESSES[1].into()
    }

    /// Why the switch is gone, if it should be there and is not.
    pub(crate) fn obituary(&mut self) -> Option<String> {
        match &mut self.switch {
            Switch::Flyover(daemon) => daemon.has_ended().then(|| daemon.last_words()),
            Switch::OpenVSwitch(switch) => switch.has_ended().then(|| "ovs-vswitchd ended".to_owned()),
            Switch::Kernel => None,
        }
    }

    /// Sums over all devices of all namespaces but loopback.
    pub(crate) fn device_drops(&self) -> Result<DeviceDrops> {
        let mut sum = DeviceDrops::default();
        for namespace in &self.namespaces {
            let links = ip_json(namespace.name(), &["-statistics", "link", "show"])?;
            sum = sum.plus(DeviceDrops::parse(&links));
        }
        Ok(sum)
    }
}

impl DeviceDrops {
    fn parse(links: &serde_json::Value) -> Self {
        let links = links.as_array().map(Vec::as_slice).unwrap_or_default();
        links.iter().filter(|link| link["ifname"] != "lo").fold(Self::default(), |sum, link| {
            let counter =
                |direction: &str, name: &str| link["stats64"][direction][name].as_u64().unwrap_or(0);
            sum.plus(Self {
                tx_dropped: counter("tx", "dropped"),
                rx_dropped: counter("rx", "dropped"),
                errors: counter("tx", "errors") + counter("rx", "errors"),
            })
        })
    }

    fn plus(self, other: Self) -> Self {
        Self {
            tx_dropped: self.tx_dropped + other.tx_dropped,
            rx_dropped: self.rx_dropped + other.rx_dropped,
            errors: self.errors + other.errors,
        }
    }

    /// What was added since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            tx_dropped: self.tx_dropped.saturating_sub(earlier.tx_dropped),
            rx_dropped: self.rx_dropped.saturating_sub(earlier.rx_dropped),
            errors: self.errors.saturating_sub(earlier.errors),
        }
    }
}

fn start_flyover(node: &Namespace, pods: &[Namespace], directory: &Path, workers: u16) -> Result<Daemon> {
    let mut settings = format!(
        "[node]\nname = \"bench\"\npod_cidrs = [\"10.244.1.0/24\"]\n\n[workers]\ncount = {workers}\n"
    );
    for (index, (pod, address)) in pods.iter().zip(POD_ADDRESSES).enumerate() {
        let netns = pod.path();
        write!(
            settings,
            "\n[[port]]\nname = \"pod{}\"\ntype = \"tap\"\nnetns = {netns:?}\ndevice = \"eth0\"\n\
             addresses = [\"{address}/24\"]\n",
            index + 1,
        )?;
    }
    Daemon::start(node.name(), &directory.join("flyover"), &settings, Lifetime::Ours)
}

/// What the CNI plugin `bridge` makes with `isDefaultGateway`.
fn build_bridge(node: &Namespace, pods: &[Namespace]) -> Result<()> {
    node.ip(&["link", "add", "cni0", "type", "bridge"])?;
    node.ip(&["address", "add", GATEWAY, "dev", "cni0"])?;
    node.ip(&["link", "set", "cni0", "up"])?;
    for (index, (pod, address)) in pods.iter().zip(POD_ADDRESSES).enumerate() {
        let veth = format!("veth{}", index + 1);
        node.ip(&["link", "add", &veth, "type", "veth", "peer", "name", "eth0", "netns", pod.name()])?;
        node.ip(&["link", "set", &veth, "master", "cni0"])?;
        node.ip(&["link", "set", &veth, "up"])?;
        configure(pod, address)?;
    }
    Ok(())
}

/// Gives the pod's `eth0` its address and the default route.
fn configure(pod: &Namespace, address: Ipv4Addr) -> Result<()> {
    pod.ip(&["address", "add", &format!("{address}/24"), "dev", "eth0"])?;
    pod.ip(&["link", "set", "eth0", "up"])?;
    let (gateway, _) = GATEWAY.split_once('/').context("the gateway has a prefix length")?;
    ip(&["-n", pod.name(), "route", "add", "default", "via", gateway])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_summed_over_all_devices_but_loopback() {
        let links = serde_json::json!([
            {"ifname": "lo", "stats64": {"tx": {"dropped": 100}}},
            {"ifname": "eth0", "stats64": {"tx": {"dropped": 2, "errors": 1}, "rx": {"dropped": 3}}},
            {"ifname": "cni0", "stats64": {"tx": {"dropped": 5}, "rx": {"errors": 7}}},
            {"ifname": "odd"}
        ]);
        let drops = DeviceDrops::parse(&links);
        assert_eq!(drops, DeviceDrops { tx_dropped: 7, rx_dropped: 3, errors: 8 });
        assert_eq!(drops.since(drops), DeviceDrops::default());
    }
}
