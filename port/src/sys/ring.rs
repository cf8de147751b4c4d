//! An `io_uring` that lends whole [`Buffer`]s to the kernel and gets them back filled.
//!
//! Theory of operation. Buffers lent by [`Ring::lend`] stand in a ring of provided buffers (buffer group 0);
//! any multishot read may take the next one. A lent buffer is parked in `slots`, where nothing touches it,
//! until the completion that names it is popped. Writes of a burst ([`Ring::write_burst`]) are complete when
//! the call returns, so their memory is only ever borrowed.
//!
//! Who may touch what when: with `IORING_SETUP_DEFER_TASKRUN` the kernel reads and writes our memory only
//! inside `io_uring_enter` calls of the one thread that uses the ring (and nothing here goes to `io-wq`: TUN
//! files are pollable and `FMODE_NOWAIT`). Still, a [`Ring`] that is dropped first cancels what is in flight
//! and waits for the last completion; if that does not come, the lent memory is leaked and never reused.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use io_uring::types::{BufRingEntry, CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, cqueue, opcode, squeue};
use packet::{Buffer, Frame};
use rustix::io::Errno;

use crate::Transmission;
use crate::queue::VNET_HEADER_OFFSET;

/// Marks the completions of writes; the rest of `user_data` is the job's position.
const WRITE: u64 = 1 << 63;
/// Marks completions that mean nothing to the caller.
const IGNORED: u64 = 1 << 62;
const GET_EVENTS: u32 = 1; // IORING_ENTER_GETEVENTS
const BUFFER_GROUP: u16 = 0;
/// Completions per submission entry: a burst of reads, failed writes and ends of reads fit without the
/// kernel's overflow list (which would not lose any, either).
const COMPLETIONS_PER_ENTRY: u32 = 8;
const RETRIES_MAX: u32 = 1000;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
const DRAIN_POLL: Duration = Duration::from_millis(5);

/// A page of the ring of provided buffers, whose address must be page-aligned.
#[repr(C, align(4096))]
#[derive(Clone)]
struct Page([u8; 4096]);

const ENTRIES_PER_PAGE: usize = 4096 / size_of::<BufRingEntry>();

/// What became of a request.
#[derive(Debug)]
pub(crate) struct Completion {
    /// What the request was given.
    pub(crate) user_data: u64,
    /// Bytes, or the events of a poll.
    pub(crate) result: Result<usize, Errno>,
    /// The request goes on and will complete again.
    pub(crate) more: bool,
    /// The buffer that was read into, from [`VNET_HEADER_OFFSET`] on.
    pub(crate) buffer: Option<Buffer>,
}

/// Who sends, seen from the ring.
pub(crate) trait Writes {
    /// The file that the job at this position goes to; `None` leaves it out.
    fn file(&mut self, position: usize) -> Option<BorrowedFd<'_>>;

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
    pages: Vec<Page>,
    tail: u16,
    slots: Vec<Option<Buffer>>,
    free_slots: Vec<u16>,
    /// Taken from the completion queue, not yet looked at.
    backlog: VecDeque<RawCompletion>,
    /// Requests, other than writes, whose last completion was not yet taken from the queue.
    in_flight: usize,
    /// Writes likewise; 0 outside of [`write_burst`](Self::write_burst).
    writes_in_flight: usize,
}

