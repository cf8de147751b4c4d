use super::*;
use packet::{Buffer, ChecksumOffload, FiveTuple, PortId, build, checksum, ethernet, icmp, ipv4, parse};
use std::net::Ipv4Addr;

const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const POD: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);
const OURS: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 1);
const PODS: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 9);

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn gateway() -> Gateway {
    Gateway { mac: MAC, addresses: vec![OURS.into(), v6("fe80::1").into(), v6("fd00::1").into()] }
}

fn frame_of(bytes: &[u8]) -> Frame {
    Frame::copied(Buffer::new(), bytes, PortId::new(3).unwrap()).unwrap()
}

/// The answer to a frame, and what the frame is then.
fn ask(bytes: &[u8]) -> (Answer, Vec<u8>) {
    let mut frame = frame_of(bytes);
    let answer = gateway().answer(&mut frame, &parse(bytes).unwrap(), &AddressRules::default());
    assert!(matches!(answer, Answer::Reply(_)) || frame.bytes() == bytes, "only a reply changes the frame");
    (answer, frame.bytes().to_vec())
}

fn end(mac: MacAddress, address: Ipv4Addr) -> arp::End {
    arp::End { mac, address }
}

fn echo(source: &str, destination: &str, payload: &[u8]) -> Vec<u8> {
    let (source, destination): (IpAddr, IpAddr) = (source.parse().unwrap(), destination.parse().unwrap());
    let protocol = if source.is_ipv4() { 1 } else { 58 };
    let tuple = FiveTuple { source, destination, protocol, source_port: 77, destination_port: 77 };
    build::frame(build::Link { source: POD, destination: MAC }, &tuple, payload).unwrap()
}

#[test]
fn an_arp_request_for_an_own_address_is_answered_to_the_asker() {
    let request = arp::request(end(POD, PODS), OURS);
    let heard = Message::Solicitation { target: OURS.into(), asker: PODS.into(), mac: Some(POD) };
    let (answer, reply) = ask(&request);
    assert_eq!(answer, Answer::Reply(Some(heard)));
    assert_eq!(reply, arp::reply(end(MAC, OURS), end(POD, PODS)));
    let mut unicast = request;
    unicast[..6].copy_from_slice(&MAC.0);
    assert_eq!(ask(&unicast).1, reply, "a neighbor that makes sure");
}

#[test]
fn the_padding_of_an_arp_request_is_not_in_the_reply() {
    let request = arp::request(end(POD, PODS), OURS);
    for padding in [0, 18, 1400] {
        let padded = [&request[..42], &vec![0xee; padding]].concat();
        let (_, reply) = ask(&padded);
        assert_eq!(reply, arp::reply(end(MAC, OURS), end(POD, PODS))[..42 + padding.min(18)]);
    }
}

#[test]
fn a_reply_keeps_the_traffic_class_and_has_no_flow_label() {
    let mut request = echo("fd00::9", "fd00::1", b"data");
    request[14..18].copy_from_slice(&[0x6b, 0x81, 0x23, 0x45]);
    let (_, reply) = ask(&request);
    assert_eq!(reply[14..18], [0x6b, 0x80, 0, 0]);
}

#[test]
fn an_arp_probe_is_answered_and_tells_nothing() {
    let probe = arp::request(end(POD, Ipv4Addr::UNSPECIFIED), OURS);
    let (answer, reply) = ask(&probe);
    assert!(
        matches!(answer, Answer::Reply(Some(Message::Solicitation { asker, .. })) if asker.is_unspecified())
    );
    assert_eq!(reply, arp::reply(end(MAC, OURS), end(POD, Ipv4Addr::UNSPECIFIED)));
}

#[test]
fn requests_for_other_addresses_and_to_other_macs_are_not_answered() {
    assert_eq!(ask(&arp::request(end(POD, PODS), Ipv4Addr::new(10, 244, 1, 2))).0, Answer::NotAsked);
    let mut request = arp::request(end(POD, PODS), OURS);
    request[..6].copy_from_slice(&[2, 0, 0, 0, 0, 7]);
    assert_eq!(ask(&request).0, Answer::NotAsked);
    let mut other = arp::request(end(POD, PODS), OURS);
    other[21] = 3;
    assert_eq!(ask(&other).0, Answer::NotAsked, "a reverse request");
}

