//! Frames that a port does not take as they are: super-frames cut into segments, packets cut into fragments, sent as
//! a burst of their own.

use packet::segment::Segmenter;
use packet::{Burst, DropReason, Frame, HEADROOM_BYTES, Layout, Offload, checksum};
use port::{PortSet, Transmission};
use router::fragment::Fragmenter;

use crate::snapshot::PortEntry;

/// Pieces being sent: working memory, allocated once.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    burst: Burst,
    jobs: Vec<Transmission>,
    outcomes: Vec<Result<(), DropReason>>,
}

/// Where pieces go.
struct Way<'a> {
    entry: &'a PortEntry,
    worker: usize,
    ports: &'a mut PortSet,
}

impl Pieces {
    /// Cuts the super-frame `frame` and sends the segments to `entry`, in order, counting each for the port.
    ///
    /// # Errors
    /// The reason for which the frame could not be cut, or the first for which a segment was not sent; the
    /// segments after that one are still tried, as a device would.
    pub(crate) fn send_segments(
        &mut self,
        frame: &Frame,
        layout: Option<&Layout>,
        entry: &PortEntry,
        worker: usize,
        ports: &mut PortSet,
    ) -> Result<(), DropReason> {
        let layout = layout.ok_or(DropReason::Unsegmentable)?;
        let mut segmenter = Segmenter::new(frame.bytes(), layout, frame.offload)?;
        self.send(frame, &mut |out| segmenter.next_into(out), &mut Way { entry, worker, ports })
    }

    /// Cuts the IPv4 packet in `frame`, which may be a super-frame, into fragments that `entry` takes, and sends them
    /// likewise. The packet is finished in place before.
    ///
    /// # Errors
    /// As for [`send_segments`](Self::send_segments).
    pub(crate) fn send_fragments(
        &mut self,
        frame: &mut Frame,
        layout: Option<&Layout>,
        entry: &PortEntry,
        worker: usize,
        ports: &mut PortSet,
    ) -> Result<(), DropReason> {
        let layout = layout.ok_or(DropReason::PacketTooBig)?;
        let way = &mut Way { entry, worker, ports };
        if frame.offload.segmentation.is_none() {
            let offload = std::mem::take(&mut frame.offload);
            checksum::complete(frame.bytes_mut(), offload);
            return self.send_fragments_of(frame, frame.bytes(), layout, way);
        }
        let mut segmenter = Segmenter::new(frame.bytes(), layout, frame.offload)?;
        let mut segment = way.ports.pool().take().ok_or(DropReason::NoBuffer)?;
        let mut result = Ok(());
        while let Some(len_bytes) = segmenter.next_into(segment.bytes_mut()) {
            let bytes = segment.bytes().get(..len_bytes).unwrap_or_default();
            let sent =
                packet::parse(bytes).and_then(|layout| self.send_fragments_of(frame, bytes, &layout, way));
            result = result.and(sent);
        }
        way.ports.pool().give(segment);
        result
    }

    fn send_fragments_of(
        &mut self,
        frame: &Frame,
        bytes: &[u8],
        layout: &Layout,
        way: &mut Way<'_>,
    ) -> Result<(), DropReason> {
        let mtu_bytes = usize::try_from(way.entry.mtu_bytes).unwrap_or(usize::MAX);
        let mut fragmenter = Fragmenter::new(bytes, layout, Offload::NONE, mtu_bytes)
            .map_err(router::fragment::FragmentError::drop_reason)?;
        self.send(frame, &mut |out| fragmenter.next_into(out), way)
    }

    /// Sends what `next` makes, until it makes no more.
    fn send(
        &mut self,
        frame: &Frame,
        next: &mut impl FnMut(&mut [u8]) -> Option<usize>,
        way: &mut Way<'_>,
    ) -> Result<(), DropReason> {
        let mut result = Ok(());
        loop {
            let more = self.fill(next, frame, way.ports);
            let sent = self.flush(way);
            result = result.and(sent);
            match more {
                Ok(true) => {}
                Ok(false) => return result,
                Err(reason) => return result.and(Err(reason)),
            }
        }
    }

    /// Makes pieces until the burst is full; false once there is no more.
    fn fill(
        &mut self,
        next: &mut impl FnMut(&mut [u8]) -> Option<usize>,
        frame: &Frame,
        ports: &mut PortSet,
    ) -> Result<bool, DropReason> {
        while !self.burst.is_full() {
            let mut buffer = ports.pool().take().ok_or(DropReason::NoBuffer)?;
            let Some(len_bytes) = next(&mut buffer.bytes_mut()[HEADROOM_BYTES..]) else {
                ports.pool().give(buffer);
                return Ok(false);
            };
            match Frame::received(buffer, len_bytes, Offload::NONE, frame.ingress) {
                Ok(piece) => {
                    if let Err(piece) = self.burst.push(piece) {
                        ports.pool().give(piece.into_buffer());
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

    fn flush(&mut self, way: &mut Way<'_>) -> Result<(), DropReason> {
        let Way { entry, worker, ports } = way;
        self.jobs.clear();
        let count = u16::try_from(self.burst.len()).unwrap_or(u16::MAX);
        self.jobs.extend((0..count).map(|frame| Transmission { frame, port: entry.id, headers_bytes: 0 }));
        ports.transmit(&mut self.burst, &self.jobs, &mut self.outcomes);
        if let Some(cells) = entry.counters.of_worker(*worker) {
            for (piece, outcome) in self.burst.frames().iter().zip(&self.outcomes) {
                if outcome.is_ok() {
                    cells.tx_packets.add(1);
                    cells.tx_bytes.add(piece.len() as u64);
                } else {
                    cells.tx_dropped.add(1);
                }
            }
        }
        self.burst.recycle(ports.pool());
        self.outcomes.iter().copied().find(Result::is_err).unwrap_or(Ok(()))
    }
}
