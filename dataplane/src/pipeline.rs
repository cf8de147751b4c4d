//! The order in which a frame is treated. The only file that knows it:
//!
//! 1. *receive*: count, parse once, check the sender's offload metadata, look up the ingress port;
//! 2. *port security*: a bound port says only what is its own;
//! 3. *bridge*: learn the source, decide by the destination, for all frames of the burst together;
//! 4. *route*: what the bridge has sent to the gateway, and what comes from the uplink: for the host, for another
//!    network, or for the router itself ([`route`](crate::route));
//! 5. *egress*: port up, MTU; finish in software what the port does not offload; fragment; join what can travel
//!    together; send, or hand to the worker that holds the port's queue;
//! 6. *settle*: each frame ends as forwarded or as dropped for one reason, and captures see it.
//!
//! A burst goes through each stage together: the `if`s are up, the `for`s are down. A port's jobs are made and
//! sent in the order of arrival, so the order within a flow is kept.

use std::ops::Range;

use packet::{BURST_FRAMES, Burst, DropReason, Layout, Offload, PortId, Stage};
use port::{PortSet, Transmission};
use switch::{Addresses, Forwarding};

use crate::admission;
use crate::capture::Settled;
use crate::events::Events;
use crate::fate::{Fate, Sent, Settlement};
use crate::finish::Pieces;
use crate::handoff::{Handed, Outboxes};
use crate::joined::Joined;
use crate::route::{Released, RouteStage, Router};
use crate::snapshot::PortEntry;
use crate::view::View;

/// Sends are collected up to this many (a flood makes one for each port) before they go to the kernel.
const JOBS_MAX: usize = 256;

/// How many ports a frame goes to, which decides how it is handed to another worker.
#[derive(Clone, Copy, Debug)]
enum Copies {
    /// To this port alone: the frame itself moves.
    Only,
    /// To others as well: a copy moves.
    OneOfSeveral,
    /// It was handed here already.
    Handed,
}

impl Copies {
    /// True if nobody else needs the frame, so that it may change on its way out.
    fn is_sole(self) -> bool {
        !matches!(self, Self::OneOfSeveral)
    }
}

/// A worker's working memory for one burst, allocated once.
#[derive(Debug)]
pub(crate) struct Scratch {
    // By frame of the burst:
    layouts: [Option<Layout>; BURST_FRAMES],
    fates: [Fate; BURST_FRAMES],
    addresses: Vec<Addresses>,
    verdicts: Vec<Forwarding>,
    // And what is made of them:
    jobs: Vec<Transmission>,
    /// The last job's frame goes nowhere else, so that it may change while others ride along with it.
    may_lead: bool,
    joined: Joined,
    outcomes: Vec<Result<(), DropReason>>,
    pieces: Pieces,
}

/// One pass of a burst through the stages.
pub(crate) struct Pass<'a> {
    pub(crate) burst: &'a mut Burst,
    pub(crate) scratch: &'a mut Scratch,
    pub(crate) view: View<'a>,
    pub(crate) ports: &'a mut PortSet,
    pub(crate) out: &'a mut Outboxes,
    pub(crate) router: &'a mut Router,
    pub(crate) events: &'a Events,
}

