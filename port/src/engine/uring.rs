//! The engine for kernels with `io_uring`: one multishot read a port stays armed, frames arrive in buffers
//! that all ports share (all TAPs, and all packet sockets), and the writes of a burst are one system call.
//!
//! Fairness. The shared buffers run out under load; the kernel then ends the reads that found none. Reads are
//! armed again with those first that brought nothing since they were last armed: the kernel serves them in
//! that order, each with one frame before any has a second one, so a port that floods delays another by one
//! round of buffers at most.
//!
//! Buffers in the cache. The kernel goes round the lent buffers in order, so all of them pass through the
//! cache, however few a burst needs. While super-frames pass only a few are lent: what was just read is still
//! in the L2 cache when it is written. Small frames touch little of a buffer, and there more of them make
//! larger bursts.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use packet::{Buffer, BufferPool, DropReason, Frame, PORTS_MAX, PortId};
use rustix::io::Errno;

use super::{Engine, UringOptions};
use crate::queue::FileKind;
use crate::sys::ring::{Completion, Group, Ring, Writes};
use crate::{DeviceQueue, Intake, PortFault, Transmission, Waker};

const KIND_SHIFT: u32 = 56;
const GENERATION_SHIFT: u32 = 16;
const READ: u64 = 1;
const WATCH: u64 = 2;
const WAKE: u64 = 3;

/// Bursts after a bulky one for which fewer buffers are lent: acknowledgments come between super-frames.
const BULK_BURSTS: u32 = 32;

const _: () = assert!(PORTS_MAX <= 1 << GENERATION_SHIFT, "a port fits below the generation");

struct Device {
    queue: DeviceQueue,
    /// Names this attachment, so that a late completion of an earlier one is told apart.
    user_data: u64,
    /// The kernel holds a read.
    armed: bool,
    /// Brought a frame since it was last armed.
    served: bool,
    fault: Option<PortFault>,
}

impl Device {
    fn group(&self) -> Group {
        match self.queue.kind() {
            FileKind::Tap => Group::Tap,
            FileKind::PacketSocket => Group::PacketSocket,
        }
    }
}

struct Watched {
    port: PortId,
    fd: OwnedFd,
}

pub(crate) struct UringEngine {
    // Before the queues and the waker, so that the kernel lets go of their files before they are closed.
    ring: Ring,
    devices: Vec<Option<Device>>,
    /// By the number of their group.
    open: [usize; 2],
    /// Ports whose read is to be armed.
    unarmed: VecDeque<PortId>,
    watched: Vec<Watched>,
    waker: Waker,
    waker_armed: bool,
    generation: u32,
    collect_on_transmit: bool,
    /// Buffers to lend while super-frames pass.
    bulk_buffers: usize,
    /// Bursts until small frames are expected again.
    bulk: u32,
    returned: Vec<Buffer>,
}

impl UringEngine {
    pub(crate) fn new(options: UringOptions, waker: &Waker) -> io::Result<Self> {
        Ok(Self {
            ring: Ring::new(options.read_buffers, options.queue_entries)?,
            devices: Vec::new(),
            open: [0; 2],
            unarmed: VecDeque::new(),
            watched: Vec::new(),
            waker: waker.clone(),
            waker_armed: false,
            generation: 0,
            collect_on_transmit: options.collect_on_transmit,
            bulk_buffers: usize::from(options.bulk_buffers.max(1)),
            bulk: 0,
            returned: Vec::new(),
        })
    }

    /// True if a read that is to be armed would find a buffer.
    fn can_arm(&self) -> bool {
        self.unarmed.iter().any(|port| {
            let device = self.devices.get(port.index()).and_then(Option::as_ref);
            device.is_some_and(|device| self.ring.lent(device.group()) > 0)
        })
    }

    fn lend(&mut self, intake: &mut Intake<'_>) {
        let lent_max = if self.bulk > 0 { self.bulk_buffers } else { usize::MAX };
        for group in Group::ALL {
            if self.open[group.index()] == 0 {
                continue;
            }
            while self.ring.room(group) > 0 && self.ring.lent(group) < lent_max {
                let Some(buffer) = intake.buffer() else { return };
                if let Err(buffer) = self.ring.lend(group, buffer) {
                    intake.give_back(buffer);
                    break;
                }
            }
        }
    }

