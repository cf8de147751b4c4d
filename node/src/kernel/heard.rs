//! What one message of rtnetlink says, as far as the mirror wants to know it.
//!
//! Attributes are looked for one by one, and the rest is passed over: a device with an attribute that nobody here
//! has heard of is a device all the same. What is too short or otherwise absurd is not heard.

use std::hash::{DefaultHasher, Hasher};
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_APPEND, NLM_F_EXCL, NLM_F_REPLACE, NlasIterator};
use packet::MacAddress;

use super::KernelLink;

/// `RTM_NEWNEXTHOP`, `RTM_DELNEXTHOP`, `RTM_GETNEXTHOP` and `NHA_ID` of `linux/rtnetlink.h` and `linux/nexthop.h`, and
/// more that `libc` does not have.
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
pub(super) const RTM_GETNEXTHOP: u16 = 106;
const NHA_ID: u16 = 1;
const IFA_FLAGS: u16 = 8;
const RTA_NH_ID: u16 = 30;
const RTNH_F_DEAD: u32 = 1;
const RTNH_F_LINKDOWN: u32 = 16;
/// Routes that a router advertisement brought.
const RTPROT_RA: u8 = 9;

/// Header lengths: `ifinfomsg`, `ifaddrmsg`, `rtmsg`, `ndmsg`, `nhmsg` and `rtnexthop`.
const LINK_BYTES: usize = 16;
const ADDRESS_BYTES: usize = 8;
const ROUTE_BYTES: usize = 12;
const NEIGHBOR_BYTES: usize = 12;
const NEXTHOP_BYTES: usize = 8;
const HOP_BYTES: usize = 8;

/// `AF_UNSPEC`, `AF_INET` and `AF_INET6`, as headers have them.
pub(super) const UNSPECIFIED: u8 = 0;
pub(super) const INET: u8 = 2;
pub(super) const INET6: u8 = 10;

/// What a message says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    Link {
        link: KernelLink,
        /// Of the flags, those by whose change routes come to life or die.
        life: u32,
    },
    LinkGone {
        index: u32,
    },
    Address(Address),
    AddressGone(Address),
    /// A route has come into its slot.
    Route(Slot, Way, Entry),
    /// A route, or a hop of it, has left its slot.
    RouteGone(Slot, Way),
    /// What is known of a neighbor: where it is if that is permanent.
    Neighbor {
        index: u32,
        address: IpAddr,
        mac: Option<MacAddress>,
    },
    /// A nexthop object is there, or is another one.
    Nexthop {
        id: u32,
    },
    NexthopGone {
        id: u32,
    },
}

/// An address of a device.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Address {
    pub(super) index: u32,
    /// With full length if there is a peer, whose network the length is of then.
    pub(super) address: IpNet,
    pub(super) peer: Option<IpAddr>,
    /// Duplicate address detection has let it pass. Not part of what the address is.
    pub(super) is_usable: bool,
}

/// The place of a route: within it, the first one that lives wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Slot {
    pub(super) table: u32,
    pub(super) prefix: IpNet,
    pub(super) metric: u32,
}

/// How a route comes into its slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Entry {
    /// There was none.
    Only,
    First,
    Last,
    /// In place of another.
    Replace,
}

/// A route in its slot (`fib_alias` for IPv4; for IPv6, `fib6_info` with its siblings).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Way {
    pub(super) protocol: u8,
    /// `RTN_UNICAST` and so on.
    pub(super) kind: u8,
    /// The nexthop object; 0: none.
    pub(super) nexthop: u32,
    /// In the order of their addresses, since the kernel's own order changes.
    pub(super) hops: Vec<Hop>,
    /// Of all else by which the kernel tells one route from another.
    pub(super) rest: u64,
}

/// One of the hops.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Hop {
    /// 0: a nexthop object without its resolution (`net.ipv4.nexthop_compat_mode` is 0).
    pub(super) index: u32,
    pub(super) gateway: Option<IpAddr>,
    pub(super) weight: u8,
    /// Encapsulated, or by a gateway of the other family; a number for each way to do so.
    pub(super) detour: u64,
    pub(super) is_dead: bool,
}

impl Way {
    /// Whether the kernel joins it with others like it to one route (`rt6_qualify_for_ecmp`).
    pub(super) fn is_group(&self) -> bool {
        self.nexthop == 0
            && self.protocol != RTPROT_RA
            && !self.hops.is_empty()
            && self.hops.iter().all(|hop| hop.gateway.is_some())
    }

    /// The same route, whatever has become of its hops' devices or of its nexthop object.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.protocol == other.protocol
            && self.nexthop == other.nexthop
            && self.rest == other.rest
            && (self.nexthop != 0
                || self.kind == other.kind
                    && self.hops.len() == other.hops.len()
                    && self
                        .hops
                        .iter()
                        .zip(&other.hops)
                        .all(|(one, other)| one.is_same(other) && one.weight == other.weight))
    }
}

impl Hop {
    /// But for its state and weight.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (self.index, self.gateway, self.detour) == (other.index, other.gateway, other.detour)
    }
}

