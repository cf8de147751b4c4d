//! Pods that talk through two workers over bad wires: a deterministic simulation.
//!
//! Everything that happens follows from a seed: what the wires lose, repeat and hold back, which queue a
//! frame comes by, which worker runs next. The trace is a hash over every frame that arrives at a port, with
//! its time.

use std::hash::{DefaultHasher, Hash, Hasher};

use dataplane::QueueOwners;
use packet::Offloads;
use smoltcp::iface::SocketHandle;

use crate::frames::Family;
use crate::pods::{Impairment, Pod, Random};
use crate::rig::{Plan, Rig, assert_balanced};

/// Bytes that each connection carries.
pub(crate) const STREAM_BYTES: usize = 256 * 1024;
/// Datagrams that each pod sends.
pub(crate) const DATAGRAMS: u64 = 200;
/// When a transfer that has not ended never will.
pub(crate) const DEADLINE_MS: u64 = 900_000;

pub(crate) const BAD: Impairment = Impairment { lost: 15, repeated: 10, late: 40 };
pub(crate) const GOOD: Impairment = Impairment { lost: 0, repeated: 0, late: 0 };

/// One TCP connection and what it carries.
pub(crate) struct Transfer {
    from: (usize, SocketHandle),
    to: (usize, SocketHandle),
    pub(crate) payload: Vec<u8>,
    sent: usize,
    pub(crate) received: Vec<u8>,
}

impl Transfer {
    pub(crate) fn new(pods: &mut [Pod], from: usize, to: usize, family: Family, payload: Vec<u8>) -> Self {
        let listener = pods[to].listen(80);
        let remote = pods[to].address(family);
        let caller = pods[from].connect(remote, 80, 40_000 + u16::try_from(to).unwrap());
        Self { from: (from, caller), to: (to, listener), payload, sent: 0, received: Vec::new() }
    }

    pub(crate) fn run(&mut self, pods: &mut [Pod]) {
        let sender = pods[self.from.0].tcp(self.from.1);
        if sender.can_send() && self.sent < self.payload.len() {
            self.sent += sender.send_slice(&self.payload[self.sent..]).unwrap();
        } else if self.sent == self.payload.len() {
            sender.close();
        }
        let receiver = pods[self.to.0].tcp(self.to.1);
        while receiver.can_recv() {
            let received = &mut self.received;
            receiver.recv(|bytes| (bytes.len(), received.extend_from_slice(bytes))).unwrap();
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.received.len() >= self.payload.len()
    }
}

/// Datagrams from one pod to another, each with its number and what follows from it.
pub(crate) struct Chatter {
    from: (usize, SocketHandle),
    to: (usize, SocketHandle),
    family: Family,
    sent: u64,
    /// When the last one was sent.
    ended_ms: u64,
    pub(crate) received: u64,
}

impl Chatter {
    pub(crate) fn new(pods: &mut [Pod], from: usize, to: usize, family: Family, port: u16) -> Self {
        let (sender, receiver) = (pods[from].bind(port), pods[to].bind(port));
        Self { from: (from, sender), to: (to, receiver), family, sent: 0, ended_ms: 0, received: 0 }
    }

    fn payload(number: u64) -> Vec<u8> {
        let length = usize::try_from(8 + number * 7 % 1200).unwrap();
        let mut payload = vec![u8::try_from(number % 251).unwrap(); length];
        payload[..8].copy_from_slice(&number.to_be_bytes());
        payload
    }

    pub(crate) fn run(&mut self, pods: &mut [Pod], port: u16, now_ms: u64) {
        let to = (pods[self.to.0].address(self.family), port);
        let sender = pods[self.from.0].udp(self.from.1);
        if self.sent < DATAGRAMS && sender.send_slice(&Self::payload(self.sent), to).is_ok() {
            self.sent += 1;
            self.ended_ms = now_ms;
        }
        while let Ok((payload, _)) = pods[self.to.0].udp(self.to.1).recv() {
            let number = u64::from_be_bytes(payload[..8].try_into().unwrap());
            assert_eq!(payload, Self::payload(number), "a datagram arrives whole or not at all");
            self.received += 1;
        }
    }

