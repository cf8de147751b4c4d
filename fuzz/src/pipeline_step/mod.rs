//! Any frames with any offload metadata on any port of a switch with a router, while neighbors, routes and ports come
//! and go and time passes.
//!
//! Nothing panics. Every frame is settled once. What leaves is sound if what came in was: metadata that fit the frame,
//! checksums, hop limits. What leaves by the uplink comes from the node's MAC; nothing that the uplink heard is
//! flooded; nobody's address is used by a port that is bound to another.

mod claims;
mod frames;
mod rig;

use claims::{Claims, balanced};
use frames::Input;
use rig::{OPEN, Rig, Shape, mac};

/// Steps of one run; a longer input only repeats itself.
const STEPS_MAX: usize = 200;

/// Frames that may wait for their next hop, for a worker: those of both links.
const WAITING_MAX: u64 = 512;

/// Rounds in which whatever is under way comes to rest.
const ROUNDS_MAX: usize = 1000;

/// Longer than anything waits.
const PATIENCE_MS: u64 = 5_000;

/// Runs the target. `data` is one byte for what stays the same, then steps: frames, snapshots, time.
///
/// # Panics
/// If a claim does not hold.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let mut rig = rig::take(Shape::read(input.byte()));
    let mut claims = Claims::default();
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        step(&mut input, &mut rig, &mut claims);
    }
    come_to_rest(&mut rig, &claims);
    rig.now_ms += PATIENCE_MS;
    come_to_rest(&mut rig, &claims);
    balanced(&rig, 0);
    no_buffer_is_lost(&mut rig);
    rig::give_back(rig);
}

fn step(input: &mut Input<'_>, rig: &mut Rig, claims: &mut Claims) {
    let kind = input.byte();
    match kind % 16 {
        0 => {
            // What was decided by the former snapshot leaves before there is another.
            come_to_rest(rig, claims);
            rig.publish([input.byte(), input.byte()]);
        }
        1 => rig.now_ms += u64::from(input.word()) >> (kind / 16),
        2 => come_to_rest(rig, claims),
        _ => {
            let to = usize::from(kind >> 4 & 3);
            let copies = 1_usize << (input.byte() % 8);
            let queue = usize::from(kind >> 6 & 1);
            let (frame, offload) = frames::read(input);
            for _ in 0..copies {
                if to == rig::HOST && !rig.shape.has_host || !rig.send(to, queue, &frame, offload) {
                    break;
                }
                claims.sent(to, &frame, offload);
            }
            if kind & 128 == 0 {
                come_to_rest(rig, claims);
            }
        }
    }
    let waiting = WAITING_MAX * rig.shape.workers as u64;
    balanced(rig, waiting);
}

/// Lets the workers run until none finds anything to do, and checks what leaves.
fn come_to_rest(rig: &mut Rig, claims: &Claims) {
    let mut rounds = 0;
    while rig.step() {
        rounds += 1;
        assert!(rounds < ROUNDS_MAX, "something goes round for ever");
    }
    for (to, end) in rig.ends.iter().enumerate() {
        end.receive_with(|bytes, offload| claims.left(rig, to, bytes, offload));
    }
    while rig.simulation.events().punts().next().is_some() {}
}

/// A whole burst still passes at once.
fn no_buffer_is_lost(rig: &mut Rig) {
    rig.publish([0, 0]);
    rig.step();
    let flow = packet::FiveTuple {
        source: rig::ip("10.0.0.2"),
        destination: rig::ip("10.0.0.1"),
        protocol: packet::protocol::ip_protocol::UDP,
        source_port: 1,
        destination_port: 2,
    };
    let link = packet::build::Link { source: mac(1), destination: mac(0) };
    let frame = packet::build::frame(link, &flow, b"still here").expect("a short payload");
    for worker in 0..rig.shape.workers {
        for _ in 0..packet::BURST_FRAMES {
            rig.send(OPEN, worker, &frame, packet::Offload::NONE);
        }
        let now_ms = rig.now_ms;
        assert_eq!(rig.simulation.step(worker, now_ms).items, packet::BURST_FRAMES, "a buffer is missing");
    }
    while rig.step() {}
    rig.ends.iter().for_each(|end| {
        end.receive_with(|_, _| ());
    });
}