/// Reads the payload of a message of this type with these flags in its header. `None`: it is none of the mirror's
/// business.
pub(super) fn read(message_type: u16, flags: u16, payload: &[u8]) -> Option<Heard> {
    match message_type {
        libc::RTM_NEWLINK => read_link(payload),
        libc::RTM_DELLINK => link_header(payload).map(|(index, _)| Heard::LinkGone { index }),
        libc::RTM_NEWADDR => read_address(payload).map(Heard::Address),
        libc::RTM_DELADDR => read_address(payload).map(Heard::AddressGone),
        libc::RTM_NEWROUTE => read_route(payload).map(|(slot, way)| Heard::Route(slot, way, entry(flags))),
        libc::RTM_DELROUTE => read_route(payload).map(|(slot, way)| Heard::RouteGone(slot, way)),
        libc::RTM_NEWNEIGH => read_neighbor(payload, true),
        libc::RTM_DELNEIGH => read_neighbor(payload, false),
        RTM_NEWNEXTHOP => read_nexthop(payload).map(|id| Heard::Nexthop { id }),
        RTM_DELNEXTHOP => read_nexthop(payload).map(|id| Heard::NexthopGone { id }),
        _ => None,
    }
}

/// What the kernel did is in the flags, not what was asked for (`fib_table_insert`, `fib6_add_rt2node`).
fn entry(flags: u16) -> Entry {
    if flags & NLM_F_REPLACE != 0 {
        Entry::Replace
    } else if flags & NLM_F_EXCL != 0 {
        Entry::Only
    } else if flags & NLM_F_APPEND != 0 {
        Entry::Last
    } else {
        Entry::First
    }
}

/// Index and flags. A device that leaves a bridge is told to be gone from that, with another family.
fn link_header(payload: &[u8]) -> Option<(u32, u32)> {
    let header = payload.get(..LINK_BYTES)?;
    let (index, flags) = (u32_at(header, 4)?, u32_at(header, 8)?);
    (header[0] == UNSPECIFIED && index != 0).then_some((index, flags))
}

fn read_link(payload: &[u8]) -> Option<Heard> {
    let (index, flags) = link_header(payload)?;
    let (mut name, mut link_mac, mut mtu_bytes) = (None, None, None);
    for (kind, value) in attributes(&payload[LINK_BYTES..]) {
        match kind {
            libc::IFLA_IFNAME => name = value.split(|byte| *byte == 0).next(),
            libc::IFLA_ADDRESS => link_mac = mac(value),
            libc::IFLA_MTU => mtu_bytes = u32_at(value, 0),
            _ => {}
        }
    }
    let has = |flag: libc::c_int| flags & flag.cast_unsigned() != 0;
    let link = KernelLink {
        index,
        name: String::from_utf8_lossy(name?).into_owned(),
        mac: link_mac,
        // Events of wireless devices come as links without one.
        mtu_bytes: mtu_bytes?,
        is_running: has(libc::IFF_UP) && has(libc::IFF_RUNNING),
    };
    let life = flags & (libc::IFF_UP | libc::IFF_RUNNING | libc::IFF_LOWER_UP).cast_unsigned();
    Some(Heard::Link { link, life })
}

/// Six bytes that are not all zero.
fn mac(value: &[u8]) -> Option<MacAddress> {
    let bytes = <[u8; 6]>::try_from(value).ok()?;
    Some(MacAddress(bytes)).filter(|mac| *mac != MacAddress::ZERO)
}

fn read_address(payload: &[u8]) -> Option<Address> {
    let header = payload.get(..ADDRESS_BYTES)?;
    let [family, length, flags, ..] = *header else { return None };
    let index = u32_at(header, 4)?;
    let (mut far, mut own, mut flags) = (None, None, u32::from(flags));
    for (kind, value) in attributes(&payload[ADDRESS_BYTES..]) {
        match kind {
            libc::IFA_ADDRESS => far = ip(family, value),
            libc::IFA_LOCAL => own = ip(family, value),
            IFA_FLAGS => flags = u32_at(value, 0)?,
            _ => {}
        }
    }
    // Where both are given and differ, the one is that of the peer at the other end.
    let own = own.or(far)?;
    let peer = far.filter(|far| *far != own);
    let address = match peer {
        Some(_) => IpNet::from(own),
        None => IpNet::new(own, length).ok()?,
    };
    // RFC 4429: an optimistic address is used while its uniqueness is still looked into.
    let is_tentative = flags & libc::IFA_F_TENTATIVE != 0 && flags & libc::IFA_F_OPTIMISTIC == 0;
    let is_usable = !is_tentative && flags & libc::IFA_F_DADFAILED == 0;
    Some(Address { index, address, peer, is_usable })
}

