//! The router: what the kernel and the operator say becomes routes, and workers' questions become neighbors.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;
use node::api::types::{AdminState, NewNextHop, NewRoute, Origin, PortState, RouteType};
use node::config::{self, Machine};
use node::kernel::{KernelChange, KernelHop, KernelLink, KernelRoute, KernelRouteKey, KernelRouteKind};
use packet::{MacAddress, Network, Offload, arp, parse};
use port::memory::MemoryEnd;

use super::rig::{Node, eventually, refusal};

const ETH0: u32 = 7;
const NIC: MacAddress = MacAddress([2, 0, 0, 0, 0xff, 1]);
const ROUTER: MacAddress = MacAddress([2, 0, 0, 0, 0xee, 1]);
const GATEWAY: MacAddress = MacAddress([0x0a, 0x58, 10, 244, 1, 1]);
pub(crate) const UPLINK: &str = "[uplink]\ndevice = \"eth0\"\n";

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn kernel_route(prefix: &str, protocol: u8, gateway: &str) -> KernelChange {
    let hop = KernelHop { index: ETH0, gateway: Some(ip(gateway)), weight: 1 };
    KernelChange::Route(KernelRoute { key: key(prefix, protocol), kind: KernelRouteKind::Hops(vec![hop]) })
}

fn key(prefix: &str, protocol: u8) -> KernelRouteKey {
    KernelRouteKey { table: 254, protocol, prefix: net(prefix), metric: 100 }
}

fn network() -> Vec<KernelChange> {
    let mac = Some(NIC);
    vec![
        KernelChange::Link(KernelLink {
            index: ETH0,
            name: "eth0".into(),
            mac,
            mtu_bytes: 1500,
            is_running: true,
        }),
        KernelChange::Address { index: ETH0, address: net("192.168.0.11/24") },
        kernel_route("0.0.0.0/0", 16, "192.168.0.1"),
    ]
}

/// A node with a network card that the kernel has told of.
pub(crate) fn node(text: &str) -> Node {
    let world = node::devices::SimulatedWorld::default();
    world.add_device("eth0");
    let node = Node::start_in(tempfile::tempdir().unwrap(), world, text).unwrap();
    assert!(node.world.tell_kernel(network()));
    node
}

pub(crate) fn route(dst: &str, gateway: &str) -> NewRoute {
    NewRoute {
        dst: net(dst),
        kind: RouteType::Unicast,
        gateway: Some(ip(gateway)),
        dev: None,
        metric: 0,
        nexthops: Vec::new(),
    }
}

/// Routes to one destination, as `source gateway`, those that are not in use in brackets.
fn routes_to(node: &Node, dst: &str) -> Vec<String> {
    let routes = node.client.routes().unwrap().into_iter().filter(|route| route.dst == dst);
    let word = |route: node::api::types::Route| {
        let text =
            format!("{} {}", route.source, route.gateway.map_or("-".into(), |address| address.to_string()));
        if route.active { text } else { format!("[{text}]") }
    };
    routes.map(word).collect()
}

#[test]
fn the_uplink_is_a_port_that_nobody_else_may_have() {
    let node = node(&format!("{UPLINK}[[port]]\nname = \"a\"\n"));
    let uplink = node.client.port("eth0").unwrap();
    assert_eq!(
        (uplink.state, uplink.origin, uplink.port_type.as_str()),
        (PortState::Up, Origin::Uplink, "packet")
    );
    assert_eq!((uplink.address, uplink.mtu, uplink.anti_spoof), (NIC, 1500, false));
    let (status, sentence) = refusal(node.client.delete_port("eth0"));
    assert_eq!((status, sentence.as_str()), (409, "port \"eth0\" is the uplink: see [uplink]"));
    let taken = config::PortConfig { name: "eth0".into(), ..config::PortConfig::default() };
    assert_eq!(refusal(node.client.add_port(&taken)).0, 409);
    assert_eq!(refusal(node.client.add_fdb(ROUTER, "eth0")).0, 400);
    let snapshot = node.handle().call_and_wait(|control| control.snapshot()).unwrap();
    let roles: Vec<_> = snapshot.ports().map(|entry| (entry.name.to_string(), entry.role)).collect();
    use dataplane::PortRole::{Bridge, Uplink};
    assert_eq!(roles, [("cni0".into(), Bridge), ("eth0".into(), Uplink), ("a".into(), Bridge)]);
    assert!(!snapshot.flood().contains(&snapshot.ports().nth(1).unwrap().id));
    node.client.set_port("eth0", AdminState::Down).unwrap();
    let node = node.restart(UPLINK);
    assert_eq!(node.state("eth0"), Some(PortState::Down));
}

