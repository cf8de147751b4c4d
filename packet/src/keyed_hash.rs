//! The hash of the tables whose keys strangers choose.

use std::net::IpAddr;

use crate::{FiveTuple, Random};

/// Two folded multiplications, keyed by a random 64-bit seed.
///
/// It is no cryptographic hash. Who does not see the hashes and does not know the seed cannot choose addresses
/// that collide; and every table that uses it bounds its probes, so that collisions cost entries, not time.
#[derive(Clone, Copy, Debug)]
pub struct KeyedHash {
    keys: [u64; 3],
}

impl KeyedHash {
    /// The hash with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self { keys: std::array::from_fn(|_| random.draw()) }
    }

    /// The hash of `address`, all of its bits equally good.
    #[must_use]
    #[inline]
    pub fn of(self, address: IpAddr) -> u64 {
        match address {
            IpAddr::V4(v4) => self.of_v4(v4.to_bits()),
            IpAddr::V6(v6) => self.of_v6(v6.to_bits()),
        }
    }

    /// The hash of an IPv4 address.
    #[must_use]
    #[inline]
    pub fn of_v4(self, address: u32) -> u64 {
        let [first, second, third] = self.keys;
        fold(fold(u64::from(address) ^ first, second), third)
    }

    /// The hash of an IPv6 address.
    #[must_use]
    #[inline]
    pub fn of_v6(self, address: u128) -> u64 {
        let [first, second, third] = self.keys;
        let [low, high] = halves(address);
        fold(fold(high ^ first, low ^ second) ^ first, third)
    }

    /// The hash of a flow's direction: that of the reverse one is another.
    #[must_use]
    #[inline]
    pub fn of_flow(self, flow: &FiveTuple) -> u64 {
        let ports = u64::from(flow.source_port) << 16 | u64::from(flow.destination_port);
        let rest = ports << 8 | u64::from(flow.protocol);
        let [_, second, third] = self.keys;
        let source = fold(self.of(flow.source) ^ second, third);
        fold(source ^ self.of(flow.destination), rest ^ second)
    }
}

/// Both halves of the product in one: every bit of a factor reaches every bit of the result. A factor of 0 would lose
/// the other one, but each is keyed, so that nobody can bring that about.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let [low, high] = halves(u128::from(a) * u128::from(b));
    low ^ high
}

/// Low and high half.
#[inline]
fn halves(value: u128) -> [u64; 2] {
    let bytes = value.to_le_bytes();
    let (halves, _) = bytes.as_chunks::<8>();
    [u64::from_le_bytes(halves[0]), u64::from_le_bytes(halves[1])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighboring_addresses_spread_over_a_table_as_random_ones_would() {
        let hash = KeyedHash::new(7);
        let mut buckets = [0_u32; 256];
        for address in 0..65_536_u32 {
            let address = IpAddr::V4((0x0af4_0000 + address).into());
            buckets[usize::try_from(hash.of(address) >> 56).unwrap()] += 1;
        }
        // 256 a bucket, standard deviation 16.
        assert!(buckets.iter().all(|count| (160..=352).contains(count)), "{buckets:?}");
    }

    #[test]
    fn every_bit_of_an_address_and_of_a_flow_counts() {
        let (v4, v6) = (u32::from_be_bytes([10, 0, 0, 2]), 0xfd00 << 112 | 2_u128);
        for seed in 0..8 {
            let hash = KeyedHash::new(seed);
            for bit in 0..32 {
                assert_ne!(hash.of_v4(v4), hash.of_v4(v4 ^ 1 << bit), "bit {bit}");
            }
            for bit in 0..128 {
                assert_ne!(hash.of_v6(v6), hash.of_v6(v6 ^ 1 << bit), "bit {bit}");
            }
            let flow = |protocol, source_port, destination_port| {
                let (source, destination) = (IpAddr::from([10, 0, 0, 1]), IpAddr::V6(v6.into()));
                hash.of_flow(&FiveTuple { source, destination, protocol, source_port, destination_port })
            };
            let whole = flow(6, 80, 4000);
            for bit in 0..16 {
                assert_ne!(whole, flow(6, 80 ^ 1 << bit, 4000), "bit {bit}");
                assert_ne!(whole, flow(6, 80, 4000 ^ 1 << bit), "bit {bit}");
                assert_ne!(whole, flow(6 ^ 1 << (bit % 8), 80, 4000), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_flow_s_hash_depends_on_all_that_makes_it_and_on_its_direction() {
        let hash = KeyedHash::new(7);
        let flow = FiveTuple {
            source: IpAddr::from([10, 0, 0, 1]),
            destination: IpAddr::from([10, 0, 0, 2]),
            protocol: 6,
            source_port: 40_000,
            destination_port: 80,
        };
        let others = [
            flow.reversed(),
            FiveTuple { protocol: 17, ..flow },
            FiveTuple { source_port: 40_001, ..flow },
            FiveTuple { destination_port: 81, ..flow },
            FiveTuple { source: IpAddr::from([10, 0, 0, 3]), ..flow },
            FiveTuple { destination: IpAddr::from([10, 0, 0, 3]), ..flow },
        ];
        assert_eq!(hash.of_flow(&flow), hash.of_flow(&{ flow }));
        for other in others {
            assert_ne!(hash.of_flow(&flow), hash.of_flow(&other));
        }
    }

    #[test]
    fn another_seed_is_another_hash() {
        let address = IpAddr::from([10, 0, 0, 1]);
        assert_eq!(KeyedHash::new(1).of(address), KeyedHash::new(1).of(address));
        assert_ne!(KeyedHash::new(1).of(address), KeyedHash::new(2).of(address));
    }
}
