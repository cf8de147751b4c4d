//! A worker's frames that await a neighbor.
//!
//! All memory is allocated at the start. A frame is found by its neighbor's address, neighbors' frames are lists
//! through one slab, in the order in which they came. What a stranger can take is bounded three times: for a
//! neighbor (the oldest frame makes room for the newest, RFC 4861 §7.2.2), for the port that a frame came in by,
//! and in all.

use std::net::IpAddr;

use hashbrown::HashTable;
use packet::{PORTS_MAX, PortId};

use packet::keyed_hash::KeyedHash;

/// The bounds of a waiting room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WaitingLimits {
    /// Most frames in all; each holds a buffer of the worker's.
    pub frames_max: usize,
    /// Most frames for one neighbor, at least one. Linux: 101 of the common size (`unres_qlen_bytes` of 212 992).
    pub frames_per_neighbor_max: usize,
    /// Most frames that came in by one port, which at no time may have more than there is room for still. So ports that
    /// flood leave as much as each of them has: two take two thirds of the room, not all of it, and whoever comes next
    /// finds a place.
    pub frames_per_port_max: usize,
    /// Most neighbors that frames wait for.
    pub neighbors_max: usize,
    /// After this time the control side is asked again.
    pub ask_again_ms: u64,
    /// So long after the first frame for a neighbor came, all that wait for it are given up, whatever the control
    /// side says.
    pub wait_ms: u64,
}

impl Default for WaitingLimits {
    /// The three solicitations take three seconds; half of the frames can be one port's.
    fn default() -> Self {
        Self {
            frames_max: 512,
            frames_per_neighbor_max: 101,
            frames_per_port_max: 256,
            neighbors_max: 512,
            ask_again_ms: 1000,
            wait_ms: 4000,
        }
    }
}

/// What became of a frame that is to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Queued<T> {
    /// It waits. If `ask`, the control side is to be told of the neighbor.
    Waiting {
        /// Nobody was told of the neighbor, or that was long ago.
        ask: bool,
    },
    /// It waits in place of the neighbor's oldest, which is to be dropped.
    Replaced {
        /// The frame that waited longest.
        oldest: T,
        /// As in [`Waiting`](Self::Waiting).
        ask: bool,
    },
    /// It is to be dropped: there is no room for it.
    Refused(T),
}

/// No neighbor, no frame.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Node<T> {
    frame: Option<T>,
    ingress: PortId,
    next: u32,
}

/// A neighbor that frames wait for; `head` is [`NONE`] in a free place.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    address: IpAddr,
    head: u32,
    tail: u32,
    frames: usize,
    since_ms: u64,
    asked_ms: u64,
}

/// The frames of one worker that await a neighbor. `T` is a frame, or a worker's name for one.
#[derive(Debug)]
pub struct WaitingRoom<T> {
    limits: WaitingLimits,
    hash: KeyedHash,
    by_address: HashTable<u32>,
    awaited: Vec<Awaited>,
    free_awaited: Vec<u32>,
    nodes: Vec<Node<T>>,
    free_nodes: Vec<u32>,
    by_port: Box<[usize]>,
    /// Where the search for expired neighbors goes on.
    cursor: usize,
}

impl<T> WaitingRoom<T> {
    /// An empty room. `seed` is to be random and kept secret.
    #[must_use]
    pub fn new(limits: WaitingLimits, seed: u64) -> Self {
        // A table twice as large as what it holds cleans itself up in place and never grows.
        let by_address = HashTable::with_capacity(limits.neighbors_max * 2);
        let frames_per_neighbor_max = limits.frames_per_neighbor_max.max(1);
        Self {
            limits: WaitingLimits { frames_per_neighbor_max, ..limits },
            hash: KeyedHash::new(seed),
            by_address,
            awaited: Vec::with_capacity(limits.neighbors_max),
            free_awaited: Vec::with_capacity(limits.neighbors_max),
            nodes: Vec::with_capacity(limits.frames_max),
            free_nodes: Vec::with_capacity(limits.frames_max),
            by_port: vec![0; PORTS_MAX].into_boxed_slice(),
            cursor: 0,
        }
    }

