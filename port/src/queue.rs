//! What a queue of a port can do.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use packet::{
    Buffer, BufferPool, Burst, DropReason, FRAME_BYTES_MAX, Frame, HEADROOM_BYTES, Offload, PortId,
    VNET_HEADER_BYTES,
};

use crate::packet_socket::close_elsewhere;
use crate::packet_socket::message::{HEADER_BYTES, frame_of};
use crate::{PortFault, Transmission, Waker};

/// Shortest frame: an Ethernet header.
pub(crate) const FRAME_BYTES_MIN: usize = 14;

/// Where a read that brings its vnet header along puts the header, so that the frame stands at
/// [`HEADROOM_BYTES`].
pub(crate) const VNET_HEADER_OFFSET: usize = HEADROOM_BYTES - VNET_HEADER_BYTES;

/// One queue of a port, polled by one worker: every kind of port but the TAP, which an engine drives.
pub trait PortQueue: Send {
    /// Moves waiting frames into the burst until it [is full](Intake::is_full) or nothing waits. Never
    /// blocks.
    ///
    /// # Errors
    /// The port's fault, reported once; it is then left alone until revived. Frames taken before it count.
    fn receive(&mut self, port: PortId, intake: &mut Intake<'_>) -> Result<(), PortFault>;

    /// Sends a copy of `frame`, whose headers (Ethernet to transport) are `headers_bytes` long. The frame's
    /// own bytes stay as they are; its headroom may be written to.
    ///
    /// # Errors
    /// Why the frame was dropped: [`TxQueueFull`](DropReason::TxQueueFull), [`TxError`](DropReason::TxError)
    /// or [`EgressDown`](DropReason::EgressDown).
    fn transmit(&mut self, frame: &mut Frame, headers_bytes: u16) -> Result<(), DropReason>;

    /// Sends the frames of `jobs`, which are all for this port, in order, and sets the outcome of each;
    /// `outcomes` is as long as `jobs`. A queue that can do better than one frame after the other does so.
    fn transmit_row(
        &mut self,
        frames: &mut [Frame],
        jobs: &[Transmission],
        outcomes: &mut [Result<(), DropReason>],
    ) {
        for (job, outcome) in jobs.iter().zip(outcomes) {
            if let Some(frame) = frames.get_mut(usize::from(job.frame)) {
                *outcome = self.transmit(frame, job.headers_bytes);
            }
        }
    }

    /// Called once after the last [`transmit`](Self::transmit) of a burst.
    fn flush(&mut self) {}

    /// True if a frame waits, as far as that is known without a system call.
    fn is_ready(&self) -> bool {
        false
    }

    /// What becomes readable when a frame waits; `None` if the queue wakes the worker by its [`Waker`].
    fn event_source(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Called once when a worker takes the queue over: `waker` ends that worker's sleep.
    fn attached(&mut self, waker: Waker) {
        drop(waker);
    }
}

/// Where received frames go: the burst, the free buffers, and a list of what was no frame.
#[derive(Debug)]
pub struct Intake<'a> {
    burst: &'a mut Burst,
    pool: &'a mut BufferPool,
    malformed: &'a mut Vec<(PortId, DropReason)>,
}

impl<'a> Intake<'a> {
    pub(crate) fn new(
        burst: &'a mut Burst,
        pool: &'a mut BufferPool,
        malformed: &'a mut Vec<(PortId, DropReason)>,
    ) -> Self {
        Self { burst, pool, malformed }
    }

    /// True once nothing more is to be received into this burst, be it that it has its frames or bytes, or
    /// that as many malformed frames were seen as a burst has frames.
    #[must_use]
    #[inline]
    pub fn is_full(&self) -> bool {
        self.burst.is_full() || self.malformed.len() >= packet::BURST_FRAMES
    }

    /// True if nothing was taken yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.burst.is_empty()
    }

    /// See [`Burst::is_bulk`].
    pub(crate) fn is_bulk(&self) -> bool {
        self.burst.is_bulk()
    }

    /// An empty buffer to receive into, or `None` if the worker has none left; then nothing is to be read.
    #[inline]
    pub fn buffer(&mut self) -> Option<Buffer> {
        self.pool.take()
    }

    /// Gives back a buffer that nothing was received into.
    pub fn give_back(&mut self, buffer: Buffer) {
        self.pool.give(buffer);
    }

    /// Takes a frame of `frame_bytes` bytes that stands in `buffer` from [`HEADROOM_BYTES`] on, or reports
    /// why it is none: [`Truncated`](DropReason::Truncated) or [`Oversized`](DropReason::Oversized).
    #[inline]
    pub fn accept(&mut self, port: PortId, buffer: Buffer, frame_bytes: usize, offload: Offload) {
        if frame_bytes < FRAME_BYTES_MIN {
            return self.refuse(port, buffer, DropReason::Truncated);
        }
        match Frame::received(buffer, frame_bytes, offload, port) {
            Ok(frame) => {
                if let Err(frame) = self.burst.push(frame) {
                    // Only a queue that does not heed `is_full` comes here.
                    self.refuse(port, frame.into_buffer(), DropReason::NoBuffer);
                }
            }
            Err(buffer) => self.refuse(port, buffer, DropReason::Oversized),
        }
    }

