//! Pods, host and outside talk over a running daemon.

use std::process::ExitCode;
use std::time::Duration;

use e2e::frames::{EXPERIMENTAL, ethernet, tagged};
use e2e::{
    DEADLINE, Namespace, Plan, Rig, Test, bulk_transfer, ping, run_root_tests, send_datagrams, wait_until,
};
use packet::MacAddress;

fn pods_and_host_answer_each_other_s_ping(workers: usize) {
    let rig = Rig::start(&Plan::new(workers, 2));
    let [near, far] = &rig.pods[..] else { unreachable!("two pods were asked for") };
    for (from, to) in [(near, far), (far, near)] {
        for address in to.addresses() {
            assert!(ping(&from.namespace, address, 56), "{} to {address}", from.port);
            assert!(ping(&rig.host, address, 56), "host to {address}");
        }
        for gateway in Rig::GATEWAYS {
            assert!(ping(&from.namespace, gateway, 56), "{} to {gateway}", from.port);
        }
    }
    rig.assert_every_frame_is_accounted_for();
}

fn tcp_carries_bulk_unaltered(workers: usize) {
    let rig = Rig::start(&Plan::new(workers, 2));
    let [near, far] = &rig.pods[..] else { unreachable!("two pods were asked for") };
    bulk_transfer(&near.namespace, &far.namespace, far.v4.into(), 200_000_000);
    bulk_transfer(&far.namespace, &near.namespace, near.v6.into(), 200_000_000);
    bulk_transfer(&rig.host, &near.namespace, near.v4.into(), 50_000_000);
    bulk_transfer(&near.namespace, &rig.host, Rig::GATEWAYS[1], 50_000_000);
    rig.assert_every_frame_is_accounted_for();
}

fn many_tcp_connections_at_once_arrive_unaltered(workers: usize) {
    let rig = Rig::start(&Plan::new(workers, 3));
    std::thread::scope(|scope| {
        for number in 0..12 {
            let (from, to) = (&rig.pods[number % 3], &rig.pods[(number + 1 + number / 6) % 3]);
            let address = to.addresses()[number % 2];
            scope.spawn(move || bulk_transfer(&from.namespace, &to.namespace, address, 5_000_000));
        }
    });
    rig.assert_every_frame_is_accounted_for();
}

fn udp_datagrams_of_every_size_arrive_unaltered(workers: usize) {
    let rig = Rig::start(&Plan::new(workers, 2));
    let [near, far] = &rig.pods[..] else { unreachable!("two pods were asked for") };
    let sizes = [0, 1, 17, 18, 19, 512, 1452, 1453, 1472, 1473, 4000, 9000, 60_000];
    for address in far.addresses() {
        send_datagrams(&near.namespace, &far.namespace, address, &sizes);
        send_datagrams(&rig.host, &far.namespace, address, &sizes);
    }
    for gateway in Rig::GATEWAYS {
        send_datagrams(&near.namespace, &rig.host, gateway, &sizes);
    }
    rig.assert_every_frame_is_accounted_for();
}

/// The longest echo request fits, one byte more does not leave the pod; at 1500 and at 9000 bytes.
fn the_configured_mtu_is_that_of_pods_and_host() {
    for mtu_bytes in [1500, 9000] {
        let rig = Rig::start(&Plan::new(1, 2).mtu_bytes(mtu_bytes));
        let [near, far] = &rig.pods[..] else { unreachable!("two pods were asked for") };
        let mtu = usize::try_from(mtu_bytes).expect("an MTU fits");
        // IPv4 and ICMP headers take 28 bytes, those of IPv6 48.
        for (target, headers) in [(far.addresses()[0], 28), (far.addresses()[1], 48)] {
            assert!(ping(&near.namespace, target, mtu - headers), "{target} at {mtu}");
            assert!(!ping(&near.namespace, target, mtu + 1 - headers), "{target} above {mtu}");
            assert!(ping(&rig.host, target, mtu - headers), "host to {target} at {mtu}");
        }
        bulk_transfer(&near.namespace, &far.namespace, far.v4.into(), 20_000_000);
        rig.assert_every_frame_is_accounted_for();
    }
}

