//! The queues of a worker that no engine drives: polled in turn.

use std::io;

use packet::{DropReason, Frame, PortId};

use crate::engine::Engine;
use crate::{Intake, PortFault, PortQueue, Transmission, Waker};

struct Direct {
    port: PortId,
    queue: Box<dyn PortQueue>,
    fault: Option<PortFault>,
}

/// All polled queues of a worker.
#[derive(Default)]
pub(crate) struct DirectQueues {
    queues: Vec<Direct>,
    /// Position in `queues` by port index.
    positions: Vec<Option<usize>>,
    /// Who is asked first next time.
    first: usize,
}

impl DirectQueues {
    pub(crate) fn attach(
        &mut self,
        port: PortId,
        mut queue: Box<dyn PortQueue>,
        waker: Waker,
        engine: &mut dyn Engine,
    ) -> io::Result<()> {
        queue.attached(waker);
        if let Some(fd) = queue.event_source() {
            engine.watch(port, fd)?;
        }
        if self.positions.len() <= port.index() {
            self.positions.resize(port.index() + 1, None);
        }
        self.positions[port.index()] = Some(self.queues.len());
        self.queues.push(Direct { port, queue, fault: None });
        Ok(())
    }

    pub(crate) fn detach(&mut self, port: PortId, engine: &mut dyn Engine) -> bool {
        let Some(position) = self.positions.get_mut(port.index()).and_then(Option::take) else {
            return false;
        };
        let direct = self.queues.swap_remove(position);
        if let Some(moved) = self.queues.get(position) {
            self.positions[moved.port.index()] = Some(position);
        }
        if let Some(fd) = direct.queue.event_source() {
            engine.unwatch(port, fd);
        }
        true
    }

    pub(crate) fn revive(&mut self, port: PortId) {
        if let Some(direct) = self.get(port) {
            direct.fault = None;
        }
    }

    /// Asks each queue once, beginning with another one every time.
    pub(crate) fn receive(&mut self, intake: &mut Intake<'_>, faults: &mut Vec<(PortId, PortFault)>) {
        let count = self.queues.len();
        for step in 0..count {
            if intake.is_full() {
                break;
            }
            let position = (self.first + step) % count;
            let direct = &mut self.queues[position];
            if !matches!(direct.fault, None | Some(PortFault::LinkDown)) {
                continue;
            }
            if let Err(fault) = direct.queue.receive(direct.port, intake)
                && direct.fault.replace(fault) != Some(fault)
            {
                faults.push((direct.port, fault));
            }
        }
        self.first = if count == 0 { 0 } else { (self.first + 1) % count };
    }

    /// Sends the jobs whose port is one of these, in order.
    pub(crate) fn transmit(
        &mut self,
        frames: &mut [Frame],
        jobs: &[Transmission],
        outcomes: &mut [Result<(), DropReason>],
    ) {
        if self.queues.is_empty() {
            return;
        }
        let mut rest = outcomes;
        // Frames for one port come in rows.
        for row in jobs.chunk_by(|one, next| one.port == next.port) {
            let Some((own, others)) = std::mem::take(&mut rest).split_at_mut_checked(row.len()) else {
                break;
            };
            rest = others;
            let Some(direct) = row.first().and_then(|job| self.get(job.port)) else { continue };
            if direct.fault.is_none() {
                direct.queue.transmit_row(frames, row, own);
            }
        }
        for direct in &mut self.queues {
            direct.queue.flush();
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.queues.iter().any(|direct| direct.fault.is_none() && direct.queue.is_ready())
    }

    pub(crate) fn contains(&self, port: PortId) -> bool {
        self.positions.get(port.index()).is_some_and(Option::is_some)
    }

    fn get(&mut self, port: PortId) -> Option<&mut Direct> {
        let position = (*self.positions.get(port.index())?)?;
        self.queues.get_mut(position)
    }
}