impl Pass<'_> {
    /// Treats a burst that was just received, from parsing to settling. The frames stay in the burst.
    pub(crate) fn run(&mut self) {
        self.receive();
        self.bridge();
        self.route().run();
        self.egress();
        self.settle();
    }

    /// Stages 1 and 2.
    fn receive(&mut self) {
        let frames = self.burst.frames();
        let Scratch { layouts, fates, addresses, .. } = &mut *self.scratch;
        admission::parse(frames, layouts);
        fates[..frames.len()].fill(Fate::OPEN);
        addresses.clear();
        // Most bursts are one row: frames that follow one another from one port.
        let mut start = 0;
        for row in frames.chunk_by(|one, next| one.ingress == next.ingress) {
            let range = start..start + row.len();
            let entry = self.view.snapshot.port(row[0].ingress);
            self.view.count_heard(entry, row);
            admission::admit(row, &layouts[range.clone()], entry, &mut fates[range.clone()], addresses);
            start = range.end;
        }
    }

    /// Stage 3: all lookups of the burst together, so that their cache misses overlap.
    fn bridge(&mut self) {
        let scratch = &mut *self.scratch;
        self.view.snapshot.fdb().forward_burst(&scratch.addresses, self.view.now_ms, &mut scratch.verdicts);
    }

    /// Stage 4.
    fn route(&mut self) -> RouteStage<'_> {
        let Scratch { layouts, fates, verdicts, .. } = &mut *self.scratch;
        RouteStage {
            burst: self.burst,
            layouts,
            fates,
            verdicts,
            view: &self.view,
            pool: self.ports.pool(),
            router: self.router,
            events: self.events,
        }
    }

    /// Stage 5.
    fn egress(&mut self) {
        let mut start = 0;
        while let Some(&verdict) = self.scratch.verdicts.get(start) {
            let rest = &self.scratch.verdicts[start..];
            let row = start..start + rest.iter().take_while(|&&other| other == verdict).count();
            start = row.end;
            match verdict {
                Forwarding::Unicast(port) => self.send_row(row, port),
                Forwarding::Flood => self.flood(row),
                Forwarding::Drop(reason) => {
                    self.scratch.fates[row].iter_mut().for_each(|fate| fate.drop_for(reason));
                }
            }
        }
        self.flush();
        self.router.replies.flush(&self.view, self.ports, self.out);
        self.out.wake();
    }

    /// Frames that follow one another to one port.
    fn send_row(&mut self, mut row: Range<usize>, port: PortId) {
        let entry = self.view.snapshot.port(port);
        let longest = entry.map_or(0, |entry| entry.takes_up_to(self.view.worker));
        while !row.is_empty() {
            // Frames that need nothing but to be sent are taken together.
            let frames = self.burst.frames()[row.clone()].iter().zip(&self.scratch.fates[row.clone()]);
            let ready = frames.take_while(|(frame, fate)| {
                frame.offload == Offload::NONE && frame.len() <= longest && !fate.is_to_be_fragmented
            });
            let ready = row.start..row.start + ready.count();
            row.start = ready.end;
            if !ready.is_empty() {
                let jobs = ready.map(|at| Transmission { frame: index(at), port, headers_bytes: 0 });
                self.push_jobs(jobs, Copies::Only);
            }
            if let Some(at) = row.next() {
                self.send(index(at), entry, Copies::Only);
            }
        }
    }

    /// Frames that go to all ports but their own, port by port, so that each port's copies are a row.
    fn flood(&mut self, row: Range<usize>) {
        let ports = self.view.snapshot.flood();
        for &port in ports {
            let entry = self.view.snapshot.port(port);
            for at in row.clone() {
                if self.burst.frames()[at].ingress != port {
                    self.send(index(at), entry, Copies::OneOfSeveral);
                }
            }
        }
        if let [] | [_] = ports {
            for at in row.filter(|&at| ports.iter().all(|port| *port == self.burst.frames()[at].ingress)) {
                self.scratch.fates[at].drop_for(DropReason::NoEgress);
            }
        }
    }

    /// One frame to one port: a job, software segments, or a handoff.
    fn send(&mut self, index: u16, entry: Option<&PortEntry>, copies: Copies) {
        let at = usize::from(index);
        let Some(entry) = entry.filter(|entry| entry.up) else {
            self.scratch.fates[at].copy(Err(DropReason::EgressDown));
            return;
        };
        let frame = &self.burst.frames()[at];
        let is_to_be_fragmented = self.scratch.fates[at].is_to_be_fragmented;
        if !is_to_be_fragmented && !entry.fits(frame) {
            self.refuse(index, entry, DropReason::EgressMtu);
        } else if let Some(owner) = entry.owner_other_than(self.view.worker) {
            self.hand_off(index, entry, owner, copies);
        } else if is_to_be_fragmented {
            // What was queued before goes first: the order within a flow is kept.
            self.flush();
            let (frame, layout) = (&mut self.burst.frames_mut()[at], self.scratch.layouts[at]);
            let pieces = &mut self.scratch.pieces;
            let outcome = pieces.send_fragments(frame, layout.as_ref(), entry, self.view.worker, self.ports);
            self.scratch.fates[at].copy(outcome);
        } else if entry.offloads.accept(frame.offload) {
            let may_ride = frame.offload != Offload::NONE && copies.is_sole();
            if !(may_ride && entry.offloads.uso && self.join(index, entry.id)) {
                self.push_jobs([self.transmission(index, entry.id)], copies);
            }
        } else if frame.offload.segmentation.is_none() {
            // The finished frame is as good for every other port, so it is finished in place.
            let frame = &mut self.burst.frames_mut()[at];
            let offload = std::mem::take(&mut frame.offload);
            packet::checksum::complete(frame.bytes_mut(), offload);
            self.push_jobs([self.transmission(index, entry.id)], copies);
        } else {
            // What was queued before goes first: the order within a flow is kept.
            self.flush();
            let (frame, layout) = (&self.burst.frames()[at], self.scratch.layouts[at]);
            let outcome = self.scratch.pieces.send_segments(
                frame,
                layout.as_ref(),
                entry,
                self.view.worker,
                self.ports,
            );
            self.scratch.fates[at].copy(outcome);
        }
    }

    fn transmission(&self, frame: u16, port: PortId) -> Transmission {
        let layout = &self.scratch.layouts[usize::from(frame)];
        Transmission { frame, port, headers_bytes: layout.map_or(0, |layout| layout.payload_offset) }
    }

    fn push_jobs(&mut self, jobs: impl IntoIterator<Item = Transmission>, copies: Copies) {
        self.scratch.jobs.extend(jobs);
        self.scratch.may_lead = copies.is_sole();
        if self.scratch.jobs.len() >= JOBS_MAX {
            self.flush();
        }
    }

    /// Lets the frame ride along with the last job, if that is for the same port and of the same flow.
    fn join(&mut self, index: u16, port: PortId) -> bool {
        let scratch = &mut *self.scratch;
        let Some(job) = scratch.jobs.len().checked_sub(1) else { return false };
        if !scratch.may_lead || scratch.jobs[job].port != port {
            return false;
        }
        scratch.joined.join(job, scratch.jobs[job].frame, index, &scratch.layouts, self.burst)
    }

    fn refuse(&mut self, index: u16, entry: &PortEntry, reason: DropReason) {
        if let Some(cells) = self.view.cells(Some(entry)) {
            cells.tx_dropped.add(1);
        }
        self.scratch.fates[usize::from(index)].copy(Err(reason));
    }

    fn hand_off(&mut self, index: u16, entry: &PortEntry, owner: usize, copies: Copies) {
        let frame = &mut self.burst.frames_mut()[usize::from(index)];
        let is_to_be_fragmented = self.scratch.fates[usize::from(index)].is_to_be_fragmented;
        let handed = match copies {
            Copies::Only => {
                let handed = Handed { is_to_be_fragmented, ..Handed::move_to(entry.id) };
                self.out.move_to(owner, frame, handed)
            }
            Copies::OneOfSeveral => self.out.copy_to(owner, frame, Handed::copy_to(entry.id)),
            // The queue moved while the frame was under way; a second handoff could go round for ever.
            Copies::Handed => Err(DropReason::EgressDown),
        };
        if let Err(reason) = handed {
            self.refuse(index, entry, reason);
            return;
        }
        self.view.counters.handed_off.add(1);
        let fate = &mut self.scratch.fates[usize::from(index)];
        match copies {
            Copies::Only => fate.settled_elsewhere = true,
            _ => fate.copy(Ok(())),
        }
    }

    /// Sends the jobs made so far and notes what became of each.
    fn flush(&mut self) {
        let scratch = &mut *self.scratch;
        if scratch.jobs.is_empty() {
            return;
        }
        scratch.joined.seal(self.burst);
        self.ports.transmit(self.burst, &scratch.jobs, &mut scratch.outcomes);
        scratch.joined.restore(self.burst);
        let frames = self.burst.frames();
        let mut start = 0;
        for row in scratch.jobs.chunk_by(|one, next| one.port == next.port) {
            let outcomes = &scratch.outcomes[start..start + row.len()];
            start += row.len();
            let sent = Sent::note(frames, row, outcomes, &mut scratch.fates);
            self.view.count_sent(row[0].port, &sent);
        }
        for (frame, job) in scratch.joined.riders() {
            let (job, outcome) = (scratch.jobs[job], scratch.outcomes[job]);
            let sent = Sent::note(frames, &[Transmission { frame, ..job }], &[outcome], &mut scratch.fates);
            self.view.count_sent(job.port, &sent);
        }
        scratch.jobs.clear();
        scratch.joined.clear();
    }

    /// Stage 6.
    fn settle(&mut self) {
        let mut settlement = Settlement::default();
        for (frame, fate) in self.burst.frames().iter().zip(&self.scratch.fates) {
            if let Err(reason) = settlement.add(fate) {
                self.view.drop_received(reason, frame.ingress);
            }
        }
        settlement.count(self.view.counters);
        if !self.view.snapshot.captures().is_empty() {
            self.show_to_captures();
        }
    }

    /// Sends frames that another worker has decided on; `handed[i]` belongs to frame i. What a port may
    /// have become since then is checked again.
    pub(crate) fn run_handed(&mut self, handed: &[Handed]) {
        self.scratch.clear();
        for (index, (frame, handed)) in (0_u16..).zip(self.burst.frames().iter().zip(handed)) {
            self.scratch.layouts[usize::from(index)] = packet::parse(frame.bytes()).ok();
            self.scratch.fates[usize::from(index)] = Fate {
                settled_elsewhere: handed.is_copy,
                is_to_be_fragmented: handed.is_to_be_fragmented,
                ..Fate::OPEN
            };
            self.scratch.verdicts.push(Forwarding::Unicast(handed.egress));
        }
        for (index, handed) in (0_u16..).zip(handed) {
            self.send(index, self.view.snapshot.port(handed.egress), Copies::Handed);
        }
        self.flush();
        let fates = self.scratch.fates.iter().take(self.burst.len());
        for fate in fates.filter(|fate| fate.settled_elsewhere) {
            self.view.counters.copies_dropped.add(u64::from(fate.failed));
        }
        self.settle();
    }

    /// Treats packets that waited for their next hop; `released[i]` belongs to frame i.
    pub(crate) fn run_released(&mut self, released: &[Released]) {
        self.scratch.clear();
        let frames = self.burst.frames();
        admission::parse(frames, &mut self.scratch.layouts);
        self.scratch.fates[..frames.len()].fill(Fate::OPEN);
        self.scratch.verdicts.resize(frames.len(), Forwarding::Drop(DropReason::NeighborUnresolved));
        self.route().run_released(released);
        self.egress();
        self.settle();
    }

    fn show_to_captures(&mut self) {
        let since_epoch =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let time_ns = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX);
        let found = self.scratch.layouts.iter().zip(&self.scratch.fates).zip(&self.scratch.verdicts);
        for (frame, ((layout, fate), verdict)) in self.burst.frames().iter().zip(found) {
            if fate.settled_elsewhere {
                continue;
            }
            // The bridge's word on a frame that did not get as far as that means nothing, nor on one that was for the
            // router itself.
            let was_decided_on =
                !fate.consumed && fate.reason.is_none_or(|reason| reason.stage() >= Stage::Bridge);
            let verdict = was_decided_on.then_some(*verdict);
            let dropped = fate.reason.filter(|_| fate.sent == 0 && !fate.consumed);
            let layout = layout.as_ref();
            let settled = Settled { frame, layout, verdict, dropped, time_ns };
            for capture in self.view.snapshot.captures() {
                capture.offer(&settled);
            }
        }
    }
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self {
            layouts: [None; BURST_FRAMES],
            fates: [Fate::OPEN; BURST_FRAMES],
            addresses: Vec::with_capacity(BURST_FRAMES),
            verdicts: Vec::with_capacity(BURST_FRAMES),
            jobs: Vec::with_capacity(JOBS_MAX + BURST_FRAMES),
            may_lead: false,
            joined: Joined::default(),
            outcomes: Vec::with_capacity(JOBS_MAX + BURST_FRAMES),
            pieces: Pieces::default(),
        }
    }

    /// What is kept by frame is set anew as frames are looked at.
    fn clear(&mut self) {
        self.addresses.clear();
        self.verdicts.clear();
        self.jobs.clear();
        self.joined.clear();
    }
}

/// The position of a frame in its burst.
#[inline]
fn index(at: usize) -> u16 {
    u16::try_from(at).unwrap_or(u16::MAX)
}
