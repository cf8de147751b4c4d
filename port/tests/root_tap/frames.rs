//! Frames through the engines.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use e2e::Namespace;
use port::tap;
use port::{EngineKind, PortSet, PortSetOptions, Queue, UringOptions};

use crate::rig::{DEADLINE, Rig, SetOnDrop, address, config, port};

const FRAMES: usize = 100_000;
/// Datagrams that a sender may be ahead of its receiver, below what any queue on the way holds: a socket takes
/// about 270 small ones by default (`net.core.rmem_default` over 768 bytes each).
const AHEAD: usize = 100;

pub(crate) fn in_order(kind: EngineKind) {
    exchange(Rig::new(kind, 2));
}

/// The queues of the ring hold a fraction of a burst, and reads run out of buffers all the time.
pub(crate) fn by_a_small_ring() {
    for (read_buffers, queue_entries, collect_on_transmit) in [(4, 1, false), (64, 1, true)] {
        let uring = UringOptions { read_buffers, bulk_buffers: 2, queue_entries, collect_on_transmit };
        let options = PortSetOptions { engine: EngineKind::Uring, uring, ..PortSetOptions::default() };
        exchange(Rig::with_options(options, 2));
    }
}

/// 100 000 numbered datagrams in each direction at once; none may be lost, or overtake another.
fn exchange(mut rig: Rig) {
    let sockets = [rig.udp(0), rig.udp(1)];
    for socket in &sockets {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
    }
    let received = [AtomicUsize::new(0), AtomicUsize::new(0)];
    std::thread::scope(|scope| {
        for side in [0, 1] {
            let (socket, received) = (&sockets[side], &received);
            scope.spawn(move || {
                let started = Instant::now();
                for number in 0..FRAMES {
                    assert!(started.elapsed() < 2 * DEADLINE);
                    while number > received[1 - side].load(Ordering::Relaxed) + AHEAD {
                        assert!(started.elapsed() < 2 * DEADLINE, "{number} was not received");
                        std::thread::yield_now();
                    }
                    let sent = socket.send_to(&number.to_be_bytes(), (address(1 - side), 7000));
                    assert_eq!(sent.unwrap(), 8);
                }
            });
            scope.spawn(move || {
                for number in 0..FRAMES {
                    let mut bytes = [0; 8];
                    assert_eq!(socket.recv(&mut bytes).unwrap(), 8);
                    assert_eq!(usize::from_be_bytes(bytes), number);
                    received[side].store(number, Ordering::Relaxed);
                }
            });
        }
        rig.run_until(|_| received.iter().all(|count| count.load(Ordering::Relaxed) == FRAMES - 1));
    });
    assert!(rig.seen.dropped.is_empty(), "{:?}", rig.seen.dropped);
    assert!(rig.seen.frames >= 2 * FRAMES);
}

/// TCP in bulk: frames of (nearly) 64 KiB cross as they are, and every byte arrives.
pub(crate) fn super_frames(kind: EngineKind) {
    const BYTES: usize = 64 << 20;
    let mut rig = Rig::new(kind, 2);
    let listener = rig.pods[1].run(|| TcpListener::bind((address(1), 7001)).unwrap());
    let done = AtomicBool::new(false);
    let pattern: Vec<u8> = (0_u32..1 << 20).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let client = Arc::clone(&rig.pods[0]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = client.run(|| TcpStream::connect((address(1), 7001)).unwrap());
            for _ in 0..BYTES / pattern.len() {
                stream.write_all(&pattern).unwrap();
            }
        });
        scope.spawn(|| {
            let mut stream = listener.accept().unwrap().0;
            let mut bytes = vec![0; pattern.len()];
            for _ in 0..BYTES / pattern.len() {
                stream.read_exact(&mut bytes).unwrap();
                assert!(bytes == pattern, "the payload arrives unchanged");
            }
            done.store(true, Ordering::Relaxed);
        });
        rig.run_until(|_| done.load(Ordering::Relaxed));
    });
    assert!(rig.seen.longest_super_frame_bytes > 60_000, "{}", rig.seen.longest_super_frame_bytes);
}

