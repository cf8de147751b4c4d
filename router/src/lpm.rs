//! Which route? Longest-prefix match.
//!
//! - [`LongestPrefixMatch`]: the question, for one address or a burst of them.
//! - [`Table`]: the compiled answer, immutable. [`Compiler`]: makes it, and changes it.
//! - [`Linear`]: the obvious answer, that the tests hold against the compiled one.
//!
//! # Theory of operation
//! **Goals.** A look-up touches few cache lines and has no jump that cannot be predicted. The look-ups of a
//! burst wait for memory together. A table never changes under its reader. One changed route costs a
//! few pages, whatever its length and however many routes there are. No `unsafe`, no lock, and nothing that only
//! newer processors have.
//!
//! **Storage.** A trie of wide steps. The first 16 bits index the *root*, an array; each further 8 bits are the
//! *slot* in a *record*. A route is stored at the level that decides its last bits: up to /16 in the root,
//! up to /24 in the records below it, and so on. It fills all slots that it covers, longer routes over shorter
//! ones, but it is not pushed into deeper records: a look-up goes from the root downward and keeps the last
//! value that it met. So the change of a short route never touches long ones, of which there may be many.
//! IPv4 has at most two records on the way.
//!
//! A record compresses runs of equal slots. It has 1 to 64 cache lines, by need, of which a look-up reads the
//! one of its slot; `record.rs` tells of what a line consists, and why a count of ones has no part in it.
//!
//! IPv6 would have up to fourteen records on the way, most of them with one child. There a *list* stands in their
//! place, a line that names a few whole prefixes (`list.rs`): where neighboring slots of a record have no
//! more than six longer routes, they share a list that holds these; and where all routes but a few share
//! further bytes, a list leads over these to the record in which they differ. Which nodes there are depends on
//! the routes alone and not on their history (`builder.rs`).
//!
//! **Update.** Records and lists live in pages of 32 KiB, the root in pieces of 8 KiB, all of them behind an `Arc`.
//! [`Compiler::table`] shares them all, which costs a reference count a page. The [`Compiler`] goes on with
//! them, and copies a page when it changes one that a table still shares. Nobody has to wait for readers or to
//! know about them; a page goes when the last table that has it does. What a record or list that was replaced
//! leaves behind in a page is used again, and joined with its free neighbors first. The compiler keeps the routes
//! in ordered maps, on the control side.
//!
//! **Limits.** [`ROUTES_MAX`] routes, 1 GiB of records, values of 15 bits. Memory for a million routes as of the
//! Internet is 12 MiB for IPv4 and 26 MiB for IPv6. No look-up reads more than the root and fourteen lines: a
//! record decides a byte, and a list at least two or is the last. Routes chosen to be as bad as can be (prefixes of
//! every length, nested; host routes that part late) were seen to take up to five lines of 64 bytes each.
use std::num::NonZeroU16;

mod address;
mod arena;
mod builder;
mod burst;
mod compiler;
mod linear;
mod list;
mod record;
mod routes;
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
