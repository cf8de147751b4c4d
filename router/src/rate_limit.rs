//! How often the router answers: token buckets for a destination, a port and the worker (RFC 1812 §4.3.2.8,
//! RFC 4443 §2.4 f).
//!
//! A message is sent if all three have a token; only a message that is sent takes any. So a pod that is refused
//! by its own bucket takes nothing from the others, and neither one pod nor one destination can use up the
//! worker's budget.
//!
//! **Nothing to learn from it** (CVE-2020-25705 "SAD DNS", CVE-2021-20322, and threat T8 of this project). Who
//! may send packets in another's name can spend a shared budget on the other's answers, and see from his own
//! what is left. Against that:
//! - a message takes from the port's and the worker's bucket not one token, but a random amount between zero and
//!   two: of a burst of 50 the number that passes varies by ±4 (one standard deviation), so a single unit is lost
//!   in the noise;
//! - destinations are not kept by name, so none can be pushed out and none can be asked for. Each shares two
//!   buckets, picked by a hash with a secret seed, and is refused only when both are empty: to hold another down
//!   one has to meet it in both of [`ROW_BUCKETS`]² pairs, which cannot be searched for, because a single meeting
//!   shows nothing.
//!
//! Memory is fixed: 2 · [`ROW_BUCKETS`] + [`PORTS_MAX`] + 1 buckets of 16 bytes, 96 KiB a
//! limiter, of which a quiet one touches a few lines.

use std::net::IpAddr;

use packet::{PORTS_MAX, PortId};

use packet::keyed_hash::KeyedHash;

/// Buckets of each of the two rows that destinations share.
pub const ROW_BUCKETS: usize = 1 << 10;

/// A token in the units that buckets count in: a millisecond adds a whole number of them at any rate.
const TOKEN: u64 = 1000;

/// A token bucket's parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Tokens that are added in a second.
    pub per_second: u32,
    /// Most tokens that it can hold: how many messages may follow one another at once.
    pub burst: u32,
}

/// The rates of a limiter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// To one destination.
    pub destination: Rate,
    /// Because of what came in by one port.
    pub port: Rate,
    /// Of one worker.
    pub worker: Rate,
}

impl Limits {
    /// ICMP errors, as Linux: 1 a second to a destination with a burst of 6 (`icmp_ratelimit`), 1000 a second in
    /// all with a burst of 50 (`icmp_msgs_per_sec`, `icmp_msgs_burst`). A port may use half of that.
    pub const ICMP_ERRORS: Self = Self {
        destination: Rate { per_second: 1, burst: 6 },
        port: Rate { per_second: 500, burst: 25 },
        worker: Rate { per_second: 1000, burst: 50 },
    };

    /// Answers to ARP, neighbor solicitations and echo requests, which Linux does not limit. Enough for a flood
    /// ping; a port may use a quarter.
    pub const ANSWERS: Self = Self {
        destination: Rate { per_second: 5000, burst: 1000 },
        port: Rate { per_second: 5000, burst: 1000 },
        worker: Rate { per_second: 20_000, burst: 4000 },
    };
}

/// What is left, and since when.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// In 1/[`TOKEN`] tokens.
    left: u64,
    updated_ms: u64,
}

impl Bucket {
    const fn full(rate: Rate) -> Self {
        Self { left: rate.burst as u64 * TOKEN, updated_ms: 0 }
    }

    /// Adds what has come since the last time. A clock that goes back adds nothing.
    fn refill(&mut self, rate: Rate, now_ms: u64) {
        let Some(elapsed_ms @ 1..) = now_ms.checked_sub(self.updated_ms) else {
            return;
        };
        let added = elapsed_ms.saturating_mul(u64::from(rate.per_second) * TOKEN / 1000);
        self.left = self.left.saturating_add(added).min(u64::from(rate.burst) * TOKEN);
        self.updated_ms = now_ms;
    }

    const fn has_token(self) -> bool {
        self.left >= TOKEN
    }

    fn take(&mut self, amount: u64) {
        self.left = self.left.saturating_sub(amount);
    }
}

/// A worker's limiter of one kind of message.
#[derive(Debug)]
pub struct RateLimiter {
    limits: Limits,
    hash: KeyedHash,
    /// Two rows, one behind the other.
    destinations: Box<[Bucket]>,
    ports: Box<[Bucket]>,
    worker: Bucket,
}

impl RateLimiter {
    /// A limiter with all buckets full. `seed` is to be random and kept secret.
    #[must_use]
    pub fn new(limits: Limits, seed: u64) -> Self {
        Self {
            limits,
            hash: KeyedHash::new(seed),
            destinations: vec![Bucket::full(limits.destination); 2 * ROW_BUCKETS].into_boxed_slice(),
            ports: vec![Bucket::full(limits.port); PORTS_MAX].into_boxed_slice(),
            worker: Bucket::full(limits.worker),
        }
    }

    /// Whether a message to `destination`, because of what came in by `ingress`, may be sent at `now_ms`; if so
    /// it is counted. `random` is a random number of which 32 bits are used.
    pub fn allow(&mut self, destination: IpAddr, ingress: PortId, now_ms: u64, random: u64) -> bool {
        let rows = self.rows(destination);
        let (Some(port), Ok([first, second])) =
            (self.ports.get_mut(ingress.index()), self.destinations.get_disjoint_mut(rows))
        else {
            return false;
        };
        first.refill(self.limits.destination, now_ms);
        second.refill(self.limits.destination, now_ms);
        port.refill(self.limits.port, now_ms);
        self.worker.refill(self.limits.worker, now_ms);
        let destination_has = first.has_token() || second.has_token();
        if !(destination_has && port.has_token() && self.worker.has_token()) {
            return false;
        }
        first.take(TOKEN);
        second.take(TOKEN);
        port.take(noisy_token(random));
        self.worker.take(noisy_token(random >> 16));
        true
    }

    /// The two buckets of a destination.
    fn rows(&self, destination: IpAddr) -> [usize; 2] {
        let hash = self.hash.of(destination);
        let [first, second] = [hash >> 32, hash & 0xffff_ffff]
            .map(|half| usize::try_from(half).unwrap_or(0) & (ROW_BUCKETS - 1));
        [first, ROW_BUCKETS + second]
    }
}

/// From 0 to 2 tokens, one on average, by the lower 16 bits of a random number.
const fn noisy_token(random: u64) -> u64 {
    ((random & 0xffff) * 2 * TOKEN) >> 16
}

#[cfg(test)]
mod tests;
