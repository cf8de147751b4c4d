//! The configuration file as a user meets it: what an empty file means, and what a wrong one is told.

use std::path::Path;

use node::config::{self, Config, Loaded, Machine, PortType};

fn machine() -> Machine {
    Machine { cpus: vec![0, 1] }
}

fn parse(text: &str) -> Result<Loaded, String> {
    config::parse(text, Some(Path::new("f.toml")), &machine()).map_err(|errors| errors.to_string())
}

fn load(text: &str) -> Loaded {
    parse(text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The file of the manual, with every section.
const FULL: &str = r#"
socket = "/run/flyover/flyover.sock"
state_dir = "/run/flyover"

[node]
name = "node-1"
cluster_cidrs = ["10.244.0.0/16"]
pod_cidrs = ["10.244.1.0/24"]
mtu = 1500

[workers]
count = 1
cpus = []
busy_poll_us = 50

[bridge]
aging_seconds = 300
max_macs = 8192
max_macs_per_port = 64
tap_queue_frames = 4096

[host]
enabled = true
name = "cni0"
cidrs = []

[uplink]
device = "eth0"

[snat]
enabled = true
ports = "40000-59999"
exempt_cidrs = []
sessions_max = 262144
sessions_max_per_pod = 16384

[[route]]
dst = "10.244.2.0/24"
via = "192.168.0.12"

[[port]]
name = "vm1"
type = "tap"
netns = "/var/run/netns/vm1"
device = "eth0"
mac = "02:00:00:00:00:11"
addresses = ["10.244.1.9/24"]
"#;

#[test]
fn an_empty_file_is_one_node_on_the_defaults_of_the_manual() {
    let Loaded { config, warnings } = load("");
    assert_eq!(config, Config::default());
    assert_eq!(warnings, []);
    let mut full = load(FULL).config;
    assert_eq!(full.uplink.take().map(|uplink| uplink.device).as_deref(), Some("eth0"));
    assert_eq!(full.node.name.take().as_deref(), Some("node-1"));
    assert_eq!(full.routes.drain(..).count(), 1);
    let port = full.ports.remove(0);
    assert_eq!((port.port_type, port.device_name()), (PortType::Tap, "eth0"));
    assert!(port.is_bound(), "addresses bind the port to them");
    assert_eq!(full, Config::default(), "what the manual shows are the defaults");
    assert_eq!(config.gateways(), ["10.244.1.1/24".parse().unwrap()]);
    assert_eq!(config.node_name(), rustix::system::uname().nodename().to_string_lossy());
}

#[test]
fn every_key_can_be_left_out_by_itself() {
    for line in FULL.lines().filter(|line| line.contains('=')) {
        // Without its namespace the port's device would be the uplink's.
        let required = ["device = \"eth0\"", "dst", "via", "name = \"vm1\"", "netns"];
        let is_required = required.iter().any(|key| line.starts_with(key));
        let text = FULL.replacen(&format!("{line}\n"), "", 1);
        match parse(&text) {
            Ok(_) => {}
            Err(error) => assert!(is_required, "without `{line}`: {error}"),
        }
    }
}

#[test]
fn a_port_s_defaults_follow_its_namespace() {
    let config = load("[[port]]\nname = \"a\"\n[[port]]\nname = \"b\"\nnetns = \"/run/netns/b\"\n").config;
    assert_eq!(config.ports[0].device_name(), "a");
    assert_eq!(config.ports[1].device_name(), "eth0");
    assert!(!config.ports[0].is_bound());
    assert_eq!(config.ports[0].port_type, PortType::Tap);
}

#[test]
fn zero_workers_are_one_for_each_allowed_cpu() {
    assert_eq!(load("[workers]\ncount = 0\n").config.worker_count(&machine()), 2);
    assert_eq!(load("").config.worker_count(&machine()), 1);
}

#[test]
fn what_this_version_cannot_do_is_valid_but_named() {
    assert_eq!(load(FULL).config.unavailable(), []);
    let config = load("[[port]]\nname = \"v\"\ntype = \"vhost-user\"\nsocket = \"/run/v.sock\"\n").config;
    assert_eq!(
        config.unavailable(),
        [(
            "port[0].type".to_owned(),
            "port \"v\": type \"vhost-user\" is not available in this version".to_owned()
        )]
    );
    assert_eq!(load("[snat]\nenabled = true\n").config.unavailable(), [], "the kernel masquerades");
}

#[test]
fn what_is_odd_but_allowed_is_a_warning() {
    let cases = [
        (
            "[node]\npod_cidrs = [\"10.9.0.0/24\"]\n",
            "f.toml:2: node.pod_cidrs[0]: 10.9.0.0/24 lies in none of node.cluster_cidrs",
        ),
        (
            "[[route]]\ndst = \"10.9.0.0/16\"\nvia = \"192.168.0.1\"\n",
            "f.toml:1: route: it has no effect without [uplink]: the kernel is the router then",
        ),
        ("[workers]\ncount = 3\n", "f.toml:2: workers.count: 3 workers share 2 CPUs"),
        (
            "[[port]]\nname = \"a\"\naddresses = [\"192.0.2.1/24\"]\n",
            "f.toml:3: port[0].addresses[0]: 192.0.2.1 lies in none of node.pod_cidrs: it has no gateway here, and no default route is set",
        ),
        (
            "[[port]]\nname = \"a\"\naddresses = [\"10.244.1.5/32\"]\n",
            "f.toml:3: port[0].addresses[0]: the prefix length of 10.244.1.5/32 is not that of its network 10.244.1.0/24",
        ),
    ];
    for (text, expected) in cases {
        let warnings: Vec<_> = load(text).warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings, [expected]);
    }
}

#[test]
fn a_wrong_file_is_told_the_line_the_key_and_the_reason() {
    for (text, expected) in WRONG {
        assert_eq!(parse(text).map(|_| ()), Err((*expected).to_owned()), "{text}");
    }
}

#[test]
fn several_mistakes_are_reported_at_once() {
    let errors = parse("socket = \"s\"\n[node]\nmtu = 1\n").unwrap_err();
    assert_eq!(
        errors,
        "f.toml:1: socket: \"s\" is not an absolute path\nf.toml:3: node.mtu: 1 is out of bounds: 68 to 65521 bytes"
    );
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let errors = config::load(Path::new("/nonexistent/f.toml"), &machine()).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "/nonexistent/f.toml: cannot be read: No such file or directory (os error 2)"
    );
}

