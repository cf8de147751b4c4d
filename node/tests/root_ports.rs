//! The life of ports with the kernel's devices in real namespaces.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use e2e::{Namespace, Test, run_root_tests, wait_until};
use node::api::types::{AdminState, Port, PortState};
use node::config::{self, Machine, PortConfig, PortType};
use node::control::{self, ControlThread, Options, StartError};
use node::devices::KernelDevices;
use node::state::StateDirectory;
use packet::MacAddress;
use port::EngineKind;
use tempfile::TempDir;

/// A control side in a namespace that stands for the host.
struct Rig {
    control: Option<ControlThread>,
    host: Namespace,
    place: TempDir,
}

impl Rig {
    fn start(text: &str) -> Self {
        let mut rig = Self::prepare();
        rig.resume(text).unwrap_or_else(|error| panic!("{error}"));
        rig
    }

    fn prepare() -> Self {
        let place = tempfile::tempdir().expect("a directory can be made");
        Self { control: None, host: Namespace::new("host"), place }
    }

    fn resume(&mut self, text: &str) -> Result<(), StartError> {
        let machine = Machine::this();
        let loaded = config::parse(text, None, &machine).expect("the configuration is right");
        let state = StateDirectory::open(self.place.path()).expect("the state directory is free");
        let options = Options {
            machine,
            devices: Box::new(KernelDevices::default()),
            state,
            engine: EngineKind::Auto,
            seed: 7,
        };
        self.control = Some(self.host.run(|| control::spawn(loaded, options))?);
        Ok(())
    }

    fn stop(&mut self) {
        let control = self.control.take().expect("it runs");
        assert!(control.stop(), "the control thread ended well");
    }

    fn ask<R: Send + 'static>(&self, job: impl FnOnce(&mut control::Control) -> R + Send + 'static) -> R {
        let control = self.control.as_ref().expect("it runs");
        control.handle().call_and_wait(job).expect("the control side answers")
    }

    fn add(&self, port: PortConfig) -> Port {
        self.ask(|control| control.add_port(port)).unwrap_or_else(|refused| panic!("{refused}"))
    }

    fn port(&self, name: &'static str) -> Option<Port> {
        self.ask(|control| control.describe(name)).ok()
    }

    fn await_state(&self, name: &'static str, state: PortState) {
        wait_until(&format!("{name} is {state:?}"), || self.port(name).filter(|port| port.state == state));
    }
}

fn pod(namespace: &Namespace, name: &str, index: usize) -> PortConfig {
    PortConfig {
        name: name.to_owned(),
        netns: Some(namespace.path()),
        device: Some("eth0".to_owned()),
        addresses: vec![format!("10.244.1.{index}/24").parse().expect("an address")],
        ..PortConfig::default()
    }
}

fn a_port_is_added_in_less_than_twenty_milliseconds() {
    let rig = Rig::start("");
    let pods: Vec<_> = (0..15).map(|index| Namespace::new(&format!("p{index}"))).collect();
    let mut times: Vec<Duration> = pods
        .iter()
        .enumerate()
        .map(|(index, namespace)| {
            let port = pod(namespace, &format!("p{index}"), index + 10);
            let began = Instant::now();
            rig.add(port);
            began.elapsed()
        })
        .collect();
    times.sort();
    // The median: a busy machine may be late now and then.
    assert!(times[times.len() / 2] < Duration::from_millis(20), "{times:?}");
}

fn a_link_set_down_is_reported_without_traffic_and_revived() {
    let rig = Rig::start("");
    let namespace = Namespace::new("pod");
    rig.add(pod(&namespace, "p", 10));
    for _ in 0..3 {
        namespace.ip("link set eth0 down");
        rig.await_state("p", PortState::LinkDown);
        namespace.ip("link set eth0 up");
        rig.await_state("p", PortState::Up);
    }
}

