//! The compiled longest-prefix-match table against the list of routes: random sequences of changes, the fuzzer's
//! corpus, and the corners.

use proptest::prelude::*;
use router::lpm::{Compiler, LongestPrefixMatch, LpmError, Prefix, ROUTES_MAX, Value};
use std::net::{Ipv4Addr, Ipv6Addr};

#[expect(unreachable_pub, reason = "the module belongs to the fuzz crate, which exports it")]
#[path = "../../fuzz/src/lpm_operations.rs"]
mod lpm_operations;

use lpm_operations::{Operation, agree, run};

fn some_operations() -> impl Strategy<Value = Vec<Operation>> {
    proptest::collection::vec(any::<[u8; 5]>().prop_map(Operation::read), 1..200)
}

/// Many routes in one place: records with all slots different, with many children, and their way back.
fn crowded_operations() -> impl Strategy<Value = Vec<Operation>> {
    let operation = (any::<u8>(), any::<u8>(), 17..=32_u8, 0..8_u8);
    let operation = operation.prop_map(|(end, value, length, place)| match value % 4 {
        0 => Operation::RemoveKnown { index: end },
        _ => Operation::Insert { address: [0, 8 + place / 4 * 4, end], length, value },
    });
    proptest::collection::vec(operation, 100..400)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_compiled_table_answers_as_the_list_does_v4(operations in some_operations()) {
        agree::<Ipv4Addr>(&operations);
    }

    #[test]
    fn the_compiled_table_answers_as_the_list_does_v6(operations in some_operations()) {
        agree::<Ipv6Addr>(&operations);
    }

    #[test]
    fn crowded_records_grow_and_shrink_without_a_wrong_answer(operations in crowded_operations()) {
        agree::<Ipv4Addr>(&operations);
        agree::<Ipv6Addr>(&operations);
    }
}

#[test]
fn every_file_of_the_corpus_passes() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/lpm_operations");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        run(&std::fs::read(&path).unwrap());
        files += 1;
    }
    assert!(files >= 8, "{folder} holds {files} files");
}

fn value(index: usize) -> Value {
    Value::new(index).expect("a small number")
}

fn v4(text: &str) -> Prefix<Ipv4Addr> {
    text.parse::<ipnet::Ipv4Net>().expect("a prefix").into()
}

fn v6(text: &str) -> Prefix<Ipv6Addr> {
    text.parse::<ipnet::Ipv6Net>().expect("a prefix").into()
}

#[test]
fn the_longest_of_all_lengths_wins_at_every_length() {
    let mut compiler = Compiler::new();
    for length in 0..=128 {
        let prefix = Prefix::containing(Ipv6Addr::from_bits(u128::MAX), length).unwrap();
        assert_eq!(compiler.insert(prefix, value(usize::from(length))), Ok(None));
    }
    let table = compiler.table();
    for length in 0..=128_u8 {
        // The first `length` bits are ones, the next one is not.
        let zero = 127_u32.checked_sub(u32::from(length)).map_or(0, |bit| 1_u128 << bit);
        let address = Ipv6Addr::from_bits(u128::MAX ^ zero);
        assert_eq!(table.lookup(address), Some(value(usize::from(length))), "{address}");
    }
}

#[test]
fn the_shortest_and_longest_prefixes_reach_exactly_their_ends() {
    let routes = [("0.0.0.0/0", 1), ("255.255.255.255/32", 2), ("0.0.0.0/32", 3), ("128.0.0.0/1", 4)];
    let table =
        Compiler::from_routes(routes.map(|(prefix, index)| (v4(prefix), value(index)))).unwrap().table();
    let at = |address: [u8; 4]| table.lookup(Ipv4Addr::from(address)).unwrap().index();
    assert_eq!((at([0, 0, 0, 0]), at([0, 0, 0, 1]), at([127, 255, 255, 255])), (3, 1, 1));
    assert_eq!((at([128, 0, 0, 0]), at([255, 255, 255, 254]), at([255, 255, 255, 255])), (4, 4, 2));
}

#[test]
fn host_bits_of_a_prefix_are_cut_off() {
    assert_eq!(v4("10.1.2.3/8"), v4("10.0.0.0/8"));
    assert_eq!(v6("2001:db8::1/32").to_string(), "2001:db8::/32");
    assert_eq!(Prefix::containing(Ipv4Addr::LOCALHOST, 33), None);
}

#[test]
fn of_several_routes_to_one_prefix_the_last_counts() {
    let routes =
        [(v4("10.0.0.0/24"), value(1)), (v4("10.0.1.0/24"), value(2)), (v4("10.0.0.0/24"), value(3))];
    let compiler = Compiler::from_routes(routes).unwrap();
    assert_eq!((compiler.len(), compiler.get(v4("10.0.0.0/24"))), (2, Some(value(3))));
}

