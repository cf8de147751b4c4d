//! Pods that lie: what they say is dropped by name and nobody else notices.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::ExitCode;

use e2e::frames::{
    ALL_NODES, ALL_NODES_MAC, ARP, EXPERIMENTAL, IPV4, IPV6, arp, dhcp_offer, ethernet, icmpv6, ipv4, ipv6,
    neighbor_advertisement, router_advertisement, tagged, udp,
};
use e2e::script::Random;
use e2e::{DEADLINE, Plan, Pod, RawSocket, Rig, Test, ping, run_root_tests};
use packet::MacAddress;

const STRANGER: MacAddress = MacAddress([2, 0xee, 0, 0, 0, 1]);

fn mac(pod: &Pod) -> MacAddress {
    pod.mac().parse().expect("a device has a MAC")
}

fn link_local(mac: MacAddress) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// What the liar says, and the reason for which it is dropped.
fn lies(liar: &Pod, victim: &Pod, gateway: Ipv4Addr) -> Vec<(&'static str, Vec<u8>)> {
    let own = mac(liar);
    let stolen = mac(victim);
    let all = MacAddress::BROADCAST;
    let nobody = (MacAddress::ZERO, victim.v4);
    let hello = udp(1000, 2000, b"hello");
    let elsewhere = Ipv4Addr::new(198, 51, 100, 7);
    let own_link_local = link_local(own);
    let mut short = ipv4(liar.v4, victim.v4, 17, &hello);
    short[0] = 0x4f;
    let redirect =
        [&[137, 0, 0, 0, 0, 0, 0, 0][..], &victim.v6.octets(), &elsewhere.to_ipv6_mapped().octets()];
    vec![
        ("spoofed_source", ethernet(stolen, STRANGER, EXPERIMENTAL, b"hello")),
        ("spoofed_source", ethernet(all, stolen, EXPERIMENTAL, b"hello")),
        ("spoofed_source", ethernet(stolen, STRANGER, IPV4, &ipv4(liar.v4, victim.v4, 17, &hello))),
        ("spoofed_address", ethernet(stolen, own, IPV4, &ipv4(elsewhere, victim.v4, 17, &hello))),
        ("spoofed_address", ethernet(stolen, own, IPV4, &ipv4(gateway, victim.v4, 17, &hello))),
        ("spoofed_address", ethernet(stolen, own, IPV6, &ipv6(victim.v6, victim.v6, 17, &hello))),
        ("spoofed_arp", ethernet(all, own, ARP, &arp(2, (own, gateway), (all, gateway)))),
        ("spoofed_arp", ethernet(stolen, own, ARP, &arp(2, (own, gateway), (stolen, victim.v4)))),
        ("spoofed_arp", ethernet(all, own, ARP, &arp(1, (own, elsewhere), nobody))),
        ("spoofed_arp", ethernet(all, own, ARP, &arp(1, (STRANGER, liar.v4), nobody))),
        ("spoofed_nd", ethernet(ALL_NODES_MAC, own, IPV6, &neighbor_advertisement(liar.v6, victim.v6, own))),
        (
            "spoofed_nd",
            ethernet(ALL_NODES_MAC, own, IPV6, &neighbor_advertisement(liar.v6, liar.v6, STRANGER)),
        ),
        ("router_advertisement", ethernet(ALL_NODES_MAC, own, IPV6, &router_advertisement(own_link_local))),
        (
            "router_advertisement",
            ethernet(ALL_NODES_MAC, own, IPV6, &icmpv6(own_link_local, ALL_NODES, &redirect.concat())),
        ),
        ("dhcp_server", ethernet(all, own, IPV4, &dhcp_offer(liar.v4))),
        ("unverifiable", ethernet(stolen, own, IPV4, &short)),
    ]
}

/// Reads until `sentinel`; what came before it from the liar's hand is returned.
fn heard_before(ear: &RawSocket, sentinel: &[u8]) -> Vec<Vec<u8>> {
    let mut heard = Vec::new();
    loop {
        let frame = ear.receive(DEADLINE).expect("the honest frame arrives");
        if frame == sentinel {
            return heard;
        }
        heard.push(frame);
    }
}