#[test]
fn senders_without_a_station_mac_are_refused_and_those_with_ours_passed_over() {
    for frame in [arp::request(end(MAC, PODS), OURS), arp::gratuitous(MAC, OURS)] {
        assert_eq!(ask(&frame).0, Answer::NotAsked);
    }
    for mac in [MacAddress::ZERO, MacAddress::BROADCAST, MacAddress([1, 0, 0x5e, 0, 0, 1])] {
        let request = arp::request(end(mac, PODS), OURS);
        assert_eq!(ask(&request).0, Answer::Discard(DropReason::BadNeighborMessage), "{mac}");
    }
}

#[test]
fn a_claim_to_an_address_of_ours_is_a_conflict_and_never_answered() {
    let conflict = Answer::Conflict(OURS.into());
    assert_eq!(ask(&arp::gratuitous(POD, OURS)).0, conflict);
    assert_eq!(ask(&arp::request(end(POD, OURS), PODS)).0, conflict);
    assert_eq!(ask(&arp::reply(end(POD, OURS), end(MAC, PODS))).0, conflict);
    let claim = icmpv6::unsolicited_neighbor_advertisement(POD, v6("fd00::1"), false);
    assert_eq!(ask(&claim).0, Answer::Conflict(v6("fd00::1").into()));
}

#[test]
fn advertisements_are_handed_on() {
    let reply = arp::reply(end(POD, PODS), end(MAC, OURS));
    let told = |solicited| Message::Advertisement {
        target: PODS.into(),
        mac: Some(POD),
        solicited,
        overrides: true,
    };
    assert_eq!(ask(&reply).0, Answer::Heard(told(true)));
    assert_eq!(ask(&arp::gratuitous(POD, PODS)).0, Answer::Heard(told(false)));
}

#[test]
fn a_solicitation_is_answered_with_an_advertisement_of_a_router() {
    for (target, probed) in [("fe80::1", None), ("fd00::1", None), ("fd00::1", Some(MAC))] {
        let (source, target) = (v6("fd00::9"), v6(target));
        let (answer, reply) = ask(&icmpv6::neighbor_solicitation(POD, source, target, probed));
        let heard = Message::Solicitation { target: target.into(), asker: source.into(), mac: Some(POD) };
        assert_eq!(answer, Answer::Reply(Some(heard)));
        let link = ethernet::Header::new(&reply).unwrap();
        assert_eq!((link.destination(), link.source()), (POD, MAC));
        let header = ipv6::Header::new(&reply[14..]).unwrap();
        assert_eq!((header.source(), header.destination(), header.hop_limit()), (target, source, 255));
        let message = icmpv6::Message::new(&reply[54..]).unwrap();
        let neighbor = message.neighbor().unwrap();
        assert!(neighbor.is_advertisement() && neighbor.is_solicited() && neighbor.overrides());
        assert!(neighbor.is_router());
        assert_eq!(neighbor.options().collect::<Vec<_>>(), [icmpv6::NdOption::TargetLinkLayer(MAC)]);
        assert_eq!(checksum::transport_is_valid(&reply, &parse(&reply).unwrap()), Some(true));
    }
}

/// A solicitation without options.
fn bare_solicitation(source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let mut frame = icmpv6::neighbor_solicitation(POD, source, target, None)[..78].to_vec();
    frame[19] = 24;
    sum_v6(&mut frame);
    frame
}

fn sum_v6(frame: &mut [u8]) {
    let header = ipv6::Header::new(&frame[14..]).unwrap();
    let bytes = u32::from(header.payload_length());
    let pseudo = checksum::pseudo_header(header.source().into(), header.destination().into(), 58, bytes);
    frame[56..58].fill(0);
    let sum = pseudo.with(&frame[54..]).checksum();
    frame[56..58].copy_from_slice(&sum.to_be_bytes());
}

#[test]
fn duplicate_address_detection_is_answered_to_all_nodes() {
    let (answer, reply) = ask(&bare_solicitation(Ipv6Addr::UNSPECIFIED, v6("fd00::1")));
    assert!(matches!(answer, Answer::Reply(Some(_))));
    assert_eq!(reply[..6], [0x33, 0x33, 0, 0, 0, 1]);
    let header = ipv6::Header::new(&reply[14..]).unwrap();
    assert_eq!(header.destination(), ipv6::ALL_NODES);
    assert_eq!(reply[58], 0xa0, "router and override, not solicited");
    assert_eq!(checksum::transport_is_valid(&reply, &parse(&reply).unwrap()), Some(true));
}