#[test]
fn more_routes_than_the_most_are_refused_in_whole() {
    let routes = (0..=ROUTES_MAX).map(|index| {
        let address = Ipv4Addr::from_bits(u32::try_from(index).unwrap() << 8);
        (Prefix::containing(address, 24).unwrap(), value(0))
    });
    assert_eq!(Compiler::from_routes(routes).map(|compiler| compiler.len()), Err(LpmError::Full));
}

#[test]
fn a_burst_of_any_length_is_answered_and_what_is_in_excess_left_alone() {
    let compiler = Compiler::from_routes([(v4("10.0.0.0/24"), value(7))]).unwrap();
    let table = compiler.table();
    for length in 0..200 {
        let addresses: Vec<Ipv4Addr> =
            (0..length).map(|last| Ipv4Addr::new(10, 0, last / 128, last)).collect();
        let mut values = vec![Some(value(99)); 210];
        table.lookup_burst(&addresses, &mut values);
        for (index, found) in values.iter().enumerate() {
            let expected = match index {
                0..128 if index < usize::from(length) => Some(value(7)),
                _ if index < usize::from(length) => None,
                _ => Some(value(99)),
            };
            assert_eq!(*found, expected, "{index} of {length}");
        }
    }
}

#[test]
fn a_million_routes_of_a_node_fit_16_mib() {
    // Every /24 of the unicast space's first million, each with another value than its neighbors.
    let routes = (0..1_000_000_u32).map(|number| {
        let prefix = Prefix::containing(Ipv4Addr::from_bits((1 << 24) + (number << 8)), 24).unwrap();
        (prefix, value(number as usize % 5_000))
    });
    let table = Compiler::from_routes(routes).unwrap().table();
    assert!(table.memory_bytes() <= 16 << 20, "{} bytes", table.memory_bytes());
}

/// Routes that make the table as large and the look-ups as long as may be: `count` of them.
fn hostile(count: u32) -> Vec<(Prefix<Ipv6Addr>, Value)> {
    let mut routes = Vec::new();
    for number in (0..).take_while(|number| number * 113 < count) {
        // Prefixes of every length, nested, of an address that parts from all others late.
        let address = Ipv6Addr::from_bits(0x2a00 << 112 | 0x5555 << 64 | u128::from(number.reverse_bits()));
        let nested = (16..=128).map(|length| Prefix::containing(address, length).expect("a length"));
        routes.extend(nested.map(|prefix| (prefix, value(usize::from(prefix.length())))));
    }
    routes
}

#[test]
fn hostile_routes_take_few_lines_each_and_are_found() {
    // Three addresses of a network each, which a list cannot tell apart and which have no other neighbors.
    let apart = (0..30_000_u32).map(|number| {
        let (network, host) = (u128::from(number / 3).wrapping_mul(0x9e37_79b9_7f4a_7c15), number % 3);
        let address = 0x2001_u128 << 112 | (network & 0xffff_ffff) << 80 | u128::from(host + 1) << 64;
        (Prefix::containing(Ipv6Addr::from_bits(address | 1), 128).unwrap(), value(number as usize % 9))
    });
    for routes in [hostile(30_000), apart.collect()] {
        let compiler = Compiler::from_routes(routes.iter().copied()).unwrap();
        let table = compiler.table();
        // At most five lines of 64 bytes a route, the root aside.
        let lines = (table.memory_bytes() - 64 * 1024) / 64;
        assert!(lines <= 5 * compiler.len() + 512, "{lines} lines for {} routes", compiler.len());
        for (prefix, value) in &routes {
            assert!(table.lookup(prefix.last()).is_some(), "{prefix} {value:?}");
        }
    }
}

#[test]
fn a_stray_route_above_many_others_moves_them_and_does_not_build_them_anew() {
    let many = (0..20_000_u128).map(|number| {
        let address = Ipv6Addr::from_bits(0xfd00_0010_0244 << 80 | number << 64);
        (Prefix::containing(address, 64).unwrap(), value(1))
    });
    let mut compiler = Compiler::from_routes(many).unwrap();
    let before = compiler.table();
    let probe = Ipv6Addr::from_bits(0xfd00_0010_0244_0777 << 64 | 5);
    for stray in 0..20_u128 {
        let address = Ipv6Addr::from_bits(0xfd00 << 112 | (0x0010_0200 + stray) << 80 | 1 << 64);
        let prefix = Prefix::containing(address, 64).unwrap();
        assert_eq!(compiler.insert(prefix, value(2)), Ok(None));
        assert_eq!(compiler.table().lookup(address), Some(value(2)));
        assert_eq!(compiler.table().lookup(probe), Some(value(1)));
    }
    for stray in 0..20_u128 {
        let address = Ipv6Addr::from_bits(0xfd00 << 112 | (0x0010_0200 + stray) << 80 | 1 << 64);
        assert_eq!(compiler.remove(Prefix::containing(address, 64).unwrap()), Some(value(2)));
        assert_eq!(compiler.table().lookup(probe), Some(value(1)));
    }
    assert_eq!(before.lookup(probe), Some(value(1)));
    assert_eq!(compiler.table().memory_bytes(), before.memory_bytes(), "all strays gave their room back");
}
