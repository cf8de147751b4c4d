//! What the forwarding database costs a frame: learn the source, look up the destination, decide.
//!
//! Every frame is of another random pair of known MACs, so at a million MACs nearly every bucket is a cache
//! miss. `cargo bench -p switch`; the time shown is that of one frame.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use packet::{MacAddress, PortId};
use std::hint::black_box;
use std::time::{Duration, Instant};
use switch::{Addresses, Fdb, FdbLimits, Forwarding};

const PORTS: u64 = 100;
const BURST: usize = 64;
const FRAMES: usize = 1 << 20;

/// SplitMix64: repeatable.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

fn station(number: u64) -> (MacAddress, PortId) {
    let mac = MacAddress::from_u64(0x0200_0000_0000 | Random(number).next() & 0xff_ffff_ffff);
    let port = u16::try_from(number % PORTS).ok().and_then(PortId::new);
    (mac, port.expect("a port number below 100"))
}

fn filled(macs: u64) -> Fdb {
    let macs_max = usize::try_from(macs).expect("a number of MACs that fits memory");
    let limits = FdbLimits { macs_max, macs_per_port_max: 0, aging_ms: 300_000 };
    let fdb = Fdb::new(limits, 0x5eed);
    for (mac, port) in (0..macs).map(station) {
        fdb.learn(mac, port, 1_000);
    }
    fdb
}

fn traffic(macs: u64) -> Vec<Addresses> {
    let mut random = Random(42);
    let frames = (0..FRAMES).map(|_| {
        let (source, ingress) = station(random.below(macs));
        let (destination, _) = station(random.below(macs));
        Addresses { destination, source, ingress }
    });
    frames.collect()
}

fn bursts(c: &mut Criterion) {
    let mut group = c.benchmark_group("learn_and_forward");
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    for macs in [1_000, 10_000, 100_000, 1_000_000] {
        let (fdb, frames) = (filled(macs), traffic(macs));
        let mut verdicts: Vec<Forwarding> = Vec::with_capacity(BURST);
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("burst_of_64", macs), |b| {
            let mut bursts = frames.chunks_exact(BURST).cycle();
            b.iter_custom(|frames_wanted| {
                let mut done = 0;
                let start = Instant::now();
                for burst in bursts.by_ref() {
                    fdb.forward_burst(black_box(burst), 1_000, &mut verdicts);
                    black_box(&verdicts);
                    done += BURST as u64;
                    if done >= frames_wanted {
                        break;
                    }
                }
                start.elapsed().mul_f64(frames_wanted as f64 / done as f64)
            });
        });
        group.bench_function(BenchmarkId::new("one_by_one", macs), |b| {
            let mut frames = frames.iter().cycle();
            b.iter(|| frames.next().map(|frame| fdb.forward(black_box(frame), 1_000)));
        });
    }
    group.finish();
}

criterion_group!(benches, bursts);
criterion_main!(benches);
