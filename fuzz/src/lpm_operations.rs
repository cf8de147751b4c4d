//! Any sequence of routes that come and go, of both families: the compiled longest-prefix-match table answers as
//! the list of routes, alone and in bursts; tables given out before do not change; and what was changed step by
//! step is what a full build gives.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use router::lpm::{Address, Compiler, Linear, LongestPrefixMatch, Prefix, Table, Value};

/// Operations of one run; a longer input only repeats itself.
const OPERATIONS_MAX: usize = 1024;

/// One step. Addresses are few bytes that are spread over the address, so that prefixes meet and nest.
#[derive(Clone, Copy, Debug)]
pub enum Operation {
    /// Adds a route or changes its value.
    Insert {
        /// See [`address`].
        address: [u8; 3],
        /// Length, modulo what the family allows.
        length: u8,
        /// Value, modulo a few.
        value: u8,
    },
    /// Removes a route.
    Remove {
        /// See [`address`].
        address: [u8; 3],
        /// Length, modulo what the family allows.
        length: u8,
    },
    /// Removes one of the routes that are there.
    RemoveKnown {
        /// Which, modulo their number.
        index: u8,
    },
    /// Looks up an address, the first and last addresses of a prefix around it, and their neighbors.
    Lookup {
        /// See [`address`].
        address: [u8; 3],
        /// Length of the prefix, modulo what the family allows.
        length: u8,
    },
    /// Keeps the table as it is now, to see later that it is still the same.
    Publish,
}

impl Operation {
    /// The operation that five bytes mean.
    #[must_use]
    pub fn read([kind, a, b, c, length]: [u8; 5]) -> Self {
        let (address, value) = ([a, b, c], kind / 8);
        match kind % 8 {
            0..=2 => Self::Insert { address, length, value },
            3 => Self::Remove { address, length },
            4 => Self::RemoveKnown { index: a },
            5 | 6 => Self::Lookup { address, length },
            _ => Self::Publish,
        }
    }
}

/// Runs the target. `data` is one byte (even: IPv4, odd: IPv6), then five bytes an operation.
///
/// # Panics
/// If a claim does not hold.
pub fn run(data: &[u8]) {
    let Some((family, operations)) = data.split_first() else { return };
    let (operations, _) = operations.as_chunks::<5>();
    let operations: Vec<Operation> =
        operations.iter().take(OPERATIONS_MAX).map(|bytes| Operation::read(*bytes)).collect();
    if family % 2 == 0 {
        agree::<Ipv4Addr>(&operations);
    } else {
        agree::<Ipv6Addr>(&operations);
    }
}

/// An address of few different ones: the first byte goes to the top, the second in steps of eight bits from
/// there, the third to the end.
fn address<A: Address>([top, middle, end]: [u8; 3]) -> A {
    let bytes = u32::from(A::BITS / 8);
    let at = 8 * (u32::from(middle / 4) % bytes);
    let spread = u128::from(top % 4) << 120 | u128::from(middle % 4) << 118;
    let spread = spread | u128::from(end) << 120 >> at;
    A::from_upper_bits(spread | u128::from(end & 1) << (128 - u32::from(A::BITS)))
}

fn prefix<A: Address>(bytes: [u8; 3], length: u8) -> Prefix<A> {
    let length = u8::try_from(u16::from(length) % (u16::from(A::BITS) + 1)).expect("a length of the family");
    Prefix::containing(address(bytes), length).expect("a length of the family")
}

/// Addresses at the edges of a prefix.
fn probes<A: Address>(around: A, prefix: Prefix<A>) -> [A; 5] {
    let one = 1 << (128 - u32::from(A::BITS));
    let before = A::from_upper_bits(prefix.address().upper_bits().wrapping_sub(one));
    let after = A::from_upper_bits(prefix.last().upper_bits().wrapping_add(one));
    [around, prefix.address(), prefix.last(), before, after]
}

/// Does the same to the compiled table and to the list and compares what they say.
///
/// # Panics
/// If they differ.
pub fn agree<A: Address>(operations: &[Operation]) {
    let (mut fast, mut slow) = (Compiler::<A>::new(), Linear::<A>::new());
    let mut routes = BTreeMap::new();
    let mut published: Vec<(Table<A>, Linear<A>)> = Vec::new();
    let mut all_probes = vec![A::from_upper_bits(0), A::from_upper_bits(u128::MAX)];
    for operation in operations {
        match *operation {
            Operation::Insert { address, length, value } => {
                let prefix = prefix::<A>(address, length);
                let value = Value::new(usize::from(value)).expect("a small value");
                assert_eq!(fast.insert(prefix, value), Ok(slow.insert(prefix, value)));
                routes.insert(prefix, value);
                all_probes.extend(probes(prefix.last(), prefix));
            }
            Operation::Remove { address, length } => {
                let prefix = prefix::<A>(address, length);
                assert_eq!(fast.remove(prefix), slow.remove(prefix));
                routes.remove(&prefix);
            }
            Operation::RemoveKnown { index } => {
                let known = routes.keys().copied().nth(usize::from(index) % routes.len().max(1));
                if let Some(prefix) = known {
                    assert_eq!(
                        (fast.remove(prefix), slow.remove(prefix)),
                        (routes.get(&prefix).copied(), routes.remove(&prefix))
                    );
                }
            }
            Operation::Lookup { address: bytes, length } => {
                let probes = probes(address(bytes), prefix::<A>(bytes, length));
                same_answers(&fast.table(), &slow, &probes);
                all_probes.extend(probes);
            }
            Operation::Publish if published.len() < 4 => published.push((fast.table(), slow.clone())),
            Operation::Publish => {}
        }
        assert_eq!((fast.len(), fast.is_empty()), (slow.len(), slow.is_empty()));
    }
    published.push((fast.table(), slow.clone()));
    for (table, list) in &published {
        same_answers(table, list, &all_probes);
    }
    let built = Compiler::from_routes(routes.iter().map(|(prefix, value)| (*prefix, *value)));
    let built = built.expect("few routes");
    assert_eq!(built.len(), routes.len());
    same_answers(&built.table(), &slow, &all_probes);
    routes.iter().for_each(|(prefix, value)| assert_eq!(fast.get(*prefix), Some(*value)));
    routes.keys().for_each(|prefix| assert!(fast.remove(*prefix).is_some()));
    // The root, at most, in pieces of its own, and one page.
    assert!(fast.table().memory_bytes() < 600 * 1024, "all room is given back");
}

fn same_answers<A: Address>(table: &Table<A>, list: &Linear<A>, addresses: &[A]) {
    let expected: Vec<Option<Value>> = addresses.iter().map(|address| list.lookup(*address)).collect();
    let mut values = vec![None; addresses.len()];
    table.lookup_burst(addresses, &mut values);
    assert_eq!(values, expected, "in a burst: {addresses:?}");
    for (address, expected) in addresses.iter().zip(expected) {
        assert_eq!(table.lookup(*address), expected, "{address}");
    }
}
