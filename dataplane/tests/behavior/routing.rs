//! What the router does to packets.

use dataplane::{LinkId, Punt};
use packet::{DropReason, Offload, arp, icmpv6};
use router::neighbor::Message;
use std::net::{IpAddr, Ipv4Addr};

use crate::frames::{FAMILIES, Family, address, checked_payload, mac, pattern, super_frame};
use crate::rig::{Plan, port};
use crate::routed::{
    GATEWAY, HOST, NEXT_HOP, NODE, Routed, UPLINK, datagram, inbound, macs, next_hop, node, outbound, remote,
    routed, text,
};

#[test]
fn a_packet_to_another_network_leaves_by_the_uplink_to_the_next_hop() {
    for family in FAMILIES {
        let mut routed_rig = Routed::new();
        let rig = &mut routed_rig.rig;
        let frame = outbound(family, b"out");
        rig.send(0, &frame);
        rig.run();
        assert_eq!(rig.frames(UPLINK), [routed(&frame, NODE, NEXT_HOP)]);
        assert_eq!(checked_payload(&routed(&frame, NODE, NEXT_HOP)), b"out");
        assert!(rig.frames(HOST).is_empty());
        rig.assert_balanced();
    }
}

#[test]
fn a_packet_from_outside_reaches_its_pod_from_the_gateway() {
    for family in FAMILIES {
        let mut routed_rig = Routed::new();
        let rig = &mut routed_rig.rig;
        let frame = inbound(family, b"in");
        rig.send(UPLINK, &frame);
        rig.run();
        assert_eq!(rig.frames(1), [routed(&frame, GATEWAY, 1)]);
        assert_eq!(rig.sum(|counters| counters.consumed.get()), 0);
        rig.assert_balanced();
    }
}

#[test]
fn what_is_the_kernel_s_on_the_uplink_is_left_to_it() {
    let mut routed_rig = Routed::new();
    let rig = &mut routed_rig.rig;
    let family = Family::V4;
    let (remote, pod) = (remote(family), address(1, family));
    let frames = [
        // For the node, for its gateway address, for somebody behind the node's own routes, for another station.
        datagram((NEXT_HOP, NODE), (remote, node(family)), b""),
        datagram((NEXT_HOP, NODE), (remote, address(GATEWAY, family)), b""),
        datagram((NEXT_HOP, NODE), (remote, text("10.96.0.10")), b""),
        datagram((NEXT_HOP, NODE), (remote, text("10.8.0.1")), b""),
        datagram((NEXT_HOP, 99), (remote, pod), b""),
        arp::request(end(NEXT_HOP, next_hop(family)), v4(node(family))).to_vec(),
    ];
    for frame in &frames {
        rig.send(UPLINK, frame);
    }
    rig.run();
    assert_eq!(rig.sum(|counters| counters.consumed.get()), frames.len() as u64);
    for port in 0..4 {
        assert!(rig.frames(port).is_empty());
    }
    assert!(rig.fdb.entries(0).iter().all(|entry| entry.mac != mac(NEXT_HOP)), "nothing is learned there");
    rig.assert_balanced();
}

#[test]
fn broadcasts_of_pods_do_not_leave_by_the_uplink() {
    let mut routed_rig = Routed::new();
    let rig = &mut routed_rig.rig;
    rig.send(0, &crate::frames::broadcast(0, b""));
    rig.run();
    assert_eq!((rig.frames(1).len(), rig.frames(HOST).len(), rig.frames(UPLINK).len()), (1, 1, 0));
}

#[test]
fn what_is_for_the_node_goes_to_the_host_port_as_it_came() {
    let mut routed_rig = Routed::new();
    let rig = &mut routed_rig.rig;
    let ends = |to: &str| (address(0, Family::V4), text(to));
    let link_local = (text("fe80::1"), text("fe80::2"));
    let frames = [
        datagram((0, GATEWAY), ends("10.0.0.254"), b"gateway"),
        datagram((0, GATEWAY), ends("192.168.0.11"), b"node"),
        datagram((0, GATEWAY), ends("10.96.0.10"), b"service"),
        datagram((0, GATEWAY), ends("169.254.20.10"), b"node-local DNS"),
        datagram((0, GATEWAY), link_local, b"link-local"),
    ];
    for frame in &frames {
        rig.send(0, frame);
    }
    rig.run();
    assert_eq!(rig.frames(HOST), frames);
    rig.assert_balanced();
}

