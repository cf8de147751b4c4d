//! Devices that are somebody else's: veth pairs between a namespace that stands for the switch's and one for
//! whoever is behind the port.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use e2e::{Namespace, RawSocket};
use packet::{Burst, DropReason, Frame, Offloads, PortId};
use port::packet_socket::{self, Drops, Filters, PacketConfig, PacketPort};
use port::{EngineKind, PortFault, PortSet, Queue, Transmission};

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// How long nothing must come for it to count as nothing.
pub(crate) const SILENCE: Duration = Duration::from_millis(50);

pub(crate) fn port(index: usize) -> PortId {
    PortId::new(u16::try_from(index).unwrap()).unwrap()
}

pub(crate) fn address(index: usize) -> IpAddr {
    Ipv4Addr::new(10, 9, 0, u8::try_from(index + 1).unwrap()).into()
}

pub(crate) fn device(index: usize) -> String {
    format!("v{index}")
}

pub(crate) fn config(switch: &Namespace, index: usize, queues: usize) -> PacketConfig {
    PacketConfig {
        netns: Some(switch.path()),
        device: device(index),
        queues,
        queue_frames: 4096,
        promiscuous: true,
        filter: None,
    }
}

/// Makes the veth pair `v<index>` – `eth0`, both up.
pub(crate) fn wire(switch: &Namespace, far: &Namespace, index: usize) {
    switch.ip(&format!("link add {} type veth peer name eth0 netns {}", device(index), far.name()));
    switch.ip(&format!("link set {} up", device(index)));
    far.ip(&format!("addr add {}/24 dev eth0", address(index)));
    far.ip("link set eth0 up");
}

/// Two wires, and the simplest switch there is between them: what comes in by one leaves by the other.
pub(crate) struct Rig {
    pub(crate) set: PortSet,
    pub(crate) seen: Seen,
    pub(crate) drops: Vec<Drops>,
    pub(crate) filters: Vec<Filters>,
    pub(crate) far: Vec<Namespace>,
    pub(crate) switch: Namespace,
    burst: Burst,
    outcomes: Vec<Result<(), DropReason>>,
}

/// What passed.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) frames: usize,
    pub(crate) super_frames: usize,
    pub(crate) super_frame_bytes: usize,
    pub(crate) dropped: Vec<DropReason>,
    pub(crate) malformed: Vec<(PortId, DropReason)>,
    pub(crate) faults: Vec<(PortId, PortFault)>,
}

impl Rig {
    pub(crate) fn new(kind: EngineKind) -> Self {
        Self::on(kind, |_, index| device(index))
    }

    /// The ports are on the devices that `prepare` names for the wires.
    pub(crate) fn on(kind: EngineKind, prepare: impl Fn(&Namespace, usize) -> String) -> Self {
        let switch = Namespace::new_quiet("switch");
        let far: Vec<_> = (0..2).map(|index| Namespace::new_quiet(&format!("far{index}"))).collect();
        let mut set = PortSet::new(kind, 256).unwrap();
        let (mut drops, mut filters) = (Vec::new(), Vec::new());
        for (index, far) in far.iter().enumerate() {
            wire(&switch, far, index);
            let device = prepare(&switch, index);
            let config = PacketConfig { device, ..config(&switch, index, 1) };
            let opened = packet_socket::open(&config).unwrap();
            let PacketPort { mut queues, warnings, offloads, .. } = opened;
            assert_eq!(warnings, Vec::<String>::new());
            assert!(Offloads { uso: true, ..offloads } == Offloads::ALL, "{offloads:?}");
            set.attach(port(index), Queue::Device(queues.remove(0))).unwrap();
            drops.push(opened.drops);
            filters.push(opened.filters);
        }
        let (burst, outcomes) = (Burst::new(), Vec::new());
        Self { set, seen: Seen::default(), drops, filters, far, switch, burst, outcomes }
    }

    pub(crate) fn raw(&self, index: usize) -> RawSocket {
        RawSocket::open(&self.far[index], "eth0")
    }

    /// Forwards what is there; returns how many frames.
    pub(crate) fn step(&mut self, mut look: impl FnMut(&Frame)) -> usize {
        let malformed = self.set.receive(&mut self.burst).malformed;
        self.seen.malformed.extend_from_slice(malformed);
        let mut jobs = Vec::new();
        for (index, frame) in self.burst.frames().iter().enumerate() {
            look(frame);
            if frame.offload.segmentation.is_some() {
                self.seen.super_frames += 1;
                self.seen.super_frame_bytes += frame.len();
            }
            let egress = port(1 - frame.ingress.index());
            jobs.push(Transmission { frame: u16::try_from(index).unwrap(), port: egress, headers_bytes: 54 });
        }
        self.set.transmit(&mut self.burst, &jobs, &mut self.outcomes);
        self.seen.dropped.extend(self.outcomes.iter().filter_map(|outcome| outcome.err()));
        let frames = self.burst.len();
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
            let Seen { frames, faults, malformed, .. } = &self.seen;
            assert!(Instant::now() < deadline, "in vain: {frames} frames, {faults:?}, {malformed:?}");
            if self.step(&mut look) == 0 {
                self.set.wait(Some(Duration::from_millis(20))).unwrap();
            }
        }
    }

    /// Sends `frames` one after the other from the far end of one wire and returns what arrives at the far end
    /// of the other.
    pub(crate) fn pass(&mut self, from: usize, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let (near, far) = (self.raw(from), self.raw(1 - from));
        let before = self.seen.frames;
        frames.iter().for_each(|frame| near.send(frame));
        self.run_until(|seen| seen.frames >= before + frames.len());
        frames.iter().map(|_| far.receive(DEADLINE).expect("it arrives")).collect()
    }
}
