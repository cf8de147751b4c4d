//! UDP (RFC 768).

/// From the start of the header to the checksum, in bytes.
pub const CHECKSUM_OFFSET: u16 = 6;
