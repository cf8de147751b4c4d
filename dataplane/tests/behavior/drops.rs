//! Every reason for a drop, brought about once and counted under its name.

use packet::protocol::ip_protocol::{TCP, UDP};
use packet::{ChecksumOffload, DropReason, FRAME_BYTES_MAX, MacAddress, Offload, Offloads};
use packet::{arp, build, icmpv6};
use switch::Binding;

use crate::frames::{Family, STRANGER, address, broadcast, link, mac, pattern, super_frame, tuple, udp};
use crate::rig::{Plan, Rig, port};
use crate::{routed, routed_drops};

/// Two open ports.
fn open() -> Rig {
    let mut rig = Rig::new(1, &vec![Plan::default(); 2]);
    rig.introduce();
    rig
}

/// Station 0's port is bound to it.
fn bound() -> Rig {
    let addresses = vec![address(0, Family::V4), address(0, Family::V6)];
    let binding = Some(Binding { mac: mac(0), addresses });
    let mut rig = Rig::new(1, &[Plan { binding, ..Plan::default() }, Plan::default()]);
    rig.introduce();
    rig
}

/// Station 0 sends UDP with these ports.
fn with_ports(source_port: u16, destination_port: u16) -> Vec<u8> {
    let mut tuple = tuple(0, 1, Family::V4, UDP);
    (tuple.source_port, tuple.destination_port) = (source_port, destination_port);
    build::frame(link(0, 1), &tuple, &[0; 300]).unwrap()
}

/// An ICMPv6 message of station 0 to station 1, its checksum left wrong: security does not look at it.
fn icmpv6_message(kind: u8) -> Vec<u8> {
    let tuple = tuple(0, 1, Family::V6, 58);
    let mut frame = build::frame(link(0, 1), &tuple, &[0; 24]).unwrap();
    frame[54] = kind;
    frame[21] = 255;
    frame
}

/// A switch that has just dropped one frame for this reason.
fn having_dropped(reason: DropReason) -> Rig {
    match reason {
        DropReason::Truncated => send(open(), &[1; 13]),
        DropReason::Oversized => send(open(), &[2; FRAME_BYTES_MAX + 1]),
        DropReason::BadOffload => {
            let checksum = ChecksumOffload::Partial { start: 14, offset: 10 };
            send_unfinished(open(), &udp(0, 1, b""), Offload { checksum, segmentation: None })
        }
        DropReason::IngressDown => {
            let mut rig = open();
            rig.change(0, |entry| entry.up = false);
            send(rig, &udp(0, 1, b""))
        }
        DropReason::SpoofedSource => send(bound(), &udp(STRANGER, 1, b"")),
        DropReason::SpoofedAddress => {
            let frame = build::frame(link(0, 1), &tuple(STRANGER, 1, Family::V4, UDP), b"").unwrap();
            send(bound(), &frame)
        }
        DropReason::SpoofedArp => {
            let std::net::IpAddr::V4(other) = address(1, Family::V4) else { unreachable!("asked for IPv4") };
            send(bound(), &arp::gratuitous(mac(0), other))
        }
        DropReason::SpoofedNd => {
            let std::net::IpAddr::V6(other) = address(1, Family::V6) else { unreachable!("asked for IPv6") };
            let mut frame = icmpv6::unsolicited_neighbor_advertisement(mac(0), other, false).to_vec();
            let std::net::IpAddr::V6(own) = address(0, Family::V6) else { unreachable!("asked for IPv6") };
            frame[22..38].copy_from_slice(&own.octets());
            send(bound(), &frame)
        }
        DropReason::RouterAdvertisement => send(bound(), &icmpv6_message(134)),
        DropReason::DhcpServer => send(bound(), &with_ports(67, 68)),
        DropReason::Unverifiable => {
            let mut frame = udp(0, 1, b"");
            frame[14] = 0x4f;
            send(bound(), &frame)
        }
        DropReason::InvalidSource => {
            let mut frame = udp(0, 1, b"");
            frame[6] |= 1;
            send(open(), &frame)
        }
        DropReason::ProtectedMac => {
            let rig = open();
            rig.fdb.add_static(mac(7), port(1)).unwrap();
            send(rig, &udp(7, 1, b""))
        }
        DropReason::ReservedGroup => {
            let mut frame = udp(0, 1, b"");
            frame[..6].copy_from_slice(&MacAddress([1, 0x80, 0xc2, 0, 0, 0xe]).0);
            send(open(), &frame)
        }
        DropReason::SamePort => send(open(), &udp(5, 0, b"")),
        DropReason::NoEgress => {
            let mut rig = open();
            rig.change(1, |entry| entry.up = false);
            send(rig, &broadcast(0, b""))
        }
        DropReason::AnswerLimit
        | DropReason::HostRedirect
        | DropReason::BadIpHeader
        | DropReason::BadIpChecksum
        | DropReason::BadIpOptions
        | DropReason::SourceRoute
        | DropReason::LinkBroadcast
        | DropReason::MartianSource
        | DropReason::MartianDestination
        | DropReason::MulticastNotRouted
        | DropReason::DirectedBroadcast
        | DropReason::TtlExpired
        | DropReason::ReversePath
        | DropReason::NoRoute
        | DropReason::RouteBlackhole
        | DropReason::RouteProhibited
        | DropReason::RouteUnreachable
        | DropReason::PacketTooBig
        | DropReason::BadNeighborMessage
        | DropReason::BadEcho
        | DropReason::NotForGateway
        | DropReason::NeighborUnresolved
        | DropReason::NeighborQueueFull => routed_drops::having_dropped(reason),
        DropReason::EgressDown => {
            let mut rig = open();
            rig.change(1, |entry| entry.up = false);
            send(rig, &udp(0, 1, b""))
        }
        DropReason::EgressMtu => send(open(), &udp(0, 1, &pattern(1600))),
        DropReason::Unsegmentable => {
            // One segment would be as long as the whole, and its IP packet longer than a length field says.
            let rig = Rig::new(1, &[Plan::default(), Plan::with(Offloads::NONE)]);
            let (frame, offload) = super_frame(0, 1, Family::V4, UDP, &pattern(65_507), 65_507);
            send_unfinished(rig, &frame, offload)
        }
        DropReason::TxQueueFull => {
            let rig = Rig::new(1, &[Plan::default(), Plan { frames_max: 0, ..Plan::default() }]);
            send(rig, &udp(0, 1, b""))
        }
        DropReason::TxError => {
            let lying = Plan { really: Offloads::NONE, ..Plan::default() };
            let (frame, offload) = super_frame(0, 1, Family::V4, TCP, &pattern(3000), 1000);
            send_unfinished(Rig::new(1, &[Plan::default(), lying]), &frame, offload)
        }
        DropReason::HandoffFull => {
            let mut rig = Rig::new(2, &[Plan::owned_by(0), Plan::owned_by(1)]);
            rig.introduce();
            // The other worker does not run; what it is handed in the end is not dropped.
            while rig.dropped(DropReason::HandoffFull) == 0 {
                rig.send(0, &udp(0, 1, b""));
                rig.simulation.step(0, 0);
            }
            rig
        }
        DropReason::NoBuffer => {
            // The only buffer holds the super-frame itself.
            let plans = [Plan::default(), Plan::with(Offloads::NONE)];
            let (frame, offload) = super_frame(0, 1, Family::V4, TCP, &pattern(3000), 1000);
            send_unfinished(Rig::with_buffers(1, &plans, 1), &frame, offload)
        }
    }
}

