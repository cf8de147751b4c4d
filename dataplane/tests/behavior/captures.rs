//! Captures see what became of frames, and never stand in the way.

use std::sync::Arc;

use dataplane::capture::{CaptureRequest, CaptureTap};
use packet::protocol::ip_protocol::UDP;
use packet::{DropReason, arp};

use crate::frames::{Family, address, broadcast, mac, pattern, super_frame, udp, unfinished};
use crate::rig::{Plan, Rig, port};
use crate::routed::{GATEWAY, NEXT_HOP, NODE, Routed, UPLINK, datagram, node, remote};

/// Three ports and a capture of what `request` says, with room for `frames`.
fn captured(request: CaptureRequest, frames: usize) -> (Rig, Arc<CaptureTap>) {
    let mut rig = Rig::new(1, &vec![Plan::default(); 3]);
    rig.introduce();
    let tap = Arc::new(CaptureTap::new(request, frames));
    rig.captures.push(Arc::clone(&tap));
    rig.publish();
    (rig, tap)
}

fn everything() -> CaptureRequest {
    CaptureRequest { port: None, drops_only: false, filter: None }
}

/// The bytes of all captured frames.
fn frames(tap: &CaptureTap) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| tap.read(|captured| captured.bytes().to_vec())).collect()
}

#[test]
fn a_capture_tells_where_a_frame_went_and_why_it_was_dropped() {
    let (mut rig, tap) = captured(everything(), 16);
    rig.send(0, &udp(0, 1, b"known"));
    rig.send(0, &broadcast(0, b"flooded"));
    rig.send(0, &udp(5, 0, b"dropped"));
    rig.run();
    let mut seen = Vec::new();
    while let Some(each) = tap.read(|captured| (captured.ingress, captured.egress, captured.dropped)) {
        seen.push(each);
    }
    let from = port(0);
    assert_eq!(
        seen,
        [(from, Some(port(1)), None), (from, None, None), (from, None, Some(DropReason::SamePort))]
    );
}

#[test]
fn a_capture_of_one_port_sees_what_comes_and_goes_there() {
    let request = CaptureRequest { port: Some(port(1)), ..everything() };
    let (mut rig, tap) = captured(request, 16);
    let seen = [udp(0, 1, b"to it"), udp(1, 2, b"from it"), broadcast(2, b"to all")];
    rig.send(0, &seen[0]);
    rig.run();
    rig.send(1, &seen[1]);
    rig.run();
    rig.send(2, &udp(2, 0, b"past it"));
    rig.send(2, &seen[2]);
    rig.run();
    assert_eq!(frames(&tap), seen);
}

#[test]
fn a_capture_of_drops_sees_nothing_else() {
    let request = CaptureRequest { drops_only: true, ..everything() };
    let (mut rig, tap) = captured(request, 16);
    rig.send(0, &udp(0, 1, b"arrives"));
    rig.send(0, &[3; 14]);
    rig.send(0, &udp(0, 1, &pattern(1600)));
    rig.run();
    assert_eq!(frames(&tap), [vec![3; 14], udp(0, 1, &pattern(1600))]);
}

#[test]
fn a_filter_chooses() {
    let filter = Arc::new(|bytes: &[u8], layout: Option<&packet::Layout>, _| {
        layout.is_some_and(packet::Layout::is_ip) && bytes.len() > 100
    });
    let (mut rig, tap) = captured(CaptureRequest { filter: Some(filter), ..everything() }, 16);
    rig.send(0, &udp(0, 1, b"short"));
    rig.send(0, &udp(0, 1, &[0; 100]));
    rig.run();
    assert_eq!(frames(&tap), [udp(0, 1, &[0; 100])]);
}

#[test]
fn a_slow_reader_loses_frames_that_are_counted_and_delays_none() {
    let (mut rig, tap) = captured(everything(), 4);
    for n in 0..100 {
        rig.send(0, &udp(0, 1, &[n]));
    }
    rig.run();
    assert_eq!(rig.frames(1).len(), 100);
    assert_eq!(tap.lost(), 96);
    assert_eq!(frames(&tap), (0..4).map(|n| udp(0, 1, &[n])).collect::<Vec<_>>());
    rig.send(0, &udp(0, 1, b"there is room again"));
    rig.run();
    assert_eq!(frames(&tap), [udp(0, 1, b"there is room again")]);
}

#[test]
fn datagrams_that_left_as_one_are_captured_as_they_came() {
    let (mut rig, tap) = captured(everything(), 64);
    let originals: Vec<_> = (0..10).map(|n| unfinished(0, 1, Family::V4, UDP, &[n; 40])).collect();
    for (frame, offload) in &originals {
        rig.send_unfinished(0, frame, *offload);
    }
    rig.run();
    assert_eq!(rig.received(1).len(), 1);
    let originals: Vec<_> = originals.into_iter().map(|(frame, _)| frame).collect();
    assert_eq!(frames(&tap), originals);
}

#[test]
fn a_super_frame_is_captured_whole() {
    let (mut rig, tap) = captured(everything(), 4);
    let (frame, offload) = super_frame(0, 1, Family::V6, UDP, &pattern(60_000), 1000);
    rig.send_unfinished(0, &frame, offload);
    rig.run();
    assert_eq!(frames(&tap), [frame]);
}

#[test]
fn a_frame_handed_to_another_worker_is_captured_once() {
    let mut rig = Rig::new(2, &[Plan::owned_by(0), Plan::owned_by(1), Plan::owned_by(1)]);
    rig.introduce();
    let tap = Arc::new(CaptureTap::new(everything(), 16));
    rig.captures.push(Arc::clone(&tap));
    rig.publish();
    rig.send(0, &udp(0, 1, b"unicast"));
    rig.send(0, &broadcast(0, b"flooded"));
    rig.run();
    let mut seen = frames(&tap);
    seen.sort_unstable();
    let mut expected = [udp(0, 1, b"unicast"), broadcast(0, b"flooded")];
    expected.sort_unstable();
    assert_eq!(seen, expected);
}

#[test]
fn what_was_for_the_router_or_the_kernel_is_captured_and_is_no_drop() {
    let mut routed = Routed::new();
    let tap = Arc::new(CaptureTap::new(everything(), 16));
    let drops = Arc::new(CaptureTap::new(CaptureRequest { drops_only: true, ..everything() }, 16));
    routed.rig.captures = vec![Arc::clone(&tap), Arc::clone(&drops)];
    routed.publish();
    let ends = (remote(Family::V4), node(Family::V4));
    routed.rig.send(UPLINK, &datagram((NEXT_HOP, NODE), ends, b"the kernel's"));
    let [std::net::IpAddr::V4(pod), std::net::IpAddr::V4(gateway)] =
        [0, GATEWAY].map(|station| address(station, Family::V4))
    else {
        unreachable!("asked for IPv4")
    };
    routed.rig.send(0, &arp::request(arp::End { mac: mac(0), address: pod }, gateway));
    routed.rig.run();
    let mut seen = Vec::new();
    while let Some(each) = tap.read(|captured| (captured.ingress, captured.egress, captured.dropped)) {
        seen.push(each);
    }
    seen.sort_unstable();
    assert_eq!(seen, [(port(0), None, None), (port(UPLINK), None, None)]);
    assert!(frames(&drops).is_empty());
}

#[test]
fn a_capture_that_is_no_longer_published_sees_nothing_more() {
    let (mut rig, tap) = captured(everything(), 16);
    rig.captures.clear();
    rig.publish();
    rig.send(0, &udp(0, 1, b""));
    rig.run();
    assert!(frames(&tap).is_empty());
}
