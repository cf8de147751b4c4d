//! In steady state, a burst allocates nothing: whatever is in it, whichever way it goes.

use std::sync::Arc;

use dataplane::QueueOwners;
use dataplane::capture::{CaptureRequest, CaptureTap};
use packet::protocol::ip_protocol::{TCP, UDP};
use packet::{BURST_FRAMES, Offload, Offloads};

use crate::counting::allocations_in;
use crate::frames::{Family, STRANGER, broadcast, pattern, super_frame, udp, unfinished};
use crate::rig::{Plan, Rig};

/// Bursts until every vector has its size.
const WARM_UP: usize = 20;

/// Sends bursts of these frames from port 0; after the warm-up, the workers allocate nothing.
#[track_caller]
fn assert_allocates_nothing(rig: &mut Rig, frames: &[(Vec<u8>, Offload)]) {
    rig.introduce();
    for round in 0..2 * WARM_UP {
        let burst = frames.iter().cycle().take(BURST_FRAMES);
        rig.ends[0].send_batch_on(0, burst.map(|(frame, offload)| (&frame[..], *offload)));
        let allocations = allocations_in(|| rig.run());
        assert!(round < WARM_UP || allocations == 0, "{allocations} allocations in burst {round}");
        let arrived: usize = rig.ends.iter().map(|end| end.receive_with(|_, _| ())).sum();
        assert!(arrived > 0);
    }
    rig.assert_balanced();
}

fn finished(frame: Vec<u8>) -> Vec<(Vec<u8>, Offload)> {
    vec![(frame, Offload::NONE)]
}

#[test]
fn unicast_allocates_nothing() {
    let mut rig = Rig::new(1, &vec![Plan::default(); 2]);
    assert_allocates_nothing(&mut rig, &finished(udp(0, 1, &[0; 18])));
}

#[test]
fn a_flood_allocates_nothing() {
    let mut rig = Rig::new(1, &vec![Plan::default(); 9]);
    assert_allocates_nothing(&mut rig, &finished(udp(0, STRANGER, &[0; 18])));
}

#[test]
fn super_frames_allocate_nothing() {
    for offloads in [Offloads::ALL, Offloads::NONE] {
        for (family, protocol) in [(Family::V4, TCP), (Family::V6, TCP), (Family::V4, UDP)] {
            let mut rig = Rig::new(1, &[Plan::default(), Plan::with(offloads)]);
            let frame = super_frame(0, 1, family, protocol, &pattern(60_000), 1448);
            assert_allocates_nothing(&mut rig, &[frame]);
        }
    }
}

#[test]
fn a_handoff_allocates_nothing() {
    let cut = Plan { queues: QueueOwners::One(1), ..Plan::with(Offloads::NONE) };
    for owned in [Plan::owned_by(1), cut] {
        let mut rig = Rig::new(2, &[Plan::owned_by(0), owned]);
        let frames = [
            (udp(0, 1, &[0; 18]), Offload::NONE),
            (broadcast(0, &[0; 18]), Offload::NONE),
            super_frame(0, 1, Family::V4, TCP, &pattern(20_000), 1448),
        ];
        assert_allocates_nothing(&mut rig, &frames);
    }
}

#[test]
fn coalescing_allocates_nothing() {
    let mut rig = Rig::new(1, &vec![Plan::default(); 2]);
    assert_allocates_nothing(&mut rig, &[unfinished(0, 1, Family::V4, UDP, &[0; 18])]);
    let runs = [18, 18, 18, 7].map(|length| unfinished(0, 1, Family::V6, UDP, &vec![0; length]));
    assert_allocates_nothing(&mut rig, &runs);
}

#[test]
fn a_drop_allocates_nothing() {
    let mut rig = Rig::new(1, &vec![Plan::default(); 2]);
    let frames = [
        (vec![1; 13], Offload::NONE),
        (udp(5, 0, b"same port"), Offload::NONE),
        (udp(0, 1, &pattern(1600)), Offload::NONE),
        (udp(0, 1, b"arrives"), Offload::NONE),
    ];
    assert_allocates_nothing(&mut rig, &frames);
}

#[test]
fn a_capture_allocates_nothing_on_the_workers_side() {
    let mut rig = Rig::new(1, &vec![Plan::default(); 2]);
    let request = CaptureRequest { port: None, drops_only: false, filter: None };
    rig.captures.push(Arc::new(CaptureTap::new(request, 32)));
    rig.publish();
    assert_allocates_nothing(&mut rig, &finished(udp(0, 1, &[0; 18])));
}
