//! Routes to tables: the full build and the change of one route.

use super::address::{Address, Prefix, ROOT_BITS};
use super::arena::Arena;
use super::record::{Branch, Line, Record, Slots};
use super::table::{CHUNK_BRANCHES, CHUNKS, Chunk, Table};
use super::{LpmError, ROUTES_MAX, Value};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Bits that one record decides.
const RECORD_BITS: u8 = 8;

type Routes<A> = BTreeMap<Prefix<A>, Value>;

/// The routes of a table, and the table in a form that can be changed.
///
/// [`Compiler::table`] gives an immutable table for the readers. What is changed afterwards is copied first, in
/// pieces of a few kilobytes; the rest is shared.
#[derive(Clone, Debug)]
pub struct Compiler<A> {
    /// The routes by the level that they are stored in: the root, then the records of each depth.
    levels: Vec<Routes<A>>,
    routes: usize,
    root: [Arc<Chunk>; CHUNKS],
    arena: Arena,
    /// Scratch memory for the encoding of a record.
    lines: Vec<Line>,
}

impl<A: Address> Compiler<A> {
    /// A table without a route.
    #[must_use]
    pub fn new() -> Self {
        let empty = Arc::new([Branch::NOWHERE; CHUNK_BRANCHES]);
        Self {
            levels: vec![Routes::new(); usize::from((A::BITS - ROOT_BITS) / RECORD_BITS) + 1],
            routes: 0,
            root: std::array::from_fn(|_| Arc::clone(&empty)),
            arena: Arena::new(),
            lines: Vec::new(),
        }
    }

