//! IPv6 (RFC 8200).

use std::net::Ipv6Addr;

/// Bytes of the header without extension headers.
pub const HEADER_BYTES: usize = 40;

/// A header, seen in place.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    fixed: &'a [u8; HEADER_BYTES],
}

impl<'a> Header<'a> {
    /// The header at the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        bytes.first_chunk().map(|fixed| Self { fixed })
    }

    /// Source address.
    #[must_use]
    pub fn source(&self) -> Ipv6Addr {
        let mut octets = [0; 16];
        octets.copy_from_slice(&self.fixed[8..24]);
        octets.into()
    }

    /// Destination address.
    #[must_use]
    pub fn destination(&self) -> Ipv6Addr {
        let mut octets = [0; 16];
        octets.copy_from_slice(&self.fixed[24..]);
        octets.into()
    }
}