impl Ring {
    /// A ring that lends at most `read_buffers` buffers (a power of two up to 2^15) and submits up to
    /// `entries` requests at once. It may be made on any thread; the first that submits owns it.
    pub(crate) fn new(read_buffers: u16, entries: u32) -> io::Result<Self> {
        let unsupported = |what: &str| io::Error::new(io::ErrorKind::Unsupported, what.to_owned());
        if !read_buffers.is_power_of_two() || read_buffers > 1 << 15 || !entries.is_power_of_two() {
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
        let count = usize::from(read_buffers);
        let mut pages = vec![Page([0; 4096]); count.div_ceil(ENTRIES_PER_PAGE)];
        // SAFETY: the memory holds `count` entries, is page-aligned, zeroed, and lives until the ring is
        // closed: `pages` is never resized, and leaked if the ring cannot be drained.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                pages.as_mut_ptr() as u64,
                read_buffers,
                BUFFER_GROUP,
                0,
            )
        }?;
        Ok(Self {
            ring: Some(ring),
            enabled: false,
            entries: entries as usize,
            pages,
            tail: 0,
            slots: (0..count).map(|_| None).collect(),
            free_slots: (0..read_buffers).rev().collect(),
            backlog: VecDeque::with_capacity(2 * entries as usize * COMPLETIONS_PER_ENTRY as usize),
            in_flight: 0,
            writes_in_flight: 0,
        })
    }

    /// How many more buffers can be lent.
    pub(crate) fn room(&self) -> usize {
        self.free_slots.len()
    }

    /// How many buffers a read can still choose from.
    pub(crate) fn lent(&self) -> usize {
        self.slots.len().saturating_sub(self.free_slots.len())
    }

    /// True if a read would find a buffer.
    pub(crate) fn has_lent(&self) -> bool {
        self.lent() > 0
    }

    /// Lends a buffer to whichever read needs one next.
    ///
    /// # Errors
    /// Gives it back if there is no [`room`](Self::room).
    pub(crate) fn lend(&mut self, mut buffer: Buffer) -> Result<(), Buffer> {
        let Some(slot) = self.free_slots.pop() else { return Err(buffer) };
        let memory = &mut buffer.bytes_mut()[VNET_HEADER_OFFSET..];
        let (address, length) = (memory.as_mut_ptr() as u64, u32::try_from(memory.len()).unwrap_or(0));
        let mask = self.slots.len() - 1;
        let entries = self.pages.as_mut_ptr().cast::<BufRingEntry>();
        // SAFETY: the position is below the number of entries that `pages` has room for.
        let entry = unsafe { entries.add(usize::from(self.tail) & mask) };
        // SAFETY: `entry` is aligned and initialized (zeroed at first); the kernel does not look at it before
        // the tail below passes it. The setters leave the last two bytes, the tail in entry 0, alone.
        let entry = unsafe { &mut *entry };
        entry.set_addr(address);
        entry.set_len(length);
        entry.set_bid(slot);
        self.slots[usize::from(slot)] = Some(buffer);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: entries points to the first entry of a live, page-aligned ring of entries.
        let tail = unsafe { BufRingEntry::tail(entries) }.cast_mut();
        // SAFETY: the tail is two-byte aligned, lives as long as `pages`, and is only read by the kernel.
        let tail = unsafe { AtomicU16::from_ptr(tail) };
        // Release: pairs with the kernel's acquire of the tail (`io_ring_buffer_select`), so it sees the
        // entry whole.
        tail.store(self.tail, Ordering::Release);
        Ok(())
    }

    /// Reads from `fd` into lent buffers, again and again, until a completion says that there is no more.
    pub(crate) fn read_multishot(&mut self, fd: BorrowedFd<'_>, user_data: u64) -> io::Result<()> {
        let entry = opcode::ReadMulti::new(Fd(fd.as_raw_fd()), 0, BUFFER_GROUP).build().user_data(user_data);
        // SAFETY: the memory that the request writes to is that of the lent buffers.
        unsafe { self.push(&entry) }
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
            let Some(fd) = writes.file(position).map(|fd| Fd(fd.as_raw_fd())) else { continue };
            let header = frame.offload.to_vnet_header(job.headers_bytes);
            let Some(bytes) = frame.with_prefix(&header) else {
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
        let slot = cqueue::buffer_select(flags)?;
        let buffer = self.slots.get_mut(usize::from(slot))?.take();
        if buffer.is_some() {
            self.free_slots.push(slot);
        }
        buffer
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
        std::mem::forget(std::mem::take(&mut self.slots));
        std::mem::forget(std::mem::take(&mut self.pages));
        self.free_slots.clear();
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
