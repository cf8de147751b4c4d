//! A new port makes itself known, so that neighbors do not keep what they knew of its addresses.

use dataplane::QueueOwners;

use super::{Control, Port};
use crate::api::types::Origin;
use crate::router::announcement;

impl Control {
    /// Sends gratuitous ARP (RFC 5227 §2.3) and unsolicited neighbor advertisements (RFC 4861 §7.2.6) of the
    /// port's addresses to all other ports that are up. What a worker has no room for is not sent: this is
    /// a courtesy.
    pub(super) fn announce(&self, name: &str) {
        let Some(announced) = self.ports.get(name) else { return };
        let is_router = announced.origin == Origin::Host;
        let addresses = announced.config.hosts();
        let frames: Vec<_> =
            addresses.map(|address| announcement(announced.mac, address, is_router)).collect();
        if frames.is_empty() {
            return;
        }
        for port in self.bridge_ports().filter(|port| port.is_up() && port.id != announced.id) {
            self.send(port, frames.clone());
        }
    }

    /// The ports that are on the bridge.
    pub(super) fn bridge_ports(&self) -> impl Iterator<Item = &Port> {
        self.ports.values().filter(|port| port.is_on_bridge())
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