fn a_bound_pod_s_lies_are_dropped_by_name(workers: usize) {
    let rig = Rig::start(&Plan::new(workers, 3));
    let [liar, victim, witness] = &rig.pods[..] else { unreachable!("three pods were asked for") };
    // So that there are neighbor entries to poison.
    for target in liar.addresses().into_iter().chain(witness.addresses()).chain(Rig::GATEWAYS) {
        assert!(ping(&victim.namespace, target, 56));
    }
    let neighbors = || {
        let table = victim.namespace.ip("neigh show");
        let mut macs: Vec<_> = table
            .lines()
            .filter_map(|line| line.split_once(" lladdr ").map(|(who, rest)| (who, rest.split(' ').next())))
            .map(|(who, mac)| format!("{who} {mac:?}"))
            .collect();
        macs.sort();
        macs
    };
    let before = neighbors();
    let (mouth, ear) = (liar.raw_socket(), victim.raw_socket());
    for (number, (reason, lie)) in lies(liar, victim, Ipv4Addr::new(10, 244, 1, 1)).into_iter().enumerate() {
        for frame in [lie.clone(), tagged(&lie, 0x8100, 5)] {
            let dropped = rig.drops(reason);
            mouth.send(&frame);
            let honest = ethernet(mac(victim), mac(liar), EXPERIMENTAL, &[0x55; 60]);
            // Frames of a flow stay in order, others may overtake with several workers: the counter decides.
            e2e::wait_until(&format!("lie {number} is counted as {reason}"), || {
                (rig.drops(reason) == dropped + 1).then_some(())
            });
            mouth.send(&honest);
            assert!(!heard_before(&ear, &honest).contains(&frame), "lie {number} ({reason}) arrived");
        }
    }
    assert_eq!(before, neighbors(), "the victim's neighbor table");
    assert!(ping(&liar.namespace, victim.v4.into(), 56), "the truth still passes");
    rig.assert_every_frame_is_accounted_for();
}

fn a_port_can_be_left_unbound() {
    let rig = Rig::start(&Plan::new(1, 2).unbound());
    let [pod, other] = &rig.pods[..] else { unreachable!("two pods were asked for") };
    let (mouth, ear) = (pod.raw_socket(), other.raw_socket());
    let frame = ethernet(mac(other), STRANGER, EXPERIMENTAL, b"from behind the pod");
    mouth.send(&frame);
    heard_before(&ear, &frame);
}

fn the_gateway_s_mac_cannot_be_stolen(workers: usize) {
    let rig = Rig::start(&Plan::new(workers, 2).unbound());
    let [thief, pod] = &rig.pods[..] else { unreachable!("two pods were asked for") };
    let text = rig.host.ip("-j link show dev cni0");
    let links: serde_json::Value = serde_json::from_str(&text).expect("ip prints JSON");
    let gateway: MacAddress =
        links[0]["address"].as_str().and_then(|mac| mac.parse().ok()).expect("cni0 has a MAC");
    let mouth = thief.raw_socket();
    for _ in 0..10 {
        mouth.send(&ethernet(MacAddress::BROADCAST, gateway, EXPERIMENTAL, b"I am the gateway"));
    }
    e2e::wait_until("the theft is counted", || (rig.drops("protected_mac") == 10).then_some(()));
    for target in Rig::GATEWAYS {
        assert!(ping(&pod.namespace, target, 56), "{target} still answers");
    }
}

/// With the default limit of MACs a port, and with none.
fn a_flood_of_macs_makes_nobody_else_s_traffic_flood() {
    for limit in ["", "max_macs_per_port = 0"] {
        let rig = Rig::start(&Plan::new(1, 3).unbound().bridge(limit));
        let [flooder, near, far] = &rig.pods[..] else { unreachable!("three pods were asked for") };
        assert!(ping(&near.namespace, far.v4.into(), 56));
        let (mouth, destination) = (flooder.raw_socket(), mac(near));
        let mut random = Random::new(3);
        for _ in 0..40_000 {
            let mut source = [0; 6];
            random.fill(&mut source);
            source[0] = 2;
            // The flood goes to one pod only, else the test floods itself.
            let frame = ethernet(destination, MacAddress(source), EXPERIMENTAL, b"flood");
            let _ = mouth.try_send(&frame);
        }
        let ear = flooder.raw_socket();
        let target = mac(far);
        for _ in 0..10 {
            assert!(ping(&near.namespace, far.v4.into(), 56));
        }
        let mut overheard = 0;
        while let Some(frame) = ear.receive(std::time::Duration::from_millis(20)) {
            overheard += usize::from(MacAddress::read(&frame, 0) == Some(target));
        }
        assert_eq!(overheard, 0, "unicast to p2 was flooded ({limit})");
        rig.assert_every_frame_is_accounted_for();
    }
}

fn main() -> ExitCode {
    let both = Test::with_one_and_two_workers;
    let mut tests: Vec<Test> = [
        both("a_bound_pod_s_lies_are_dropped_by_name", a_bound_pod_s_lies_are_dropped_by_name),
        both("the_gateway_s_mac_cannot_be_stolen", the_gateway_s_mac_cannot_be_stolen),
    ]
    .into_iter()
    .flatten()
    .collect();
    tests.extend([
        Test::new("a_port_can_be_left_unbound", a_port_can_be_left_unbound),
        Test::new(
            "a_flood_of_macs_makes_nobody_else_s_traffic_flood",
            a_flood_of_macs_makes_nobody_else_s_traffic_flood,
        ),
    ]);
    run_root_tests(2, tests)
}
