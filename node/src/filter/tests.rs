use super::*;
use packet::parse;

const A: [u8; 6] = [2, 0, 0, 0, 0, 1];
const B: [u8; 6] = [2, 0, 0, 0, 0, 2];

fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&B[..], &A, &ethertype.to_be_bytes(), payload].concat()
}

fn ipv4(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let total = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let fragment = fragment.to_be_bytes();
    let header = [0x45, 0, total[0], total[1], 0, 0, fragment[0], fragment[1], 64, protocol, 0, 0];
    [&header[..], &[10, 0, 0, 1], &[10, 0, 1, 2], payload].concat()
}

fn udp() -> Vec<u8> {
    ethernet(0x0800, &ipv4(17, 0, &[0x30, 0x39, 0, 53, 0, 8, 0, 0]))
}

fn tcp6() -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 20, 6, 64];
    packet.extend("fd00::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
    packet.extend("fd00::2".parse::<std::net::Ipv6Addr>().unwrap().octets());
    packet.extend([0, 80, 0x9c, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0]);
    // Behind a VLAN tag.
    ethernet(0x8100, &[&[0, 5, 0x86, 0xdd][..], &packet].concat())
}

fn arp() -> Vec<u8> {
    let body = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &A, &[10, 0, 0, 1], &[0; 6], &[10, 0, 0, 9]].concat();
    ethernet(0x0806, &body)
}

fn matches(filter: &str, frame: &[u8]) -> bool {
    let filter: Filter = filter.parse().unwrap_or_else(|error| panic!("{error}"));
    filter.matches(frame, parse(frame).ok().as_ref())
}

#[test]
fn every_word_holds_for_what_it_says_and_for_nothing_else() {
    let cases: [(&str, [bool; 3]); 27] = [
        // udp 10.0.0.1:12345 > 10.0.1.2:53, tcp fd00::1:80 > fd00::2:40000, arp 10.0.0.1 asks for 10.0.0.9
        ("", [true, true, true]),
        ("tcp", [false, true, false]),
        ("udp", [true, false, false]),
        ("arp", [false, false, true]),
        ("icmp", [false, false, false]),
        ("src=10.0.0.1", [true, false, true]),
        ("dst=10.0.0.1", [false, false, false]),
        ("dst=10.0.0.9", [false, false, true]),
        ("dst=10.0.0.0/16", [true, false, true]),
        ("src=fd00::/64", [false, true, false]),
        ("dst=fd00::2", [false, true, false]),
        ("host=10.0.1.2", [true, false, false]),
        ("host=10.0.0.9", [false, false, true]),
        ("host=0.0.0.0/0", [true, false, true]),
        ("sport=12345", [true, false, false]),
        ("sport=80", [false, true, false]),
        ("dport=53", [true, false, false]),
        ("dport=12345", [false, false, false]),
        ("port=53", [true, false, false]),
        ("port=40000", [false, true, false]),
        ("mac=02:00:00:00:00:01", [true, true, true]),
        ("mac=02:00:00:00:00:02", [true, true, true]),
        ("mac=02:00:00:00:00:03", [false, false, false]),
        ("udp,src=10.0.0.1,dport=53", [true, false, false]),
        ("udp,src=10.0.0.2,dport=53", [false, false, false]),
        (" tcp , host=fd00::1 ,", [false, true, false]),
        ("in=vm1", [true, true, true]),
    ];
    for (filter, expected) in cases {
        assert_eq!([udp(), tcp6(), arp()].map(|frame| matches(filter, &frame)), expected, "{filter}");
    }
}

#[test]
fn a_later_fragment_has_its_protocol_but_no_ports() {
    let fragment = ethernet(0x0800, &ipv4(17, 1, &[0, 53, 0, 53, 0, 8, 0, 0]));
    assert!(matches("udp,src=10.0.0.1", &fragment));
    assert!(!matches("port=53", &fragment));
}

#[test]
fn an_icmp_identifier_is_no_port() {
    let echo = ethernet(0x0800, &ipv4(1, 0, &[8, 0, 0, 0, 0, 53, 0, 1]));
    assert!(matches("icmp", &echo));
    assert!(!matches("port=53", &echo));
}

#[test]
fn what_has_no_headers_matches_only_what_asks_for_none() {
    for frame in [&[][..], &[1, 2, 3], &udp()[..20]] {
        assert!(matches("", frame));
        assert!(!matches("udp", frame));
        assert!(!matches("src=0.0.0.0/0", frame));
    }
}

#[test]
fn the_ingress_port_is_looked_at_once_it_has_a_number() {
    let filter: Filter = "udp,in=vm1".parse().unwrap();
    assert_eq!(filter.ingress(), Some("vm1"));
    let bound = filter.bind(PortId::new(3));
    let (frame, port) = (udp(), |index| PortId::new(index).unwrap());
    let layout = parse(&frame).unwrap();
    assert!(bound(&frame, Some(&layout), port(3)));
    assert!(!bound(&frame, Some(&layout), port(4)));
}

#[test]
fn a_wrong_text_is_told_what_is_expected() {
    let cases = [
        ("tpc", "\"tpc\" is no word of a filter"),
        ("vlan=5", "\"vlan=5\" is no word of a filter"),
        ("src=10.0.0", "src=10.0.0: an address or a network is expected"),
        ("dst=10.0.0.0/33", "dst=10.0.0.0/33: an address or a network is expected"),
        ("dport=65536", "dport=65536: a port, 0 to 65535, is expected"),
        ("mac=02", "mac=02: a MAC address, such as 02:00:00:00:00:11, is expected"),
        ("tcp,udp", "no frame is both tcp and udp"),
        ("in=a,in=b", "no frame is both in=a and in=b"),
    ];
    for (text, expected) in cases {
        let error = text.parse::<Filter>().unwrap_err().to_string();
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_and_no_bytes_panic(text in "[a-z=,0-9./: ]{0,40}", bytes in proptest::collection::vec(0u8.., 0..80)) {
        if let Ok(filter) = text.parse::<Filter>() {
            let _ = filter.matches(&bytes, parse(&bytes).ok().as_ref());
        }
    }
}
