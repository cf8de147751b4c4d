//! The forwarding database as operators see and change it.

use packet::MacAddress;
use switch::{EntryKind, FdbError};

use super::{Control, Refused, no_such_port};
use crate::api::types::{FdbEntry, Flushed, Origin};

impl Control {
    /// All entries, or those of one port, sorted by address.
    ///
    /// # Errors
    /// [`Refused::NotFound`] if there is no such port.
    pub fn fdb_entries(&self, dev: Option<&str>) -> Result<Vec<FdbEntry>, Refused> {
        let wanted = dev.map(|name| self.port(name)).transpose()?.map(|port| port.id);
        let entries = self.fdb.entries(self.dataplane.now_ms());
        let shown = entries.into_iter().filter(|entry| wanted.is_none_or(|id| entry.port == id));
        Ok(shown
            .filter_map(|entry| {
                let port = self.port_numbered(entry.port)?;
                let state = match entry.kind {
                    EntryKind::Static if entry.mac == port.mac => "permanent",
                    EntryKind::Static => "static",
                    EntryKind::Learned => "",
                };
                Some(FdbEntry {
                    mac: entry.mac,
                    ifname: port.config.name.clone(),
                    flags: Vec::new(),
                    master: self.config.host.name.clone(),
                    state: state.to_owned(),
                    idle_ms: (entry.kind == EntryKind::Learned).then_some(entry.idle_ms),
                })
            })
            .collect())
    }

    /// Adds a static entry, which replaces a learned one, and saves it.
    ///
    /// # Errors
    /// Why not.
    pub fn add_fdb_entry(&mut self, mac: MacAddress, dev: &str) -> Result<FdbEntry, Refused> {
        self.enter_static(mac, dev)?;
        self.save()?;
        self.fdb_entries(Some(dev))?
            .into_iter()
            .find(|entry| entry.mac == mac)
            .ok_or_else(|| Refused::Unavailable(format!("the entry {mac} did not stay")))
    }

    pub(super) fn enter_static(&mut self, mac: MacAddress, dev: &str) -> Result<(), Refused> {
        let port = self.port(dev)?;
        if port.origin == Origin::Uplink {
            return Err(Refused::Invalid(format!(
                "port \"{dev}\" is the uplink, which is not on the bridge"
            )));
        }
        let id = port.id;
        self.fdb.add_static(mac, id).map_err(|error| match error {
            FdbError::NotAStation(_) => Refused::Invalid(error.to_string()),
            FdbError::Exists { .. } => Refused::Conflict(error.to_string()),
            FdbError::Full(_) | FdbError::SizeFixed { .. } => Refused::Unavailable(error.to_string()),
        })?;
        let port = self.ports.get_mut(dev).ok_or_else(|| no_such_port(dev))?;
        if port.mac != mac && !port.static_macs.contains(&mac) {
            port.static_macs.push(mac);
        }
        Ok(())
    }

    /// Removes an entry, learned or static.
    ///
    /// # Errors
    /// [`Refused::NotFound`]; [`Refused::Conflict`] for a port's own address.
    pub fn delete_fdb_entry(&mut self, mac: MacAddress) -> Result<(), Refused> {
        let owner = self.ports.values().find(|port| port.mac == mac && port.has_static_mac());
        if let Some(port) = owner {
            let text = format!("{mac} is the own address of port \"{}\"", port.config.name);
            return Err(Refused::Conflict(text));
        }
        if !self.fdb.remove(mac) {
            return Err(Refused::NotFound(format!("there is no entry {mac}")));
        }
        for port in self.ports.values_mut() {
            port.static_macs.retain(|other| *other != mac);
        }
        self.save()
    }

    /// Forgets the learned entries of one port, or of all.
    ///
    /// # Errors
    /// [`Refused::NotFound`] if there is no such port.
    pub fn flush_fdb(&self, dev: Option<&str>) -> Result<Flushed, Refused> {
        let id = dev.map(|name| self.port(name)).transpose()?.map(|port| port.id);
        Ok(Flushed { flushed: self.fdb.flush(id) })
    }
}
