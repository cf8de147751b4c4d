//! Packets that wait for their next hop's MAC.
//!
//! A packet that waits has left its burst: the worker settles it when it is released. It takes its buffer along and
//! leaves one of the waiting room's own behind, so that those of the worker stay as many as they are.
//!
//! Nobody tells a worker that a neighbor was found. It looks its waiting addresses up again whenever there is another
//! snapshot, and gives up what has waited too long. So nothing that is lost on the way can keep a packet for ever.

use std::net::IpAddr;

use packet::{BURST_FRAMES, BufferPool, Burst, DropReason, Frame, Offload, Random};
use router::neighbor::{Lookup, Queued, UseReports, WaitingLimits, WaitingRoom};

use super::RouteStage;
use crate::punts::Punt;
use crate::routing::{LinkId, Routing};

/// Each link's bounds: a packet holds a buffer, whose memory is resident as far as it was ever used.
const LIMITS: WaitingLimits = WaitingLimits {
    frames_max: 256,
    frames_per_neighbor_max: 101,
    frames_per_port_max: 128,
    neighbors_max: 512,
    ask_again_ms: 1000,
    wait_ms: 4000,
};

/// Most neighbors of a link: the default of [`router::neighbor::Settings`], with room to spare.
const NEIGHBORS_MAX: usize = 1 << 14;

/// A worker's packets that wait, on both links.
#[derive(Debug)]
pub(crate) struct Waiting {
    links: [Room; LinkId::ALL.len()],
    /// Buffers that are put in the place of those that wait.
    spare: BufferPool,
    /// Working memory of [`release`](Self::release).
    addresses: Vec<IpAddr>,
}

#[derive(Debug)]
struct Room {
    room: WaitingRoom<Frame>,
    reports: UseReports,
    /// When nothing was found any more that had waited too long: all are looked at, but once a millisecond only.
    looked_ms: u64,
}

/// What a released packet is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Released {
    pub(crate) link: LinkId,
    /// Where its next hop is, or that it is nowhere.
    pub(crate) looked_up: Lookup,
}

impl Waiting {
    pub(super) fn new(random: &mut Random) -> Self {
        let mut room = || Room {
            room: WaitingRoom::new(LIMITS, random.draw()),
            reports: UseReports::new(NEIGHBORS_MAX),
            looked_ms: 0,
        };
        Self {
            links: [room(), room()],
            spare: BufferPool::with_buffers(LinkId::ALL.len() * LIMITS.frames_max),
            addresses: Vec::with_capacity(LIMITS.neighbors_max),
        }
    }

    /// True if no packet waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.links.iter().all(|link| link.room.is_empty())
    }

    /// True if packets wait for `address`.
    #[inline]
    pub(super) fn awaits(&self, link: LinkId, address: IpAddr) -> bool {
        self.links[link.index()].room.awaits(address)
    }

    pub(super) fn reports(&mut self, link: LinkId) -> &mut UseReports {
        &mut self.links[link.index()].reports
    }

    /// There is another snapshot: uses of stale neighbors are told again.
    pub(crate) fn see_snapshot(&mut self) {
        self.links.iter_mut().for_each(|link| link.reports.reset());
    }

    /// Moves packets whose waiting has an end into the burst, until it is full: all whose neighbor `routing` knows, if
    /// it `is_new`, and those that have waited too long. True if there may be more.
    pub(crate) fn release(
        &mut self,
        routing: Option<&Routing>,
        is_new: bool,
        now_ms: u64,
        burst: &mut Burst,
        released: &mut Vec<Released>,
    ) -> bool {
        for id in LinkId::ALL {
            let Room { room, looked_ms, .. } = &mut self.links[id.index()];
            if room.is_empty() {
                continue;
            }
            let link = routing.and_then(|routing| routing.link(id));
            if is_new {
                self.addresses.clear();
                self.addresses.extend(room.awaited());
                for &address in &self.addresses {
                    let looked_up = link.map_or(Lookup::Unreachable, |link| link.neighbors.lookup(address));
                    if looked_up != Lookup::Unknown
                        && !drain(room, address, burst, released, Released { link: id, looked_up })
                    {
                        return true;
                    }
                }
            }
            while *looked_ms != now_ms
                && let Some(address) = room.overdue(now_ms, LIMITS.neighbors_max)
            {
                let late = Released { link: id, looked_up: Lookup::Unreachable };
                if !drain(room, address, burst, released, late) {
                    return true;
                }
            }
            *looked_ms = now_ms;
        }
        false
    }

    /// Takes the buffers of released packets back.
    pub(crate) fn take_back(&mut self, burst: &mut Burst) {
        burst.recycle(&mut self.spare);
    }
}

/// Moves what waits for `address` into the burst; false if that is full.
fn drain(
    room: &mut WaitingRoom<Frame>,
    address: IpAddr,
    burst: &mut Burst,
    released: &mut Vec<Released>,
    to: Released,
) -> bool {
    while room.awaits(address) {
        if burst.len() >= BURST_FRAMES {
            return false;
        }
        let Some(frame) = room.take_one(address) else { break };
        released.push(to);
        // There is room.
        let _ = burst.push(frame);
    }
    true
}

impl RouteStage<'_> {
    /// Lets a packet wait for its next hop.
    #[cold]
    pub(super) fn wait(&mut self, at: usize, link: LinkId, next: IpAddr) {
        let waiting = &mut self.router.waiting;
        let frame = &mut self.burst.frames_mut()[at];
        let ingress = frame.ingress;
        let placeholder =
            waiting.spare.take().and_then(|buffer| Frame::received(buffer, 0, Offload::NONE, ingress).ok());
        let Some(placeholder) = placeholder else {
            return self.refuse(at, DropReason::NeighborQueueFull);
        };
        let waits = std::mem::replace(frame, placeholder);
        let room = &mut waiting.links[link.index()].room;
        let ask = match room.push(next, ingress, waits, self.view.now_ms) {
            Queued::Waiting { ask } => ask,
            Queued::Replaced { oldest, ask } => {
                self.view.counters.received.add(1);
                self.view.drop_received(DropReason::NeighborQueueFull, oldest.ingress);
                waiting.spare.give(oldest.into_buffer());
                ask
            }
            Queued::Refused(frame) => {
                let placeholder = std::mem::replace(&mut self.burst.frames_mut()[at], frame);
                waiting.spare.give(placeholder.into_buffer());
                return self.refuse(at, DropReason::NeighborQueueFull);
            }
        };
        self.fates[at].settled_elsewhere = true;
        self.refuse(at, DropReason::NeighborUnresolved);
        if ask {
            // If that is lost the room asks again.
            self.events.punt(Punt::Wanted { link, address: next, asker: ingress });
        }
    }

    /// Treats packets that have waited; `released[i]` belongs to frame i.
    pub(crate) fn run_released(&mut self, released: &[Released]) {
        let Some(routing) = self.view.snapshot.routing() else {
            (0..released.len()).for_each(|at| self.refuse(at, DropReason::RouteUnreachable));
            return;
        };
        for (at, released) in released.iter().enumerate() {
            match (released.looked_up, routing.link(released.link)) {
                (Lookup::Usable { mac, port, .. }, Some(link)) => self.forward(at, link, mac, port),
                _ => self.refuse_aloud(
                    at,
                    DropReason::NeighborUnresolved,
                    router::icmp_error::Problem::HostUnreachable,
                ),
            }
        }
    }
}
