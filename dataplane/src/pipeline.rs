//! The order in which a frame is treated. The only file that knows it:
//!
//! 1. *receive*: count, parse once, check the sender's offload metadata, look up the ingress port;
//! 2. *port security*: a bound port says only what is its own;
//! 3. *bridge*: learn the source, decide by the destination, for all frames of the burst together;
//! 4. *egress*: port up, MTU; finish in software what the port does not offload; join what can travel
//!    together; send, or hand to the worker that holds the port's queue;
//! 5. *settle*: each frame ends as forwarded or as dropped for one reason, and captures see it.
//!
//! A burst goes through each stage together: the `if`s are up, the `for`s are down. Jobs are made and sent
//! in the order of arrival, so the order within a flow is kept.

use packet::{Burst, DropReason, Frame, Layout, MacAddress, Offload, PortId};
use port::{PortSet, Transmission};
use switch::{Addresses, Forwarding};

use crate::capture::Settled;
use crate::counters::{PortCells, WorkerCounters};
use crate::finish::Segments;
use crate::handoff::{Handed, Outboxes};
use crate::joined::Joined;
use crate::rows::{Heard, Said};
use crate::snapshot::{PortEntry, Snapshot};

/// Sends are collected up to this many (a flood makes one for each port) before they go to the kernel.
const JOBS_MAX: usize = 256;

/// What the stages look at and none of them changes.
pub(crate) struct View<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) counters: &'a WorkerCounters,
    pub(crate) worker: usize,
    pub(crate) now_ms: u64,
}

/// What has become of a frame so far.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    /// Copies sent.
    sent: u16,
    /// Copies that could not be sent.
    failed: u16,
    /// The first reason for which the frame, or a copy, was dropped.
    reason: Option<DropReason>,
    /// The frame belongs to another worker, which settles it.
    settled_elsewhere: bool,
}

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

impl Fate {
    fn copy(&mut self, outcome: Result<(), DropReason>) {
        match outcome {
            Ok(()) => self.sent += 1,
            Err(reason) => {
                self.failed += 1;
                self.reason.get_or_insert(reason);
            }
        }
    }
}

/// A worker's working memory for one burst, allocated once. Vectors are parallel to the burst's frames but
/// for `addresses`, `verdicts` and `undecided`, which are parallel to one another.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    layouts: Vec<Option<Layout>>,
    fates: Vec<Fate>,
    undecided: Vec<u16>,
    addresses: Vec<Addresses>,
    verdicts: Vec<Forwarding>,
    jobs: Vec<Transmission>,
    /// The last job's frame goes nowhere else, so that it may change while others ride along with it.
    may_lead: bool,
    joined: Joined,
    outcomes: Vec<Result<(), DropReason>>,
    segments: Segments,
}

/// One pass of a burst through the stages.
pub(crate) struct Pass<'a> {
    pub(crate) burst: &'a mut Burst,
    pub(crate) scratch: &'a mut Scratch,
    pub(crate) view: View<'a>,
    pub(crate) ports: &'a mut PortSet,
    pub(crate) out: &'a mut Outboxes,
}