    /// Frames that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len() - self.free_nodes.len()
    }

    /// True if no frame waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets `frame`, which came in by `ingress`, wait for `address`.
    pub fn push(&mut self, address: IpAddr, ingress: PortId, frame: T, now_ms: u64) -> Queued<T> {
        let Some(of_port) = self.by_port.get(ingress.index()).copied() else {
            return Queued::Refused(frame);
        };
        let free = self.limits.frames_max.saturating_sub(self.len());
        let port_is_full = of_port >= self.limits.frames_per_port_max.min(free);
        let known = self.find(address);
        let oldest = match known.and_then(|index| self.awaited.get(at(index)).map(|it| (index, it.frames))) {
            Some((index, frames)) if frames >= self.limits.frames_per_neighbor_max => {
                if port_is_full && self.oldest_ingress(index) != Some(ingress) {
                    return Queued::Refused(frame);
                }
                self.pop(index)
            }
            _ if port_is_full => return Queued::Refused(frame),
            _ => None,
        };
        let Some(index) = known.or_else(|| self.admit(address, now_ms)) else {
            return Queued::Refused(frame);
        };
        let ask = self.append(index, ingress, frame, now_ms, known.is_none());
        match oldest {
            None => Queued::Waiting { ask },
            Some(oldest) => Queued::Replaced { oldest, ask },
        }
    }

    /// Gives all frames that wait for `address` to `give`, in the order in which they came. Returns their number.
    pub fn take(&mut self, address: IpAddr, mut give: impl FnMut(T)) -> usize {
        let Some(index) = self.find(address) else { return 0 };
        let mut given = 0;
        while let Some(frame) = self.pop(index) {
            give(frame);
            given += 1;
        }
        self.dismiss(index);
        given
    }

    /// The frame that has waited longest for `address`.
    pub fn take_one(&mut self, address: IpAddr) -> Option<T> {
        let index = self.find(address)?;
        let frame = self.pop(index);
        if self.awaited.get(at(index)).is_none_or(|it| it.head == NONE) {
            self.dismiss(index);
        }
        frame
    }

    /// True if frames wait for `address`: another one for it has to wait behind them.
    #[must_use]
    pub fn awaits(&self, address: IpAddr) -> bool {
        !self.is_empty() && self.find(address).is_some()
    }

    /// The neighbors that frames wait for.
    pub fn awaited(&self) -> impl Iterator<Item = IpAddr> {
        self.awaited.iter().filter(|it| it.head != NONE).map(|it| it.address)
    }

    /// A neighbor that frames have waited for too long. Looks at `neighbors` neighbors at most and goes on with the
    /// next ones next time.
    pub fn overdue(&mut self, now_ms: u64, neighbors: usize) -> Option<IpAddr> {
        for _ in 0..neighbors.min(self.awaited.len()) {
            let index = self.cursor;
            self.cursor = (index + 1) % self.awaited.len();
            let found = self
                .awaited
                .get(index)
                .filter(|it| it.head != NONE && it.since_ms.saturating_add(self.limits.wait_ms) <= now_ms);
            if let Some(awaited) = found {
                return Some(awaited.address);
            }
        }
        None
    }

    fn find(&self, address: IpAddr) -> Option<u32> {
        let is_it = |index: &u32| self.awaited.get(at(*index)).is_some_and(|it| it.address == address);
        self.by_address.find(self.hash.of(address), is_it).copied()
    }

    /// A place for another neighbor.
    fn admit(&mut self, address: IpAddr, now_ms: u64) -> Option<u32> {
        let awaited =
            Awaited { address, head: NONE, tail: NONE, frames: 0, since_ms: now_ms, asked_ms: now_ms };
        let index = if let Some(index) = self.free_awaited.pop() {
            *self.awaited.get_mut(at(index))? = awaited;
            index
        } else if self.awaited.len() < self.limits.neighbors_max {
            self.awaited.push(awaited);
            u32::try_from(self.awaited.len() - 1).ok()?
        } else {
            return None;
        };
        let Self { by_address, awaited, hash, .. } = self;
        by_address.insert_unique(hash.of(address), index, |index| {
            awaited.get(at(*index)).map_or(0, |it| hash.of(it.address))
        });
        Some(index)
    }

    /// Forgets a neighbor that no frame waits for.
    fn dismiss(&mut self, index: u32) {
        let Some(address) = self.awaited.get(at(index)).map(|it| it.address) else { return };
        if let Ok(entry) = self.by_address.find_entry(self.hash.of(address), |found| *found == index) {
            entry.remove();
            self.free_awaited.push(index);
        }
    }

    /// Appends a frame to a neighbor's list. Returns whether control is to be told.
    fn append(&mut self, index: u32, ingress: PortId, frame: T, now_ms: u64, is_new: bool) -> bool {
        let node = Node { frame: Some(frame), ingress, next: NONE };
        let name = if let Some(free) = self.free_nodes.pop() {
            if let Some(place) = self.nodes.get_mut(at(free)) {
                *place = node;
            }
            free
        } else {
            self.nodes.push(node);
            u32::try_from(self.nodes.len() - 1).unwrap_or(NONE)
        };
        if let Some(count) = self.by_port.get_mut(ingress.index()) {
            *count += 1;
        }
        let Some(awaited) = self.awaited.get_mut(at(index)) else { return false };
        match self.nodes.get_mut(at(awaited.tail)) {
            Some(tail) => tail.next = name,
            None => awaited.head = name,
        }
        awaited.tail = name;
        awaited.frames += 1;
        let ask = is_new || awaited.asked_ms.saturating_add(self.limits.ask_again_ms) <= now_ms;
        if ask {
            awaited.asked_ms = now_ms;
        }
        ask
    }

    fn oldest_ingress(&self, index: u32) -> Option<PortId> {
        let head = self.awaited.get(at(index))?.head;
        self.nodes.get(at(head)).map(|node| node.ingress)
    }

    /// The oldest frame of a neighbor.
    fn pop(&mut self, index: u32) -> Option<T> {
        let awaited = self.awaited.get_mut(at(index))?;
        let name = awaited.head;
        let node = self.nodes.get_mut(at(name))?;
        let frame = node.frame.take()?;
        awaited.head = node.next;
        awaited.frames -= 1;
        if awaited.head == NONE {
            awaited.tail = NONE;
        }
        if let Some(count) = self.by_port.get_mut(node.ingress.index()) {
            *count -= 1;
        }
        self.free_nodes.push(name);
        Some(frame)
    }
}

/// An index into a slab; that of [`NONE`] is beyond every end.
fn at(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
