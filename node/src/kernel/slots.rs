//! Routes that share table, prefix and metric, in the kernel's order.
//!
//! IPv4 keeps a list (`fib_table_insert`): a route comes first, last, or in the place of the first. IPv6 keeps a list
//! too (`fib6_add_rt2node`), in which all routes by gateways are one route of several hops: whatever is added is told
//! with all of these, what is deleted by the hops that go. Each of the hops has a protocol, and that of the first is
//! the route's; only a dump tells which one that is after another has gone.

use super::heard::{Entry, Slot, Way};
use super::{KernelHop, KernelRoute, KernelRouteKey, KernelRouteKind};

/// Whether the mirror is still sure to be like the kernel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[must_use]
pub(super) enum Certainty {
    Sure,
    /// Something is gone that was not there. What a dump already knew may be told once more.
    Surprised,
    /// The kernel changes more than it tells, so it has to be asked.
    Doubtful,
}

/// A route comes into the slot.
pub(super) fn enter(ways: &mut Vec<Way>, slot: &Slot, mut way: Way, entry: Entry) -> Certainty {
    let is_ipv6 = slot.prefix.addr().is_ipv6();
    let is_replacement = entry == Entry::Replace && !ways.is_empty();
    let mut certainty = Certainty::Sure;
    let replaced = match entry {
        Entry::Only => {
            ways.clear();
            None
        }
        Entry::Replace if !is_ipv6 => is_replacement.then_some(0),
        _ if is_ipv6 && (way.is_group() || is_replacement) => {
            let own = ways.iter().position(|other| way.nexthop != 0 && other.nexthop == way.nexthop);
            let like = own.or_else(|| ways.iter().position(|other| other.is_group() == way.is_group()));
            if let Some(place) = like.filter(|_| way.is_group() && !is_replacement) {
                way.protocol = ways[place].protocol;
            }
            if like.is_none() && is_replacement {
                // It replaces one that is not like it, or else one that no dump shows, because it stands between
                // the hops of another.
                certainty = Certainty::Doubtful;
            }
            like.or(is_replacement.then_some(0))
        }
        _ => None,
    };
    // A nexthop object that changes is told as if each of its routes replaced the first one of its slot.
    if is_replacement && way.nexthop != 0 && ways.len() > 1 {
        certainty = Certainty::Doubtful;
    }
    let is_first = !is_ipv6 && entry == Entry::First;
    let place = match replaced {
        Some(place) => {
            ways.remove(place);
            place
        }
        None if is_first => 0,
        None => ways.len(),
    };
    // The kernel has none twice, but what a dump knew already may be told once more.
    let place = match ways.iter().position(|other| other.is_same(&way)) {
        Some(known) => {
            ways.remove(known);
            place - usize::from(known < place)
        }
        None => place,
    };
    ways.insert(place, way);
    certainty
}

/// A route leaves the slot, or hops leave one.
pub(super) fn leave(ways: &mut Vec<Way>, slot: &Slot, gone: &Way) -> Certainty {
    if slot.prefix.addr().is_ipv6() && gone.is_group() {
        let Some(place) = ways.iter().position(Way::is_group) else { return surprise(ways) };
        let hops = &mut ways[place].hops;
        let before = hops.len();
        hops.retain(|hop| !gone.hops.iter().any(|gone| gone.is_same(hop)));
        let is_all = before - hops.len() == gone.hops.len();
        if !hops.is_empty() {
            return Certainty::Doubtful;
        }
        ways.remove(place);
        return if is_all { Certainty::Sure } else { Certainty::Surprised };
    }
    match ways.iter().position(|way| way.is_same(gone)) {
        Some(place) => {
            ways.remove(place);
            Certainty::Sure
        }
        None => surprise(ways),
    }
}

fn surprise(ways: &[Way]) -> Certainty {
    if ways.is_empty() { Certainty::Sure } else { Certainty::Surprised }
}

/// What the slot is for a router: the first route in it that lives, unless that is none for a router at all.
pub(super) fn shown(slot: &Slot, ways: &[Way], protocols: &[u8]) -> Option<KernelRoute> {
    let mut wanted = ways.iter().filter(|way| protocols.is_empty() || protocols.contains(&way.protocol));
    let way = wanted.find(|way| way.kind != libc::RTN_UNICAST || way.hops.iter().any(|hop| !hop.is_dead))?;
    let kind = match way.kind {
        libc::RTN_UNICAST => KernelRouteKind::Hops(hops(way)),
        libc::RTN_BLACKHOLE => KernelRouteKind::Blackhole,
        libc::RTN_PROHIBIT => KernelRouteKind::Prohibit,
        libc::RTN_UNREACHABLE | libc::RTN_THROW => KernelRouteKind::Unreachable,
        _ => return None,
    };
    let key = KernelRouteKey {
        table: slot.table,
        protocol: way.protocol,
        prefix: slot.prefix,
        metric: slot.metric,
    };
    Some(KernelRoute { key, kind })
}

/// The hops that live; a nexthop object without resolution has no index either.
fn hops(way: &Way) -> Vec<KernelHop> {
    let alive = way.hops.iter().filter(|hop| !hop.is_dead);
    let mut hops: Vec<_> = alive
        .map(|hop| match hop.detour {
            0 => KernelHop { index: hop.index, gateway: hop.gateway, weight: hop.weight },
            _ => KernelHop { index: KernelHop::KERNEL_ONLY, gateway: None, weight: hop.weight },
        })
        .collect();
    hops.sort_unstable();
    if let [only] = &mut hops[..] {
        only.weight = 1;
    }
    hops
}