impl Pass<'_> {
    /// Treats a burst that was just received, from parsing to settling. The frames stay in the burst.
    pub(crate) fn run(&mut self) {
        self.receive();
        self.bridge();
        self.egress();
        self.settle();
    }

    /// Stages 1 and 2. Frames that pass are listed in `undecided` and `addresses`.
    fn receive(&mut self) {
        let scratch = &mut *self.scratch;
        scratch.clear();
        scratch.fates.resize(self.burst.len(), Fate::default());
        let mut heard = Heard::default();
        for (index, frame) in (0_u16..).zip(self.burst.frames()) {
            let bytes = frame.bytes();
            if heard.port != Some(frame.ingress) {
                heard.count(&self.view);
                let entry = self.view.snapshot.port(frame.ingress);
                heard = Heard { port: Some(frame.ingress), entry, ..Heard::default() };
            }
            heard.packets += 1;
            heard.bytes += bytes.len() as u64;
            let admitted = match packet::parse(bytes) {
                Ok(layout) => {
                    scratch.layouts.push(Some(layout));
                    admit(frame, &layout, heard.entry)
                }
                Err(reason) => {
                    scratch.layouts.push(None);
                    Err(reason)
                }
            };
            match admitted {
                Ok(addresses) => {
                    scratch.undecided.push(index);
                    scratch.addresses.push(addresses);
                }
                Err(reason) => scratch.fates[usize::from(index)].reason = Some(reason),
            }
        }
        heard.count(&self.view);
    }

    /// Stage 3: all lookups of the burst together, so that their cache misses overlap.
    fn bridge(&mut self) {
        let scratch = &mut *self.scratch;
        self.view.snapshot.fdb().forward_burst(&scratch.addresses, self.view.now_ms, &mut scratch.verdicts);
    }

    /// Stage 4.
    fn egress(&mut self) {
        let snapshot = self.view.snapshot;
        // Frames for one port come in rows.
        let (mut last, mut entry) = (None, None);
        for position in 0..self.scratch.undecided.len() {
            let (index, verdict) = (self.scratch.undecided[position], self.scratch.verdicts[position]);
            match verdict {
                Forwarding::Unicast(port) => {
                    if last != Some(port) {
                        (last, entry) = (Some(port), snapshot.port(port));
                    }
                    self.send(index, entry, Copies::Only);
                }
                Forwarding::Drop(reason) => self.scratch.fates[usize::from(index)].reason = Some(reason),
                Forwarding::Flood => {
                    let ingress = self.scratch.addresses[position].ingress;
                    for &port in snapshot.flood().iter().filter(|&&port| port != ingress) {
                        self.send(index, snapshot.port(port), Copies::OneOfSeveral);
                    }
                    let fate = &mut self.scratch.fates[usize::from(index)];
                    if snapshot.flood() == [ingress] || snapshot.flood().is_empty() {
                        fate.reason = Some(DropReason::NoEgress);
                    }
                }
            }
        }
        self.flush();
        self.out.wake();
    }

    /// One frame to one port: a job, software segments, or a handoff.
    fn send(&mut self, index: u16, entry: Option<&PortEntry>, copies: Copies) {
        let at = usize::from(index);
        let Some(entry) = entry.filter(|entry| entry.up) else {
            self.scratch.fates[at].copy(Err(DropReason::EgressDown));
            return;
        };
        let frame = &self.burst.frames()[at];
        if !entry.fits(frame) {
            self.refuse(index, entry, DropReason::EgressMtu);
        } else if let Some(owner) = entry.owner_other_than(self.view.worker) {
            self.hand_off(index, entry, owner, copies);
        } else if entry.offloads.accept(frame.offload) {
            let may_ride = frame.offload != Offload::NONE && matches!(copies, Copies::Only);
            if !(may_ride && entry.offloads.uso && self.join(index, entry.id)) {
                self.push_job(index, entry.id, copies);
            }
        } else if frame.offload.segmentation.is_none() {
            // The finished frame is as good for every other port, so it is finished in place.
            let frame = &mut self.burst.frames_mut()[at];
            let offload = std::mem::take(&mut frame.offload);
            packet::checksum::complete(frame.bytes_mut(), offload);
            self.push_job(index, entry.id, copies);
        } else {
            // What was queued before goes first: the order within a flow is kept.
            self.flush();
            let (frame, layout) = (&self.burst.frames()[at], self.scratch.layouts[at]);
            let outcome =
                self.scratch.segments.send(frame, layout.as_ref(), entry, self.view.worker, self.ports);
            self.scratch.fates[at].copy(outcome);
        }
    }

    fn push_job(&mut self, index: u16, port: PortId, copies: Copies) {
        let headers_bytes =
            self.scratch.layouts[usize::from(index)].map_or(0, |layout| layout.payload_offset);
        self.scratch.jobs.push(Transmission { frame: index, port, headers_bytes });
        self.scratch.may_lead = matches!(copies, Copies::Only);
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
        let handed = match copies {
            Copies::Only => self.out.move_to(owner, frame, entry.id),
            Copies::OneOfSeveral => self.out.copy_to(owner, frame, entry.id),
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
        let mut sent = scratch.jobs.iter().zip(&scratch.outcomes);
        for row in scratch.jobs.chunk_by(|one, next| one.port == next.port) {
            let mut said = Said::default();
            for (job, outcome) in sent.by_ref().take(row.len()) {
                said.note(&frames[usize::from(job.frame)], *outcome);
                scratch.fates[usize::from(job.frame)].copy(*outcome);
            }
            said.count(&self.view, row[0].port);
        }
        for (frame, job) in scratch.joined.riders() {
            let (port, outcome) = (scratch.jobs[job].port, scratch.outcomes[job]);
            let mut said = Said::default();
            said.note(&frames[usize::from(frame)], outcome);
            said.count(&self.view, port);
            scratch.fates[usize::from(frame)].copy(outcome);
        }
        scratch.jobs.clear();
        scratch.joined.clear();
    }

    /// Stage 5.
    fn settle(&mut self) {
        let mut received = 0;
        for (frame, fate) in self.burst.frames().iter().zip(&self.scratch.fates) {
            if !fate.settled_elsewhere {
                received += 1;
                self.view.count(fate, frame.ingress);
            }
        }
        self.view.counters.received.add(received);
        if !self.view.snapshot.captures().is_empty() {
            self.show_to_captures();
        }
    }

    /// Sends frames that another worker has decided on; `handed[i]` belongs to frame i. What a port may
    /// have become since then is checked again.
    pub(crate) fn run_handed(&mut self, handed: &[Handed]) {
        self.scratch.clear();
        for (index, (frame, handed)) in (0_u16..).zip(self.burst.frames().iter().zip(handed)) {
            self.scratch.layouts.push(packet::parse(frame.bytes()).ok());
            self.scratch.fates.push(Fate { settled_elsewhere: handed.is_copy, ..Fate::default() });
            self.scratch.undecided.push(index);
            self.scratch.verdicts.push(Forwarding::Unicast(handed.egress));
        }
        for (index, handed) in (0_u16..).zip(handed) {
            self.send(index, self.view.snapshot.port(handed.egress), Copies::Handed);
        }
        self.flush();
        for fate in self.scratch.fates.iter().filter(|fate| fate.settled_elsewhere) {
            self.view.counters.copies_dropped.add(u64::from(fate.failed));
        }
        self.settle();
    }

    fn show_to_captures(&mut self) {
        let since_epoch =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let time_ns = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX);
        let mut decided = self.scratch.undecided.iter().zip(&self.scratch.verdicts).peekable();
        for (index, (frame, fate)) in (0_u16..).zip(self.burst.frames().iter().zip(&self.scratch.fates)) {
            let verdict = decided.next_if(|(decided, _)| **decided == index).map(|(_, verdict)| *verdict);
            if fate.settled_elsewhere {
                continue;
            }
            let dropped = fate.reason.filter(|_| fate.sent == 0);
            let layout = self.scratch.layouts[usize::from(index)].as_ref();
            let settled = Settled { frame, layout, verdict, dropped, time_ns };
            for capture in self.view.snapshot.captures() {
                capture.offer(&settled);
            }
        }
    }
}