#[test]
fn the_gateway_answers_arp_and_solicitations_for_its_addresses_and_no_others() {
    let mut routed_rig = Routed::new();
    let asker = end(0, address(0, Family::V4));
    let gateway = end(GATEWAY, address(GATEWAY, Family::V4));
    routed_rig.rig.send(0, &arp::request(asker, gateway.address));
    routed_rig.rig.run();
    assert_eq!(routed_rig.rig.frames(0), [arp::reply(gateway, asker).to_vec()]);
    assert!(routed_rig.rig.frames(HOST).is_empty(), "nobody else is asked");
    let heard = Message::Solicitation {
        target: gateway.address.into(),
        asker: asker.address.into(),
        mac: Some(mac(0)),
    };
    assert_eq!(routed_rig.punts(), [Punt::Heard { link: LinkId::Bridge, port: port(0), message: heard }]);

    // Of the node's other addresses the host itself decides whether it tells.
    let other = arp::request(asker, v4(node(Family::V4)));
    routed_rig.rig.send(0, &other);
    routed_rig.rig.run();
    assert!(routed_rig.rig.frames(0).is_empty());
    assert_eq!(routed_rig.rig.frames(HOST), [other.to_vec()]);
    let counters = routed_rig.rig.simulation.counters(0);
    assert_eq!((counters.consumed.get(), counters.originated.get()), (1, 1));
    routed_rig.rig.assert_balanced();
}

#[test]
fn an_answer_of_a_neighbor_is_told_and_reaches_the_host_too() {
    let mut routed_rig = Routed::new();
    let pod = end(0, address(0, Family::V4));
    let reply = arp::reply(pod, end(GATEWAY, address(GATEWAY, Family::V4)));
    routed_rig.rig.send(0, &reply);
    routed_rig.rig.run();
    assert_eq!(routed_rig.rig.frames(HOST), [reply.to_vec()]);
    let message = Message::Advertisement {
        target: pod.address.into(),
        mac: Some(mac(0)),
        solicited: true,
        overrides: true,
    };
    assert_eq!(routed_rig.punts(), [Punt::Heard { link: LinkId::Bridge, port: port(0), message }]);
}

#[test]
fn who_claims_the_gateway_s_address_is_told_of() {
    let mut routed_rig = Routed::new();
    let gateway = address(GATEWAY, Family::V4);
    routed_rig.rig.send(0, &arp::gratuitous(mac(0), v4(gateway)));
    let IpAddr::V6(gateway_v6) = address(GATEWAY, Family::V6) else { unreachable!() };
    routed_rig.rig.send(0, &icmpv6::unsolicited_neighbor_advertisement(mac(0), gateway_v6, false));
    routed_rig.rig.run();
    let conflict = |address| Punt::Conflict { link: LinkId::Bridge, port: port(0), address };
    assert_eq!(routed_rig.punts(), [conflict(gateway), conflict(gateway_v6.into())]);
}

