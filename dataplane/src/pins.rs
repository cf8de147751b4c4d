//! Flows whose replies go back by the host port.
//!
//! # Theory of operation
//!
//! The host's kernel translates service traffic: a pod's packet to a service goes to the host port, and comes back
//! from there to the pod that was chosen, still with the first pod's source address. The answer of the chosen pod is
//! addressed to the first one, and a bridge would deliver it: untranslated, as from a stranger. So a flow that comes
//! *from the host port* with a source that is not the host's own is pinned, and packets of the reverse flow go to the
//! host port, which undoes what it did.
//!
//! The same with an uplink for a pod of another node: the kernel sends the translated packet by the uplink itself, still
//! with the pod's source address. The uplink's socket sees what the kernel sends, and a flow that comes from there is
//! pinned, too. Its replies come from the uplink, where the kernel is kept from seeing what is for pods; they go to it by
//! the host port.
//!
//! **Storage.** A table for each worker, which alone writes it, and which all read: where a pod's answer arrives is
//! the kernel's choice. A pin is 44 bits of a keyed hash of the reply's five-tuple and the time of its last use, in one
//! word. In a bucket of eight, the one that was not used for longest makes room. Two flows with the same bits
//! (one pair in 2^44) share a pin: then an answer goes by way of the host's kernel, which routes it as any other.
//!
//! **Fragments.** Those behind the first one have no ports. When the first one of a packet follows a pin, the packet's ends
//! and identification are remembered for as long as a receiver waits for the rest: in tables of their own, because a pod
//! may send as many first fragments as it likes, and each would push out a flow of another.
//!
//! **Time.** A pin lasts five days without use, as long as the kernel's own entry of an established connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use packet::FiveTuple;
use packet::keyed_hash::KeyedHash;

/// Pins of a worker: half a mebibyte.
const PINS_MAX: usize = 1 << 16;
/// Fragmented packets of a worker that are remembered.
const FRAGMENTED_MAX: usize = 1 << 12;
/// Pins that share a cache line.
const BUCKET_PINS: usize = 8;
/// Bits of a word that hold the time, in units of 8.192 s: 99 days.
const TIME_BITS: u32 = 20;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
const TIME_UNIT_BITS: u32 = 13;
/// Five days: `nf_conntrack_tcp_timeout_established`.
const LIFETIME: u64 = (5 * 86_400_000) >> TIME_UNIT_BITS;
/// A minute: RFC 8200 §4.5, the longest that receivers wait.
const FRAGMENTED_LIFETIME: u64 = 60_000 >> TIME_UNIT_BITS;

#[derive(Debug, Default)]
#[repr(align(64))]
struct Bucket([AtomicU64; BUCKET_PINS]);

/// The pins that one worker has made. All accesses are relaxed: a word stands for itself.
#[derive(Debug)]
struct PinTable {
    buckets: Box<[Bucket]>,
    /// Units that a pin lasts without use.
    lifetime: u64,
    /// Set with the first pin.
    is_used: AtomicBool,
}

impl PinTable {
    fn new(pins_max: usize, lifetime: u64) -> Self {
        let buckets = (0..pins_max / BUCKET_PINS).map(|_| Bucket::default()).collect();
        Self { buckets, lifetime, is_used: AtomicBool::new(false) }
    }

    fn bucket(&self, hash: u64) -> &[AtomicU64; BUCKET_PINS] {
        let index = usize::try_from(hash & TIME_MASK).unwrap_or(0) % self.buckets.len();
        &self.buckets[index].0
    }

    fn contains(&self, hash: u64, now: u64) -> bool {
        let is_it =
            |word: u64| word != 0 && (word ^ hash) >> TIME_BITS == 0 && age(word, now) < self.lifetime;
        self.is_used.load(Relaxed) && self.bucket(hash).iter().any(|word| is_it(word.load(Relaxed)))
    }

    /// Only the table's worker calls this.
    fn insert(&self, hash: u64, now: u64) {
        let bucket = self.bucket(hash);
        let known = bucket.iter().find(|word| (word.load(Relaxed) ^ hash) >> TIME_BITS == 0);
        let staleness = |word: &&AtomicU64| match word.load(Relaxed) {
            0 => u64::MAX,
            used => age(used, now),
        };
        let Some(place) = known.or_else(|| bucket.iter().max_by_key(staleness)) else { return };
        let word = hash & !TIME_MASK | now & TIME_MASK;
        if place.load(Relaxed) != word {
            place.store(word, Relaxed);
        }
        if !self.is_used.load(Relaxed) {
            self.is_used.store(true, Relaxed);
        }
    }
}

/// Units by which a worker's time may be behind that of another one, which has looked at the clock later.
const SKEW: u64 = 8;

/// Units since the pin was used. What another worker has used later than now was used now.
const fn age(word: u64, now: u64) -> u64 {
    let age = now.wrapping_sub(word) & TIME_MASK;
    if age > TIME_MASK - SKEW { 0 } else { age }
}

/// One worker's view of all pins.
#[derive(Clone, Debug)]
pub(crate) struct Pins {
    flows: Arc<[PinTable]>,
    fragmented: Arc<[PinTable]>,
    worker: usize,
    hash: KeyedHash,
}

impl Pins {
    /// The views of `workers` workers. `seed` is random and secret.
    pub(crate) fn for_workers(workers: usize, seed: u64) -> impl Iterator<Item = Self> {
        let tables = |pins_max, lifetime| -> Arc<[PinTable]> {
            (0..workers).map(|_| PinTable::new(pins_max, lifetime)).collect()
        };
        let flows = tables(PINS_MAX, LIFETIME);
        let fragmented = tables(FRAGMENTED_MAX, FRAGMENTED_LIFETIME);
        let hash = KeyedHash::new(seed);
        (0..workers).map(move |worker| Self {
            flows: Arc::clone(&flows),
            fragmented: Arc::clone(&fragmented),
            worker,
            hash,
        })
    }

