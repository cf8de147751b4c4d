use super::*;
use crate::test_frames::sum;
use packet::{FiveTuple, build, parse};

fn tuple(is_v6: bool, protocol: u8) -> FiveTuple {
    let text = if is_v6 { ["fd00::1", "fd00::2"] } else { ["10.0.0.1", "10.0.0.2"] };
    let [source, destination] = text.map(|text| text.parse().unwrap());
    FiveTuple { source, destination, protocol, source_port: 1, destination_port: 2 }
}

fn udp(is_v6: bool, payload_bytes: usize, dont_fragment: bool) -> Vec<u8> {
    let payload: Vec<u8> = (0..payload_bytes).map(|at| at.to_le_bytes()[0]).collect();
    let mut frame = build::frame(build::Link::default(), &tuple(is_v6, 17), &payload).unwrap();
    if !is_v6 {
        frame[20] = if dont_fragment { 0x40 } else { 0 };
        sum(&mut frame);
    }
    frame
}

fn cut(frame: &[u8], mtu_bytes: usize) -> Vec<Vec<u8>> {
    let mut fragmenter = Fragmenter::new(frame, &parse(frame).unwrap(), Offload::NONE, mtu_bytes).unwrap();
    let mut out = vec![0; fragmenter.fragment_bytes_max()];
    let mut fragments = Vec::new();
    while let Some(bytes) = fragmenter.next_into(&mut out) {
        fragments.push(out[..bytes].to_vec());
    }
    assert!(fragmenter.is_done());
    fragments
}

#[test]
fn what_exceeds_the_mtu_is_fragmented_or_its_sender_told() {
    let fits = |frame: &[u8], mtu| fit(frame, &parse(frame).unwrap(), Offload::NONE, mtu);
    let too_big = |mtu_bytes| Fit::Refuse(Problem::TooBig { mtu_bytes });
    assert_eq!(fits(&udp(false, 1472, true), 1500), Fit::Whole);
    assert_eq!(fits(&udp(false, 1473, true), 1500), too_big(1500));
    assert_eq!(fits(&udp(false, 1473, false), 1500), Fit::Fragment);
    assert_eq!(fits(&udp(true, 1452, false), 1500), Fit::Whole);
    assert_eq!(fits(&udp(true, 1453, false), 1500), too_big(1500));
    assert_eq!(fits(&[0; 60], 20), Fit::Whole, "no packet");
}

#[test]
fn a_super_frame_fits_if_its_segments_do() {
    for (is_v6, protocol, headers) in [(false, 6, 40), (true, 6, 60), (false, 17, 28), (true, 17, 48)] {
        let link = build::Link::default();
        let (frame, offload) = build::super_frame(link, &tuple(is_v6, protocol), &[0; 9000], 1400).unwrap();
        let layout = parse(&frame).unwrap();
        assert_eq!(packet_bytes(&layout, offload), headers + 1400);
        assert_eq!(fit(&frame, &layout, offload, headers + 1400), Fit::Whole);
        let refused = Fit::Refuse(Problem::TooBig { mtu_bytes: headers + 1399 });
        assert_eq!(fit(&frame, &layout, offload, headers + 1399), refused);
        let (frame, offload) = build::super_frame(link, &tuple(is_v6, protocol), &[0; 100], 1400).unwrap();
        assert_eq!(packet_bytes(&parse(&frame).unwrap(), offload), headers + 100, "a single short segment");
    }
}

#[test]
fn fragments_are_as_long_as_the_mtu_allows_in_eights() {
    let frame = udp(false, 2000, false);
    let fragments = cut(&frame, 1499);
    let lengths: Vec<_> = fragments.iter().map(|fragment| fragment.len() - 14).collect();
    assert_eq!(lengths, [1492, 20 + 2008 - 1472]);
    let words: Vec<_> = fragments.iter().map(|fragment| [fragment[20], fragment[21]]).collect();
    assert_eq!(words, [[0x20, 0], [0, 184]]);
    assert!(fragments.iter().all(|fragment| fragment[18..20] == frame[18..20]), "one identification");
}

#[test]
fn a_packet_that_fits_comes_out_as_it_is_without_padding() {
    let frame = udp(false, 100, false);
    let padded = [frame.as_slice(), &[9; 30]].concat();
    assert_eq!(cut(&padded, 1500), [frame]);
}

#[test]
fn a_fragment_of_a_fragment_goes_on_where_that_began_and_keeps_its_more() {
    for more in [0, 0x20] {
        let mut frame = udp(false, 200, false);
        frame[20..22].copy_from_slice(&[more, 100]);
        sum(&mut frame);
        let words: Vec<_> = cut(&frame, 120).iter().map(|f| u16::from_be_bytes([f[20], f[21]])).collect();
        let last = u16::from(more) << 8;
        assert_eq!(words, [0x2000 + 100, 0x2000 + 112, last + 124]);
    }
}

#[test]
fn options_are_in_later_fragments_only_if_they_say_so() {
    let mut frame = udp(false, 200, false);
    // Record route (not copied), no operation, router alert (copied), and the end.
    frame.splice(34..34, [7, 7, 4, 0, 0, 0, 0, 1, 148, 4, 0, 0, 1, 1, 0, 0]);
    frame[14] = 0x49;
    frame[17] += 16;
    sum(&mut frame);
    let fragments = cut(&frame, 100);
    assert_eq!(fragments[0][14..16], frame[14..16]);
    assert_eq!(fragments[0][34..50], frame[34..50]);
    for fragment in &fragments[1..] {
        assert_eq!((fragment[14], &fragment[34..38]), (0x46, &[148, 4, 0, 0][..]));
    }
    assert!(fragments.iter().all(|fragment| fragment.len() <= 114));
}

#[test]
fn what_must_not_be_fragmented_is_not() {
    let refuse = |frame: &[u8], offload, mtu| {
        Fragmenter::new(frame, &parse(frame).unwrap(), offload, mtu).map(|_| ()).unwrap_err()
    };
    assert_eq!(refuse(&udp(false, 2000, true), Offload::NONE, 1500), FragmentError::NotAllowed);
    assert_eq!(refuse(&udp(true, 2000, false), Offload::NONE, 1500), FragmentError::NotAllowed);
    assert_eq!(refuse(&udp(false, 2000, false), Offload::NONE, 67), FragmentError::MtuTooSmall);
    let checksum = ChecksumOffload::Partial { start: 34, offset: 6 };
    let partial = Offload { checksum, segmentation: None };
    assert_eq!(refuse(&udp(false, 2000, false), partial, 1500), FragmentError::Unfinished);
    let mut beyond = udp(false, 100, false);
    beyond[20..22].copy_from_slice(&[0x1f, 0xff]);
    assert_eq!(refuse(&beyond, Offload::NONE, 100), FragmentError::NotAllowed, "a ping of death");
    assert_eq!(FragmentError::NotAllowed.drop_reason(), DropReason::PacketTooBig);
}

#[test]
fn memory_that_is_too_short_loses_nothing() {
    let frame = udp(false, 300, false);
    let mut fragmenter = Fragmenter::new(&frame, &parse(&frame).unwrap(), Offload::NONE, 200).unwrap();
    assert_eq!(fragmenter.next_into(&mut [0; 50]), None);
    assert!(!fragmenter.is_done());
    assert_eq!(fragmenter.next_into(&mut [0; 400]), Some(14 + 196));
}
