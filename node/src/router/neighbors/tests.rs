use super::*;
use packet::{Network, parse};
use router::neighbor::{Lookup, Message, State};

const GATEWAY: MacAddress = MacAddress([0x0a, 0x58, 10, 244, 1, 1]);
const NIC: MacAddress = MacAddress([2, 0, 0, 0, 0, 7]);
const POD: MacAddress = MacAddress([2, 0, 0, 0, 1, 1]);

fn port(number: u16) -> PortId {
    PortId::new(number).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn station(mac: MacAddress, addresses: &[&str]) -> Station {
    Station { mac, addresses: addresses.iter().map(|text| text.parse().unwrap()).collect() }
}

fn control() -> NeighborControl {
    let mut control = NeighborControl::new(port(2), 1);
    control.set_station(LinkId::Bridge, station(GATEWAY, &["10.244.1.1/24", "fd00:1::1/64"]));
    let uplink = ["192.168.0.11/24", "10.0.0.5/8", "fe80::77/64", "fd00:9::7/64"];
    control.set_station(LinkId::Uplink, station(NIC, &uplink));
    control
}

fn want(control: &mut NeighborControl, link: LinkId, address: &str) -> Vec<Outgoing> {
    control.punt(Punt::Wanted { link, address: ip(address), asker: port(9) }, 0, 0);
    control.take_outgoing()
}

/// Who asks and for whom, by ARP or neighbor discovery.
fn asked(frame: &[u8]) -> (IpAddr, IpAddr) {
    let layout = parse(frame).unwrap();
    if layout.network == Network::Arp {
        let packet = arp::Packet::new(&frame[14..]).unwrap();
        return (packet.sender_address().into(), packet.target_address().into());
    }
    let header = ipv6::Header::new(&frame[14..]).unwrap();
    let message = icmpv6::Message::new(&frame[usize::from(layout.transport_offset)..]).unwrap();
    (header.source().into(), message.neighbor().unwrap().target().into())
}

#[test]
fn whoever_is_looked_for_is_asked_from_an_address_of_the_same_network() {
    let mut control = control();
    for (link, to, target, asker) in [
        (LinkId::Bridge, Outlet::Unbound, "10.244.1.9", "10.244.1.1"),
        (LinkId::Bridge, Outlet::Unbound, "fd00:1::9", "fd00:1::1"),
        (LinkId::Uplink, Outlet::Port(port(2)), "192.168.0.1", "192.168.0.11"),
        (LinkId::Uplink, Outlet::Port(port(2)), "10.9.9.9", "10.0.0.5"),
        (LinkId::Uplink, Outlet::Port(port(2)), "203.0.113.1", "192.168.0.11"),
        (LinkId::Uplink, Outlet::Port(port(2)), "fd00:9::1", "fd00:9::7"),
        (LinkId::Uplink, Outlet::Port(port(2)), "fd00:8::1", "fe80::77"),
    ] {
        let sent = want(&mut control, link, target);
        assert_eq!(sent.len(), 1, "{target}");
        assert_eq!((sent[0].to, asked(&sent[0].frame)), (to, (ip(asker), ip(target))));
        let mac = if link == LinkId::Bridge { GATEWAY } else { NIC };
        assert_eq!(MacAddress::read(&sent[0].frame, 6), Some(mac));
    }
    assert_eq!(want(&mut control, LinkId::Uplink, "192.168.0.1"), [], "it is being asked for");
}

#[test]
fn an_answer_is_in_the_next_map_and_a_known_map_is_not_made_again() {
    let mut control = control();
    let before = control.map(LinkId::Uplink);
    want(&mut control, LinkId::Uplink, "192.168.0.1");
    assert!(Arc::ptr_eq(&before, &control.map(LinkId::Uplink)), "workers see nothing of a question");
    let message = Message::Advertisement {
        target: ip("192.168.0.1"),
        mac: Some(POD),
        solicited: true,
        overrides: true,
    };
    control.punt(Punt::Heard { link: LinkId::Uplink, port: port(2), message }, 5, 0);
    let usable = Lookup::Usable { mac: POD, port: port(2), tell: None };
    assert_eq!(control.map(LinkId::Uplink).lookup(ip("192.168.0.1")), usable);
    assert_eq!(control.map(LinkId::Bridge).lookup(ip("192.168.0.1")), Lookup::Unknown);
}

#[test]
fn who_is_silent_is_asked_three_times_and_then_given_up() {
    let mut control = control();
    let mut frames = want(&mut control, LinkId::Bridge, "10.244.1.9").len();
    let mut now_ms = 0;
    while let Some(deadline_ms) = control.next_deadline_ms() {
        now_ms = deadline_ms;
        assert!(!control.tick(now_ms));
        frames += control.take_outgoing().len();
        if control.map(LinkId::Bridge).lookup(ip("10.244.1.9")) == Lookup::Unreachable {
            break;
        }
    }
    assert_eq!((frames, now_ms), (3, 3000));
}

#[test]
fn a_neighbor_in_doubt_is_probed_alone_where_it_was() {
    let mut control = control();
    let message = Message::Solicitation { target: ip("10.244.1.1"), asker: ip("10.244.1.9"), mac: Some(POD) };
    control.punt(Punt::Heard { link: LinkId::Bridge, port: port(4), message }, 0, 0);
    control.punt(Punt::Used { link: LinkId::Bridge, address: ip("10.244.1.9"), asker: port(3) }, 0, 0);
    assert_eq!(control.take_outgoing(), []);
    control.tick(control.next_deadline_ms().unwrap());
    let sent = control.take_outgoing();
    assert_eq!(sent[0].to, Outlet::Port(port(4)));
    assert_eq!(MacAddress::read(&sent[0].frame, 0), Some(POD));
    assert_eq!(asked(&sent[0].frame).1, ip("10.244.1.9"));
}

#[test]
fn configured_addresses_are_permanent_as_long_as_they_are_configured() {
    let mut control = control();
    let pods = |list: &[(&str, u16)]| list.iter().map(|(text, of)| (ip(text), (POD, port(*of)))).collect();
    control.set_permanent(LinkId::Bridge, pods(&[("10.244.1.8", 3), ("10.244.1.9", 4)]));
    let states: Vec<State> = control.on(LinkId::Bridge).map(|neighbor| neighbor.state).collect();
    assert_eq!(states, [State::Permanent; 2]);
    assert_eq!(control.flush(None), 0);
    control.set_permanent(LinkId::Bridge, pods(&[("10.244.1.9", 5)]));
    let at = |control: &mut NeighborControl, text: &str| control.map(LinkId::Bridge).lookup(ip(text));
    assert_eq!(at(&mut control, "10.244.1.8"), Lookup::Unknown);
    assert_eq!(at(&mut control, "10.244.1.9"), Lookup::Usable { mac: POD, port: port(5), tell: None });
    control.remove_port(port(5));
    assert_eq!(at(&mut control, "10.244.1.9"), Lookup::Unknown);
    control.set_permanent(LinkId::Bridge, pods(&[("10.244.1.9", 5)]));
    assert_eq!(at(&mut control, "10.244.1.9"), Lookup::Usable { mac: POD, port: port(5), tell: None });
}

#[test]
fn the_gateway_defends_its_addresses_but_not_again_and_again() {
    let mut control = control();
    let mut claim = |address: &str, link: LinkId, now_ms: u64| {
        control.punt(Punt::Conflict { link, port: port(6), address: ip(address) }, now_ms, 0);
        (control.take_outgoing(), control.take_conflicts())
    };
    let (sent, conflicts) = claim("10.244.1.1", LinkId::Bridge, 5);
    let announcement = arp::gratuitous(GATEWAY, [10, 244, 1, 1].into()).to_vec();
    assert_eq!(sent, [Outgoing { to: Outlet::Bridge, frame: announcement }]);
    assert_eq!(conflicts, [Conflict { port: port(6), address: ip("10.244.1.1") }]);
    assert_eq!(claim("10.244.1.1", LinkId::Bridge, 5 + DEFEND_INTERVAL_MS - 1), (vec![], vec![]));
    assert_eq!(claim("fd00:1::1", LinkId::Bridge, 6).0.len(), 1, "each address for itself");
    assert_eq!(claim("10.244.1.1", LinkId::Bridge, 5 + DEFEND_INTERVAL_MS).0.len(), 1);
    assert_eq!(claim("192.168.0.11", LinkId::Uplink, 0), (vec![], vec![]), "the kernel's to defend");
    assert_eq!(claim("10.244.1.77", LinkId::Bridge, 0), (vec![], vec![]));
}

#[test]
fn on_another_card_nobody_is_known() {
    let mut control = control();
    let message =
        Message::Solicitation { target: ip("192.168.0.11"), asker: ip("192.168.0.1"), mac: Some(POD) };
    control.punt(Punt::Heard { link: LinkId::Uplink, port: port(2), message }, 0, 0);
    assert_eq!(control.len(), 1);
    control.set_station(LinkId::Uplink, station(NIC, &["192.168.0.12/24"]));
    assert_eq!(control.len(), 1, "another address is no other card");
    control.set_station(LinkId::Uplink, station(POD, &["192.168.0.12/24"]));
    assert!(control.is_empty());
}

#[test]
fn every_address_is_announced_from_the_port_s_own_mac() {
    let mac = MacAddress([2, 0, 0, 0, 0, 1]);
    let addresses: [IpAddr; 2] = ["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
    let frames = addresses.map(|address| announcement(mac, address, false));
    assert_eq!(frames.len(), 2);
    for frame in &frames {
        assert_eq!(MacAddress::read(frame, 6), Some(mac));
        assert!(MacAddress::read(frame, 0).unwrap().is_group());
    }
}
