use super::*;
use packet::{FiveTuple, build, parse};
use std::net::Ipv6Addr;

const POD: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);
const BAD: Result<Option<Message>, DropReason> = Err(DropReason::BadNeighborMessage);

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn read_of(frame: &[u8]) -> Result<Option<Message>, DropReason> {
    read(frame, &parse(frame).unwrap(), ChecksumOffload::None)
}

/// A solicitation with its bytes changed and its checksum made right again.
fn changed(frame: &[u8], change: impl Fn(&mut Vec<u8>)) -> Result<Option<Message>, DropReason> {
    let mut frame = frame.to_vec();
    change(&mut frame);
    let payload_bytes = u16::try_from(frame.len() - 54).unwrap();
    frame[18..20].copy_from_slice(&payload_bytes.to_be_bytes());
    let header = ipv6::Header::new(&frame[14..]).unwrap();
    let (source, destination) = (header.source().into(), header.destination().into());
    let pseudo = checksum::pseudo_header(source, destination, 58, payload_bytes.into());
    frame[56..58].fill(0);
    let sum = pseudo.with(&frame[54..]).checksum();
    frame[56..58].copy_from_slice(&sum.to_be_bytes());
    read_of(&frame)
}

fn solicitation() -> [u8; 86] {
    icmpv6::neighbor_solicitation(POD, v6("fd00::9"), v6("fd00::1"), None)
}

fn advertisement() -> [u8; 86] {
    icmpv6::unsolicited_neighbor_advertisement(POD, v6("fd00::9"), false)
}

#[test]
fn a_message_with_any_fault_that_rfc_4861_names_is_discarded() {
    for frame in [solicitation(), advertisement()] {
        assert!(matches!(changed(&frame, |_| {}), Ok(Some(_))));
        for hop_limit in [0, 1, 64, 254] {
            assert_eq!(changed(&frame, |frame| frame[21] = hop_limit), BAD);
        }
        assert_eq!(changed(&frame, |frame| frame[55] = 1), BAD, "code");
        assert_eq!(changed(&frame, |frame| frame.truncate(77)), BAD, "23 bytes");
        assert_eq!(changed(&frame, |frame| frame[79] = 0), BAD, "option of length 0");
        assert_eq!(changed(&frame, |frame| frame[79] = 2), BAD, "option cut short");
        assert_eq!(changed(&frame, |frame| frame[62] = 0xff), BAD, "group as target");
        assert_eq!(changed(&frame, |frame| frame[62..78].fill(0)), BAD, "no target");
        assert_eq!(changed(&frame, |frame| frame[80] |= 1), BAD, "group as MAC");
        assert_eq!(changed(&frame, |frame| frame[80..86].fill(0)), BAD, "no MAC");
        assert_eq!(changed(&frame, |frame| frame[22] = 0xff), BAD, "group as source");
        let mut wrong = frame;
        wrong[57] ^= 1;
        assert_eq!(read_of(&wrong), BAD, "checksum");
    }
}

#[test]
fn duplicate_address_detection_keeps_its_own_rules() {
    let without_mac = |frame: &mut Vec<u8>| {
        frame[22..38].fill(0);
        frame.truncate(78);
    };
    let asker = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let expected = Message::Solicitation { target: v6("fd00::1").into(), asker, mac: None };
    assert_eq!(changed(&solicitation(), without_mac), Ok(Some(expected)));
    assert_eq!(changed(&solicitation(), |frame| frame[22..38].fill(0)), BAD, "with a MAC");
    let to_the_target = |frame: &mut Vec<u8>| {
        without_mac(frame);
        frame[38..54].copy_from_slice(&v6("fd00::1").octets());
    };
    assert_eq!(changed(&solicitation(), to_the_target), BAD, "not to the group");
}

