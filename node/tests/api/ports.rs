//! Ports come, are refused, are set down, go.

use node::api::types::{AdminState, Origin, PortState};
use node::config::{self, PortConfig};
use node::devices::OpenError;
use packet::{MacAddress, Offload};

use super::rig::{Node, eventually, frame, netns, pod, refusal};

#[test]
fn a_port_is_there_carries_frames_and_goes() {
    let node = Node::start("");
    let (a, b) = (node.add_pod(10), node.add_pod(11));
    let ports = node.client.ports().unwrap();
    assert_eq!(ports.iter().map(|port| port.ifname.as_str()).collect::<Vec<_>>(), ["cni0", "p10", "p11"]);
    let shown = node.client.port("p10").unwrap();
    assert_eq!((shown.state, shown.origin, shown.operstate.as_str()), (PortState::Up, Origin::Api, "UP"));
    assert_eq!(shown.flags, ["BROADCAST", "MULTICAST", "UP", "LOWER_UP"]);
    assert_eq!((shown.addresses.as_slice(), shown.anti_spoof), (&["10.244.1.10/24".to_owned()][..], true));
    assert_eq!((shown.port_type.as_str(), shown.device.as_deref()), ("tap", Some("eth0")));

    let (near, far) = (
        node.world.end(a.netns.as_deref(), "eth0").unwrap(),
        node.world.end(b.netns.as_deref(), "eth0").unwrap(),
    );
    let sent = frame(10, MacAddress([2, 0, 0, 0, 0, 11]));
    near.send(&sent, Offload::NONE).unwrap();
    let heard = eventually("the frame", || far.receive().filter(|(bytes, _)| *bytes == sent));
    assert_eq!(heard.0, sent);
    let stats = eventually("its count", || {
        node.client
            .port_stats()
            .unwrap()
            .into_iter()
            .find(|port| port.ifname == "p10" && port.rx_packets == 1)
    });
    assert_eq!(stats.rx_bytes, sent.len() as u64);

    node.client.delete_port("p10").unwrap();
    assert_eq!(node.state("p10"), None);
    assert!(node.world.end(a.netns.as_deref(), "eth0").is_none(), "its device is removed");
    assert_eq!(refusal(node.client.delete_port("p10")), (404, "there is no port \"p10\"".to_owned()));
    let again = node.add_pod(12);
    assert_eq!(node.client.port(&again.name).unwrap().ifindex, shown.ifindex, "numbers are used again");
}

#[test]
fn a_new_port_announces_itself_to_the_others() {
    let node = Node::start("");
    let cni0 = node.world.end(None, "cni0").unwrap();
    node.add_pod(10);
    let (heard, _) = eventually("the announcement", || cni0.receive());
    assert_eq!(heard, packet::arp::gratuitous(MacAddress([2, 0, 0, 0, 0, 10]), [10, 244, 1, 10].into()));
}

#[test]
fn a_pod_gets_its_queues_mac_mtu_and_default_route() {
    let text = "[node]\nmtu = 9000\n[workers]\ncount = 2\n[bridge]\ntap_queue_frames = 512\n";
    let node = Node::start(text);
    node.add_pod(10);
    let opened = node.world.opened();
    let [host, pod] = &opened[..] else { panic!("{opened:?}") };
    assert_eq!((pod.workers, pod.mtu_bytes, pod.queue_frames), (2, 9000, 512));
    assert_eq!(pod.default_routes, ["10.244.1.1".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(host.mac.to_string(), "0a:58:0a:f4:01:01");
    assert_eq!(host.port.addresses, ["10.244.1.1/24".parse().unwrap()]);
    assert_eq!(host.default_routes, Vec::<std::net::IpAddr>::new());
    assert_eq!(node.client.port("p10").unwrap().queues, 2);
}

#[test]
fn what_cannot_be_is_refused_with_the_fitting_status_and_leaves_nothing_behind() {
    let node = Node::start("[[port]]\nname = \"fixed\"\n");
    node.add_pod(10);
    let add = |change: &dyn Fn(&mut PortConfig)| {
        let mut port = pod(20);
        change(&mut port);
        refusal(node.client.add_port(&port))
    };
    assert_eq!(add(&|_| {}), (400, "netns: /run/netns/p20: no such namespace".to_owned()));
    node.world.add_namespace(netns("p20"));
    let status = |change: &dyn Fn(&mut PortConfig)| add(change).0;
    assert_eq!(status(&|port| port.name = "p10".into()), 409);
    assert_eq!(status(&|port| port.name = "cni0".into()), 409);
    assert_eq!(status(&|port| port.name = "a/b".into()), 400);
    assert_eq!(status(&|port| port.mac = Some(MacAddress([2, 0, 0, 0, 0, 10]))), 409);
    assert_eq!(status(&|port| port.mac = Some(MacAddress::BROADCAST)), 400);
    assert_eq!(status(&|port| port.addresses = pod(10).addresses), 409);
    assert_eq!(status(&|port| port.addresses = vec!["10.244.1.1/24".parse().unwrap()]), 409);
    assert_eq!(status(&|port| port.port_type = config::PortType::VhostUser), 400);
    let errors = [
        (OpenError::InTheWay("eth0 exists already".into()), (409, "device: eth0 exists already".to_owned())),
        (OpenError::Failed("out of memory".into()), (500, "out of memory".to_owned())),
    ];
    for (error, expected) in errors {
        node.world.refuse(Some(error));
        assert_eq!(add(&|_| {}), expected);
    }
    node.world.refuse(None);
    assert_eq!(node.client.ports().unwrap().len(), 3);
    assert_eq!(refusal(node.client.delete_port("fixed")).0, 409);
    assert_eq!(refusal(node.client.delete_port("cni0")).0, 409);
    node.client.add_port(&pod(20)).unwrap();
}

#[test]
fn a_port_set_down_carries_nothing_until_it_is_set_up() {
    let node = Node::start("[host]\nenabled = false\n");
    let (a, b) = (node.add_pod(10), node.add_pod(11));
    let near = node.world.end(a.netns.as_deref(), "eth0").unwrap();
    let far = node.world.end(b.netns.as_deref(), "eth0").unwrap();
    assert_eq!(node.client.set_port("p11", AdminState::Down).unwrap().state, PortState::Down);
    let sent = frame(10, MacAddress([2, 0, 0, 0, 0, 11]));
    near.send(&sent, Offload::NONE).unwrap();
    let drops = |reason: &str| {
        node.client.drops().unwrap().iter().find(|drops| drops.reason == reason).map(|drops| drops.packets)
    };
    eventually("the drop", || drops("egress_down").filter(|count| *count == 1));
    assert!(!node.client.status().unwrap().degraded, "that is as the operator wants it");
    assert_eq!(node.client.set_port("p11", AdminState::Up).unwrap().state, PortState::Up);
    near.send(&sent, Offload::NONE).unwrap();
    eventually("the frame", || far.receive().filter(|(bytes, _)| *bytes == sent));
    assert_eq!(refusal(node.client.set_port("p9", AdminState::Up)).0, 404);
}
