//! The ring with queues far too small for what passes: sockets stand for TAPs, one message for one frame.
//!
//! Where the kernel (or a container) offers no `io_uring` there is nothing to test, and each test says so.

use std::os::fd::{AsFd, OwnedFd};

use packet::{PortId, VNET_HEADER_BYTES};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

fn ring(read_buffers: u16, entries: u32) -> Option<Ring> {
    match Ring::new(read_buffers, entries) {
        Ok(ring) => Some(ring),
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{error}");
            eprintln!("nothing was tested: {error}");
            None
        }
    }
}

/// Two ends of a socket that keeps messages apart, as a TAP keeps frames.
fn pair() -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
}

fn message(source: usize, number: usize) -> [u8; 4] {
    [source, number].map(|value| u16::try_from(value).unwrap().to_be_bytes()).concat().try_into().unwrap()
}

/// The message that was read into a buffer.
fn message_in(buffer: &Buffer) -> (usize, usize) {
    let bytes = &buffer.bytes()[VNET_HEADER_OFFSET..];
    let value = |at: usize| usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    (value(0), value(2))
}

/// Sources that have messages waiting, and what came of them.
struct Sources {
    near: Vec<OwnedFd>,
    far: Vec<OwnedFd>,
    sent: usize,
    next: Vec<usize>,
    received: usize,
}

impl Sources {
    fn new(count: usize) -> Self {
        let (near, far) = (0..count).map(|_| pair()).unzip();
        Self { near, far, sent: 0, next: vec![0; count], received: 0 }
    }

    /// One more message from every source.
    fn send_round(&mut self) {
        for (source, far) in self.far.iter().enumerate() {
            let bytes = message(source, self.sent);
            assert_eq!(rustix::io::write(far, &bytes), Ok(bytes.len()));
        }
        self.sent += 1;
    }

    fn arm(&self, ring: &mut Ring) {
        for (source, near) in self.near.iter().enumerate() {
            ring.read_multishot(Group::Tap, near.as_fd(), source as u64).unwrap();
        }
    }

    /// Takes what is known to have completed, lends its memory anew and arms reads that ended.
    fn take(&mut self, ring: &mut Ring) {
        while let Some(completion) = ring.completion() {
            let source = usize::try_from(completion.user_data).unwrap();
            match completion.result {
                Ok(bytes) => {
                    let buffer = completion.buffer.expect("what was read is somewhere");
                    assert_eq!((bytes, message_in(&buffer)), (4, (source, self.next[source])));
                    self.next[source] += 1;
                    self.received += 1;
                    assert!(ring.lend(Group::Tap, buffer).is_ok());
                }
                Err(errno) => {
                    assert_eq!((errno, completion.more), (Errno::NOBUFS, false));
                    assert!(completion.buffer.is_none());
                }
            }
            if !completion.more {
                ring.read_multishot(Group::Tap, self.near[source].as_fd(), completion.user_data).unwrap();
            }
        }
    }

    fn take_all(&mut self, ring: &mut Ring) {
        let deadline = Instant::now() + DEADLINE;
        while self.received < self.sent * self.near.len() {
            assert!(Instant::now() < deadline, "{} of {} messages", self.received, self.sent);
            ring.wait(Some(DRAIN_POLL)).unwrap();
            self.take(ring);
        }
    }

    /// Ends all reads; every buffer is either still lent or comes back, none twice.
    fn end(self, ring: &mut Ring) {
        let mut returned = Vec::new();
        for source in 0..self.near.len() {
            assert!(ring.cancel(source as u64, &mut returned), "source {source} has ended");
        }
        assert_eq!(returned.len(), 0, "all messages were taken before");
        assert!(ring.completion().is_none());
        assert_eq!(ring.in_flight, 0);
    }
}

fn lend_all(ring: &mut Ring) {
    while ring.room(Group::Tap) > 0 {
        assert!(ring.lend(Group::Tap, Buffer::new()).is_ok());
    }
    assert!(ring.lend(Group::Tap, Buffer::new()).is_err(), "no more than there is room for");
}

fn overflows(ring: &mut Ring) -> bool {
    ring.ring.as_mut().unwrap().submission().cq_overflow()
}

#[test]
fn more_completions_than_the_queue_holds_lose_nothing_and_double_nothing() {
    const SOURCES: usize = 64;
    // Two requests at once, room for 16 completions.
    let Some(mut ring) = ring(256, 2) else { return };
    lend_all(&mut ring);
    let mut sources = Sources::new(SOURCES);
    sources.arm(&mut ring);
    ring.submit(true).unwrap();
    for round in 0..20 {
        for _ in 0..=round % 3 {
            sources.send_round();
        }
        ring.submit(true).unwrap();
        assert!(overflows(&mut ring), "64 messages at least for a queue of 16");
        assert!(ring.is_ready() && ring.needs_submit());
        sources.take_all(&mut ring);
        assert_eq!(ring.lent(Group::Tap), 256);
    }
    sources.end(&mut ring);
    assert_eq!(ring.lent(Group::Tap), 256);
}