#[test]
fn a_solicitation_without_a_mac_is_answered_to_the_frames_sender() {
    let (answer, reply) = ask(&bare_solicitation(v6("fd00::9"), v6("fd00::1")));
    assert!(matches!(answer, Answer::Reply(Some(Message::Solicitation { mac: None, .. }))));
    assert_eq!(reply[..6], POD.0);
    assert_eq!(reply[58], 0xe0);
}

#[test]
fn vlan_tags_stay() {
    let mut request = arp::request(end(POD, PODS), OURS).to_vec();
    request.splice(12..12, [0x81, 0, 0, 5]);
    assert_eq!(ask(&request).1[12..18], [0x81, 0, 0, 5, 8, 6]);
    let mut solicitation = icmpv6::neighbor_solicitation(POD, v6("fd00::9"), v6("fd00::1"), None).to_vec();
    solicitation.splice(12..12, [0x81, 0, 0, 5]);
    let reply = ask(&solicitation).1;
    assert_eq!((reply.len(), &reply[12..18]), (90, &[0x81, 0, 0, 5, 0x86, 0xdd][..]));
}

#[test]
fn an_echo_request_is_answered_with_its_data() {
    for (source, destination) in
        [("10.244.1.9", "10.244.1.1"), ("fd00::9", "fd00::1"), ("fe80::9", "fe80::1")]
    {
        for payload in [&b""[..], b"x", b"some data"] {
            let request = echo(source, destination, payload);
            let (answer, reply) = ask(&request);
            assert_eq!(answer, Answer::Reply(None));
            let layout = parse(&reply).unwrap();
            assert_eq!((&reply[..6], &reply[6..12]), (&POD.0[..], &MAC.0[..]));
            let tuple = FiveTuple::read(&request, &parse(&request).unwrap()).unwrap();
            assert_eq!(FiveTuple::read(&reply, &layout), Some(tuple.reversed()));
            assert_eq!(checksum::transport_is_valid(&reply, &layout), Some(true));
            let at = usize::from(layout.transport_offset);
            assert_eq!(reply[at], if destination.contains('.') { 0 } else { 129 });
            assert_eq!(reply[at + 4..], request[at + 4..]);
            if at == 34 {
                assert_eq!(reply[22], 64);
                assert!(ipv4::Header::new(&reply[14..]).unwrap().checksum_is_valid());
            } else {
                assert_eq!(reply[21], 64);
            }
        }
    }
}

#[test]
fn an_echo_with_its_checksum_left_to_complete_still_is_afterwards() {
    for (source, destination, start) in [("10.244.1.9", "10.244.1.1", 34_u16), ("fd00::9", "fd00::1", 54)] {
        let mut request = echo(source, destination, b"some data");
        let at = usize::from(start);
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        let pseudo =
            if start == 54 { checksum::pseudo_header(source, destination, 58, 17).folded() } else { 0 };
        request[at + 2..at + 4].copy_from_slice(&pseudo.to_be_bytes());
        let mut frame = frame_of(&request);
        let offload = Offload { checksum: ChecksumOffload::Partial { start, offset: 2 }, segmentation: None };
        frame.offload = offload;
        let answer = gateway().answer(&mut frame, &parse(&request).unwrap(), &AddressRules::default());
        assert_eq!(answer, Answer::Reply(None));
        assert_eq!(frame.offload, offload);
        let mut reply = frame.bytes().to_vec();
        checksum::complete(&mut reply, offload);
        assert_eq!(checksum::transport_is_valid(&reply, &parse(&reply).unwrap()), Some(true));
    }
}

#[test]
fn the_checksum_of_a_reply_of_zeros_is_all_ones() {
    for payload_bytes in [0, 1, 56] {
        let mut request = echo("10.244.1.9", "10.244.1.1", &vec![0; payload_bytes]);
        request[36..42].copy_from_slice(&[0xf7, 0xff, 0, 0, 0, 0]);
        let (answer, reply) = ask(&request);
        assert_eq!((answer, &reply[34..38]), (Answer::Reply(None), &[0, 0, 0xff, 0xff][..]));
    }
}

