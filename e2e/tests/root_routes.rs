//! Where routes come from: configuration, API, the kernel and who feeds it; and what happens while they change.

use std::io::Write as _;
use std::net::IpAddr;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use e2e::{
    Bird, Cluster, Namespace, Plan, Rig, Test, Trickle, bulk_transfer, ping, run_root_tests, wait_until,
};
use serde_json::Value;

/// Networks that only a route of its own leads to once the default routes are gone.
const FAR: [&str; 2] = ["198.51.100.7", "fd03::7"];
const FAR_NETWORKS: [&str; 2] = ["198.51.100.0/24", "fd03::/64"];
const ROUTERS: [&str; 2] = ["192.168.1.1", "fd01:1::1"];

/// A cluster whose first node has no default route, and somebody outside behind [`FAR_NETWORKS`].
fn without_default_routes(cluster: &Cluster) {
    for (far, network) in FAR.iter().zip(FAR_NETWORKS) {
        let (v6, nodad) = if far.contains(':') { ("-6 ", " nodad") } else { ("", "") };
        let length = network.split('/').nth(1).expect("a length");
        cluster.outside.ip(&format!("address add {far}/{length} dev lo{nodad}"));
        let by = if far.contains(':') { "fd02::7" } else { "203.0.113.7" };
        cluster.cloud.ip(&format!("{v6}route add {network} via {by}"));
        cluster.nodes[0].host.ip(&format!("{v6}route del default"));
    }
}

fn reaches(node: &Rig, address: &str) -> bool {
    ping(&node.pods[0].namespace, address.parse().expect("an address"), 56)
}

/// The source of the route that leads to `address`, if one does.
fn source(node: &Rig, address: &str) -> Option<String> {
    let output = node.flyover(&["-j", "route", "get", address]);
    let answer: Value = serde_json::from_str(&output.stdout).ok()?;
    Some(answer[0]["source"].as_str()?.to_owned())
}

fn a_routing_daemon_on_the_node_feeds_the_router() {
    let cluster = Cluster::start(&Plan::new(1, 1));
    let node = &cluster.nodes[0];
    without_default_routes(&cluster);
    wait_until("the way to be gone", || FAR.iter().all(|far| !reaches(node, far)).then_some(()));
    // One of another source, which must not go with BIRD's.
    node.succeed(&["route", "add", "203.0.113.0/24", "via", ROUTERS[0]]);
    let route = |family: usize| format!("route {} via {};", FAR_NETWORKS[family], ROUTERS[family]);
    let bird = Bird::start(&node.host, &route(0), &route(1));
    for far in FAR {
        wait_until("a route of BIRD's", || (source(node, far).as_deref() == Some("kernel")).then_some(()));
        assert!(reaches(node, far), "{far}");
    }
    let shown = node.succeed(&["route"]);
    assert!(shown.contains("198.51.100.0/24 via 192.168.1.1 dev eth0 proto bird"), "{shown}");
    bird.stop();
    for far in FAR {
        wait_until("BIRD's routes to be gone", || {
            (source(node, far).as_deref() != Some("kernel")).then_some(())
        });
        assert!(!reaches(node, far), "{far}");
    }
    assert!(reaches(node, "203.0.113.7"), "the other source's route is there");
    node.assert_every_frame_is_accounted_for();
}

