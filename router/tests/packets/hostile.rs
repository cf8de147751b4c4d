//! Whatever comes: no panic, and nothing is sent that is not sound.

use packet::{
    Buffer, ChecksumOffload, Frame, Network, Offload, PortId, arp, icmpv6, parse, validate_offload,
};
use proptest::prelude::*;
use router::fragment::{Fit, Fragmenter, fit};
use router::gateway::{Answer, Gateway};
use router::icmp_error::{ERROR_FRAME_BYTES_MAX, Offending, Origin, Problem};
use router::validate::{AddressRules, Validity};

use crate::errors::{MAC, POD};

fn gateway() -> Gateway {
    Gateway { mac: MAC, addresses: ["10.244.1.1", "fd00::1"].map(|text| text.parse().unwrap()).to_vec() }
}

/// Everything that the router can do with one frame.
fn do_everything(bytes: &[u8], offload: Offload) {
    let Ok(layout) = parse(bytes) else { return };
    let rules = AddressRules::new(false, ["10.244.1.0/24".parse().unwrap()]);
    if validate_offload(bytes, &layout, offload).is_err() {
        // Nobody asks with such metadata; but if somebody did, nothing would break.
        let offending = Offending { bytes, layout: &layout, offload };
        let origin = Origin { mac: MAC, address: [10, 244, 1, 1].into() };
        let _ = offending.report(Problem::Prohibited, origin, &rules, &mut [0; ERROR_FRAME_BYTES_MAX]);
        return;
    }
    let validity = rules.validate(bytes, &layout);
    assert!(layout.is_ip() || matches!(validity, Validity::Discard(_)));
    let gateway = gateway();
    let offending = Offending { bytes, layout: &layout, offload };
    for address in gateway.addresses.clone() {
        for problem in [Problem::HopLimitExceeded, Problem::TooBig { mtu_bytes: 1280 }] {
            let mut out = [0; ERROR_FRAME_BYTES_MAX];
            let origin = Origin { mac: MAC, address };
            if let Ok(written) = offending.report(problem, origin, &rules, &mut out) {
                assert!(offending.may_be_reported(&rules).is_ok());
                let error = parse(&out[..written]).unwrap();
                assert!(error.is_ip() && error.network == layout.network);
                assert_eq!(error.packet_end as usize, written);
                assert_eq!(packet::checksum::transport_is_valid(&out[..written], &error), Some(true));
            }
        }
    }
    for mtu_bytes in [68, 576, 1500] {
        let fits = fit(bytes, &layout, offload, mtu_bytes);
        if let Ok(mut fragmenter) = Fragmenter::new(bytes, &layout, offload, mtu_bytes as usize) {
            assert_ne!(fits, Fit::Refuse(Problem::TooBig { mtu_bytes }));
            let mut out = vec![0; fragmenter.fragment_bytes_max()];
            while let Some(written) = fragmenter.next_into(&mut out) {
                assert!(written <= layout.network_offset as usize + mtu_bytes as usize);
                assert_eq!(parse(&out[..written]).unwrap().network, Network::Ipv4);
            }
            assert!(fragmenter.is_done());
        }
    }
    let mut frame = Frame::copied(Buffer::new(), bytes, PortId::new(1).unwrap()).unwrap();
    frame.offload = offload;
    let answer = gateway.answer(&mut frame, &layout, &rules);
    assert!(matches!(answer, Answer::Reply(_)) || frame.bytes() == bytes);
}

fn seeds() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/frame_parser");
    let mut seeds: Vec<Vec<u8>> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .filter(|file| file.len() > 12)
        .map(|file| file[12..].to_vec())
        .collect();
    let end = |mac, address: [u8; 4]| arp::End { mac, address: address.into() };
    seeds.push(arp::request(end(POD, [10, 244, 1, 9]), [10, 244, 1, 1].into()).to_vec());
    let (pod, us) = ("fd00::9".parse().unwrap(), "fd00::1".parse().unwrap());
    seeds.push(icmpv6::neighbor_solicitation(POD, pod, us, None).to_vec());
    seeds.push(icmpv6::unsolicited_neighbor_advertisement(POD, pod, false).to_vec());
    let tuple = packet::FiveTuple {
        source: pod.into(),
        destination: us.into(),
        protocol: 58,
        source_port: 1,
        destination_port: 1,
    };
    let link = packet::build::Link { source: POD, destination: MAC };
    seeds.push(packet::build::frame(link, &tuple, b"data").unwrap());
    let tuple = packet::FiveTuple {
        source: [10, 244, 1, 9].into(),
        destination: [10, 244, 1, 1].into(),
        protocol: 1,
        ..tuple
    };
    seeds.push(packet::build::frame(link, &tuple, b"data").unwrap());
    seeds.retain(|seed| seed.len() < 400);
    assert!(seeds.len() >= 30);
    seeds
}

#[test]
fn every_truncation_of_every_kind_of_frame_is_borne() {
    for seed in seeds() {
        for end in 0..=seed.len() {
            do_everything(&seed[..end], Offload::NONE);
        }
    }
}

#[test]
fn every_byte_of_every_kind_of_frame_may_be_wrong() {
    for seed in seeds() {
        for at in 0..seed.len().min(120) {
            for value in [0, 1, 0x0f, 0x45, 0x4f, 0x60, 0x7f, 0x80, 0xff] {
                let mut frame = seed.clone();
                frame[at] = value;
                do_everything(&frame, Offload::NONE);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes_are_borne(
        mut bytes in prop::collection::vec(any::<u8>(), 14..200),
        ethertype in prop::sample::select(vec![0x0800_u16, 0x86dd, 0x0806, 0x8100]),
        version in any::<bool>(),
    ) {
        bytes[12..14].copy_from_slice(&ethertype.to_be_bytes());
        if version && bytes.len() > 20 {
            bytes[14] = if ethertype == 0x86dd { 0x60 } else { 0x45 };
            let length = u16::try_from(bytes.len() - if ethertype == 0x86dd { 54.min(bytes.len()) } else { 14 });
            let at = if ethertype == 0x86dd { 18 } else { 16 };
            bytes[at..at + 2].copy_from_slice(&length.unwrap().to_be_bytes());
        }
        do_everything(&bytes, Offload::NONE);
    }

    #[test]
    fn frames_with_any_offload_metadata_are_borne(
        seed in prop::sample::select(seeds()), header in any::<[u8; 12]>(), places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        own in any::<bool>(),
    ) {
        let mut frame = seed;
        for (place, value) in places {
            let at = place.index(frame.len());
            frame[at] = value;
        }
        let mut header = header;
        header[0] = 1;
        header[1] &= 0x85;
        let Ok(layout) = parse(&frame) else { return Ok(()) };
        if own {
            header[6..8].copy_from_slice(&layout.transport_offset.to_le_bytes());
            header[8..10].copy_from_slice(&if layout.protocol == 6 { 16_u16 } else { 6 }.to_le_bytes());
        }
        if let Ok(offload) = Offload::from_vnet_header(header, frame.len()) {
            do_everything(&frame, offload);
            do_everything(&frame, Offload { segmentation: None, ..offload });
        }
        do_everything(&frame, Offload { checksum: ChecksumOffload::Valid, segmentation: None });
    }
}