#[test]
fn packets_wait_for_their_neighbor_and_leave_in_their_order() {
    for link in LinkId::ALL {
        let mut routed_rig = Routed::new();
        let (wanted, from, to, out) = match link {
            LinkId::Uplink => (text("192.168.0.77"), (0, GATEWAY), text("192.168.0.77"), UPLINK),
            LinkId::Bridge => (text("10.0.0.77"), (NEXT_HOP, NODE), text("10.0.0.77"), 1),
        };
        let (source, ingress) = match link {
            LinkId::Uplink => (address(0, Family::V4), 0),
            LinkId::Bridge => (remote(Family::V4), UPLINK),
        };
        let frames: Vec<_> = (0..70).map(|n| datagram(from, (source, to), &[n])).collect();
        for frame in &frames {
            routed_rig.rig.send(ingress, frame);
        }
        routed_rig.rig.run();
        assert_eq!(routed_rig.punts(), [Punt::Wanted { link, address: wanted, asker: port(ingress) }]);
        assert!(routed_rig.rig.frames(out).is_empty());
        assert_eq!(routed_rig.rig.sum(|counters| counters.received.get()), 0, "they are not settled yet");
        // A snapshot that knows nothing new changes nothing.
        routed_rig.publish();
        routed_rig.rig.run();
        assert!(routed_rig.rig.frames(out).is_empty());
        // One more comes in the same round in which the neighbor is known.
        routed_rig.find(link, wanted, 77, out);
        let last = datagram(from, (source, to), b"last");
        routed_rig.rig.send(ingress, &last);
        routed_rig.rig.run();
        let own = if link == LinkId::Uplink { NODE } else { GATEWAY };
        let expected: Vec<_> = frames.iter().chain([&last]).map(|frame| routed(frame, own, 77)).collect();
        assert_eq!(routed_rig.rig.frames(out), expected);
        routed_rig.rig.assert_balanced();
        assert_eq!(routed_rig.rig.dropped(DropReason::NeighborUnresolved), 0);
    }
}

#[test]
fn who_waits_in_vain_is_told_that_the_host_is_unreachable() {
    for given_up in [true, false] {
        let mut routed_rig = Routed::new();
        let wanted = text("192.168.0.77");
        routed_rig.rig.send(0, &datagram((0, GATEWAY), (address(0, Family::V4), wanted), b"hello"));
        routed_rig.rig.run();
        if given_up {
            routed_rig.give_up(LinkId::Uplink, wanted);
        } else {
            // Nobody answers the worker: it gives up by itself.
            routed_rig.rig.now_ms = 3_999;
            routed_rig.rig.run();
            assert!(routed_rig.rig.frames(0).is_empty());
            routed_rig.rig.now_ms = 4_000;
        }
        routed_rig.rig.run();
        let errors = routed_rig.rig.frames(0);
        assert_eq!(errors.len(), 1);
        assert_eq!(macs(&errors[0]), (mac(0), mac(GATEWAY)));
        assert_eq!(errors[0][26..30], [10, 0, 0, 254]);
        assert_eq!(errors[0][34..36], [3, 1]);
        routed_rig.rig.assert_only_drops(DropReason::NeighborUnresolved, 1);
        routed_rig.rig.assert_balanced();
    }
}

#[test]
fn a_neighbor_s_queue_is_bounded_and_its_oldest_make_room() {
    let mut routed_rig = Routed::new();
    let wanted = text("192.168.0.77");
    let frames: Vec<_> =
        (0..120).map(|n| datagram((0, GATEWAY), (address(0, Family::V4), wanted), &[n])).collect();
    for frame in &frames {
        routed_rig.rig.send(0, frame);
    }
    routed_rig.rig.run();
    routed_rig.rig.assert_only_drops(DropReason::NeighborQueueFull, 19);
    routed_rig.find(LinkId::Uplink, wanted, 77, UPLINK);
    routed_rig.rig.run();
    let expected: Vec<_> = frames[19..].iter().map(|frame| routed(frame, NODE, 77)).collect();
    assert_eq!(routed_rig.rig.frames(UPLINK), expected);
    routed_rig.rig.assert_balanced();
}

#[test]
fn a_packet_whose_time_ends_here_tells_where_to_a_tracing_sender() {
    for family in FAMILIES {
        let mut routed_rig = Routed::new();
        let mut frame = outbound(family, b"trace");
        let hops = if family == Family::V4 { 22 } else { 21 };
        frame[hops] = 1;
        if family == Family::V4 {
            frame[24..26].fill(0);
            let sum = packet::checksum::of(&frame[14..34]);
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        routed_rig.rig.send(0, &frame);
        routed_rig.rig.run();
        let errors = routed_rig.rig.frames(0);
        let at = if family == Family::V4 { 34 } else { 54 };
        let kind = if family == Family::V4 { 11 } else { 3 };
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0][at..at + 2], [kind, 0]);
        assert_eq!(errors[0][at + 8..], frame[14..], "the packet is quoted as it came");
        routed_rig.rig.assert_only_drops(DropReason::TtlExpired, 1);
    }
}

