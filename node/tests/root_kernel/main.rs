//! The mirror of what the kernel knows, against `ip` in real namespaces.

mod bird;
mod chance;
mod rig;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use e2e::{Namespace, Test, run_root_tests, wait_until};
use node::kernel::{FollowOptions, KernelHop, KernelRouteKind};

use rig::Rig;

/// Each step is compared with what `ip` shows after it.
const STEPS: &[&str] = &[
    // Routes of all kinds, in several tables, with metrics.
    "route add default via 10.0.0.254",
    "route add ::/0 via fd00::254",
    "route add 192.168.0.0/24 via 10.0.0.2 protocol 12 metric 7",
    "route add 192.168.0.0/24 via 10.0.0.3",
    "route add blackhole 192.168.1.0/24",
    "route add prohibit 192.168.2.0/24 table 1000",
    "route add unreachable 192.168.3.0/24",
    "route add throw 192.168.4.0/24 table 77",
    "route add blackhole fd91::/64",
    "route add prohibit fd92::/64 table 1000 metric 4",
    "route add 192.168.5.0/24 dev d0",
    "route add 192.168.6.0/24 tos 4 via 10.0.0.4",
    "route add 192.168.7.0/24 via inet6 fd00::7",
    "route add local 192.168.8.1 dev d0 table main",
    // Several hops.
    "route add 192.168.10.0/24 nexthop via 10.0.0.5 nexthop via 10.0.1.5 weight 200",
    "route add fd93::/64 nexthop via fd00::5 nexthop via fd01::5",
    "route append fd93::/64 via fd00::6",
    "route del fd93::/64 via fd00::5",
    "route append fd93::/64 nexthop via fd00::7 nexthop via fd01::7",
    "route replace fd93::/64 nexthop via fd00::8 nexthop via fd01::8",
    "route del fd93::/64 via fd01::8",
    "route replace fd93::/64 via fd00::9",
    "route append fd93::/64 dev d1",
    "route del fd93::/64 via fd00::9",
    // One in place of another, before and behind others.
    "route replace 192.168.10.0/24 via 10.0.1.6 proto static",
    "route append 192.168.10.0/24 via 10.0.0.7",
    "route prepend 192.168.10.0/24 via 10.0.0.8 proto 12",
    "route replace 192.168.10.0/24 via 10.0.0.9 proto 13",
    "route change 192.168.10.0/24 via 10.0.0.10",
    "route replace blackhole 192.168.10.0/24",
    "route del 192.168.10.0/24 via 10.0.1.6",
    "route del blackhole 192.168.10.0/24",
    // Nexthop objects.
    "nexthop add id 1 via 10.0.0.2 dev d0",
    "nexthop add id 2 via 10.0.1.2 dev d1",
    "nexthop add id 10 group 1/2,3",
    "route add 192.168.20.0/24 nhid 10",
    "route add 192.168.21.0/24 nhid 1 metric 3",
    "nexthop replace id 1 via 10.0.0.3 dev d0",
    "nexthop replace id 10 group 2",
    "nexthop replace id 10 group 1/2",
    "nexthop del id 2",
    "nexthop replace id 1 blackhole",
    "nexthop del id 1",
    "nexthop add id 3 via fd00::33 dev d0",
    "route add fd94::/64 nhid 3",
    "nexthop replace id 3 via fd01::33 dev d1",
    "nexthop del id 3",
    // Addresses.
    "addr add 10.5.0.1 peer 10.5.0.2/24 dev d0",
    "addr add 10.5.0.1 peer 10.5.1.2/24 dev d0",
    "addr del 10.5.0.1 peer 10.5.0.2/24 dev d0",
    "addr add 10.0.0.9/24 dev d0",
    "addr add fd00:5::1 peer fd00:5::2/64 dev d0 nodad",
    "addr add fd00:6::1/64 dev d0",
    "route add 192.168.30.0/24 via 10.0.1.9",
    "addr del 10.0.1.1/24 dev d1",
    "addr add 10.0.1.1/24 dev d1",
    "addr del 10.0.0.1/24 dev d0",
    "addr add 10.0.0.1/24 dev d0",
    // Neighbors.
    "neigh add 10.0.0.3 lladdr 02:00:00:00:00:03 dev d0",
    "neigh add fd00::3 lladdr 02:00:00:00:00:03 dev d0",
    "neigh add 10.0.0.4 lladdr 02:00:00:00:00:04 dev d0 nud reachable",
    "neigh add proxy 10.0.0.5 dev d0",
    "neigh change 10.0.0.3 lladdr 02:00:00:00:00:13 dev d0 nud permanent",
    "neigh change 10.0.0.3 lladdr 02:00:00:00:00:13 dev d0 nud stale",
    "neigh del fd00::3 dev d0",
    "neigh add 10.0.0.6 lladdr 02:00:00:00:00:06 dev d0",
    // Devices.
    "link set d0 mtu 1400",
    "link set d0 address 02:00:00:00:00:99",
    "link set p0 down",
    "link set p0 up",
    "route add 192.168.40.0/24 nexthop via 10.0.0.5 nexthop via 10.0.1.5",
    "route add fd95::/64 nexthop via fd00::5 nexthop via fd01::5",
    "link set d1 down",
    "link set d1 up",
    "addr add fd01::1/64 dev d1 nodad",
    "link set p1 down",
    "link set p1 up",
    "link set d0 down",
    "link set d0 name other",
    "link set other up",
    "link add br0 type bridge",
    "link set p0 master br0",
    "link set br0 up",
    "link set p0 nomaster",
    "link del br0",
    "link del other",
    "link del d1",
];

