//! Whatever comes, in whatever order the workers run: nothing is lost without a name, and nothing panics.

use dataplane::QueueOwners;
use packet::protocol::ip_protocol::{ICMP, TCP, UDP};
use packet::{
    ChecksumOffload, DropReason, MacAddress, Offload, Offloads, Segmentation, SegmentationKind, build,
};
use proptest::prelude::*;
use switch::Binding;

use crate::frames::{Family, address, link, mac, tuple};
use crate::rig::{Plan, Rig};

const PORTS: usize = 5;

#[derive(Clone, Debug)]
enum Event {
    Send { port: usize, queue: usize, frame: Vec<u8>, offload: Offload },
    Step { worker: usize },
    SetUp { port: usize, up: bool },
    Wait { ms: u64 },
    Read { port: usize },
}

fn offloads() -> impl Strategy<Value = Offloads> {
    (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>())
        .prop_map(|(checksum, tso4, tso6, tso_ecn, uso)| Offloads { checksum, tso4, tso6, tso_ecn, uso })
}

fn plan(workers: usize) -> impl Strategy<Value = Plan> {
    let queues = prop_oneof![Just(QueueOwners::All), (0..workers).prop_map(QueueOwners::One)];
    let mtu_bytes = prop_oneof![Just(1500), Just(600), Just(9000)];
    (offloads(), queues, mtu_bytes, 4..100_usize, any::<bool>()).prop_map(
        |(offloads, queues, mtu_bytes, frames_max, up)| Plan {
            queues,
            mtu_bytes,
            frames_max,
            up,
            ..Plan::with(offloads)
        },
    )
}

fn offload() -> impl Strategy<Value = Offload> {
    let checksum = prop_oneof![
        Just(ChecksumOffload::None),
        Just(ChecksumOffload::Valid),
        (prop_oneof![Just(34), Just(54), Just(14), 0..200_u16], prop_oneof![Just(16), Just(6), 0..200_u16])
            .prop_map(|(start, offset)| ChecksumOffload::Partial { start, offset }),
    ];
    let kind = prop_oneof![
        Just(SegmentationKind::TcpV4),
        Just(SegmentationKind::TcpV6),
        Just(SegmentationKind::Udp)
    ];
    let segmentation = prop::option::of((kind, 1..2000_u16, any::<bool>()))
        .prop_map(|some| some.map(|(kind, size_bytes, ecn)| Segmentation { kind, size_bytes, ecn }));
    (checksum, segmentation).prop_map(|(checksum, segmentation)| Offload { checksum, segmentation })
}

/// A frame between stations, with what its sender left to do; then perhaps not quite.
fn sound_frame() -> impl Strategy<Value = (Vec<u8>, Offload)> {
    let family = prop_oneof![Just(Family::V4), Just(Family::V6)];
    let protocol = prop_oneof![Just(TCP), Just(UDP), Just(ICMP)];
    let length = prop_oneof![Just(18), 0..3000_usize, 20_000..40_000_usize];
    (0..PORTS + 2, 0..PORTS + 2, family, protocol, length, 0..5_u8, 8..3000_u16).prop_map(
        |(from, to, family, protocol, length, left, size_bytes)| {
            let (mut link, tuple) = (link(from, to), tuple(from, to, family, protocol));
            if to > PORTS {
                link.destination = MacAddress::BROADCAST;
            }
            let payload = vec![7; length];
            let unfinished = build::super_frame(link, &tuple, &payload, size_bytes);
            let finished = || (build::frame(link, &tuple, &payload).unwrap(), Offload::NONE);
            match unfinished {
                Some(whole) if left == 0 => whole,
                Some((frame, offload)) if left < 3 => (frame, Offload { segmentation: None, ..offload }),
                _ => finished(),
            }
        },
    )
}

fn frame() -> impl Strategy<Value = (Vec<u8>, Offload)> {
    prop_oneof![
        6 => sound_frame(),
        2 => (sound_frame(), prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4))
            .prop_map(|((mut frame, offload), spoiled)| {
                for (at, byte) in spoiled {
                    *at.get_mut(&mut frame) = byte;
                }
                (frame, offload)
            }),
        1 => (sound_frame(), offload()).prop_map(|((frame, _), offload)| (frame, offload)),
        1 => (prop::collection::vec(any::<u8>(), 0..200), offload()),
    ]
}

fn event(workers: usize) -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => (0..PORTS, 0..workers, frame())
            .prop_map(|(port, queue, (frame, offload))| Event::Send { port, queue, frame, offload }),
        6 => (0..workers).prop_map(|worker| Event::Step { worker }),
        1 => (0..PORTS, any::<bool>()).prop_map(|(port, up)| Event::SetUp { port, up }),
        1 => (0..200_000_u64).prop_map(|ms| Event::Wait { ms }),
        2 => (0..PORTS).prop_map(|port| Event::Read { port }),
    ]
}

fn scene() -> impl Strategy<Value = (usize, Vec<Plan>, bool, Vec<Event>)> {
    (1..=3_usize).prop_flat_map(|workers| {
        let plans = prop::collection::vec(plan(workers), PORTS);
        (Just(workers), plans, any::<bool>(), prop::collection::vec(event(workers), 1..150))
    })
}

/// Lets it happen; returns how many frames were accepted for sending.
fn play(rig: &mut Rig, events: Vec<Event>) -> u64 {
    let mut sent = 0;
    for event in events {
        match event {
            Event::Send { port, queue, frame, offload } => {
                sent += u64::from(rig.ends[port].send_on(queue, &frame, offload).is_ok());
            }
            Event::Step { worker } => _ = rig.simulation.step(worker, rig.now_ms),
            Event::SetUp { port, up } => rig.change(port, |entry| entry.up = up),
            Event::Wait { ms } => rig.now_ms += ms,
            Event::Read { port } => drop(rig.received(port)),
        }
    }
    sent
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn received_is_forwarded_and_consumed_and_dropped((workers, mut plans, bound, events) in scene()) {
        if bound {
            let addresses = [Family::V4, Family::V6].map(|family| address(0, family)).into();
            plans[0].binding = Some(Binding { mac: mac(0), addresses });
        }
        let mut rig = Rig::with_buffers(workers, &plans, 80);
        let sent = play(&mut rig, events);
        rig.run();
        rig.assert_balanced();
        prop_assert_eq!(rig.sum(|counters| counters.received.get()), sent);
        // No port was ever sent what it does not take.
        prop_assert_eq!(rig.dropped(DropReason::TxError), 0);
        prop_assert!(rig.ends.iter().all(|end| end.receive_with(|frame, _| assert!(frame.len() >= 14)) < 101));
    }
}
