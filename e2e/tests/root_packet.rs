//! Ports of type `packet`: whoever is behind a device that is not flyover's talks like a pod.

use std::process::ExitCode;

use e2e::frames::{ARP, EXPERIMENTAL, arp, ethernet, tagged};
use e2e::{
    DEADLINE, Plan, Pod, RawSocket, Rig, Test, Trickle, bulk_transfer, connect, exchange, ping,
    run_root_tests, send_datagrams, wait_until,
};
use packet::MacAddress;
use rustix::process::Signal;
use serde_json::Value;

/// The device in the host's namespace that a guest is behind.
const DEVICE: &str = "vm5";

/// Somebody behind a device of the host: a namespace at the other end of a veth pair.
struct Guest(Pod);

impl Guest {
    /// A guest without a device.
    fn absent(quiet: bool) -> Self {
        Self(Pod::new(5, quiet))
    }

    fn new(rig: &Rig) -> Self {
        let guest = Self::absent(false);
        guest.plug(rig);
        guest
    }

    fn mac() -> MacAddress {
        MacAddress([2, 0, 0, 0, 5, 5])
    }

    /// Makes the device, as docs/vm.md says, and the guest's end of it.
    fn plug(&self, rig: &Rig) {
        let Pod { namespace, v4, v6, .. } = &self.0;
        let name = namespace.name();
        let mac = Self::mac();
        rig.host.ip(&format!("link add {DEVICE} type veth peer name eth0 address {mac} netns {name}"));
        rig.host.sysctl(&format!("net/ipv6/conf/{DEVICE}/disable_ipv6"), "1");
        rig.host.sysctl(&format!("net/ipv4/conf/{DEVICE}/arp_ignore"), "8");
        rig.host.ip(&format!("link set {DEVICE} up"));
        namespace.ip(&format!("addr add {v4}/24 dev eth0"));
        namespace.ip("link set eth0 up");
        if namespace
            .run(|| std::fs::read_to_string("/proc/sys/net/ipv6/conf/eth0/disable_ipv6"))
            .is_ok_and(|text| text.trim() == "0")
        {
            namespace.ip(&format!("addr add {v6}/64 dev eth0 nodad"));
        }
    }

    fn unplug(rig: &Rig) {
        rig.host.ip(&format!("link del {DEVICE}"));
    }

    /// Adds the port, bound to the guest's addresses.
    fn attach(&self, rig: &Rig) {
        let (v4, v6) = (format!("{}/24", self.0.v4), format!("{}/64", self.0.v6));
        let mac = Self::mac().to_string();
        let mut words = vec!["port", "add", &self.0.port, "--type", "packet", "--device", DEVICE];
        words.extend(["--address", &v4, "--address", &v6, "--mac", &mac]);
        rig.succeed(&words);
    }

    /// Adds the port, bound to nothing.
    fn attach_unbound(&self, rig: &Rig) {
        rig.succeed(&["port", "add", &self.0.port, "--type", "packet", "--device", DEVICE]);
    }

    fn await_state(&self, rig: &Rig, state: &str) -> Value {
        wait_until(&format!("the port is {state}"), || {
            rig.port(&self.0.port).filter(|port| port["state"] == state)
        })
    }

    fn statistics(&self, rig: &Rig) -> Value {
        let table = rig.json(&["stats", "ports"]);
        let row =
            table.as_array().and_then(|rows| rows.iter().find(|row| row["ifname"] == self.0.port.as_str()));
        row.expect("the port has statistics").clone()
    }
}