fn every_change_is_told_and_nothing_else() {
    let rig = Rig::start(FollowOptions::default());
    rig.compare("start");
    let mut steps = STEPS.to_vec();
    // Not every kernel has bridges.
    if !rig.namespace.output("ip", &["link", "add", "name", "try", "type", "bridge"]).status.success() {
        steps.retain(|step| !step.contains("br0") && !step.contains("master"));
    }
    for step in steps {
        rig.batch(&[step]);
        rig.compare(step);
    }
}

/// What is there at the start is told before `start` returns.
fn the_state_at_the_start_is_told_at_once() {
    let mut rig = Rig::prepare(FollowOptions::default());
    for step in STEPS.iter().filter(|step| !step.starts_with("link") && !step.starts_with("addr")) {
        rig.batch(&[step]);
    }
    wait_until("all addresses are usable", || {
        (!rig.namespace.ip("addr").contains("tentative")).then_some(())
    });
    rig.follow();
    let told = rig.told().known.clone();
    assert_eq!(told, rig.shown());
    assert_eq!(rig.dumps(), 1);
    // Again, where others are known.
    rig.batch(&["route flush table main"]);
    rig.follow();
    rig.compare("after a second start");
}

/// To be added with these hops, or deleted whatever hops they have.
fn many_routes(verb: &str) -> Vec<String> {
    let is_added = verb == "add";
    let v4 = (0..10_000).map(move |n| {
        let hops = match n % 3 {
            _ if !is_added => "",
            0 => "nexthop via 10.0.0.5 nexthop via 10.0.1.5",
            _ => "via 10.0.0.6",
        };
        format!("route {verb} 172.{}.{}.0/24 {hops}", 16 + n / 256, n % 256)
    });
    let v6 = (0..10_000).map(move |n| {
        let hops = match n % 3 {
            _ if !is_added => "",
            0 => "nexthop via fd00::5 nexthop via fd01::5",
            _ => "via fd00::6",
        };
        format!("route {verb} fd55:{n:x}::/64 {hops}")
    });
    v4.chain(v6).collect()
}

