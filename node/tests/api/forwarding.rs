//! The forwarding database, drops, captures.

use std::io::Read;

use node::client::CaptureQuery;
use node::config::PortConfig;
use packet::{MacAddress, Offload};

use super::rig::{Node, eventually, frame, pod, refusal};

#[test]
fn the_forwarding_database_is_shown_and_changed() {
    let node = Node::start("");
    let a = node.add_pod(10);
    node.add_pod(11);
    let entries = node.client.fdb(None).unwrap();
    let shown: Vec<_> = entries.iter().map(|entry| (entry.ifname.as_str(), entry.state.as_str())).collect();
    assert_eq!(shown, [("p10", "permanent"), ("p11", "permanent"), ("cni0", "permanent")]);
    let (mac, stranger) = (MacAddress([2, 0, 0, 0, 0, 10]), MacAddress([2, 9, 9, 9, 9, 9]));
    assert_eq!(refusal(node.client.add_fdb(mac, "p11")).0, 409);
    assert_eq!(refusal(node.client.add_fdb(MacAddress::BROADCAST, "p11")).0, 400);
    assert_eq!(refusal(node.client.add_fdb(stranger, "p9")).0, 404);
    assert_eq!(refusal(node.client.delete_fdb(mac)).0, 409);
    assert_eq!(refusal(node.client.delete_fdb(stranger)).0, 404);
    assert_eq!(node.client.add_fdb(stranger, "p11").unwrap().state, "static");
    assert_eq!(node.client.fdb(Some("p11")).unwrap().len(), 2);
    node.client.delete_fdb(stranger).unwrap();
    assert_eq!(node.client.fdb(Some("p11")).unwrap().len(), 1);

    let unbound = PortConfig { anti_spoof: Some(false), ..pod(13) };
    node.world.add_namespace(unbound.netns.clone().unwrap());
    node.client.add_port(&unbound).unwrap();
    let end = node.world.end(unbound.netns.as_deref(), "eth0").unwrap();
    end.send(&frame(99, MacAddress::BROADCAST), Offload::NONE).unwrap();
    let learned = MacAddress([2, 0, 0, 0, 0, 99]);
    let entry = eventually("it is learned", || {
        node.client.fdb(Some("p13")).unwrap().into_iter().find(|entry| entry.mac == learned)
    });
    assert_eq!((entry.state.as_str(), entry.idle_ms.is_some()), ("", true));
    assert_eq!(node.client.port("p13").unwrap().macs, 1);
    assert_eq!(node.client.flush_fdb(Some("p10")).unwrap().flushed, 0);
    assert_eq!(node.client.flush_fdb(None).unwrap().flushed, 1);
    assert!(node.client.fdb(a.name.as_str().into()).is_ok());
}

#[test]
fn a_bound_pod_that_lies_is_dropped_by_name_and_every_frame_is_accounted_for() {
    let node = Node::start("");
    let a = node.add_pod(10);
    let end = node.world.end(a.netns.as_deref(), "eth0").unwrap();
    for index in [99, 10, 98] {
        end.send(&frame(index, MacAddress::BROADCAST), Offload::NONE).unwrap();
    }
    let worker = eventually("three frames", || {
        node.client.workers().unwrap().into_iter().find(|worker| worker.rx_packets == 3)
    });
    assert_eq!(worker.rx_packets, worker.forwarded + worker.consumed + worker.dropped);
    let drops = node.client.status().unwrap().drops;
    assert_eq!((drops[0].reason.as_str(), drops[0].packets), ("spoofed_source", 2));
    assert_eq!(drops[0].stage, "port_security");
    assert_eq!(node.client.stats().unwrap().drops.len(), packet::DropReason::COUNT);
}

#[test]
fn a_capture_shows_the_frames_that_were_asked_for_and_ends_with_its_count() {
    let node = Node::start("");
    let (a, b) = (node.add_pod(10), node.add_pod(11));
    let end = |port: &PortConfig| node.world.end(port.netns.as_deref(), "eth0").unwrap();
    let query = CaptureQuery {
        port: Some("p10".into()),
        count: Some(1),
        drops: true,
        filter: Some("in=p10,mac=02:00:00:00:00:99".into()),
    };
    let mut body = node.client.capture(&query).unwrap();
    end(&b).send(&frame(0x98, MacAddress::BROADCAST), Offload::NONE).unwrap();
    end(&a).send(&frame(10, MacAddress::BROADCAST), Offload::NONE).unwrap();
    let lie = frame(0x99, MacAddress::BROADCAST);
    end(&a).send(&lie, Offload::NONE).unwrap();
    let mut file = Vec::new();
    body.read_to_end(&mut file).unwrap();
    let contains = |bytes: &[u8]| file.windows(bytes.len()).filter(|window| *window == bytes).count();
    assert_eq!((contains(&lie), contains(b"dropped: spoofed_source"), contains(&[0x5a; 46])), (1, 1, 1));
    assert_eq!((contains(b"p10"), contains(b"cni0")), (1, 1), "interfaces have the ports' names");

    assert_eq!(
        refusal(node.client.capture(&CaptureQuery { port: Some("x".into()), ..query.clone() })).0,
        404
    );
    let wrong = CaptureQuery { filter: Some("tpc".into()), ..query };
    assert_eq!(refusal(node.client.capture(&wrong)).0, 400);
}

#[test]
fn captures_are_bounded_and_end_with_their_clients() {
    let node = Node::start("");
    let start = || node.client.capture(&CaptureQuery::default());
    let bodies: Vec<_> = (0..8).map(|_| start().unwrap()).collect();
    assert_eq!(refusal(start()).0, 503);
    drop(bodies);
    eventually("there is room again", || start().ok());
}