#[test]
fn the_options_of_an_echo_request_are_not_in_the_reply() {
    let mut request = echo("10.244.1.9", "10.244.1.1", b"some data");
    request.splice(34..34, [7, 7, 4, 0, 0, 0, 0, 0]);
    request[14] = 0x47;
    request[17] += 8;
    request[24..26].fill(0);
    let sum = checksum::of(&request[14..42]);
    request[24..26].copy_from_slice(&sum.to_be_bytes());
    let padded = [request.as_slice(), &[0x55; 4]].concat();
    let (answer, reply) = ask(&padded);
    assert_eq!(answer, Answer::Reply(None));
    assert_eq!(reply, ask(&echo("10.244.1.9", "10.244.1.1", b"some data")).1);
}

#[test]
fn a_checksum_left_to_complete_moves_with_the_message_when_options_go() {
    let mut request = echo("10.244.1.9", "10.244.1.1", b"some data");
    request[36..38].fill(0);
    request.splice(34..34, [1, 1, 1, 0]);
    request[14] = 0x46;
    request[17] += 4;
    request[24..26].fill(0);
    let sum = checksum::of(&request[14..38]);
    request[24..26].copy_from_slice(&sum.to_be_bytes());
    let mut frame = frame_of(&request);
    frame.offload.checksum = ChecksumOffload::Partial { start: 38, offset: 2 };
    let answer = gateway().answer(&mut frame, &parse(&request).unwrap(), &AddressRules::default());
    assert_eq!(answer, Answer::Reply(None));
    let mut reply = frame.bytes().to_vec();
    checksum::complete(&mut reply, frame.offload);
    assert_eq!(reply, ask(&echo("10.244.1.9", "10.244.1.1", b"some data")).1);
}

#[test]
fn echo_requests_that_are_not_to_be_answered_are_not() {
    let sound = echo("10.244.1.9", "10.244.1.1", b"some data");
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = sound.clone();
        change(&mut frame);
        frame[24..26].fill(0);
        let sum = checksum::of(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        ask(&frame).0
    };
    assert_eq!(changed(&|frame| frame[44] ^= 1), Answer::Discard(DropReason::BadEcho), "checksum");
    assert_eq!(changed(&|frame| frame[20] = 0x20), Answer::Discard(DropReason::BadEcho), "fragment");
    assert_eq!(changed(&|frame| frame[..6].fill(0xff)), Answer::Discard(DropReason::LinkBroadcast));
    for source in [[0; 4], [255; 4], [224, 0, 0, 1], [127, 0, 0, 1], [10, 244, 1, 1]] {
        let refused = changed(&|frame| frame[26..30].copy_from_slice(&source));
        assert_eq!(refused, Answer::Discard(DropReason::MartianSource));
    }
    assert_eq!(changed(&|frame| frame[30..34].fill(255)), Answer::NotAsked, "broadcast");
    assert_eq!(changed(&|frame| frame[30..34].copy_from_slice(&[224, 0, 0, 1])), Answer::NotAsked);
    assert_eq!(changed(&|frame| frame[34] = icmp::TIMESTAMP_REQUEST), Answer::NotAsked);
    let mut wrong = sound.clone();
    wrong[24] ^= 1;
    assert_eq!(ask(&wrong).0, Answer::Discard(DropReason::BadIpChecksum));
    assert_eq!(ask(&echo("fd00::9", "ff02::1", b"x")).0, Answer::NotAsked);
    assert_eq!(ask(&echo("fd00::9", "fd00::2", b"x")).0, Answer::NotAsked);
    let mut extended = echo("fd00::9", "fd00::1", b"x");
    extended.splice(54..54, [58, 0, 1, 4, 0, 0, 0, 0]);
    extended[20] = 60;
    extended[19] += 8;
    assert_eq!(ask(&extended).0, Answer::Discard(DropReason::BadEcho), "behind options");
}

#[test]
fn errors_come_from_an_address_that_reaches_the_sender() {
    let gateway = gateway();
    assert_eq!(gateway.address_toward(PODS.into()), Some(OURS.into()));
    assert_eq!(gateway.address_toward(v6("fe80::9").into()), Some(v6("fe80::1").into()));
    assert_eq!(gateway.address_toward(v6("2001:db8::1").into()), Some(v6("fd00::1").into()));
    let local = Gateway { addresses: vec![v6("fe80::1").into()], ..gateway };
    assert_eq!(local.address_toward(v6("2001:db8::1").into()), Some(v6("fe80::1").into()));
    assert_eq!(local.address_toward(PODS.into()), None);
}
