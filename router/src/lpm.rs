//! Which route? Longest-prefix match.
//!
//! TODO
use std::num::NonZeroU16;

mod address;
mod arena;
mod compiler;
mod linear;
mod record;
mod table;

pub use address::{Address, Prefix};
pub use compiler::Compiler;
pub use linear::Linear;
pub use table::Table;

/// Most routes of one table.
pub const ROUTES_MAX: usize = 1 << 21;

/// What a route leads to: a number below [`Value::COUNT`], whose meaning is the caller's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Value(NonZeroU16);

impl Value {
    /// How many values there are: 15 bits, less one for "no route".
    pub const COUNT: usize = 0x7fff;

    /// The value with this index, or `None` if it is not below [`Value::COUNT`].
    #[must_use]
    pub fn new(index: usize) -> Option<Self> {
        if index >= Self::COUNT {
            return None;
        }
        u16::try_from(index + 1).ok().and_then(NonZeroU16::new).map(Self)
    }

    /// The index, below [`Value::COUNT`].
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        self.0.get() as usize - 1
    }

    /// As the tables store it: 0 is no value.
    #[inline(always)]
    fn to_entry(value: Option<Self>) -> u16 {
        value.map_or(0, |value| value.0.get())
    }

    #[inline(always)]
    fn from_entry(entry: u16) -> Option<Self> {
        NonZeroU16::new(entry).map(Self)
    }
}

/// Why a table cannot be changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LpmError {
    /// There is no room for another route.
    #[error("the table is full: it has room for {ROUTES_MAX} routes")]
    Full,
}

/// A table from prefixes to values in which the longest prefix that contains an address decides.
pub trait LongestPrefixMatch {
    /// The family of its addresses.
    type Address: Address;

    /// The value of the longest prefix that contains `address`.
    fn lookup(&self, address: Self::Address) -> Option<Value>;

    /// Does the same for each of `addresses`: `values[i]` becomes the value for `addresses[i]`. Where the two
    /// differ in length, what the longer one has in excess is left alone.
    fn lookup_burst(&self, addresses: &[Self::Address], values: &mut [Option<Value>]) {
        for (address, value) in addresses.iter().zip(values) {
            *value = self.lookup(*address);
        }
    }
}
