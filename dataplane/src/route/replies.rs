//! Frames that the router itself makes of what it received: answers and errors.

use packet::{Buffer, BufferPool, Burst, DropReason, Frame, HEADROOM_BYTES, Offload, PortId, checksum};
use port::{PortSet, Transmission};

use crate::handoff::{Handed, Outboxes};
use crate::view::View;

/// Replies that wait to be sent at the end of their burst, at most as many as a burst has frames; memory is allocated
/// once. What finds no room or no buffer is not sent: its sender asks again.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    burst: Burst,
    jobs: Vec<Transmission>,
    outcomes: Vec<Result<(), DropReason>>,
}

impl Replies {
    /// Adds what `write` writes into the memory given to it and returns the length of, to leave by `port`.
    pub(super) fn write(
        &mut self,
        pool: &mut BufferPool,
        port: PortId,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Option<()> {
        if self.burst.is_full() {
            return None;
        }
        let mut buffer = pool.take()?;
        let made = match write(&mut buffer.bytes_mut()[HEADROOM_BYTES..]) {
            Some(len_bytes) => Frame::received(buffer, len_bytes, Offload::NONE, port),
            None => Err(buffer),
        };
        self.add(pool, made)
    }

    /// Adds a copy of `frame`, to leave by the port that it came in by.
    pub(super) fn copy(&mut self, pool: &mut BufferPool, frame: &Frame) -> Option<()> {
        if self.burst.is_full() {
            return None;
        }
        let copied = Frame::copied(pool.take()?, frame.bytes(), frame.ingress).map(|mut copy| {
            copy.offload = frame.offload;
            copy
        });
        self.add(pool, copied)
    }

    fn add(&mut self, pool: &mut BufferPool, made: Result<Frame, Buffer>) -> Option<()> {
        let pushed = made.and_then(|frame| self.burst.push(frame).map_err(Frame::into_buffer));
        pushed.map_err(|buffer| pool.give(buffer)).ok()
    }

    /// Sends them all, and counts each as a frame of the switch's own.
    pub(crate) fn flush(&mut self, view: &View<'_>, ports: &mut PortSet, out: &mut Outboxes) {
        if self.burst.is_empty() {
            return;
        }
        view.counters.originated.add(self.burst.len() as u64);
        self.jobs.clear();
        for (index, frame) in (0_u16..).zip(self.burst.frames_mut()) {
            let port = frame.ingress;
            let entry = view.snapshot.port(port);
            let Some(entry) = entry.filter(|entry| entry.up && entry.fits(frame)) else {
                view.count_unsent(entry, 1);
                continue;
            };
            if let Some(owner) = entry.owner_other_than(view.worker) {
                if out.copy_to(owner, frame, Handed::copy_to(port)).is_err() {
                    view.count_unsent(Some(entry), 1);
                }
                continue;
            }
            if !entry.offloads.accept(frame.offload) {
                let offload = std::mem::take(&mut frame.offload);
                checksum::complete(frame.bytes_mut(), offload);
            }
            self.jobs.push(Transmission { frame: index, port, headers_bytes: 0 });
        }
        ports.transmit(&mut self.burst, &self.jobs, &mut self.outcomes);
        for (job, outcome) in self.jobs.iter().zip(&self.outcomes) {
            let (entry, len_bytes) =
                (view.snapshot.port(job.port), self.burst.frames()[usize::from(job.frame)].len());
            match (outcome, view.cells(entry)) {
                (Ok(()), Some(cells)) => {
                    cells.tx_packets.add(1);
                    cells.tx_bytes.add(len_bytes as u64);
                }
                (Ok(()), None) => {}
                (Err(_), _) => view.count_unsent(entry, 1),
            }
        }
        self.burst.recycle(ports.pool());
    }
}
