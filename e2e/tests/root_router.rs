//! Pods of different nodes, and the outside, over the uplink: `[uplink] device`.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::ExitCode;

use e2e::{
    Cluster, DEADLINE, Namespace, Plan, Rig, Test, Trickle, bulk_transfer, connect, exchange, listen, ping,
    run_root_tests, send_cut_datagrams, send_datagrams, wait_until,
};
use rustix::process::Signal;

fn cluster(workers: usize) -> Cluster {
    Cluster::start(&Plan::new(workers, 2))
}

fn assert_accounted_for(cluster: &Cluster) {
    cluster.nodes.iter().for_each(Rig::assert_every_frame_is_accounted_for);
}

/// What the kernel of the namespace has forwarded of IPv4.
fn forwarded_by_kernel(namespace: &Namespace) -> u64 {
    let text = String::from_utf8(namespace.output("cat", &["/proc/net/snmp"]).stdout).expect("it is text");
    let mut lines = text.lines().filter(|line| line.starts_with("Ip:"));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let at = names.split(' ').position(|name| name == "ForwDatagrams").expect("the kernel counts that");
    values.split(' ').nth(at).and_then(|value| value.parse().ok()).expect("a number")
}

fn pods_of_two_nodes_and_the_outside_reach_each_other(workers: usize) {
    let cluster = cluster(workers);
    let [near, far] = &cluster.nodes;
    let (pod, other) = (&near.pods[0], &far.pods[1]);
    let before = forwarded_by_kernel(&near.host);
    for family in [0, 1] {
        let (remote, outside) = (other.addresses()[family], Cluster::OUTSIDE[family]);
        assert!(ping(&pod.namespace, remote, 56), "pod to {remote}");
        assert!(ping(&other.namespace, pod.addresses()[family], 1400), "back");
        assert!(ping(&pod.namespace, outside, 56), "pod to {outside}");
        assert!(ping(&cluster.outside, pod.addresses()[family], 56), "outside to the pod");
        bulk_transfer(&pod.namespace, &other.namespace, remote, 50_000_000);
        bulk_transfer(&cluster.outside, &pod.namespace, pod.addresses()[family], 20_000_000);
        bulk_transfer(&pod.namespace, &cluster.outside, outside, 20_000_000);
        let sizes = [0, 1, 17, 512, 1452, 1472, 1473, 4000, 9000, 60_000];
        send_datagrams(&pod.namespace, &other.namespace, remote, &sizes);
        send_datagrams(&other.namespace, &pod.namespace, pod.addresses()[family], &sizes);
        send_cut_datagrams(&pod.namespace, &other.namespace, remote, 1000, 3);
    }
    assert_eq!(forwarded_by_kernel(&near.host), before, "the node's kernel has forwarded nothing");
    assert_accounted_for(&cluster);
}

fn a_pod_keeps_its_address_between_nodes_and_to_the_outside() {
    let cluster = cluster(1);
    let (pod, other) = (&cluster.nodes[0].pods[0], &cluster.nodes[1].pods[0]);
    for family in [0, 1] {
        let (_, far) = connect(&pod.namespace, &other.namespace, other.addresses()[family]);
        assert_eq!(far.peer_addr().expect("it is connected").ip(), pod.addresses()[family]);
    }
}

fn pods_reach_their_node_and_other_nodes_and_these_the_pods() {
    let cluster = cluster(1);
    let [near, far] = &cluster.nodes;
    for family in [0, 1] {
        let pod = &near.pods[0];
        let (own, other) = (Cluster::node_addresses(1)[family], Cluster::node_addresses(2)[family]);
        for node in [own, other] {
            assert!(ping(&pod.namespace, node, 56), "pod to {node}");
        }
        assert!(ping(&near.host, pod.addresses()[family], 56), "node to its pod");
        assert!(ping(&far.host, pod.addresses()[family], 56), "another node to the pod");
        bulk_transfer(&pod.namespace, &near.host, own, 5_000_000);
        bulk_transfer(&far.host, &pod.namespace, pod.addresses()[family], 5_000_000);
    }
    assert_accounted_for(&cluster);
}

/// Not one echo request is answered twice, by us and by the kernel.
fn nothing_of_ours_reaches_the_kernel_too() {
    let cluster = cluster(1);
    let address = cluster.nodes[0].pods[0].v4.to_string();
    let output = cluster.outside.output("ping", &["-n", "-c", "20", "-i", "0.02", &address]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("20 packets transmitted, 20 received"), "{text}");
    assert!(!text.contains("duplicates"), "{text}");
    // What is ours, but for nobody: the kernel says nothing about it.
    let nobody = cluster.outside.output("ping", &["-n", "-c", "2", "-W", "1", "-i", "0.2", "10.244.1.99"]);
    let text = String::from_utf8_lossy(&nobody.stdout);
    assert!(!text.contains("From 192.168.1.11"), "{text}");
}

