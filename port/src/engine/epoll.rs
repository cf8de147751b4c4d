//! The engine for any kernel: `epoll` (by mio, edge-triggered) tells which queues became readable, then one
//! `read` a frame and one `write` a frame.
//!
//! A queue that became readable stands in the ready list until a read says `EAGAIN`. The list is served in
//! turns of [`TURN_FRAMES`], so a port that floods delays another by one turn, not by its whole queue.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use packet::{BufferPool, DropReason, Frame, PORTS_MAX, PortId};
use rustix::io::Errno;

use super::Engine;
use crate::packet_socket::message::MESSAGE_OFFSET;
use crate::queue::{FileKind, VNET_HEADER_OFFSET};
use crate::sys::packet_socket;
use crate::{DeviceQueue, Intake, PortFault, Transmission, Waker};

/// Frames that one port may bring before the next one has its turn.
const TURN_FRAMES: usize = 16;
const EVENTS_MAX: usize = 256;
const WAKER: Token = Token(usize::MAX);
const WATCHED: Token = Token(PORTS_MAX);

struct Device {
    queue: DeviceQueue,
    /// Stands in the ready list.
    ready: bool,
    fault: Option<PortFault>,
}

pub(crate) struct EpollEngine {
    poll: Poll,
    events: Events,
    devices: Vec<Option<Device>>,
    /// How many TAPs there are.
    open: usize,
    ready: VecDeque<PortId>,
    /// The waker or a watched descriptor was heard since the last receive. Events come once, and whoever
    /// collects this one may not be about to ask the queues.
    others: bool,
    /// The events were collected since the last receive.
    collected: bool,
    /// Keeps the eventfd open as long as it is registered.
    _waker: Waker,
}

impl EpollEngine {
    pub(crate) fn new(waker: &Waker) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.registry().register(&mut SourceFd(&waker.fd().as_raw_fd()), WAKER, Interest::READABLE)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            devices: Vec::new(),
            open: 0,
            ready: VecDeque::new(),
            others: false,
            collected: false,
            _waker: waker.clone(),
        })
    }

    /// Asks the kernel what became readable, for at most `timeout`.
    fn collect(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => self.collected = true,
        }
        for event in &self.events {
            let Token(index) = event.token();
            self.others |= index >= WATCHED.0;
            if let Some(Some(device)) = self.devices.get_mut(index)
                && !device.ready
                && let Some(port) = u16::try_from(index).ok().and_then(PortId::new)
            {
                device.ready = true;
                self.ready.push_back(port);
            }
        }
        Ok(())
    }

    fn device(&mut self, port: PortId) -> Option<&mut Device> {
        self.devices.get_mut(port.index())?.as_mut()
    }
}

/// How a turn ended.
enum Turn {
    /// The queue is empty.
    Empty,
    /// There may be more to read.
    Open,
    Fault(PortFault),
}

/// Reads up to [`TURN_FRAMES`] frames.
fn take_turn(queue: &DeviceQueue, port: PortId, intake: &mut Intake<'_>) -> Turn {
    for _ in 0..TURN_FRAMES {
        if intake.is_full() {
            break;
        }
        let Some(mut buffer) = intake.buffer() else { break };
        let memory = buffer.bytes_mut();
        let read = match queue.kind() {
            FileKind::Tap => rustix::io::read(queue, &mut memory[VNET_HEADER_OFFSET..]),
            FileKind::PacketSocket => packet_socket::receive(queue.as_fd(), &mut memory[MESSAGE_OFFSET..]),
        };
        match (read, queue.kind()) {
            (Ok(bytes), FileKind::Tap) => intake.accept_with_vnet_header(port, buffer, bytes),
            (Ok(bytes), FileKind::PacketSocket) => intake.accept_message(port, buffer, bytes),
            // A super-frame of a kind that no vnet header describes: it is lost, and the port is well.
            (Err(Errno::INVAL), FileKind::PacketSocket) => {
                intake.refuse(port, buffer, DropReason::BadOffload);
            }
            (Err(errno), _) => {
                intake.give_back(buffer);
                return match PortFault::of_read(errno) {
                    Some(fault) => Turn::Fault(fault),
                    None if errno == Errno::AGAIN => Turn::Empty,
                    None => Turn::Open,
                };
            }
        }
    }
    Turn::Open
}