fn super_frames_cross_the_switch_whole() {
    let rig = Rig::start(&Plan::new(1, 2));
    let [near, far] = &rig.pods[..] else { unreachable!("two pods were asked for") };
    let ear = far.raw_socket();
    bulk_transfer(&near.namespace, &far.namespace, far.v4.into(), 10_000_000);
    let mut longest = 0;
    while let Some(frame) = ear.receive(Duration::from_millis(10)) {
        longest = longest.max(frame.len());
    }
    assert!(longest > 2 * 1514, "the longest frame received had {longest} bytes");
}

fn a_vlan_tag_of_a_bound_pod_passes_untouched() {
    let rig = Rig::start(&Plan::new(1, 2));
    let [near, far] = &rig.pods[..] else { unreachable!("two pods were asked for") };
    let source: MacAddress = near.mac().parse().expect("a device has a MAC");
    let destination: MacAddress = far.mac().parse().expect("a device has a MAC");
    let (mouth, ear) = (near.raw_socket(), far.raw_socket());
    let plain = ethernet(destination, source, EXPERIMENTAL, &[7; 100]);
    for frame in [tagged(&plain, 0x8100, 0xe123), tagged(&tagged(&plain, 0x8100, 1), 0x88a8, 2)] {
        mouth.send(&frame);
        wait_until("the tagged frame", || ear.receive(DEADLINE).filter(|heard| *heard == frame));
    }
}

/// Without an uplink the rest of the way is the kernel's: it routes and masquerades what pods send outside.
fn the_host_s_kernel_takes_pods_outside(workers: usize) {
    let rig = Rig::start(&Plan::new(workers, 1));
    let pod = &rig.pods[0];
    let outside = Namespace::new("outside");
    outside.ip(&format!("link add eth0 type veth peer name eth0 netns {}", rig.host.name()));
    outside.ip("addr add 192.0.2.2/24 dev eth0");
    outside.ip("link set eth0 up");
    rig.host.ip("addr add 192.0.2.1/24 dev eth0");
    rig.host.ip("link set eth0 up");
    rig.host.sysctl("net/ipv4/ip_forward", "1");
    let masquerade = "table ip e2e { chain out { type nat hook postrouting priority srcnat; \
                      ip saddr 10.244.1.0/24 oifname eth0 masquerade; }; }";
    let rules = rig.host.output("nft", &[masquerade]);
    assert!(rules.status.success(), "nft: {}", String::from_utf8_lossy(&rules.stderr));
    let target = "192.0.2.2".parse().expect("an address");
    wait_until("the way outside", || ping(&pod.namespace, target, 56).then_some(()));
    bulk_transfer(&pod.namespace, &outside, target, 50_000_000);
    send_datagrams(&pod.namespace, &outside, target, &[1, 1472, 9000]);
    rig.assert_every_frame_is_accounted_for();
}

fn main() -> ExitCode {
    let both = Test::with_one_and_two_workers;
    let mut tests: Vec<Test> = [
        both("pods_and_host_answer_each_other_s_ping", pods_and_host_answer_each_other_s_ping),
        both("tcp_carries_bulk_unaltered", tcp_carries_bulk_unaltered),
        both("many_tcp_connections_at_once_arrive_unaltered", many_tcp_connections_at_once_arrive_unaltered),
        both("udp_datagrams_of_every_size_arrive_unaltered", udp_datagrams_of_every_size_arrive_unaltered),
        both("the_host_s_kernel_takes_pods_outside", the_host_s_kernel_takes_pods_outside)
            .map(|test| test.needing("nft")),
    ]
    .into_iter()
    .flatten()
    .collect();
    tests.extend([
        Test::new("the_configured_mtu_is_that_of_pods_and_host", the_configured_mtu_is_that_of_pods_and_host),
        Test::new("super_frames_cross_the_switch_whole", super_frames_cross_the_switch_whole),
        Test::new("a_vlan_tag_of_a_bound_pod_passes_untouched", a_vlan_tag_of_a_bound_pod_passes_untouched),
    ]);
    run_root_tests(2, tests)
}
