//! The routes of a table in order, and what a compiler asks about them.

use super::address::{Address, Prefix, ROOT_BITS};
use super::list::{CHILDREN, ITEMS, KEY_BITS};
use super::record::SLOTS;
use super::{LpmError, ROUTES_MAX, Value};
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included};

/// Longer routes of one slot that are looked at one after the other before the rest is jumped over.
const DEEP_MAX: u8 = 12;

/// A route.
pub(super) type Route<A> = (Prefix<A>, Value);

/// All routes: those of the root, and those that are longer.
#[derive(Clone, Debug)]
pub(super) struct Routes<A> {
    pub(super) short: BTreeMap<Prefix<A>, Value>,
    pub(super) long: BTreeMap<Prefix<A>, Value>,
}

/// What a list should hold.
#[derive(Clone, Debug)]
pub(super) struct Plan<A> {
    /// Routes, in the order of their lengths.
    pub(super) values: Vec<Route<A>>,
    /// Prefixes of whole bytes whose longer routes are below the list.
    pub(super) children: Vec<Prefix<A>>,
}

impl<A: Address> Routes<A> {
    pub(super) const fn new() -> Self {
        Self { short: BTreeMap::new(), long: BTreeMap::new() }
    }

    /// The routes of a list in any order; of several to one prefix the last one counts.
    pub(super) fn from_list(routes: impl IntoIterator<Item = Route<A>>) -> Result<Self, LpmError> {
        let routes = routes.into_iter().take(ROUTES_MAX + 1);
        let (short, long): (Vec<_>, Vec<_>) = routes.partition(|(prefix, _)| prefix.length() <= ROOT_BITS);
        let routes = Self { short: short.into_iter().collect(), long: long.into_iter().collect() };
        if routes.len() > ROUTES_MAX {
            return Err(LpmError::Full);
        }
        Ok(routes)
    }

    pub(super) fn len(&self) -> usize {
        self.short.len() + self.long.len()
    }

    pub(super) fn of_length(&mut self, length: u8) -> &mut BTreeMap<Prefix<A>, Value> {
        if length <= ROOT_BITS { &mut self.short } else { &mut self.long }
    }

    pub(super) fn get(&self, prefix: Prefix<A>) -> Option<Value> {
        let routes = if prefix.length() <= ROOT_BITS { &self.short } else { &self.long };
        routes.get(&prefix).copied()
    }

    /// The long routes within `block` that are longer than it, in order.
    fn within(&self, block: Prefix<A>) -> impl DoubleEndedIterator<Item = Route<A>> {
        let range = self.long.range((Excluded(block), Included(block.end())));
        range.map(|(prefix, value)| (*prefix, *value))
    }

    /// The first routes within `block` that are longer than `length`: one more than a list holds, at most.
    pub(super) fn deeper(&self, block: Prefix<A>, length: u8) -> Vec<Route<A>> {
        self.within(block).filter(|(prefix, _)| prefix.length() > length).take(ITEMS + 1).collect()
    }

    /// Goes over the routes within `area` of a record that leads on for slots that are `slot` bits long: those
    /// which the record stores, and the longer ones, of which it leaves out some if a slot has more than a dozen.
    pub(super) fn visit(&self, area: Prefix<A>, slot: u8, mut visit: impl FnMut(Prefix<A>, Value)) {
        let mut after = area;
        loop {
            let (mut current, mut deep) = (None, 0);
            let mut range = self.long.range((Excluded(after), Included(area.end())));
            let next = range.find_map(|(prefix, value)| {
                visit(*prefix, *value);
                if prefix.length() > slot {
                    let slot = Prefix::truncated(prefix.address(), slot);
                    deep = if current == Some(slot) { deep + 1 } else { 1 };
                    current = Some(slot);
                }
                (deep > DEEP_MAX).then_some(current?.end())
            });
            match next {
                Some(next) => after = next,
                None => return,
            }
        }
    }

