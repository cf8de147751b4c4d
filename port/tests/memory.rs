//! A worker's port set with memory ports, from end to end.
#![expect(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test")]

use std::time::{Duration, Instant};

use packet::{Burst, DropReason, FRAME_BYTES_MAX, Offload, PortId};
use port::memory::{Link, MemoryConfig, MemoryEnd, pair};
use port::{EngineKind, PortFault, PortSet, Queue, Transmission};

fn port(index: u16) -> PortId {
    PortId::new(index).unwrap()
}

fn set_with(ports: u16) -> (PortSet, Vec<MemoryEnd>) {
    let mut set = PortSet::new(EngineKind::Auto, 256).unwrap();
    let ends = (0..ports)
        .map(|index| {
            let (queue, end) = pair(MemoryConfig { frames_max: 100, ..MemoryConfig::default() });
            set.attach(port(index), Queue::Other(Box::new(queue))).unwrap();
            end
        })
        .collect();
    (set, ends)
}

fn frame(len_bytes: usize, mark: u8) -> Vec<u8> {
    let mut bytes = vec![0; len_bytes];
    bytes[len_bytes - 1] = mark;
    bytes
}

#[test]
fn frames_pass_in_order_from_one_end_to_the_other() {
    let (mut set, ends) = set_with(2);
    let mut burst = Burst::new();
    let mut outcomes = Vec::new();
    for mark in 0..100 {
        ends[0].send(&frame(60, mark), Offload::NONE).unwrap();
    }
    assert!(ends[0].send(&frame(60, 0), Offload::NONE).is_err(), "the queue is bounded");
    let mut passed = 0;
    while passed < 100 {
        let received = set.receive(&mut burst).frames;
        assert!(received > 0);
        let jobs: Vec<_> = (0..burst.len())
            .map(|index| Transmission { frame: index as u16, port: port(1), headers_bytes: 14 })
            .collect();
        set.transmit(&mut burst, &jobs, &mut outcomes);
        assert!(outcomes.iter().all(Result::is_ok));
        burst.recycle(set.pool());
        passed += received;
    }
    let mut marks = Vec::new();
    assert_eq!(ends[1].receive_with(|bytes, _| marks.push(bytes[59])), 100);
    assert!(marks.iter().copied().eq(0..100));
    assert_eq!(set.pool().free(), 256);
}

#[test]
fn what_is_no_frame_is_reported_and_its_buffer_kept() {
    let (mut set, ends) = set_with(1);
    ends[0].send(&[0; 13], Offload::NONE).unwrap();
    ends[0].send(&frame(14, 0), Offload::NONE).unwrap();
    ends[0].send(&frame(FRAME_BYTES_MAX, 0), Offload::NONE).unwrap();
    ends[0].send(&frame(FRAME_BYTES_MAX + 1, 0), Offload::NONE).unwrap();
    ends[0].send(&vec![0; 200_000], Offload::NONE).unwrap();
    let mut burst = Burst::new();
    let received = set.receive(&mut burst);
    assert_eq!(received.frames, 2);
    assert_eq!(
        received.malformed,
        [
            (port(0), DropReason::Truncated),
            (port(0), DropReason::Oversized),
            (port(0), DropReason::Oversized)
        ]
    );
    burst.recycle(set.pool());
    assert_eq!(set.pool().free(), 256);
}

#[test]
fn a_full_queue_and_an_absent_port_drop_by_name() {
    let (mut set, ends) = set_with(2);
    let mut burst = Burst::new();
    ends[0].send(&frame(60, 1), Offload::NONE).unwrap();
    set.receive(&mut burst);
    let to = |index| Transmission { frame: 0, port: port(index), headers_bytes: 14 };
    let mut jobs = vec![to(1); 101];
    jobs.push(to(7));
    let mut outcomes = Vec::new();
    set.transmit(&mut burst, &jobs, &mut outcomes);
    assert!(outcomes[..100].iter().all(Result::is_ok));
    assert_eq!(outcomes[100], Err(DropReason::TxQueueFull));
    assert_eq!(outcomes[101], Err(DropReason::EgressDown));
}

#[test]
fn a_flooding_port_does_not_keep_another_from_being_heard() {
    let (mut set, ends) = set_with(2);
    let mut burst = Burst::new();
    ends[1].send(&frame(60, 7), Offload::NONE).unwrap();
    let mut heard = false;
    for _ in 0..3 {
        while ends[0].send(&frame(60, 1), Offload::NONE).is_ok() {}
        set.receive(&mut burst);
        heard |= burst.frames().iter().any(|frame| frame.ingress == port(1));
        burst.recycle(set.pool());
    }
    assert!(heard);
}

#[test]
fn a_sleeping_worker_wakes_for_a_frame_and_for_its_waker() {
    let (mut set, mut ends) = set_with(1);
    let end = ends.remove(0);
    let mut burst = Burst::new();
    set.receive(&mut burst);
    let sender = std::thread::spawn(move || {
        end.send(&frame(60, 1), Offload::NONE).unwrap();
        end
    });
    let deadline = Instant::now() + Duration::from_secs(10);
    while burst.is_empty() && Instant::now() < deadline {
        set.wait(Some(Duration::from_secs(10))).unwrap();
        set.receive(&mut burst);
    }
    let _end = sender.join().unwrap();
    assert_eq!(burst.len(), 1);

    let before = Instant::now();
    set.waker().wake();
    set.wait(Some(Duration::from_secs(10))).unwrap();
    assert!(before.elapsed() < Duration::from_secs(5), "a wake before the wait is not lost");
}

#[test]
fn an_idle_wait_ends_with_its_timeout() {
    let (mut set, _ends) = set_with(1);
    let mut burst = Burst::new();
    set.receive(&mut burst);
    let before = Instant::now();
    while before.elapsed() < Duration::from_millis(20) {
        set.wait(Some(Duration::from_millis(20))).unwrap();
        assert_eq!(set.receive(&mut burst).frames, 0);
    }
}

#[test]
fn a_fault_is_reported_once_and_ends_with_a_revival() {
    let (mut set, ends) = set_with(2);
    let mut burst = Burst::new();
    let mut faults = Vec::new();
    ends[0].set_link(Link::Down);
    ends[1].set_link(Link::Gone);
    for _ in 0..3 {
        set.receive(&mut burst);
    }
    set.take_faults(&mut faults);
    faults.sort_by_key(|fault| fault.0);
    assert_eq!(faults, [(port(0), PortFault::LinkDown), (port(1), PortFault::Gone)]);
    ends[0].set_link(Link::Up);
    set.revive(port(0));
    ends[0].send(&frame(60, 1), Offload::NONE).unwrap();
    assert_eq!(set.receive(&mut burst).frames, 1);
    assert!(set.detach(port(1)) && !set.detach(port(1)) && !set.has(port(1)) && set.has(port(0)));
}
