//! An `io_uring` that lends whole [`Buffer`]s to the kernel and gets them back filled.
//!
//! Theory of operation. Buffers lent by [`Ring::lend`] stand in rings of provided buffers, one for each
//! [`Group`] of files; any multishot request of the group may take the next one. Writes of a burst
//! ([`Ring::write_burst`]) are complete when the call returns, so their memory is only ever borrowed.
//!
//! Who may touch what when: with `IORING_SETUP_DEFER_TASKRUN` the kernel reads and writes our memory only
//! inside `io_uring_enter` calls of the one thread that uses the ring (and nothing here goes to `io-wq`: TUN
//! files and sockets are pollable and `FMODE_NOWAIT`). Still, a [`Ring`] that is dropped first cancels what is
//! in flight and waits for the last completion; if that does not come, the lent memory is leaked and never
//! reused.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, cqueue, opcode, squeue};
use packet::{Buffer, Frame};
use rustix::io::Errno;

use super::lending::{LENT_MAX, Lending};
use crate::Transmission;
use crate::packet_socket::message::{CONTROL_BYTES, MESSAGE_OFFSET};
use crate::queue::VNET_HEADER_OFFSET;

/// Marks the completions of writes; the rest of `user_data` is the job's position.
const WRITE: u64 = 1 << 63;
/// Marks completions that mean nothing to the caller.
const IGNORED: u64 = 1 << 62;
const GET_EVENTS: u32 = 1; // IORING_ENTER_GETEVENTS
/// Completions per submission entry: a burst of reads, failed writes and ends of reads fit without the
/// kernel's overflow list (which would not lose any, either).
const COMPLETIONS_PER_ENTRY: u32 = 8;
const RETRIES_MAX: u32 = 1000;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
const DRAIN_POLL: Duration = Duration::from_millis(5);

/// Files that are read alike, whose reads share lent buffers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Group {
    /// A read brings a vnet header and the frame.
    Tap,
    /// A receive brings a message: see [`crate::packet_socket::message`].
    PacketSocket,
}

impl Group {
    /// All of them.
    pub(crate) const ALL: [Self; 2] = [Self::Tap, Self::PacketSocket];

    /// Its position in [`ALL`](Self::ALL).
    pub(crate) const fn index(self) -> usize {
        self.number() as usize
    }

    const fn number(self) -> u16 {
        match self {
            Self::Tap => 0,
            Self::PacketSocket => 1,
        }
    }

    /// Where in a buffer the kernel begins to write, so that the frame stands at `HEADROOM_BYTES`.
    const fn offset(self) -> usize {
        match self {
            Self::Tap => VNET_HEADER_OFFSET,
            Self::PacketSocket => MESSAGE_OFFSET,
        }
    }
}

/// What a multishot receive is to bring beside the payload: [`CONTROL_BYTES`] of control messages.
struct Template(libc::msghdr);

// SAFETY: all pointers in it are null.
unsafe impl Send for Template {}

/// What became of a request.
#[derive(Debug)]
pub(crate) struct Completion {
    /// What the request was given.
    pub(crate) user_data: u64,
    /// Bytes, or the events of a poll.
    pub(crate) result: Result<usize, Errno>,
    /// The request goes on and will complete again.
    pub(crate) more: bool,
    /// The buffer that was read into.
    pub(crate) buffer: Option<Buffer>,
}