#[test]
fn a_card_that_is_not_there_is_named_and_waited_for() {
    let node = Node::start(UPLINK);
    let uplink = node.client.port("eth0").unwrap();
    assert_eq!((uplink.state, uplink.reason.as_deref()), (PortState::Gone, Some("there is no device eth0")));
    assert!(node.client.status().unwrap().degraded);
    assert_eq!(refusal(node.client.route_get(ip("8.8.8.8"))).0, 404);
    assert_eq!(node.client.route_get(ip("10.244.1.9")).unwrap().dev.as_deref(), Some("cni0"));
    node.world.add_device("eth0");
    node.world.tell_kernel(network());
    eventually("it is opened", || (node.state("eth0") == Some(PortState::Up)).then_some(()));
    assert_eq!(node.client.route_get(ip("8.8.8.8")).unwrap().gateway, Some(ip("192.168.0.1")));
}

#[test]
fn routes_of_all_sources_are_shown_with_theirs() {
    let text = format!("{UPLINK}[[route]]\ndst = \"10.244.2.0/24\"\nvia = \"192.168.0.12\"\n");
    let node = node(&text);
    node.world.tell_kernel(vec![kernel_route("10.244.2.0/24", 12, "192.168.0.30")]);
    assert_eq!(routes_to(&node, "10.244.2.0/24"), ["config 192.168.0.12", "[kernel 192.168.0.30]"]);
    node.client.add_route(&route("10.244.2.0/24", "192.168.0.20")).unwrap();
    assert_eq!(
        routes_to(&node, "10.244.2.0/24"),
        ["config 192.168.0.12", "[api 192.168.0.20]", "[kernel 192.168.0.30]"]
    );
    let all = node.client.routes().unwrap();
    let default = all.iter().find(|route| route.dst == "default").unwrap();
    assert_eq!(
        (default.protocol.as_str(), default.metric, default.dev.as_deref()),
        ("dhcp", Some(100), Some("eth0"))
    );
    let network = all.iter().find(|route| route.dst == "192.168.0.0/24").unwrap();
    assert_eq!((network.scope.as_deref(), network.prefsrc), (Some("link"), Some(ip("192.168.0.11"))));
    let own = all.iter().find(|route| route.dst == "192.168.0.11").unwrap();
    assert_eq!((own.kind.as_deref(), own.source.as_str()), (Some("local"), "connected"));
    let summary = node.client.status().unwrap().routing.unwrap();
    assert_eq!((summary.sources["config"], summary.sources["api"], summary.sources["kernel"]), (1, 1, 2));
    let reload = |text: &str| {
        let loaded = config::parse(text, None, &Machine::default()).unwrap();
        node.handle().call_and_wait(move |control| control.reload(loaded)).unwrap().unwrap();
    };
    reload(&format!("{UPLINK}[host]\ncidrs = [\"10.96.0.0/12\"]\n"));
    assert_eq!(routes_to(&node, "10.244.2.0/24"), ["api 192.168.0.20", "[kernel 192.168.0.30]"]);
    assert_eq!(node.client.route_get(ip("10.96.0.10")).unwrap().kind.as_deref(), Some("local"));
    node.client.delete_route(net("10.244.2.0/24"), None).unwrap();
    assert_eq!(node.client.route_get(ip("10.244.2.9")).unwrap().gateway, Some(ip("192.168.0.30")));
    reload("");
    let warnings = node.client.status().unwrap().warnings;
    assert!(warnings.iter().any(|warning| warning.starts_with("uplink has changed")), "{warnings:?}");
}

#[test]
fn what_cannot_be_routed_is_refused_with_the_fitting_status() {
    let node = node(UPLINK);
    let add = |new: &NewRoute| refusal(node.client.add_route(new));
    let nowhere = "the gateway 10.99.0.1 is on no known network".to_owned();
    assert_eq!(add(&route("10.9.0.0/16", "10.99.0.1")), (400, nowhere));
    assert!(add(&route("10.244.1.0/24", "192.168.0.12")).1.contains("must not overlap"));
    assert_eq!(add(&route("10.9.0.0/16", "192.168.0.11")).0, 400);
    let elsewhere = NewRoute { dev: Some("eth9".into()), ..route("10.9.0.0/16", "192.168.0.1") };
    let (status, sentence) = add(&elsewhere);
    assert_eq!(status, 404);
    assert!(sentence.contains("there are cni0 (all ports of the bridge) and eth0"), "{sentence}");
    let two = NewRoute { kind: RouteType::Blackhole, ..route("10.9.0.0/16", "192.168.0.1") };
    assert_eq!(add(&two), (400, "a route that drops has no next hop".to_owned()));
    node.client.add_route(&route("10.9.0.0/16", "192.168.0.1")).unwrap();
    assert_eq!(add(&route("10.9.0.0/16", "192.168.0.2")).0, 409);
    let delete = |dst: &str, metric| refusal(node.client.delete_route(net(dst), metric));
    let kernel_s = "the route to default is not of the API: its source is kernel".to_owned();
    assert_eq!(delete("0.0.0.0/0", None), (409, kernel_s));
    assert_eq!(delete("10.9.0.0/16", Some(7)).0, 404);
    assert_eq!(routes_to(&node, "10.9.0.0/16"), ["api 192.168.0.1"]);
}

