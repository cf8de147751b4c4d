//! What the unit tests of several modules do to frames.

use packet::checksum;

/// Sets the IPv4 header checksum of an untagged frame right.
pub(crate) fn sum(frame: &mut [u8]) {
    let end = 14 + usize::from(frame[14] & 15) * 4;
    frame[24..26].fill(0);
    let sum = checksum::of(&frame[14..end]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}