fn a_guest_talks_like_a_pod(workers: usize) {
    let rig = Rig::start(&Plan::new(workers, 1));
    let (pod, guest) = (&rig.pods[0], Guest::new(&rig));
    guest.attach(&rig);
    let shown = guest.await_state(&rig, "up");
    assert_eq!((&shown["type"], &shown["device"]), (&"packet".into(), &DEVICE.into()));
    assert_eq!((&shown["mtu"], &shown["queues"]), (&1500.into(), &workers.into()), "{shown}");
    assert_eq!(shown["address"], Guest::mac().to_string());
    for (from, to) in [(pod, &guest.0), (&guest.0, pod)] {
        for address in to.addresses() {
            assert!(ping(&from.namespace, address, 56), "{} to {address}", from.port);
            assert!(ping(&from.namespace, address, 1400), "{} to {address}", from.port);
        }
        for gateway in Rig::GATEWAYS {
            assert!(ping(&from.namespace, gateway, 56), "{} to {gateway}", from.port);
        }
    }
    for (from, to) in [(pod, &guest.0), (&guest.0, pod)] {
        for address in to.addresses() {
            bulk_transfer(&from.namespace, &to.namespace, address, 50_000_000);
            let sizes = [0, 1, 17, 512, 1452, 1472, 1473, 9000, 60_000];
            send_datagrams(&from.namespace, &to.namespace, address, &sizes);
        }
        bulk_transfer(&from.namespace, &rig.host, Rig::GATEWAYS[0], 20_000_000);
    }
    let statistics = guest.statistics(&rig);
    let count = |key: &str| statistics[key].as_u64().expect("it is a number");
    // Half of them are acknowledgments.
    for direction in ["rx", "tx"] {
        let (bytes, frames) = (count(&format!("{direction}_bytes")), count(&format!("{direction}_packets")));
        assert!(bytes / frames > 1514, "{direction}: {} bytes a frame", bytes / frames);
    }
    assert_eq!(count("queue_dropped"), 0);
    rig.assert_every_frame_is_accounted_for();
}

fn tagged_frames_keep_their_tag(workers: usize) {
    let rig = Rig::start(&Plan::new(workers, 1).bare_switch());
    let guest = Guest::absent(true);
    guest.plug(&rig);
    guest.attach_unbound(&rig);
    guest.await_state(&rig, "up");
    let sockets = [rig.pods[0].raw_socket(), RawSocket::open(&guest.0.namespace, "eth0")];
    for (from, to) in [(0, 1), (1, 0)] {
        for tags in 0..3_u8 {
            let source = MacAddress([2, 0, 0, 9, tags, u8::try_from(from).expect("0 or 1")]);
            let mut frame = ethernet(MacAddress::BROADCAST, source, EXPERIMENTAL, &[tags; 60]);
            for tag in 0..tags {
                frame = tagged(&frame, if tag == 0 { 0x8100 } else { 0x88a8 }, 0x2000 + u16::from(tag));
            }
            sockets[from].send(&frame);
            let heard = wait_until("the frame", || {
                sockets[to].receive(DEADLINE).filter(|heard| heard[6..12] == frame[6..12])
            });
            assert_eq!(heard, frame, "{tags} tags");
        }
    }
    rig.assert_every_frame_is_accounted_for();
}

fn a_guest_cannot_lie(workers: usize) {
    let rig = Rig::start(&Plan::new(workers, 1));
    let guest = Guest::new(&rig);
    guest.attach(&rig);
    guest.await_state(&rig, "up");
    assert!(ping(&guest.0.namespace, rig.pods[0].v4.into(), 56));
    let socket = RawSocket::open(&guest.0.namespace, "eth0");
    let stranger = MacAddress([2, 9, 9, 9, 9, 9]);
    let claim = arp(1, (Guest::mac(), rig.pods[0].v4), (MacAddress::ZERO, guest.0.v4));
    socket.send(&ethernet(MacAddress::BROADCAST, stranger, EXPERIMENTAL, &[0; 46]));
    socket.send(&ethernet(MacAddress::BROADCAST, Guest::mac(), ARP, &claim));
    wait_until("both drops", || {
        (rig.drops("spoofed_source") == 1 && rig.drops("spoofed_arp") == 1).then_some(())
    });
    rig.assert_every_frame_is_accounted_for();
}