    /// The value of the longest route that contains `prefix`, is shorter than it, and longer than `than`.
    pub(super) fn inherited(&self, prefix: Prefix<A>, than: u8) -> Option<Value> {
        let lengths = (than + 1..prefix.length()).rev();
        lengths.into_iter().find_map(|length| self.get(Prefix::truncated(prefix.address(), length)))
    }

    /// A list at `position` for the longer routes of `block`, all of them, if that can be.
    ///
    /// If there are more than a list holds, all but a few have to share at least the bytes before `skip_to`.
    pub(super) fn plan(&self, block: Prefix<A>, length: u8, position: u8, skip_to: u8) -> Option<Plan<A>> {
        let first = self.deeper(block, length);
        if let Some(plan) = Plan::new(&first, None, position) {
            return Some(plan);
        }
        let deeper = self.within(block).rev().filter(|(prefix, _)| prefix.length() > length);
        let last: Vec<_> = deeper.take(ITEMS).collect();
        let few = if first.len() <= ITEMS { first.len() } else { usize::MAX };
        let mut best: Option<(u8, Plan<A>)> = None;
        for strays in 0..ITEMS.min(few - 1) {
            for before in 0..=strays {
                let after = strays - before;
                let (Some(from), Some(to)) = (first.get(before), last.get(after)) else { continue };
                let bytes = shared_bytes(from.0, to.0).min(position + KEY_BITS / 8);
                if bytes < skip_to || best.as_ref().is_some_and(|(most, _)| *most >= bytes) {
                    continue;
                }
                let mut outside = first[..before].to_vec();
                outside.extend(last[..after].iter().rev());
                let child = Prefix::truncated(from.0.address(), bytes * 8);
                best = Plan::new(&outside, Some(child), position).map(|plan| (bytes, plan)).or(best);
            }
        }
        best.map(|(_, plan)| plan)
    }
}

/// How many whole bytes the addresses of two routes share, which are longer than these.
fn shared_bytes<A: Address>(a: Prefix<A>, b: Prefix<A>) -> u8 {
    let difference = a.address().upper_bits() ^ b.address().upper_bits();
    let shared = u8::try_from(difference.leading_zeros()).unwrap_or(u8::MAX);
    shared.min(a.length() - 1).min(b.length() - 1) / 8
}

impl<A: Address> Plan<A> {
    /// True if so many routes may fit a list.
    pub(super) const fn can_hold(routes: usize) -> bool {
        routes <= ITEMS
    }

    /// A list at `position` for these routes, which are in order, and for what is below `child`; `None` if they
    /// do not fit one.
    pub(super) fn new(routes: &[Route<A>], child: Option<Prefix<A>>, position: u8) -> Option<Self> {
        if routes.len() > ITEMS {
            return None;
        }
        let reach = position * 8 + KEY_BITS;
        let mut plan = Self { values: Vec::new(), children: child.into_iter().collect() };
        for (prefix, value) in routes {
            let farthest = || Prefix::truncated(prefix.address(), reach);
            if prefix.length() <= reach {
                plan.values.push((*prefix, *value));
            } else if !plan.children.contains(&farthest()) {
                plan.children.push(farthest());
            }
        }
        plan.values.sort_by_key(|(prefix, _)| prefix.length());
        let fits = plan.children.len() <= CHILDREN && plan.values.len() + plan.children.len() <= ITEMS;
        fits.then_some(plan)
    }
}

/// The slots of a record, whose path is `length` bits long, that `prefix` covers.
pub(super) fn slots_of<A: Address>(prefix: Prefix<A>, length: u8) -> std::ops::RangeInclusive<usize> {
    let slot = |address: A| usize::from(address.byte(u32::from(length / 8)));
    debug_assert!(length < A::BITS && SLOTS == 256, "a byte");
    slot(prefix.address())..=slot(prefix.last())
}
