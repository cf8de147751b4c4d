//! SCTP (RFC 9260), as far as a flow is told by it.

/// Bytes of the common header (RFC 9260 §3.1).
pub const HEADER_BYTES: usize = 12;

/// A common header, seen in place.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a>(&'a [u8; HEADER_BYTES]);

impl<'a> Header<'a> {
    /// The header at the start of `bytes`, or `None` if it is not all there.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        bytes.first_chunk().map(Self)
    }

    /// Source port.
    #[must_use]
    pub fn source_port(&self) -> u16 {
        u16::from_be_bytes([self.0[0], self.0[1]])
    }

    /// Destination port.
    #[must_use]
    pub fn destination_port(&self) -> u16 {
        u16::from_be_bytes([self.0[2], self.0[3]])
    }

    /// The tag by which the receiver knows the sender.
    #[must_use]
    pub fn verification_tag(&self) -> u32 {
        u32::from_be_bytes([self.0[4], self.0[5], self.0[6], self.0[7]])
    }
}