/// Also where it was down for too short a time to be seen, and where the kernel takes IPv6 addresses away.
fn a_link_that_was_down_has_its_addresses_and_default_routes_again() {
    let rig = Rig::start("[node]\npod_cidrs = [\"10.244.1.0/24\", \"fd00:10:244:1::/64\"]\n");
    let namespace = Namespace::new("pod");
    let mut port = pod(&namespace, "p", 10);
    port.addresses.push("fd00:10:244:1::a/64".parse().expect("an address"));
    rig.add(port);
    let missing = || {
        let seen =
            ["addr show dev eth0", "route show", "-6 route show"].map(|what| namespace.ip(what)).concat();
        let wanted = [
            "inet 10.244.1.10/24",
            "inet 10.99.0.1/32",
            "inet6 fd00:10:244:1::a/64",
            "default via 10.244.1.1 ",
            "default via fd00:10:244:1::1 ",
        ];
        wanted.into_iter().filter(|part| !seen.contains(part)).collect::<Vec<_>>()
    };
    namespace.ip("addr add 10.99.0.1/32 dev eth0");
    assert_eq!(missing(), [""; 0]);
    for keep in ["1", "0"] {
        namespace.sysctl("net/ipv6/conf/eth0/keep_addr_on_down", keep);
        namespace.ip("link set eth0 down");
        assert!(!missing().is_empty(), "the kernel takes the routes at least");
        rig.await_state("p", PortState::LinkDown);
        namespace.ip("link set eth0 up");
        wait_until("all is there again", || missing().is_empty().then_some(()));
        let flap = namespace.output("sh", &["-c", "ip link set eth0 down && ip link set eth0 up"]);
        assert!(flap.status.success(), "{flap:?}");
        wait_until("all is there again", || missing().is_empty().then_some(()));
        rig.await_state("p", PortState::Up);
    }
    let gateways = namespace.ip("route show default").lines().count();
    assert_eq!(gateways, 1);
    await_ping(&namespace, "fd00:10:244:1::1");
    await_ping(&namespace, "10.244.1.1");
}

fn await_ping(namespace: &Namespace, address: &str) {
    wait_until(&format!("{address} answers"), || {
        namespace.output("ping", &["-c", "1", "-W", "1", address]).status.success().then_some(())
    });
}

fn a_port_that_is_set_down_has_no_carrier_until_it_is_set_up() {
    let mut rig = Rig::start("");
    let namespace = Namespace::new("pod");
    rig.add(pod(&namespace, "p", 10));
    let has_carrier = || namespace.ip("link show dev eth0").contains("LOWER_UP");
    let set = |rig: &Rig, state| {
        rig.ask(move |control| control.set_port("p", state)).unwrap_or_else(|refused| panic!("{refused}"))
    };
    assert!(has_carrier());
    assert_eq!(set(&rig, AdminState::Down).state, PortState::Down);
    assert!(!has_carrier(), "the pod sees it at once");
    namespace.ip("link set eth0 down");
    namespace.ip("link set eth0 up");
    rig.stop();
    rig.resume("").unwrap_or_else(|error| panic!("{error}"));
    assert!(!has_carrier(), "also after a restart");
    // As a pod that may configure its link could.
    namespace.ip("link set eth0 carrier on");
    wait_until("the carrier is off", || (!has_carrier()).then_some(()));
    namespace.ip("link set eth0 down");
    set(&rig, AdminState::Up);
    rig.await_state("p", PortState::LinkDown);
    namespace.ip("link set eth0 up");
    wait_until("the carrier is on", || has_carrier().then_some(()));
    await_ping(&namespace, "10.244.1.1");
}

fn a_deleted_namespace_is_let_go_and_one_that_comes_back_gets_its_device() {
    let rig = Rig::start("");
    let (doomed, other) = (Namespace::new("pod"), Namespace::new("other"));
    rig.add(pod(&doomed, "p", 10));
    rig.add(pod(&other, "q", 11));
    let path = doomed.path();
    doomed.delete();
    rig.await_state("p", PortState::Gone);
    assert_eq!(rig.port("q").map(|port| port.state), Some(PortState::Up));
    let name = path.file_name().expect("a path with a name").to_string_lossy().into_owned();
    let again = rig.host.output("ip", &["netns", "add", &name]);
    assert!(again.status.success(), "{again:?}");
    rig.await_state("p", PortState::Up);
    assert!(doomed.ip("addr show dev eth0").contains("10.244.1.10/24"));
}

