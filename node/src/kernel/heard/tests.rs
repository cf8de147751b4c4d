//! Messages that somebody else's library has written, and those that nobody would write.

use netlink_packet_core::Emitable;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteNextHop, RouteNextHopFlags, RouteProtocol, RouteType,
};
use proptest::prelude::*;

use super::*;

fn bytes(message: &impl Emitable) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

#[test]
fn a_link_is_read() {
    let mut message = LinkMessage::default();
    message.header.index = 7;
    message.header.flags = LinkFlags::Up | LinkFlags::Running;
    message.attributes = vec![
        LinkAttribute::IfName("eth0".to_owned()),
        LinkAttribute::Mtu(1400),
        LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]),
    ];
    let Some(Heard::Link { link, .. }) = read(libc::RTM_NEWLINK, 0, &bytes(&message)) else {
        panic!("no link")
    };
    let mac = Some(MacAddress([2, 0, 0, 0, 0, 1]));
    let expected = KernelLink { index: 7, name: "eth0".to_owned(), mac, mtu_bytes: 1400, is_running: true };
    assert_eq!(link, expected);
    assert_eq!(read(libc::RTM_DELLINK, 0, &bytes(&message)), Some(Heard::LinkGone { index: 7 }));
    message.header.interface_family = AddressFamily::Bridge;
    assert_eq!(read(libc::RTM_DELLINK, 0, &bytes(&message)), None, "it has left a bridge");
    assert_eq!(read(libc::RTM_NEWLINK, 0, &bytes(&message)), None);
}

fn route() -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.destination_prefix_length = 8;
    message.header.kind = RouteType::Unicast;
    message.header.protocol = RouteProtocol::Bird;
    message.header.table = 252;
    let hop = |interface_index, hops, last, flags| {
        let mut hop = RouteNextHop::default();
        (hop.interface_index, hop.hops, hop.flags) = (interface_index, hops, flags);
        hop.attributes = vec![RouteAttribute::Gateway(RouteAddress::Inet([192, 0, 2, last].into()))];
        hop
    };
    message.attributes = vec![
        RouteAttribute::Table(1000),
        RouteAttribute::Destination(RouteAddress::Inet([10, 0, 0, 0].into())),
        RouteAttribute::Priority(32),
        RouteAttribute::MultiPath(vec![
            hop(4, 255, 2, RouteNextHopFlags::empty()),
            hop(3, 1, 1, RouteNextHopFlags::Linkdown),
        ]),
    ];
    message
}

#[test]
fn a_route_of_several_hops_is_read() {
    let Some(Heard::Route(slot, way, entry)) = read(libc::RTM_NEWROUTE, NLM_F_REPLACE, &bytes(&route()))
    else {
        panic!("no route")
    };
    // The table in the header is too small for this one.
    assert_eq!(slot, Slot { table: 1000, prefix: "10.0.0.0/8".parse().unwrap(), metric: 32 });
    assert_eq!((way.protocol, way.kind, entry), (12, libc::RTN_UNICAST, Entry::Replace));
    let hop = |index, last: u8, weight, is_dead| Hop {
        index,
        gateway: Some([192, 0, 2, last].into()),
        weight,
        detour: 0,
        is_dead,
    };
    assert_eq!(way.hops, [hop(3, 1, 2, true), hop(4, 2, 255, false)]);
}

#[test]
fn a_route_for_some_sources_or_services_is_none() {
    type Change = fn(&mut RouteMessage);
    let changes: [Change; 3] = [
        |message| message.header.tos = 4,
        |message| message.header.source_prefix_length = 8,
        |message| message.header.flags = netlink_packet_route::route::RouteFlags::Cloned,
    ];
    for change in changes {
        let mut message = route();
        change(&mut message);
        assert_eq!(read(libc::RTM_NEWROUTE, 0, &bytes(&message)), None);
    }
}

#[test]
fn only_permanent_neighbors_are_known() {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = 3;
    message.header.state = NeighbourState::Permanent;
    message.attributes = vec![
        NeighbourAttribute::Destination(NeighbourAddress::Inet([192, 0, 2, 1].into())),
        NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, 1]),
    ];
    let heard = |mac| Some(Heard::Neighbor { index: 3, address: [192, 0, 2, 1].into(), mac });
    let mac = Some(MacAddress([2, 0, 0, 0, 0, 1]));
    assert_eq!(read(libc::RTM_NEWNEIGH, 0, &bytes(&message)), heard(mac));
    assert_eq!(read(libc::RTM_DELNEIGH, 0, &bytes(&message)), heard(None));
    message.header.state = NeighbourState::Reachable;
    assert_eq!(read(libc::RTM_NEWNEIGH, 0, &bytes(&message)), heard(None));
}

proptest! {
    #[test]
    fn no_message_is_too_absurd(
        message_type in 0..120_u16,
        family in prop_oneof![Just(0_u8), Just(2), Just(7), Just(10), any::<u8>()],
        flags: u16,
        mut payload: Vec<u8>,
    ) {
        if let Some(first) = payload.first_mut() {
            *first = family;
        }
        let _ = read(message_type, flags, &payload);
    }

    #[test]
    fn a_damaged_route_is_read_or_not(at in 0..100_usize, by: u8, length in 0..100_usize) {
        let mut bytes = bytes(&route());
        let at = at % bytes.len();
        bytes[at] ^= by;
        bytes.truncate(length);
        let _ = read(libc::RTM_NEWROUTE, 0, &bytes);
    }
}
