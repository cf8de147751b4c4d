//! What a worker looks at while it treats a burst, and where it counts.

use packet::{DropReason, Frame, PortId};

use crate::counters::{PortCells, WorkerCounters};
use crate::fate::Sent;
use crate::snapshot::{PortEntry, Snapshot};

/// What the stages look at and none of them changes.
pub(crate) struct View<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) counters: &'a WorkerCounters,
    pub(crate) worker: usize,
    pub(crate) now_ms: u64,
}

impl View<'_> {
    pub(crate) fn cells<'e>(&self, entry: Option<&'e PortEntry>) -> Option<&'e PortCells> {
        entry?.counters.of_worker(self.worker)
    }

    /// Counts frames that came from one port.
    pub(crate) fn count_heard(&self, entry: Option<&PortEntry>, row: &[Frame]) {
        if let Some(cells) = self.cells(entry) {
            cells.rx_packets.add(row.len() as u64);
            cells.rx_bytes.add(row.iter().map(|frame| frame.len() as u64).sum());
        }
    }

    /// Counts frames that went to one port.
    pub(crate) fn count_sent(&self, port: PortId, sent: &Sent) {
        let Some(cells) = self.cells(self.snapshot.port(port)) else { return };
        cells.tx_packets.add(sent.packets);
        cells.tx_bytes.add(sent.bytes);
        cells.tx_dropped.add(sent.dropped);
    }

    /// Counts frames of the switch's own, or copies, that could not be sent to a port.
    pub(crate) fn count_unsent(&self, entry: Option<&PortEntry>, frames: u64) {
        self.counters.copies_dropped.add(frames);
        if let Some(cells) = self.cells(entry) {
            cells.tx_dropped.add(frames);
        }
    }

    /// Counts a received frame as dropped.
    pub(crate) fn drop_received(&self, reason: DropReason, ingress: PortId) {
        self.counters.dropped[reason.index()].add(1);
        if let Some(cells) = self.cells(self.snapshot.port(ingress)) {
            cells.rx_dropped.add(1);
        }
    }

    /// Counts frames that were bad before they became frames.
    pub(crate) fn count_rejected(&self, rejected: &[(PortId, DropReason)]) {
        for (port, reason) in rejected {
            if let Some(cells) = self.cells(self.snapshot.port(*port)) {
                cells.rx_packets.add(1);
            }
            self.counters.received.add(1);
            self.drop_received(*reason, *port);
        }
    }
}