const WRONG: &[(&str, &str)] = &[
    (
        "sokcet = \"/s\"\n",
        "f.toml:1: sokcet: unknown field `sokcet`, expected one of `socket`, `state_dir`, `node`, `workers`, `bridge`, `host`, `uplink`, `snat`, `route`, `port`, `metrics`",
    ),
    ("[node]\nmtu = \"big\"\n", "f.toml:2: node.mtu: invalid type: string \"big\", expected u32"),
    ("[node\nmtu = 1500\n", "f.toml:1: unclosed table, expected `]`"),
    (
        "\n[nodes]\nmtu = 1500\n",
        "f.toml:2: nodes: unknown field `nodes`, expected one of `socket`, `state_dir`, `node`, `workers`, `bridge`, `host`, `uplink`, `snat`, `route`, `port`, `metrics`",
    ),
    ("[node]\nmtu = 1500\nmtu = 1400\n", "f.toml:3: mtu: duplicate key"),
    ("state_dir = \"state\"\n", "f.toml:1: state_dir: \"state\" is not an absolute path"),
    (
        "[node]\nname = \"a b\"\n",
        "f.toml:2: node.name: \"a b\" is not a node's name: 1 to 253 letters, digits, '-', '.' or '_'",
    ),
    (
        "[node]\npod_cidrs = [\"10.244.1.0/24\", \"10.244.1\"]\n",
        "f.toml:2: node.pod_cidrs: \"10.244.1\" is not an address with a prefix length, such as 10.244.1.0/24",
    ),
    (
        "[node]\npod_cidrs = [\"10.244.1.7/24\"]\n",
        "f.toml:2: node.pod_cidrs[0]: 10.244.1.7/24 has host bits set; the network is 10.244.1.0/24",
    ),
    (
        "[node]\npod_cidrs = [\"10.244.1.0/24\",\n  \"10.244.1.128/25\"]\n",
        "f.toml:3: node.pod_cidrs[1]: 10.244.1.128/25 overlaps with 10.244.1.0/24",
    ),
    (
        "[node]\npod_cidrs = [\"10.244.1.0/31\"]\n",
        "f.toml:2: node.pod_cidrs[0]: 10.244.1.0/31 has no room for a gateway and a pod",
    ),
    (
        "[node]\ncluster_cidrs = [\"224.0.0.0/8\"]\npod_cidrs = []\n[host]\nenabled = false\n",
        "f.toml:2: node.cluster_cidrs[0]: 224.0.0.0/8 is not a network of pods",
    ),
    (
        "[node]\npod_cidrs = []\n",
        "f.toml:2: node.pod_cidrs: the host port needs a gateway address: give a network, or set host.enabled = false",
    ),
    ("[node]\nmtu = 67\n", "f.toml:2: node.mtu: 67 is out of bounds: 68 to 65521 bytes"),
    ("[node]\nmtu = 65522\n", "f.toml:2: node.mtu: 65522 is out of bounds: 68 to 65521 bytes"),
    (
        "[node]\ncluster_cidrs = [\"fd00::/16\"]\npod_cidrs = [\"fd00:1::/64\"]\nmtu = 1279\n",
        "f.toml:4: node.mtu: 1279 is out of bounds: 1280 to 65521 bytes (with IPv6)",
    ),
    ("[workers]\ncount = 65\n", "f.toml:2: workers.count: 65 is out of bounds: 0 to 64"),
    ("[workers]\ncount = -1\n", "f.toml:2: workers.count: invalid value: integer `-1`, expected u16"),
    (
        "[workers]\ncpus = [7]\n",
        "f.toml:2: workers.cpus[0]: CPU 7 does not exist or may not be used by this process",
    ),
    (
        "[workers]\ncount = 2\ncpus = [1, 1]\n",
        "f.toml:3: workers.cpus[1]: CPU 1 is given twice; two workers on one CPU wait for one another",
    ),
    ("[workers]\ncount = 2\ncpus = [1]\n", "f.toml:3: workers.cpus: 1 listed for 2 workers; each needs one"),
    (
        "[workers]\nbusy_poll_us = 2000000\n",
        "f.toml:2: workers.busy_poll_us: 2000000 is out of bounds: 0 to 1000000 µs",
    ),
    ("[bridge]\naging_seconds = 0\n", "f.toml:2: bridge.aging_seconds: 0 is out of bounds: 1 to 1000000 s"),
    (
        "[bridge]\nmax_macs = 1\nmax_macs_per_port = 1\n",
        "f.toml:2: bridge.max_macs: 1 is out of bounds: 16 to 4194304",
    ),
    (
        "[bridge]\nmax_macs = 100\nmax_macs_per_port = 101\n",
        "f.toml:3: bridge.max_macs_per_port: 101 is more than bridge.max_macs (100)",
    ),
    (
        "[bridge]\ntap_queue_frames = 1\n",
        "f.toml:2: bridge.tap_queue_frames: 1 is out of bounds: 16 to 65536 frames",
    ),
    (
        "[host]\nname = \"a-name-of-16-byte\"\n",
        "f.toml:2: host.name: \"a-name-of-16-byte\" is not a usable name: 1 to 15 letters, digits, '-', '.' or '_', the first a letter, digit or '_' (and not \"all\" or \"default\")",
    ),
    (
        "[host]\ncidrs = [\"10.96.0.1/12\"]\n",
        "f.toml:2: host.cidrs[0]: 10.96.0.1/12 has host bits set; the network is 10.96.0.0/12",
    ),
    (
        "[host]\ncidrs = [\"10.244.1.128/25\"]\n",
        "f.toml:2: host.cidrs[0]: 10.244.1.128/25 lies in 10.244.1.0/24, the network of this node's pods",
    ),
    ("[uplink]\n", "f.toml:1: uplink: missing field `device`"),
    ("[uplink]\ndevice = \"cni0\"\n", "f.toml:2: uplink.device: \"cni0\" is the host port"),
    (
        "[host]\nenabled = false\n[node]\npod_cidrs = []\n[uplink]\ndevice = \"eth0\"\n",
        "f.toml:4: node.pod_cidrs: the router needs a gateway address: give a network",
    ),
    (
        "[uplink]\ndevice = \"eth0\"\ntables = [254, 255]\n",
        "f.toml:3: uplink.tables[1]: table 255 cannot be followed: it has no routes to other nodes",
    ),
    ("[uplink]\ndevice = \"eth0\"\ntables = [7, 7]\n", "f.toml:3: uplink.tables[1]: table 7 is given twice"),
    (
        "[uplink]\ndevice = \"eth0\"\nprotocols = [12, \"brid\"]\n",
        "f.toml:3: uplink.protocols[1]: \"brid\" is not a routing protocol, such as bird, bgp or a number up to 255",
    ),
    (
        "[uplink]\ndevice = \"eth0\"\n[[port]]\nname = \"eth0\"\n",
        "f.toml:4: port[0].name: \"eth0\" is the name of the uplink already\nf.toml:3: port[0].device: device \"eth0\" in the daemon's namespace is that of the uplink already",
    ),
    (
        "[[route]]\ndst = \"10.244.1.0/25\"\nvia = \"192.168.0.12\"\n",
        "f.toml:2: route[0].dst: 10.244.1.0/25 lies in 10.244.1.0/24, the network of this node's own pods; the pod networks of two nodes must not overlap",
    ),
    (
        "[snat]\nports = \"59999-40000\"\n",
        "f.toml:2: snat.ports: \"59999-40000\" is not a range of ports, such as 40000-59999",
    ),
    (
        "[snat]\nsessions_max = 16777217\n",
        "f.toml:2: snat.sessions_max: 16777217 is out of bounds: 1 to 16777216",
    ),
    (
        "[snat]\nsessions_max = 10\nsessions_max_per_pod = 11\n",
        "f.toml:3: snat.sessions_max_per_pod: 11 is out of bounds: 1 to 10",
    ),
    (
        "[snat]\nexempt_cidrs = [\"10.0.0.1/8\"]\n",
        "f.toml:2: snat.exempt_cidrs[0]: 10.0.0.1/8 has host bits set; the network is 10.0.0.0/8",
    ),
    (
        "[[route]]\ndst = \"10.244.2.0/24\"\nvia = \"fd00::1\"\n",
        "f.toml:3: route[0].via: fd00::1 and 10.244.2.0/24 are of different families",
    ),
    (
        "[[route]]\ndst = \"10.244.2.0/24\"\nvia = \"gateway\"\n",
        "f.toml:3: route[0].via: \"gateway\" is not an IP address, such as 192.168.0.12",
    ),
    ("[[route]]\ndst = \"10.244.2.0/24\"\n", "f.toml:1: route[0]: missing field `via`"),
    ("[metrics]\nlisten = \"8081\"\n", "f.toml:2: metrics.listen: invalid socket address syntax"),
    ("[[port]]\ntype = \"tap\"\n", "f.toml:1: port[0]: missing field `name`"),
    (
        "[[port]]\nname = \"a/b\"\n",
        "f.toml:2: port[0].name: \"a/b\" is not a usable name: 1 to 15 letters, digits, '-', '.' or '_', the first a letter, digit or '_' (and not \"all\" or \"default\")",
    ),
    (
        "[[port]]\nname = \"cni0\"\n",
        "f.toml:2: port[0].name: \"cni0\" is the name of the host port already\nf.toml:1: port[0].device: device \"cni0\" in the daemon's namespace is that of the host port already",
    ),
    (
        "[[port]]\nname = \"a\"\n\n[[port]]\nname = \"a\"\ndevice = \"b\"\nmac = \"02:00:00:00:00:01\"\n",
        "f.toml:5: port[1].name: \"a\" is the name of another port already",
    ),
    (
        "[[port]]\nname = \"a\"\ntype = \"veth\"\n",
        "f.toml:3: port[0].type: unknown variant `veth`, expected one of `tap`, `vhost-user`, `packet`, `pcap`",
    ),
    (
        "[[port]]\nname = \"a\"\nmac = \"02:00\"\n",
        "f.toml:3: port[0].mac: \"02:00\" is not a MAC address: six hexadecimal pairs with colons are expected, such as 02:00:00:00:00:11",
    ),
    (
        "[[port]]\nname = \"a\"\nmac = \"01:00:5e:00:00:01\"\n",
        "f.toml:3: port[0].mac: 01:00:5e:00:00:01 is not a device's address (a group address, or zero)",
    ),
    (
        "[[port]]\nname = \"a\"\nmac = \"0a:58:0a:f4:01:01\"\n",
        "f.toml:3: port[0].mac: 0a:58:0a:f4:01:01 is that of the gateway already",
    ),
    (
        "[[port]]\nname = \"a\"\nmac = \"02:00:00:00:00:01\"\n[[port]]\nname = \"b\"\nmac = \"02:00:00:00:00:01\"\n",
        "f.toml:6: port[1].mac: 02:00:00:00:00:01 is that of port \"a\" already",
    ),
    (
        "[[port]]\nname = \"a\"\naddresses = [\"10.244.1.1/24\"]\n",
        "f.toml:3: port[0].addresses[0]: 10.244.1.1 is that of the gateway already",
    ),
    (
        "[[port]]\nname = \"a\"\naddresses = [\"10.244.1.0/24\"]\n",
        "f.toml:3: port[0].addresses[0]: 10.244.1.0 is the address of the network 10.244.1.0/24 itself",
    ),
    (
        "[[port]]\nname = \"a\"\naddresses = [\"10.244.1.255/24\"]\n",
        "f.toml:3: port[0].addresses[0]: 10.244.1.255 is the broadcast address of 10.244.1.0/24",
    ),
    (
        "[[port]]\nname = \"a\"\naddresses = [\"10.244.1.5/24\"]\n[[port]]\nname = \"b\"\naddresses = [\"10.244.1.5/24\"]\n",
        "f.toml:6: port[1].addresses[0]: 10.244.1.5 is that of port \"a\" already",
    ),
    (
        "[[port]]\nname = \"a\"\naddresses = [\"10.244.1.5\"]\n",
        "f.toml:3: port[0].addresses: \"10.244.1.5\" is not an address with a prefix length, such as 10.244.1.0/24",
    ),
    (
        "[[port]]\nname = \"a\"\naddresses = [\"127.0.0.1/8\"]\n",
        "f.toml:3: port[0].addresses[0]: 127.0.0.1 is not an address of a host",
    ),
    ("[[port]]\nname = \"a\"\nnetns = \"vm1\"\n", "f.toml:3: port[0].netns: \"vm1\" is not an absolute path"),
    (
        "[[port]]\nname = \"a\"\nnetns = \"/run/netns/x\"\n[[port]]\nname = \"b\"\nnetns = \"/run/netns/x\"\n",
        "f.toml:4: port[1].device: device \"eth0\" in /run/netns/x is that of port \"a\" already",
    ),
    (
        "[[port]]\nname = \"a\"\nsocket = \"/run/a.sock\"\n",
        "f.toml:3: port[0].socket: is for ports of type vhost-user only, and this one is of type tap",
    ),
    (
        "[[port]]\nname = \"a\"\ntype = \"vhost-user\"\n",
        "f.toml:1: port[0].socket: a port of type vhost-user needs the path of a socket",
    ),
    (
        "[[port]]\nname = \"a\"\ntype = \"packet\"\n",
        "f.toml:1: port[0].device: a port of type packet needs a device",
    ),
    (
        "[[port]]\nname = \"a\"\ntype = \"packet\"\ndevice = \"tap0\"\naddresses = [\"10.244.1.5/24\"]\n",
        "f.toml:1: port[0].mac: a port of type packet that is bound (by addresses or anti_spoof) needs the MAC of whoever is behind the device",
    ),
    (
        "[[port]]\nname = \"a\"\ntype = \"packet\"\ndevice = \"tap 0\"\n",
        "f.toml:4: port[0].device: \"tap 0\" is not a usable name: 1 to 15 letters, digits, '-', '.' or '_', the first a letter, digit or '_' (and not \"all\" or \"default\")",
    ),
    (
        "[[port]]\nname = \"a\"\ntype = \"packet\"\ndevice = \"cni0\"\n",
        "f.toml:4: port[0].device: device \"cni0\" in the daemon's namespace is that of the host port already",
    ),
    (
        "[[port]]\nname = \"a\"\ntype = \"packet\"\ndevice = \"t\"\nreplay = \"/a.pcap\"\n",
        "f.toml:5: port[0].replay: is for ports of type pcap only, and this one is of type packet",
    ),
    (
        "[[port]]\nname = \"a\"\ntype = \"pcap\"\n",
        "f.toml:1: port[0].replay: a port of type pcap needs `replay`, `record` or both",
    ),
    (
        "[[port]]\nname = \"a\"\ntype = \"pcap\"\nrecord = \"out.pcapng\"\n",
        "f.toml:4: port[0].record: \"out.pcapng\" is not an absolute path",
    ),
];