fn send(rig: Rig, frame: &[u8]) -> Rig {
    send_unfinished(rig, frame, Offload::NONE)
}

fn send_unfinished(rig: Rig, frame: &[u8], offload: Offload) -> Rig {
    rig.send_unfinished(0, frame, offload);
    rig
}

#[test]
fn every_reason_is_counted_under_its_name_and_nothing_else_is() {
    for reason in DropReason::ALL.iter().filter(|reason| !routed_drops::CANNOT_OCCUR.contains(reason)) {
        let mut rig = having_dropped(*reason);
        rig.run();
        rig.assert_only_drops(*reason, 1);
        rig.assert_balanced();
        let from = if *reason == DropReason::HostRedirect { routed::HOST } else { 0 };
        assert_eq!(rig.totals(from).rx_dropped, 1, "{}", reason.name());
        let needs_others = matches!(reason, DropReason::HandoffFull | DropReason::NeighborQueueFull);
        if !needs_others {
            assert_eq!(rig.sum(|counters| counters.forwarded.get()), 0, "{}", reason.name());
            assert!(rig.received(1).is_empty(), "{}", reason.name());
        }
    }
}

#[test]
fn nothing_is_learned_from_what_security_drops() {
    for reason in [DropReason::SpoofedSource, DropReason::BadOffload, DropReason::IngressDown] {
        let mut rig = having_dropped(reason);
        rig.fdb.flush(None);
        rig.run();
        assert!(rig.fdb.is_empty(), "{}", reason.name());
    }
}

#[test]
fn a_copy_that_cannot_be_sent_does_not_make_the_frame_a_drop() {
    let full = Plan { frames_max: 0, ..Plan::default() };
    let mut rig = Rig::new(1, &[Plan::default(), full, Plan::default()]);
    rig.send(0, &broadcast(0, b""));
    rig.run();
    assert_eq!(rig.frames(2).len(), 1);
    let worker = rig.simulation.counters(0);
    assert_eq!((worker.forwarded.get(), worker.copies.get(), worker.copies_dropped.get()), (1, 0, 1));
    assert_eq!(rig.totals(1).tx_dropped, 1);
    rig.assert_balanced();
}

#[test]
fn a_super_frame_is_exempt_from_the_mtu_and_a_tag_does_not_count() {
    let mut rig = open();
    let (frame, offload) = super_frame(0, 1, Family::V4, TCP, &pattern(9000), 1448);
    rig.send_unfinished(0, &frame, offload);
    let mut tagged = udp(0, 1, &pattern(1472));
    tagged.splice(12..12, [0x81, 0, 0, 7]);
    rig.send(0, &tagged);
    rig.run();
    assert_eq!(rig.received(1), [(frame, offload), (tagged, Offload::NONE)]);
}
