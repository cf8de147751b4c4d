//! The control API as a client meets it: real workers, the real server on a real socket, simulated devices.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use node::api::server;
use node::api::types::{AdminState, Origin, PortState};
use node::client::{CaptureQuery, Client, ClientError};
use node::config::{self, Machine, PortConfig};
use node::control::{self, ControlHandle, ControlThread, Options, StartError};
use node::devices::{OpenError, SimulatedDevices, SimulatedWorld};
use node::state::StateDirectory;
use packet::{MacAddress, Offload};
use port::EngineKind;
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(10);

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A node with its API, as far as that goes without a right.
struct Node {
    control: Option<ControlThread>,
    client: Client,
    world: SimulatedWorld,
    runtime: Option<tokio::runtime::Runtime>,
    place: TempDir,
}

impl Node {
    fn start(text: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        Self::start_in(place, SimulatedWorld::default(), text).unwrap()
    }

    fn start_in(place: TempDir, world: SimulatedWorld, text: &str) -> Result<Self, StartError> {
        let machine = Machine { cpus: vec![0, 1] };
        let loaded = config::parse(text, Some(Path::new("f.toml")), &machine).unwrap();
        let options = Options {
            machine,
            devices: Box::new(SimulatedDevices(world.clone())),
            state: StateDirectory::open(place.path()).unwrap(),
            engine: EngineKind::Epoll,
            seed: 1,
        };
        let control = control::spawn(loaded, options)?;
        let socket = place.path().join("api.sock");
        let listener = server::bind(&socket).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(server::serve(listener, control.handle()));
        Ok(Self { control: Some(control), client: Client::new(socket), world, runtime: Some(runtime), place })
    }

    /// The same node after a restart: same devices, same state directory.
    fn restart(mut self, text: &str) -> Self {
        assert!(self.control.take().unwrap().stop());
        drop(self.runtime.take());
        let place = std::mem::replace(&mut self.place, tempfile::tempdir().unwrap());
        Self::start_in(place, self.world.clone(), text).unwrap()
    }

    fn handle(&self) -> ControlHandle {
        self.control.as_ref().unwrap().handle()
    }

    fn add_pod(&self, index: u8) -> PortConfig {
        let port = pod(index);
        self.world.add_namespace(port.netns.clone().unwrap());
        self.client.add_port(&port).unwrap();
        port
    }

    fn state(&self, name: &str) -> Option<PortState> {
        self.client.ports().unwrap().into_iter().find(|port| port.ifname == name).map(|port| port.state)
    }

    fn raw(&self, request: &str) -> String {
        let mut stream = UnixStream::connect(self.client.socket()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // A server that has not read all of the request resets the connection behind its answer.
        if let Err(error) = stream.read_to_end(&mut answer) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
        String::from_utf8(answer).unwrap()
    }
}

fn netns(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

fn pod(index: u8) -> PortConfig {
    let name = format!("p{index}");
    PortConfig {
        netns: Some(netns(&name)),
        mac: Some(MacAddress([2, 0, 0, 0, 0, index])),
        addresses: vec![format!("10.244.1.{index}/24").parse().unwrap()],
        name,
        ..PortConfig::default()
    }
}

/// An Ethernet frame between two pods, by their MACs' last bytes, of an EtherType for experiments.
fn frame(from: u8, to: MacAddress) -> Vec<u8> {
    [&to.0[..], &[2, 0, 0, 0, 0, from], &[0x88, 0xb5], &[0x5a; 46]].concat()
}

fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>) -> (u16, String) {
    match result {
        Err(ClientError::Refused { status, error }) => (status, error),
        other => panic!("{other:?}"),
    }
}

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

#[test]
fn ports_of_the_api_are_back_after_a_restart_with_what_was_set() {
    let node = Node::start("");
    node.add_pod(10);
    node.add_pod(11);
    node.client.set_port("p11", AdminState::Down).unwrap();
    let stranger = MacAddress([2, 9, 9, 9, 9, 9]);
    node.client.add_fdb(stranger, "p10").unwrap();
    node.add_pod(12);
    node.client.delete_port("p12").unwrap();
    let node = node.restart("");
    assert_eq!(node.state("p10"), Some(PortState::Up));
    assert_eq!(node.state("p11"), Some(PortState::Down));
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

#[test]
fn what_this_version_cannot_do_ends_the_start() {
    let text = "[uplink]\ndevice = \"eth0\"\n";
    let start = Node::start_in(tempfile::tempdir().unwrap(), SimulatedWorld::default(), text);
    assert_eq!(start.err().unwrap().to_string(), "[uplink] is not available in this version");
}

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
    assert_eq!(
        reload("[uplink]\ndevice = \"eth0\"\n").unwrap_err(),
        "[uplink] is not available in this version"
    );
    assert_eq!(node.client.ports().unwrap().len(), 4);
}

#[test]
fn requests_that_make_no_sense_get_a_sentence() {
    let node = Node::start("");
    let cases = [
        ("GET /v1/nonsense", "404", "there is no such path"),
        ("GET /v1/ports/a/b/c", "404", "there is no such path"),
        ("PUT /v1/ports", "405", "the path is for GET, POST only"),
        ("DELETE /v1/status", "405", "the path is for GET only"),
        ("GET /v1/fdb?port=x", "400", "there is no parameter \\\"port\\\" here"),
        ("GET /v1/fdb?dev=x", "404", "there is no port \\\"x\\\""),
        ("DELETE /v1/fdb/nonsense", "400", "not a MAC address"),
        ("POST /v1/ports", "400", "the body cannot be understood"),
    ];
    for (request, status, sentence) in cases {
        let answer = node.raw(&format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        assert!(
            answer.contains(&format!("{{\"error\":\"{sentence}")) || answer.contains(sentence),
            "{request}: {answer}"
        );
    }
    let body = "{\"name\":\"x\",\"colour\":\"red\"}";
    let answer = node.raw(&format!(
        "POST /v1/ports HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert!(answer.contains("unknown field `colour`"), "{answer}");
    let long = "x".repeat(70_000);
    let answer = node.raw(&format!(
        "POST /v1/ports HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{long}",
        long.len()
    ));
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let answer = node.raw(&format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(20_000)));
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
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

#[test]
fn health_and_metrics_are_answered() {
    let node = Node::start("");
    node.add_pod(10);
    let get = |path: &str| node.raw(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
    assert!(get("/healthz").ends_with("flyover is running\n"));
    let page = get("/metrics");
    for line in [
        "# TYPE flyover_drops_total counter",
        "flyover_ready 1",
        "flyover_drops_total{stage=\"egress\",reason=\"egress_mtu\"} 0",
        "flyover_port_up{port=\"p10\"} 1",
        "flyover_fdb_entries{kind=\"static\"} 2",
        "flyover_worker_frames_total{worker=\"0\",kind=\"received\"} 0",
    ] {
        assert!(page.contains(&format!("{line}\n")), "{line} is not in\n{page}");
    }
}

#[test]
fn the_socket_is_the_owner_s_alone_and_a_stale_one_is_replaced() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("sub/api.sock");
    let listener = server::bind(&path).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(server::bind(&path).unwrap_err().to_string().contains("another process listens"));
    drop(listener);
    server::bind(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    assert!(server::bind(&path).unwrap_err().to_string().contains("not a socket"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn without_a_daemon_the_socket_is_named_in_one_line() {
    let error = Client::new("/nonexistent/f.sock").status().unwrap_err().to_string();
    assert!(error.starts_with("no flyover daemon answers at /nonexistent/f.sock: "), "{error}");
    assert!(!error.contains('\n'));
}