fn a_removed_device_is_reported_and_made_anew() {
    let rig = Rig::start("");
    let namespace = Namespace::new("pod");
    rig.add(pod(&namespace, "p", 10));
    namespace.ip("link del eth0");
    rig.await_state("p", PortState::Gone);
    rig.await_state("p", PortState::Up);
    assert!(namespace.ip("route show").contains("default via 10.244.1.1"));
}

fn a_stopped_node_leaves_devices_and_a_started_one_adopts_them() {
    let mut rig = Rig::start("");
    let namespace = Namespace::new("pod");
    rig.add(pod(&namespace, "p", 10));
    let link = || {
        let text = namespace.ip("-o link show dev eth0");
        text.split(':').next().map(str::to_owned)
    };
    let before = link();
    rig.stop();
    assert_eq!(link(), before);
    rig.resume("").unwrap_or_else(|error| panic!("{error}"));
    rig.await_state("p", PortState::Up);
    assert_eq!(link(), before);
    rig.ask(|control| control.delete_port("p")).unwrap_or_else(|refused| panic!("{refused}"));
    assert!(!namespace.output("ip", &["link", "show", "dev", "eth0"]).status.success(), "it is removed");
}

/// A device that is there already, in a namespace, with somebody behind it.
fn veth(namespace: &Namespace, far: &Namespace) -> PortConfig {
    namespace.ip(&format!("link add veth0 type veth peer name eth0 netns {}", far.name()));
    namespace.ip("link set veth0 up");
    far.ip("link set eth0 up");
    PortConfig {
        name: "q".to_owned(),
        port_type: PortType::Packet,
        netns: Some(namespace.path()),
        device: Some("veth0".to_owned()),
        mac: Some(MacAddress([2, 0, 0, 0, 0, 9])),
        addresses: vec!["10.244.1.9/24".parse().expect("an address")],
        ..PortConfig::default()
    }
}

fn somebody_else_s_device_is_used_and_left_as_it_is() {
    let mut rig = Rig::start("[workers]\ncount = 2\n");
    let (namespace, far) = (Namespace::new("place"), Namespace::new("far"));
    let port = veth(&namespace, &far);
    let addresses = namespace.ip("-4 addr show dev veth0");
    let added = rig.add(port);
    assert_eq!((added.state, added.queues, added.device.as_deref()), (PortState::Up, 2, Some("veth0")));
    assert_eq!((added.mtu, added.address), (1500, MacAddress([2, 0, 0, 0, 0, 9])));
    // PROMISC is a flag of the device only where somebody has set it by hand.
    assert_eq!(namespace.ip("-4 addr show dev veth0"), addresses);
    rig.stop();
    rig.resume("").unwrap_or_else(|error| panic!("{error}"));
    rig.await_state("q", PortState::Up);
    rig.ask(|control| control.delete_port("q")).unwrap_or_else(|refused| panic!("{refused}"));
    wait_until("it is there, and as it was", || {
        namespace.ip("-d link show dev veth0").contains("promiscuity 0").then_some(())
    });
}

