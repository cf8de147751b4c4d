//! Routes to nodes: what the trie below a branch of the root looks like, and how it becomes so with few changes.
//!
//! The routes alone decide of which nodes the trie consists, not the order in which they came. A change makes
//! the lists on its way anew, and changes the records. Where another shape is wanted, as when a list becomes a
//! record, the former nodes are taken apart and their records put aside (*grafts*); the new nodes take them from
//! there. So records with many routes move, and only what has few is made from its routes.

use super::address::{Address, Prefix};
use super::arena::Arena;
use super::list::Item;
use super::record::{Line, Node, SLOTS, Slots};
use super::routes::{Plan, Routes, slots_of};

/// Records that were taken from their places, each with the prefix that leads to it.
type Grafts<A> = Vec<(Prefix<A>, Node)>;

/// The nodes, and scratch memory for the encoding of a record.
#[derive(Clone, Debug)]
pub(super) struct Builder {
    pub(super) arena: Arena,
    lines: Vec<Line>,
}

/// A change under way.
struct Change<'a, A> {
    builder: &'a mut Builder,
    routes: &'a Routes<A>,
    grafts: Grafts<A>,
    /// The route that came or went, if only one did.
    route: Option<Prefix<A>>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self { arena: Arena::new(), lines: Vec::new() }
    }

    /// The record for the routes that are longer than `block`, the path to a branch of the root, where `node` was
    /// before a `route` among them came or went. Without a `route` there was none, and all of it is made.
    pub(super) fn build<A: Address>(
        &mut self,
        routes: &Routes<A>,
        block: Prefix<A>,
        node: Node,
        route: Option<Prefix<A>>,
    ) -> Node {
        let mut change = Change { builder: self, routes, grafts: Vec::new(), route };
        change.put_aside(block, node, block.length() / 8);
        // Below the root there is always a record: a burst reads one for all of its addresses.
        let is_empty = routes.deeper(block, block.length()).is_empty();
        let node = if is_empty { Node::NONE } else { change.record(block) };
        change.drop_grafts();
        node
    }

    fn store(&mut self, record: Node, slots: &Slots) -> Node {
        if slots.is_empty() {
            if record != Node::NONE {
                self.arena.remove(record);
            }
            return Node::NONE;
        }
        slots.encode(&mut self.lines);
        match record {
            Node::NONE => self.arena.insert(&self.lines),
            _ => self.arena.replace(record, &self.lines),
        }
    }
}