    /// Arms the reads that ended, starved ports first. Without a buffer to read into they would only end
    /// again.
    fn arm(&mut self) -> io::Result<()> {
        if !self.waker_armed {
            self.ring.poll_multishot(self.waker.fd(), WAKE << KIND_SHIFT)?;
            self.waker_armed = true;
        }
        if !self.can_arm() {
            return Ok(());
        }
        for starved in [true, false] {
            for _ in 0..self.unarmed.len() {
                let Some(port) = self.unarmed.pop_front() else { break };
                let Some(Some(device)) = self.devices.get_mut(port.index()) else { continue };
                if device.armed || matches!(device.fault, Some(PortFault::Gone | PortFault::Io(_))) {
                    continue;
                }
                let group = device.group();
                if (starved && device.served) || self.ring.lent(group) == 0 {
                    self.unarmed.push_back(port);
                    continue;
                }
                self.ring.read_multishot(group, device.queue.as_fd(), device.user_data)?;
                device.armed = true;
                device.served = false;
            }
        }
        Ok(())
    }

    fn complete(
        &mut self,
        completion: Completion,
        intake: &mut Intake<'_>,
        faults: &mut Vec<(PortId, PortFault)>,
    ) {
        match completion.user_data >> KIND_SHIFT {
            READ => self.complete_read(completion, intake, faults),
            WAKE if !completion.more => self.waker_armed = false,
            WATCH if !completion.more => {
                let port = port_of(completion.user_data);
                if let Some(watched) = self.watched.iter().find(|watched| Some(watched.port) == port) {
                    // A failure is the ring's, and shows in the next call.
                    let _ = self.ring.poll_multishot(watched.fd.as_fd(), completion.user_data);
                }
            }
            _ => {}
        }
    }

    fn complete_read(
        &mut self,
        completion: Completion,
        intake: &mut Intake<'_>,
        faults: &mut Vec<(PortId, PortFault)>,
    ) {
        let Completion { user_data, result, more, buffer } = completion;
        let device = port_of(user_data)
            .and_then(|port| Some((port, self.devices.get_mut(port.index())?.as_mut()?)))
            .filter(|(_, device)| device.user_data == user_data);
        let Some((port, device)) = device else {
            buffer.into_iter().for_each(|buffer| intake.give_back(buffer));
            return;
        };
        match (result, buffer) {
            (Ok(read_bytes), Some(buffer)) => {
                device.served = true;
                match device.queue.kind() {
                    FileKind::Tap => intake.accept_with_vnet_header(port, buffer, read_bytes),
                    FileKind::PacketSocket => intake.accept_message(port, buffer, read_bytes),
                }
            }
            (result, buffer) => {
                buffer.into_iter().for_each(|buffer| intake.give_back(buffer));
                if device.queue.kind() == FileKind::PacketSocket && result == Err(Errno::INVAL) {
                    // A super-frame of a kind that no vnet header describes, such as SCTP's: it is lost, and
                    // the port is well.
                    intake.report(port, DropReason::BadOffload);
                } else if let Some(fault) = result.err().and_then(PortFault::of_read)
                    && device.fault.replace(fault).is_none()
                {
                    faults.push((port, fault));
                }
            }
        }
        if !more {
            device.armed = false;
            self.unarmed.push_back(port);
        }
    }
}

/// The jobs of a burst, seen from the ring.
struct Sending<'a> {
    devices: &'a mut [Option<Device>],
    jobs: &'a [Transmission],
    outcomes: &'a mut [Result<(), DropReason>],
    faults: &'a mut Vec<(PortId, PortFault)>,
}

impl Sending<'_> {
    fn device(&mut self, position: usize) -> Option<&mut Device> {
        self.devices.get_mut(self.jobs.get(position)?.port.index())?.as_mut()
    }
}

impl Writes for Sending<'_> {
    fn file(&mut self, position: usize) -> Option<(BorrowedFd<'_>, usize)> {
        if self.device(position)?.fault.is_some() {
            self.outcomes[position] = Err(DropReason::EgressDown);
            return None;
        }
        self.outcomes[position] = Ok(());
        self.device(position).map(|device| (device.queue.as_fd(), device.queue.kind().header_bytes()))
    }

    fn failed(&mut self, position: usize, errno: Errno) {
        let (reason, fault) = PortFault::of_write(errno);
        if let Some(outcome) = self.outcomes.get_mut(position) {
            *outcome = Err(reason);
        }
        if let (Some(fault), Some(device)) = (fault, self.device(position))
            && device.fault.replace(fault).is_none()
        {
            let port = self.jobs[position].port;
            self.faults.push((port, fault));
        }
    }
}