fn somebody_else_s_device_may_go_and_come_with_its_namespace() {
    let rig = Rig::start("");
    let (doomed, far) = (Namespace::new("place"), Namespace::new("far"));
    rig.add(veth(&doomed, &far));
    for _ in 0..2 {
        doomed.ip("link set veth0 down");
        rig.await_state("q", PortState::LinkDown);
        doomed.ip("link set veth0 up");
        rig.await_state("q", PortState::Up);
        doomed.ip("link del veth0");
        rig.await_state("q", PortState::Gone);
        veth(&doomed, &far);
        rig.await_state("q", PortState::Up);
    }
    let path = doomed.path();
    doomed.delete();
    rig.await_state("q", PortState::Gone);
    wait_until("the device goes with its namespace", || {
        (!far.output("ip", &["link", "show", "dev", "eth0"]).status.success()).then_some(())
    });
    let name = path.file_name().expect("a path with a name").to_string_lossy().into_owned();
    let again = rig.host.output("ip", &["netns", "add", &name]);
    assert!(again.status.success(), "{again:?}");
    wait_until("the device is waited for", || {
        rig.port("q").filter(|port| {
            port.reason.as_deref().is_some_and(|text| text.starts_with("there is no device veth0 in"))
        })
    });
    veth(&doomed, &far);
    rig.await_state("q", PortState::Up);
}

fn the_host_port_is_a_gateway() {
    let rig = Rig::start("");
    let addresses = rig.host.ip("addr show dev cni0");
    assert!(addresses.contains("10.244.1.1/24") && addresses.contains("0a:58:0a:f4:01:01"), "{addresses}");
    let setting = |name: &str| {
        let path = format!("/proc/sys/net/{name}");
        rig.host.run(|| std::fs::read_to_string(path).expect("the setting is there").trim().to_owned())
    };
    assert_eq!((setting("ipv4/ip_forward"), setting("ipv6/conf/cni0/accept_ra")), ("1".into(), "0".into()));
}

fn a_kernel_bridge_in_the_way_ends_the_start_with_advice() {
    let mut rig = Rig::prepare();
    rig.host.ip("link add cni0 type bridge");
    let error = rig.resume("").expect_err("cni0 is taken").to_string();
    assert!(error.starts_with("host port cni0: "), "{error}");
    assert!(error.contains("kernel bridge") && error.contains("ip link delete cni0"), "{error}");
    rig.host.ip("link del cni0");
    rig.resume("").unwrap_or_else(|error| panic!("{error}"));
}

fn main() -> ExitCode {
    run_root_tests(
        2,
        vec![
            Test::new(
                "a_port_is_added_in_less_than_twenty_milliseconds",
                a_port_is_added_in_less_than_twenty_milliseconds,
            ),
            Test::new(
                "a_link_set_down_is_reported_without_traffic_and_revived",
                a_link_set_down_is_reported_without_traffic_and_revived,
            ),
            Test::new(
                "a_link_that_was_down_has_its_addresses_and_default_routes_again",
                a_link_that_was_down_has_its_addresses_and_default_routes_again,
            ),
            Test::new(
                "a_port_that_is_set_down_has_no_carrier_until_it_is_set_up",
                a_port_that_is_set_down_has_no_carrier_until_it_is_set_up,
            ),
            Test::new(
                "a_deleted_namespace_is_let_go_and_one_that_comes_back_gets_its_device",
                a_deleted_namespace_is_let_go_and_one_that_comes_back_gets_its_device,
            ),
            Test::new(
                "a_removed_device_is_reported_and_made_anew",
                a_removed_device_is_reported_and_made_anew,
            ),
            Test::new(
                "a_stopped_node_leaves_devices_and_a_started_one_adopts_them",
                a_stopped_node_leaves_devices_and_a_started_one_adopts_them,
            ),
            Test::new(
                "somebody_else_s_device_is_used_and_left_as_it_is",
                somebody_else_s_device_is_used_and_left_as_it_is,
            ),
            Test::new(
                "somebody_else_s_device_may_go_and_come_with_its_namespace",
                somebody_else_s_device_may_go_and_come_with_its_namespace,
            ),
            Test::new("the_host_port_is_a_gateway", the_host_port_is_a_gateway),
            Test::new(
                "a_kernel_bridge_in_the_way_ends_the_start_with_advice",
                a_kernel_bridge_in_the_way_ends_the_start_with_advice,
            ),
        ],
    )
}
