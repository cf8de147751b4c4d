//! Frames that come from or go to one port one after the other, counted together: most bursts are one row.

use packet::{DropReason, Frame, PortId};

use crate::pipeline::View;
use crate::snapshot::PortEntry;

/// A row of frames from one port.
#[derive(Default)]
pub(crate) struct Heard<'a> {
    pub(crate) port: Option<PortId>,
    pub(crate) entry: Option<&'a PortEntry>,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

impl Heard<'_> {
    pub(crate) fn count(&self, view: &View<'_>) {
        if let Some(cells) = view.cells(self.entry) {
            cells.rx_packets.add(self.packets);
            cells.rx_bytes.add(self.bytes);
        }
    }
}

/// A row of frames to one port.
#[derive(Default)]
pub(crate) struct Said {
    packets: u64,
    bytes: u64,
    dropped: u64,
}

impl Said {
    #[inline]
    pub(crate) fn note(&mut self, frame: &Frame, outcome: Result<(), DropReason>) {
        if outcome.is_ok() {
            self.packets += 1;
            self.bytes += frame.len() as u64;
        } else {
            self.dropped += 1;
        }
    }

    pub(crate) fn count(&self, view: &View<'_>, port: PortId) {
        let Some(cells) = view.cells(view.snapshot.port(port)) else { return };
        if self.packets > 0 {
            cells.tx_packets.add(self.packets);
            cells.tx_bytes.add(self.bytes);
        }
        if self.dropped > 0 {
            cells.tx_dropped.add(self.dropped);
        }
    }
}