fn port_of(user_data: u64) -> Option<PortId> {
    u16::try_from(user_data & ((1 << GENERATION_SHIFT) - 1)).ok().and_then(PortId::new)
}

impl Engine for UringEngine {
    fn name(&self) -> &'static str {
        "io_uring"
    }

    fn attach(&mut self, port: PortId, queue: DeviceQueue) -> io::Result<()> {
        let index = port.index();
        if self.devices.len() <= index {
            self.devices.resize_with(index + 1, || None);
        }
        self.generation = self.generation.wrapping_add(1);
        let generation = u64::from(self.generation) << GENERATION_SHIFT;
        let user_data = READ << KIND_SHIFT | generation | index as u64;
        let device = Device { queue, user_data, armed: false, served: false, fault: None };
        self.open[device.group().index()] += 1;
        self.devices[index] = Some(device);
        self.unarmed.reserve(self.devices.len());
        self.unarmed.push_back(port);
        Ok(())
    }

    fn detach(&mut self, port: PortId, pool: &mut BufferPool) -> bool {
        let Some(device) = self.devices.get_mut(port.index()).and_then(Option::take) else { return false };
        self.open[device.group().index()] -= 1;
        self.unarmed.retain(|&unarmed| unarmed != port);
        if device.armed {
            // Should it not end in time, its completions are recognized as stale by their generation.
            self.ring.cancel(device.user_data, &mut self.returned);
            self.returned.drain(..).for_each(|buffer| pool.give(buffer));
        }
        true
    }

    fn revive(&mut self, port: PortId) {
        let Some(Some(device)) = self.devices.get_mut(port.index()) else { return };
        device.fault = None;
        if !device.armed {
            self.unarmed.push_back(port);
        }
    }

    fn watch(&mut self, port: PortId, fd: BorrowedFd<'_>) -> io::Result<()> {
        let fd = fd.try_clone_to_owned()?;
        self.ring.poll_multishot(fd.as_fd(), WATCH << KIND_SHIFT | port.index() as u64)?;
        self.watched.push(Watched { port, fd });
        Ok(())
    }

    fn unwatch(&mut self, port: PortId, _fd: BorrowedFd<'_>) {
        self.watched.retain(|watched| watched.port != port);
        self.ring.cancel(WATCH << KIND_SHIFT | port.index() as u64, &mut self.returned);
    }

    fn receive(&mut self, intake: &mut Intake<'_>, faults: &mut Vec<(PortId, PortFault)>) {
        self.lend(intake);
        // A ring that fails says so again in `wait`, whose error ends the worker.
        if self.arm().is_err() {
            return;
        }
        let mut asked = false;
        while !intake.is_full() {
            if let Some(completion) = self.ring.completion() {
                self.complete(completion, intake, faults);
            } else if asked || !self.ring.needs_submit() || self.ring.submit(true).is_err() {
                break;
            } else {
                asked = true;
            }
        }
        if intake.is_bulk() {
            self.bulk = BULK_BURSTS;
        } else if !intake.is_empty() {
            self.bulk = self.bulk.saturating_sub(1);
        }
        if self.collect_on_transmit {
            self.lend(intake);
        }
    }

    fn transmit(
        &mut self,
        frames: &mut [Frame],
        jobs: &[Transmission],
        outcomes: &mut [Result<(), DropReason>],
        faults: &mut Vec<(PortId, PortFault)>,
    ) {
        let mut sending = Sending { devices: &mut self.devices, jobs, outcomes, faults };
        // A ring that fails says so again in `wait`. What was not sent then is not known to be: the outcomes
        // of the jobs seen so far stand.
        let _ = self.ring.write_burst(frames, jobs, &mut sending, self.collect_on_transmit);
    }

    fn poll_ready(&mut self) -> bool {
        self.can_arm() || self.ring.is_ready()
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.arm()?;
        self.ring.wait(timeout)
    }
}