fn others_do_not_notice_what_happens_to_the_device(workers: usize) {
    let mut rig = Rig::start(&Plan::new(workers, 2));
    let guest = Guest::new(&rig);
    guest.attach(&rig);
    guest.await_state(&rig, "up");
    let trickle = Trickle::start(&rig.pods[0].namespace, &rig.pods[1].namespace, rig.pods[1].v4.into());
    let (near, far) = connect(&guest.0.namespace, &rig.pods[0].namespace, rig.pods[0].v4.into());
    exchange(&near, &far);
    for _ in 0..2 {
        rig.host.ip(&format!("link set {DEVICE} down"));
        guest.await_state(&rig, "link-down");
        rig.host.ip(&format!("link set {DEVICE} up"));
        guest.await_state(&rig, "up");
        exchange(&near, &far);
        // Whoever is behind it goes away and comes back: no carrier.
        guest.0.namespace.ip("link set eth0 down");
        guest.await_state(&rig, "link-down");
        guest.0.namespace.ip("link set eth0 up");
        guest.await_state(&rig, "up");
        exchange(&near, &far);
    }
    let pinging = Trickle::start(&guest.0.namespace, &rig.pods[0].namespace, rig.pods[0].v4.into());
    Guest::unplug(&rig);
    let gone = guest.await_state(&rig, "gone");
    assert!(gone["reason"].is_string(), "{gone}");
    guest.plug(&rig);
    guest.await_state(&rig, "up");
    wait_until("the guest reaches the pod", || {
        ping(&guest.0.namespace, rig.pods[0].v4.into(), 56).then_some(())
    });
    let (sent, heard) = pinging.finish();
    assert!(heard > 0 && heard <= sent, "{heard} of {sent}");
    let (sent, heard) = trickle.finish();
    assert_eq!(heard, sent, "between the pods:\n{}", rig.succeed(&["stats", "ports"]));

    rig.daemon_mut().kill();
    rig.start_daemon();
    guest.await_state(&rig, "up");
    assert!(ping(&guest.0.namespace, rig.pods[0].v4.into(), 56), "after the daemon was killed");
    rig.succeed(&["port", "del", &guest.0.port]);
    wait_until("it is left alone", || {
        rig.host.ip(&format!("-d link show dev {DEVICE}")).contains("promiscuity 0").then_some(())
    });
    rig.assert_every_frame_is_accounted_for();
}

fn a_device_that_comes_later_is_waited_for(workers: usize) {
    let mut rig = Rig::start(&Plan::new(workers, 1));
    let guest = Guest::absent(false);
    guest.attach(&rig);
    let shown = guest.await_state(&rig, "gone");
    assert_eq!(shown["reason"], format!("there is no device {DEVICE}"));
    guest.plug(&rig);
    guest.await_state(&rig, "up");
    assert!(ping(&guest.0.namespace, rig.pods[0].v4.into(), 56));
    rig.succeed(&["port", "del", &guest.0.port]);
    Guest::unplug(&rig);

    // A daemon that starts with it in its file does not wait.
    let text = format!(
        "{}\n[[port]]\nname = \"{}\"\ntype = \"packet\"\ndevice = \"{DEVICE}\"\nmac = \"{}\"\naddresses = [\"{}/24\"]\n",
        rig.configuration(&Plan::new(workers, 1)),
        guest.0.port,
        Guest::mac(),
        guest.0.v4
    );
    rig.write_configuration(&text);
    rig.daemon_mut().kill();
    rig.start_daemon();
    guest.await_state(&rig, "gone");
    guest.plug(&rig);
    guest.await_state(&rig, "up");
    assert!(ping(&guest.0.namespace, rig.pods[0].v4.into(), 56));
    rig.assert_every_frame_is_accounted_for();
}

fn the_device_s_mtu_is_followed(workers: usize) {
    let rig = Rig::start(&Plan::new(workers, 1).mtu_bytes(9000));
    let (pod, guest) = (&rig.pods[0], Guest::new(&rig));
    guest.attach(&rig);
    guest.await_state(&rig, "up");
    assert!(ping(&pod.namespace, guest.0.v4.into(), 1472));
    assert!(!ping(&pod.namespace, guest.0.v4.into(), 1473), "the guest's device takes 1500 bytes");
    assert_eq!(rig.drops("egress_mtu"), 1);
    rig.host.ip(&format!("link set {DEVICE} mtu 9000"));
    guest.0.namespace.ip("link set eth0 mtu 9000");
    wait_until("the new MTU", || rig.port(&guest.0.port).filter(|port| port["mtu"] == 9000));
    assert!(ping(&pod.namespace, guest.0.v4.into(), 8972));
    rig.assert_every_frame_is_accounted_for();
}

