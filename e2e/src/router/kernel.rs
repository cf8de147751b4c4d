//! The kernel as a router: a namespace with a bridge like cni0, two pods on it, and an uplink.

use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::{
    GATEWAY_MAC, GATEWAYS, NEIGHBORS, NODE_MAC, NODES, Outcome, POD_A_MAC, POD_B_MAC, POD_MTU_BYTES, PORTS,
    UPLINK, UPLINK_MTU_BYTES, Way, packets, read, routes,
};
use crate::{DEADLINE, Namespace, RawSocket};

/// What a node's kernel is told, below `/proc/sys/net`. Limits of errors are off: they are compared elsewhere.
const SETTINGS: &[(&str, &str)] = &[
    ("ipv4/conf/all/rp_filter", "1"),
    ("ipv4/conf/default/rp_filter", "1"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv4/conf/all/accept_redirects", "0"),
    ("ipv4/conf/default/accept_redirects", "0"),
    ("ipv4/conf/all/accept_source_route", "0"),
    ("ipv4/conf/default/accept_source_route", "0"),
    ("ipv4/ip_forward", "1"),
    ("ipv4/icmp_ratelimit", "0"),
    ("ipv4/icmp_ratemask", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/dad_transmits", "0"),
    ("ipv6/conf/all/accept_redirects", "0"),
    ("ipv6/conf/all/forwarding", "1"),
    ("ipv6/conf/default/forwarding", "1"),
    ("ipv6/auto_flowlabels", "0"),
    ("ipv6/icmp/ratelimit", "0"),
    ("ipv6/icmp/ratemask", "255"),
];

/// The kernel router, with a raw socket where each of its neighbors would be.
#[derive(Debug)]
pub struct KernelRouter {
    sockets: Vec<RawSocket>,
    serial: u32,
    /// The router itself, to be changed by a test.
    pub router: Namespace,
    _stations: Vec<Namespace>,
}

impl KernelRouter {
    /// Makes it, with or without default routes. The calling thread is tied to one processor, so that what it sends
    /// is received in the order in which it was sent.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new(with_default: bool) -> Self {
        stay_on_one_processor();
        let router = Namespace::new("router");
        for (key, value) in SETTINGS {
            router.sysctl(&format!("net/{key}"), value);
        }
        router.ip(&format!("link add br0 address {GATEWAY_MAC} type bridge stp_state 0 mcast_snooping 0"));
        // With the netfilter hooks of bridged frames what passes depends on the node's iptables rules.
        for family in ["iptables", "ip6tables", "arptables"] {
            let key = format!("net/bridge/bridge-nf-call-{family}");
            if std::path::Path::new("/proc/sys").join(&key).exists() {
                router.sysctl(&key, "0");
            }
        }
        let stations: Vec<_> = (0..PORTS).map(|port| Namespace::new_quiet(&format!("r{port}"))).collect();
        for (port, station) in stations.iter().enumerate() {
            let (name, mtu_bytes) = (station.name(), POD_MTU_BYTES);
            router.ip(&format!(
                "link add v{port} mtu {mtu_bytes} type veth peer name eth0 mtu {mtu_bytes} netns {name}"
            ));
            station.ip("link set eth0 arp off up");
        }
        router.ip(&format!("link set v{UPLINK} address {NODE_MAC} mtu {UPLINK_MTU_BYTES}"));
        for (port, mac) in [POD_A_MAC, POD_B_MAC].into_iter().enumerate() {
            // No IPv6 of its own on a port of the bridge.
            router.sysctl(&format!("net/ipv6/conf/v{port}/disable_ipv6"), "1");
            router.ip(&format!("link set v{port} master br0"));
            router.ip(&format!("link set v{port} type bridge_slave learning off"));
            router.ip(&format!("link set v{port} up"));
            let arguments = format!("fdb add {mac} dev v{port} master static");
            let words: Vec<_> = arguments.split(' ').collect();
            assert!(router.output("bridge", &words).status.success(), "bridge {arguments}");
        }
        router.ip("link set br0 up");
        router.ip(&format!("link set v{UPLINK} up"));
        for (addresses, device) in [(GATEWAYS, "br0".to_owned()), (NODES, format!("v{UPLINK}"))] {
            for address in addresses {
                router.ip(&format!("addr add {address} dev {device}"));
            }
        }
        add_neighbors_and_routes(&router, with_default);
        crate::wait_until("the bridge forwards and addresses are there", || {
            let is_ready = router.ip("-d link show master br0").matches("state forwarding").count() == 2
                && !router.ip("addr show").contains("tentative")
                && router.ip("-6 addr show dev br0").contains("fe80")
                && router.ip(&format!("-6 addr show dev v{UPLINK}")).contains("fe80");
            is_ready.then_some(())
        });
        let sockets = stations.iter().map(|station| RawSocket::open(station, "eth0")).collect();
        Self { sockets, serial: 0, router, _stations: stations }
    }

    /// Sends a frame into a port and collects what comes of it at once.
    ///
    /// # Panics
    /// If the kernel refuses the frame, or loses what is sent behind it.
    pub fn perform(&mut self, ingress: usize, frame: &[u8]) -> Outcome {
        self.sockets[ingress].send(frame);
        self.serial += 1;
        let mark = packets::sentinel_mark(self.serial);
        for sentinel in packets::sentinels(ingress, &mark) {
            self.sockets[ingress].send(&sentinel);
        }
        let mut received = vec![Vec::new(); PORTS];
        for (port, socket) in self.sockets.iter().enumerate() {
            loop {
                let frame = socket.receive(DEADLINE);
                let frame =
                    frame.unwrap_or_else(|| panic!("port {port} misses the sentinel of port {ingress}"));
                if frame.ends_with(&mark) {
                    break;
                }
                received[port].push(frame);
            }
            received[port].retain(|frame| !packets::is_sentinel(frame) && !read::is_kernel_s_own(frame));
        }
        Outcome::new(received)
    }

    /// All frames that each port sends, in their order, until they are `enough`.
    ///
    /// # Panics
    /// If they never are.
    #[must_use]
    pub fn collect(&self, enough: impl Fn(&[Vec<Vec<u8>>]) -> bool) -> Vec<Vec<Vec<u8>>> {
        let mut sent = vec![Vec::new(); PORTS];
        crate::wait_until("the kernel has sent what it should", || {
            for (socket, frames) in self.sockets.iter().zip(&mut sent) {
                let received = std::iter::from_fn(|| socket.receive(Duration::ZERO));
                frames.extend(received.filter(|frame| !read::is_report(frame)));
            }
            enough(&sent).then_some(())
        });
        sent
    }

    /// Sends a frame into a port and looks for nothing.
    pub fn send(&self, ingress: usize, frame: &[u8]) {
        self.sockets[ingress].send(frame);
    }
}

fn add_neighbors_and_routes(router: &Namespace, with_default: bool) {
    for (address, mac, port) in NEIGHBORS {
        let device = if *port == UPLINK { format!("v{UPLINK}") } else { "br0".to_owned() };
        router.ip(&format!("neigh add {address} lladdr {mac} dev {device} nud permanent"));
    }
    for (prefix, way) in routes(with_default) {
        match way {
            Way::Via(gateway) => router.ip(&format!("route add {prefix} via {gateway}")),
            Way::Blackhole => router.ip(&format!("route add blackhole {prefix}")),
            Way::Prohibit => router.ip(&format!("route add prohibit {prefix}")),
            Way::Unreachable => router.ip(&format!("route add unreachable {prefix}")),
        };
    }
}

/// Frames of one thread that moves between processors could overtake one another in the kernel.
fn stay_on_one_processor() {
    let allowed = sched_getaffinity(None).expect("a thread may know its processors");
    let first = (0..CpuSet::MAX_CPU).find(|cpu| allowed.is_set(*cpu)).expect("it runs on some processor");
    let mut one = CpuSet::new();
    one.set(first);
    sched_setaffinity(None, &one).expect("a thread may stay where it is");
}
