//! The rule that keeps our packets from the kernel's stack, with real namespaces and `nft` as the witness.

mod rig;

use std::net::{IpAddr, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use e2e::frames::{IPV4, checksum, ethernet, ipv4, tagged};
use e2e::{RawSocket, Test, listen, run_root_tests, wait_until};
use node::ingress_rule::{self, EXCEPTIONS_MAX, IngressRule, IngressRuleError, Installed, NETWORKS_MAX};

use rig::{NODE, OUTSIDE, Rig, SILENCE, pods, rule};

/// Packets to pods reach packet sockets, and not the stack; everything else does.
fn drops_for_the_stack_alone() {
    let rig = Rig::new();
    let all = ["10.244.1.5", "fd00:1::5", "10.244.1.1", "fd00:1::1", "10.244.9.5", "10.0.0.1", "fd00::1"];
    assert_eq!(all.map(|address| rig.answers(address)), [true; 7], "without the rule");
    assert_eq!(rig.install(&pods()).expect("installed"), Installed::Anew);
    assert!(rig.is_present(&pods()));
    let socket = RawSocket::open(&rig.node, "up0");
    assert_eq!(all.map(|address| rig.answers(address)), [false, false, true, true, true, true, true]);
    let heard: Vec<_> = std::iter::from_fn(|| socket.receive(Duration::ZERO)).collect();
    for address in all {
        let (at, octets) = match address.parse().expect("an address") {
            IpAddr::V4(address) => (30, address.octets().to_vec()),
            IpAddr::V6(address) => (38, address.octets().to_vec()),
        };
        let hears_it = heard.iter().any(|frame| frame[at..].starts_with(&octets));
        assert!(hears_it, "a packet socket hears what is for {address}");
    }
    assert!(rig.remove());
    assert_eq!(all.map(|address| rig.answers(address)), [true; 7], "the rule is removed");
}

/// Frames with a tag are none of the rule's business: what has no more than a priority, the kernel answers.
fn tagged_frames() {
    let rig = Rig::new();
    rig.install(&pods()).expect("installed");
    rig.node.ip(&format!("neigh replace 10.0.0.2 lladdr {OUTSIDE} dev up0"));
    let socket = RawSocket::open(&rig.outside, "eth0");
    let plain = echo_request("10.244.1.5");
    for (protocol, control) in [(0x8100, 5), (0x88a8, 5), (0x8100, 0xa000)] {
        socket.send(&tagged(&plain, protocol, control));
    }
    wait_until("an answer", || socket.receive(SILENCE).filter(|frame| is_echo_reply(frame)));
    assert!(rig.nft("list table netdev flyover").contains("!= 10.244.1.1 counter packets 0 bytes 0 drop"));
    socket.send(&plain);
    wait_until("one is dropped", || {
        rig.nft("list table netdev flyover").contains("!= 10.244.1.1 counter packets 1 ").then_some(())
    });
    assert_eq!(socket.receive(SILENCE).filter(|frame| is_echo_reply(frame)), None);
}

/// What `nft` understands of the rule is what was meant.
fn nft_understands() {
    let rig = Rig::new();
    let ours =
        ["10.244.1.0/24", "10.244.4.0/22", "10.245.3.7/32", "fd00:1::/64", "fd00:2::/60", "fd00:3::7/128"];
    let odd = rule(&ours, &["10.244.1.1", "10.244.5.1", "10.244.5.2", "fd00:1::1", "192.0.2.1"]);
    rig.install(&odd).expect("installed");
    let end = "counter packets 0 bytes 0 drop comment \"flyover forwards these\"";
    let rules = [
        "ip daddr 10.244.1.0/24 ip daddr != 10.244.1.1",
        "ip daddr 10.244.4.0/22 ip daddr != 10.244.5.1 ip daddr != 10.244.5.2",
        "ip daddr 10.245.3.7",
        "ip6 daddr fd00:1::/64 ip6 daddr != fd00:1::1",
        "ip6 daddr fd00:2::/60",
        "ip6 daddr fd00:3::7",
    ];
    let shown = rig.nft("list table netdev flyover");
    let lines: Vec<_> = shown.lines().map(str::trim).collect();
    let mut expected = vec![
        "table netdev flyover {".to_owned(),
        "chain uplink {".to_owned(),
        "type filter hook ingress device \"up0\" priority filter; policy accept;".to_owned(),
    ];
    expected.extend(rules.map(|rule| format!("{rule} {end}")));
    expected.extend(["}".to_owned(), "}".to_owned()]);
    assert_eq!(lines, expected);
}

/// An echo request from outside to `address`, as a frame.
fn echo_request(address: &str) -> Vec<u8> {
    let mut message = [8, 0, 0, 0, 0, 1, 0, 1];
    let sum = checksum(&[&message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let source = "10.0.0.2".parse().expect("an address");
    ethernet(NODE, OUTSIDE, IPV4, &ipv4(source, address.parse().expect("an address"), 1, &message))
}

fn is_echo_reply(frame: &[u8]) -> bool {
    frame[12..14] == IPV4.to_be_bytes() && frame[23] == 1 && frame[34] == 0
}

/// A rule is replaced while packets stream in that the old one and the new one keep from the kernel: none gets
/// through.
fn replacement_is_atomic() {
    const REPLACEMENTS: usize = 200;
    let rig = Rig::new();
    let ours = [pods(), rule(&["10.244.0.0/21", "fd00:1::/64"], &["10.244.1.1"])];
    rig.install(&ours[0]).expect("installed");
    let socket = RawSocket::open(&rig.outside, "eth0");
    rig.node.ip(&format!("neigh replace 10.0.0.2 lladdr {OUTSIDE} dev up0"));
    let (stop, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let request = echo_request("10.244.1.5");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let socket = RawSocket::open(&rig.outside, "eth0");
            // Relaxed: nothing but the flag and the count themselves is told by them.
            while !stop.load(Ordering::Relaxed) {
                if socket.try_send(&request).is_ok() {
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        for round in 1..=REPLACEMENTS {
            let before = sent.load(Ordering::Relaxed);
            wait_until("packets stream", || (sent.load(Ordering::Relaxed) > before + 50).then_some(()));
            assert_eq!(rig.install(&ours[round % 2]).expect("installed"), Installed::InPlaceOfAFormer);
        }
        stop.store(true, Ordering::Relaxed);
    });
    // What the kernel answered stands before this answer.
    socket.send(&echo_request("10.0.0.1"));
    let mut replies = 0;
    loop {
        let frame = socket.receive(e2e::DEADLINE).expect("the kernel answers for its own address");
        if !is_echo_reply(&frame) {
            continue;
        }
        if frame[26..30] == [10, 0, 0, 1] {
            break;
        }
        replies += 1;
    }
    assert_eq!(replies, 0, "of {} packets", sent.load(Ordering::Relaxed));
    assert!(sent.load(Ordering::Relaxed) > 50 * REPLACEMENTS);
    // And it would have answered.
    rig.remove();
    socket.send(&request);
    wait_until("the kernel answers for the pod", || {
        socket.receive(SILENCE).filter(|frame| is_echo_reply(frame) && frame[26..30] == [10, 244, 1, 5])
    });
}

/// A leftover, whatever is in it, is found, told of, and replaced.
fn found_after_a_crash() {
    let rig = Rig::new();
    let former = rule(&["10.244.9.0/24"], &[]);
    rig.install(&former).expect("installed");
    rig.nft("add chain netdev flyover more");
    assert!(!rig.answers("10.244.9.5") && rig.answers("10.244.1.5"));
    assert!(!rig.is_present(&pods()));
    assert_eq!(rig.install(&pods()).expect("installed"), Installed::InPlaceOfAFormer);
    assert!(rig.is_present(&pods()) && !rig.is_present(&former));
    assert!(rig.answers("10.244.9.5") && !rig.answers("10.244.1.5"));
    assert!(!rig.nft("list table netdev flyover").contains("more"));
}

fn leaves_no_trace() {
    let rig = Rig::new();
    assert!(!rig.remove(), "there is none");
    rig.install(&pods()).expect("installed");
    assert!(rig.remove());
    assert_eq!(rig.nft("list ruleset"), "");
    assert!(!rig.remove() && !rig.is_present(&pods()));
}

/// What somebody else removed or changed is noticed.
fn damage_is_noticed() {
    let rig = Rig::new();
    let damages = [
        "flush ruleset",
        "delete table netdev flyover",
        "flush chain netdev flyover uplink",
        "add rule netdev flyover uplink accept",
        "insert rule netdev flyover uplink accept",
    ];
    for damage in damages {
        rig.install(&pods()).expect("installed");
        assert!(rig.is_present(&pods()), "before: {damage}");
        rig.nft(damage);
        assert!(!rig.is_present(&pods()), "{damage}");
    }
    let elsewhere = IngressRule { device: "pods".to_owned(), ..pods() };
    rig.install(&elsewhere).expect("installed");
    assert!(!rig.is_present(&pods()) && rig.is_present(&elsewhere), "on another device");
}

fn device_comes_back() {
    let rig = Rig::new();
    rig.install(&pods()).expect("installed");
    for _ in 0..2 {
        rig.node.ip("link del up0");
        assert!(!rig.is_present(&pods()));
        assert!(matches!(rig.install(&pods()), Err(IngressRuleError::NoDevice { .. })));
        rig.wire();
        rig.install(&pods()).expect("installed");
        assert!(rig.is_present(&pods()));
        assert!(!rig.answers("10.244.1.5") && rig.answers("10.244.1.1"));
    }
    // A device that is set down keeps the rule.
    rig.node.ip("link set up0 down");
    assert!(rig.is_present(&pods()));
    rig.node.ip("link set up0 up");
    rig.await_answers(&["10.0.0.1"]);
    assert!(!rig.answers("10.244.1.5"));
}

fn missing_device_is_named() {
    let rig = Rig::new();
    for device in ["eth7", "a-name-that-no-device-can-have", "", "up0\0", "a/b"] {
        let rule = IngressRule { device: device.to_owned(), ..pods() };
        let error = rig.install(&rule).expect_err("there is none").to_string();
        assert_eq!(
            error,
            format!("there is no device {device} to keep the kernel's stack from our packets on")
        );
        assert!(!rig.is_present(&rule));
    }
    assert_eq!(rig.nft("list ruleset"), "");
    rig.install(&pods()).expect("installed");
    assert!(rig.install(&IngressRule { device: "eth7".to_owned(), ..pods() }).is_err());
    assert!(rig.is_present(&pods()), "the former one stays");
}

fn other_tables() {
    let rig = Rig::new();
    let chain = "uplink { type filter hook ingress device up0 priority 0; }";
    rig.nft("add table inet flyover");
    rig.nft("add table netdev other");
    rig.nft(&format!("add chain netdev other {chain}"));
    rig.nft("add rule netdev other uplink ip daddr 10.244.9.5 counter drop");
    let before = rig.nft("-s list ruleset");
    rig.install(&pods()).expect("installed");
    assert!(!rig.answers("10.244.9.5") && !rig.answers("10.244.1.5") && rig.answers("10.244.1.1"));
    rig.install(&pods()).expect("installed");
    assert!(rig.remove());
    assert_eq!(rig.nft("-s list ruleset"), before);
}

fn namespaces_are_independent() {
    let (one, other) = (Rig::new(), Rig::new());
    one.install(&pods()).expect("installed");
    assert!(!other.is_present(&pods()) && other.answers("10.244.1.5"));
    assert_eq!(other.install(&pods()).expect("installed"), Installed::Anew);
    assert!(one.remove());
    assert!(other.is_present(&pods()) && !other.answers("10.244.1.5") && one.answers("10.244.1.5"));
}

fn largest_rule() {
    let rig = Rig::new();
    let texts = |count, text: fn(usize) -> String| (0..count).map(text).collect::<Vec<_>>();
    let networks = texts(NETWORKS_MAX, |index| format!("fd00:1:0:{:x}::/63", 2 * index));
    for exceptions in [
        texts(EXCEPTIONS_MAX, |index| format!("fd00:1:0:{index:x}::1")),
        texts(EXCEPTIONS_MAX, |index| format!("fd00:1::{index:x}")),
    ] {
        let largest = rule(&networks, &exceptions);
        rig.install(&largest).expect("installed");
        assert!(rig.is_present(&largest));
    }
}

/// Connections of the node itself go on while the rule comes, changes and goes.
fn host_goes_on() {
    let rig = Rig::new();
    let (listener, address) = listen(&rig.node, "10.0.0.1".parse().expect("an address"));
    let near = rig.outside.run(|| TcpStream::connect(address)).expect("connected");
    let (far, _) = listener.accept().expect("accepted");
    for _ in 0..20 {
        rig.install(&pods()).expect("installed");
        e2e::exchange(&near, &far);
        assert!(rig.remove());
        e2e::exchange(&near, &far);
    }
}

fn without_the_right() {
    let rig = Rig::new();
    rig.node.run(|| {
        let mut sets = rustix::thread::capabilities(None).expect("they can be read");
        sets.effective.remove(rustix::thread::CapabilitySet::NET_ADMIN);
        rustix::thread::set_capabilities(None, sets).expect("one may be given up");
        let errors = [
            pods().install().map(drop).expect_err("refused"),
            pods().is_present().map(drop).expect_err("refused"),
            ingress_rule::remove().map(drop).expect_err("refused"),
        ];
        for error in errors {
            assert!(error.to_string().starts_with("CAP_NET_ADMIN is missing: it is needed to "), "{error}");
        }
    });
}

fn main() -> ExitCode {
    let tests: [(&str, fn()); 13] = [
        ("packets_to_pods_reach_packet_sockets_and_not_the_stack", drops_for_the_stack_alone),
        ("tagged_frames_are_the_kernel_s", tagged_frames),
        ("nft_understands_the_rule_as_it_was_meant", nft_understands),
        ("no_packet_gets_through_while_the_rule_is_replaced", replacement_is_atomic),
        ("a_rule_left_by_a_crash_is_found_and_replaced", found_after_a_crash),
        ("a_removed_rule_leaves_no_trace", leaves_no_trace),
        ("what_others_do_to_the_rule_is_noticed", damage_is_noticed),
        ("a_device_that_comes_back_gets_the_rule_again", device_comes_back),
        ("a_device_that_is_not_there_is_named", missing_device_is_named),
        ("tables_of_others_are_left_alone", other_tables),
        ("namespaces_are_independent", namespaces_are_independent),
        ("the_largest_rule_is_taken", largest_rule),
        ("the_node_s_own_connections_go_on", host_goes_on),
    ];
    let mut tests: Vec<_> =
        tests.into_iter().map(|(claim, body)| Test::new(claim, body).needing("nft")).collect();
    tests.push(Test::new("without_the_right_the_right_is_named", without_the_right));
    run_root_tests(4, tests)
}