#[test]
fn a_packet_that_is_too_long_is_fragmented_or_its_sender_told_of_the_mtu() {
    let small = Plan { mtu_bytes: 1280, ..Plan::default() };
    let mut routed_rig = Routed::with(1, small);
    let payload = pattern(1400);
    let mut frame = outbound(Family::V4, &payload);
    // No DF.
    frame[20] = 0;
    frame[24..26].fill(0);
    let sum = packet::checksum::of(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    routed_rig.rig.send(0, &frame);
    routed_rig.rig.run();
    let fragments = routed_rig.rig.frames(UPLINK);
    assert_eq!(fragments.len(), 2);
    assert!(fragments.iter().all(|fragment| fragment.len() <= 1294 && fragment[22] == 63));
    let joined: Vec<u8> = fragments.iter().flat_map(|fragment| fragment[34..].to_vec()).collect();
    assert_eq!(joined, frame[34..]);
    // IPv6 never.
    routed_rig.rig.send(0, &outbound(Family::V6, &payload));
    routed_rig.rig.run();
    let errors = routed_rig.rig.frames(0);
    assert_eq!(errors[0][54..56], [2, 0]);
    assert_eq!(errors[0][58..62], 1280_u32.to_be_bytes());
    routed_rig.rig.assert_only_drops(DropReason::PacketTooBig, 1);
    routed_rig.rig.assert_balanced();
}

#[test]
fn a_super_frame_whose_segments_fit_passes_whole() {
    for family in FAMILIES {
        let mut routed_rig = Routed::new();
        let (mut frame, offload) = super_frame(0, GATEWAY, family, 6, &pattern(20_000), 1400);
        let at = if family == Family::V4 { 30 } else { 38 };
        match remote(family) {
            IpAddr::V4(to) => {
                frame[at..at + 4].copy_from_slice(&to.octets());
                frame[24..26].fill(0);
                let sum = packet::checksum::of(&frame[14..34]);
                frame[24..26].copy_from_slice(&sum.to_be_bytes());
            }
            IpAddr::V6(to) => frame[at..at + 16].copy_from_slice(&to.octets()),
        }
        routed_rig.rig.send_unfinished(0, &frame, offload);
        routed_rig.rig.run();
        assert_eq!(routed_rig.rig.received(UPLINK), [(routed(&frame, NODE, NEXT_HOP), offload)]);
    }
}

#[test]
fn service_traffic_returns_by_the_host_port() {
    for has_router in [true, false] {
        let mut routed_rig = Routed::new();
        let rig = &mut routed_rig.rig;
        if !has_router {
            rig.routing = None;
            rig.publish();
        }
        let (client, server) = (address(0, Family::V4), address(1, Family::V4));
        // Pod 1 answers pod 0 directly, until the host has spoken for pod 0.
        let mut reply = datagram((1, 0), (server, client), b"answer");
        reply[34..38].rotate_left(2);
        reply[40..42].fill(0);
        let direct = reply.clone();
        rig.send(1, &direct);
        rig.run();
        assert_eq!(rig.frames(0), std::slice::from_ref(&direct));
        rig.send(HOST, &datagram((GATEWAY, 1), (client, server), b"question"));
        rig.run();
        assert_eq!(rig.frames(1).len(), 1);
        rig.send(1, &reply);
        rig.run();
        reply[..6].copy_from_slice(&mac(GATEWAY).0);
        assert_eq!((rig.frames(0), rig.frames(HOST)), (vec![], vec![reply]));
        // The other direction, and other flows, are as they were.
        let other = datagram((1, 0), (server, client), b"another flow");
        rig.send(1, &other);
        rig.run();
        assert_eq!(rig.frames(0), [other]);
        rig.assert_balanced();
    }
}

#[test]
fn what_the_host_says_for_itself_pins_nothing() {
    let mut routed_rig = Routed::new();
    let rig = &mut routed_rig.rig;
    let (host, pod) = (node(Family::V4), address(1, Family::V4));
    rig.send(HOST, &datagram((GATEWAY, 1), (host, pod), b"probe"));
    rig.send(HOST, &datagram((GATEWAY, 1), (address(GATEWAY, Family::V4), pod), b"probe"));
    rig.run();
    assert_eq!(rig.frames(1).len(), 2);
    // The same five-tuple from elsewhere: it would be pinned if it had been.
    let (frame, _) = (datagram((1, GATEWAY), (pod, remote(Family::V4)), b"out"), ());
    rig.send(1, &frame);
    rig.run();
    assert_eq!(rig.frames(UPLINK).len(), 1);
}

#[test]
fn an_answer_to_a_node_port_from_outside_returns_by_the_host_port() {
    let mut routed_rig = Routed::new();
    let rig = &mut routed_rig.rig;
    let (client, pod) = (remote(Family::V4), address(1, Family::V4));
    // The kernel has translated the destination and routed the packet to the pod.
    rig.send(HOST, &datagram((GATEWAY, 1), (client, pod), b"question"));
    rig.run();
    let mut reply = datagram((1, GATEWAY), (pod, client), b"answer");
    reply[34..38].rotate_left(2);
    reply[40..42].fill(0);
    rig.send(1, &reply);
    rig.run();
    assert_eq!(rig.frames(HOST), [reply], "untouched");
    assert!(rig.frames(UPLINK).is_empty());
}

#[test]
fn an_answer_from_another_node_to_what_the_kernel_sent_for_a_pod_returns_by_the_host_port() {
    let mut routed_rig = Routed::new();
    let rig = &mut routed_rig.rig;
    let (pod, far) = (address(1, Family::V4), remote(Family::V4));
    let mut reply = datagram((NEXT_HOP, NODE), (far, pod), b"answer");
    reply[34..38].rotate_left(2);
    reply[40..42].fill(0);
    rig.send(UPLINK, &reply);
    rig.run();
    assert_eq!(rig.frames(1).len(), 1, "a stranger's packet is routed");
    // The kernel has translated the pod's packet to a service, and sends it by the uplink itself.
    rig.send(UPLINK, &datagram((NODE, NEXT_HOP), (pod, far), b"question"));
    rig.send(UPLINK, &reply);
    rig.run();
    reply[..6].copy_from_slice(&mac(GATEWAY).0);
    assert_eq!((rig.frames(HOST), rig.frames(1)), (vec![reply], vec![]), "untouched");
    rig.assert_balanced();
}

#[test]
fn a_redirect_of_the_host_s_kernel_does_not_reach_a_pod() {
    let mut routed_rig = Routed::new();
    let rig = &mut routed_rig.rig;
    let mut redirect =
        datagram((GATEWAY, 1), (address(GATEWAY, Family::V4), address(1, Family::V4)), &[0; 40]);
    redirect[23] = 1;
    redirect[34..36].copy_from_slice(&[5, 1]);
    redirect[24..26].fill(0);
    let sum = packet::checksum::of(&redirect[14..34]);
    redirect[24..26].copy_from_slice(&sum.to_be_bytes());
    rig.send(HOST, &redirect);
    rig.run();
    rig.assert_only_drops(DropReason::HostRedirect, 1);
}

#[test]
fn without_a_host_port_the_gateway_answers_echo_requests_itself() {
    let mut routed_rig = Routed::new();
    routed_rig.has_host = false;
    routed_rig.publish();
    let rig = &mut routed_rig.rig;
    let request = datagram((0, GATEWAY), (address(0, Family::V4), address(GATEWAY, Family::V4)), b"no echo");
    rig.send(0, &request);
    rig.run();
    rig.assert_only_drops(DropReason::NotForGateway, 1);
    assert_eq!(rig.received(0), [] as [(Vec<u8>, Offload); 0]);
}

fn v4(address: IpAddr) -> Ipv4Addr {
    let IpAddr::V4(address) = address else { panic!("{address} is not IPv4") };
    address
}

fn end(station: usize, address: IpAddr) -> arp::End {
    arp::End { mac: mac(station), address: v4(address) }
}
