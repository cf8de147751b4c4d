//! Port security: who may say what on a port.

use packet::{DropReason, Layout, MacAddress};
use std::net::IpAddr;

/// The MAC and the addresses that a port is bound to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Binding {
    /// The only source MAC.
    pub mac: MacAddress,
    /// The only source IP addresses.
    pub addresses: Vec<IpAddr>,
}

impl Binding {
    /// Judges one frame that came in by the port.
    ///
    /// # Errors
    /// The reason for which the frame is to be dropped.
    pub fn check(&self, bytes: &[u8], _layout: &Layout) -> Result<(), DropReason> {
        if MacAddress::read(bytes, 6) == Some(self.mac) { Ok(()) } else { Err(DropReason::SpoofedSource) }
    }
}
