//! In steady state, routing a burst allocates nothing: whatever it asks of the router.

use dataplane::LinkId;
use packet::protocol::ip_protocol::{ICMP, TCP};
use packet::{BURST_FRAMES, DropReason, FiveTuple, Offload, Offloads, arp, build};

use crate::counting::allocations_in;
use crate::frames::{FAMILIES, Family, address, link, mac, pattern};
use crate::rig::Plan;
use crate::routed::{
    GATEWAY, HOST, Routed, UPLINK, datagram, inbound, may_fragment, outbound, text, with_hop_limit,
};

/// Rounds until every vector has its size.
const WARM_UP: u64 = 20;

/// Sends a burst of these frames by `port` and runs; after the warm-up that allocates nothing. A round takes a second, so
/// that limits are no hindrance.
#[track_caller]
fn assert_allocates_nothing(routed: &mut Routed, port: usize, frames: &[(Vec<u8>, Offload)]) {
    for round in 0..2 * WARM_UP {
        routed.rig.now_ms += 1000;
        let burst = frames.iter().cycle().take(BURST_FRAMES);
        routed.rig.ends[port].send_batch_on(0, burst.map(|(frame, offload)| (&frame[..], *offload)));
        let rig = &mut routed.rig;
        let allocations = allocations_in(|| rig.run());
        assert!(round < WARM_UP || allocations == 0, "{allocations} allocations in burst {round}");
        let arrived: usize = rig.ends.iter().map(|end| end.receive_with(|_, _| ())).sum();
        assert!(arrived > 0);
        routed.punts();
    }
    routed.rig.assert_balanced();
}

fn finished(frames: impl IntoIterator<Item = Vec<u8>>) -> Vec<(Vec<u8>, Offload)> {
    frames.into_iter().map(|frame| (frame, Offload::NONE)).collect()
}

fn gateway_end(station: usize) -> arp::End {
    let std::net::IpAddr::V4(address) = address(station, Family::V4) else { unreachable!("asked for IPv4") };
    arp::End { mac: mac(station), address }
}

#[test]
fn routing_to_the_uplink_and_to_a_pod_allocates_nothing() {
    let both = |frame: fn(Family, &[u8]) -> Vec<u8>| finished(FAMILIES.map(|family| frame(family, b"x")));
    assert_allocates_nothing(&mut Routed::new(), 0, &both(outbound));
    assert_allocates_nothing(&mut Routed::new(), UPLINK, &both(inbound));
    // By the gateway's MAC from pod to pod, and what is for the host.
    let ends = (address(0, Family::V4), address(1, Family::V4));
    let to_host = (address(0, Family::V4), address(GATEWAY, Family::V4));
    let frames = [datagram((0, GATEWAY), ends, b"pod"), datagram((0, GATEWAY), to_host, b"host")];
    assert_allocates_nothing(&mut Routed::new(), 0, &finished(frames));
    // To the worker that has the uplink's only queue.
    assert_allocates_nothing(&mut Routed::with(2, Plan::owned_by(1)), 0, &both(outbound));
}

#[test]
fn super_frames_that_are_routed_allocate_nothing() {
    for offloads in [Offloads::ALL, Offloads::NONE] {
        for family in FAMILIES {
            let plain = outbound(family, b"");
            let flow = FiveTuple::read(&plain, &packet::parse(&plain).unwrap()).unwrap();
            let flow = FiveTuple { protocol: TCP, ..flow };
            let frame = build::super_frame(link(0, GATEWAY), &flow, &pattern(20_000), 1400).unwrap();
            assert_allocates_nothing(&mut Routed::with(1, Plan::with(offloads)), 0, &[frame]);
        }
    }
}

#[test]
fn fragmenting_allocates_nothing() {
    for workers in [1, 2] {
        let narrow = Plan { mtu_bytes: 600, ..Plan::owned_by(workers - 1) };
        let frame = may_fragment(&outbound(Family::V4, &pattern(1400)));
        assert_allocates_nothing(&mut Routed::with(workers, narrow), 0, &finished([frame]));
    }
}

#[test]
fn errors_and_answers_allocate_nothing() {
    let narrow = Plan { mtu_bytes: 1280, ..Plan::default() };
    let expired = FAMILIES.map(|family| with_hop_limit(&outbound(family, b"x"), 1));
    let too_long = FAMILIES.map(|family| outbound(family, &pattern(1400)));
    let mut routed = Routed::with(1, narrow);
    assert_allocates_nothing(&mut routed, 0, &finished(expired.into_iter().chain(too_long)));
    let request = arp::request(gateway_end(0), gateway_end(GATEWAY).address).to_vec();
    assert_allocates_nothing(&mut Routed::new(), 0, &finished([request]));
    let mut routed = Routed::new();
    routed.has_host = false;
    routed.publish();
    let (source, destination) = (address(0, Family::V4), address(GATEWAY, Family::V4));
    let flow = FiveTuple { source, destination, protocol: ICMP, source_port: 7, destination_port: 7 };
    let ping = build::frame(link(0, GATEWAY), &flow, b"ping").unwrap();
    assert_allocates_nothing(&mut routed, 0, &finished([ping]));
    assert_eq!(routed.rig.dropped(DropReason::AnswerLimit), 0);
}

#[test]
fn pinned_flows_allocate_nothing() {
    let (client, server) = (address(0, Family::V4), address(1, Family::V4));
    let question = datagram((GATEWAY, 1), (client, server), b"question");
    let mut routed = Routed::new();
    assert_allocates_nothing(&mut routed, HOST, &finished([question]));
    let flow = FiveTuple {
        source: server,
        destination: client,
        protocol: 17,
        source_port: 5000,
        destination_port: 4000,
    };
    let answer = build::frame(link(1, 0), &flow, b"answer").unwrap();
    let direct = build::frame(link(1, 0), &FiveTuple { source_port: 1, ..flow }, b"another").unwrap();
    assert_allocates_nothing(&mut routed, 1, &finished([answer, direct]));
}

#[test]
fn waiting_and_what_ends_it_allocate_nothing() {
    for is_found in [true, false] {
        let mut routed = Routed::new();
        let wanted = text("192.168.0.77");
        let frame = datagram((0, GATEWAY), (address(0, Family::V4), wanted), b"waits");
        for round in 0..2 * WARM_UP {
            routed.rig.now_ms += 10_000;
            for _ in 0..BURST_FRAMES {
                routed.rig.send(0, &frame);
            }
            let rig = &mut routed.rig;
            let waiting = allocations_in(|| rig.run());
            if is_found {
                routed.find(LinkId::Uplink, wanted, 77, UPLINK);
            } else {
                routed.rig.now_ms += 4_000;
            }
            let rig = &mut routed.rig;
            let ending = allocations_in(|| rig.run());
            assert!(
                round < WARM_UP || (waiting, ending) == (0, 0),
                "{waiting} and {ending} in round {round}"
            );
            assert!(rig.ends.iter().map(|end| end.receive_with(|_, _| ())).sum::<usize>() > 0);
            routed.uplink_neighbors.retain(|neighbor| neighbor.address != wanted);
            routed.publish();
            routed.rig.run();
            routed.punts();
        }
        routed.rig.assert_balanced();
    }
}