/// Who sends, seen from the ring.
pub(crate) trait Writes {
    /// The file that the job at this position goes to, and how many bytes of the vnet header it takes; `None`
    /// leaves the job out.
    fn file(&mut self, position: usize) -> Option<(BorrowedFd<'_>, usize)>;

    /// The job at this position was not sent.
    fn failed(&mut self, position: usize, errno: Errno);
}

struct RawCompletion {
    user_data: u64,
    result: i32,
    flags: u32,
}

/// See the module.
pub(crate) struct Ring {
    /// `None` once it failed: nothing is submitted any more.
    ring: Option<IoUring>,
    enabled: bool,
    /// Requests that can be submitted at once.
    entries: usize,
    /// By the number of their group.
    lending: [Lending; 2],
    template: Box<Template>,
    /// Taken from the completion queue, not yet looked at.
    backlog: VecDeque<RawCompletion>,
    /// Requests, other than writes, whose last completion was not yet taken from the queue.
    in_flight: usize,
    /// Writes likewise; 0 outside of [`write_burst`](Self::write_burst).
    writes_in_flight: usize,
}

impl Ring {
    /// A ring that lends at most `read_buffers` buffers a group (a power of two up to 2^14) and submits up to
    /// `entries` requests at once. It may be made on any thread; the first that submits owns it.
    pub(crate) fn new(read_buffers: u16, entries: u32) -> io::Result<Self> {
        let unsupported = |what: &str| io::Error::new(io::ErrorKind::Unsupported, what.to_owned());
        if !read_buffers.is_power_of_two() || read_buffers > LENT_MAX / 2 || !entries.is_power_of_two() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_r_disabled()
            .setup_cqsize(entries.saturating_mul(COMPLETIONS_PER_ENTRY))
            .build(entries)
            .map_err(|error| unsupported(&format!("io_uring: {error}")))?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        if !probe.is_supported(opcode::ReadMulti::CODE) || !ring.params().is_feature_ext_arg() {
            return Err(unsupported("io_uring has no multishot read (Linux 6.7)"));
        }
        let register = |group: Group| {
            let (number, count) = (group.number(), read_buffers);
            Lending::register(&ring, number, number * count, count, group.offset())
        };
        let lending = [register(Group::Tap)?, register(Group::PacketSocket)?];
        // SAFETY: all-zero is a valid `msghdr`.
        let mut template = Box::new(Template(unsafe { std::mem::zeroed() }));
        template.0.msg_controllen = CONTROL_BYTES as _;
        Ok(Self {
            ring: Some(ring),
            enabled: false,
            entries: entries as usize,
            lending,
            template,
            backlog: VecDeque::with_capacity(2 * entries as usize * COMPLETIONS_PER_ENTRY as usize),
            in_flight: 0,
            writes_in_flight: 0,
        })
    }

    /// How many more buffers can be lent to a group.
    pub(crate) fn room(&self, group: Group) -> usize {
        self.lending(group).room()
    }

    /// How many buffers a read of the group can still choose from.
    pub(crate) fn lent(&self, group: Group) -> usize {
        self.lending(group).lent()
    }

    /// Lends a buffer to whichever read of the group needs one next.
    ///
    /// # Errors
    /// Gives it back if there is no [`room`](Self::room).
    pub(crate) fn lend(&mut self, group: Group, buffer: Buffer) -> Result<(), Buffer> {
        self.lending[group.index()].lend(buffer)
    }

    fn lending(&self, group: Group) -> &Lending {
        &self.lending[group.index()]
    }

    /// Reads from `fd` into lent buffers of its group, again and again, until a completion says that there is
    /// no more.
    pub(crate) fn read_multishot(
        &mut self,
        group: Group,
        fd: BorrowedFd<'_>,
        user_data: u64,
    ) -> io::Result<()> {
        let fd = Fd(fd.as_raw_fd());
        let entry = match group {
            Group::Tap => opcode::ReadMulti::new(fd, 0, group.number()).build(),
            Group::PacketSocket => {
                opcode::RecvMsgMulti::new(fd, &raw const self.template.0, group.number()).build()
            }
        };
        // SAFETY: the memory that the request writes to is that of the lent buffers; the template is read
        // only, and lives as long as the ring or is leaked with them.
        unsafe { self.push(&entry.user_data(user_data)) }
    }

    /// Completes each time that `fd` becomes readable.
    pub(crate) fn poll_multishot(&mut self, fd: BorrowedFd<'_>, user_data: u64) -> io::Result<()> {
        let events = u32::from(libc::POLLIN.unsigned_abs());
        let entry = opcode::PollAdd::new(Fd(fd.as_raw_fd()), events).multi(true).build().user_data(user_data);
        // SAFETY: the request uses no memory.
        unsafe { self.push(&entry) }
    }

    /// Cancels the request with this `user_data` and waits until it is over. Buffers that it had read into
    /// go to `returned`, unseen. False if it did not end in time.
    pub(crate) fn cancel(&mut self, user_data: u64, returned: &mut Vec<Buffer>) -> bool {
        let entry = opcode::AsyncCancel::new(user_data).build().user_data(IGNORED);
        // SAFETY: the request uses no memory.
        if unsafe { self.push(&entry) }.is_err() {
            return false;
        }
        let deadline = Instant::now() + DRAIN_TIMEOUT;
        while self.submit(true).is_ok() {
            self.reap(|_, _| {});
            if self.extract(user_data, returned) {
                return true;
            }
            if Instant::now() >= deadline || self.wait(Some(DRAIN_POLL)).is_err() {
                break;
            }
        }
        false
    }

    /// Removes the completions with this `user_data` from the backlog; true if the last one was there.
    fn extract(&mut self, user_data: u64, returned: &mut Vec<Buffer>) -> bool {
        let mut ended = false;
        for _ in 0..self.backlog.len() {
            let Some(raw) = self.backlog.pop_front() else { break };
            if raw.user_data != user_data {
                self.backlog.push_back(raw);
                continue;
            }
            ended |= !cqueue::more(raw.flags);
            returned.extend(self.buffer_of(raw.flags));
        }
        ended
    }

