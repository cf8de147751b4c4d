//! Service traffic that the node's kernel translates, with and without an uplink: ClusterIP, a pod that calls itself,
//! NodePort and hostPort from outside. The rules are what kube-proxy and the portmap plugin make, in nftables.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, ExitCode, Stdio};

use e2e::{Cluster, DEADLINE, Namespace, Plan, Pod, Rig, Test, exchange, listen, run_root_tests, wait_until};

/// The addresses of the service, one a family.
const SERVICE: [&str; 2] = ["10.96.0.10", "fd00:96::10"];

/// Makes the nftables rules of `text` in the namespace.
fn nft(namespace: &Namespace, text: &str) {
    namespace.run(|| {
        let mut child =
            Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft runs");
        child.stdin.take().expect("it reads").write_all(text.as_bytes()).expect("it takes the rules");
        assert!(child.wait().expect("it ends").success(), "nft refuses:\n{text}");
    });
}

/// Translates `protocol` to `from` into `to`, and what a pod sends to itself comes from the host.
fn translate(host: &Namespace, protocol: &str, from: SocketAddr, to: SocketAddr) {
    let (family, bracketed) =
        if from.is_ipv4() { ("ip", to.ip().to_string()) } else { ("ip6", format!("[{}]", to.ip())) };
    nft(
        host,
        &format!(
            "table {family} services {{
                chain prerouting {{
                    type nat hook prerouting priority dstnat
                    {family} daddr {daddr} {protocol} dport {dport} dnat to {bracketed}:{port}
                }}
                chain postrouting {{
                    type nat hook postrouting priority srcnat
                    {family} saddr {pod} {family} daddr {pod} masquerade
                }}
            }}",
            daddr = from.ip(),
            dport = from.port(),
            port = to.port(),
            pod = to.ip(),
        ),
    );
}

/// A connection by way of a service: the client's end and the server's.
fn call(client: &Namespace, service: SocketAddr, server: &TcpListener) -> (TcpStream, TcpStream) {
    let near = client
        .run(|| TcpStream::connect_timeout(&service, DEADLINE))
        .unwrap_or_else(|error| panic!("connecting to {service}: {error}"));
    let (far, _) = server.accept().expect("a connection was made");
    for end in [&near, &far] {
        end.set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
    }
    exchange(&near, &far);
    (near, far)
}

fn services() -> impl Iterator<Item = (usize, IpAddr)> {
    SERVICE.iter().map(|address| address.parse().expect("an address")).enumerate()
}

fn pods_call_a_pod_of_their_node_and_themselves(node: &Rig) {
    let [client, server] = &node.pods[..] else { unreachable!("two pods were asked for") };
    for (family, service) in services() {
        let address = server.addresses()[family];
        let (listener, behind) = listen(&server.namespace, address);
        let service = SocketAddr::new(service, 80);
        translate(&node.host, "tcp", service, behind);
        let (near, far) = call(&client.namespace, service, &listener);
        assert_eq!(
            far.peer_addr().expect("it is connected").ip(),
            client.addresses()[family],
            "the client's own"
        );
        // Much, in both directions, and still the same connection.
        for _ in 0..100 {
            exchange(&near, &far);
        }
        // To itself: the server sees the host.
        let (_, far) = call(&server.namespace, service, &listener);
        assert_ne!(far.peer_addr().expect("it is connected").ip(), address);
        // Without a service pods still talk directly.
        let direct =
            client.namespace.run(|| TcpStream::connect_timeout(&behind, DEADLINE)).expect("it answers");
        let (far, peer) = listener.accept().expect("a connection was made");
        assert_eq!(peer.ip(), client.addresses()[family]);
        exchange(&direct, &far);
    }
}

fn datagrams_by_way_of_a_service_return_translated(node: &Rig) {
    let [client, server] = &node.pods[..] else { unreachable!("two pods were asked for") };
    for (family, service) in services() {
        let far =
            server.namespace.run(|| UdpSocket::bind((server.addresses()[family], 0))).expect("a socket");
        let behind = far.local_addr().expect("it is bound");
        let service = SocketAddr::new(service, 53);
        translate(&node.host, "udp", service, behind);
        let near =
            client.namespace.run(|| UdpSocket::bind((client.addresses()[family], 0))).expect("a socket");
        near.connect(service).expect("UDP connects");
        far.set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
        near.set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
        let mut heard = [0; 20_000];
        // Those beyond the MTU come and go in fragments; a connected socket hears nobody but the service.
        for size in [1, 1472, 4000, 9000] {
            near.send(&vec![7; size]).expect("it is sent");
            let (length, peer) = far.recv_from(&mut heard).expect("it arrives");
            assert_eq!((length, peer.ip()), (size, client.addresses()[family]));
            far.send_to(&heard[..length], peer).expect("it is sent");
            assert_eq!(
                near.recv(&mut heard).unwrap_or_else(|error| panic!("{size} bytes back: {error}")),
                size
            );
        }
        // An error about it comes back translated, too: a connected socket is told.
        drop(far);
        near.send(b"anybody?").expect("it is sent");
        let refused = near.recv(&mut heard).expect_err("nobody is there");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "{refused}");
    }
}

