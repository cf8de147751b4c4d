//! Datagrams of one flow that leave as one super-frame, and those that do not.

use packet::protocol::ip_protocol::UDP;
use packet::segment::Segmenter;
use packet::{ChecksumOffload, Offload, Offloads, SegmentationKind, checksum, parse};

use crate::frames::{FAMILIES, Family, broadcast, checked_payload, finished, tcp, udp, unfinished};
use crate::rig::{Plan, Rig};

const IPV4: usize = 14;

/// The frame with its IPv4 identification set to zero.
fn without_identification(mut frame: Vec<u8>) -> Vec<u8> {
    if frame[12..14] == [8, 0] {
        frame[IPV4 + 4..IPV4 + 6].fill(0);
        fix_ipv4(&mut frame);
    }
    frame
}

fn fix_ipv4(frame: &mut [u8]) {
    frame[IPV4 + 10..IPV4 + 12].fill(0);
    let sum = checksum::of(&frame[IPV4..IPV4 + 20]);
    frame[IPV4 + 10..IPV4 + 12].copy_from_slice(&sum.to_be_bytes());
}

/// All that a receiver gets from a frame: finished datagrams.
fn datagrams(frame: &[u8], offload: Offload) -> Vec<Vec<u8>> {
    if offload.segmentation.is_none() {
        return vec![finished(frame, offload)];
    }
    let layout = parse(frame).unwrap();
    let mut segmenter = Segmenter::new(frame, &layout, offload).unwrap();
    let mut room = vec![0; 2000];
    std::iter::from_fn(|| segmenter.next_into(&mut room).map(|len| room[..len].to_vec())).collect()
}

/// Sends the frames from port 0 in one burst; how many frames arrive at port 1, and the datagrams in them.
#[track_caller]
fn cross(frames: &[(Vec<u8>, Offload)]) -> (usize, Vec<Vec<u8>>) {
    let mut rig = Rig::new(1, &vec![Plan::default(); 2]);
    rig.introduce();
    for (frame, offload) in frames {
        rig.send_unfinished(0, frame, *offload);
    }
    rig.run();
    let received = rig.received(1);
    let bytes: usize = frames.iter().map(|(frame, _)| frame.len()).sum();
    let totals = rig.totals(1);
    assert_eq!((totals.tx_packets, totals.tx_bytes), (frames.len() as u64, bytes as u64));
    rig.assert_balanced();
    (received.len(), received.iter().flat_map(|(frame, offload)| datagrams(frame, *offload)).collect())
}

/// The originals arrive in order, byte for byte but for their identification, in `count` frames.
#[track_caller]
fn assert_arrive_in(count: usize, frames: &[(Vec<u8>, Offload)]) {
    let (arrived, got) = cross(frames);
    let originals: Vec<_> = frames
        .iter()
        .flat_map(|(frame, offload)| datagrams(frame, *offload))
        .map(without_identification)
        .collect();
    let got: Vec<_> = got.into_iter().map(without_identification).collect();
    assert_eq!(got, originals);
    assert_eq!(arrived, count);
}

fn numbered(family: Family, lengths: &[usize]) -> Vec<(Vec<u8>, Offload)> {
    let payload = |(n, len): (usize, &usize)| [vec![u8::try_from(n).unwrap(); *len]].concat();
    lengths.iter().enumerate().map(|each| unfinished(0, 1, family, UDP, &payload(each))).collect()
}

#[test]
fn datagrams_of_one_flow_leave_as_one_super_frame_that_cuts_into_the_originals() {
    for family in FAMILIES {
        let mut rig = Rig::new(1, &vec![Plan::default(); 2]);
        rig.introduce();
        let frames = numbered(family, &[18; 64]);
        for (frame, offload) in &frames {
            rig.send_unfinished(0, frame, *offload);
        }
        rig.run();
        let [(frame, offload)] = &rig.received(1)[..] else { panic!("one super-frame") };
        let segmentation = offload.segmentation.unwrap();
        assert_eq!((segmentation.kind, segmentation.size_bytes), (SegmentationKind::Udp, 18));
        for (cut, (original, offload)) in datagrams(frame, *offload).iter().zip(&frames) {
            checked_payload(cut);
            assert_eq!(
                without_identification(cut.clone()),
                without_identification(finished(original, *offload))
            );
        }
        assert_arrive_in(1, &frames);
    }
}