    /// True if something completed, or would with the next [`submit`](Self::submit). No system call.
    pub(crate) fn is_ready(&mut self) -> bool {
        let Some(ring) = &mut self.ring else { return false };
        !self.backlog.is_empty() || !ring.completion().is_empty() || has_work(ring)
    }

    /// True if [`submit`](Self::submit) has something to do. No system call.
    pub(crate) fn needs_submit(&mut self) -> bool {
        self.ring.as_mut().is_some_and(|ring| !ring.submission().is_empty() || has_work(ring))
    }

    /// Submits what was pushed; with `collect` the kernel also runs what became ready. Does not block.
    pub(crate) fn submit(&mut self, collect: bool) -> io::Result<()> {
        let mut retries = 0;
        loop {
            let ring = self.enabled_ring()?;
            let waiting = u32::try_from(ring.submission().len()).unwrap_or(u32::MAX);
            let flags = if collect { GET_EVENTS } else { 0 };
            if waiting == 0 && flags == 0 {
                return Ok(());
            }
            // SAFETY: no argument is passed, and what the waiting entries point to is alive: see `push`.
            match unsafe { ring.submitter().enter::<libc::sigset_t>(waiting, 0, flags, None) } {
                Ok(submitted) if submitted >= waiting as usize => return Ok(()),
                Ok(_) => {}
                Err(error) => match Errno::from_io_error(&error) {
                    // Out of memory for a request, or completions overflowed: both pass.
                    Some(Errno::INTR | Errno::AGAIN | Errno::BUSY) => {}
                    _ => return Err(self.fail(error)),
                },
            }
            retries += 1;
            if retries > RETRIES_MAX {
                return Err(self.fail(io::ErrorKind::ResourceBusy.into()));
            }
            std::thread::yield_now();
        }
    }

