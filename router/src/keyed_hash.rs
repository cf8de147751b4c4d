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
        let [first, second, third] = self.keys;
        let bits = to_bits(address);
        let high = u64::try_from(bits >> 64).unwrap_or(0);
        let low = u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0);
        fold(fold(high ^ first, low ^ second) ^ first, third)
    }
}

/// The address in 128 bits, IPv4 as the mapped address of RFC 4291 §2.5.5.2, which no packet carries.
#[inline]
pub(crate) fn to_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => 0xffff_0000_0000 | u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b | 1);
    u64::try_from(product >> 64).unwrap_or(0) ^ u64::try_from(product & u128::from(u64::MAX)).unwrap_or(0)
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

    #[test]
    fn no_two_addresses_of_packets_have_the_same_bits() {
        assert_ne!(to_bits(IpAddr::from([10, 0, 0, 1])), to_bits("::a00:1".parse().unwrap()));
        assert_eq!(to_bits(IpAddr::from([10, 0, 0, 1])), to_bits("::ffff:10.0.0.1".parse().unwrap()));
    }
}