#[test]
fn identifications_do_not_keep_datagrams_apart_where_they_mean_nothing() {
    let mut frames = numbered(Family::V4, &[100; 10]);
    for (n, (frame, _)) in frames.iter_mut().enumerate() {
        frame[IPV4 + 4..IPV4 + 6].copy_from_slice(&u16::try_from(n * 7001).unwrap().to_be_bytes());
        fix_ipv4(frame);
    }
    assert_arrive_in(1, &frames);
}

#[test]
fn a_shorter_datagram_ends_a_run_and_a_longer_one_begins_another() {
    for family in FAMILIES {
        assert_arrive_in(1, &numbered(family, &[100, 100, 99]));
        assert_arrive_in(2, &numbered(family, &[100, 99, 99]));
        assert_arrive_in(2, &numbered(family, &[100, 100, 101]));
        assert_arrive_in(2, &numbered(family, &[100, 1, 100, 100]));
        assert_arrive_in(2, &numbered(family, &[1, 1, 1, 1400, 1400, 3]));
    }
}

#[test]
fn a_run_never_outgrows_an_ip_packet() {
    for family in FAMILIES {
        let frames = numbered(family, &[1400; 64]);
        assert_arrive_in(2, &frames);
    }
}

#[test]
fn what_is_not_plainly_of_one_flow_is_not_joined() {
    type Edit = fn(&mut Vec<u8>);
    let edits: [(&str, Family, Edit); 9] = [
        ("another TOS", Family::V4, |frame| frame[IPV4 + 1] = 1),
        ("another TTL", Family::V4, |frame| frame[IPV4 + 8] = 63),
        ("no DF", Family::V4, |frame| frame[IPV4 + 6] = 0),
        ("another source address", Family::V4, |frame| frame[IPV4 + 15] ^= 1),
        ("another traffic class", Family::V6, |frame| frame[IPV4 + 1] ^= 0x10),
        ("another hop limit", Family::V6, |frame| frame[IPV4 + 7] = 63),
        ("another flow label", Family::V6, |frame| frame[IPV4 + 3] = 1),
        ("another source port", Family::V6, |frame| frame[IPV4 + 41] ^= 1),
        ("another pseudo-header's sum", Family::V6, |frame| frame[IPV4 + 46] ^= 1),
    ];
    for (name, family, edit) in edits {
        let mut frames = numbered(family, &[50, 50]);
        edit(&mut frames[1].0);
        if family == Family::V4 {
            fix_ipv4(&mut frames[1].0);
        }
        let (arrived, got) = cross(&frames);
        let originals: Vec<_> = frames.iter().map(|(frame, offload)| finished(frame, *offload)).collect();
        assert_eq!((arrived, got), (2, originals), "{name}");
    }
}

#[test]
fn a_bad_ipv4_checksum_is_not_covered_up() {
    for spoiled in [0, 1] {
        let mut frames = numbered(Family::V4, &[50, 50]);
        frames[spoiled].0[IPV4 + 10] ^= 0x40;
        let (arrived, got) = cross(&frames);
        let originals: Vec<_> = frames.iter().map(|(frame, offload)| finished(frame, *offload)).collect();
        assert_eq!((arrived, got), (2, originals));
    }
}

#[test]
fn datagrams_with_a_whole_checksum_are_not_joined() {
    let frames: Vec<_> = (0..4).map(|n| (udp(0, 1, &[n; 50]), Offload::NONE)).collect();
    assert_arrive_in(4, &frames);
    let valid = Offload { checksum: ChecksumOffload::Valid, segmentation: None };
    let frames: Vec<_> = (0..4).map(|n| (udp(0, 1, &[n; 50]), valid)).collect();
    assert_arrive_in(4, &frames);
}

