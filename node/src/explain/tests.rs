use super::*;
use crate::filter::Filter;

fn described(text: &str) -> Result<Described, String> {
    text.parse::<Filter>().map_err(|error| error.to_string())?.describe()
}

#[test]
fn a_packet_is_described_by_the_words_of_a_filter() {
    let packet = described("in=p10,tcp,src=10.244.1.10,dst=8.8.8.8,sport=1,dport=80").unwrap();
    let flow = FiveTuple {
        source: "10.244.1.10".parse().unwrap(),
        destination: "8.8.8.8".parse().unwrap(),
        protocol: 6,
        source_port: 1,
        destination_port: 80,
    };
    assert_eq!(packet, Described { ingress: "p10".into(), flow });
    let echo = described("in=p10,icmp,src=fd00::1,dst=fd00::2").unwrap();
    assert_eq!(echo.flow.protocol, 58);
}

#[test]
fn what_is_missing_or_too_much_is_named() {
    for (text, expected) in [
        ("tcp,src=10.0.0.1,dst=10.0.0.2", "in=PORT is missing: the port that the packet comes in by"),
        ("in=a,src=10.0.0.1,dst=10.0.0.2", "a protocol is missing: tcp, udp, sctp or icmp"),
        ("in=a,arp,src=10.0.0.1,dst=10.0.0.2", "a protocol is missing: tcp, udp, sctp or icmp"),
        ("in=a,tcp,dst=10.0.0.2", "src=ADDRESS is missing"),
        ("in=a,tcp,src=10.0.0.1", "dst=ADDRESS is missing"),
        ("in=a,tcp,src=10.0.0.0/8,dst=10.0.0.2", "10.0.0.0/8 is not one address"),
        ("in=a,tcp,src=10.0.0.1,dst=fd00::1", "10.0.0.1 and fd00::1 are of different families"),
        (
            "in=a,tcp,src=10.0.0.1,dst=10.0.0.2,port=1",
            "host=, port= and mac= say too little about a packet: use src=, dst=, sport= and dport=",
        ),
    ] {
        assert_eq!(described(text).unwrap_err(), expected, "{text}");
    }
}