#[test]
fn routes_of_the_api_are_back_after_a_restart() {
    let first = node(UPLINK);
    let hop = |gateway: &str, weight| NewNextHop { gateway: ip(gateway), dev: None, weight };
    let several = NewRoute {
        gateway: None,
        nexthops: vec![hop("192.168.0.3", 1), hop("192.168.0.4", 3)],
        metric: 7,
        ..route("10.9.0.0/16", "192.168.0.1")
    };
    let onlink = NewRoute { dev: Some("eth0".into()), ..route("10.8.0.0/16", "203.0.113.1") };
    let hole = NewRoute { kind: RouteType::Blackhole, gateway: None, ..route("10.7.0.0/16", "192.168.0.1") };
    for new in [&several, &onlink, &hole] {
        first.client.add_route(new).unwrap();
    }
    let shown = first.client.routes().unwrap();
    let of_api = |routes: &[node::api::types::Route]| -> Vec<_> {
        routes.iter().filter(|route| route.source == "api").cloned().collect()
    };
    assert_eq!(of_api(&shown).len(), 3);
    let again = first.restart(UPLINK);
    let sleeping = again.client.routes().unwrap();
    let asleep = sleeping.iter().find(|route| route.dst == "10.9.0.0/16").unwrap();
    assert_eq!((asleep.active, asleep.flags.as_slice()), (false, &["dead".to_owned()][..]));
    again.world.tell_kernel(network());
    assert_eq!(of_api(&again.client.routes().unwrap()), of_api(&shown));
    // Without a router they are kept for a start with one.
    let kept = again.restart("").restart(UPLINK);
    kept.world.tell_kernel(network());
    assert_eq!(of_api(&kept.client.routes().unwrap()), of_api(&shown));
}

#[test]
fn without_an_uplink_the_kernel_is_the_router() {
    let node = Node::start("");
    assert_eq!(node.client.routes().unwrap(), []);
    assert_eq!(node.client.neighbors().unwrap(), []);
    let (status, sentence) = refusal(node.client.add_route(&route("10.9.0.0/16", "192.168.0.1")));
    assert_eq!(status, 409);
    assert!(sentence.contains("`ip route`") && sentence.contains("[uplink]"), "{sentence}");
    assert_eq!(refusal(node.client.route_get(ip("8.8.8.8"))).0, 409);
    assert_eq!(node.client.status().unwrap().routing, None);
    let snapshot = node.handle().call_and_wait(|control| control.snapshot()).unwrap();
    assert!(snapshot.routing().is_none());
    assert_eq!(snapshot.host().unwrap().mac, GATEWAY);
}

#[test]
fn the_default_route_that_is_gone_is_a_warning_until_it_is_back() {
    let node = node(UPLINK);
    let warnings = || node.client.status().unwrap().warnings;
    assert_eq!(warnings(), Vec::<String>::new());
    node.world.tell_kernel(vec![KernelChange::RouteGone(key("0.0.0.0/0", 16))]);
    assert_eq!(warnings(), ["the default route 0.0.0.0/0 is gone: pods reach known networks only"]);
    assert_eq!(refusal(node.client.route_get(ip("8.8.8.8"))).0, 404);
    node.world.tell_kernel(vec![kernel_route("0.0.0.0/0", 16, "192.168.0.1")]);
    assert_eq!(warnings(), Vec::<String>::new());
}

#[test]
fn the_kernel_s_stack_is_kept_from_the_pods_packets_while_the_router_runs() {
    let node = node(UPLINK);
    let guard = eventually("the guard", || node.world.guard());
    assert_eq!((guard.device.as_str(), guard.ours), ("eth0", vec![net("10.244.1.0/24")]));
    assert_eq!(guard.except, [ip("10.244.1.1")]);
    node.world.tell_kernel(vec![KernelChange::Address { index: 3, address: net("10.244.1.250/32") }]);
    eventually("the other address", || node.world.guard().filter(|guard| guard.except.len() == 2));
    let world = node.world.clone();
    drop(node);
    assert_eq!(world.guard(), None);
    assert!(!world.tell_kernel(network()), "nobody listens any more");
}