    /// All are sent, and the last ones (which may have waited for a neighbor's answer) had time to arrive.
    pub(crate) fn is_over(&self, now_ms: u64) -> bool {
        self.sent == DATAGRAMS && now_ms > self.ended_ms + 1500
    }
}

/// What a run came to.
#[derive(PartialEq, Eq, Debug)]
struct Outcome {
    trace: u64,
    ended_ms: u64,
    datagrams: Vec<u64>,
}

struct Cluster {
    rig: Rig,
    pods: Vec<Pod>,
    random: Random,
    trace: DefaultHasher,
}

impl Cluster {
    /// Four pods and two workers: ports with a queue for each worker, with one queue, and without offloads.
    fn new(seed: u64, impairment: Impairment) -> Self {
        let plans = [
            Plan::default(),
            Plan { queues: QueueOwners::One(0), ..Plan::with(Offloads::NONE) },
            Plan::owned_by(1),
            Plan::with(Offloads::NONE),
        ];
        let mut rig = Rig::new(2, &plans);
        let pods = std::mem::take(&mut rig.ends).into_iter().zip(&plans).enumerate();
        let pods = pods
            .map(|(number, (end, plan))| {
                let queues = if plan.queues == QueueOwners::All { 2 } else { 1 };
                Pod::new(number, end, queues, impairment, seed)
            })
            .collect();
        Self { rig, pods, random: Random(seed), trace: DefaultHasher::new() }
    }

    /// One millisecond.
    fn tick(&mut self) {
        self.rig.now_ms += 1;
        let now_ms = self.rig.now_ms;
        self.pods.iter_mut().for_each(|pod| pod.run(now_ms));
        for _ in 0..self.random.below(4) {
            let worker = usize::try_from(self.random.below(2)).unwrap();
            self.rig.simulation.step(worker, now_ms);
        }
        let trace = &mut self.trace;
        for (number, pod) in self.pods.iter_mut().enumerate() {
            pod.collect(now_ms, |frame| (now_ms, number, frame).hash(trace));
        }
    }

    /// Three connections and two exchanges of datagrams, all at once.
    fn run(mut self, seed: u64) -> Outcome {
        let mut random = Random(seed);
        let mut payload = || (0..STREAM_BYTES).map(|_| random.draw().to_le_bytes()[0]).collect::<Vec<u8>>();
        let mut transfers = [
            Transfer::new(&mut self.pods, 0, 1, Family::V4, payload()),
            Transfer::new(&mut self.pods, 1, 2, Family::V6, payload()),
            Transfer::new(&mut self.pods, 3, 0, Family::V4, payload()),
        ];
        let ports = [7001, 7002];
        let mut chatters = [
            Chatter::new(&mut self.pods, 2, 3, Family::V4, ports[0]),
            Chatter::new(&mut self.pods, 3, 1, Family::V6, ports[1]),
        ];
        while transfers.iter().any(|transfer| !transfer.is_over())
            || chatters.iter().any(|chatter| !chatter.is_over(self.rig.now_ms))
        {
            assert!(self.rig.now_ms < DEADLINE_MS, "seed {seed}: the connections have come to rest");
            transfers.iter_mut().for_each(|transfer| transfer.run(&mut self.pods));
            chatters
                .iter_mut()
                .zip(ports)
                .for_each(|(chatter, port)| chatter.run(&mut self.pods, port, self.rig.now_ms));
            self.tick();
        }
        for transfer in &transfers {
            assert_eq!(digest(&transfer.received), digest(&transfer.payload), "seed {seed}");
        }
        self.rig.run();
        assert_balanced(self.rig.counters(), &self.rig.entries);
        assert!(self.rig.sum(|counters| counters.handed_off.get()) > 0);
        let datagrams = chatters.iter().map(|chatter| chatter.received).collect();
        Outcome { trace: self.trace.finish(), ended_ms: self.rig.now_ms, datagrams }
    }
}

pub(crate) fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

fn outcome(seed: u64, impairment: Impairment) -> Outcome {
    Cluster::new(seed, impairment).run(seed)
}

#[test]
fn pods_move_tcp_and_udp_through_two_workers_over_bad_wires() {
    for seed in 1..=24 {
        let outcome = outcome(seed, BAD);
        for received in outcome.datagrams {
            assert!(received > DATAGRAMS / 2, "seed {seed}: {received} datagrams");
        }
    }
}

#[test]
fn over_good_wires_every_datagram_arrives_once() {
    let outcome = outcome(9, GOOD);
    assert!(outcome.datagrams.iter().all(|received| *received == DATAGRAMS), "{outcome:?}");
}

#[test]
fn the_same_seed_makes_the_same_trace_and_another_one_another() {
    let first = outcome(5, BAD);
    assert_eq!(outcome(5, BAD), first);
    assert_ne!(outcome(6, BAD).trace, first.trace);
}
