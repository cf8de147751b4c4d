//! Routes to tables: the full build and the change of one route.

use super::address::{Address, Prefix, ROOT_BITS};
use super::builder::Builder;
use super::record::Branch;
use super::routes::Routes;
use super::table::{CHUNK_BRANCHES, CHUNKS, Chunk, Table};
use super::{LpmError, ROUTES_MAX, Value};
use std::marker::PhantomData;
use std::sync::Arc;

/// The routes of a table, and the table in a form that can be changed.
///
/// [`Compiler::table`] gives an immutable table for the readers. What is changed afterwards is copied first, in
/// pieces of a few kilobytes; the rest is shared.
#[derive(Clone, Debug)]
pub struct Compiler<A> {
    routes: Routes<A>,
    root: [Arc<Chunk>; CHUNKS],
    builder: Builder,
}

impl<A: Address> Compiler<A> {
    /// A table without a route.
    #[must_use]
    pub fn new() -> Self {
        let empty = Arc::new([Branch::NOWHERE; CHUNK_BRANCHES]);
        let root = std::array::from_fn(|_| Arc::clone(&empty));
        Self { routes: Routes::new(), root, builder: Builder::new() }
    }

    /// Compiles all routes at once; of several to one prefix the last one counts. A tenth of the time of as
    /// many calls of [`Compiler::insert`].
    ///
    /// # Errors
    /// [`LpmError::Full`] for more than [`ROUTES_MAX`] routes.
    pub fn from_routes(routes: impl IntoIterator<Item = (Prefix<A>, Value)>) -> Result<Self, LpmError> {
        let mut compiler = Self { routes: Routes::from_list(routes)?, ..Self::new() };
        if let Some(all) = Prefix::containing(A::from_upper_bits(0), 0) {
            compiler.repaint_root(all);
        }
        let mut next = compiler.routes.long.first_key_value().map(|(prefix, _)| *prefix);
        while let Some(prefix) = next {
            if compiler.builder.arena.is_full() {
                return Err(LpmError::Full);
            }
            let block = Prefix::truncated(prefix.address(), ROOT_BITS);
            compiler.rebuild(block, None);
            next = compiler.routes.long.range(block.end()..).next().map(|(prefix, _)| *prefix);
        }
        Ok(compiler)
    }

    /// An immutable table of the routes as they are now.
    #[must_use]
    pub fn table(&self) -> Table<A> {
        Table { root: self.root.clone(), pages: self.builder.arena.pages().clone(), family: PhantomData }
    }

    /// Number of routes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// True without any route.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of the route to exactly this prefix.
    #[must_use]
    pub fn get(&self, prefix: Prefix<A>) -> Option<Value> {
        self.routes.get(prefix)
    }

    /// Adds a route, or changes the value of the route to the same prefix; returns the former value.
    ///
    /// # Errors
    /// [`LpmError::Full`] at [`ROUTES_MAX`] routes; nothing has changed then.
    pub fn insert(&mut self, prefix: Prefix<A>, value: Value) -> Result<Option<Value>, LpmError> {
        let before = self.get(prefix);
        if before == Some(value) {
            return Ok(before);
        }
        if before.is_none() && (self.len() >= ROUTES_MAX || self.builder.arena.is_full()) {
            return Err(LpmError::Full);
        }
        self.routes.of_length(prefix.length()).insert(prefix, value);
        self.recompile(prefix);
        Ok(before)
    }

    /// Removes a route; returns its value.
    pub fn remove(&mut self, prefix: Prefix<A>) -> Option<Value> {
        let before = self.routes.of_length(prefix.length()).remove(&prefix)?;
        self.recompile(prefix);
        Some(before)
    }

    /// Makes the table right for the addresses of `prefix`, a route that came or went.
    fn recompile(&mut self, prefix: Prefix<A>) {
        if prefix.length() <= ROOT_BITS {
            return self.repaint_root(prefix);
        }
        self.rebuild(Prefix::truncated(prefix.address(), ROOT_BITS), Some(prefix));
    }

    /// Makes what is below one branch of the root anew, or right for a route that came or went.
    fn rebuild(&mut self, block: Prefix<A>, route: Option<Prefix<A>>) {
        let root = usize::from(block.address().root());
        let branch = self.root[root / CHUNK_BRANCHES][root % CHUNK_BRANCHES];
        let node = self.builder.build(&self.routes, block, branch.node, route);
        self.set_branch(root, Branch { node, ..branch });
    }

    fn set_branch(&mut self, root: usize, branch: Branch) {
        let chunk = &mut self.root[root / CHUNK_BRANCHES];
        if chunk[root % CHUNK_BRANCHES] != branch {
            Arc::make_mut(chunk)[root % CHUNK_BRANCHES] = branch;
        }
    }

    /// Sets the values of the root's branches within `prefix`.
    fn repaint_root(&mut self, prefix: Prefix<A>) {
        let covering = (0..prefix.length()).rev();
        let covering = covering.map(|length| Prefix::truncated(prefix.address(), length));
        let routes = &self.routes.short;
        let inherited = covering.into_iter().find_map(|shorter| routes.get(&shorter)).copied();
        let first = usize::from(prefix.address().root());
        let last = usize::from(prefix.last().root());
        let mut values = vec![inherited; last - first + 1];
        for (prefix, value) in routes.range(prefix..=prefix.end()) {
            let (from, to) = (prefix.address().root(), prefix.last().root());
            values[usize::from(from) - first..=usize::from(to) - first].fill(Some(*value));
        }
        for (root, value) in (first..).zip(values) {
            let branch = self.root[root / CHUNK_BRANCHES][root % CHUNK_BRANCHES];
            self.set_branch(root, Branch { value, ..branch });
        }
    }
}

impl<A: Address> Default for Compiler<A> {
    fn default() -> Self {
        Self::new()
    }
}
