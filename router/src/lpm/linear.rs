//! The table as one would explain it.

use super::address::{Address, Prefix};
use super::{LongestPrefixMatch, Value};

/// A list of routes that is searched from end to end. Slow; the compiled [`Table`](super::Table) is held
/// against it.
#[derive(Clone, Debug)]
pub struct Linear<A> {
    routes: Vec<(Prefix<A>, Value)>,
}

impl<A: Address> Linear<A> {
    /// A table without a route.
    #[must_use]
    pub fn new() -> Self {
        Self { routes: Vec::new() }
    }

    /// Adds a route, or changes the value of the route to the same prefix; returns the former value.
    pub fn insert(&mut self, prefix: Prefix<A>, value: Value) -> Option<Value> {
        let known = self.routes.iter_mut().find(|(other, _)| *other == prefix);
        if let Some((_, known)) = known {
            return Some(std::mem::replace(known, value));
        }
        self.routes.push((prefix, value));
        None
    }

    /// Removes a route; returns its value.
    pub fn remove(&mut self, prefix: Prefix<A>) -> Option<Value> {
        let position = self.routes.iter().position(|(other, _)| *other == prefix)?;
        Some(self.routes.swap_remove(position).1)
    }

    /// Number of routes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// True without any route.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }
}

impl<A: Address> Default for Linear<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: Address> LongestPrefixMatch for Linear<A> {
    type Address = A;

    fn lookup(&self, address: A) -> Option<Value> {
        let containing = self.routes.iter().filter(|(prefix, _)| prefix.contains(address));
        containing.max_by_key(|(prefix, _)| prefix.length()).map(|(_, value)| *value)
    }
}
