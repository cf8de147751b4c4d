//! Copies of frames for somebody who watches: bounded, counted, never in the way.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use packet::{Buffer, DropReason, Frame, HEADROOM_BYTES, Layout, PortId};
use switch::Forwarding;

use crate::exchange::Exchange;

/// A frame matcher: bytes, layout (`None` for a frame too short to have one), ingress port.
pub type FrameFilter = dyn Fn(&[u8], Option<&Layout>, PortId) -> bool + Send + Sync;

/// What to capture.
pub struct CaptureRequest {
    /// Only frames that came in by this port or were to leave by it.
    pub port: Option<PortId>,
    /// Only frames that were dropped.
    pub drops_only: bool,
    /// Only frames that this accepts.
    pub filter: Option<Arc<FrameFilter>>,
}

impl fmt::Debug for CaptureRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaptureRequest")
            .field("port", &self.port)
            .field("drops_only", &self.drops_only)
            .field("filter", &self.filter.is_some())
            .finish()
    }
}

/// One captured frame: a copy with what became of it.
#[derive(Debug)]
pub struct Captured {
    buffer: Buffer,
    len_bytes: usize,
    /// The port it came in by.
    pub ingress: PortId,
    /// The port it was to leave by; `None` if it was flooded or dropped before that was known.
    pub egress: Option<PortId>,
    /// Why it was dropped, if it was.
    pub dropped: Option<DropReason>,
    /// Nanoseconds since the Unix epoch at which its burst was settled.
    pub time_ns: u64,
}

impl Captured {
    /// The frame's bytes. A super-frame is captured whole.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer.bytes()[HEADROOM_BYTES..HEADROOM_BYTES + self.len_bytes]
    }
}

/// A capture under way: workers copy into it, one reader empties it. When the reader is slow, frames are
/// lost to the capture and counted; the traffic itself is not delayed.
#[derive(Debug)]
pub struct CaptureTap {
    request: CaptureRequest,
    ring: Exchange<Captured>,
    lost: AtomicU64,
}

/// What a worker knows of a frame once it is settled.
pub(crate) struct Settled<'a> {
    pub(crate) frame: &'a Frame,
    pub(crate) layout: Option<&'a Layout>,
    pub(crate) verdict: Option<Forwarding>,
    pub(crate) dropped: Option<DropReason>,
    pub(crate) time_ns: u64,
}

impl CaptureTap {
    /// A capture with room for `frames` unread frames.
    #[must_use]
    pub fn new(request: CaptureRequest, frames: usize) -> Self {
        Self { request, ring: Exchange::with_capacity(frames), lost: AtomicU64::new(0) }
    }

    /// Hands the oldest unread frame to `read`, or returns `None` if there is none.
    pub fn read<R>(&self, read: impl FnOnce(&Captured) -> R) -> Option<R> {
        let captured = self.ring.pop()?;
        let result = read(&captured);
        self.ring.give_empty(captured.buffer);
        Some(result)
    }

    /// Frames that matched but found the ring full.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Copies the frame if it is asked for.
    pub(crate) fn offer(&self, settled: &Settled<'_>) {
        if !self.wants(settled) {
            return;
        }
        let Some(mut buffer) = self.ring.take_empty() else {
            self.lost.fetch_add(1, Relaxed);
            return;
        };
        let bytes = settled.frame.bytes();
        buffer.bytes_mut()[HEADROOM_BYTES..HEADROOM_BYTES + bytes.len()].copy_from_slice(bytes);
        let egress = match settled.verdict {
            Some(Forwarding::Unicast(port)) => Some(port),
            _ => None,
        };
        let captured = Captured {
            buffer,
            len_bytes: bytes.len(),
            ingress: settled.frame.ingress,
            egress,
            dropped: settled.dropped,
            time_ns: settled.time_ns,
        };
        if let Err(captured) = self.ring.push(captured) {
            self.lost.fetch_add(1, Relaxed);
            self.ring.give_empty(captured.buffer);
        }
    }

    fn wants(&self, settled: &Settled<'_>) -> bool {
        let ingress = settled.frame.ingress;
        let by_port = match self.request.port {
            None => true,
            Some(port) if port == ingress => true,
            Some(port) => match settled.verdict {
                Some(Forwarding::Unicast(egress)) => egress == port,
                Some(Forwarding::Flood) => true,
                _ => false,
            },
        };
        by_port
            && (settled.dropped.is_some() || !self.request.drops_only)
            && self
                .request
                .filter
                .as_ref()
                .is_none_or(|filter| filter(settled.frame.bytes(), settled.layout, ingress))
    }
}
