//! TCP (RFC 9293 §3.1).

/// Bytes of a header without options.
pub const HEADER_BYTES: usize = 20;

/// From the start of the header to the checksum, in bytes.
pub const CHECKSUM_OFFSET: u16 = 16;

/// Control bits (RFC 9293 §3.1), as [`Header::flags`] returns them.
pub mod flag {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronize sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgment number counts.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer counts.
    pub const URG: u8 = 0x20;
    /// ECN echo (RFC 3168 §6.1).
    pub const ECE: u8 = 0x40;
    /// Congestion window reduced (RFC 3168 §6.1.2).
    pub const CWR: u8 = 0x80;
}

/// A header with its options, seen in place.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    fixed: &'a [u8; HEADER_BYTES],
    options: &'a [u8],
}

impl<'a> Header<'a> {
    /// The header at the start of `bytes`, or `None` if it is not all there or its data offset is below 5.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let fixed: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let options = bytes.get(HEADER_BYTES..usize::from(fixed[12] >> 4) * 4)?;
        Some(Self { fixed, options })
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.fixed[at], self.fixed[at + 1]])
    }

    fn double_word(&self, at: usize) -> u32 {
        u32::from(self.word(at)) << 16 | u32::from(self.word(at + 2))
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

    /// Sequence number.
    #[must_use]
    pub fn sequence(&self) -> u32 {
        self.double_word(4)
    }

    /// Acknowledgment number.
    #[must_use]
    pub fn acknowledgment(&self) -> u32 {
        self.double_word(8)
    }

    /// Control bits; see [`flag`].
    #[must_use]
    pub fn flags(&self) -> u8 {
        self.fixed[13]
    }

    /// Window, unscaled.
    #[must_use]
    pub fn window(&self) -> u16 {
        self.word(14)
    }

    /// Checksum.
    #[must_use]
    pub fn checksum(&self) -> u16 {
        self.word(16)
    }

    /// Options, not looked into.
    #[must_use]
    pub fn options(&self) -> &'a [u8] {
        self.options
    }

    /// Bytes of the header, options included.
    #[must_use]
    pub fn header_bytes(&self) -> usize {
        HEADER_BYTES + self.options.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_offset_below_five_or_beyond_the_bytes_is_no_header() {
        let mut bytes = [0; 24];
        for (data_offset, header_bytes) in [(4, None), (5, Some(20)), (6, Some(24)), (7, None)] {
            bytes[12] = data_offset << 4;
            assert_eq!(Header::new(&bytes).map(|header| header.header_bytes()), header_bytes);
        }
    }
}