    /// Submits what was pushed and sleeps until something completes or the timeout ends.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if !self.backlog.is_empty() {
            return Ok(());
        }
        let ring = self.enabled_ring()?;
        if !ring.completion().is_empty() {
            return Ok(());
        }
        let timespec = timeout.map(Timespec::from);
        let mut args = SubmitArgs::new();
        if let Some(timespec) = &timespec {
            args = args.timespec(timespec);
        }
        match ring.submitter().submit_with_args(1, &args) {
            Ok(_) => Ok(()),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::TIME | Errno::INTR | Errno::AGAIN | Errno::BUSY) => Ok(()),
                _ => Err(self.fail(error)),
            },
        }
    }

    /// The next completion that is known of; does not ask the kernel.
    pub(crate) fn completion(&mut self) -> Option<Completion> {
        loop {
            if self.backlog.is_empty() {
                self.reap(|_, _| {});
            }
            let raw = self.backlog.pop_front()?;
            let buffer = self.buffer_of(raw.flags);
            if raw.user_data != IGNORED {
                let result = usize::try_from(raw.result)
                    .map_err(|_| Errno::from_raw_os_error(raw.result.saturating_neg()));
                let more = cqueue::more(raw.flags);
                return Some(Completion { user_data: raw.user_data, result, more, buffer });
            }
        }
    }

    /// Writes the jobs for which `writes` has a file, in order, each with its vnet header, with as few system
    /// calls as entries allow. All are over when this returns. With `collect`, reads that became ready are
    /// done by the same system call.
    pub(crate) fn write_burst(
        &mut self,
        frames: &mut [Frame],
        jobs: &[Transmission],
        writes: &mut impl Writes,
        collect: bool,
    ) -> io::Result<()> {
        for (position, job) in jobs.iter().enumerate() {
            let Some(frame) = frames.get_mut(usize::from(job.frame)) else { continue };
            let header = frame.offload.to_vnet_header(job.headers_bytes);
            let Some((file, header_bytes)) = writes.file(position) else { continue };
            let fd = Fd(file.as_raw_fd());
            let header = header.get(..header_bytes).unwrap_or(&header);
            let Some(bytes) = frame.with_prefix(header) else {
                writes.failed(position, Errno::INVAL);
                continue;
            };
            let length = u32::try_from(bytes.len()).unwrap_or(0);
            // RWF_NOWAIT: where a write would have to wait it fails with EAGAIN instead of being kept for
            // later.
            let entry = opcode::Write::new(fd, bytes.as_ptr(), length)
                .rw_flags(libc::RWF_NOWAIT)
                .build()
                .user_data(WRITE | position as u64);
            // SAFETY: `bytes` is borrowed from `frames` for the whole of this function, which returns only
            // after the write has completed or the ring has been given up.
            unsafe { self.push(&entry) }?;
            if self.writes_in_flight >= self.entries {
                self.submit(false)?;
                self.reap(|position, errno| writes.failed(position, errno));
            }
        }
        self.submit(collect)?;
        self.reap(|position, errno| writes.failed(position, errno));
        // Successes complete within `submit`; failures as deferred work (`io_rw_done` of Linux 6.18).
        let mut retries = 0;
        while self.writes_in_flight > 0 {
            self.submit(true)?;
            self.reap(|position, errno| writes.failed(position, errno));
            retries += 1;
            if retries > RETRIES_MAX {
                return Err(self.fail(io::ErrorKind::TimedOut.into()));
            }
        }
        Ok(())
    }

    /// Moves all completions to the backlog, but those of failed writes to `failed`.
    fn reap(&mut self, mut failed: impl FnMut(usize, Errno)) {
        let Some(ring) = &mut self.ring else { return };
        for entry in ring.completion() {
            let (user_data, result, flags) = (entry.user_data(), entry.result(), entry.flags());
            if user_data & WRITE != 0 {
                let position = usize::try_from(user_data & !WRITE).unwrap_or(usize::MAX);
                self.writes_in_flight = self.writes_in_flight.saturating_sub(1);
                if result < 0 {
                    failed(position, Errno::from_raw_os_error(result.saturating_neg()));
                }
                continue;
            }
            if !cqueue::more(flags) {
                self.in_flight = self.in_flight.saturating_sub(1);
            }
            self.backlog.push_back(RawCompletion { user_data, result, flags });
        }
    }

    /// The buffer that a completion names, no longer lent.
    fn buffer_of(&mut self, flags: u32) -> Option<Buffer> {
        let name = cqueue::buffer_select(flags)?;
        self.lending.iter_mut().find_map(|lending| lending.take(name))
    }

    /// Puts a request in the queue, submitting those before it if the queue is full.
    ///
    /// # Safety
    /// What the request points to must stay alive until the request is over or the ring has been given up.
    unsafe fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        let ring = self.enabled_ring()?;
        // SAFETY: passed on to the caller.
        let pushed = unsafe { ring.submission().push(entry) };
        if pushed.is_err() {
            self.submit(false)?;
            let ring = self.enabled_ring()?;
            // SAFETY: passed on to the caller.
            if unsafe { ring.submission().push(entry) }.is_err() {
                return Err(self.fail(io::ErrorKind::ResourceBusy.into()));
            }
        }
        if entry.get_user_data() & WRITE == 0 {
            self.in_flight += 1;
        } else {
            self.writes_in_flight += 1;
        }
        Ok(())
    }

    /// The ring; from the first use on it belongs to this thread.
    fn enabled_ring(&mut self) -> io::Result<&mut IoUring> {
        let ring = self.ring.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        if !self.enabled {
            ring.submitter().register_enable_rings()?;
            self.enabled = true;
        }
        Ok(ring)
    }

    /// Gives the ring up: entries that were not submitted never will be, and lent memory is leaked, since the
    /// kernel ends what is in flight some time later.
    fn fail(&mut self, error: io::Error) -> io::Error {
        self.lending.iter_mut().for_each(Lending::leak);
        // SAFETY: all-zero is a valid `msghdr`.
        let unused = Box::new(Template(unsafe { std::mem::zeroed() }));
        std::mem::forget(std::mem::replace(&mut self.template, unused));
        self.backlog.clear();
        self.ring = None;
        error
    }
}

fn has_work(ring: &mut IoUring) -> bool {
    let queue = ring.submission();
    queue.taskrun() || queue.cq_overflow()
}

impl Drop for Ring {
    fn drop(&mut self) {
        let deadline = Instant::now() + DRAIN_TIMEOUT;
        self.reap(|_, _| {});
        if self.in_flight > 0 {
            let entry = opcode::AsyncCancel2::new(CancelBuilder::any()).build().user_data(IGNORED);
            // SAFETY: the request uses no memory.
            let _ = unsafe { self.push(&entry) };
        }
        // On another thread than the owner's, or after a failure, the kernel refuses and nothing is drained.
        while self.in_flight > 0 && Instant::now() < deadline && self.submit(true).is_ok() {
            self.reap(|_, _| {});
            if self.in_flight > 0 {
                self.backlog.clear();
                let _ = self.wait(Some(DRAIN_POLL));
                self.reap(|_, _| {});
            }
        }
        if self.in_flight > 0 {
            let _ = self.fail(io::ErrorKind::TimedOut.into());
        }
        // Closed before the memory is freed.
        self.ring = None;
    }
}

#[cfg(test)]
mod tests;