#[test]
fn an_advertisement_to_many_or_from_nobody_cannot_be_solicited() {
    assert_eq!(changed(&advertisement(), |frame| frame[58] |= 0x40), BAD);
    assert_eq!(changed(&advertisement(), |frame| frame[22..38].fill(0)), BAD);
    let to_one = |frame: &mut Vec<u8>| {
        frame[58] = 0x60;
        frame[38..54].copy_from_slice(&v6("fd00::1").octets());
    };
    let (target, mac) = (v6("fd00::9").into(), Some(POD));
    let expected = Message::Advertisement { target, mac, solicited: true, overrides: true };
    assert_eq!(changed(&advertisement(), to_one), Ok(Some(expected)));
}

#[test]
fn the_mac_may_be_left_out_and_other_options_do_not_matter() {
    let other = |frame: &mut Vec<u8>| frame[78] = 14;
    let read = changed(&solicitation(), other);
    assert!(matches!(read, Ok(Some(Message::Solicitation { mac: None, .. }))));
    let read = changed(&advertisement(), |frame| frame[78] = 1);
    assert!(
        matches!(read, Ok(Some(Message::Advertisement { mac: None, .. }))),
        "the sender's is not the target's"
    );
}

#[test]
fn neighbor_discovery_with_a_fragment_header_is_ignored_even_if_it_is_whole() {
    let mut frame = solicitation().to_vec();
    frame.splice(54..54, [58, 0, 0, 0, 0, 0, 0, 1]);
    frame[20] = 44;
    frame[19] += 8;
    assert_eq!(parse(&frame).unwrap().fragment, Fragment::Whole);
    assert_eq!(read_of(&frame), BAD);
    frame[57] = 1;
    assert_eq!(read_of(&frame), BAD);
}

#[test]
fn a_checksum_that_the_kernel_vouches_for_is_believed() {
    let mut frame = solicitation();
    frame[56] ^= 1;
    let layout = parse(&frame).unwrap();
    assert!(matches!(read(&frame, &layout, ChecksumOffload::Valid), Ok(Some(_))));
}

#[test]
fn other_frames_are_no_messages() {
    let tuple = FiveTuple {
        source: v6("fd00::9").into(),
        destination: v6("fd00::1").into(),
        protocol: 58,
        source_port: 1,
        destination_port: 1,
    };
    let echo = build::frame(build::Link::default(), &tuple, b"x").unwrap();
    assert_eq!(read_of(&echo), Ok(None));
    assert_eq!(read_of(&[0; 60]), Ok(None));
    let mut redirect = solicitation();
    redirect[54] = icmpv6::REDIRECT;
    assert_eq!(read_of(&redirect), Ok(None));
}

#[test]
fn an_arp_packet_with_impossible_addresses_is_discarded() {
    let sender = arp::End { mac: POD, address: [10, 0, 0, 9].into() };
    let frame = arp::request(sender, [10, 0, 0, 1].into());
    for octets in [[224, 0, 0, 1], [255; 4], [127, 0, 0, 1]] {
        for at in [28, 38] {
            let mut frame = frame;
            frame[at..at + 4].copy_from_slice(&octets);
            assert_eq!(read_of(&frame), BAD, "{octets:?} at {at}");
        }
    }
    let mut nobody = frame;
    nobody[38..42].fill(0);
    assert_eq!(read_of(&nobody), BAD);
    nobody = arp::reply(arp::End { address: [0; 4].into(), ..sender }, sender);
    assert_eq!(read_of(&nobody), BAD, "a reply of nobody");
}

#[test]
fn an_arp_reply_to_all_answers_nobody() {
    let sender = arp::End { mac: POD, address: [10, 0, 0, 9].into() };
    let mut reply = arp::reply(sender, arp::End { mac: POD, address: [10, 0, 0, 1].into() });
    let solicited = |frame: &[u8]| match read_of(frame) {
        Ok(Some(Message::Advertisement { solicited, .. })) => solicited,
        other => panic!("{other:?}"),
    };
    assert!(solicited(&reply));
    reply[..6].fill(0xff);
    assert!(!solicited(&reply));
    let mut announcement = arp::reply(sender, sender);
    announcement[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    assert!(!solicited(&announcement), "an announcement in form of a reply");
}
