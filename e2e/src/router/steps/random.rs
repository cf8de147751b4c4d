//! Frames at random: an ordinary one with some things changed.

use super::{FLOWS, Ipv4, Ipv6, Step, addresses, errors, headers, local, neighbors};
use crate::script::Random;

/// So many steps, each made of a scripted one by changing some of its bytes.
pub fn random(random: &mut Random, count: usize) -> Vec<Step> {
    let scripted = [headers::all(), errors::all(), local::all(), neighbors::all(), addresses::all()];
    let steps = std::iter::repeat_with(|| {
        let list = &scripted[random.below(scripted.len())];
        let step = match random.below(3) {
            0 => ordinary(random),
            _ => list[random.below(list.len())].clone(),
        };
        changed(random, step)
    });
    steps.filter(Step::is_comparable).take(count).collect()
}

/// A packet of an ordinary flow, of any length.
fn ordinary(random: &mut Random) -> Step {
    let flow = &FLOWS[random.below(FLOWS.len())];
    let mut payload = vec![0; random.below(1340)];
    random.fill(&mut payload);
    let hops = random.pick(&[0, 1, 2, 64, 255]);
    if random.below(2) == 0 {
        flow.step4(
            "at random",
            &Ipv4 { ttl: hops, payload, fragment: random.pick(&[0, 0x4000]), ..flow.ipv4() },
        )
    } else {
        flow.step6("at random", &Ipv6 { hop_limit: hops, payload, ..flow.ipv6() })
    }
}

/// Up to three bytes of the headers changed, the checksum of IPv4 made right in most cases. MACs and type stay.
fn changed(random: &mut Random, mut step: Step) -> Step {
    let end = step.frame.len().min(100);
    for _ in 0..random.below(4) {
        if end > 14 {
            let at = 14 + random.below(end - 14);
            step.frame[at] =
                random.pick(&[0, 1, 0x7f, 0x80, 0xff, step.frame[at] ^ 1, step.frame[at].wrapping_add(1)]);
        }
    }
    if random.below(5) > 0 && step.packet().is_some_and(|packet| packet.is_v4) {
        crate::router::compare::mend_checksum(&mut step.frame);
    }
    step.what.push_str(", changed at random");
    step
}
