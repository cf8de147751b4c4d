//! `explain`: the decisions about a packet that is never sent.

use node::api::types::{NewRoute, RouteType};

use super::rig::refusal;
use super::routing::{UPLINK, node, route};

#[test]
fn a_packet_is_followed_on_paper_and_nothing_comes_of_it() {
    let node = node(&format!("{UPLINK}[host]\ncidrs = [\"10.96.0.0/12\"]\n"));
    node.add_pod(10);
    node.add_pod(11);
    node.client
        .add_route(&NewRoute { kind: RouteType::Prohibit, gateway: None, ..route("10.7.0.0/16", "0.0.0.0") })
        .unwrap();
    let explain = |packet: &str| -> Vec<String> {
        let steps = node.client.explain(packet).unwrap();
        steps.into_iter().map(|step| format!("{}: {}", step.stage, step.decision)).collect()
    };
    let from = |source: &str, destination: &str| {
        explain(&format!("in=p10,tcp,src={source},dst={destination},dport=80"))
    };
    let own = ["ingress: take", "port_security: pass"];
    let cases: [(&str, &[&str]); 5] = [
        ("10.244.1.11", &["bridge: to p11", "egress: send by p11"]),
        ("10.244.1.77", &[]),
        ("10.96.0.10", &["bridge: to the router", "route: local", "host: to cni0"]),
        (
            "8.8.8.8",
            &[
                "bridge: to the router",
                "route: via 192.168.0.1 by eth0",
                "validation: pass",
                "reverse_path: pass",
                "neighbor: wait",
            ],
        ),
        (
            "10.7.0.1",
            &[
                "bridge: to the router",
                "route: prohibit",
                "validation: pass",
                "reverse_path: pass",
                "route: drop route_prohibited",
            ],
        ),
    ];
    for (destination, expected) in cases {
        let steps = from("10.244.1.10", destination);
        if expected.is_empty() {
            assert_eq!(steps, ["ingress: take", "bridge: flood ARP or neighbor discovery"], "{destination}");
            continue;
        }
        assert_eq!(steps[..2], own, "{destination}");
        assert_eq!(steps[2..], *expected, "{destination}");
    }
    assert_eq!(from("10.244.1.99", "8.8.8.8")[1], "port_security: drop spoofed_address");
    assert_eq!(
        explain("in=eth0,udp,src=8.8.8.8,dst=10.244.1.10"),
        [
            "ingress: take",
            "route: by the bridge",
            "validation: pass",
            "reverse_path: pass",
            "neighbor: 02:00:00:00:00:0a behind p10",
            "egress: send by p10"
        ]
    );
    assert_eq!(
        explain("in=eth0,udp,src=10.244.1.11,dst=10.244.1.10").last().unwrap(),
        "reverse_path: drop reverse_path"
    );
    assert_eq!(
        explain("in=eth0,udp,src=8.8.8.8,dst=192.168.0.11").last().unwrap(),
        "uplink: leave to the kernel"
    );
    assert_eq!(refusal(node.client.explain("in=p9,tcp,src=10.0.0.1,dst=10.0.0.2")).0, 404);
    assert_eq!(refusal(node.client.explain("in=p10,tcp,src=10.0.0.1")).0, 400);
    assert!(node.client.neighbors().unwrap().iter().all(|neighbor| neighbor.state == ["PERMANENT"]));
    assert_eq!(node.client.workers().unwrap()[0].rx_packets, 0);
}