#[test]
fn options_padding_and_fragments_are_not_joined() {
    let mut padded = numbered(Family::V4, &[10, 10]);
    padded[1].0.extend([0; 8]);
    let (arrived, _) = cross(&padded);
    assert_eq!(arrived, 2);
    let mut fragments = numbered(Family::V4, &[10, 10]);
    for (frame, offload) in &mut fragments {
        frame[IPV4 + 6] = 0x20;
        *offload = Offload::NONE;
        fix_ipv4(frame);
    }
    let (arrived, _) = cross(&fragments);
    assert_eq!(arrived, 2);
}

#[test]
fn an_empty_datagram_is_not_joined() {
    assert_arrive_in(2, &numbered(Family::V4, &[0, 0]));
    assert_arrive_in(2, &numbered(Family::V6, &[10, 0]));
}

#[test]
fn other_traffic_in_between_keeps_the_order() {
    let mut frames = numbered(Family::V4, &[50; 6]);
    frames.insert(3, (tcp(0, 1, b"in between"), Offload::NONE));
    let (arrived, got) = cross(&frames);
    let originals: Vec<_> =
        frames.iter().map(|(frame, offload)| without_identification(finished(frame, *offload))).collect();
    assert_eq!(arrived, 3);
    assert_eq!(got.into_iter().map(without_identification).collect::<Vec<_>>(), originals);
}

#[test]
fn two_flows_that_alternate_arrive_each_in_order() {
    let mut rig = Rig::new(1, &vec![Plan::default(); 3]);
    rig.introduce();
    let mut frames = Vec::new();
    for n in 0..20 {
        for to in [1, 2] {
            frames.push(unfinished(0, to, Family::V6, UDP, &[n; 30]));
        }
    }
    for (frame, offload) in &frames {
        rig.send_unfinished(0, frame, *offload);
    }
    rig.run();
    for to in [1, 2] {
        let got: Vec<_> =
            rig.received(to).iter().flat_map(|(frame, offload)| datagrams(frame, *offload)).collect();
        let expected: Vec<_> =
            frames.iter().skip(to - 1).step_by(2).map(|(frame, offload)| finished(frame, *offload)).collect();
        assert_eq!(got, expected);
    }
}

#[test]
fn a_flooded_datagram_leads_no_run() {
    let mut rig = Rig::new(1, &vec![Plan::default(); 3]);
    rig.introduce();
    let (mut flooded, offload) = unfinished(0, 1, Family::V4, UDP, &[1; 50]);
    flooded[..6].fill(0xff);
    for _ in 0..2 {
        rig.send_unfinished(0, &flooded, offload);
    }
    rig.run();
    for port in [1, 2] {
        assert_eq!(rig.received(port), vec![(flooded.clone(), offload); 2]);
    }
}

#[test]
fn a_flooded_datagram_between_two_of_a_flow_leaves_its_place() {
    let mut rig = Rig::new(1, &vec![Plan::default(); 3]);
    rig.introduce();
    let frames = numbered(Family::V4, &[50, 50]);
    rig.send_unfinished(0, &frames[0].0, frames[0].1);
    rig.send(0, &broadcast(0, b"in between"));
    rig.send_unfinished(0, &frames[1].0, frames[1].1);
    rig.run();
    let got: Vec<_> = rig.received(1).into_iter().map(|(frame, _)| frame).collect();
    assert_eq!(got, [frames[0].0.clone(), broadcast(0, b"in between"), frames[1].0.clone()]);
}