/// A node without uplink, and somebody outside who is a neighbor of its kernel.
fn node_with_an_outside(workers: usize) -> (Rig, Namespace) {
    let node = Rig::start(&Plan::new(workers, 2));
    let outside = Namespace::new("outside");
    node.host.ip(&format!("link add out0 type veth peer name eth0 netns {}", outside.name()));
    node.host.ip("link set out0 up");
    outside.ip("link set eth0 up");
    for (namespace, device, last) in [(&node.host, "out0", 1), (&outside, "eth0", 7)] {
        namespace.ip(&format!("address add 203.0.113.{last}/24 dev {device}"));
        namespace.ip(&format!("address add fd02::{last}/64 dev {device} nodad"));
    }
    outside.ip("route add default via 203.0.113.1");
    outside.ip("-6 route add default via fd02::1");
    (node, outside)
}

/// A port of the node's own address leads to a pod: NodePort with `externalTrafficPolicy: Local`, and hostPort.
fn a_port_of_the_node_leads_to_a_pod(node: &Rig, outside: &Namespace, own: [IpAddr; 2], client: [IpAddr; 2]) {
    let server: &Pod = &node.pods[1];
    for family in [0, 1] {
        let (listener, behind) = listen(&server.namespace, server.addresses()[family]);
        let node_port = SocketAddr::new(own[family], 30_080);
        translate(&node.host, "tcp", node_port, behind);
        let (near, far) = call(outside, node_port, &listener);
        assert_eq!(far.peer_addr().expect("it is connected").ip(), client[family], "the pod sees who calls");
        for _ in 0..100 {
            exchange(&near, &far);
        }
    }
}

fn without_an_uplink(workers: usize) {
    let (node, outside) = node_with_an_outside(workers);
    pods_call_a_pod_of_their_node_and_themselves(&node);
    let _ = node.host.output("nft", &["flush", "ruleset"]);
    datagrams_by_way_of_a_service_return_translated(&node);
    let _ = node.host.output("nft", &["flush", "ruleset"]);
    let own = ["203.0.113.1", "fd02::1"].map(|address| address.parse().expect("an address"));
    let client = ["203.0.113.7", "fd02::7"].map(|address| address.parse().expect("an address"));
    a_port_of_the_node_leads_to_a_pod(&node, &outside, own, client);
    node.assert_every_frame_is_accounted_for();
}

fn with_an_uplink(workers: usize) {
    let cluster = Cluster::start(&Plan::new(workers, 2));
    let node = &cluster.nodes[0];
    let flush = || {
        // Not flyover's own table.
        for family in ["ip", "ip6"] {
            let _ = node.host.output("nft", &["delete", "table", family, "services"]);
        }
    };
    pods_call_a_pod_of_their_node_and_themselves(node);
    flush();
    datagrams_by_way_of_a_service_return_translated(node);
    flush();
    a_port_of_the_node_leads_to_a_pod(node, &cluster.outside, Cluster::node_addresses(1), Cluster::OUTSIDE);
    flush();
    // A service whose pod is on the other node: translated here, routed there by the kernel, and back.
    let remote = &cluster.nodes[1].pods[0];
    for (family, service) in services() {
        let (listener, behind) = listen(&remote.namespace, remote.addresses()[family]);
        let service = SocketAddr::new(service, 80);
        translate(&node.host, "tcp", service, behind);
        let (near, far) = call(&node.pods[0].namespace, service, &listener);
        for _ in 0..100 {
            exchange(&near, &far);
        }
    }
    node.assert_every_frame_is_accounted_for();
}

/// Established service connections outlive idle time and a look of the bridge at every table.
fn a_service_connection_goes_on_after_a_reload() {
    let node = Rig::start(&Plan::new(1, 2));
    let (listener, behind) = listen(&node.pods[1].namespace, node.pods[1].addresses()[0]);
    let service = SocketAddr::new(SERVICE[0].parse().expect("an address"), 80);
    translate(&node.host, "tcp", service, behind);
    let (near, far) = call(&node.pods[0].namespace, service, &listener);
    node.succeed(&["fdb", "flush"]);
    node.daemon().signal(rustix::process::Signal::HUP);
    wait_until("the configuration to be read again", || {
        node.daemon().log().contains("the configuration was read again").then_some(())
    });
    exchange(&far, &near);
}

fn main() -> ExitCode {
    let both = Test::with_one_and_two_workers;
    let mut tests: Vec<Test> = Vec::new();
    tests.extend(both("services_work_without_an_uplink", without_an_uplink));
    tests.extend(both("services_work_with_an_uplink", with_an_uplink));
    tests.push(Test::new(
        "a_service_connection_goes_on_after_a_reload",
        a_service_connection_goes_on_after_a_reload,
    ));
    run_root_tests(2, tests.into_iter().map(|test| test.needing("nft")).collect())
}