impl<A: Address> Change<'_, A> {
    /// IPv4 addresses have two records at most: lists would not make that less.
    const HAS_LISTS: bool = A::BITS > 32;

    /// The node below a list for the routes that are longer than `block`.
    fn node(&mut self, block: Prefix<A>) -> Node {
        let position = block.length() / 8;
        match self.routes.plan(block, block.length(), position, position + 2) {
            Some(plan) => self.list(&plan, position),
            None => self.record(block),
        }
    }

    /// A list, or nothing if nothing is planned.
    fn list(&mut self, plan: &Plan<A>, position: u8) -> Node {
        let item = |prefix: Prefix<A>| Item {
            key: window(prefix.address(), position),
            bits: prefix.length() - position * 8,
        };
        let children = plan.children.iter().map(|child| (item(*child), self.node(*child)));
        let children: Vec<_> = children.collect();
        let values: Vec<_> = plan.values.iter().map(|(prefix, value)| (item(*prefix), *value)).collect();
        if values.is_empty() && children.is_empty() {
            return Node::NONE;
        }
        self.builder.arena.insert_list(Line::list(&values, &children))
    }

    /// The record for the routes that are longer than `block`.
    fn record(&mut self, block: Prefix<A>) -> Node {
        match self.take(block) {
            Some(record) => match self.route {
                Some(route) if block.covers(route) => self.change_record(block, record, route),
                _ => record,
            },
            None => {
                let mut slots = Slots::new();
                self.lead_on(&mut slots, block, block, true);
                self.builder.store(Node::NONE, &slots)
            }
        }
    }

    /// Makes the record right for a route within.
    fn change_record(&mut self, block: Prefix<A>, record: Node, route: Prefix<A>) -> Node {
        let mut slots = Slots::decode(self.builder.arena.lines(record));
        let before = slots.clone();
        if route.length() <= block.length() + 8 {
            let inherited = self.routes.inherited(route, block.length());
            let own = self.routes.get(route).or(inherited);
            slots.values[slots_of(route, block.length())].fill(own);
            self.routes.visit(route, block.length() + 8, |prefix, value| {
                if prefix.length() <= block.length() + 8 {
                    slots.values[slots_of(prefix, block.length())].fill(Some(value));
                }
            });
        } else {
            let area = self.area(&slots, block, route);
            let outer = std::mem::take(&mut self.grafts);
            let mut known = Node::NONE;
            for slot in slots_of(area, block.length()) {
                let child = slots.child(slot);
                if child != known {
                    self.put_aside(slot_of(block, slot), child, block.length() / 8);
                    known = child;
                }
            }
            self.lead_on(&mut slots, block, area, false);
            self.drop_grafts();
            self.grafts = outer;
        }
        if slots == before { record } else { self.builder.store(record, &slots) }
    }

    /// The slots for which another node may be needed: those that had a list with that of `route`, or shall have
    /// one.
    fn area(&self, slots: &Slots, block: Prefix<A>, route: Prefix<A>) -> Prefix<A> {
        let longest = block.length() + 8;
        let slot = usize::from(route.address().byte(u32::from(block.length() / 8)));
        let child = slots.child(slot);
        let mut area = Prefix::truncated(route.address(), longest);
        for length in (block.length()..longest).rev().take_while(|_| Self::HAS_LISTS) {
            let wider = Prefix::truncated(route.address(), length);
            let mut wider_slots = slots_of(wider, block.length());
            let had = child.is_list() && wider_slots.all(|slot| slots.child(slot) == child);
            if !had && !self.fits(wider, block) {
                break;
            }
            area = wider;
        }
        area
    }

    /// True if one list below the record of `block` can hold what is longer than a slot in `area`.
    fn fits(&self, area: Prefix<A>, block: Prefix<A>) -> bool {
        let routes = self.routes.deeper(area, block.length() + 8);
        Plan::new(&routes, None, block.length() / 8).is_some()
    }

    /// Sets the children of the slots in `area` and, if it is asked for, their values.
    fn lead_on(&mut self, slots: &mut Slots, block: Prefix<A>, area: Prefix<A>, with_values: bool) {
        let slot_length = block.length() + 8;
        let mut deep = [0_u8; SLOTS];
        self.routes.visit(area, slot_length, |prefix, value| {
            let covered = slots_of(prefix, block.length());
            if prefix.length() > slot_length {
                let count = &mut deep[*covered.start()];
                *count = count.saturating_add(1);
            } else if with_values {
                slots.values[covered].fill(Some(value));
            }
        });
        self.part(slots, block, area, &deep);
    }

    /// Gives `area` of a record one list, if one is enough, or else each half what it needs. `deep` counts the
    /// routes below each slot.
    fn part(&mut self, slots: &mut Slots, block: Prefix<A>, area: Prefix<A>, deep: &[u8; SLOTS]) {
        let (slot_length, position) = (block.length() + 8, block.length() / 8);
        let covered = slots_of(area, block.length());
        let routes: usize = deep[covered.clone()].iter().map(|count| usize::from(*count)).sum();
        let node = if routes == 0 {
            Node::NONE
        } else if let Some(plan) = self.plan_of(area, slot_length, position, routes) {
            self.list(&plan, position)
        } else if area.length() == slot_length {
            self.record(area)
        } else {
            area.halves().into_iter().for_each(|half| self.part(slots, block, half, deep));
            return;
        };
        covered.for_each(|slot| slots.set_child(slot, node));
    }

    /// The plan of a list for so many routes in `area` of the record at `position`.
    fn plan_of(&self, area: Prefix<A>, slot_length: u8, position: u8, routes: usize) -> Option<Plan<A>> {
        if !Self::HAS_LISTS {
            return None;
        }
        if area.length() == slot_length {
            return self.routes.plan(area, slot_length, position, position + 2);
        }
        if !Plan::<A>::can_hold(routes) {
            return None;
        }
        Plan::new(&self.routes.deeper(area, slot_length), None, position)
    }

    /// Takes a node out of its place below a record or list whose position is `position`: a record becomes a
    /// graft, a list goes, and what is below it is taken as well.
    fn put_aside(&mut self, path: Prefix<A>, node: Node, position: u8) {
        if node == Node::NONE {
            return;
        }
        if !node.is_list() {
            self.grafts.push((path, node));
            return;
        }
        let [line] = *self.builder.arena.lines(node) else { return };
        self.builder.arena.remove(node);
        for (item, child) in line.list_children() {
            let known = Prefix::truncated(path.address(), position * 8).address().upper_bits();
            let further = u128::from(item.key) << 64 >> (position * 8);
            let child_path = Prefix::truncated(A::from_upper_bits(known | further), position * 8 + item.bits);
            self.put_aside(child_path, child, child_path.length() / 8);
        }
    }

    /// The record for `block`, if there is one among the grafts or below one.
    fn take(&mut self, block: Prefix<A>) -> Option<Node> {
        loop {
            let graft = self.grafts.iter().position(|(path, _)| path.covers(block))?;
            let (path, record) = self.grafts.swap_remove(graft);
            if path == block {
                return Some(record);
            }
            self.take_apart(path, record);
        }
    }

    /// Gives a record up, and puts aside what is below it.
    fn take_apart(&mut self, path: Prefix<A>, record: Node) {
        let slots = Slots::decode(self.builder.arena.lines(record));
        self.builder.arena.remove(record);
        let mut known = Node::NONE;
        for slot in 0..SLOTS {
            let child = slots.child(slot);
            if child != known {
                self.put_aside(slot_of(path, slot), child, path.length() / 8);
                known = child;
            }
        }
    }

    /// Gives up the records that were not used again.
    fn drop_grafts(&mut self) {
        while let Some((path, record)) = self.grafts.pop() {
            self.take_apart(path, record);
        }
    }
}

/// The prefix of a slot of the record that `block` leads to.
fn slot_of<A: Address>(block: Prefix<A>, slot: usize) -> Prefix<A> {
    let bits = u128::try_from(slot).unwrap_or_default() << (120 - block.length());
    Prefix::truncated(A::from_upper_bits(block.address().upper_bits() | bits), block.length() + 8)
}

/// The 64 bits of an address from `position` on.
pub(super) fn window<A: Address>(address: A, position: u8) -> u64 {
    u64::try_from(address.upper_bits() << (u32::from(position) * 8) >> 64).unwrap_or_default()
}
