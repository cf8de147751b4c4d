//! The same frames through flyover and through a Linux bridge: what each port receives is the same, but for the
//! differences listed in [`ALLOWED_DIFFERENCES`](e2e::script::ALLOWED_DIFFERENCES).

use std::process::ExitCode;

use e2e::frames::{ARP, EXPERIMENTAL, IPV4, IPV6, ethernet, tagged};
use e2e::script::{Address, Arena, Content, Random, Step, first_difference, shrink};
use e2e::{BridgeRig, Plan, Pod, Rig, Test, run_root_tests, wait_until};
use packet::MacAddress;

const PORTS: usize = 4;

/// flyover with ports that are not bound to addresses, and no limit on their MACs, as the bridge has none.
fn bare_switch(workers: usize, mtu_bytes: u32) -> (Rig, Arena) {
    let plan = Plan::new(workers, PORTS).bare_switch().mtu_bytes(mtu_bytes).bridge("max_macs_per_port = 0");
    let rig = Rig::start(&plan);
    for pod in &rig.pods {
        pod.namespace.ip("link set eth0 arp off up");
    }
    let arena = Arena::new(rig.pods.iter().map(Pod::raw_socket).collect(), workers);
    arena.settle();
    (rig, arena)
}

fn linux_bridge(mtus_bytes: &[u32]) -> (BridgeRig, Arena) {
    let rig = BridgeRig::new(mtus_bytes);
    let arena = Arena::new(rig.raw_sockets(), 1);
    arena.settle();
    (rig, arena)
}

/// Compares; a difference is reported with the shortest script that shows it.
fn compare(linux: &mut Arena, flyover: &mut Arena, script: &[Step], run: &mut u16, origin: &str) {
    let mut next_run = || {
        *run += 1;
        *run
    };
    if first_difference(linux, flyover, script, next_run()).is_none() {
        return;
    }
    let shortest = shrink(script, |part| first_difference(linux, flyover, part, next_run()).is_some());
    let difference = first_difference(linux, flyover, &shortest, next_run());
    let steps: Vec<_> = shortest.iter().map(|step| format!("  {step}")).collect();
    panic!(
        "{origin}: flyover differs from the Linux bridge:\n{}\n{}",
        steps.join("\n"),
        difference.unwrap_or_else(|| "but not every time".to_owned())
    );
}

/// Every kind of source and destination with every kind of content and tags.
fn every_kind_of_frame() -> Vec<Step> {
    let speak = |ingress, station| Step {
        ingress,
        source: Address::Station(station),
        destination: Address::Broadcast,
        content: Content::Arp,
        tags: 0,
    };
    // Stations 0 to 3 are at home at ports 0 to 3; station 4 shares port 1.
    let mut script = vec![speak(0, 0), speak(1, 1), speak(2, 2), speak(3, 3), speak(1, 4)];
    let sources = [Address::Station(0), Address::Zero, Address::GroupV4, Address::Broadcast];
    let mut destinations = vec![
        Address::Station(0),
        Address::Station(1),
        Address::Unknown,
        Address::Broadcast,
        Address::GroupV4,
        Address::GroupV6,
        Address::Zero,
    ];
    destinations.extend((0..16).map(Address::Reserved));
    let contents = [
        Content::Experimental(0),
        Content::Experimental(1),
        Content::Experimental(46),
        Content::Experimental(1500),
        Content::Udp4(18, 1024),
        Content::Udp6(18, 1024),
        Content::Arp,
        Content::LogicalLink,
        Content::MalformedIpv4,
        Content::MalformedIpv6,
        Content::Noise(0, 1),
        Content::Noise(1000, 2),
    ];
    for source in sources {
        for &destination in &destinations {
            for content in contents {
                for tags in [0, 1, 2] {
                    script.push(Step { ingress: 0, source, destination, content, tags });
                }
            }
        }
    }
    script
}

/// Stations that move from port to port, and what reaches them before and after.
fn moves() -> Vec<Step> {
    let mut script = Vec::new();
    let step = |ingress, source, destination| Step {
        ingress,
        source: Address::Station(source),
        destination,
        content: Content::Experimental(46),
        tags: 0,
    };
    for home in [0, 1, 2, 3, 1, 0] {
        script.push(step(home, 0, Address::Broadcast));
        for asker in 0..PORTS {
            script.push(step(asker, 1, Address::Station(0)));
        }
        // A frame to a reserved group, or to nobody known, also tells where its sender is.
        script.push(step((home + 1) % PORTS, 0, Address::Reserved(14)));
        script.push(step(home, 1, Address::Station(0)));
        script.push(step((home + 2) % PORTS, 0, Address::Unknown));
        script.push(step(home, 1, Address::Station(0)));
        // To itself.
        script.push(step(home, 0, Address::Station(0)));
    }
    script
}

fn every_kind_of_frame_meets_the_same_fate(workers: usize) {
    let (_bridge, mut linux) = linux_bridge(&[1500; PORTS]);
    let (rig, mut flyover) = bare_switch(workers, 1500);
    let mut run = 0;
    compare(&mut linux, &mut flyover, &moves(), &mut run, "moves");
    compare(&mut linux, &mut flyover, &every_kind_of_frame(), &mut run, "every kind of frame");
    rig.assert_every_frame_is_accounted_for();
}