fn a_burst_of_routes_is_told_in_few_batches() {
    let rig = Rig::start(FollowOptions::default());
    rig.compare("start");
    for (verb, count) in [("add", 20_000), ("del", 0)] {
        let before = rig.told().batches.len();
        rig.batch(&many_routes(verb));
        rig.compare(verb);
        let told = rig.told();
        let batches = &told.batches[before..];
        assert!(batches.iter().sum::<usize>() >= 20_000 && batches.iter().max() <= Some(&8192));
        assert!(batches.len() < 1000, "{} batches", batches.len());
        let routes = told.known.routes.keys().filter(|key| key.protocol == 3);
        assert_eq!(routes.count(), count);
    }
    assert_eq!(rig.dumps(), 1, "nothing was lost");
}

fn lost_messages_do_no_harm() {
    let rig = Rig::start(small());
    rig.compare("start");
    for round in 0..3 {
        for verb in ["add", "del"] {
            rig.batch(&many_routes(verb));
            rig.compare(&format!("{verb} {round}"));
        }
    }
    let dumps = rig.dumps();
    assert!(dumps > 2, "{dumps} dumps: the buffer did overflow");
}

/// A receive buffer for a handful of messages.
fn small() -> FollowOptions {
    FollowOptions { receive_buffer_bytes: 4096, ..FollowOptions::default() }
}

/// The kernel announces it before the routes go, and removes them one after another.
fn routes_that_go_silently_with_their_device_are_missed() {
    let rig = Rig::start(FollowOptions::default());
    let routes: Vec<_> = (0..20_000)
        .map(|n| format!("route add 172.{}.{}.0/24 via 10.0.1.5", 16 + n / 256, n % 256))
        .collect();
    for flap in ["link set d1 down", "addr del 10.0.1.1/24 dev d1", "link set p1 down", "link del d1"] {
        rig.batch(&["link set d1 up", "link set p1 up", "addr replace 10.0.1.1/24 dev d1"]);
        rig.batch(&routes);
        rig.compare("all are there");
        assert!(rig.told().known.routes.len() > 20_000);
        rig.batch(&[flap]);
        rig.compare(flap);
        assert!(rig.told().known.routes.len() < 100, "{flap}");
    }
}

fn only_the_tables_and_protocols_asked_for_are_told() {
    let options = FollowOptions { tables: vec![254, 1000], protocols: vec![12, 4], ..Default::default() };
    let rig = Rig::start(options);
    let steps = [
        "route add 192.168.0.0/24 via 10.0.0.2 protocol 12",
        "route add 192.168.1.0/24 via 10.0.0.2 protocol 12 table 1000",
        "route add 192.168.2.0/24 via 10.0.0.2 protocol 12 table 1001",
        "route add 192.168.3.0/24 via 10.0.0.2 protocol 13",
        "route prepend 192.168.0.0/24 via 10.0.0.3 protocol 13",
        "route replace 192.168.0.0/24 via 10.0.0.4 protocol 4",
        "route replace 192.168.0.0/24 via 10.0.0.5 protocol 13",
        "route del 192.168.0.0/24 via 10.0.0.2",
    ];
    for step in steps {
        rig.batch(&[step]);
        rig.compare(step);
    }
    let told = rig.told();
    assert_eq!(
        Vec::from_iter(told.known.routes.keys().map(|key| key.prefix.to_string())),
        ["192.168.1.0/24"]
    );
}

fn a_device_that_moves_to_another_namespace_is_gone() {
    let rig = Rig::start(FollowOptions::default());
    let far = Namespace::new("far");
    rig.batch(&["route add 192.168.0.0/24 nexthop via 10.0.0.5 nexthop via 10.0.1.5"]);
    rig.batch(&["neigh add 10.0.1.3 lladdr 02:00:00:00:00:03 dev d1"]);
    rig.compare("before");
    rig.batch(&[format!("link set d1 netns {}", far.name())]);
    rig.compare("it has moved");
    assert!(!rig.told().known.links.values().any(|link| link.name == "d1"));
    far.ip(&format!("link set d1 netns {}", rig.namespace.name()));
    rig.compare("it is back");
    assert!(rig.told().known.links.values().any(|link| link.name == "d1"));
}

