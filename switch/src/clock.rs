//! The coarse clock by which learned entries age.
//!
//! An entry keeps the time it was last seen in one byte, in units of a two-hundredth of the aging time, so
//! that a bucket is one cache line and a frame writes nothing unless its entry's byte would change. An entry
//! lives at least the aging time and at most two units (1 %) longer.
//!
//! **The byte wraps** after 256 units. An entry survives a sweep only with an idle time of at most
//! [`LIFETIME_UNITS_MAX`] (200); if the next sweep follows within [`SWEEP_UNITS`] (32), no entry is ever more
//! than 233 units idle, and values from [`FUTURE_UNITS`] (240) on are free to mean "stamped by a worker whose
//! reading of the clock is ahead of mine". The control side sweeps every few seconds. Should it stall for
//! longer than 32 units (48 s of 300), whoever comes to the table next sweeps first, without waiting for
//! anybody. Since nobody came in between, all stamps are from before the 32 units were over: such a late
//! sweep reads them as of then, and adds the time since. So an entry that outlived its time is never taken
//! for a young one, however long nobody came. (Two late sweeps at once may take away what was learned
//! between them; the next frame teaches it anew.)

const LIFETIME_UNITS_MAX: u64 = 200;
const SWEEP_UNITS: u64 = 32;
const FUTURE_UNITS: u8 = 240;

/// The aging time and the unit made from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AgingClock {
    unit_ms: u64,
    /// At most [`LIFETIME_UNITS_MAX`]; 0 where nothing is to be learned.
    lifetime_units: u8,
}

impl AgingClock {
    pub(crate) fn new(aging_ms: u64) -> Self {
        // Bounded so that the pair fits one word: 2^48 ms are 8900 years.
        let aging_ms = aging_ms.min(1 << 48);
        let unit_ms = aging_ms.div_ceil(LIFETIME_UNITS_MAX).max(1);
        let lifetime_units = u8::try_from(aging_ms.div_ceil(unit_ms)).unwrap_or(u8::MAX);
        Self { unit_ms, lifetime_units }
    }

    pub(crate) const fn to_bits(self) -> u64 {
        self.unit_ms << 8 | self.lifetime_units as u64
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self { unit_ms: bits >> 8, lifetime_units: bits.to_le_bytes()[0] }
    }

    /// True if the last sweep is so long ago that stamps can no longer be trusted.
    pub(crate) const fn is_sweep_due(self, swept_ms: u64, now_ms: u64) -> bool {
        now_ms.saturating_sub(swept_ms) > self.unit_ms * SWEEP_UNITS
    }

    /// How a sweep at `now_ms` reads the stamps, when the one before it was at `swept_ms`.
    pub(crate) fn sweep(self, swept_ms: u64, now_ms: u64) -> Sweep {
        if !self.is_sweep_due(swept_ms, now_ms) {
            return Sweep { reference: self.at(now_ms), late_units: 0 };
        }
        let reference_ms = swept_ms.saturating_add(self.unit_ms * SWEEP_UNITS);
        let late_units = (now_ms / self.unit_ms).saturating_sub(reference_ms / self.unit_ms);
        Sweep { reference: self.at(reference_ms), late_units }
    }

    pub(crate) const fn unit_ms(self) -> u64 {
        self.unit_ms
    }

    pub(crate) fn at(self, now_ms: u64) -> Now {
        let stamp = (now_ms / self.unit_ms.max(1)).to_le_bytes()[0];
        let expired_from = self.lifetime_units.saturating_add(1);
        Now { stamp, expired_from, expired_units: FUTURE_UNITS.saturating_sub(expired_from) }
    }

    /// True if an entry last seen at `seen_ms` is gone at `now_ms`: what the fast table computes from one
    /// byte, computed from whole numbers.
    pub(crate) fn is_expired(self, seen_ms: u64, now_ms: u64) -> bool {
        let idle_units = (now_ms / self.unit_ms).saturating_sub(seen_ms / self.unit_ms);
        idle_units > u64::from(self.lifetime_units)
    }
}

/// How one sweep reads the stamps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sweep {
    /// No later than 32 units after the sweep before.
    reference: Now,
    /// From the reference to the sweep.
    late_units: u64,
}

impl Sweep {
    pub(crate) fn takes(self, stamp: u8) -> bool {
        let idle_units = u64::from(self.reference.idle_units(stamp)) + self.late_units;
        idle_units >= u64::from(self.reference.expired_from)
    }
}

/// One reading of the coarse clock, taken once a burst.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// The byte that an entry seen now is stamped with.
    pub(crate) stamp: u8,
    /// The least idle time that is too long, in units.
    expired_from: u8,
    /// How many values from there on mean that.
    expired_units: u8,
}

impl Now {
    /// False if the aging time is zero: the bridge is a hub then, as the kernel's is.
    pub(crate) const fn learns(self) -> bool {
        self.expired_from > 1
    }

    pub(crate) const fn idle_units(self, stamp: u8) -> u8 {
        let units = self.stamp.wrapping_sub(stamp);
        if units >= FUTURE_UNITS { 0 } else { units }
    }

    #[inline]
    pub(crate) const fn is_expired(self, stamp: u8) -> bool {
        self.stamp.wrapping_sub(stamp).wrapping_sub(self.expired_from) < self.expired_units
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_default_aging_time_is_kept_within_one_percent() {
        let clock = AgingClock::new(300_000);
        for seen_ms in 0..5_000 {
            let stamp = clock.at(seen_ms).stamp;
            assert!(!clock.at(seen_ms + 300_000).is_expired(stamp), "{seen_ms}");
            assert!(clock.at(seen_ms + 303_000).is_expired(stamp), "{seen_ms}");
        }
    }

    #[test]
    fn a_stamp_from_a_worker_slightly_ahead_is_young() {
        let clock = AgingClock::new(300_000);
        let ahead = clock.at(100_000 + 3_000).stamp;
        assert_eq!(clock.at(100_000).idle_units(ahead), 0);
    }

    proptest! {
        #[test]
        fn one_byte_tells_the_same_as_whole_numbers_while_sweeps_are_kept(
            aging_ms in prop_oneof![1..1_000_u64, 1..1_000_000_000_u64],
            seen_ms in 0..u64::from(u32::MAX),
            idle_permille in 0..1_150_u64,
        ) {
            let clock = AgingClock::new(aging_ms);
            prop_assert_eq!(AgingClock::from_bits(clock.to_bits()), clock);
            let now_ms = seen_ms + aging_ms * idle_permille / 1_000;
            let stamp = clock.at(seen_ms).stamp;
            prop_assert_eq!(clock.at(now_ms).is_expired(stamp), clock.is_expired(seen_ms, now_ms));
        }
    }
}