fn random_scripts_meet_the_same_fate(workers: usize) {
    const SCRIPTS: u64 = 12;
    const STEPS: usize = 150;
    let (_bridge, mut linux) = linux_bridge(&[1500; PORTS]);
    let (rig, mut flyover) = bare_switch(workers, 1500);
    let mut run = 0;
    // A failure names its seed, which E2E_SEED repeats.
    let first: u64 = std::env::var("E2E_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    for seed in first..first + SCRIPTS {
        let mut random = Random::new(seed);
        let script: Vec<_> = (0..STEPS).map(|_| Step::random(&mut random, PORTS)).collect();
        compare(&mut linux, &mut flyover, &script, &mut run, &format!("E2E_SEED={seed}"));
    }
    rig.assert_every_frame_is_accounted_for();
}

/// Frames of every length from a bare header up, also ones that end inside a tag.
fn runts_meet_the_same_fate(workers: usize) {
    let (_bridge, mut linux) = linux_bridge(&[1500; PORTS]);
    let (rig, mut flyover) = bare_switch(workers, 1500);
    let source = MacAddress([2, 0xf1, 0, 0, 0, 1]);
    for ethertype in [EXPERIMENTAL, IPV4, ARP, IPV6, 0x8100, 0x88a8, 0, 40] {
        for payload_bytes in 0..=50 {
            let frame = ethernet(MacAddress::BROADCAST, source, ethertype, &vec![0x81; payload_bytes]);
            let (linux, flyover) = (linux.perform(0, &frame), flyover.perform(0, &frame));
            assert_eq!(linux, flyover, "{payload_bytes} bytes of type {ethertype:#06x}");
        }
    }
    rig.assert_every_frame_is_accounted_for();
}

/// Pod 0 sends frames around the MTU of the others. Its own MTU it may raise as it likes.
fn frames_around_the_mtu_meet_the_same_fate(workers: usize, mtu_bytes: u32) {
    let raised_bytes = mtu_bytes + 1000;
    let mut mtus = [mtu_bytes; PORTS];
    mtus[0] = raised_bytes;
    let (_bridge, mut linux) = linux_bridge(&mtus);
    let (rig, mut flyover) = bare_switch(workers, mtu_bytes);
    rig.pods[0].namespace.ip(&format!("link set eth0 mtu {raised_bytes}"));
    let near = MacAddress([2, 0xf1, 0, 0, 0, 1]);
    let known = MacAddress([2, 0xf1, 0, 0, 0, 2]);
    let greeting = ethernet(MacAddress::BROADCAST, known, EXPERIMENTAL, b"here");
    assert_eq!(linux.perform(1, &greeting), flyover.perform(1, &greeting));
    let mtu = usize::try_from(mtu_bytes).expect("an MTU fits");
    let mut differences = Vec::new();
    for payload_bytes in [mtu - 1, mtu, mtu + 1, mtu + 4, mtu + 5, mtu + 8, mtu + 9, mtu + 500] {
        for destination in [MacAddress::BROADCAST, known] {
            let frame = ethernet(destination, near, EXPERIMENTAL, &vec![0x5a; payload_bytes]);
            let once = tagged(&frame, 0x8100, 5);
            let twice = tagged(&once, 0x88a8, 6);
            for (tags, frame) in [frame, once, twice].iter().enumerate() {
                let (linux, flyover) = (linux.perform(0, frame), flyover.perform(0, frame));
                if linux != flyover {
                    differences.push(format!(
                        "{payload_bytes} bytes of payload behind {tags} tags to {destination}\n  \
                         Linux bridge: {linux}\n  flyover:      {flyover}"
                    ));
                }
            }
        }
    }
    assert!(differences.is_empty(), "MTU {mtu_bytes}:\n{}", differences.join("\n"));
    wait_until("what was too long is counted", || (rig.drops("egress_mtu") > 0).then_some(()));
    rig.assert_every_frame_is_accounted_for();
}

/// The method itself: what it compares is exact enough that two Linux bridges look the same.
fn two_linux_bridges_do_not_differ() {
    let (_first, mut first) = linux_bridge(&[1500; PORTS]);
    let (_second, mut second) = linux_bridge(&[1500; PORTS]);
    let mut scripts = vec![moves(), every_kind_of_frame()];
    let mut random = Random::new(0);
    scripts.push((0..500).map(|_| Step::random(&mut random, PORTS)).collect());
    for (run, script) in (1..).zip(scripts) {
        for (number, (one, other)) in first.run(&script, run).iter().zip(second.run(&script, run)).enumerate()
        {
            assert_eq!(*one, other, "step {number}: {}", script[number]);
        }
    }
}

fn main() -> ExitCode {
    let mut tests = vec![Test::new("two_linux_bridges_do_not_differ", two_linux_bridges_do_not_differ)];
    tests.extend(Test::with_one_and_two_workers(
        "every_kind_of_frame_meets_the_same_fate",
        every_kind_of_frame_meets_the_same_fate,
    ));
    tests.extend(Test::with_one_and_two_workers(
        "random_scripts_meet_the_same_fate",
        random_scripts_meet_the_same_fate,
    ));
    tests.extend(Test::with_one_and_two_workers("runts_meet_the_same_fate", runts_meet_the_same_fate));
    for mtu_bytes in [1500, 9000] {
        tests.push(Test::new(
            format!("frames_around_the_mtu_of_{mtu_bytes}_meet_the_same_fate"),
            move || {
                frames_around_the_mtu_meet_the_same_fate(1, mtu_bytes);
            },
        ));
    }
    run_root_tests(2, tests)
}
