//! A new port makes itself known, so that neighbors do not keep what they knew of its addresses.

use std::net::IpAddr;

use dataplane::QueueOwners;
use packet::{MacAddress, arp, icmpv6};

use super::{Control, Port};
use crate::api::types::Origin;

impl Control {
    /// Sends gratuitous ARP (RFC 5227 §3) and unsolicited neighbor advertisements (RFC 4861 §7.2.6) of the
    /// port's addresses to all other ports that are up. What a worker has no room for is not sent: this is
    /// a courtesy.
    pub(super) fn announce(&self, name: &str) {
        let Some(announced) = self.ports.get(name) else { return };
        let addresses: Vec<IpAddr> = announced.config.hosts().collect();
        let frames = frames(announced.mac, &addresses, announced.origin == Origin::Host);
        if frames.is_empty() {
            return;
        }
        for port in self.bridge_ports().filter(|port| port.is_up() && port.id != announced.id) {
            self.send(port, frames.clone());
        }
    }

    /// The ports that are on the bridge.
    pub(super) fn bridge_ports(&self) -> impl Iterator<Item = &Port> {
        self.ports.values().filter(|port| port.origin != Origin::Uplink)
    }

    /// Sends frames of the switch's own by a port, if a worker has room for them.
    pub(super) fn send(&self, port: &Port, frames: Vec<Vec<u8>>) {
        let worker = match port.owners {
            QueueOwners::All => 0,
            QueueOwners::One(owner) => owner,
        };
        if let Err(error) = self.dataplane.originate(port.id, frames, worker) {
            tracing::debug!("frames for {} are not sent: {error}", port.config.name);
        }
    }
}

/// One frame for each address.
fn frames(mac: MacAddress, addresses: &[IpAddr], is_router: bool) -> Vec<Vec<u8>> {
    addresses
        .iter()
        .map(|address| match address {
            IpAddr::V4(address) => arp::gratuitous(mac, *address).to_vec(),
            IpAddr::V6(address) => {
                icmpv6::unsolicited_neighbor_advertisement(mac, *address, is_router).to_vec()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_announced_from_the_port_s_own_mac() {
        let mac = MacAddress([2, 0, 0, 0, 0, 1]);
        let frames = frames(mac, &["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()], false);
        assert_eq!(frames.len(), 2);
        for frame in &frames {
            assert_eq!(MacAddress::read(frame, 6), Some(mac));
            assert!(MacAddress::read(frame, 0).unwrap().is_group());
        }
    }
}