impl View<'_> {
    pub(crate) fn cells<'e>(&self, entry: Option<&'e PortEntry>) -> Option<&'e PortCells> {
        entry?.counters.of_worker(self.worker)
    }

    /// Counts the one fate of a received frame.
    fn count(&self, fate: &Fate, ingress: PortId) {
        if fate.sent > 0 {
            self.counters.forwarded.add(1);
            self.counters.copies.add(u64::from(fate.sent - 1));
            self.counters.copies_dropped.add(u64::from(fate.failed));
            return;
        }
        self.drop_received(fate.reason.unwrap_or(DropReason::NoEgress), ingress);
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

impl Scratch {
    fn clear(&mut self) {
        self.layouts.clear();
        self.fates.clear();
        self.undecided.clear();
        self.addresses.clear();
        self.verdicts.clear();
        self.jobs.clear();
        self.joined.clear();
    }
}

/// What a frame has to pass before the bridge learns anything from it.
#[inline]
fn admit(frame: &Frame, layout: &Layout, entry: Option<&PortEntry>) -> Result<Addresses, DropReason> {
    let bytes = frame.bytes();
    let entry = entry.filter(|entry| entry.up).ok_or(DropReason::IngressDown)?;
    if frame.offload != Offload::NONE {
        packet::validate_offload(bytes, layout, frame.offload)?;
    }
    if let Some(binding) = &entry.binding {
        binding.check(bytes, layout)?;
    }
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, ..] = *bytes else {
        return Err(DropReason::Truncated);
    };
    Ok(Addresses {
        destination: MacAddress([d0, d1, d2, d3, d4, d5]),
        source: MacAddress([s0, s1, s2, s3, s4, s5]),
        ingress: frame.ingress,
    })
}
