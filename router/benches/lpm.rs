//! What a look-up costs, by number of routes: the compiled table in bursts and one by one, and beside it the
//! crates `poptrie` and `prefix-trie`; what the build and one change cost; what memory is used.
//!
//! `cargo bench -p router`; the time shown is that of one address (of one build, of one change).

mod routes;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ipnet::{Ipv4Net, Ipv6Net};
use router::lpm::{Compiler, LongestPrefixMatch, Prefix, Table, Value};
use routes::{Family, Random, Routes, anywhere, cluster, internet, nested, routed};
use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

const BURST: usize = 64;
const ADDRESSES: usize = 1 << 20;
const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];

fn time_per_address<A: Copy>(addresses: &[A], wanted: u64, mut burst: impl FnMut(&[A])) -> Duration {
    let mut done = 0;
    let start = Instant::now();
    for addresses in addresses.chunks_exact(BURST).cycle() {
        burst(black_box(addresses));
        done += BURST as u64;
        if done >= wanted {
            break;
        }
    }
    start.elapsed().mul_f64(wanted as f64 / done as f64)
}

fn bench_table<A: Family>(c: &mut Criterion, traffic: &str, size: usize, table: &Table<A>, addresses: &[A]) {
    let mut group = c.benchmark_group(format!("{}/{traffic}", A::NAME));
    let mut values: [Option<Value>; BURST] = [None; BURST];
    group.bench_function(BenchmarkId::new("bursts", size), |b| {
        b.iter_custom(|wanted| {
            time_per_address(addresses, wanted, |burst| {
                table.lookup_burst(burst, &mut values);
                black_box(&values);
            })
        });
    });
    group.bench_function(BenchmarkId::new("one_by_one", size), |b| {
        b.iter_custom(|wanted| {
            time_per_address(addresses, wanted, |burst| {
                burst.iter().zip(&mut values).for_each(|(address, value)| *value = table.lookup(*address));
                black_box(&values);
            })
        });
    });
}

fn bench_rival<A: Family>(
    c: &mut Criterion,
    name: &str,
    size: usize,
    addresses: &[A],
    lookup: impl Fn(A) -> Option<u16>,
) {
    let mut group = c.benchmark_group(format!("{}/routed", A::NAME));
    let mut values: [Option<u16>; BURST] = [None; BURST];
    group.bench_function(BenchmarkId::new(name, size), |b| {
        b.iter_custom(|wanted| {
            time_per_address(addresses, wanted, |burst| {
                burst.iter().zip(&mut values).for_each(|(address, value)| *value = lookup(*address));
                black_box(&values);
            })
        });
    });
}

fn compiled<A: Family>(routes: &Routes<A>) -> Compiler<A> {
    Compiler::from_routes(routes.iter().copied()).expect("fewer routes than the most")
}

fn family<A: Family>(c: &mut Criterion, rivals: impl Fn(&mut Criterion, usize, &Routes<A>, &[A])) {
    for size in SIZES {
        let routes = internet::<A>(size);
        let table = compiled(&routes).table();
        println!("{} internet {size}: {} KiB", A::NAME, table.memory_bytes() / 1024);
        let addresses = routed(&routes, ADDRESSES);
        bench_table(c, "routed", size, &table, &addresses);
        bench_table(c, "anywhere", size, &table, &anywhere(ADDRESSES));
        rivals(c, size, &routes, &addresses);
        let routes = cluster::<A>(size);
        let table = compiled(&routes).table();
        println!("{} cluster {size}: {} KiB", A::NAME, table.memory_bytes() / 1024);
        bench_table(c, "cluster", size, &table, &routed(&routes, ADDRESSES));
        let routes = nested::<A>(size);
        let table = compiled(&routes).table();
        println!("{} nested {size}: {} KiB", A::NAME, table.memory_bytes() / 1024);
        bench_table(c, "nested", size, &table, &routed(&routes, ADDRESSES));
    }
}

fn index(value: Value) -> u16 {
    u16::try_from(value.index()).expect("a small number")
}

fn v4(c: &mut Criterion) {
    family::<Ipv4Addr>(c, |c, size, routes, addresses| {
        let map: prefix_trie::PrefixMap<Ipv4Net, u16> =
            routes.iter().map(|(prefix, value)| (net(&prefix.to_string()), index(*value))).collect();
        bench_rival(c, "prefix-trie", size, addresses, |address| {
            map.get_lpm(&address.into()).map(|(_, value)| *value)
        });
        drop(map);
        let poptrie: poptrie::Poptrie<(Ipv4Addr, u8), u16> = routes
            .iter()
            .map(|(prefix, value)| ((prefix.address(), prefix.length()), index(*value)))
            .collect();
        bench_rival(c, "poptrie", size, addresses, |address| poptrie.lookup(address).copied());
    });
}

fn v6(c: &mut Criterion) {
    family::<Ipv6Addr>(c, |c, size, routes, addresses| {
        let map: prefix_trie::PrefixMap<Ipv6Net, u16> =
            routes.iter().map(|(prefix, value)| (net(&prefix.to_string()), index(*value))).collect();
        bench_rival(c, "prefix-trie", size, addresses, |address| {
            map.get_lpm(&address.into()).map(|(_, value)| *value)
        });
        drop(map);
        let poptrie: poptrie::Poptrie<(Ipv6Addr, u8), u16> = routes
            .iter()
            .map(|(prefix, value)| ((prefix.address(), prefix.length()), index(*value)))
            .collect();
        bench_rival(c, "poptrie", size, addresses, |address| poptrie.lookup(address).copied());
    });
}

fn net<N: std::str::FromStr>(text: &str) -> N
where
    N::Err: std::fmt::Debug,
{
    text.parse().expect("a prefix is written as the other crate reads it")
}

/// One route changes, and a new immutable table is there while the former is still held.
fn change<A: Family>(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("{}/change", A::NAME));
    group.sample_size(10);
    let routes = internet::<A>(1_000_000);
    group.bench_function("build_1000000", |b| b.iter(|| compiled(&routes).table()));
    let mut compiler = compiled(&routes);
    let mut published = compiler.table();
    let mut random = Random(5);
    group.bench_function("one_of_1000000", |b| {
        b.iter(|| {
            let (prefix, value) = routes[random.below(1_000_000)];
            if compiler.remove(prefix).is_none() {
                compiler.insert(prefix, value).expect("room");
            }
            published = compiler.table();
        });
    });
    for length in [0, 8, 16] {
        let prefix = Prefix::containing(A::from_upper_bits(0x2a << 120), length).expect("a length");
        let mut index = 0;
        group.bench_function(format!("length_{length}_of_1000000"), |b| {
            b.iter(|| {
                index = (index + 1) % 64;
                compiler.insert(prefix, Value::new(index).expect("a small number")).expect("room");
                published = compiler.table();
            });
        });
    }
    black_box(published);
}

fn changes(c: &mut Criterion) {
    change::<Ipv4Addr>(c);
    change::<Ipv6Addr>(c);
}

fn config() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
}

criterion_group!(name = benches; config = config(); targets = v4, v6, changes);
criterion_main!(benches);
