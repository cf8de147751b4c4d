//! Fragmentation: what is put together again is the original, and every fragment is a sound packet.

use packet::{Offload, checksum, parse};
use proptest::prelude::*;
use router::fragment::{FragmentError, Fragmenter};

/// One IPv4 option of any kind, copied or not.
fn option() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(vec![1]),
        (2..=255_u8, 0..10_usize).prop_map(|(kind, bytes)| {
            let mut option = vec![kind, u8::try_from(bytes + 2).unwrap()];
            option.resize(bytes + 2, kind ^ 0x5a);
            option
        })
    ]
}

fn options() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(option(), 0..5).prop_map(|mut options| {
        while options.iter().map(Vec::len).sum::<usize>() > 40 {
            options.pop();
        }
        options
    })
}

#[derive(Clone, Debug)]
struct Packet {
    frame: Vec<u8>,
    header_bytes: usize,
    options: Vec<Vec<u8>>,
    payload: Vec<u8>,
    first_offset: u16,
    more: bool,
}

fn packet() -> impl Strategy<Value = Packet> {
    let payload = prop_oneof![0..100_usize, 0..3000_usize, 0..20_000_usize];
    let part = prop_oneof![3 => Just((0_u16, false)), 1 => (0..4000_u16, any::<bool>())];
    (any::<[u8; 12]>(), options(), payload, part, any::<u8>(), 0..30_usize).prop_map(
        |(fixed, options, payload_bytes, (first_offset, more), fill, padding)| {
            let mut list: Vec<u8> = options.concat();
            list.resize(list.len().next_multiple_of(4), 0);
            let header_bytes = 20 + list.len();
            let payload: Vec<u8> =
                (0..payload_bytes).map(|at| (at + at / 251).to_le_bytes()[0].wrapping_add(fill)).collect();
            let total = u16::try_from(header_bytes + payload_bytes).unwrap();
            let mut header = vec![0x40 | u8::try_from(header_bytes / 4).unwrap(), fixed[0]];
            header.extend(total.to_be_bytes());
            header.extend(&fixed[1..3]);
            header.extend((first_offset | if more { 0x2000 } else { 0 }).to_be_bytes());
            header.extend([fixed[3], 253, 0, 0]);
            header.extend(&fixed[4..]);
            header.extend(&list);
            let sum = checksum::of(&header);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
            frame.extend(&header);
            frame.extend(&payload);
            frame.resize(frame.len() + padding, 0xa5);
            Packet { frame, header_bytes, options, payload, first_offset, more }
        },
    )
}

fn cut(packet: &Packet, mtu_bytes: usize) -> Vec<Vec<u8>> {
    let layout = parse(&packet.frame).unwrap();
    let mut fragmenter = Fragmenter::new(&packet.frame, &layout, Offload::NONE, mtu_bytes).unwrap();
    let mut out = vec![0; fragmenter.fragment_bytes_max()];
    let mut fragments = Vec::new();
    while let Some(bytes) = fragmenter.next_into(&mut out) {
        fragments.push(out[..bytes].to_vec());
    }
    assert!(fragmenter.is_done());
    fragments
}

/// The header checksum by another's arithmetic, and the lengths by two other parsers.
fn is_sound(packet: &[u8]) {
    let ours = pnet_packet::ipv4::Ipv4Packet::new(packet).unwrap();
    assert_eq!(ours.get_checksum(), pnet_packet::ipv4::checksum(&ours));
    assert_eq!(usize::from(ours.get_total_length()), packet.len());
    let smol = smoltcp::wire::Ipv4Packet::new_checked(packet).unwrap();
    assert!(smol.verify_checksum());
    etherparse::Ipv4HeaderSlice::from_slice(packet).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn fragments_put_together_are_the_original(packet in packet(), mtu_bytes in prop_oneof![68..200_usize, 68..2000_usize]) {
        let fragments = cut(&packet, mtu_bytes);
        let mut whole = vec![None; packet.payload.len()];
        let copied: Vec<u8> = packet.options.iter().filter(|option| option[0] & 0x80 != 0).flatten().copied().collect();
        let (count, header) = (fragments.len(), &packet.frame[14..14 + packet.header_bytes]);
        for (index, fragment) in fragments.iter().enumerate() {
            let bytes = &fragment[14..];
            is_sound(bytes);
            prop_assert!(bytes.len() <= mtu_bytes);
            prop_assert_eq!(&fragment[..14], &packet.frame[..14]);
            let header_bytes = usize::from(bytes[0] & 15) * 4;
            prop_assert_eq!(bytes[1], header[1]);
            prop_assert_eq!(&bytes[4..6], &header[4..6]);
            prop_assert_eq!(&bytes[8..10], &header[8..10]);
            prop_assert_eq!(&bytes[12..20], &header[12..20]);
            if index == 0 {
                prop_assert_eq!(&bytes[20..header_bytes], &header[20..]);
            } else {
                let options = &bytes[20..header_bytes];
                prop_assert!(options.starts_with(&copied) && options.len() < copied.len() + 4);
                prop_assert!(options[copied.len()..].iter().all(|byte| *byte == 0));
            }
            let word = u16::from_be_bytes([bytes[6], bytes[7]]);
            let is_last = index + 1 == count;
            prop_assert_eq!(word & 0x2000 != 0, !is_last || packet.more);
            let at = usize::from((word & 0x1fff) - packet.first_offset) * 8;
            let payload = &bytes[header_bytes..];
            prop_assert!(is_last || (payload.len() % 8 == 0 && payload.len() + 8 > mtu_bytes - header_bytes));
            for (place, byte) in whole[at..].iter_mut().zip(payload) {
                prop_assert_eq!(place.replace(*byte), None, "no byte comes twice");
            }
        }
        prop_assert_eq!(whole.into_iter().collect::<Option<Vec<u8>>>(), Some(packet.payload));
    }

    #[test]
    fn fragments_of_fragments_are_the_fragments_of_the_smaller_mtu_put_together(
        packet in packet(), first in 68..1500_usize, second in 68..1500_usize,
    ) {
        let mut whole: Vec<u8> = Vec::new();
        for fragment in cut(&packet, first) {
            let layout = parse(&fragment).unwrap();
            let mut fragmenter = Fragmenter::new(&fragment, &layout, Offload::NONE, second).unwrap();
            let mut out = vec![0; fragmenter.fragment_bytes_max()];
            while let Some(bytes) = fragmenter.next_into(&mut out) {
                is_sound(&out[14..bytes]);
                let header_bytes = usize::from(out[14] & 15) * 4;
                let word = u16::from_be_bytes([out[20], out[21]]);
                prop_assert_eq!(usize::from((word & 0x1fff) - packet.first_offset) * 8, whole.len());
                whole.extend(&out[14 + header_bytes..bytes]);
            }
        }
        prop_assert_eq!(whole, packet.payload);
    }

    #[test]
    fn what_says_df_is_left_alone(mut packet in packet(), mtu_bytes in 68..2000_usize) {
        packet.frame[20] |= 0x40;
        let layout = parse(&packet.frame).unwrap();
        let refused = Fragmenter::new(&packet.frame, &layout, Offload::NONE, mtu_bytes).map(|_| ());
        prop_assert_eq!(refused, Err(FragmentError::NotAllowed));
    }
}