fn an_address_is_told_once_it_is_known_to_be_unique() {
    let rig = Rig::start(FollowOptions::default());
    rig.batch(&["addr add fd00::99/64 dev d0 nodad"]);
    // The other end of the same wire asks and is answered.
    rig.batch(&["addr add fd00::99/64 dev p0"]);
    rig.batch(&["addr add fd00::98/64 dev p0"]);
    let count = |last: &str| {
        let told = rig.told();
        let address = format!("fd00::{last}/64").parse().expect("a network");
        told.known.addresses.iter().filter(|(_, of)| *of == address).count()
    };
    assert_eq!(count("98"), 0, "it is tentative");
    wait_until("one is a duplicate", || {
        rig.namespace.ip("addr show dev p0").contains("dadfailed").then_some(())
    });
    rig.compare("it is told by one device");
    assert_eq!(count("99"), 1);
    wait_until("the other is usable", || (count("98") == 1).then_some(()));
}

/// Encapsulation, and nexthop objects that the kernel does not resolve.
fn what_only_the_kernel_can_do_is_a_hop_out_of_no_device() {
    let rig = Rig::start(FollowOptions::default());
    rig.namespace.sysctl("net/ipv4/nexthop_compat_mode", "0");
    rig.batch(&["route add 192.168.0.0/24 encap ip id 5 dst 10.0.0.77 dev d0"]);
    rig.batch(&["route add 192.168.1.0/24 via inet6 fd00::7"]);
    rig.batch(&["nexthop add id 1 via 10.0.0.2 dev d0"]);
    rig.batch(&["route add 192.168.2.0/24 nhid 1"]);
    let only = KernelRouteKind::Hops(vec![KernelHop { index: 0, gateway: None, weight: 1 }]);
    rig.await_routes("all three are told", |routes| {
        let of_steps = routes.iter().filter(|(key, _)| key.protocol == 3);
        of_steps.filter(|(_, kind)| **kind == only).count() == 3
    });
}

/// Also where nothing happens.
fn a_dropped_follower_ends_at_once() {
    let mut rig = Rig::start(FollowOptions::default());
    let began = Instant::now();
    rig.stop();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let batches = rig.told().batches.len();
    rig.batch(&["route add 192.168.0.0/24 via 10.0.0.2"]);
    assert_eq!(rig.told().batches.len(), batches);
}

fn main() -> ExitCode {
    run_root_tests(
        2,
        vec![
            Test::new("every_change_is_told_and_nothing_else", every_change_is_told_and_nothing_else),
            Test::new("the_state_at_the_start_is_told_at_once", the_state_at_the_start_is_told_at_once),
            Test::new("a_burst_of_routes_is_told_in_few_batches", a_burst_of_routes_is_told_in_few_batches),
            Test::new("lost_messages_do_no_harm", lost_messages_do_no_harm),
            Test::new(
                "routes_that_go_silently_with_their_device_are_missed",
                routes_that_go_silently_with_their_device_are_missed,
            ),
            Test::new(
                "only_the_tables_and_protocols_asked_for_are_told",
                only_the_tables_and_protocols_asked_for_are_told,
            ),
            Test::new(
                "a_device_that_moves_to_another_namespace_is_gone",
                a_device_that_moves_to_another_namespace_is_gone,
            ),
            Test::new(
                "an_address_is_told_once_it_is_known_to_be_unique",
                an_address_is_told_once_it_is_known_to_be_unique,
            ),
            Test::new(
                "what_only_the_kernel_can_do_is_a_hop_out_of_no_device",
                what_only_the_kernel_can_do_is_a_hop_out_of_no_device,
            ),
            Test::new("whatever_happens_is_told", || {
                chance::whatever_happens_is_told(FollowOptions::default());
            }),
            Test::new("whatever_happens_is_told_with_losses", || chance::whatever_happens_is_told(small())),
            Test::new("a_dropped_follower_ends_at_once", a_dropped_follower_ends_at_once),
            Test::new("the_routes_of_bird_come_and_go_with_it", bird::the_routes_of_bird_come_and_go_with_it)
                .needing("bird"),
        ],
    )
}
