//! How many MACs each port has taught.

use crate::sync::{AtomicU32, AtomicUsize, Ordering};
use packet::PortId;

/// Ports counted; few under loom, which tracks every atomic.
const PORTS: usize = if cfg!(loom) { 4 } else { packet::PORTS_MAX };

/// Learned entries by port and in all, and static entries.
///
/// A place is taken *before* the entry is written and given back *after* it is gone, so that a bound is
/// never exceeded; a racing learner can at worst be refused at the very edge of a bound. All orderings are
/// relaxed: a count publishes nothing but itself. That a count never falls below zero follows from the
/// entry's own word: whoever gives a place back acquired it from the writer who had taken it (see
/// `Fdb::replace`).
#[derive(Debug)]
pub(crate) struct Counts {
    by_port: Box<[AtomicU32]>,
    learned: AtomicUsize,
    statics: AtomicUsize,
}

impl Counts {
    pub(crate) fn new() -> Self {
        Self {
            by_port: (0..PORTS).map(|_| AtomicU32::new(0)).collect(),
            learned: AtomicUsize::new(0),
            statics: AtomicUsize::new(0),
        }
    }

    pub(crate) fn learned_by(&self, port: PortId) -> u32 {
        self.by_port.get(port.index()).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    pub(crate) fn learned(&self) -> usize {
        self.learned.load(Ordering::Relaxed)
    }

    pub(crate) fn statics(&self) -> usize {
        self.statics.load(Ordering::Relaxed)
    }

    /// Takes a place on `port`; false if it holds `places_max` (0: no bound) already.
    pub(crate) fn take_on_port(&self, port: PortId, places_max: usize) -> bool {
        let Some(count) = self.by_port.get(port.index()) else { return false };
        let before = count.fetch_add(1, Ordering::Relaxed);
        if places_max != 0 && before as usize >= places_max {
            count.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    pub(crate) fn give_back_on_port(&self, port: Option<PortId>) {
        if let Some(count) = port.and_then(|port| self.by_port.get(port.index())) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Takes a place in the table; false if `places_max` are taken already.
    pub(crate) fn take_in_table(&self, places_max: usize) -> bool {
        if self.learned.fetch_add(1, Ordering::Relaxed) >= places_max {
            self.learned.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    pub(crate) fn give_back_in_table(&self) {
        self.learned.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn add_static(&self) {
        self.statics.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn remove_static(&self) {
        self.statics.fetch_sub(1, Ordering::Relaxed);
    }
}
