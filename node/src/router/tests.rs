use super::*;
use crate::config::{Machine, parse};
use crate::kernel::{KernelLink, KernelRoute, KernelRouteKey, KernelRouteKind};
use router::fib::RouteDecision;
use router::neighbor::{Lookup, Message};

const NIC: MacAddress = MacAddress([2, 0, 0, 0, 0, 7]);
const FAR: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);

fn port(number: u16) -> PortId {
    PortId::new(number).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn link(index: u32, mac: MacAddress, is_running: bool) -> KernelChange {
    KernelChange::Link(KernelLink { index, name: "eth0".into(), mac: Some(mac), mtu_bytes: 1500, is_running })
}

fn with_text(text: &str) -> Router {
    let config = parse(text, None, &Machine::default()).unwrap().config;
    let mut router = Router::new(RouterSettings::new(&config, port(1), port(2)).unwrap(), 1);
    let address = KernelChange::Address { index: 7, address: "192.168.0.11/24".parse().unwrap() };
    router.kernel_changed(vec![link(7, NIC, true), address]);
    router
}

fn router() -> Router {
    with_text("[uplink]\ndevice = \"eth0\"\n")
}

/// Somebody on the uplink says who it is.
fn hear(router: &mut Router) {
    let message =
        Message::Solicitation { target: ip("192.168.0.11"), asker: ip("192.168.0.1"), mac: Some(FAR) };
    router.punt(Punt::Heard { link: LinkId::Uplink, port: port(2), message }, 0);
}

fn knows_neighbor(router: &mut Router) -> bool {
    let routing = router.routing();
    let uplink = routing.uplink.as_ref().unwrap();
    matches!(uplink.neighbors.lookup(ip("192.168.0.1")), Lookup::Usable { mac: FAR, .. })
}

#[test]
fn without_an_uplink_there_is_no_router() {
    let config = parse("", None, &Machine::default()).unwrap().config;
    assert_eq!(RouterSettings::new(&config, port(1), port(2)), None);
}

#[test]
fn what_has_not_changed_is_the_same_value() {
    let mut router = router();
    let first = router.routing();
    assert!(!router.has_changed() && Arc::ptr_eq(&first, &router.routing()));
    hear(&mut router);
    assert!(router.has_changed());
    let second = router.routing();
    assert!(!Arc::ptr_eq(&first, &second));
    assert!(Arc::ptr_eq(&first.bridge.neighbors, &second.bridge.neighbors), "the other link's map is shared");
    hear(&mut router);
    assert!(!router.has_changed(), "it says the same again");
    router.set_configuration(&[], &["10.96.0.0/12".parse().unwrap()]);
    assert!(router.has_changed());
    assert_eq!(router.routing().fib.lookup(ip("10.96.0.10"), 0), RouteDecision::Local);
}

#[test]
fn a_card_that_is_another_one_or_was_down_has_no_neighbors() {
    for change in [
        vec![link(7, NIC, false), link(7, NIC, true)],
        vec![link(7, FAR, true)],
        vec![KernelChange::LinkGone { index: 7 }, link(8, NIC, true)],
    ] {
        let mut router = router();
        hear(&mut router);
        assert!(knows_neighbor(&mut router));
        for change in change {
            router.kernel_changed(vec![change]);
        }
        assert!(!knows_neighbor(&mut router));
    }
    let mut router = router();
    hear(&mut router);
    router.kernel_changed(vec![link(7, NIC, true)]);
    assert!(knows_neighbor(&mut router), "nothing has happened");
    router.kernel_changed(vec![KernelChange::LinkGone { index: 7 }]);
    assert!(router.routing().uplink.is_none());
}

#[test]
fn the_kernel_s_permanent_neighbors_on_the_uplink_are_ours_too() {
    let mut router = router();
    let address = ip("192.168.0.1");
    router.kernel_changed(vec![
        KernelChange::Neighbor { index: 7, address, mac: FAR },
        KernelChange::Neighbor { index: 3, address: ip("10.0.0.1"), mac: FAR },
    ]);
    assert!(knows_neighbor(&mut router));
    assert_eq!(router.neighbors().len(), 1);
    router.kernel_changed(vec![KernelChange::NeighborGone { index: 7, address }]);
    assert!(!knows_neighbor(&mut router));
}

#[test]
fn the_gateway_owns_its_link_local_address_where_no_host_does() {
    let text = "[node]\ncluster_cidrs = [\"fd00::/16\"]\npod_cidrs = [\"fd00:1::/64\"]\n[uplink]\ndevice = \"eth0\"\n";
    let mut hosted = with_text(text);
    assert_eq!(hosted.routing().bridge.gateway.addresses, [ip("fd00:1::1")]);
    let mut alone = with_text(&format!("{text}[host]\nenabled = false\n"));
    let gateway = alone.routing().bridge.gateway.clone();
    assert_eq!(gateway.addresses, [ip("fd00:1::1"), ipv6::link_local(gateway.mac).into()]);
}

#[test]
fn a_thousand_routes_of_the_kernel_come_and_go_at_once() {
    let mut router = router();
    let key = |number: u32| {
        let [_, b, c, d] = (number << 8).to_be_bytes();
        let prefix = IpNet::new(IpAddr::from([10, b, c, d]), 24).unwrap();
        KernelRouteKey { table: 254, protocol: 12, prefix, metric: 0 }
    };
    let numbers = || (0..5_000_u32).filter(|number| number >> 8 != 244);
    let route = |number| KernelRoute { key: key(number), kind: KernelRouteKind::Blackhole };
    router.kernel_changed(numbers().map(|number| KernelChange::Route(route(number))).collect());
    assert_eq!(router.routing().fib.lookup(ip("10.10.7.1"), 0), RouteDecision::Blackhole);
    router.kernel_changed(numbers().map(|number| KernelChange::RouteGone(key(number))).collect());
    assert_eq!(router.routing().fib.lookup(ip("10.10.7.1"), 0), RouteDecision::NoRoute);
    let (routes, active) = router.routes().counts();
    assert_eq!(routes, active, "what the node is, and nothing else");
}
