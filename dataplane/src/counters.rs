//! Counters: one writer each, any number of readers, never a lock.
//!
//! A worker counts in cells that only it writes, so an increment is a load and a store, not a locked
//! instruction. Readers sum over the workers and see each cell whole, though not all cells at one instant:
//! between two cells a burst may pass, and over a quiet moment the sums agree exactly.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;
use packet::DropReason;

/// A counter with one writer. Relaxed on both sides: a count orders nothing else.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owner of the counter calls this; a second writer would lose counts (not memory
    /// safety).
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What one worker counts. Written by that worker alone.
///
/// `received = forwarded + consumed + dropped` holds exactly whenever the worker is between two bursts. A
/// unicast frame that is handed to another worker is received and settled in that worker's counts.
#[derive(Debug)]
pub struct WorkerCounters {
    /// Frames taken from ports.
    pub received: Counter,
    /// Received frames of which at least one copy was sent (or handed to another worker, if flooded).
    pub forwarded: Counter,
    /// Received frames that the router itself was the destination of, and those of the uplink that are the kernel's, which
    /// has a copy of its own.
    pub consumed: Counter,
    /// Received frames of which nothing was sent, by reason.
    pub dropped: [Counter; DropReason::COUNT],
    /// Copies of flooded frames sent beyond the first.
    pub copies: Counter,
    /// Copies of flooded frames that could not be sent, while the frame itself counts as forwarded.
    pub copies_dropped: Counter,
    /// Frames that the switch itself sent, such as gratuitous ARP.
    pub originated: Counter,
    /// Frames handed to another worker.
    pub handed_off: Counter,
    /// Bursts with at least one frame.
    pub bursts: Counter,
    /// Times that the worker went to sleep.
    pub sleeps: Counter,
}

/// All zero. Written out, for arrays of more than 32 have no default.
impl Default for WorkerCounters {
    fn default() -> Self {
        Self {
            received: Counter::default(),
            forwarded: Counter::default(),
            consumed: Counter::default(),
            dropped: std::array::from_fn(|_| Counter::default()),
            copies: Counter::default(),
            copies_dropped: Counter::default(),
            originated: Counter::default(),
            handed_off: Counter::default(),
            bursts: Counter::default(),
            sleeps: Counter::default(),
        }
    }
}

impl WorkerCounters {
    /// Sum of all drops.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().map(Counter::get).sum()
    }
}

/// What one worker counts for one port.
#[derive(Debug, Default)]
pub struct PortCells {
    /// Frames received from the port.
    pub rx_packets: Counter,
    /// Their bytes, without frame check sequence.
    pub rx_bytes: Counter,
    /// Frames from the port that were dropped, for whatever reason.
    pub rx_dropped: Counter,
    /// Frames sent to the port.
    pub tx_packets: Counter,
    /// Their bytes.
    pub tx_bytes: Counter,
    /// Frames (or copies) for the port that could not be sent.
    pub tx_dropped: Counter,
}

/// A port's counters: a line of cells for each worker.
#[derive(Debug)]
pub struct PortCounters {
    workers: Box<[CachePadded<PortCells>]>,
}

/// A port's counts, summed over the workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PortTotals {
    /// Frames received from the port.
    pub rx_packets: u64,
    /// Bytes received from the port.
    pub rx_bytes: u64,
    /// Frames from the port that were dropped.
    pub rx_dropped: u64,
    /// Frames sent to the port.
    pub tx_packets: u64,
    /// Bytes sent to the port.
    pub tx_bytes: u64,
    /// Frames for the port that could not be sent.
    pub tx_dropped: u64,
}

impl PortCounters {
    /// Zeroed cells for `workers` workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self { workers: (0..workers).map(|_| CachePadded::default()).collect() }
    }

    /// The cells of one worker, or `None` if there is no such worker.
    #[must_use]
    #[inline]
    pub fn of_worker(&self, worker: usize) -> Option<&PortCells> {
        self.workers.get(worker).map(|cells| &**cells)
    }

    /// Sums over the workers.
    #[must_use]
    pub fn totals(&self) -> PortTotals {
        let sum = |cell: fn(&PortCells) -> &Counter| self.workers.iter().map(|cells| cell(cells).get()).sum();
        PortTotals {
            rx_packets: sum(|cells| &cells.rx_packets),
            rx_bytes: sum(|cells| &cells.rx_bytes),
            rx_dropped: sum(|cells| &cells.rx_dropped),
            tx_packets: sum(|cells| &cells.tx_packets),
            tx_bytes: sum(|cells| &cells.tx_bytes),
            tx_dropped: sum(|cells| &cells.tx_dropped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_sums_over_its_workers() {
        let counters = PortCounters::new(2);
        counters.of_worker(0).unwrap().rx_packets.add(3);
        counters.of_worker(1).unwrap().rx_packets.add(4);
        counters.of_worker(1).unwrap().tx_dropped.add(1);
        assert_eq!(counters.totals(), PortTotals { rx_packets: 7, tx_dropped: 1, ..PortTotals::default() });
        assert!(counters.of_worker(2).is_none());
    }
}
