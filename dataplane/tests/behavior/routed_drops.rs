//! Every reason for which the router drops, brought about once by pod 0.

use packet::protocol::ip_protocol::ICMP;
use packet::{DropReason, FiveTuple, Offload, arp, build};
use router::rib::{RouteKind, RouteSource};

use crate::frames::{Family, address, link, mac, pattern};
use crate::rig::{Plan, Rig};
use crate::routed::{
    GATEWAY, HOST, Routed, UPLINK, datagram, ipv4_options, net, outbound, text, with_hop_limit,
};

/// What the router itself would refuse, but the pipeline never shows it: a frame for many is flooded, not routed.
pub(crate) const CANNOT_OCCUR: [DropReason; 1] = [DropReason::LinkBroadcast];

/// A datagram of pod 0 to the gateway's MAC.
fn between(source: &str, destination: &str) -> Vec<u8> {
    datagram((0, GATEWAY), (text(source), text(destination)), b"")
}

/// An echo request of pod 0 to the gateway.
fn echo() -> Vec<u8> {
    let (source, destination) = (address(0, Family::V4), address(GATEWAY, Family::V4));
    let flow = FiveTuple { source, destination, protocol: ICMP, source_port: 7, destination_port: 7 };
    build::frame(link(0, GATEWAY), &flow, b"ping").unwrap()
}

/// A switch whose router is about to drop one frame for this reason, or has done so.
pub(crate) fn having_dropped(reason: DropReason) -> Rig {
    let v4 = || outbound(Family::V4, b"");
    let (routed, frame) = match reason {
        DropReason::AnswerLimit => return having_answered_enough(),
        DropReason::HostRedirect => return having_heard_a_redirect(),
        DropReason::NeighborUnresolved => return having_waited(),
        DropReason::NeighborQueueFull => return having_filled_a_queue(),
        DropReason::BadIpHeader => (Routed::new(), changed(v4(), |frame| frame[14] = 0x55)),
        DropReason::BadIpChecksum => (Routed::new(), changed(v4(), |frame| frame[24] ^= 1)),
        DropReason::BadIpOptions => (Routed::new(), ipv4_options(&v4(), &[7, 1, 0, 0])),
        DropReason::SourceRoute => (Routed::new(), ipv4_options(&v4(), &[131, 7, 4, 10, 0, 0, 1, 0])),
        DropReason::MartianSource => (Routed::new(), between("127.0.0.1", "10.9.0.7")),
        DropReason::MartianDestination => (Routed::new(), between("10.0.0.0", "127.0.0.1")),
        DropReason::MulticastNotRouted => (Routed::new(), between("10.0.0.0", "239.1.2.3")),
        DropReason::DirectedBroadcast => (Routed::new(), between("10.0.0.0", "192.168.0.255")),
        DropReason::TtlExpired => (Routed::new(), with_hop_limit(&v4(), 1)),
        DropReason::ReversePath => (Routed::new(), between("10.77.0.1", "10.9.0.7")),
        DropReason::NoRoute => {
            let mut routed = Routed::new();
            assert_eq!(routed.rib.withdraw(net("0.0.0.0/0"), RouteSource::Static, 0).len(), 1);
            (routed, v4())
        }
        DropReason::RouteBlackhole => (with_route(RouteKind::Blackhole), v4()),
        DropReason::RouteProhibited => (with_route(RouteKind::Prohibit), v4()),
        DropReason::RouteUnreachable => (with_route(RouteKind::Unreachable), v4()),
        DropReason::PacketTooBig => {
            let narrow = Plan { mtu_bytes: 1280, ..Plan::default() };
            (Routed::with(1, narrow), outbound(Family::V4, &pattern(1400)))
        }
        DropReason::BadNeighborMessage => {
            let [std::net::IpAddr::V4(pod), std::net::IpAddr::V4(gateway)] =
                [0, GATEWAY].map(|station| address(station, Family::V4))
            else {
                unreachable!("asked for IPv4")
            };
            let request = arp::request(arp::End { mac: mac(0), address: pod }, gateway);
            let from_a_group = changed(request.to_vec(), |frame| {
                frame[..6].copy_from_slice(&mac(GATEWAY).0);
                frame[22] |= 1;
            });
            (Routed::new(), from_a_group)
        }
        DropReason::BadEcho => (without_host(), changed(echo(), |frame| frame[36] ^= 1)),
        DropReason::NotForGateway => (without_host(), between("10.0.0.0", "10.0.0.254")),
        other => unreachable!("{} is not the router's, or cannot occur", other.name()),
    };
    let mut routed = routed;
    routed.publish();
    routed.rig.send(0, &frame);
    routed.rig
}

fn changed(mut frame: Vec<u8>, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    change(&mut frame);
    frame
}

fn with_route(kind: RouteKind) -> Routed {
    let mut routed = Routed::new();
    routed.route("10.9.0.0/16", kind);
    routed
}

fn without_host() -> Routed {
    let mut routed = Routed::new();
    routed.has_host = false;
    routed
}

/// The gateway answers until it has had enough.
fn having_answered_enough() -> Rig {
    let mut routed = without_host();
    routed.publish();
    let rig = &mut routed.rig;
    while rig.dropped(DropReason::AnswerLimit) == 0 {
        rig.send(0, &echo());
        rig.run();
        let answered = rig.received(0).len() as u64;
        assert_eq!(answered + rig.dropped(DropReason::AnswerLimit), 1);
    }
    routed.rig
}

/// The host's kernel tells pod 1 of a shorter way.
fn having_heard_a_redirect() -> Rig {
    let routed = Routed::new();
    let (source, destination) = (address(GATEWAY, Family::V4), address(1, Family::V4));
    let flow = FiveTuple { source, destination, protocol: ICMP, source_port: 0, destination_port: 0 };
    let redirect = changed(build::frame(link(GATEWAY, 1), &flow, &[0; 28]).unwrap(), |frame| frame[34] = 5);
    routed.rig.send(HOST, &redirect);
    routed.rig
}

fn having_waited() -> Rig {
    let mut routed = Routed::new();
    routed.rig.send(0, &between("10.0.0.0", "192.168.0.77"));
    routed.rig.run();
    routed.rig.now_ms = 4_000;
    routed.rig
}

/// One frame more than may wait for a neighbor, which is found then.
fn having_filled_a_queue() -> Rig {
    let mut routed = Routed::new();
    for _ in 0..102 {
        routed.rig.send(0, &between("10.0.0.0", "192.168.0.77"));
    }
    routed.rig.run();
    routed.find(dataplane::LinkId::Uplink, text("192.168.0.77"), 77, UPLINK);
    routed.rig
}

#[test]
fn the_router_drops_for_another_reason_what_is_wrong_in_two_ways() {
    // The first of the rules that are looked at names the reason.
    let mut routed = Routed::new();
    let mut frame = with_hop_limit(&between("127.0.0.1", "239.1.2.3"), 1);
    routed.rig.send(0, &frame);
    routed.rig.run();
    routed.rig.assert_only_drops(DropReason::MartianSource, 1);
    assert_eq!(routed.rig.received(0), [] as [(Vec<u8>, Offload); 0], "nobody is told");
    frame[24] ^= 1;
    routed.rig.send(0, &frame);
    routed.rig.run();
    assert_eq!(routed.rig.dropped(DropReason::BadIpChecksum), 1);
}
