//! MAC addresses that are the same after every restart.

use std::net::IpAddr;

use ipnet::IpNet;
use packet::MacAddress;

use crate::config::PortConfig;

/// The MAC of the gateway: `0a:58` and the first IPv4 gateway address, as the CNI plugins derive it, so that
/// neighbor caches of pods stay right over restarts and a rollback. With IPv6 only, `0a:58` and a hash of the
/// address.
#[must_use]
pub fn gateway_mac(gateways: &[IpNet]) -> MacAddress {
    let v4 = gateways.iter().find_map(|gateway| match gateway.addr() {
        IpAddr::V4(address) => Some(address.octets()),
        IpAddr::V6(_) => None,
    });
    let [a, b, c, d] = v4.unwrap_or_else(|| {
        let mut hash = StableHash::new();
        for gateway in gateways {
            hash.part(gateway.addr().to_string().as_bytes());
        }
        let [.., a, b, c, d] = hash.finish().to_be_bytes();
        [a, b, c, d]
    });
    MacAddress([0x0a, 0x58, a, b, c, d])
}

/// The MAC of a port's device: the configured one, or a locally administered one derived from the names of
/// node, port and device.
#[must_use]
pub fn port_mac(node_name: &str, port: &PortConfig) -> MacAddress {
    port.mac.unwrap_or_else(|| derived_mac(node_name, &port.name, port.device_name()))
}

/// A locally administered unicast address (IEEE 802-2014 §8.2) from a hash of the three names.
#[must_use]
pub fn derived_mac(node_name: &str, port_name: &str, device: &str) -> MacAddress {
    let mut hash = StableHash::new();
    for name in [node_name, port_name, device] {
        hash.part(name.as_bytes());
    }
    let MacAddress([first, rest @ ..]) = MacAddress::from_u64(hash.finish());
    let [b, c, d, e, f] = rest;
    MacAddress([(first & 0xfc) | 0x02, b, c, d, e, f])
}

/// FNV-1a of 64 bits with the final mix of `MurmurHash3`: stable over versions of the compiler, unlike the
/// standard library's. The names are the operator's, so that nobody gains from collisions, which
/// validation reports anyway.
struct StableHash(u64);

impl StableHash {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Adds a part and its end: `ab`, `c` differs from `a`, `bc`.
    fn part(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain(&[0]) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    const fn finish(self) -> u64 {
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        mixed ^ (mixed >> 33)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn derived_addresses_never_change() {
        assert_eq!(derived_mac("node-1", "vm1", "eth0").to_string(), "6a:89:70:3a:e1:28");
    }

    #[test]
    fn derived_addresses_are_unicast_and_locally_administered() {
        let macs: BTreeSet<_> = (0..4096).map(|pod| derived_mac("n", &format!("pod{pod}"), "eth0")).collect();
        assert_eq!(macs.len(), 4096);
        assert!(macs.iter().all(|mac| mac.0[0] & 3 == 2));
    }

    #[test]
    fn the_bounds_between_the_names_count() {
        assert_ne!(derived_mac("n", "ab", "c"), derived_mac("n", "a", "bc"));
    }

    #[test]
    fn the_gateways_address_is_in_its_mac_as_the_cni_plugins_do() {
        let gateways = ["fd00::1/64".parse().unwrap(), "10.244.1.1/24".parse().unwrap()];
        assert_eq!(gateway_mac(&gateways).to_string(), "0a:58:0a:f4:01:01");
        let only_v6 = gateway_mac(&["fd00::1/64".parse().unwrap()]);
        assert_eq!(only_v6.0[..2], [0x0a, 0x58]);
        assert_ne!(only_v6, gateway_mac(&["fd00::2/64".parse().unwrap()]));
    }
}