/// Pod 0 floods pod 2 as fast as it can; pod 1 exchanges datagrams with pod 2 meanwhile. The answers come
/// promptly: what pod 1 sends never waits for the whole queue of pod 0.
pub(crate) fn fair(kind: EngineKind) {
    const EXCHANGES: usize = 200;
    let mut rig = Rig::new(kind, 3);
    let (flood, client, server) = (rig.udp(0), rig.udp(1), rig.udp(2));
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    server.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let done = AtomicBool::new(false);
    let mut frames_between = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // Port 9: to be discarded.
                let _ = flood.send_to(&[0; 64], (address(2), 9));
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if let Ok((bytes, from)) = server.recv_from(&mut [0; 8]) {
                    assert_eq!((bytes, from.ip()), (4, address(1).into()));
                    server.send_to(b"pong", from).unwrap();
                }
            }
        });
        scope.spawn(|| {
            let _done = SetOnDrop(&done);
            for _ in 0..EXCHANGES {
                client.send_to(b"ping", (address(2), 7000)).unwrap();
                assert_eq!(client.recv(&mut [0; 8]).unwrap(), 4);
            }
        });
        let _done = SetOnDrop(&done);
        let mut since = 0;
        rig.run_until_seeing(
            |frame| {
                since += 1;
                if frame.ingress == port(1) {
                    frames_between.push(std::mem::take(&mut since));
                }
            },
            |_| done.load(Ordering::Relaxed),
        );
    });
    assert!(frames_between.len() >= EXCHANGES);
}

/// Attach and detach, over and over: no descriptor, no buffer and no device is left.
pub(crate) fn many_ports(kind: EngineKind) {
    const PORTS: usize = 100;
    let pod = Namespace::new_quiet("many");
    let mut set = PortSet::new(kind, 256).unwrap();
    let device = |index: usize| format!("eth{index}");
    let mut descriptors = Vec::new();
    for round in 0..3 {
        for index in 0..PORTS {
            let config = tap::TapConfig {
                device: device(index),
                persistent: false,
                addresses: Vec::new(),
                ..config(&pod, index)
            };
            let mut opened = tap::open(&config).unwrap();
            set.attach(port(index), Queue::Device(opened.queues.remove(0))).unwrap();
        }
        let mut burst = packet::Burst::new();
        set.receive(&mut burst);
        set.wait(Some(Duration::from_millis(1))).unwrap();
        burst.recycle(set.pool());
        for index in 0..PORTS {
            assert!(set.detach(port(index)), "round {round}");
        }
        let waiting = Instant::now();
        while pod.ip("-o link show type tun").lines().count() > 0 {
            assert!(waiting.elapsed() < DEADLINE, "devices are left after their queues were closed");
        }
        descriptors.push(
            std::fs::read_dir("/proc/self/fd")
                .unwrap()
                .filter(|entry| {
                    let target = std::fs::read_link(entry.as_ref().unwrap().path());
                    target.is_ok_and(|target| target.to_string_lossy().contains("/dev/net/tun"))
                })
                .count(),
        );
    }
    // Other tests of this process have TAPs of their own, but none has a hundred.
    assert!(descriptors.iter().all(|&count| count < PORTS), "{descriptors:?}");
}

/// The set goes while the kernel has frames to read into its buffers: again and again, with memory reused.
pub(crate) fn dropped_under_load(kind: EngineKind) {
    for _ in 0..5 {
        let mut rig = Rig::new(kind, 2);
        let sender = rig.udp(0);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let _ = sender.send_to(&[0; 1000], (address(1), 9));
                }
            });
            let _done = SetOnDrop(&done);
            rig.run_until(|seen| seen.frames > 2000);
            drop(rig);
        });
    }
}

pub(crate) fn wakes(kind: EngineKind) {
    let mut rig = Rig::new(kind, 2);
    assert_eq!(rig.set.engine_name(), if kind == EngineKind::Uring { "io_uring" } else { "epoll" });
    let sender = rig.udp(0);
    for _ in 0..10 {
        while rig.step(|_| {}) > 0 {}
        std::thread::scope(|scope| {
            scope.spawn(|| sender.send_to(b"x", (address(1), 9)).unwrap());
            let before = Instant::now();
            let mut frames = 0;
            while frames == 0 {
                rig.set.wait(Some(DEADLINE)).unwrap();
                frames += rig.step(|_| {});
            }
            assert!(before.elapsed() < DEADLINE / 2);
        });
    }
    let waker = rig.set.waker();
    for _ in 0..10 {
        while rig.step(|_| {}) > 0 {}
        std::thread::scope(|scope| {
            let waking = scope.spawn(|| waker.wake());
            let before = Instant::now();
            rig.set.wait(Some(DEADLINE)).unwrap();
            assert!(before.elapsed() < DEADLINE / 2);
            waking.join().unwrap();
        });
    }
}
