//! From everywhere to everywhere.

use super::{Ipv4, Ipv6, Step, macs_of, v4, v6};
use crate::router::read::is_pod;
use crate::router::{POD_A, POD_B, UPLINK};

const V4: &[&str] = &[
    "0.0.0.0",
    "0.1.2.3",
    "10.244.1.10",
    "10.244.1.11",
    "10.244.1.1",
    "10.244.1.255",
    "192.168.0.1",
    "192.168.0.2",
    "192.168.0.11",
    "192.168.0.255",
    "10.9.0.7",
    "10.20.0.1",
    "10.21.0.1",
    "10.22.0.1",
    "10.23.0.1",
    "10.24.0.1",
    "10.24.5.1",
    "10.24.5.7",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.1.1",
    "198.51.100.1",
    "224.0.0.1",
    "224.1.2.3",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.254",
    "255.255.255.255",
];

const V6: &[&str] = &[
    "::",
    "::1",
    "::2",
    "::ffff:10.9.0.7",
    "64:ff9b::1",
    "2001:db8::1",
    "fd00:244:1::10",
    "fd00:244:1::11",
    "fd00:244:1::1",
    "fd00:244:1::",
    "fd01::1",
    "fd01::2",
    "fd01::11",
    "fd01::",
    "fd09::7",
    "fd20::1",
    "fd21::1",
    "fd22::1",
    "fd23::1",
    "fd24::1",
    "fd24:5::1",
    "fd24:5::7",
    "fe80::10",
    "fe80::1",
    "fe80::f4:ff:fe00:fe",
    "fe80::f4:ff:fe00:fd",
    "fec0::1",
    "ff01::1",
    "ff02::1",
    "ff02::2",
    "ff05::2",
    "ff0e::1234",
];

pub(super) fn all() -> Vec<Step> {
    let mut steps = Vec::new();
    for ingress in [POD_A, POD_B, UPLINK] {
        let (to, from) = macs_of(ingress);
        for hops in [64, 1] {
            let may_ask = hops > 1 && ingress == POD_A;
            for source in V4 {
                for destination in V4.iter().filter(|to| !leads_nowhere(to) || may_ask) {
                    let packet = Ipv4 { ttl: hops, ..Ipv4::udp(v4(source), v4(destination), b"v4") };
                    let what = format!("from {source} to {destination}, TTL {hops}");
                    steps.push(Step::new(what, ingress, packet.frame(to, from)));
                }
            }
            for source in V6 {
                for destination in V6 {
                    let packet = Ipv6 { hop_limit: hops, ..Ipv6::udp(v6(source), v6(destination), b"v6") };
                    let what = format!("from {source} to {destination}, hop limit {hops}");
                    steps.push(Step::new(what, ingress, packet.frame(to, from)));
                }
            }
        }
    }
    steps
}

/// IPv6 from everywhere to everywhere, and IPv4 from everywhere to the pods, which a route leads to.
pub(super) fn without_default() -> Vec<Step> {
    let mut steps = all();
    steps.retain(|step| step.packet().is_some_and(|packet| !packet.is_v4 || is_pod(packet.destination())));
    steps
}

/// The kernel limits errors about such a route: each source hears of each once.
fn leads_nowhere(destination: &str) -> bool {
    ["10.21.0.1", "10.22.0.1", "10.24.5.7"].contains(&destination)
}
