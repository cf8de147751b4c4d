//! Next hops, and which of several a flow takes.

use packet::{PortId, Random};
use std::net::IpAddr;

/// Most next hops of one route.
pub const NEXT_HOPS_MAX: usize = 64;

/// Buckets among which the next hops of a route are shared out.
const BUCKETS: usize = 1024;

/// A neighbor that packets are handed to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NextHop {
    /// Its address, of the same family as the route's.
    pub gateway: IpAddr,
    /// The port behind which it is.
    pub port: PortId,
}

/// Equal-cost next hops, each with its weight, and which flow takes which.
///
/// A flow's hash selects one of 1024 buckets, and each bucket belongs to one next hop: to that with the highest
/// score for this bucket (weighted rendezvous hashing: Thaler and Ravishankar 1998, weights by Schindler 1999).
/// A score depends on the bucket and the next hop alone. So:
/// - the same next hops give the same choice, in whatever order and by whatever way they came;
/// - where a next hop goes, its own flows move, shared out among the others, and no other flow does;
/// - where one comes, it takes its share from all others, and no flow moves between those.
///
/// A share differs from what the weights say as chance has it: among four, by a tenth of it and seldom more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NextHops {
    hops: Box<[NextHop]>,
    /// The next hop of each bucket; empty with one next hop.
    buckets: Box<[u8]>,
}

impl NextHops {
    /// Shares the buckets out. At most [`NEXT_HOPS_MAX`] next hops are used; `None` if there is none.
    #[must_use]
    pub fn new(weighted: &[(NextHop, u8)]) -> Option<Self> {
        let weighted = &weighted[..weighted.len().min(NEXT_HOPS_MAX)];
        let hops: Box<[NextHop]> = weighted.iter().map(|(hop, _)| *hop).collect();
        let buckets = match weighted {
            [] => return None,
            [_] => Box::default(),
            _ => (0..BUCKETS as u64).map(|bucket| winner(bucket, weighted)).collect(),
        };
        Some(Self { hops, buckets })
    }

    /// The next hop of the flow with this hash, all of whose bits may matter.
    #[inline]
    #[must_use]
    pub fn of_flow(&self, flow_hash: u32) -> &NextHop {
        let hop = match self.buckets.as_ref() {
            [] => 0,
            buckets => usize::from(buckets[bucket_of(flow_hash) % buckets.len()]),
        };
        &self.hops[hop]
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[NextHop] {
        &self.hops
    }
}

/// The upper ten bits of a product (Fibonacci hashing), on which all bits of the hash have their influence.
fn bucket_of(flow_hash: u32) -> usize {
    (flow_hash.wrapping_mul(0x9e37_79b1) >> 22) as usize
}

/// Which of the next hops has the bucket.
fn winner(bucket: u64, weighted: &[(NextHop, u8)]) -> u8 {
    let scores =
        (0_u8..).zip(weighted).map(|(index, (hop, weight))| (score(bucket, hop, *weight), index, hop));
    let best = scores.max_by(|one, other| one.0.total_cmp(&other.0).then(one.2.cmp(other.2)));
    best.map_or(0, |(_, index, _)| index)
}

/// `-weight / ln(u)` with a random `u` between 0 and 1 that depends on bucket and next hop.
fn score(bucket: u64, hop: &NextHop, weight: u8) -> f64 {
    let address = match hop.gateway {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    let [a, b, c, d, e, f, g, h, low @ ..] = address.to_be_bytes();
    let high = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let identity = [u64::from_be_bytes(low), high, u64::from(hop.port.get())];
    let random = identity.into_iter().fold(mix(bucket + 1), |hash, part| mix(hash ^ part));
    let unit = ((random >> 12) as f64 + 0.5) / (1_u64 << 52) as f64;
    f64::from(weight.max(1)) / -unit.ln()
}

/// A number that has nothing to do with `value`, but is always the same.
fn mix(value: u64) -> u64 {
    Random::new(value).draw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn hops(count: u8) -> Vec<(NextHop, u8)> {
        let port = PortId::new(1).unwrap();
        (0..count).map(|last| (NextHop { gateway: Ipv4Addr::new(192, 0, 2, last).into(), port }, 1)).collect()
    }

    /// The hashes of many flows, as a mixing hash gives them.
    fn flows() -> impl Iterator<Item = u32> {
        (0..20_000_u64).map(|flow| u32::try_from(mix(flow) >> 32).unwrap())
    }

    fn share(hops: &NextHops, of: NextHop) -> f64 {
        flows().filter(|flow| *hops.of_flow(*flow) == of).count() as f64 / flows().count() as f64
    }

    #[test]
    fn equal_next_hops_get_equal_shares() {
        for count in 2..=8 {
            let weighted = hops(count);
            let table = NextHops::new(&weighted).unwrap();
            for (hop, _) in &weighted {
                let relative = share(&table, *hop) * f64::from(count);
                assert!((0.75..1.25).contains(&relative), "{relative} of {count}");
            }
        }
    }

    #[test]
    fn weights_are_shares() {
        let mut weighted = hops(2);
        weighted[1].1 = 3;
        let share = share(&NextHops::new(&weighted).unwrap(), weighted[1].0);
        assert!((0.7..0.8).contains(&share), "{share}");
    }

    #[test]
    fn only_the_flows_of_a_next_hop_that_goes_away_move() {
        let weighted = hops(5);
        let before = NextHops::new(&weighted).unwrap();
        for gone in 0..5 {
            let mut rest = weighted.clone();
            let (gone, _) = rest.remove(gone);
            let after = NextHops::new(&rest).unwrap();
            for flow in flows() {
                let (was, is) = (before.of_flow(flow), after.of_flow(flow));
                assert!(was == is || *was == gone, "{was:?} to {is:?} without {gone:?}");
            }
        }
    }

    #[test]
    fn the_order_of_next_hops_does_not_matter() {
        let mut weighted = hops(7);
        let forward = NextHops::new(&weighted).unwrap();
        weighted.reverse();
        let backward = NextHops::new(&weighted).unwrap();
        assert!(flows().all(|flow| forward.of_flow(flow) == backward.of_flow(flow)));
    }

    #[test]
    fn every_bucket_is_reached_also_by_numbered_hashes() {
        let reached: std::collections::HashSet<usize> = (0..20_000).map(bucket_of).collect();
        assert_eq!(reached.len(), BUCKETS);
    }

    #[test]
    fn one_next_hop_takes_all_and_none_is_none() {
        let table = NextHops::new(&hops(1)).unwrap();
        assert!(flows().all(|flow| *table.of_flow(flow) == table.all()[0]));
        assert_eq!(NextHops::new(&[]), None);
        assert_eq!(NextHops::new(&hops(200)).unwrap().all().len(), NEXT_HOPS_MAX);
    }
}