fn routes_of_the_configuration_and_the_api_lead_and_survive() {
    let route = "[[route]]\ndst = \"198.51.100.0/24\"\nvia = \"192.168.1.1\"\n\
                 [[route]]\ndst = \"192.0.2.0/24\"\nvia = \"172.31.0.1\"";
    // Sections follow [uplink] in the file.
    let mut cluster = Cluster::prepare(&Plan::new(1, 1));
    let text = std::fs::read_to_string(cluster.nodes[0].configuration_path()).expect("it is there");
    cluster.nodes[0].write_configuration(&format!("{text}\n{route}\n"));
    cluster.nodes.iter_mut().for_each(Rig::start_daemon);
    without_default_routes(&cluster);
    let node = &cluster.nodes[0];
    wait_until("the default route to be gone", || (source(node, "203.0.113.7").is_none()).then_some(()));
    assert!(reaches(node, FAR[0]), "by the file's route");
    assert_eq!(source(node, FAR[0]).as_deref(), Some("config"));
    // A next hop on no known network is named, and the rest goes on.
    let status = node.flyover(&["status"]).stdout;
    assert!(status.contains("172.31.0.1"), "{status}");
    assert!(!reaches(node, FAR[1]));
    node.succeed(&["route", "add", FAR_NETWORKS[1], "via", ROUTERS[1]]);
    assert!(reaches(node, FAR[1]), "by the API's route");
    let refused = node.flyover(&["route", "add", "192.0.2.128/25", "via", "172.31.0.1"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("172.31.0.1 is on no known network"), "{}", refused.stderr);
    let inside = node.flyover(&["route", "add", "10.244.1.128/25", "via", ROUTERS[0]]);
    assert_eq!(inside.code, Some(1), "it overlaps the node's own pods: {}", inside.stdout);
    assert!(inside.stderr.contains("10.244.1.0/24"), "{}", inside.stderr);
    cluster.nodes[0].daemon_mut().kill();
    cluster.nodes[0].start_daemon();
    let node = &cluster.nodes[0];
    assert!(reaches(node, FAR[0]) && reaches(node, FAR[1]), "both are back");
    node.succeed(&["route", "del", FAR_NETWORKS[1]]);
    assert!(!reaches(node, FAR[1]));
    // What drops says so.
    node.succeed(&["route", "add", "prohibit", "198.51.100.128/25"]);
    let output = node.pods[0].namespace.output("ping", &["-n", "-c", "1", "-W", "2", "198.51.100.200"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("From 10.244.1.1") && text.contains("Packet filtered"), "{text}");
}

fn what_a_packet_would_meet_is_explained() {
    let cluster = Cluster::start(&Plan::new(1, 1));
    let node = &cluster.nodes[0];
    let (pod, other) = (&node.pods[0], &cluster.nodes[1].pods[0]);
    assert!(reaches(node, &other.v4.to_string()));
    let packet = format!("in={},tcp,src={},dst={},sport=1,dport=80", pod.port, pod.v4, other.v4);
    let text = node.succeed(&["explain", &packet]);
    assert!(text.contains("192.168.1.1") && text.contains("eth0"), "{text}");
    let spoofed = format!("in={},tcp,src=10.244.1.77,dst={},sport=1,dport=80", pod.port, other.v4);
    let text = node.succeed(&["explain", &spoofed]);
    assert!(text.contains("spoofed_address"), "{text}");
    let neighbors = node.succeed(&["neigh"]);
    assert!(neighbors.contains("192.168.1.1 dev eth0 lladdr"), "{neighbors}");
    node.succeed(&["neigh", "flush"]);
    assert!(reaches(node, &other.v4.to_string()), "it is found again");
}

/// Has the kernel of the namespace take 5000 routes and give them up again, as often as there is time; returns how many
/// changes that was.
fn churn(namespace: &Namespace, duration: Duration) -> u64 {
    let lines = |verb: &str| -> String {
        (0..5000_u32)
            .map(|n| format!("route {verb} 100.{}.{}.0/24 via 192.168.1.1\n", n >> 8, n & 255))
            .collect()
    };
    let (add, delete) = (lines("add"), lines("del"));
    let end = Instant::now() + duration;
    let mut changes = 0;
    while Instant::now() < end {
        for batch in [&add, &delete] {
            namespace.run(|| {
                let mut ip = Command::new("ip");
                let mut child = ip.args(["-batch", "-"]).stdin(Stdio::piped()).spawn().expect("ip runs");
                child
                    .stdin
                    .take()
                    .expect("it reads")
                    .write_all(batch.as_bytes())
                    .expect("it takes the lines");
                assert!(child.wait().expect("it ends").success());
            });
            changes += 5000;
        }
    }
    changes
}

/// Ten thousand changes a second under traffic, of routes that do not concern it and of those that do.
fn route_churn_loses_nothing() {
    let cluster = Cluster::start(&Plan::new(1, 1));
    let node = &cluster.nodes[0];
    // Another way to the same router: the flows' own route changes, too.
    cluster.cloud.ip("address add 192.168.1.2/24 dev n1");
    let other = &cluster.nodes[1].pods[0];
    assert!(reaches(node, &other.v4.to_string()));
    let trickle = Trickle::start(&node.pods[0].namespace, &other.namespace, IpAddr::V4(other.v4));
    let started = Instant::now();
    let changes = std::thread::scope(|scope| {
        let churning = scope.spawn(|| churn(&node.host, Duration::from_secs(4)));
        let mut turn = 0;
        while !churning.is_finished() {
            turn += 1;
            let router = 1 + turn % 2;
            node.host.ip(&format!("route replace 10.244.2.0/24 via 192.168.1.{router}"));
        }
        churning.join().expect("it did not fail")
    });
    let per_second = changes * 1000 / u64::try_from(started.elapsed().as_millis()).expect("a short time");
    let (sent, heard) = trickle.finish();
    let drops = || cluster.nodes.each_ref().map(|node| node.succeed(&["stats", "drops"]));
    assert_eq!(sent, heard, "not one datagram was lost: {:?}", drops());
    assert!(per_second >= 10_000, "only {per_second} changes a second were made");
    // In the end it knows what the kernel knows.
    node.host.ip("route del 10.244.2.0/24");
    wait_until("the last change", || {
        let routes = node.json(&["route"]);
        let is_left = |route: &Value| route["dst"].as_str().is_some_and(|dst| dst.starts_with("100."));
        (!routes.as_array()?.iter().any(is_left)).then_some(())
    });
    bulk_transfer(&node.pods[0].namespace, &other.namespace, IpAddr::V4(other.v4), 5_000_000);
    node.assert_every_frame_is_accounted_for();
}

fn main() -> ExitCode {
    let tests = vec![
        Test::new(
            "a_routing_daemon_on_the_node_feeds_the_router",
            a_routing_daemon_on_the_node_feeds_the_router,
        )
        .needing("bird"),
        Test::new(
            "routes_of_the_configuration_and_the_api_lead_and_survive",
            routes_of_the_configuration_and_the_api_lead_and_survive,
        ),
        Test::new("what_a_packet_would_meet_is_explained", what_a_packet_would_meet_is_explained),
        Test::new("route_churn_loses_nothing", route_churn_loses_nothing),
    ];
    // The last one measures.
    run_root_tests(1, tests)
}
