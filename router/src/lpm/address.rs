//! What the tables need of an address, and prefixes of either family.

use ipnet::{Ipv4Net, Ipv6Net};
use std::cmp::Ordering;
use std::fmt;
use std::hash::Hash;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Bits that index the root of the compiled table.
pub(crate) const ROOT_BITS: u8 = 16;

/// An IPv4 or IPv6 address, as the tables see it: a string of bits, the most significant first.
pub trait Address: Copy + Ord + Hash + fmt::Debug + fmt::Display {
    /// Length in bits: 32 or 128.
    const BITS: u8;

    /// The address whose bits are the upper [`Self::BITS`] of `bits`.
    fn from_upper_bits(bits: u128) -> Self;

    /// The bits, moved to the upper end; the others are 0.
    fn upper_bits(self) -> u128;

    /// The first 16 bits.
    fn root(self) -> u16;

    /// The byte at this position, of which 0 is the first. Positions before 2 and past the end of the address
    /// give an arbitrary byte.
    fn byte(self, position: u32) -> u8;
}

impl Address for Ipv4Addr {
    const BITS: u8 = 32;

    fn from_upper_bits(bits: u128) -> Self {
        let [a, b, c, d, ..] = bits.to_be_bytes();
        Self::new(a, b, c, d)
    }

    #[inline]
    fn upper_bits(self) -> u128 {
        u128::from(self.to_bits()) << 96
    }

    #[inline]
    fn root(self) -> u16 {
        let [a, b, ..] = self.octets();
        u16::from_be_bytes([a, b])
    }

    #[inline]
    fn byte(self, position: u32) -> u8 {
        let [_, _, c, d] = self.octets();
        if position == 2 { c } else { d }
    }
}

impl Address for Ipv6Addr {
    const BITS: u8 = 128;

    fn from_upper_bits(bits: u128) -> Self {
        Self::from_bits(bits)
    }

    #[inline]
    fn upper_bits(self) -> u128 {
        self.to_bits()
    }

    #[inline]
    fn root(self) -> u16 {
        let [a, b, ..] = self.octets();
        u16::from_be_bytes([a, b])
    }

    #[inline]
    fn byte(self, position: u32) -> u8 {
        // Of the half that holds the byte, and not of the array: indexing that goes by way of the stack.
        let bits = self.to_bits();
        let half = if position < 8 { bits >> 64 } else { bits & u128::from(u64::MAX) };
        let half = u64::try_from(half).unwrap_or_default();
        half.wrapping_shr(56_u32.wrapping_sub(position.wrapping_mul(8))).to_le_bytes()[0]
    }
}

/// The upper `length` bits of 128.
const fn mask(length: u8) -> u128 {
    match length {
        0 => 0,
        _ => u128::MAX << 128_u8.saturating_sub(length),
    }
}

/// A prefix without host bits. Prefixes are ordered by address, then by length: a prefix stands before all
/// that it contains, and these follow it without a gap.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix<A> {
    address: A,
    length: u8,
}

impl<A: Address> Prefix<A> {
    /// The prefix of `length` bits that contains `address`, or `None` if no address is so long.
    #[must_use]
    pub fn containing(address: A, length: u8) -> Option<Self> {
        (length <= A::BITS).then(|| Self::truncated(address, length))
    }

    /// The same for a length that is known to be right.
    pub(crate) fn truncated(address: A, length: u8) -> Self {
        debug_assert!(length <= A::BITS, "a length of the family");
        Self { address: A::from_upper_bits(address.upper_bits() & mask(length)), length }
    }

    /// The first address.
    #[must_use]
    pub fn address(self) -> A {
        self.address
    }

    /// Length in bits.
    #[must_use]
    pub fn length(self) -> u8 {
        self.length
    }

    /// The last address.
    #[must_use]
    pub fn last(self) -> A {
        A::from_upper_bits(self.address.upper_bits() | !mask(self.length))
    }

    /// True if `address` lies within.
    #[must_use]
    pub fn contains(self, address: A) -> bool {
        address.upper_bits() & mask(self.length) == self.address.upper_bits()
    }

    /// True if `other` lies within or is the same.
    pub(crate) fn covers(self, other: Self) -> bool {
        self.length <= other.length && self.contains(other.address)
    }

    /// The two prefixes that are longer by a bit; twice this one if it is an address.
    pub(crate) fn halves(self) -> [Self; 2] {
        let length = A::BITS.min(self.length + 1);
        [Self::truncated(self.address, length), Self::truncated(self.last(), length)]
    }

    /// Past all prefixes that begin within this one, in the order of prefixes.
    pub(crate) fn end(self) -> Self {
        Self { address: self.last(), length: u8::MAX }
    }
}

// By hand: as numbers, addresses are compared in a third of the time that their own order takes.
impl<A: Address> Ord for Prefix<A> {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = self.address.upper_bits().cmp(&other.address.upper_bits());
        order.then(self.length.cmp(&other.length))
    }
}

impl<A: Address> PartialOrd for Prefix<A> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<A: fmt::Display> fmt::Display for Prefix<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl<A: fmt::Debug> fmt::Debug for Prefix<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}", self.address, self.length)
    }
}

impl From<Ipv4Net> for Prefix<Ipv4Addr> {
    fn from(network: Ipv4Net) -> Self {
        Self::truncated(network.addr(), network.prefix_len())
    }
}

impl From<Ipv6Net> for Prefix<Ipv6Addr> {
    fn from(network: Ipv6Net) -> Self {
        Self::truncated(network.addr(), network.prefix_len())
    }
}