fn read_route(payload: &[u8]) -> Option<(Slot, Way)> {
    let header = payload.get(..ROUTE_BYTES)?;
    let [family, length, source_length, tos, table, protocol, scope, kind, ..] = *header else { return None };
    let flags = u32_at(header, 8)?;
    // Neither what the kernel has noted of a path, nor what depends on more than the destination.
    if flags & libc::RTM_F_CLONED != 0 || source_length != 0 || tos != 0 {
        return None;
    }
    let mut rest = DefaultHasher::new();
    rest.write_u8(scope);
    let mut destination = ip(family, &[0; 16][..if family == INET { 4 } else { 16 }])?;
    let (mut table, mut metric, mut nexthop, mut multipath) = (u32::from(table), 0, 0, None);
    let attributes_bytes = &payload[ROUTE_BYTES..];
    for (kind, value) in attributes(attributes_bytes) {
        match kind {
            libc::RTA_DST => destination = ip(family, value)?,
            libc::RTA_TABLE => table = u32_at(value, 0)?,
            libc::RTA_PRIORITY => metric = u32_at(value, 0)?,
            RTA_NH_ID => nexthop = u32_at(value, 0)?,
            libc::RTA_MULTIPATH => multipath = Some(value),
            // Parts of the hop; and what is other at each look.
            libc::RTA_OIF | libc::RTA_GATEWAY | libc::RTA_VIA | libc::RTA_ENCAP | libc::RTA_ENCAP_TYPE => {}
            libc::RTA_CACHEINFO => {}
            _ => {
                rest.write_u16(kind);
                rest.write(value);
            }
        }
    }
    let mut hops = match multipath {
        Some(value) => read_hops(family, value),
        None => Vec::from_iter(read_hop(family, attributes_bytes, 0, flags, 1)),
    };
    if hops.is_empty() && nexthop != 0 {
        hops.push(Hop { index: 0, gateway: None, weight: 1, detour: 0, is_dead: false });
    }
    hops.sort_unstable();
    // IPv6 knows a route by its hops alone.
    let rest = if family == INET { rest.finish() } else { 0 };
    let prefix = IpNet::new(destination, length).ok()?.trunc();
    Some((Slot { table, prefix, metric }, Way { protocol, kind, nexthop, hops, rest }))
}

/// The hops of `RTA_MULTIPATH`: each a `rtnexthop` and its attributes.
fn read_hops(family: u8, mut bytes: &[u8]) -> Vec<Hop> {
    let mut hops = Vec::new();
    while let (Some(length), Some(&[flags, weight])) = (u16_at(bytes, 0), bytes.get(2..4)) {
        let length = usize::from(length);
        let (Some(index), Some(attributes)) = (u32_at(bytes, 4), bytes.get(HOP_BYTES..length)) else { break };
        // `rtnh_hops` is one less than the weight.
        hops.extend(read_hop(family, attributes, index, u32::from(flags), weight.saturating_add(1)));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    hops
}

/// The hop that these attributes tell of; `None` if it has no device.
fn read_hop(family: u8, bytes: &[u8], mut index: u32, flags: u32, weight: u8) -> Option<Hop> {
    let (mut gateway, mut detour) = (None, None);
    for (kind, value) in attributes(bytes) {
        match kind {
            libc::RTA_OIF => index = u32_at(value, 0)?,
            libc::RTA_GATEWAY => gateway = ip(family, value),
            // `rtvia`: a family and an address.
            libc::RTA_VIA | libc::RTA_ENCAP | libc::RTA_ENCAP_TYPE => {
                let detour = detour.get_or_insert_with(DefaultHasher::new);
                detour.write_u16(kind);
                detour.write(value);
            }
            _ => {}
        }
    }
    let detour = detour.map_or(0, |hasher| hasher.finish().max(1));
    let is_dead = flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN) != 0;
    (index != 0).then_some(Hop { index, gateway, weight, detour, is_dead })
}

fn read_neighbor(payload: &[u8], is_there: bool) -> Option<Heard> {
    let header = payload.get(..NEIGHBOR_BYTES)?;
    let (family, index, state, flags) = (header[0], u32_at(header, 4)?, u16_at(header, 8)?, header[10]);
    // The forwarding tables of bridges are told with a family of their own; addresses that are answered for others
    // are no neighbors.
    if flags & libc::NTF_PROXY != 0 {
        return None;
    }
    let (mut address, mut address_mac) = (None, None);
    for (kind, value) in attributes(&payload[NEIGHBOR_BYTES..]) {
        match kind {
            libc::NDA_DST => address = ip(family, value),
            libc::NDA_LLADDR => address_mac = mac(value),
            _ => {}
        }
    }
    let is_permanent = is_there && state & libc::NUD_PERMANENT != 0;
    Some(Heard::Neighbor { index, address: address?, mac: address_mac.filter(|_| is_permanent) })
}

fn read_nexthop(payload: &[u8]) -> Option<u32> {
    attributes(payload.get(NEXTHOP_BYTES..)?)
        .find(|(kind, _)| *kind == NHA_ID)
        .and_then(|(_, id)| u32_at(id, 0))
}

/// Types and values.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(Result::ok).map(|attribute| {
        let end = usize::from(attribute.length());
        (attribute.kind(), attribute.into_inner().get(4..end).unwrap_or_default())
    })
}

fn ip(family: u8, value: &[u8]) -> Option<IpAddr> {
    match family {
        INET => Some(IpAddr::from(<[u8; 4]>::try_from(value).ok()?)),
        INET6 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into()),
        _ => None,
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests;