    /// True as long as no flow was ever pinned.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.flows.iter().all(|table| !table.is_used.load(Relaxed))
    }

    /// Pins the flow whose replies are `reply`.
    pub(crate) fn pin(&self, reply: &FiveTuple, now_ms: u64) {
        self.insert(&self.flows, reply, now_ms);
    }

    /// True if packets of the flow `reply` are to go to the host port.
    pub(crate) fn is_pinned(&self, reply: &FiveTuple, now_ms: u64) -> bool {
        self.contains(&self.flows, reply, now_ms)
    }

    /// Pins the fragments of the packet that `packet` stands for.
    pub(crate) fn pin_fragments(&self, packet: &FiveTuple, now_ms: u64) {
        self.insert(&self.fragmented, packet, now_ms);
    }

    /// True if fragments of the packet that `packet` stands for are to go to the host port.
    pub(crate) fn are_fragments_pinned(&self, packet: &FiveTuple, now_ms: u64) -> bool {
        self.contains(&self.fragmented, packet, now_ms)
    }

    fn insert(&self, tables: &[PinTable], flow: &FiveTuple, now_ms: u64) {
        if let Some(table) = tables.get(self.worker) {
            table.insert(self.key(flow), now_ms >> TIME_UNIT_BITS);
        }
    }

    fn contains(&self, tables: &[PinTable], flow: &FiveTuple, now_ms: u64) -> bool {
        let (key, now) = (self.key(flow), now_ms >> TIME_UNIT_BITS);
        tables.iter().any(|table| table.contains(key, now))
    }

    /// The upper bits are the pin's, and never all zero, which is a free place.
    fn key(&self, reply: &FiveTuple) -> u64 {
        let hash = self.hash.of_flow(reply);
        if hash >> TIME_BITS == 0 { hash | 1 << 63 } else { hash }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn flow(port: u16) -> FiveTuple {
        FiveTuple {
            source: IpAddr::from([10, 244, 1, 3]),
            destination: IpAddr::from([10, 244, 1, 2]),
            protocol: 6,
            source_port: 80,
            destination_port: port,
        }
    }

    const DAY_MS: u64 = 86_400_000;

    #[test]
    fn a_pin_of_one_worker_is_seen_by_all_in_its_direction_only() {
        let workers: Vec<Pins> = Pins::for_workers(2, 1).collect();
        assert!(workers[1].is_empty());
        workers[0].pin(&flow(1), 0);
        assert!(!workers[1].is_empty());
        assert!(workers.iter().all(|pins| pins.is_pinned(&flow(1), 0)));
        assert!(!workers[0].is_pinned(&flow(1).reversed(), 0));
        assert!(!workers[0].is_pinned(&flow(2), 0));
    }

    #[test]
    fn a_pin_ends_five_days_after_its_last_use() {
        let pins = Pins::for_workers(1, 1).next().unwrap();
        pins.pin(&flow(1), DAY_MS);
        assert!(pins.is_pinned(&flow(1), 6 * DAY_MS - 20_000));
        assert!(!pins.is_pinned(&flow(1), 6 * DAY_MS + 20_000));
        pins.pin(&flow(1), 6 * DAY_MS);
        assert!(pins.is_pinned(&flow(1), 7 * DAY_MS));
        assert!(!pins.is_pinned(&flow(1), 60 * DAY_MS));
    }

    #[test]
    fn a_worker_that_looked_at_the_clock_earlier_sees_what_another_has_pinned() {
        let workers: Vec<Pins> = Pins::for_workers(2, 1).collect();
        for unit in [1_u64, 7, 1 << 20] {
            let boundary_ms = unit << TIME_UNIT_BITS;
            workers[0].pin(&flow(1), boundary_ms);
            assert!(workers[1].is_pinned(&flow(1), boundary_ms));
            assert!(workers[1].is_pinned(&flow(1), boundary_ms - 1), "a step that began a moment ago");
        }
    }

    #[test]
    fn fragments_push_out_no_flow_and_are_soon_forgotten() {
        let pins = Pins::for_workers(1, 1).next().unwrap();
        let flows: Vec<_> = (0..1000).map(flow).collect();
        flows.iter().for_each(|flow| pins.pin(flow, 0));
        for port in 0..u16::MAX {
            pins.pin_fragments(&FiveTuple { protocol: 44, ..flow(port) }, DAY_MS);
        }
        assert!(flows.iter().all(|flow| pins.is_pinned(flow, DAY_MS)));
        let last = FiveTuple { protocol: 44, ..flow(u16::MAX - 1) };
        assert!(!pins.is_pinned(&last, DAY_MS));
        assert!(pins.are_fragments_pinned(&last, DAY_MS + 40_000));
        assert!(!pins.are_fragments_pinned(&last, DAY_MS + 70_000));
    }

    #[test]
    fn a_full_table_forgets_what_was_not_used_for_longest() {
        let pins = Pins::for_workers(1, 1).next().unwrap();
        let old = (0..u16::MAX).map(flow);
        old.for_each(|flow| pins.pin(&flow, 0));
        let recent: Vec<_> = (0..1000).map(|port| flow(port).reversed()).collect();
        recent.iter().for_each(|flow| pins.pin(flow, 10_000));
        // Others come: each displaces an old one, not a recent one.
        for port in 0..4_000 {
            pins.pin(&FiveTuple { protocol: 17, ..flow(port) }, 10_000);
        }
        assert!(recent.iter().all(|flow| pins.is_pinned(flow, 10_000)));
    }
}
