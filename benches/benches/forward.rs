//! What a frame costs on its whole way through a worker, between two memory ports: receive, parse, learn,
//! look up, send. The time shown is that of one frame. Making frames and taking them off is not timed.
//!
//! `cargo bench -p benches --bench forward`

use std::hint::black_box;
use std::time::{Duration, Instant};

use benches::routed::RoutedTrack;
use benches::{Lane, NOW_MS, Random, Track, fdb, port, shortest_frame, station};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use packet::{BURST_FRAMES, Offloads};
use switch::Addresses;

/// The time of `frames` frames if every burst took as long as the one in the middle: bursts in which the
/// thread lost its CPU do not count.
fn typical(frames: u64, burst: usize, mut run: impl FnMut() -> Duration) -> Duration {
    let bursts = frames.div_ceil(burst as u64);
    let mut spent: Vec<Duration> = (0..bursts).map(|_| run()).collect();
    let middle = spent.len() / 2;
    let (_, typical, _) = spent.select_nth_unstable(middle);
    typical.mul_f64(frames as f64 / burst as f64)
}

/// One bar of the benchmark: the time that `run` measures of a burst of `burst` frames.
fn measure(c: &mut Criterion, group: &str, name: &str, burst: usize, mut run: impl FnMut() -> Duration) {
    let mut group = c.benchmark_group(group);
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4));
    group.throughput(Throughput::Elements(1));
    group.bench_function(name, |b| b.iter_custom(|frames| typical(frames, burst, &mut run)));
    group.finish();
}

/// One bar of the bridge: bursts of `burst` frames that `load` makes.
fn bridge(c: &mut Criterion, name: &str, mut track: Track, burst: usize, load: fn(&mut Track, usize)) {
    track.warm_up(load);
    measure(c, "forward", name, burst, || {
        load(&mut track, burst);
        let start = Instant::now();
        let received = track.step();
        let spent = start.elapsed();
        assert_eq!(received, burst);
        while track.step() > 0 {}
        track.unload();
        spent
    });
}

fn forward(c: &mut Criterion) {
    let two = [Lane::PLAIN; 2];
    for (name, macs) in [("64_bytes_10_000_macs", 10_000), ("64_bytes_1_000_000_macs", 1_000_000)] {
        bridge(c, name, Track::new(macs, &two), BURST_FRAMES, Track::load);
    }
    bridge(c, "64_bytes_one_flow", Track::new(2, &two), BURST_FRAMES, Track::load_one_flow);
    bridge(c, "64_bytes_single", Track::new(10_000, &two), 1, Track::load);
    bridge(c, "flood_to_8", Track::new(10_000, &[Lane::PLAIN; 9]), BURST_FRAMES, Track::load_broadcast);
    let datagrams = Track::new(2, &two).with_unfinished_datagrams();
    bridge(c, "64_bytes_coalesced", datagrams, BURST_FRAMES, Track::load_one_flow);
    let whole = Track::new(2, &two).with_super_frames(60_000);
    bridge(c, "60_000_bytes_whole", whole, 8, Track::load_one_flow);
    let plain = Lane { offloads: Offloads::NONE, ..Lane::PLAIN };
    let cut = Track::new(2, &[Lane::PLAIN, plain]).with_super_frames(60_000);
    bridge(c, "60_000_bytes_cut", cut, 8, Track::load_one_flow);
}

/// Both workers' time, for each frame that one hands to the other.
fn handoff(c: &mut Criterion) {
    let mut track = Track::new(10_000, &[Lane::PLAIN, Lane { worker: 1, ..Lane::PLAIN }]);
    track.warm_up(Track::load);
    let mut group = c.benchmark_group("forward");
    group.throughput(Throughput::Elements(1));
    group.bench_function("64_bytes_handed_over", |b| {
        b.iter_custom(|frames| {
            typical(frames, BURST_FRAMES, || {
                track.load(BURST_FRAMES);
                let start = Instant::now();
                let received = track.step();
                let spent = start.elapsed();
                // Each frame is seen by both workers.
                assert_eq!(received, 2 * BURST_FRAMES);
                track.unload();
                spent
            })
        });
    });
    group.finish();
}

/// The part of a frame's way that does not depend on ports: parse, learn, look up, decide.
fn decide(c: &mut Criterion) {
    for (name, macs) in [("64_bytes_10_000_macs", 10_000), ("64_bytes_1_000_000_macs", 1_000_000)] {
        let (fdb, mut random) = (fdb(macs), Random(42));
        let mut frames = vec![shortest_frame(); BURST_FRAMES];
        let mut addresses = Vec::with_capacity(BURST_FRAMES);
        let mut verdicts = Vec::with_capacity(BURST_FRAMES);
        let mut group = c.benchmark_group("decide");
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |b| {
            b.iter_custom(|wanted| {
                typical(wanted, BURST_FRAMES, || {
                    for frame in &mut frames {
                        frame[..6].copy_from_slice(&station(random.below(macs / 2) * 2 + 1).0);
                        frame[6..12].copy_from_slice(&station(random.below(macs / 2) * 2).0);
                    }
                    let start = Instant::now();
                    addresses.clear();
                    for frame in &frames {
                        let _ = black_box(packet::parse(black_box(frame)));
                        addresses.extend(Addresses::read(frame, port(0)));
                    }
                    fdb.forward_burst(&addresses, NOW_MS, &mut verdicts);
                    black_box(&verdicts);
                    start.elapsed()
                })
            });
        });
        group.finish();
    }
}

/// A frame's whole way through the router: the pod's binding, the bridge, the route to its destination, the next hop.
fn route(c: &mut Criterion) {
    for (name, routes, is_v6) in [
        ("64_bytes_v4_10_000_routes", 10_000, false),
        ("64_bytes_v6_10_000_routes", 10_000, true),
        ("64_bytes_v4_10_routes", 10, false),
    ] {
        let mut track = RoutedTrack::new(routes, is_v6);
        track.warm_up();
        measure(c, "route", name, BURST_FRAMES, || {
            track.load(BURST_FRAMES);
            let start = Instant::now();
            let received = track.step();
            let spent = start.elapsed();
            assert_eq!(received, BURST_FRAMES);
            track.unload();
            spent
        });
    }
}

criterion_group!(benches, decide, forward, handoff, route);
criterion_main!(benches);
