//! Commands by chance.

use e2e::script::Random;
use node::kernel::FollowOptions;

use crate::rig::Rig;

/// On few prefixes and devices, so that much of it meets; the kernel refuses many. `E2E_SEED=N` repeats a failure.
pub(crate) fn whatever_happens_is_told(options: FollowOptions) {
    let seed = std::env::var("E2E_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    let mut random = Random::new(seed);
    let rig = Rig::start(options);
    for step in 0..150 {
        let count = 1 + random.below(12);
        let lines: Vec<_> = (0..count).map(|_| any_command(&mut random)).collect();
        // A line twice, so that no refusal ends the test.
        rig.batch(&[lines.clone(), vec![String::from("link set lo up")]].concat());
        rig.compare(&format!("E2E_SEED={seed}, step {step}: {lines:#?}"));
    }
}

fn any_command(random: &mut Random) -> String {
    let verb = random.pick(&["add", "append", "prepend", "replace", "change", "del", "add", "replace"]);
    let (six, pick) = (random.below(2) == 1, random.below(100));
    let gateway = |random: &mut Random| {
        let (net, host) = (random.below(2), 2 + random.below(3));
        if six { format!("via fd0{net}::{host}") } else { format!("via 10.0.{net}.{host}") }
    };
    let device = random.pick(&["d0", "d1"]);
    match pick {
        0..70 => {
            let prefix = random.below(3);
            let prefix = if six { format!("fd99:{prefix}::/64") } else { format!("192.168.{prefix}.0/24") };
            let way = match random.below(7) {
                0 => format!("nexthop {} nexthop {} weight 2", gateway(random), gateway(random)),
                1 => format!("dev {device}"),
                2 => format!("nhid {}", if six { 4 } else { 1 + random.below(3) }),
                _ => gateway(random),
            };
            let kind = if random.below(8) == 0 { "blackhole " } else { "" };
            let way = if kind.is_empty() { way } else { String::new() };
            let tail = random.pick(&["", "", "metric 5", "proto 12", "proto 13 metric 5", "table 1000"]);
            format!("route {verb} {kind}{prefix} {way} {tail}")
        }
        70..80 => {
            let (id, last) = (1 + random.below(2), 2 + random.below(5));
            match random.below(5) {
                0 => format!("nexthop del id {}", 1 + random.below(4)),
                1 => format!("nexthop replace id 3 group {}", random.pick(&["1", "2", "1/2", "1/2,4"])),
                2 => format!("nexthop replace id 4 via fd00::{last} dev d0"),
                _ => format!("nexthop replace id {id} via 10.0.{}.{last} dev d{}", id - 1, id - 1),
            }
        }
        80..86 => {
            format!("link set {} {}", random.pick(&["d0", "d1", "p1"]), random.pick(&["up", "up", "down"]))
        }
        86..93 => {
            let verb = random.pick(&["add", "add", "del"]);
            let net = random.pick(&["10.0.0.1/24", "10.0.0.7/24", "fd00::1/64", "fd00::7/64"]);
            let tail = if verb == "add" && net.contains(':') { " nodad" } else { "" };
            format!("addr {verb} {net} dev d0{tail}")
        }
        93..97 => {
            format!(
                "neigh {} 10.0.0.3 lladdr 02:00:00:00:00:0{} dev {device}",
                random.pick(&["replace", "del"]),
                random.below(4)
            )
        }
        97 => String::from("link set d0 mtu 1400"),
        98 => String::from("link set d0 mtu 1500"),
        _ => String::from("addr replace 10.0.1.1/24 dev d1"),
    }
}
