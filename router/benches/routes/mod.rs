//! Route tables and traffic that resemble real ones, repeatable.

use router::lpm::{Address, Prefix, Value};
use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Values in use: as many next hops as a large cluster or a well-connected router has.
const VALUES: usize = 64;

/// SplitMix64: repeatable.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }

    fn bits(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }
}

pub(crate) type Routes<A> = Vec<(Prefix<A>, Value)>;

/// A family with its ways to fill a table.
pub(crate) trait Family: Address {
    const NAME: &'static str;

    /// A prefix as it might stand in the table of an Internet router.
    fn internet(random: &mut Random) -> Prefix<Self>;

    /// The network of pods of one node.
    fn cluster(number: u64) -> Prefix<Self>;
}

/// Prefix lengths in tenths of a percent, about as the routing tables of the Internet have them.
const INTERNET_V4: [(u8, usize); 16] = [
    (8, 1),
    (11, 1),
    (12, 2),
    (13, 2),
    (14, 3),
    (15, 4),
    (16, 14),
    (17, 9),
    (18, 15),
    (19, 27),
    (20, 45),
    (21, 54),
    (22, 116),
    (23, 104),
    (24, 602),
    (32, 1),
];
const INTERNET_V6: [(u8, usize); 12] = [
    (20, 2),
    (28, 10),
    (29, 44),
    (32, 120),
    (36, 30),
    (40, 85),
    (44, 75),
    (46, 20),
    (47, 24),
    (48, 480),
    (56, 50),
    (64, 60),
];

fn length(random: &mut Random, lengths: &[(u8, usize)]) -> u8 {
    let mut at = random.below(lengths.iter().map(|(_, share)| share).sum());
    for (length, share) in lengths {
        if at < *share {
            return *length;
        }
        at -= share;
    }
    24
}

impl Family for Ipv4Addr {
    const NAME: &'static str = "v4";

    /// Unicast space; three of four prefixes lie in a quarter of the blocks of 16 bits.
    fn internet(random: &mut Random) -> Prefix<Self> {
        let length = length(random, &INTERNET_V4);
        loop {
            let mut bits = random.bits();
            if random.below(4) > 0 {
                bits &= !(3 << 112);
            }
            let address = Self::from_upper_bits(bits);
            if (1..224).contains(&address.octets()[0]) {
                return Prefix::containing(address, length).expect("a length of the family");
            }
        }
    }

    /// A /24 of 10.0.0.0/8, and of 11.0.0.0/8 and so on if that is full.
    fn cluster(number: u64) -> Prefix<Self> {
        let bits = (u128::from(10_u8) << 120) + (u128::from(number) << 104);
        Prefix::containing(Self::from_upper_bits(bits), 24).expect("a length of the family")
    }
}

impl Family for Ipv6Addr {
    const NAME: &'static str = "v6";

    /// Allocations of /32 and longer in the blocks that the registries give out.
    fn internet(random: &mut Random) -> Prefix<Self> {
        const BLOCKS: [u128; 12] =
            [0x2001, 0x2400, 0x2401, 0x2402, 0x2404, 0x2600, 0x2604, 0x2607, 0x2800, 0x2a00, 0x2a02, 0x2c0f];
        let length = length(random, &INTERNET_V6);
        let block = BLOCKS[random.below(12)] + (u128::from(random.next()) & 7);
        // A few thousand allocations a block, so that prefixes nest.
        let bits = block << 112 | (random.bits() & 0x1fff) << 99 | random.bits() >> 29;
        Prefix::containing(Self::from_upper_bits(bits), length).expect("a length of the family")
    }

    /// A /64 of fd00:10:244::/48 and what follows.
    fn cluster(number: u64) -> Prefix<Self> {
        let bits = (0xfd00_0010_0244_u128 << 80) + (u128::from(number) << 64);
        Prefix::containing(Self::from_upper_bits(bits), 64).expect("a length of the family")
    }
}

fn value(random: &mut Random) -> Value {
    Value::new(random.below(VALUES)).expect("a small number")
}

pub(crate) fn internet<A: Family>(count: usize) -> Routes<A> {
    let mut random = Random(count as u64);
    let mut known = HashSet::new();
    let mut routes = Vec::with_capacity(count);
    while routes.len() < count {
        let prefix = A::internet(&mut random);
        if known.insert(prefix) {
            routes.push((prefix, value(&mut random)));
        }
    }
    routes
}

pub(crate) fn cluster<A: Family>(count: usize) -> Routes<A> {
    let mut random = Random(count as u64);
    (0..count as u64).map(|number| (A::cluster(number), value(&mut random))).collect()
}

/// Hostile: prefixes of every length from 16 bits on, nested, of addresses that share their first quarter
/// and part from one another at random places after it.
pub(crate) fn nested<A: Family>(count: usize) -> Routes<A> {
    let mut random = Random(count as u64);
    let (mut known, mut routes) = (HashSet::new(), Vec::with_capacity(count));
    while routes.len() < count {
        let address = A::from_upper_bits(0x2a << 120 | random.bits() >> (A::BITS / 4));
        for prefix in (16..=A::BITS).filter_map(|length| Prefix::containing(address, length)) {
            if routes.len() < count && known.insert(prefix) {
                routes.push((prefix, value(&mut random)));
            }
        }
    }
    routes
}

/// Addresses in the prefixes of the table, each prefix as likely as any other.
pub(crate) fn routed<A: Family>(routes: &Routes<A>, count: usize) -> Vec<A> {
    let mut random = Random(99);
    let addresses = (0..count).map(|_| {
        let (prefix, _) = routes[random.below(routes.len())];
        let host = random.bits().checked_shr(u32::from(prefix.length())).unwrap_or(0);
        A::from_upper_bits(prefix.address().upper_bits() | host)
    });
    addresses.collect()
}

/// Addresses from all of the family's space.
pub(crate) fn anywhere<A: Family>(count: usize) -> Vec<A> {
    let mut random = Random(77);
    (0..count).map(|_| A::from_upper_bits(random.bits())).collect()
}