    /// Takes what one read brought: a vnet header, at [`HEADROOM_BYTES`] − [`VNET_HEADER_BYTES`], and the
    /// frame behind it, `read_bytes` together. Beside the reasons of [`accept`](Self::accept),
    /// [`BadOffload`](DropReason::BadOffload).
    pub fn accept_with_vnet_header(&mut self, port: PortId, buffer: Buffer, read_bytes: usize) {
        let Some(frame_bytes) = read_bytes.checked_sub(VNET_HEADER_BYTES) else {
            return self.refuse(port, buffer, DropReason::Truncated);
        };
        if frame_bytes > FRAME_BYTES_MAX {
            return self.refuse(port, buffer, DropReason::Oversized);
        }
        let mut header = [0; VNET_HEADER_BYTES];
        header.copy_from_slice(&buffer.bytes()[VNET_HEADER_OFFSET..HEADROOM_BYTES]);
        match Offload::from_vnet_header(header, frame_bytes) {
            Ok(offload) => self.accept(port, buffer, frame_bytes, offload),
            // The checksum of a frame that is no frame is not worth a reason of its own.
            Err(_) if frame_bytes < FRAME_BYTES_MIN => self.refuse(port, buffer, DropReason::Truncated),
            Err(_) => self.refuse(port, buffer, DropReason::BadOffload),
        }
    }

    /// Takes what one receive from a packet socket brought: a [message](crate::packet_socket::message) of
    /// `received_bytes`. The reasons are those of
    /// [`accept_with_vnet_header`](Self::accept_with_vnet_header).
    pub(crate) fn accept_message(&mut self, port: PortId, mut buffer: Buffer, received_bytes: usize) {
        match frame_of(&mut buffer, received_bytes) {
            Ok((frame_bytes, offload)) => self.accept(port, buffer, frame_bytes, offload),
            Err(reason) => self.refuse(port, buffer, reason),
        }
    }

    /// Reports a frame that was received, and lost before it came to us.
    pub(crate) fn report(&mut self, port: PortId, reason: DropReason) {
        self.malformed.push((port, reason));
    }

    /// Reports a frame that was received but cannot be used, and takes its buffer back.
    pub fn refuse(&mut self, port: PortId, buffer: Buffer, reason: DropReason) {
        self.pool.give(buffer);
        self.malformed.push((port, reason));
    }
}

/// A queue for a worker to take over.
pub enum Queue {
    /// A queue of a device of the kernel (a TAP or a packet socket), driven by the worker's engine.
    Device(DeviceQueue),
    /// Any other kind, polled.
    Other(Box<dyn PortQueue>),
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Device(queue) => queue.fmt(f),
            Self::Other(_) => f.write_str("Other"),
        }
    }
}

/// What an engine's file is, and so how it is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FileKind {
    /// A read brings a vnet header and the frame.
    Tap,
    /// A receive brings a [message](crate::packet_socket::message).
    PacketSocket,
}

impl FileKind {
    /// How much of a vnet header goes before a frame that is sent.
    pub(crate) const fn header_bytes(self) -> usize {
        match self {
            Self::Tap => VNET_HEADER_BYTES,
            Self::PacketSocket => HEADER_BYTES,
        }
    }
}

/// One open queue of a device, nonblocking, whose every read and write carries a vnet header: of a TAP, or of
/// a port on [somebody else's device](crate::packet_socket). Closing the last queue of a TAP that is not
/// persistent removes the device.
#[derive(Debug)]
pub struct DeviceQueue {
    file: Arc<OwnedFd>,
    kind: FileKind,
}

impl DeviceQueue {
    /// The queue behind an open descriptor, such as one that a predecessor handed over: attached to a TAP
    /// with `IFF_NO_PI` and `IFF_VNET_HDR`, 12-byte vnet headers and `O_NONBLOCK`.
    #[must_use]
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { file: Arc::new(fd), kind: FileKind::Tap }
    }

    /// The queue behind a packet socket.
    pub(crate) fn of_packet_socket(file: Arc<OwnedFd>) -> Self {
        Self { file, kind: FileKind::PacketSocket }
    }

    pub(crate) fn kind(&self) -> FileKind {
        self.kind
    }
}

impl Drop for DeviceQueue {
    fn drop(&mut self) {
        if self.kind == FileKind::PacketSocket {
            close_elsewhere(&self.file);
        }
    }
}

impl AsFd for DeviceQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
