//! Pods with a TAP each, and the simplest switch there is between them.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::Namespace;
use packet::{Burst, DropReason, Frame, MacAddress, PortId};
use port::tap::{self, Tap, TapConfig};
use port::{EngineKind, PortFault, PortSet, PortSetOptions, Queue, Transmission};

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn port(index: usize) -> PortId {
    PortId::new(u16::try_from(index).unwrap()).unwrap()
}

pub(crate) fn mac(index: usize) -> MacAddress {
    MacAddress([2, 0, 0, 0, 0, u8::try_from(index).unwrap()])
}

pub(crate) fn address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 0, u8::try_from(index + 1).unwrap())
}

/// The configuration of the pod with this index.
pub(crate) fn config(namespace: &Namespace, index: usize) -> TapConfig {
    TapConfig {
        netns: Some(namespace.path()),
        device: "eth0".to_owned(),
        mac: mac(index),
        addresses: vec![format!("{}/24", address(index)).parse().unwrap()],
        ..TapConfig::default()
    }
}

/// Pods that know one another's MAC addresses, and a port set that forwards by the last byte of those.
pub(crate) struct Rig {
    pub(crate) pods: Vec<Arc<Namespace>>,
    pub(crate) set: PortSet,
    pub(crate) seen: Seen,
    burst: Burst,
    outcomes: Vec<Result<(), DropReason>>,
}

/// Ends the threads of a test with the test, also where it fails.
pub(crate) struct SetOnDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What passed.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) frames: usize,
    /// Those of them that are for a pod: the kernel also says things of its own, by multicast.
    pub(crate) unicast: usize,
    pub(crate) longest_super_frame_bytes: usize,
    pub(crate) dropped: Vec<(PortId, DropReason)>,
    pub(crate) faults: Vec<(PortId, PortFault)>,
}

impl Rig {
    pub(crate) fn new(engine: EngineKind, pods: usize) -> Self {
        Self::with_options(PortSetOptions { engine, ..PortSetOptions::default() }, pods)
    }

    pub(crate) fn with_options(options: PortSetOptions, pods: usize) -> Self {
        let pods: Vec<_> =
            (0..pods).map(|index| Arc::new(Namespace::new_quiet(&format!("p{index}")))).collect();
        let mut set = PortSet::with_options(options).unwrap();
        for (index, pod) in pods.iter().enumerate() {
            let Tap { mut queues, warnings, .. } = tap::open(&config(pod, index)).unwrap();
            assert_eq!(warnings, Vec::<String>::new());
            set.attach(port(index), Queue::Device(queues.remove(0))).unwrap();
            for other in (0..pods.len()).filter(|&other| other != index) {
                pod.ip(&format!("neigh add {} lladdr {} dev eth0 nud permanent", address(other), mac(other)));
            }
        }
        Self { pods, set, seen: Seen::default(), burst: Burst::new(), outcomes: Vec::new() }
    }

    pub(crate) fn udp(&self, pod: usize) -> UdpSocket {
        self.pods[pod].run(|| UdpSocket::bind((address(pod), 7000)).unwrap())
    }

    /// Forwards what is there; returns how many frames.
    pub(crate) fn step(&mut self, mut look: impl FnMut(&Frame)) -> usize {
        let malformed = self.set.receive(&mut self.burst).malformed;
        assert!(malformed.is_empty(), "{malformed:?}");
        let mut jobs = Vec::new();
        for (index, frame) in self.burst.frames().iter().enumerate() {
            look(frame);
            if frame.offload.segmentation.is_some() {
                let longest = &mut self.seen.longest_super_frame_bytes;
                *longest = frame.len().max(*longest);
            }
            let destination = frame.bytes()[..6].to_owned();
            if destination[0] == 2 {
                jobs.push(Transmission {
                    frame: u16::try_from(index).unwrap(),
                    port: port(usize::from(destination[5])),
                    headers_bytes: 54,
                });
            }
        }
        self.set.transmit(&mut self.burst, &jobs, &mut self.outcomes);
        for (job, outcome) in jobs.iter().zip(&self.outcomes) {
            self.seen.dropped.extend(outcome.err().map(|reason| (job.port, reason)));
        }
        let frames = self.burst.len();
        self.seen.unicast += jobs.len();
        self.seen.frames += frames;
        self.burst.recycle(self.set.pool());
        self.set.take_faults(&mut self.seen.faults);
        frames
    }

    /// Forwards until `done`, sleeping when there is nothing to do.
    pub(crate) fn run_until(&mut self, done: impl FnMut(&Seen) -> bool) {
        self.run_until_seeing(|_| {}, done);
    }

    /// The same, with a look at every frame.
    pub(crate) fn run_until_seeing(
        &mut self,
        mut look: impl FnMut(&Frame),
        mut done: impl FnMut(&Seen) -> bool,
    ) {
        let deadline = Instant::now() + DEADLINE;
        while !done(&self.seen) {
            assert!(Instant::now() < deadline, "not done in time: {}", self.state());
            if self.step(&mut look) == 0 {
                self.set.wait(Some(Duration::from_millis(20))).unwrap();
            }
        }
    }

    /// Where everything stands, for a test that fails.
    fn state(&self) -> String {
        let Seen { frames, faults, dropped, .. } = &self.seen;
        let devices: String = self.pods.iter().map(|pod| pod.ip("-s -d link show dev eth0")).collect();
        format!("{frames} frames seen, {} dropped, faults {faults:?}, devices:\n{devices}", dropped.len())
    }
}
