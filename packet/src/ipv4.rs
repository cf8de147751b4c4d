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
    #[inline]
    pub fn checksum_is_valid(&self) -> bool {
        let sum = checksum::Sum::of_header(self.fixed);
        if self.options.is_empty() { sum.checksum() == 0 } else { sum.with(self.options).checksum() == 0 }
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

/// An option (RFC 791 §3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv4Option<'a> {
    /// The whole option, type and length included.
    pub bytes: &'a [u8],
    /// Where it begins, in bytes from the start of the options.
    pub offset: usize,
}

impl Ipv4Option<'_> {
    /// No operation.
    pub const NO_OPERATION: u8 = 1;
    /// Loose source and record route.
    pub const LOOSE_SOURCE_ROUTE: u8 = 131;
    /// Strict source and record route.
    pub const STRICT_SOURCE_ROUTE: u8 = 137;

    /// The type, copied flag and class included.
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.bytes.first().copied().unwrap_or(0)
    }

    /// Every fragment carries the option, not only the first.
    #[must_use]
    pub fn is_copied(&self) -> bool {
        self.kind() & 0x80 != 0
    }
}

/// The options of a header in order, up to the end-of-list option.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Options<'a> {
    /// The options in `bytes`, as [`Header::options`] gives them.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }
}

impl<'a> Iterator for Options<'a> {
    /// An error is the offset of an option whose length is below 2 or leads beyond the header; nothing
    /// follows it.
    type Item = Result<Ipv4Option<'a>, usize>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.offset;
        let rest = self.bytes.get(offset..)?;
        let length = match *rest {
            [] | [0, ..] => {
                self.offset = self.bytes.len();
                return None;
            }
            [Ipv4Option::NO_OPERATION, ..] => 1,
            [_, length, ..] if length >= 2 => usize::from(length),
            _ => usize::MAX,
        };
        let Some(bytes) = rest.get(..length) else {
            self.offset = self.bytes.len();
            return Some(Err(offset));
        };
        self.offset += length;
        Some(Ok(Ipv4Option { bytes, offset }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_up_to_the_end_of_the_list_or_the_first_fault() {
        let kinds = |bytes: &[u8]| -> Vec<Result<u8, usize>> {
            Options::new(bytes).map(|option| option.map(|option| option.kind())).collect()
        };
        assert_eq!(kinds(&[]), []);
        assert_eq!(kinds(&[1, 131, 3, 4, 0, 7, 2, 0]), [Ok(1), Ok(131)]);
        assert_eq!(kinds(&[1, 1, 7, 3, 9, 1]), [Ok(1), Ok(1), Ok(7), Ok(1)]);
        assert_eq!(kinds(&[1, 7, 1, 0]), [Ok(1), Err(1)]);
        assert_eq!(kinds(&[7, 5, 0, 0]), [Err(0)]);
        assert_eq!(kinds(&[1, 1, 1, 7]), [Ok(1), Ok(1), Ok(1), Err(3)]);
        let options: Vec<_> = Options::new(&[1, 0x83, 3, 4]).flatten().collect();
        assert!(!options[0].is_copied() && options[1].is_copied());
        assert_eq!(options[1], Ipv4Option { bytes: &[0x83, 3, 4], offset: 1 });
    }

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
        for at in 0..24 {
            let mut wrong = bytes;
            wrong[at] ^= 0x80;
            assert!(!Header::new(&wrong).is_some_and(|header| header.checksum_is_valid()), "{at}");
        }
        assert!(Header::new(&bytes[..23]).is_none());
        bytes[0] = 0x44;
        assert!(Header::new(&bytes).is_none());
        bytes[0] = 0x65;
        assert!(Header::new(&bytes).is_none());
    }
}
