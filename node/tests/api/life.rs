//! What happens to ports and the node over time.

use std::time::Duration;

use node::api::types::{AdminState, Origin, PortState};
use node::config::{self, Machine};
use node::devices::{OpenError, SimulatedWorld};
use packet::{MacAddress, Offload};

use super::rig::{Node, eventually, frame, netns};

#[test]
fn ports_of_the_api_are_back_after_a_restart_with_what_was_set() {
    let node = Node::start("");
    node.add_pod(10);
    node.add_pod(11);
    node.client.set_port("p11", AdminState::Down).unwrap();
    assert_eq!(node.world.carrier(Some(&netns("p11")), "eth0"), Some(false));
    let stranger = MacAddress([2, 9, 9, 9, 9, 9]);
    node.client.add_fdb(stranger, "p10").unwrap();
    node.add_pod(12);
    node.client.delete_port("p12").unwrap();
    let node = node.restart("");
    assert_eq!(node.state("p10"), Some(PortState::Up));
    assert_eq!(node.state("p11"), Some(PortState::Down));
    assert_eq!(node.world.carrier(Some(&netns("p11")), "eth0"), Some(false));
    assert_eq!(node.world.carrier(Some(&netns("p10")), "eth0"), Some(true));
    assert_eq!(node.state("p12"), None);
    let entries = node.client.fdb(Some("p10")).unwrap();
    assert!(entries.iter().any(|entry| entry.mac == stranger && entry.state == "static"), "{entries:?}");
    // The file takes a name over; another port clashes with what the file now says.
    let text = "[[port]]\nname = \"p10\"\nnetns = \"/run/netns/p10\"\n[[port]]\nname = \"x\"\naddresses = [\"10.244.1.11/24\"]\n";
    let node = node.restart(text);
    assert_eq!(node.client.port("p10").unwrap().origin, Origin::Config);
    assert_eq!(node.state("p11"), None);
    let warnings = node.client.status().unwrap().warnings;
    assert!(warnings.iter().any(|warning| warning.contains("port \"p11\"")), "{warnings:?}");
}

#[test]
fn a_link_that_goes_down_is_reported_and_revived() {
    let node = Node::start("[host]\nenabled = false\n");
    let (a, b) = (node.add_pod(10), node.add_pod(11));
    let near = node.world.end(a.netns.as_deref(), "eth0").unwrap();
    let far = node.world.end(b.netns.as_deref(), "eth0").unwrap();
    node.world.set_link(b.netns.as_deref(), "eth0", false);
    eventually("p11 is reported", || node.state("p11").filter(|state| *state == PortState::LinkDown));
    assert!(node.client.status().unwrap().degraded);
    node.world.set_link(b.netns.as_deref(), "eth0", true);
    eventually("p11 is up", || node.state("p11").filter(|state| *state == PortState::Up));
    let restored = eventually("p11 gets back what it lost", || node.world.restored().pop());
    assert_eq!((restored.port.addresses, restored.carrier), (b.addresses.clone(), true));
    let sent = frame(10, MacAddress([2, 0, 0, 0, 0, 11]));
    eventually("the frame", || {
        near.send(&sent, Offload::NONE).unwrap();
        far.receive_within(Duration::from_millis(50)).filter(|(bytes, _)| *bytes == sent)
    });
}

#[test]
fn a_namespace_that_comes_back_gets_its_device_again() {
    let node = Node::start("");
    let a = node.add_pod(10);
    node.world.delete_namespace(&netns("p10"));
    eventually("p10 is reported", || node.state("p10").filter(|state| *state == PortState::Gone));
    assert_eq!(node.state("cni0"), Some(PortState::Up));
    node.world.add_namespace(netns("p10"));
    eventually("p10 is up", || node.state("p10").filter(|state| *state == PortState::Up));
    assert!(node.world.end(a.netns.as_deref(), "eth0").is_some());
    node.world.delete_device(a.netns.as_deref(), "eth0");
    eventually("p10 is reported", || node.state("p10").filter(|state| *state == PortState::Gone));
    eventually("p10 is up", || node.state("p10").filter(|state| *state == PortState::Up));
}

#[test]
fn a_configured_port_whose_namespace_is_not_there_yet_delays_readiness() {
    let node = Node::start("[[port]]\nname = \"late\"\nnetns = \"/run/netns/late\"\n");
    let status = node.client.status().unwrap();
    assert!(!status.ready && status.degraded, "{status:?}");
    assert_eq!(status.ports.not_up[0].state, PortState::Gone);
    assert!(
        node.raw("GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").starts_with("HTTP/1.1 503 ")
    );
    node.world.add_namespace("/run/netns/late");
    eventually("it is ready", || node.client.status().unwrap().ready.then_some(()));
    assert!(
        node.raw("GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").starts_with("HTTP/1.1 200 ")
    );
}

#[test]
fn a_device_in_the_host_port_s_way_ends_the_start_with_advice() {
    let world = SimulatedWorld::default();
    world.refuse(Some(OpenError::InTheWay("cni0 exists already".into())));
    let error = Node::start_in(tempfile::tempdir().unwrap(), world, "").err().unwrap().to_string();
    assert!(error.starts_with("host port cni0: cni0 exists already; "), "{error}");
    assert!(error.contains("ip link delete cni0") && error.contains("host.name"), "{error}");
}

const VHOST_USER: &str = "[[port]]\nname = \"v\"\ntype = \"vhost-user\"\nsocket = \"/run/v.sock\"\n";
const NOT_AVAILABLE: &str = "port \"v\": type \"vhost-user\" is not available in this version";

#[test]
fn what_this_version_cannot_do_ends_the_start() {
    let start = Node::start_in(tempfile::tempdir().unwrap(), SimulatedWorld::default(), VHOST_USER);
    assert_eq!(start.err().unwrap().to_string(), NOT_AVAILABLE);
}

#[test]
fn a_changed_file_is_put_in_force_and_a_clash_changes_nothing() {
    let node = Node::start("[[port]]\nname = \"a\"\n[[port]]\nname = \"b\"\n");
    node.add_pod(10);
    let reload = |text: &str| {
        let loaded = config::parse(text, None, &Machine::default()).unwrap();
        node.handle().call_and_wait(move |control| control.reload(loaded)).unwrap()
    };
    let number = node.client.port("b").unwrap().ifindex;
    let text = "[node]\nmtu = 1400\n[workers]\ncount = 2\n[[port]]\nname = \"b\"\nmac = \"02:00:00:00:00:77\"\n[[port]]\nname = \"c\"\n";
    reload(text).unwrap();
    let names: Vec<_> = node.client.ports().unwrap().into_iter().map(|port| port.ifname).collect();
    assert_eq!(names, ["b", "c", "cni0", "p10"]);
    let b = node.client.port("b").unwrap();
    assert_eq!((b.ifindex, b.mtu, b.address.to_string().as_str()), (number, 1400, "02:00:00:00:00:77"));
    assert_eq!(node.client.workers().unwrap().len(), 1);
    let warnings = node.client.status().unwrap().warnings;
    assert!(warnings.iter().any(|warning| warning.starts_with("workers has changed")), "{warnings:?}");

    let clash = reload("[[port]]\nname = \"d\"\naddresses = [\"10.244.1.10/24\"]\n").unwrap_err();
    assert!(clash.contains("clashes with port \"p10\" of the API"), "{clash}");
    assert_eq!(reload(VHOST_USER).unwrap_err(), NOT_AVAILABLE);
    assert_eq!(node.client.ports().unwrap().len(), 4);
}