impl Engine for EpollEngine {
    fn name(&self) -> &'static str {
        "epoll"
    }

    fn attach(&mut self, port: PortId, queue: DeviceQueue) -> io::Result<()> {
        let index = port.index();
        if self.devices.len() <= index {
            self.devices.resize_with(index + 1, || None);
        }
        let fd = queue.as_fd().as_raw_fd();
        self.poll.registry().register(&mut SourceFd(&fd), Token(index), Interest::READABLE)?;
        self.ready.reserve(self.devices.len());
        self.devices[index] = Some(Device { queue, ready: false, fault: None });
        self.open += 1;
        Ok(())
    }

    fn detach(&mut self, port: PortId, _pool: &mut BufferPool) -> bool {
        let Some(device) = self.devices.get_mut(port.index()).and_then(Option::take) else { return false };
        self.open -= 1;
        self.ready.retain(|&ready| ready != port);
        // An error means that it was not registered; closing the descriptor has the same effect.
        let _ = self.poll.registry().deregister(&mut SourceFd(&device.queue.as_fd().as_raw_fd()));
        true
    }

    fn revive(&mut self, port: PortId) {
        let Some(device) = self.device(port) else { return };
        device.fault = None;
        if !device.ready {
            device.ready = true;
            self.ready.push_back(port);
        }
    }

    fn watch(&mut self, port: PortId, fd: BorrowedFd<'_>) -> io::Result<()> {
        let token = Token(WATCHED.0 + port.index());
        self.poll.registry().register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)
    }

    fn unwatch(&mut self, _port: PortId, fd: BorrowedFd<'_>) {
        // An error means that it was not registered.
        let _ = self.poll.registry().deregister(&mut SourceFd(&fd.as_raw_fd()));
    }

    fn receive(&mut self, intake: &mut Intake<'_>, faults: &mut Vec<(PortId, PortFault)>) {
        // All other queues are asked in the same round.
        self.others = false;
        // Asked once a burst even while ports are ready, so that new ones queue up behind them.
        if self.open > 0 && !self.collected && self.collect(Some(Duration::ZERO)).is_err() {
            return;
        }
        self.collected = false;
        let mut turns = self.ready.len().max(1) * 2;
        while !intake.is_full() && turns > 0 {
            let Some(port) = self.ready.pop_front() else { return };
            let Some(Some(device)) = self.devices.get_mut(port.index()) else { continue };
            turns -= 1;
            match take_turn(&device.queue, port, intake) {
                Turn::Open => self.ready.push_back(port),
                Turn::Empty => device.ready = false,
                Turn::Fault(fault) => {
                    device.ready = false;
                    if device.fault.replace(fault).is_none() {
                        faults.push((port, fault));
                    }
                }
            }
        }
    }

    fn transmit(
        &mut self,
        frames: &mut [Frame],
        jobs: &[Transmission],
        outcomes: &mut [Result<(), DropReason>],
        faults: &mut Vec<(PortId, PortFault)>,
    ) {
        if self.open == 0 {
            return;
        }
        for (job, outcome) in jobs.iter().zip(outcomes) {
            let Some(Some(device)) = self.devices.get_mut(job.port.index()) else { continue };
            let Some(frame) = frames.get_mut(usize::from(job.frame)) else { continue };
            if device.fault.is_some() {
                *outcome = Err(DropReason::EgressDown);
                continue;
            }
            let header = frame.offload.to_vnet_header(job.headers_bytes);
            let header = header.get(..device.queue.kind().header_bytes()).unwrap_or(&header);
            let Some(bytes) = frame.with_prefix(header) else {
                *outcome = Err(DropReason::TxError);
                continue;
            };
            *outcome = match rustix::io::write(&device.queue, bytes) {
                Ok(_) => Ok(()),
                Err(errno) => {
                    let (reason, fault) = PortFault::of_write(errno);
                    device.fault = fault;
                    faults.extend(fault.map(|fault| (job.port, fault)));
                    Err(reason)
                }
            };
        }
    }

    fn poll_ready(&mut self) -> bool {
        if self.ready.is_empty() && !self.others && !self.collected {
            // Nothing but the kernel knows. A failure shows again, and is reported, in `wait`.
            let _ = self.collect(Some(Duration::ZERO));
            self.collected = !self.ready.is_empty();
        }
        !self.ready.is_empty() || self.others
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if self.ready.is_empty() && !self.others { self.collect(timeout) } else { Ok(()) }
    }
}