/// With the setting of docs/vm.md the gateway's address has one answer; without it the kernel answers, too,
/// and the daemon says so.
fn the_gateway_answers_once(workers: usize) {
    let rig = Rig::start(&Plan::new(workers, 1));
    let guest = Guest::new(&rig);
    guest.attach(&rig);
    guest.await_state(&rig, "up");
    assert!(!rig.daemon().log().contains("arp_ignore"), "{}", rig.daemon().log());
    let socket = RawSocket::open(&guest.0.namespace, "eth0");
    let ask = || {
        let std::net::IpAddr::V4(gateway) = Rig::GATEWAYS[0] else { unreachable!("it is IPv4") };
        let question = arp(1, (Guest::mac(), guest.0.v4), (MacAddress::ZERO, gateway));
        socket.send(&ethernet(MacAddress::BROADCAST, Guest::mac(), ARP, &question));
        let mut answers: Vec<Vec<u8>> = Vec::new();
        // The second answer comes no later than the first one by much.
        while let Some(frame) = socket.receive(std::time::Duration::from_millis(300)) {
            if frame[12..14] == [8, 6] && frame[21] == 2 && frame[28..32] == gateway.octets() {
                answers.push(frame[6..12].to_vec());
            }
        }
        answers
    };
    assert_eq!(ask(), [[0x0a, 0x58, 0x0a, 0xf4, 1, 1]], "the gateway's MAC, once");
    rig.succeed(&["port", "del", &guest.0.port]);
    rig.host.sysctl(&format!("net/ipv4/conf/{DEVICE}/arp_ignore"), "0");
    guest.attach(&rig);
    guest.await_state(&rig, "up");
    let answers = ask();
    assert!(answers.len() == 2 && answers[0] != answers[1], "the kernel's, too: {answers:?}");
    wait_until("the advice", || {
        rig.daemon().log().contains(&format!("sysctl net.ipv4.conf.{DEVICE}.arp_ignore=8")).then_some(())
    });
}

fn what_the_kernel_drops_before_us_is_shown(workers: usize) {
    let rig = Rig::start(&Plan::new(workers, 1).bare_switch());
    let guest = Guest::absent(true);
    guest.plug(&rig);
    guest.attach_unbound(&rig);
    guest.await_state(&rig, "up");
    let socket = RawSocket::open(&guest.0.namespace, "eth0");
    rig.daemon().signal(Signal::STOP);
    let frame = ethernet(MacAddress::BROADCAST, Guest::mac(), EXPERIMENTAL, &[0; 46]);
    const FRAMES: u64 = 60_000;
    (0..FRAMES).for_each(|_| socket.send(&frame));
    rig.daemon().signal(Signal::CONT);
    wait_until("every frame is heard or counted", || {
        let statistics = guest.statistics(&rig);
        let count = |key: &str| statistics[key].as_u64().expect("it is a number");
        let (heard, dropped) = (count("rx_packets"), count("queue_dropped"));
        assert!(heard + dropped <= FRAMES, "{heard} and {dropped}");
        (dropped > 0 && heard + dropped == FRAMES).then_some(())
    });
    rig.assert_every_frame_is_accounted_for();
}

fn main() -> ExitCode {
    let both = Test::with_one_and_two_workers;
    let tests = [
        both("a_guest_talks_like_a_pod", a_guest_talks_like_a_pod),
        both("tagged_frames_keep_their_tag", tagged_frames_keep_their_tag),
        both("a_guest_cannot_lie", a_guest_cannot_lie),
        both(
            "others_do_not_notice_what_happens_to_the_device",
            others_do_not_notice_what_happens_to_the_device,
        ),
        both("a_device_that_comes_later_is_waited_for", a_device_that_comes_later_is_waited_for),
        both("the_device_s_mtu_is_followed", the_device_s_mtu_is_followed),
        both("the_gateway_answers_once", the_gateway_answers_once),
        both("what_the_kernel_drops_before_us_is_shown", what_the_kernel_drops_before_us_is_shown),
    ];
    run_root_tests(2, tests.into_iter().flatten().collect())
}
