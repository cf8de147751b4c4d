//! Super-frames for ports that do not take them: cut in software, sent as a burst of their own.

use packet::segment::Segmenter;
use packet::{Burst, DropReason, Frame, HEADROOM_BYTES, Layout, Offload};
use port::{PortSet, Transmission};

use crate::snapshot::PortEntry;

/// Segments being sent: working memory, allocated once.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    burst: Burst,
    jobs: Vec<Transmission>,
    outcomes: Vec<Result<(), DropReason>>,
}

impl Segments {
    /// Cuts `frame` and sends the segments to `entry`, in order, counting each for the port.
    ///
    /// # Errors
    /// The reason for which the frame could not be cut, or the first for which a segment was not sent; the
    /// segments after that one are still tried, as a device would.
    pub(crate) fn send(
        &mut self,
        frame: &Frame,
        layout: Option<&Layout>,
        entry: &PortEntry,
        worker: usize,
        ports: &mut PortSet,
    ) -> Result<(), DropReason> {
        let layout = layout.ok_or(DropReason::Unsegmentable)?;
        let mut segmenter = Segmenter::new(frame.bytes(), layout, frame.offload)?;
        let mut result = Ok(());
        loop {
            let more = self.fill(&mut segmenter, frame, ports);
            let sent = self.flush(entry, worker, ports);
            result = result.and(sent);
            match more {
                Ok(true) => {}
                Ok(false) => return result,
                Err(reason) => return result.and(Err(reason)),
            }
        }
    }

    /// Cuts segments until the burst is full; false once there is no more.
    fn fill(
        &mut self,
        segmenter: &mut Segmenter<'_>,
        frame: &Frame,
        ports: &mut PortSet,
    ) -> Result<bool, DropReason> {
        while !self.burst.is_full() {
            let mut buffer = ports.pool().take().ok_or(DropReason::NoBuffer)?;
            let Some(len_bytes) = segmenter.next_into(&mut buffer.bytes_mut()[HEADROOM_BYTES..]) else {
                ports.pool().give(buffer);
                return Ok(false);
            };
            match Frame::received(buffer, len_bytes, Offload::NONE, frame.ingress) {
                Ok(segment) => {
                    if let Err(segment) = self.burst.push(segment) {
                        ports.pool().give(segment.into_buffer());
                    }
                }
                Err(buffer) => {
                    ports.pool().give(buffer);
                    return Err(DropReason::Unsegmentable);
                }
            }
        }
        Ok(true)
    }

    fn flush(&mut self, entry: &PortEntry, worker: usize, ports: &mut PortSet) -> Result<(), DropReason> {
        self.jobs.clear();
        let count = u16::try_from(self.burst.len()).unwrap_or(u16::MAX);
        self.jobs.extend((0..count).map(|frame| Transmission { frame, port: entry.id, headers_bytes: 0 }));
        ports.transmit(&mut self.burst, &self.jobs, &mut self.outcomes);
        if let Some(cells) = entry.counters.of_worker(worker) {
            for (segment, outcome) in self.burst.frames().iter().zip(&self.outcomes) {
                if outcome.is_ok() {
                    cells.tx_packets.add(1);
                    cells.tx_bytes.add(segment.len() as u64);
                } else {
                    cells.tx_dropped.add(1);
                }
            }
        }
        self.burst.recycle(ports.pool());
        self.outcomes.iter().copied().find(Result::is_err).unwrap_or(Ok(()))
    }
}