/// Else a worker could sleep on completions that it never asks for.
#[test]
fn completions_in_overflow_count_as_something_to_do() {
    let Some(mut ring) = ring(64, 1) else { return };
    lend_all(&mut ring);
    let mut sources = Sources::new(64);
    sources.arm(&mut ring);
    sources.send_round();
    ring.submit(true).unwrap();
    let mut seen = 0;
    while seen < 64 {
        assert!(ring.is_ready(), "{seen} of 64 messages were seen");
        match ring.completion() {
            Some(completion) => seen += usize::from(completion.buffer.is_some()),
            None => {
                assert!(ring.needs_submit());
                ring.submit(true).unwrap();
            }
        }
    }
}

#[test]
fn reads_that_find_no_buffer_end_and_go_on_when_they_are_armed_again() {
    const SOURCES: usize = 16;
    let Some(mut ring) = ring(4, 1) else { return };
    lend_all(&mut ring);
    let mut sources = Sources::new(SOURCES);
    sources.arm(&mut ring);
    for _ in 0..50 {
        sources.send_round();
    }
    sources.take_all(&mut ring);
    assert_eq!(ring.lent(Group::Tap), 4);
    sources.end(&mut ring);
}

/// Every third job goes to a socket whose other end is closed; every seventh is left out.
struct Jobs {
    good: OwnedFd,
    bad: OwnedFd,
    failed: Vec<(usize, Errno)>,
}

impl Jobs {
    fn is_bad(position: usize) -> bool {
        position.is_multiple_of(3)
    }

    fn is_left_out(position: usize) -> bool {
        position % 7 == 5
    }
}

impl Writes for Jobs {
    fn file(&mut self, position: usize) -> Option<(BorrowedFd<'_>, usize)> {
        let fd = if Self::is_bad(position) { &self.bad } else { &self.good };
        (!Self::is_left_out(position)).then(|| (fd.as_fd(), VNET_HEADER_BYTES))
    }

    fn failed(&mut self, position: usize, errno: Errno) {
        self.failed.push((position, errno));
    }
}

/// Writes `jobs` jobs by a ring of so many entries, while 64 reads have more to say than its completion queue
/// holds.
fn write_with(entries: u32, jobs: usize, collect: bool) {
    let Some(mut ring) = ring(256, entries) else { return };
    lend_all(&mut ring);
    let mut sources = Sources::new(64);
    sources.arm(&mut ring);
    ring.submit(true).unwrap();
    sources.send_round();
    let (good, seen) = pair();
    let (bad, _) = pair();
    let mut writes = Jobs { good, bad, failed: Vec::new() };
    let port = PortId::new(1).unwrap();
    let content = |job: usize| [u8::try_from(job).unwrap(); 60];
    let mut frames: Vec<Frame> =
        (0..jobs).map(|job| Frame::copied(Buffer::new(), &content(job), port).unwrap()).collect();
    let list: Vec<Transmission> = (0..jobs)
        .map(|job| Transmission { frame: u16::try_from(job).unwrap(), port, headers_bytes: 0 })
        .collect();
    for _ in 0..3 {
        writes.failed.clear();
        ring.write_burst(&mut frames, &list, &mut writes, collect).unwrap();
        assert_eq!(ring.writes_in_flight, 0);
        let positions = || (0..jobs).filter(|&job| !Jobs::is_left_out(job));
        let expected: Vec<_> =
            positions().filter(|&job| Jobs::is_bad(job)).map(|job| (job, Errno::PIPE)).collect();
        writes.failed.sort_unstable_by_key(|(job, _)| *job);
        assert_eq!(writes.failed, expected, "each failure is told once");
        for job in positions().filter(|&job| !Jobs::is_bad(job)) {
            let mut bytes = [0; 128];
            let (read, _) = recv(&seen, &mut bytes, RecvFlags::empty()).expect("it was written");
            assert_eq!(read, VNET_HEADER_BYTES + 60);
            assert_eq!(bytes[VNET_HEADER_BYTES..read], content(job), "in order");
        }
        assert_eq!(recv(&seen, &mut [0; 128], RecvFlags::empty()).err(), Some(Errno::AGAIN), "none twice");
    }
    sources.take_all(&mut ring);
    sources.end(&mut ring);
    assert_eq!(ring.lent(Group::Tap), 256);
}

#[test]
fn a_burst_larger_than_the_submission_queue_is_written_in_order_and_once() {
    for entries in [1, 2, 4, 16, 64] {
        for collect in [false, true] {
            write_with(entries, 64, collect);
        }
    }
}

#[test]
fn a_ring_dropped_with_completions_in_overflow_ends_at_once() {
    let Some(mut ring) = ring(64, 1) else { return };
    lend_all(&mut ring);
    let mut sources = Sources::new(64);
    sources.arm(&mut ring);
    ring.submit(true).unwrap();
    sources.send_round();
    ring.submit(true).unwrap();
    assert!(overflows(&mut ring));
    let before = Instant::now();
    drop(ring);
    assert!(before.elapsed() < DRAIN_TIMEOUT, "it was drained, not given up");
}
