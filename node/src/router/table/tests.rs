use super::*;
use crate::kernel::{KernelHop, KernelLink, KernelRoute, KernelRouteKey, KernelRouteKind};
use crate::router::Protocol;
use proptest::prelude::*;
use router::fib::RouteDecision;

const BRIDGE: u16 = 1;
const UPLINK: u16 = 2;
const CNI0: u32 = 5;
const ETH0: u32 = 7;
const ETH1: u32 = 8;

fn port(number: u16) -> PortId {
    PortId::new(number).unwrap()
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn settings() -> RouterSettings {
    RouterSettings {
        pod_cidrs: vec![net("10.244.1.0/24"), net("fd00:1::/64")],
        gateways: vec![net("10.244.1.1/24"), net("fd00:1::1/64")],
        gateway_mac: MacAddress([0x0a, 0x58, 10, 244, 1, 1]),
        host_device: Some("cni0".into()),
        bridge_name: "cni0".into(),
        bridge: port(BRIDGE),
        uplink: port(UPLINK),
        uplink_device: "eth0".into(),
        tables: vec![254, 100],
        protocols: Vec::new(),
    }
}

fn link(index: u32, name: &str) -> KernelChange {
    let mac = Some(MacAddress([2, 0, 0, 0, 0, 7]));
    KernelChange::Link(KernelLink { index, name: name.into(), mac, mtu_bytes: 1500, is_running: true })
}

fn address(index: u32, address: &str) -> KernelChange {
    KernelChange::Address { index, address: net(address) }
}

fn key(prefix: &str, protocol: u8) -> KernelRouteKey {
    KernelRouteKey { table: 254, protocol, prefix: net(prefix), metric: 0 }
}

fn via(prefix: &str, protocol: u8, hops: &[(u32, Option<&str>)]) -> KernelRoute {
    let hop = |(index, gateway): &(u32, Option<&str>)| KernelHop {
        index: *index,
        gateway: gateway.map(|text| text.parse().unwrap()),
        weight: 1,
    };
    KernelRoute { key: key(prefix, protocol), kind: KernelRouteKind::Hops(hops.iter().map(hop).collect()) }
}

fn node() -> RouteTable {
    let mut table = RouteTable::new(settings());
    table.apply(vec![
        link(CNI0, "cni0"),
        link(ETH0, "eth0"),
        link(ETH1, "eth1"),
        address(CNI0, "10.244.1.1/24"),
        address(ETH0, "192.168.0.11/24"),
        address(ETH0, "fe80::7/64"),
        address(ETH1, "172.16.0.2/16"),
        KernelChange::Route(via("0.0.0.0/0", 16, &[(ETH0, Some("192.168.0.1"))])),
        KernelChange::Route(via("192.168.0.0/24", 2, &[(ETH0, None)])),
        KernelChange::Route(via("10.244.1.0/24", 2, &[(CNI0, None)])),
        KernelChange::Route(via("172.16.0.0/16", 2, &[(ETH1, None)])),
    ]);
    table
}

/// The decision in a few words.
fn decide(table: &RouteTable, address: &str) -> String {
    match table.fib().lookup(address.parse().unwrap(), 0) {
        RouteDecision::Forward(hop) => format!("via {} by {}", hop.gateway, hop.port),
        RouteDecision::Connected { port } => format!("by {port}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn the_node_s_addresses_are_its_own_and_its_networks_are_where_they_are() {
    let mut table = node();
    for (address, expected) in [
        ("10.244.1.1", "Local"),
        ("10.244.1.9", "by 1"),
        ("192.168.0.11", "Local"),
        ("192.168.0.12", "by 2"),
        ("172.16.0.2", "Local"),
        ("172.16.9.9", "Local"),
        ("169.254.169.254", "Local"),
        ("fe80::1", "Local"),
        ("fd00:1::1", "Local"),
        ("fd00:1::9", "by 1"),
        ("8.8.8.8", "via 192.168.0.1 by 2"),
        ("fd00:2::9", "NoRoute"),
    ] {
        assert_eq!(decide(&table, address), expected, "{address}");
    }
    assert!(table.rules().is_directed_broadcast("192.168.0.255".parse().unwrap()));
    assert!(table.rules().is_directed_broadcast("10.244.1.255".parse().unwrap()));
    table.apply(vec![KernelChange::AddressGone { index: ETH0, address: net("192.168.0.11/24") }]);
    assert_eq!(
        decide(&table, "192.168.0.12"),
        "by 2",
        "the kernel's own route is shown once it says something new"
    );
    assert!(!table.rules().is_directed_broadcast("192.168.0.255".parse().unwrap()));
}

#[test]
fn a_service_range_is_left_to_the_host_and_given_back() {
    let mut table = node();
    table.set_configuration(&[], &[net("10.96.0.0/12")]);
    assert_eq!(decide(&table, "10.96.0.10"), "Local");
    table.set_configuration(&[], &[]);
    assert_eq!(decide(&table, "10.96.0.10"), "via 192.168.0.1 by 2");
}

fn route(dst: &str, via: &str) -> RouteConfig {
    RouteConfig { dst: net(dst), via: via.parse().unwrap() }
}

#[test]
fn sources_win_in_their_order_and_take_nothing_of_the_others_along() {
    let mut table = node();
    let prefix = net("10.244.2.0/24");
    let gateway =
        |text: &str| RouteKind::Via(vec![Gateway { address: text.parse().unwrap(), port: None, weight: 1 }]);
    table.apply(vec![KernelChange::Route(via("10.244.2.0/24", 12, &[(ETH0, Some("192.168.0.30"))]))]);
    assert_eq!(decide(&table, "10.244.2.1"), "via 192.168.0.30 by 2");
    table.add_api(prefix, 0, gateway("192.168.0.20")).unwrap();
    assert_eq!(decide(&table, "10.244.2.1"), "via 192.168.0.20 by 2");
    table.set_configuration(&[route("10.244.2.0/24", "192.168.0.12")], &[]);
    assert_eq!(decide(&table, "10.244.2.1"), "via 192.168.0.12 by 2");
    assert_eq!(table.rib().routes_to(prefix).len(), 3);
    table.apply(vec![KernelChange::RouteGone(key("10.244.2.0/24", 12))]);
    table.set_configuration(&[], &[]);
    assert_eq!(decide(&table, "10.244.2.1"), "via 192.168.0.20 by 2");
    assert!(table.remove_api(prefix, None) && !table.remove_api(prefix, None));
    assert_eq!(decide(&table, "10.244.2.1"), "via 192.168.0.1 by 2");
}

#[test]
fn several_static_routes_to_one_network_are_equal_paths() {
    let mut table = node();
    table.set_configuration(&[route("10.9.0.0/16", "192.168.0.3"), route("10.9.0.0/16", "192.168.0.4")], &[]);
    let fib = table.fib();
    let taken: BTreeSet<String> = (0..200_u32)
        .map(|flow| match fib.lookup("10.9.1.1".parse().unwrap(), flow.wrapping_mul(0x9e37_79b9)) {
            RouteDecision::Forward(hop) => hop.gateway.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(taken.into_iter().collect::<Vec<_>>(), ["192.168.0.3", "192.168.0.4"]);
}

#[test]
fn what_cannot_be_is_refused_with_a_sentence() {
    let mut table = node();
    let gateway =
        |text: &str| RouteKind::Via(vec![Gateway { address: text.parse().unwrap(), port: None, weight: 1 }]);
    let mut refusal =
        |prefix: &str, kind: RouteKind| table.add_api(net(prefix), 0, kind).unwrap_err().to_string();
    assert_eq!(refusal("10.9.0.0/16", gateway("10.99.0.1")), "the gateway 10.99.0.1 is on no known network");
    let overlap = "10.244.1.0/25 lies in 10.244.1.0/24, the network of this node's own pods; the pod networks of two nodes must not overlap";
    assert_eq!(refusal("10.244.1.0/25", RouteKind::Blackhole), overlap);
    assert!(refusal("10.244.1.0/24", gateway("192.168.0.12")).contains("must not overlap"));
    assert_eq!(
        refusal("10.9.0.0/16", gateway("192.168.0.11")),
        "the gateway 192.168.0.11 is an address of this node itself"
    );
    assert_eq!(
        refusal("10.9.0.1/16", RouteKind::Blackhole),
        "10.9.0.1/16 has host bits: did you mean 10.9.0.0/16?"
    );
    table.add_api(net("10.9.0.0/16"), 5, RouteKind::Blackhole).unwrap();
    let again = table.add_api(net("10.9.0.0/16"), 5, RouteKind::Prohibit).unwrap_err().to_string();
    assert_eq!(again, "there is a route to 10.9.0.0/16 with metric 5 already");
    table.add_api(net("10.9.0.0/16"), 6, RouteKind::Prohibit).unwrap();
    assert_eq!(decide(&table, "10.9.0.1"), "Blackhole");
    assert_eq!(table.warnings(), Vec::<String>::new());
    assert_eq!(decide(&table, "10.244.1.7"), "by 1");
}

#[test]
fn a_static_route_sleeps_until_its_gateway_s_network_is_there() {
    let mut table = RouteTable::new(settings());
    table.set_configuration(&[route("10.9.0.0/16", "192.168.0.12")], &[]);
    assert_eq!(decide(&table, "10.9.0.1"), "NoRoute");
    assert_eq!(
        table.warnings(),
        ["[[route]] to 10.9.0.0/16 is of no use: the gateway 192.168.0.12 is on no known network"]
    );
    table.apply(vec![link(ETH0, "eth0"), address(ETH0, "192.168.0.11/24")]);
    assert_eq!((decide(&table, "10.9.0.1"), table.warnings()), ("via 192.168.0.12 by 2".into(), vec![]));
    table.apply(vec![address(ETH0, "192.168.0.12/24")]);
    assert_eq!(
        table.warnings(),
        ["[[route]] to 10.9.0.0/16 is of no use: the gateway 192.168.0.12 is an address of this node itself"]
    );
    table.apply(vec![KernelChange::LinkGone { index: ETH0 }]);
    assert_eq!(decide(&table, "10.9.0.1"), "NoRoute");
}

#[test]
fn a_default_route_that_was_there_is_missed_and_one_that_never_was_is_not() {
    let mut table = node();
    assert_eq!(table.warnings(), Vec::<String>::new());
    table.apply(vec![KernelChange::RouteGone(key("0.0.0.0/0", 16))]);
    assert_eq!(decide(&table, "8.8.8.8"), "NoRoute");
    assert_eq!(table.warnings(), ["the default route 0.0.0.0/0 is gone: pods reach known networks only"]);
    table.apply(vec![KernelChange::Route(via("0.0.0.0/0", 16, &[(ETH0, Some("192.168.0.1"))]))]);
    assert_eq!(table.warnings(), Vec::<String>::new());
}

#[test]
fn a_kernel_route_into_the_pods_network_is_named_and_not_taken() {
    let mut table = node();
    table.apply(vec![KernelChange::Route(via("10.244.1.128/25", 12, &[(ETH0, Some("192.168.0.12"))]))]);
    assert_eq!(decide(&table, "10.244.1.200"), "by 1");
    let warnings = table.warnings();
    assert!(
        warnings[0].starts_with("the route to 10.244.1.128/25 of the kernel is not taken: "),
        "{warnings:?}"
    );
    table.apply(vec![KernelChange::RouteGone(key("10.244.1.128/25", 12))]);
    assert_eq!(table.warnings(), Vec::<String>::new());
}

#[test]
fn only_chosen_tables_and_protocols_are_followed_and_the_first_table_wins() {
    let chosen = RouterSettings { protocols: vec![Protocol(12)], ..settings() };
    let mut table = RouteTable::new(chosen);
    table.apply(vec![link(ETH0, "eth0"), address(ETH0, "192.168.0.11/24")]);
    let in_table = |number: u32, protocol: u8, gateway: &str| {
        let mut route = via("10.9.0.0/16", protocol, &[(ETH0, Some(gateway))]);
        route.key.table = number;
        KernelChange::Route(route)
    };
    table.apply(vec![in_table(254, 4, "192.168.0.4"), in_table(77, 12, "192.168.0.7")]);
    assert_eq!(decide(&table, "10.9.0.1"), "NoRoute");
    table.apply(vec![in_table(100, 12, "192.168.0.100")]);
    assert_eq!(decide(&table, "10.9.0.1"), "via 192.168.0.100 by 2");
    table.apply(vec![in_table(254, 12, "192.168.0.254")]);
    assert_eq!(decide(&table, "10.9.0.1"), "via 192.168.0.254 by 2");
    table.apply(vec![KernelChange::RouteGone(key("10.9.0.0/16", 12))]);
    assert_eq!(decide(&table, "10.9.0.1"), "via 192.168.0.100 by 2");
}

#[test]
fn what_leads_by_another_device_or_cannot_be_said_is_the_kernel_s() {
    let mut table = node();
    let both = [(ETH0, Some("192.168.0.1")), (ETH1, Some("172.16.0.1"))];
    table.apply(vec![
        KernelChange::Route(via("10.1.0.0/16", 12, &both)),
        KernelChange::Route(via("10.2.0.0/16", 12, &[(ETH0, Some("fe80::1"))])),
        KernelChange::Route(via("10.3.0.0/16", 12, &[(ETH0, None)])),
        KernelChange::Route(via("10.4.0.0/16", 12, &[(ETH0, Some("203.0.113.1"))])),
        KernelChange::Route(KernelRoute { key: key("10.5.0.0/16", 12), kind: KernelRouteKind::Prohibit }),
    ]);
    for (address, expected) in [
        ("10.1.0.1", "Local"),
        ("10.2.0.1", "Local"),
        ("10.3.0.1", "by 2"),
        ("10.4.0.1", "via 203.0.113.1 by 2"),
        ("10.5.0.1", "Prohibit"),
    ] {
        assert_eq!(decide(&table, address), expected, "{address}");
    }
}

#[test]
fn a_nic_that_is_another_one_takes_its_routes_with_it_and_brings_its_own() {
    let mut table = node();
    let gone = vec![
        KernelChange::RouteGone(key("0.0.0.0/0", 16)),
        KernelChange::RouteGone(key("192.168.0.0/24", 2)),
        KernelChange::AddressGone { index: ETH0, address: net("192.168.0.11/24") },
        KernelChange::LinkGone { index: ETH0 },
    ];
    table.apply(gone);
    assert_eq!((table.uplink(), decide(&table, "192.168.0.12").as_str()), (None, "NoRoute"));
    table.apply(vec![
        link(40, "eth0"),
        address(40, "192.168.0.11/24"),
        KernelChange::Route(via("0.0.0.0/0", 16, &[(40, Some("192.168.0.1"))])),
    ]);
    assert_eq!(table.uplink().map(|device| device.index), Some(40));
    assert_eq!(decide(&table, "8.8.8.8"), "via 192.168.0.1 by 2");
}

#[test]
fn a_renamed_device_is_another_one() {
    let mut table = node();
    table.apply(vec![link(ETH0, "wan")]);
    assert_eq!((table.uplink(), decide(&table, "8.8.8.8").as_str()), (None, "Local"));
    table.apply(vec![link(ETH0, "eth0")]);
    assert_eq!(decide(&table, "8.8.8.8"), "via 192.168.0.1 by 2");
}

/// A small world in which changes meet one another.
fn change() -> impl Strategy<Value = KernelChange> {
    let index = prop_oneof![Just(CNI0), Just(ETH0), Just(ETH1)];
    let prefix = prop::sample::select(vec!["0.0.0.0/0", "10.9.0.0/16", "192.168.0.0/24", "10.244.1.0/25"]);
    let gateway =
        prop::sample::select(vec![None, Some("192.168.0.1"), Some("10.0.0.1"), Some("192.168.0.11")]);
    let address = prop::sample::select(vec!["192.168.0.11/24", "10.0.0.2/30", "192.168.0.11/32"]);
    let key =
        (prop::sample::select(vec![254_u32, 100]), prop::sample::select(vec![2_u8, 12]), prefix, 0_u32..2)
            .prop_map(|(table, protocol, prefix, metric)| KernelRouteKey {
                table,
                protocol,
                prefix: net(prefix),
                metric,
            });
    let name = prop::sample::select(vec!["cni0", "eth0", "eth1"]);
    let hops = prop::collection::vec((index.clone(), gateway), 1..3);
    prop_oneof![
        (index.clone(), name).prop_map(|(index, name)| link(index, name)),
        index.clone().prop_map(|index| KernelChange::LinkGone { index }),
        (index.clone(), address.clone()).prop_map(|(index, text)| self::address(index, text)),
        (index, address).prop_map(|(index, text)| KernelChange::AddressGone { index, address: net(text) }),
        (key.clone(), hops).prop_map(|(key, hops)| {
            KernelChange::Route(KernelRoute { key, kind: via("0.0.0.0/0", 0, &hops).kind })
        }),
        key.prop_map(KernelChange::RouteGone),
    ]
}

proptest! {
    /// What is known after any changes, one by one, is what somebody knows who is told the outcome alone, and the
    /// compiled table says what the known routes say.
    #[test]
    fn the_way_to_a_state_does_not_matter(changes in prop::collection::vec(change(), 0..60)) {
        let mut stepwise = RouteTable::new(settings());
        stepwise.set_configuration(&[route("10.9.0.0/16", "192.168.0.12")], &[]);
        for change in &changes {
            stepwise.apply(vec![change.clone()]);
        }
        let mut at_once = RouteTable::new(settings());
        at_once.apply(changes);
        at_once.set_configuration(&[route("10.9.0.0/16", "192.168.0.12")], &[]);
        let routes = |table: &RouteTable| table.rib().routes().cloned().collect::<Vec<_>>();
        prop_assert_eq!(routes(&stepwise), routes(&at_once));
        for address in ["8.8.8.8", "10.9.3.4", "192.168.0.11", "192.168.0.77", "10.0.0.1", "10.244.1.3"] {
            let decision = decide(&stepwise, address);
            prop_assert_eq!(&decision, &decide(&at_once, address));
            let known = stepwise.lookup(address.parse().unwrap());
            prop_assert_eq!(known.is_none(), decision == "NoRoute");
        }
    }
}
