//! IPv4 (RFC 791 §3.1).

use std::net::Ipv4Addr;

use crate::checksum;

/// Bytes of a header without options.
pub const HEADER_BYTES: usize = 20;

/// A header with its options, seen in place.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    fixed: &'a [u8; HEADER_BYTES],
    options: &'a [u8],
}

impl<'a> Header<'a> {
    /// The header at the start of `bytes`, or `None` if it is not all there, or version or header length
    /// are not those of IPv4. The total length is not compared with `bytes`.
    #[must_use]
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let fixed: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let options = bytes.get(HEADER_BYTES..usize::from(fixed[0] & 0x0f) * 4)?;
        (fixed[0] >> 4 == 4).then_some(Self { fixed, options })
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.fixed[at], self.fixed[at + 1]])
    }

    /// Bytes of the header, options included.
    #[must_use]
    pub fn header_bytes(&self) -> usize {
        HEADER_BYTES + self.options.len()
    }

    /// Options, not looked into.
    #[must_use]
    pub fn options(&self) -> &'a [u8] {
        self.options
    }

    /// Differentiated services and congestion bits.
    #[must_use]
    pub fn traffic_class(&self) -> u8 {
        self.fixed[1]
    }

    /// Bytes of the packet, header included.
    #[must_use]
    pub fn total_length(&self) -> u16 {
        self.word(2)
    }

    /// Identification, by which fragments find together.
    #[must_use]
    pub fn identification(&self) -> u16 {
        self.word(4)
    }

    /// The packet must not be fragmented.
    #[must_use]
    pub fn dont_fragment(&self) -> bool {
        self.fixed[6] & 0x40 != 0
    }

    /// More fragments follow.
    #[must_use]
    pub fn more_fragments(&self) -> bool {
        self.fixed[6] & 0x20 != 0
    }

    /// Where this fragment begins in the packet's payload, in bytes.
    #[must_use]
    pub fn fragment_offset_bytes(&self) -> u16 {
        (self.word(6) & 0x1fff) * 8
    }

    /// Time to live.
    #[must_use]
    pub fn ttl(&self) -> u8 {
        self.fixed[8]
    }

    /// Protocol of the payload.
    #[must_use]
    pub fn protocol(&self) -> u8 {
        self.fixed[9]
    }

    /// Header checksum.
    #[must_use]
    pub fn checksum(&self) -> u16 {
        self.word(10)
    }

    /// True if the header checksum is right.
    #[must_use]
    pub fn checksum_is_valid(&self) -> bool {
        checksum::Sum::of(self.fixed).with(self.options).checksum() == 0
    }

    /// Source address.
    #[must_use]
    #[inline]
    pub fn source(&self) -> Ipv4Addr {
        let [.., a, b, c, d, _, _, _, _] = *self.fixed;
        Ipv4Addr::new(a, b, c, d)
    }

    /// Destination address.
    #[must_use]
    #[inline]
    pub fn destination(&self) -> Ipv4Addr {
        let [.., a, b, c, d] = *self.fixed;
        Ipv4Addr::new(a, b, c, d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_rfc_791_puts_them() {
        let mut bytes = [0x46, 1, 0, 99, 2, 3, 0x60, 5, 6, 7, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 1, 1, 1, 0];
        let sum = checksum::of(&bytes);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        let header = Header::new(&bytes).unwrap();
        assert_eq!((header.header_bytes(), header.options()), (24, &[1, 1, 1, 0][..]));
        assert_eq!((header.total_length(), header.identification()), (99, 0x0203));
        assert_eq!((header.dont_fragment(), header.more_fragments()), (true, true));
        assert_eq!((header.fragment_offset_bytes(), header.ttl(), header.protocol()), (40, 6, 7));
        assert!(header.checksum_is_valid());
        assert!(Header::new(&bytes[..23]).is_none());
        bytes[0] = 0x44;
        assert!(Header::new(&bytes).is_none());
        bytes[0] = 0x65;
        assert!(Header::new(&bytes).is_none());
    }
}