fn arp_seen(end: &Arc<MemoryEnd>) -> Option<Vec<u8>> {
    std::iter::from_fn(|| end.receive()).map(|(bytes, _)| bytes).find(|bytes| {
        parse(bytes).is_ok_and(|layout| layout.network == Network::Arp)
            && arp::Packet::new(&bytes[14..])
                .is_some_and(|packet| packet.sender_address() != packet.target_address())
    })
}

#[test]
fn a_packet_to_the_world_makes_the_next_hop_be_asked_for_and_then_leaves() {
    let node = node(UPLINK);
    let pod = node.add_pod(10);
    let (near, far) =
        (node.world.end(pod.netns.as_deref(), "eth0").unwrap(), node.world.end(None, "eth0").unwrap());
    let flow = packet::FiveTuple {
        source: ip("10.244.1.10"),
        destination: ip("8.8.8.8"),
        protocol: 17,
        source_port: 5,
        destination_port: 53,
    };
    let link = packet::build::Link { source: MacAddress([2, 0, 0, 0, 0, 10]), destination: GATEWAY };
    let question = packet::build::frame(link, &flow, b"who?").unwrap();
    near.send(&question, Offload::NONE).unwrap();
    let asked = eventually("an ARP request", || arp_seen(&far));
    let request = arp::Packet::new(&asked[14..]).unwrap();
    assert_eq!((request.sender_mac(), request.sender_address()), (NIC, Ipv4Addr::new(192, 168, 0, 11)));
    assert_eq!(request.target_address(), Ipv4Addr::new(192, 168, 0, 1));
    let answer = arp::reply(
        arp::End { mac: ROUTER, address: Ipv4Addr::new(192, 168, 0, 1) },
        arp::End { mac: NIC, address: Ipv4Addr::new(192, 168, 0, 11) },
    );
    far.send(&answer, Offload::NONE).unwrap();
    let sent = eventually("the packet", || {
        far.receive().map(|(bytes, _)| bytes).filter(|bytes| MacAddress::read(bytes, 0) == Some(ROUTER))
    });
    assert_eq!(MacAddress::read(&sent, 6), Some(NIC));
    assert_eq!(packet::FiveTuple::read(&sent, &parse(&sent).unwrap()), Some(flow));
    let neighbors = node.client.neighbors().unwrap();
    let shown: Vec<_> = neighbors
        .iter()
        .map(|neighbor| (neighbor.dst.to_string(), neighbor.dev.as_str(), neighbor.state[0].as_str()))
        .collect();
    assert_eq!(
        shown,
        [("10.244.1.10".into(), "cni0", "PERMANENT"), ("192.168.0.1".into(), "eth0", "REACHABLE")]
    );
    assert_eq!(neighbors[0].port.as_deref(), Some("p10"));
    let got = node.client.route_get(ip("8.8.8.8")).unwrap();
    assert_eq!(
        (got.lladdr, got.prefsrc, got.source.as_deref()),
        (Some(ROUTER), Some(ip("192.168.0.11")), Some("kernel"))
    );
    assert_eq!(node.client.flush_neighbors(Some("eth0")).unwrap().flushed, 1);
    assert_eq!(node.client.neighbors().unwrap().len(), 1);
    assert_eq!(refusal(node.client.flush_neighbors(Some("eth9"))).0, 404);
    assert_eq!(node.client.route_get(ip("8.8.8.8")).unwrap().lladdr, None);
}

#[test]
fn without_a_host_port_the_gateway_is_flyover_s_own() {
    let node = node(&format!("[host]\nenabled = false\n{UPLINK}"));
    let pod = node.add_pod(10);
    let near = node.world.end(pod.netns.as_deref(), "eth0").unwrap();
    let asker = arp::End { mac: MacAddress([2, 0, 0, 0, 0, 10]), address: Ipv4Addr::new(10, 244, 1, 10) };
    near.send(&arp::request(asker, Ipv4Addr::new(10, 244, 1, 1)), Offload::NONE).unwrap();
    let answer = eventually("an answer", || arp_seen(&near));
    let answer = arp::Packet::new(&answer[14..]).unwrap();
    assert_eq!((answer.sender_mac(), answer.sender_address()), (GATEWAY, Ipv4Addr::new(10, 244, 1, 1)));
    assert_eq!(node.client.fdb(None).unwrap().len(), 1, "the gateway's entry is nobody's port's");
    node.client.delete_port("p10").unwrap();
    assert_eq!(node.client.neighbors().unwrap(), []);
}
