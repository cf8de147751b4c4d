//! What is joined is, cut again, what was sent; and a leader is afterwards what it was before.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packet::build::{self, Link};
use packet::coalesce::{SEGMENTS_MAX, UdpRun};
use packet::protocol::ip_protocol::UDP;
use packet::segment::Segmenter;
use packet::{Buffer, FiveTuple, Frame, Offload, PortId, checksum, parse, validate_offload};
use proptest::prelude::*;

/// Where the IP header begins.
const IP: usize = 14;

fn datagram(v4: bool, payload: &[u8]) -> (Vec<u8>, Offload) {
    let address = |host: u8| -> IpAddr {
        if v4 {
            Ipv4Addr::new(10, 0, 0, host).into()
        } else {
            Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host.into()).into()
        }
    };
    let tuple = FiveTuple {
        source: address(1),
        destination: address(2),
        protocol: UDP,
        source_port: 4000,
        destination_port: 5000,
    };
    let (frame, offload) = build::super_frame(Link::default(), &tuple, payload, u16::MAX).unwrap();
    (frame, Offload { segmentation: None, ..offload })
}

fn frame((bytes, offload): &(Vec<u8>, Offload)) -> Frame {
    let mut frame = Frame::copied(Buffer::new(), bytes, PortId::new(0).unwrap()).unwrap();
    frame.offload = *offload;
    frame
}

/// Finished, and without the identification that means nothing.
fn normal(mut bytes: Vec<u8>, offload: Offload) -> Vec<u8> {
    checksum::complete(&mut bytes, offload);
    if bytes[12..14] == [8, 0] {
        let sound = checksum::of(&bytes[IP..IP + 20]) == 0;
        bytes[IP + 4..IP + 6].fill(0);
        // Whether the header's checksum is right is kept, its value is not.
        bytes[IP + 10..IP + 12].copy_from_slice(&[0, u8::from(sound)]);
    }
    bytes
}

fn segments(frame: &Frame) -> Vec<Vec<u8>> {
    let layout = parse(frame.bytes()).unwrap();
    validate_offload(frame.bytes(), &layout, frame.offload).unwrap();
    let mut segmenter = Segmenter::new(frame.bytes(), &layout, frame.offload).unwrap();
    let mut room = vec![0; 2000];
    std::iter::from_fn(|| segmenter.next_into(&mut room).map(|len| room[..len].to_vec())).collect()
}

/// Joins as many of `frames` as go into a run with the first; returns how many those were, the first included.
fn assert_run_is_faithful(frames: &[(Vec<u8>, Offload)]) -> usize {
    let mut leader = frame(&frames[0]);
    let Some(mut run) = UdpRun::of(&leader, &parse(leader.bytes()).unwrap()) else { return 0 };
    let joined = 1 + frames[1..]
        .iter()
        .take_while(|each| run.join(&mut leader, &frame(each), &parse(&each.0).unwrap()))
        .count();
    run.seal(&mut leader);
    if joined > 1 {
        let cut: Vec<_> =
            segments(&leader).into_iter().map(|segment| normal(segment, Offload::NONE)).collect();
        let originals: Vec<_> =
            frames[..joined].iter().map(|(bytes, offload)| normal(bytes.clone(), *offload)).collect();
        assert_eq!(cut, originals);
    }
    run.restore(&mut leader);
    assert_eq!((leader.bytes(), leader.offload), (&frames[0].0[..], frames[0].1));
    joined
}

#[test]
fn a_run_holds_as_many_datagrams_as_a_kernel_takes() {
    let frames = vec![datagram(true, &[7; 18]); 100];
    assert_eq!(assert_run_is_faithful(&frames), usize::from(SEGMENTS_MAX));
}

#[test]
fn a_lone_datagram_stays_one() {
    let only = datagram(false, &[7; 18]);
    let mut leader = frame(&only);
    let run = UdpRun::of(&leader, &parse(leader.bytes()).unwrap()).unwrap();
    run.seal(&mut leader);
    assert_eq!((leader.bytes(), leader.offload), (&only.0[..], only.1));
}

proptest! {
    #[test]
    fn whatever_is_joined_is_cut_into_what_was_sent(
        v4 in any::<bool>(),
        length in 1..1400_usize,
        lengths in prop::collection::vec(prop_oneof![9 => Just(0_usize), 1 => 1..300_usize], 1..80),
        contents in any::<u8>(),
    ) {
        let frames: Vec<_> = lengths
            .iter()
            .enumerate()
            .map(|(n, shorter)| {
                let fill = contents.wrapping_add(u8::try_from(n).unwrap());
                datagram(v4, &vec![fill; length.saturating_sub(*shorter)])
            })
            .collect();
        assert_run_is_faithful(&frames);
    }

    #[test]
    fn a_spoiled_datagram_is_joined_only_if_nobody_can_tell(
        v4 in any::<bool>(),
        length in 1..100_usize,
        at in any::<prop::sample::Index>(),
        bit in 0..8_u32,
        who in 0..4_usize,
    ) {
        let mut frames = vec![datagram(v4, &vec![1; length]); 4];
        let at = at.index(frames[who].0.len());
        frames[who].0[at] ^= 1 << bit;
        assert_run_is_faithful(&frames);
    }
}