#[test]
fn a_port_without_segmentation_gets_the_datagrams_one_by_one() {
    let checksum = Offloads { checksum: true, ..Offloads::NONE };
    let mut rig = Rig::new(1, &[Plan::default(), Plan::with(checksum)]);
    rig.introduce();
    let frames = numbered(Family::V4, &[50; 5]);
    for (frame, offload) in &frames {
        rig.send_unfinished(0, frame, *offload);
    }
    rig.run();
    assert_eq!(rig.received(1), frames);
}

#[test]
fn datagrams_handed_to_another_worker_arrive_whole_in_order_and_are_counted_there() {
    for family in FAMILIES {
        let mut rig = Rig::new(2, &[Plan::owned_by(0), Plan::owned_by(1), Plan::owned_by(1)]);
        rig.introduce();
        let lengths: Vec<usize> = (0..200).map(|n| [100, 100, 100, 7][n % 4]).collect();
        let frames = numbered(family, &lengths);
        let mut expected = Vec::new();
        // More than a burst in one go, twice, with a copy for everybody among them.
        for part in frames.chunks(100) {
            for (at, (frame, offload)) in part.iter().enumerate() {
                if at == 50 {
                    rig.send(0, &broadcast(0, b"in between"));
                    expected.push(broadcast(0, b"in between"));
                }
                rig.send_unfinished(0, frame, *offload);
                expected.push(without_identification(finished(frame, *offload)));
            }
            rig.run();
        }
        let received = rig.received(1);
        // Three of 100 bytes and the shorter one behind them travel together, but for the ends of bursts.
        assert!((52..70).contains(&received.len()), "{} frames were sent", received.len());
        let got = received.iter().flat_map(|(frame, offload)| datagrams(frame, *offload));
        assert!(got.map(without_identification).eq(expected.iter().cloned().map(without_identification)));
        assert_eq!(rig.frames(2), vec![broadcast(0, b"in between"); 2]);
        let [first, second] = [0, 1].map(|worker| rig.simulation.counters(worker));
        assert_eq!(
            (first.handed_off.get(), first.received.get()),
            (204, 2),
            "two frames, two copies of each"
        );
        assert_eq!((second.received.get(), second.forwarded.get()), (200, 200));
        let bytes: usize = frames.iter().map(|(frame, _)| frame.len()).sum();
        let totals = rig.totals(1);
        assert_eq!(totals.tx_packets, 202);
        assert_eq!(totals.tx_bytes, (bytes + 2 * broadcast(0, b"in between").len()) as u64);
        rig.assert_balanced();
    }
}

#[test]
fn datagrams_beyond_what_the_ring_between_two_workers_holds_are_dropped_by_name() {
    let mut rig = Rig::new(2, &[Plan::owned_by(0), Plan::owned_by(1)]);
    rig.introduce();
    let frames = numbered(Family::V6, &[50; 200]);
    for (frame, offload) in &frames {
        rig.send_unfinished(0, frame, *offload);
    }
    while rig.simulation.step(0, rig.now_ms).items > 0 {}
    rig.run();
    let received = rig.received(1);
    let got: Vec<_> = received.iter().flat_map(|(frame, offload)| datagrams(frame, *offload)).collect();
    let originals: Vec<_> = frames.iter().map(|(frame, offload)| finished(frame, *offload)).collect();
    assert_eq!(got[..], originals[..got.len()], "the first ones, in order");
    assert_eq!(got.len(), 128);
    rig.assert_only_drops(packet::DropReason::HandoffFull, 72);
    rig.assert_balanced();
}

#[test]
fn a_run_that_is_refused_counts_every_datagram_as_dropped() {
    let full = Plan { frames_max: 0, ..Plan::default() };
    let mut rig = Rig::new(1, &[Plan::default(), full]);
    rig.introduce();
    for (frame, offload) in numbered(Family::V4, &[50; 5]) {
        rig.send_unfinished(0, &frame, offload);
    }
    rig.run();
    rig.assert_only_drops(packet::DropReason::TxQueueFull, 5);
    assert_eq!(rig.totals(1).tx_dropped, 5);
    rig.assert_balanced();
}
