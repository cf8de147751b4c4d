//! What the kernel told of devices, addresses and permanent neighbors, kept as it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use packet::MacAddress;

use crate::kernel::{KernelChange, KernelLink};

/// Devices with their addresses and permanent neighbors. Routes are kept by
/// [`RouteTable`](super::RouteTable).
#[derive(Clone, Debug, Default)]
pub struct Mirror {
    links: BTreeMap<u32, KernelLink>,
    addresses: BTreeSet<(u32, IpNet)>,
    neighbors: BTreeMap<(u32, IpAddr), MacAddress>,
}

impl Mirror {
    /// Follows one change; false if there was nothing to follow: a change of a route, or what is known already.
    pub fn apply(&mut self, change: &KernelChange) -> bool {
        match change {
            KernelChange::Link(link) => self.links.insert(link.index, link.clone()).as_ref() != Some(link),
            KernelChange::LinkGone { index } => {
                let known = self.addresses.len() + self.neighbors.len();
                self.addresses.retain(|(of, _)| of != index);
                self.neighbors.retain(|(of, _), _| of != index);
                let is_left = self.addresses.len() + self.neighbors.len() == known;
                self.links.remove(index).is_some() || !is_left
            }
            KernelChange::Address { index, address } => self.addresses.insert((*index, *address)),
            KernelChange::AddressGone { index, address } => self.addresses.remove(&(*index, *address)),
            KernelChange::Neighbor { index, address, mac } => {
                self.neighbors.insert((*index, *address), *mac) != Some(*mac)
            }
            KernelChange::NeighborGone { index, address } => {
                self.neighbors.remove(&(*index, *address)).is_some()
            }
            KernelChange::Route(_) | KernelChange::RouteGone(_) => false,
        }
    }

    /// The device with this name.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<&KernelLink> {
        self.links.values().find(|link| link.name == name)
    }

    /// All addresses of all devices.
    pub fn addresses(&self) -> impl Iterator<Item = (u32, IpNet)> + '_ {
        self.addresses.iter().copied()
    }

    /// The addresses of one device, IPv4 first.
    pub fn addresses_of(&self, index: u32) -> impl Iterator<Item = IpNet> + '_ {
        self.addresses().filter(move |(of, _)| *of == index).map(|(_, address)| address)
    }

    /// The permanent neighbors on one device.
    pub fn neighbors_of(&self, index: u32) -> impl Iterator<Item = (IpAddr, MacAddress)> + '_ {
        let all = self.neighbors.iter().filter(move |((of, _), _)| *of == index);
        all.map(|((_, address), mac)| (*address, *mac))
    }
}
