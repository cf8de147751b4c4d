//! What is compared: a cluster over one system, with an agent at both ends of the way.

use super::leftovers::Workspace;
use super::subject::Subject;
use crate::cluster::{Cluster, Plan, System};
use crate::host::{Lifetime, ip_json};
use crate::traffic::Agent;
use anyhow::Result;
use serde::Serialize;
use std::net::IpAddr;

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

/// A cluster and two agents in it. Dropping it removes everything.
#[derive(Debug)]
pub(crate) struct Rig {
    /// What forwards.
    pub system: System,
    /// The agent that sends.
    pub client: Agent,
    /// The agent that receives.
    pub server: Agent,
    /// Where the agent that receives is reached.
    pub address: IpAddr,
    // Last: agents end before their namespaces go.
    cluster: Cluster,
}

impl Rig {
    /// Builds what `subject` needs over `system`.
    ///
    /// # Errors
    /// When anything cannot be made; what was made before is removed.
    pub(super) fn build(
        subject: Subject,
        system: System,
        workspace: &Workspace,
        workers: u16,
    ) -> Result<Self> {
        let plan = Plan {
            system,
            shape: subject.shape(),
            prefix: &format!("{}{}-", workspace.prefix(), system.slug()),
            directory: &workspace.directory().join(system.slug()),
            workers,
            lifetime: Lifetime::Ours,
        };
        let cluster = Cluster::build(&plan, |_| ())?;
        let (from, to) = subject.ends();
        let client = Agent::start(cluster.at(from)?.name())?;
        let server = Agent::start(cluster.at(to)?.name())?;
        let [address, _] = to.addresses();
        Ok(Self { system, client, server, address, cluster })
    }

    /// Why a program that forwards is gone, if one is.
    pub(crate) fn obituary(&mut self) -> Option<String> {
        self.cluster.obituary()
    }

    /// Sums over all devices of all namespaces but loopback.
    pub(crate) fn device_drops(&self) -> Result<DeviceDrops> {
        let mut sum = DeviceDrops::default();
        for namespace in self.cluster.namespaces() {
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
