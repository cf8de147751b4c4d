//! Ethernet (IEEE 802.3-2018 §3) and VLAN tags (IEEE 802.1Q-2018 §9.6).

use crate::MacAddress;
use crate::protocol::ethertype;

/// Bytes of a header without tags.
pub const HEADER_BYTES: usize = 14;

/// Bytes of one VLAN tag.
pub const TAG_BYTES: usize = 4;

/// Shortest frame on a wire, without frame check sequence. TAP devices carry shorter ones.
pub const FRAME_BYTES_MIN: usize = 60;

/// A header, seen in place.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a>(&'a [u8; HEADER_BYTES]);

impl<'a> Header<'a> {
    /// The header at the start of `bytes`, or `None` if it is not all there.
    #[must_use]
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        bytes.first_chunk().map(Self)
    }

    /// Destination address.
    #[must_use]
    #[inline]
    pub fn destination(&self) -> MacAddress {
        let [a, b, c, d, e, f, ..] = *self.0;
        MacAddress([a, b, c, d, e, f])
    }

    /// Source address.
    #[must_use]
    #[inline]
    pub fn source(&self) -> MacAddress {
        let [_, _, _, _, _, _, a, b, c, d, e, f, _, _] = *self.0;
        MacAddress([a, b, c, d, e, f])
    }

    /// EtherType, or length of an LLC frame; before any VLAN tag.
    #[must_use]
    #[inline]
    pub fn ethertype(&self) -> u16 {
        u16::from_be_bytes([self.0[12], self.0[13]])
    }
}

/// The VLAN identifier of the outermost tag, 12 bits; `None` without a tag that is all there.
#[must_use]
pub fn vlan_id(bytes: &[u8]) -> Option<u16> {
    let header = Header::new(bytes)?;
    let &[high, low, _, _] = bytes.get(HEADER_BYTES..)?.first_chunk()?;
    matches!(header.ethertype(), ethertype::VLAN | ethertype::SERVICE_VLAN)
        .then_some(u16::from_be_bytes([high, low]) & 0x0fff)
}

/// A header to send.
#[must_use]
pub fn header(destination: MacAddress, source: MacAddress, ethertype: u16) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..6].copy_from_slice(&destination.0);
    header[6..12].copy_from_slice(&source.0);
    header[12..].copy_from_slice(&ethertype.to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let (destination, source) = (MacAddress([1, 2, 3, 4, 5, 6]), MacAddress([7, 8, 9, 10, 11, 12]));
        let bytes = header(destination, source, 0x86dd);
        let header = Header::new(&bytes).unwrap();
        assert_eq!((header.destination(), header.source()), (destination, source));
        assert_eq!(header.ethertype(), 0x86dd);
        assert!(Header::new(&bytes[..13]).is_none());
    }

    #[test]
    fn the_vlan_is_that_of_the_outermost_tag() {
        let mut bytes = header(MacAddress::ZERO, MacAddress::ZERO, 0x88a8).to_vec();
        assert_eq!(vlan_id(&bytes), None);
        bytes.extend([0xf0, 0x0a, 0x81, 0, 0, 0x0b]);
        assert_eq!(vlan_id(&bytes), Some(10));
        assert_eq!(vlan_id(&bytes[..17]), None);
        bytes[12] = 8;
        assert_eq!(vlan_id(&bytes), None);
    }
}
