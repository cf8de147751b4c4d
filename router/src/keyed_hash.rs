//! The hash of the tables whose keys strangers choose.

use std::net::IpAddr;

/// Two folded multiplications, keyed by a random 64-bit seed.
///
/// It is no cryptographic hash. Who does not see the hashes and does not know the seed cannot choose addresses
/// that collide; and every table that uses it bounds its probes, so that collisions cost entries, not time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyedHash {
    keys: [u64; 3],
}

impl KeyedHash {
    /// The hash with this seed.
    pub(crate) fn new(seed: u64) -> Self {
        // SplitMix64, so that the keys of two similar seeds have nothing in common.
        let key = |step: u64| {
            let key = seed.wrapping_add(step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let key = (key ^ key >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let key = (key ^ key >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            key ^ key >> 31
        };
        Self { keys: [key(1), key(2), key(3)] }
    }

    /// The hash of `address`, all of its bits equally good.
    #[inline]
    pub(crate) fn of(self, address: IpAddr) -> u64 {
        match address {
            IpAddr::V4(v4) => self.of_v4(v4.to_bits()),
            IpAddr::V6(v6) => self.of_v6(v6.to_bits()),
        }
    }

    /// The hash of an IPv4 address.
    #[inline]
    pub(crate) fn of_v4(self, address: u32) -> u64 {
        let [first, second, third] = self.keys;
        fold(fold(u64::from(address) ^ first, second), third)
    }

    /// The hash of an IPv6 address.
    #[inline]
    pub(crate) fn of_v6(self, address: u128) -> u64 {
        let [first, second, third] = self.keys;
        let [low, high] = halves(address);
        fold(fold(high ^ first, low ^ second) ^ first, third)
    }
}

/// Both halves of the product in one: every bit of a factor reaches every bit of the result.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let [low, high] = halves(u128::from(a) * u128::from(b | 1));
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
    fn another_seed_is_another_hash() {
        let address = IpAddr::from([10, 0, 0, 1]);
        assert_eq!(KeyedHash::new(1).of(address), KeyedHash::new(1).of(address));
        assert_ne!(KeyedHash::new(1).of(address), KeyedHash::new(2).of(address));
    }
}
