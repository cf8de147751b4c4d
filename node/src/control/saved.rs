//! What the API added, and is to be back after a restart.

use router::rib::RouteSource;

use super::routes::refused;
use super::routes::shown::{destination, kind_of, new_route};
use super::{Control, Port, Refused};
use crate::api::types::{NewRoute, Origin};
use crate::state::{Saved, SavedEntry};

impl Control {
    /// Saves what the API added.
    pub(super) fn save(&self) -> Result<(), Refused> {
        let saved = Saved {
            ports: self.of(Origin::Api).map(|port| port.config.clone()).collect(),
            down: self
                .ports
                .iter()
                .filter(|(_, port)| !port.wanted_up)
                .map(|(name, _)| name.clone())
                .collect(),
            fdb: self
                .ports
                .values()
                .flat_map(|port| port.static_macs.iter().map(|mac| (*mac, port.config.name.clone())))
                .map(|(mac, port)| SavedEntry { mac, port })
                .collect(),
            routes: self.saved_routes(),
        };
        self.state.save(&saved).map_err(|error| Refused::Failed(error.to_string()))
    }

    fn of(&self, origin: Origin) -> impl Iterator<Item = &Port> {
        self.ports.values().filter(move |port| port.origin == origin)
    }

    /// What is to be back after a restart.
    pub(super) fn saved_routes(&self) -> Vec<NewRoute> {
        let Some(router) = &self.router else { return self.dormant_routes.clone() };
        let table = router.routes();
        let routes = table.rib().routes().filter(|route| route.source == RouteSource::Api);
        routes.map(|route| new_route(table, route)).chain(self.dormant_routes.iter().cloned()).collect()
    }

    /// Takes back what was saved. What is not possible now is kept for another start.
    pub(super) fn restore_routes(&mut self, saved: Vec<NewRoute>) {
        for new in saved {
            let Some(router) = &mut self.router else {
                self.dormant_routes.push(new);
                continue;
            };
            let restored = kind_of(router.routes(), &new)
                .and_then(|kind| router.routes_mut().restore_api(new.dst, new.metric, kind).map_err(refused));
            if let Err(refused) = restored {
                let dst = destination(new.dst);
                self.notice(format!("the route to {dst}, which the API had added, is not back: {refused}"));
                self.dormant_routes.push(new);
            }
        }
    }
}
