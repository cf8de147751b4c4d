//! UDP (RFC 768).

/// Bytes of the header.
pub const HEADER_BYTES: usize = 8;

/// From the start of the header to the checksum, in bytes.
pub const CHECKSUM_OFFSET: u16 = 6;

/// A header, seen in place.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a>(&'a [u8; HEADER_BYTES]);

impl<'a> Header<'a> {
    /// The header at the start of `bytes`, or `None` if it is not all there or its length is less than its
    /// own.
    #[must_use]
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let header = Self(bytes.first_chunk()?);
        (usize::from(header.length()) >= HEADER_BYTES).then_some(header)
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.0[at], self.0[at + 1]])
    }

    /// Source port.
    #[must_use]
    pub fn source_port(&self) -> u16 {
        self.word(0)
    }

    /// Destination port.
    #[must_use]
    pub fn destination_port(&self) -> u16 {
        self.word(2)
    }

    /// Bytes of header and payload.
    #[must_use]
    pub fn length(&self) -> u16 {
        self.word(4)
    }

    /// Checksum; 0 means none.
    #[must_use]
    pub fn checksum(&self) -> u16 {
        self.word(6)
    }
}
