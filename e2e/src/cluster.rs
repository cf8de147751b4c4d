//! A cluster: two nodes, the cloud's router between them, and a host outside.
//!
//! ```text
//!   node 1: pods 10.244.1.0/24            node 2: pods 10.244.2.0/24
//!     eth0 192.168.1.11 ── n1 ┐      ┌ n2 ── eth0 192.168.2.11
//!                             cloud
//!                              │ out 203.0.113.1
//!                              eth0 203.0.113.7: outside
//! ```
//! And the same with IPv6: fd00:244:N::/64, fd01:N::11, fd02::7. The cloud's router knows which pods are behind which
//! node, as a VPC route table does; pods keep their addresses between nodes and to the outside, which has a way back.

use std::net::IpAddr;

use crate::{Namespace, Plan, Rig};

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    /// Its nodes, in the order of their numbers.
    pub nodes: [Rig; 2],
    /// The router between them.
    pub cloud: Namespace,
    /// Somebody who is not of the cluster.
    pub outside: Namespace,
}

impl Cluster {
    /// The addresses of the host outside.
    pub const OUTSIDE: [IpAddr; 2] = [
        IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7)),
        IpAddr::V6(std::net::Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, 7)),
    ];

    /// Starts two nodes that look like `plan`, each with an uplink, and waits until both are ready.
    ///
    /// # Panics
    /// If any of it fails.
    #[must_use]
    pub fn start(plan: &Plan) -> Self {
        let mut cluster = Self::prepare(plan);
        cluster.nodes.iter_mut().for_each(Rig::start_daemon);
        cluster
    }

    /// Everything but the daemons' start.
    ///
    /// # Panics
    /// If any of it fails.
    #[must_use]
    pub fn prepare(plan: &Plan) -> Self {
        let nodes = [1, 2].map(|number| {
            let plan = plan.clone().node(number);
            Rig::prepare(
                &plan.sections("cidrs = [\"10.96.0.0/12\", \"fd00:96::/108\"]\n[uplink]\ndevice = \"eth0\""),
            )
        });
        let (cloud, outside) = (Namespace::new("cloud"), Namespace::new("outside"));
        for key in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            cloud.sysctl(key, "1");
        }
        for node in &nodes {
            // As strict as a node may be about where packets come from.
            node.host.sysctl("net/ipv4/conf/all/rp_filter", "1");
        }
        let cluster = Self { nodes, cloud, outside };
        // A router asks for nobody while its link-local address is still tentative, which takes seconds.
        for namespace in [&cluster.cloud, &cluster.outside, &cluster.nodes[0].host, &cluster.nodes[1].host] {
            namespace.sysctl("net/ipv6/conf/default/dad_transmits", "0");
        }
        cluster.nodes.iter().zip(1..).for_each(|(node, number)| cluster.plug_in(&node.host, number));
        link(&cluster.outside, "eth0", &cluster.cloud, "out");
        addresses(&cluster.cloud, "out", &["203.0.113.1/24", "fd02::1/64"]);
        addresses(&cluster.outside, "eth0", &["203.0.113.7/24", "fd02::7/64"]);
        default_routes(&cluster.outside, "203.0.113.1", "fd02::1");
        cluster
    }

    /// Makes (again) the cable between a node and the cloud, with addresses and routes at both ends, as whoever
    /// configures a node's network card does.
    ///
    /// # Panics
    /// If any of it fails.
    pub fn plug_in(&self, node: &Namespace, number: u8) {
        let far = format!("n{number}");
        link(node, "eth0", &self.cloud, &far);
        addresses(&self.cloud, &far, &[&format!("192.168.{number}.1/24"), &format!("fd01:{number}::1/64")]);
        addresses(node, "eth0", &[&format!("192.168.{number}.11/24"), &format!("fd01:{number}::11/64")]);
        default_routes(node, &format!("192.168.{number}.1"), &format!("fd01:{number}::1"));
        self.cloud.ip(&format!("route add 10.244.{number}.0/24 via 192.168.{number}.11"));
        self.cloud.ip(&format!("-6 route add fd00:244:{number}::/64 via fd01:{number}::11"));
    }

    /// The addresses of a node on its uplink.
    #[must_use]
    pub fn node_addresses(number: u8) -> [IpAddr; 2] {
        let v6 = std::net::Ipv6Addr::new(0xfd01, number.into(), 0, 0, 0, 0, 0, 0x11);
        [IpAddr::from([192, 168, number, 11]), v6.into()]
    }
}

/// A cable between two namespaces.
fn link(near: &Namespace, near_device: &str, far: &Namespace, far_device: &str) {
    let peer = format!("peer name {far_device} netns {}", far.name());
    near.ip(&format!("link add {near_device} type veth {peer}"));
    near.ip(&format!("link set {near_device} up"));
    far.ip(&format!("link set {far_device} up"));
}

/// Addresses that are usable at once.
fn addresses(namespace: &Namespace, device: &str, addresses: &[&str]) {
    for address in addresses {
        let nodad = if address.contains(':') { " nodad" } else { "" };
        namespace.ip(&format!("address add {address} dev {device}{nodad}"));
    }
}

fn default_routes(namespace: &Namespace, v4: &str, v6: &str) {
    namespace.ip(&format!("route add default via {v4}"));
    namespace.ip(&format!("-6 route add default via {v6}"));
}
