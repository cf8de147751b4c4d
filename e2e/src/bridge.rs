//! The Linux bridge that flyover replaces, set up as cni0 is, with veth pairs into pods.

use crate::script::LINUX_BRIDGE;
use crate::{Namespace, RawSocket};

/// A bridge with one pod a port, all in namespaces whose kernel keeps quiet.
#[derive(Debug)]
pub struct BridgeRig {
    pods: Vec<Namespace>,
    _bridge: Namespace,
}

impl BridgeRig {
    /// Makes the bridge and a pod for each MTU, which both ends of its veth pair get.
    ///
    /// STP off, aging 300 s and multicast snooping on without a querier, as the bridge plugin of CNI leaves it. The
    /// netfilter hooks of bridged frames are off: with them, what passes depends on the node's iptables rules.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new(mtus_bytes: &[u32]) -> Self {
        let bridge = Namespace::new_quiet("bridge");
        bridge.ip(&format!(
            "link add br0 address {LINUX_BRIDGE} type bridge \
                           stp_state 0 ageing_time 30000 mcast_snooping 1"
        ));
        for family in ["iptables", "ip6tables", "arptables"] {
            let key = format!("net/bridge/bridge-nf-call-{family}");
            if std::path::Path::new("/proc/sys").join(&key).exists() {
                bridge.sysctl(&key, "0");
            }
        }
        let mtu_max = mtus_bytes.iter().max().expect("a bridge has ports");
        bridge.ip(&format!("link set br0 mtu {mtu_max} up"));
        let pods: Vec<_> = mtus_bytes
            .iter()
            .enumerate()
            .map(|(index, mtu_bytes)| {
                let pod = Namespace::new_quiet(&format!("b{index}"));
                let name = pod.name();
                bridge.ip(&format!(
                    "link add v{index} mtu {mtu_bytes} type veth peer name eth0 mtu {mtu_bytes} netns {name}"
                ));
                pod.ip("link set eth0 arp off up");
                bridge.ip(&format!("link set v{index} master br0 up"));
                pod
            })
            .collect();
        crate::wait_until("all ports of the bridge forward", || {
            let ports = bridge.ip("-d link show master br0");
            (ports.matches("state forwarding").count() == pods.len()).then_some(())
        });
        Self { pods, _bridge: bridge }
    }

    /// A raw socket on the device of each pod.
    #[must_use]
    pub fn raw_sockets(&self) -> Vec<RawSocket> {
        self.pods.iter().map(|pod| RawSocket::open(pod, "eth0")).collect()
    }
}