    /// Compiles all routes at once; of several to one prefix the last one counts. A tenth of the time of as
    /// many calls of [`Compiler::insert`].
    ///
    /// # Errors
    /// [`LpmError::Full`] for more than [`ROUTES_MAX`] routes.
    pub fn from_routes(routes: impl IntoIterator<Item = (Prefix<A>, Value)>) -> Result<Self, LpmError> {
        let mut routes: Vec<_> = routes.into_iter().take(ROUTES_MAX + 1).collect();
        // Stable: of equal prefixes the last remains last, and is the one that is kept.
        routes.sort_by_key(|(prefix, _)| *prefix);
        routes.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                kept.1 = later.1;
            }
            same
        });
        if routes.len() > ROUTES_MAX {
            return Err(LpmError::Full);
        }
        let mut compiler = Self::new();
        compiler.routes = routes.len();
        for (level, map) in compiler.levels.iter_mut().enumerate() {
            let own = routes.iter().filter(|(prefix, _)| level_of(prefix.length()) == level);
            *map = own.copied().collect();
        }
        compiler.build_root(&routes)?;
        Ok(compiler)
    }

    /// An immutable table of the routes as they are now.
    #[must_use]
    pub fn table(&self) -> Table<A> {
        Table { root: self.root.clone(), pages: self.arena.pages().clone(), family: PhantomData }
    }

    /// Number of routes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.routes
    }

    /// True without any route.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes == 0
    }

    /// The value of the route to exactly this prefix.
    #[must_use]
    pub fn get(&self, prefix: Prefix<A>) -> Option<Value> {
        self.levels.get(level_of(prefix.length()))?.get(&prefix).copied()
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
        if before.is_none() && (self.routes >= ROUTES_MAX || self.arena.is_full()) {
            return Err(LpmError::Full);
        }
        let level = level_of(prefix.length());
        self.levels[level].insert(prefix, value);
        self.recompile(prefix, level);
        self.routes += usize::from(before.is_none());
        Ok(before)
    }

    /// Removes a route; returns its value.
    pub fn remove(&mut self, prefix: Prefix<A>) -> Option<Value> {
        let level = level_of(prefix.length());
        let before = self.levels[level].remove(&prefix)?;
        self.recompile(prefix, level);
        self.routes -= 1;
        Some(before)
    }

    /// Makes the table right for the addresses of `prefix`, a route of `level` that came or went.
    fn recompile(&mut self, prefix: Prefix<A>, level: usize) {
        if level == 0 {
            return self.repaint_root(prefix);
        }
        let root = usize::from(prefix.address().root());
        let branch = self.root[root / CHUNK_BRANCHES][root % CHUNK_BRANCHES];
        let record = self.change_record(branch.record, 1, level, prefix);
        self.set_branch(root, Branch { record, ..branch });
    }

    /// Changes the record of `target` level on the way to `prefix`, of which `record` is the one of `level`.
    /// Returns the number that it has then.
    fn change_record(&mut self, record: Record, level: usize, target: usize, prefix: Prefix<A>) -> Record {
        let mut slots = Slots::decode(self.arena.lines(record));
        if level == target {
            let within = Prefix::truncated(prefix.address(), path_length(level));
            paint(self.levels[level].range(within..=within.end()), &mut slots.values, level);
        } else {
            let slot = prefix.address().slot(slot_level(level));
            let child = slots.child(slot);
            let changed = self.change_record(child, level + 1, target, prefix);
            if changed == child {
                return record;
            }
            slots.set_child(slot, changed);
        }
        self.store(record, &slots)
    }

    fn store(&mut self, record: Record, slots: &Slots) -> Record {
        if slots.is_empty() {
            if record != Record::NONE {
                self.arena.remove(record);
            }
            return Record::NONE;
        }
        slots.encode(&mut self.lines);
        match record {
            Record::NONE => self.arena.insert(&self.lines),
            _ => self.arena.replace(record, &self.lines),
        }
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
        let routes = &self.levels[0];
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

    fn build_root(&mut self, routes: &[(Prefix<A>, Value)]) -> Result<(), LpmError> {
        if let Some(all) = Prefix::containing(A::from_upper_bits(0), 0) {
            self.repaint_root(all);
        }
        let longer = |(prefix, _): &(Prefix<A>, Value)| prefix.length() > ROOT_BITS;
        for group in routes.chunk_by(|a, b| a.0.address().root() == b.0.address().root()) {
            let start = group.iter().position(longer).unwrap_or(group.len());
            if let [(first, _), ..] = group[start..] {
                let record = self.build_record(&group[start..], 1)?;
                let root = usize::from(first.address().root());
                let branch = self.root[root / CHUNK_BRANCHES][root % CHUNK_BRANCHES];
                self.set_branch(root, Branch { record, ..branch });
            }
        }
        Ok(())
    }

    /// Stores the record of `level` with `routes`, which are those within its path and longer, in order.
    fn build_record(&mut self, routes: &[(Prefix<A>, Value)], level: usize) -> Result<Record, LpmError> {
        if self.arena.is_full() {
            return Err(LpmError::Full);
        }
        let mut slots = Slots::new();
        let own = routes.iter().filter(|(prefix, _)| prefix.length() <= path_length(level + 1));
        paint(own.map(|(prefix, value)| (prefix, value)), &mut slots.values, level);
        let slot_of = |route: &(Prefix<A>, Value)| route.0.address().slot(slot_level(level));
        for group in routes.chunk_by(|a, b| slot_of(a) == slot_of(b)) {
            let is_longer = |(prefix, _): &(Prefix<A>, Value)| prefix.length() > path_length(level + 1);
            let start = group.iter().position(is_longer).unwrap_or(group.len());
            if let [first, ..] = &group[start..] {
                let child = self.build_record(&group[start..], level + 1)?;
                slots.set_child(slot_of(first), child);
            }
        }
        Ok(self.store(Record::NONE, &slots))
    }
}

impl<A: Address> Default for Compiler<A> {
    fn default() -> Self {
        Self::new()
    }
}

/// The level in which prefixes of this length are stored: 0 is the root, 1 the records below it.
fn level_of(length: u8) -> usize {
    usize::from(length.saturating_sub(ROOT_BITS).div_ceil(RECORD_BITS))
}

/// The level as [`Address::slot`] counts it.
fn slot_level(level: usize) -> u32 {
    u32::try_from(level - 1).unwrap_or_default()
}

/// Number of bits that lead to a record of `level`.
fn path_length(level: usize) -> u8 {
    let records = u8::try_from(level.saturating_sub(1)).unwrap_or(u8::MAX);
    records.saturating_mul(RECORD_BITS).saturating_add(ROOT_BITS)
}

/// Lays the routes of a record over its slots, in their order, in which longer prefixes come after those that
/// contain them.
fn paint<'a, A: Address + 'a>(
    routes: impl Iterator<Item = (&'a Prefix<A>, &'a Value)>,
    values: &mut [Option<Value>; 256],
    level: usize,
) {
    values.fill(None);
    for (prefix, value) in routes {
        let slots: RangeInclusive<usize> = usize::from(prefix.address().slot(slot_level(level)))
            ..=usize::from(prefix.last().slot(slot_level(level)));
        values[slots].fill(Some(*value));
    }
}