/// The output lines of a tracing program.
fn trace(from: &Namespace, program: &str, arguments: &[&str]) -> String {
    let output = from.output(program, arguments);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn traceroute_shows_every_hop() {
    let cluster = cluster(1);
    let pod = &cluster.nodes[0].pods[0];
    let other = &cluster.nodes[1].pods[0];
    let hops = [
        [other.v4.to_string(), "10.244.1.1".into(), "192.168.1.1".into(), "192.168.2.11".into()],
        [other.v6.to_string(), "fd00:244:1::1".into(), "fd01:1::1".into(), "fd01:2::11".into()],
    ];
    for [target, gateway, router, far_node] in hops {
        for method in [&["-U"][..], &["-I"], &["-T"]] {
            let arguments = [&["-n", "-q", "1", "-w", "2", "-m", "8"][..], method, &[&target]].concat();
            let text = trace(&pod.namespace, "traceroute", &arguments);
            let seen: Vec<&str> =
                text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
            assert_eq!(seen, [gateway.as_str(), &router, &far_node, &target], "{method:?}: {text}");
        }
    }
}

fn path_mtu_is_found_by_tracepath_and_by_tcp() {
    let cluster = cluster(1);
    // The way to the outside is narrower than pods and uplinks.
    cluster.cloud.ip("link set out mtu 1300");
    cluster.outside.ip("link set eth0 mtu 1300");
    let pod = &cluster.nodes[0].pods[0];
    for outside in Cluster::OUTSIDE {
        let text = trace(&pod.namespace, "tracepath", &["-n", &outside.to_string()]);
        assert!(text.contains("pmtu 1300"), "{text}");
        bulk_transfer(&pod.namespace, &cluster.outside, outside, 5_000_000);
    }
    // And now the uplink itself: its MTU is followed.
    let node = &cluster.nodes[0];
    node.host.ip("link set eth0 mtu 1290");
    wait_until("the uplink's MTU to be followed", || (node.port("eth0")?["mtu"] == 1290).then_some(()));
    let other = &cluster.nodes[1].pods[0];
    for address in other.addresses() {
        let text = trace(&pod.namespace, "tracepath", &["-n", &address.to_string()]);
        assert!(text.contains("pmtu 1290"), "{text}");
        bulk_transfer(&pod.namespace, &other.namespace, address, 5_000_000);
        // Without DF IPv4 goes in fragments; IPv6 senders learn and fragment themselves.
        send_datagrams(&pod.namespace, &other.namespace, address, &[1000, 1472, 4000]);
    }
    assert_accounted_for(&cluster);
}

/// The host's own connections go on, whatever happens to the daemon.
fn the_node_never_loses_its_network() {
    let mut cluster = cluster(1);
    let (near, far) = connect(&cluster.outside, &cluster.nodes[0].host, Cluster::node_addresses(1)[0]);
    let host = cluster.nodes[0].host.name().to_owned();
    let trickle = Trickle::start(&cluster.outside, &cluster.nodes[0].host, Cluster::node_addresses(1)[0]);
    cluster.nodes[0].daemon_mut().kill();
    exchange(&near, &far);
    assert!(ping(&cluster.outside, Cluster::node_addresses(1)[1], 56), "killed: {host}");
    cluster.nodes[0].start_daemon();
    exchange(&near, &far);
    cluster.nodes[0].daemon().signal(Signal::TERM);
    assert!(cluster.nodes[0].daemon_mut().await_exit().success());
    exchange(&near, &far);
    assert!(ping(&cluster.nodes[0].host, Cluster::OUTSIDE[0], 56), "stopped");
    cluster.nodes[0].start_daemon();
    exchange(&near, &far);
    let (sent, heard) = trickle.finish();
    assert_eq!(sent, heard, "not one datagram of the host was lost");
}

fn the_ingress_rule_is_there_while_the_daemon_is_found_after_a_crash_and_goes_with_it() {
    let mut cluster = cluster(1);
    let rule = |cluster: &Cluster| {
        let output = cluster.nodes[0].host.output("nft", &["list", "table", "netdev", "flyover"]);
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let first = rule(&cluster).expect("the rule is there");
    assert!(first.contains("10.244.1.0/24") && first.contains("fd00:244:1::/64"), "{first}");
    cluster.nodes[0].daemon_mut().kill();
    assert!(rule(&cluster).is_some(), "a crash leaves it: what is ours stays unanswered by the kernel");
    cluster.nodes[0].start_daemon();
    let again = rule(&cluster).expect("it is there again");
    assert_eq!(again.matches("hook ingress").count(), 1, "{again}");
    cluster.nodes[0].daemon().signal(Signal::TERM);
    assert!(cluster.nodes[0].daemon_mut().await_exit().success());
    assert_eq!(rule(&cluster), None);
}

fn connections_between_nodes_outlive_a_crash() {
    let mut cluster = cluster(1);
    let connections: Vec<(TcpStream, TcpStream)> = (0..2)
        .map(|family| {
            let other = &cluster.nodes[1].pods[0];
            connect(&cluster.nodes[0].pods[0].namespace, &other.namespace, other.addresses()[family])
        })
        .collect();
    for round in 0..2 {
        cluster.nodes[round].daemon_mut().kill();
        cluster.nodes[round].start_daemon();
        for (near, far) in &connections {
            exchange(near, far);
        }
    }
}

fn the_uplink_may_go_and_come_back() {
    let cluster = cluster(1);
    let node = &cluster.nodes[0];
    let (pod, other) = (&node.pods[0], &cluster.nodes[1].pods[0]);
    let reach = |what: &str| {
        for address in other.addresses() {
            wait_until(what, || ping(&pod.namespace, address, 56).then_some(()));
        }
    };
    reach("pods before");
    // Down: the kernel takes routes and IPv6 addresses away. Up: whoever manages the card brings them back.
    node.host.ip("link set eth0 down");
    wait_until("the uplink to be seen down", || (node.port("eth0")?["state"] == "link-down").then_some(()));
    assert!(ping(&pod.namespace, node.pods[1].v4.into(), 56), "pods of the node go on");
    node.host.ip("link set eth0 up");
    node.host.ip("route add default via 192.168.1.1");
    node.host.ip("address add fd01:1::11/64 dev eth0 nodad");
    node.host.ip("-6 route add default via fd01:1::1");
    reach("pods after the link was down");
    // Gone, and another one of its name.
    node.host.ip("link del eth0");
    wait_until("the uplink to be seen gone", || (node.port("eth0")?["state"] == "gone").then_some(()));
    assert!(ping(&pod.namespace, node.pods[1].v4.into(), 56), "pods of the node go on");
    cluster.plug_in(&node.host, 1);
    reach("pods after the card was changed");
    // Another address.
    node.host.sysctl("net/ipv4/conf/eth0/promote_secondaries", "1");
    for command in ["address add 192.168.1.12/24 dev eth0", "address del 192.168.1.11/24 dev eth0"] {
        node.host.ip(command);
    }
    node.host.ip("route replace default via 192.168.1.1");
    cluster.cloud.ip("route replace 10.244.1.0/24 via 192.168.1.12");
    assert!(
        ping(&pod.namespace, "192.168.1.12".parse().expect("an address"), 56),
        "the new one is the node's"
    );
    reach("pods after the address was changed");
    assert_accounted_for(&cluster);
}

fn a_missing_card_and_a_missing_default_route_are_named_and_the_rest_goes_on() {
    let mut cluster = Cluster::prepare(&Plan::new(1, 2));
    cluster.nodes[0].host.ip("link del eth0");
    cluster.nodes[0].start_daemon();
    let node = &cluster.nodes[0];
    assert!(ping(&node.pods[0].namespace, node.pods[1].v4.into(), 56), "the bridge works");
    let status = node.flyover(&["status"]);
    assert_eq!(status.code, Some(1), "degraded");
    assert!(status.stdout.contains("eth0"), "{}", status.stdout);
    cluster.plug_in(&node.host, 1);
    wait_until("the way out", || ping(&node.pods[0].namespace, Cluster::OUTSIDE[0], 56).then_some(()));
    node.host.ip("route del default");
    let text = wait_until("the pod to be told", || {
        let output = node.pods[0].namespace.output("ping", &["-n", "-c", "1", "-W", "1", "203.0.113.7"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.contains("Destination Net Unreachable").then_some(text)
    });
    assert!(text.contains("From 10.244.1.1"), "{text}");
    assert!(node.drops("no_route") >= 1);
    node.host.ip("route add default via 192.168.1.1");
    wait_until("the way out again", || ping(&node.pods[0].namespace, Cluster::OUTSIDE[0], 56).then_some(()));
}

fn a_pod_is_told_about_hosts_that_are_not_there() {
    let cluster = cluster(1);
    let pod = &cluster.nodes[0].pods[0];
    let output = pod.namespace.output("ping", &["-n", "-c", "1", "-W", "6", "192.168.1.77"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("From 10.244.1.1") && text.contains("Destination Host Unreachable"), "{text}");
    assert!(cluster.nodes[0].drops("neighbor_unresolved") >= 1);
}

/// One pod scans and traces as fast as it can; the others' packets arrive.
fn a_flood_of_one_pod_leaves_the_others_alone() {
    let cluster = cluster(1);
    let node = &cluster.nodes[0];
    let (bad, good) = (&node.pods[0], &node.pods[1]);
    let other = &cluster.nodes[1].pods[0];
    let before = node.daemon().resident_bytes();
    let trickle = Trickle::start(&good.namespace, &other.namespace, other.v4.into());
    bad.namespace.run(|| {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
        // Else the pod's own kernel waits with it for neighbors that are not there.
        socket.set_nonblocking(true).expect("it need not wait");
        for n in 0..30_000_u32 {
            // Nobody on the uplink's network, nobody on the bridge, and a packet that ends at the gateway.
            let [_, _, high, low] = n.to_be_bytes();
            let _ = socket.send_to(b"scan", (std::net::Ipv4Addr::new(192, 168, 1, 20 + low % 200), 9));
            let _ = socket.send_to(b"scan", (std::net::Ipv4Addr::new(10, 244, 1, 20 + low % 200), 9));
            socket.set_ttl(1).expect("a TTL");
            let _ = socket.send_to(b"trace", (std::net::Ipv4Addr::new(203, 0, high, low), 9));
            socket.set_ttl(64).expect("a TTL");
        }
    });
    let (sent, heard) = trickle.finish();
    assert!(heard * 100 >= sent * 99, "{heard} of {sent} datagrams of another pod");
    assert!(ping(&good.namespace, other.v4.into(), 56));
    // A new neighbor is found while the flood's entries are there.
    assert!(ping(&good.namespace, "192.168.1.1".parse().expect("an address"), 56));
    let grown = node.daemon().resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
    assert_accounted_for(&cluster);
}

/// Every connection that the host makes itself, in either direction, is left alone by the filter and the rule.
fn the_node_s_own_traffic_is_the_kernel_s(workers: usize) {
    let cluster = cluster(workers);
    let node = &cluster.nodes[0];
    let count = |node: &Rig| node.json(&["stats", "workers"])[0]["rx_packets"].as_u64().expect("a number");
    let before = count(node);
    for family in [0, 1] {
        bulk_transfer(&node.host, &cluster.outside, Cluster::OUTSIDE[family], 20_000_000);
        bulk_transfer(&cluster.outside, &node.host, Cluster::node_addresses(1)[family], 20_000_000);
    }
    let copied = count(node) - before;
    assert!(copied < 100, "{copied} frames of the host's were copied to the daemon");
}

fn a_listener_in_a_pod_is_reached_from_everywhere() {
    let cluster = cluster(2);
    let pod = &cluster.nodes[0].pods[0];
    let (listener, address) = listen(&pod.namespace, IpAddr::from([0, 0, 0, 0]));
    let target = SocketAddr::new(pod.v4.into(), address.port());
    let callers = [
        &cluster.nodes[0].pods[1].namespace,
        &cluster.nodes[0].host,
        &cluster.nodes[1].pods[0].namespace,
        &cluster.nodes[1].host,
        &cluster.outside,
        &pod.namespace,
    ];
    for caller in callers {
        let near = caller.run(|| TcpStream::connect_timeout(&target, DEADLINE)).expect("it is reached");
        let (far, _) = listener.accept().expect("a connection was made");
        exchange(&near, &far);
    }
}

fn main() -> ExitCode {
    let both = Test::with_one_and_two_workers;
    let mut tests: Vec<Test> = Vec::new();
    tests.extend(both(
        "pods_of_two_nodes_and_the_outside_reach_each_other",
        pods_of_two_nodes_and_the_outside_reach_each_other,
    ));
    tests.extend(both("the_node_s_own_traffic_is_the_kernel_s", the_node_s_own_traffic_is_the_kernel_s));
    macro_rules! claims {
        ($($claim:ident)*) => { $(tests.push(Test::new(stringify!($claim), $claim));)* };
    }
    claims! {
        a_pod_keeps_its_address_between_nodes_and_to_the_outside
        pods_reach_their_node_and_other_nodes_and_these_the_pods
        nothing_of_ours_reaches_the_kernel_too
        the_node_never_loses_its_network
        connections_between_nodes_outlive_a_crash
        the_uplink_may_go_and_come_back
        a_missing_card_and_a_missing_default_route_are_named_and_the_rest_goes_on
        a_pod_is_told_about_hosts_that_are_not_there
        a_flood_of_one_pod_leaves_the_others_alone
        a_listener_in_a_pod_is_reached_from_everywhere
    }
    tests.push(Test::new("traceroute_shows_every_hop", traceroute_shows_every_hop).needing("traceroute"));
    tests.push(
        Test::new("path_mtu_is_found_by_tracepath_and_by_tcp", path_mtu_is_found_by_tracepath_and_by_tcp)
            .needing("tracepath"),
    );
    let rule = the_ingress_rule_is_there_while_the_daemon_is_found_after_a_crash_and_goes_with_it;
    tests.push(
        Test::new("the_ingress_rule_is_there_while_the_daemon_is_found_after_a_crash_and_goes_with_it", rule)
            .needing("nft"),
    );
    run_root_tests(2, tests)
}
