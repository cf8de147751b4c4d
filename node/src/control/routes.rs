//! Routes and neighbors as operators see and change them.

pub(super) mod shown;

use std::collections::BTreeMap;
use std::net::IpAddr;

use dataplane::{Link, LinkId, Routing};
use ipnet::IpNet;
use packet::PortId;
use router::fib::RouteDecision;
use router::neighbor::Lookup;
use router::rib::{RouteKind, RouteSource};

use super::{Control, Refused};
use crate::api::types::{ExplainStep, Flushed, Neighbor, NewRoute, Route, RouteAnswer, RoutingSummary};
use crate::explain::{Surroundings, explain};
use crate::filter::{Filter, FilterError};
use crate::identity;
use crate::router::{RouteProblem, RouteTable, Router};
use shown::{destination, kind_of, shown, source, state};

/// Most next hops that all routes of the API may have: they are saved as a whole with every change. A route without
/// any counts as one.
const API_HOPS_MAX: usize = 1 << 16;

impl Control {
    /// All routes of all sources, by destination, those that win first; none without `[uplink]`.
    #[must_use]
    pub fn routes(&self) -> Vec<Route> {
        let Some(router) = &self.router else { return Vec::new() };
        let table = router.routes();
        table.rib().routes().map(|route| shown(table, route)).collect()
    }

    /// What becomes of packets to `address`, by the tables that workers use now.
    ///
    /// # Errors
    /// [`Refused::NotFound`] if there is no route; [`Refused::Conflict`] without `[uplink]`.
    pub fn route_to(&self, address: IpAddr) -> Result<RouteAnswer, Refused> {
        let table = self.router()?.routes();
        let snapshot = self.dataplane.snapshot();
        let routing = snapshot.routing().ok_or_else(no_router)?;
        let route = table.lookup(address).map(|(route, _)| route);
        let mut answer = RouteAnswer {
            kind: None,
            dst: address,
            gateway: None,
            dev: None,
            prefsrc: None,
            flags: Vec::new(),
            lladdr: None,
            port: None,
            route: route.map(|route| destination(route.prefix)),
            source: route.map(|route| source(route.source).to_owned()),
        };
        let kind = match routing.fib.lookup(address, 0) {
            RouteDecision::Forward(hop) => {
                answer.gateway = Some(hop.gateway);
                self.describe_hop(&mut answer, routing, hop.port, hop.gateway);
                return Ok(answer);
            }
            RouteDecision::Connected { port } => {
                self.describe_hop(&mut answer, routing, port, address);
                return Ok(answer);
            }
            RouteDecision::Local => {
                answer.dev = table.settings().host_device.clone();
                "local"
            }
            RouteDecision::Blackhole => "blackhole",
            RouteDecision::Prohibit => "prohibit",
            RouteDecision::Unreachable => "unreachable",
            RouteDecision::NoRoute => {
                return Err(Refused::NotFound(format!(
                    "there is no route to {address}: network is unreachable"
                )));
            }
        };
        answer.kind = Some(kind.to_owned());
        Ok(answer)
    }

    fn describe_hop(&self, answer: &mut RouteAnswer, routing: &Routing, port: PortId, next: IpAddr) {
        let table = self.router.as_ref().map(Router::routes);
        answer.dev = table.and_then(|table| table.device_of(port)).map(str::to_owned);
        let Some((_, Link { gateway, neighbors, .. })) = routing.link_of(port) else { return };
        answer.prefsrc = gateway.address_toward(next);
        if let Lookup::Usable { mac, port, .. } = neighbors.lookup(next) {
            answer.lladdr = Some(mac);
            answer.port = self.name_of(port);
        }
    }

    pub(super) fn name_of(&self, id: PortId) -> Option<String> {
        self.port_numbered(id).map(|port| port.config.name.clone())
    }

    fn router(&self) -> Result<&Router, Refused> {
        self.router.as_ref().ok_or_else(no_router)
    }

    /// Adds a route, which is in force and saved when this returns.
    ///
    /// # Errors
    /// Why not.
    pub fn add_route(&mut self, new: &NewRoute) -> Result<Route, Refused> {
        let table = self.router()?.routes();
        let kind = kind_of(table, new)?;
        let present = table.rib().routes().filter(|route| route.source == RouteSource::Api);
        if present.map(|route| hops(&route.kind)).sum::<usize>() + hops(&kind) > API_HOPS_MAX {
            let text =
                format!("there is room for {API_HOPS_MAX} next hops of routes of the API, and no more");
            return Err(Refused::Unavailable(text));
        }
        let (prefix, metric) = (new.dst, new.metric);
        let router = self.router.as_mut().ok_or_else(no_router)?;
        router.routes_mut().add_api(prefix, metric, kind).map_err(refused)?;
        self.publish();
        if let Err(refused) = self.save() {
            // Nothing that would not be back after a restart.
            if let Some(router) = &mut self.router {
                router.routes_mut().remove_api(prefix, Some(metric));
            }
            self.publish();
            return Err(refused);
        }
        let table = self.router()?.routes();
        let mut there = table.rib().routes_to(prefix).iter();
        let added = there.find(|route| (route.source, route.metric) == (RouteSource::Api, metric));
        added.map(|route| shown(table, route)).ok_or_else(no_router)
    }

    /// Removes a route of the API: with this metric, or the best one.
    ///
    /// # Errors
    /// [`Refused::NotFound`]; [`Refused::Conflict`] for a route of another source.
    pub fn delete_route(&mut self, prefix: IpNet, metric: Option<u32>) -> Result<(), Refused> {
        let router = self.router.as_mut().ok_or_else(no_router)?;
        if router.routes_mut().remove_api(prefix, metric) {
            self.publish();
            return self.save();
        }
        let there = self.router()?.routes().rib().routes_to(prefix);
        let dst = destination(prefix);
        Err(match there.first().filter(|_| metric.is_none()) {
            Some(route) => Refused::Conflict(format!(
                "the route to {dst} is not of the API: its source is {}",
                source(route.source)
            )),
            None => Refused::NotFound(format!("the API has no such route to {dst}")),
        })
    }

    /// What would become of a packet that these words describe.
    ///
    /// # Errors
    /// [`Refused::Invalid`] if they describe none; [`Refused::NotFound`] for a port that is not there.
    pub fn explain(&self, packet: &str) -> Result<Vec<ExplainStep>, Refused> {
        let filter: Filter =
            packet.parse().map_err(|error: FilterError| Refused::Invalid(error.to_string()))?;
        let described = filter.describe().map_err(Refused::Invalid)?;
        self.port(&described.ingress)?;
        let gateways = self.config.gateways();
        let surroundings = Surroundings {
            now_ms: self.dataplane.now_ms(),
            gateway_mac: identity::gateway_mac(&gateways),
            mac_of_port: &|id| self.port_numbered(id).map(|port| port.mac),
            mac_of_address: &|address| {
                let mut bridge = self.bridge_ports();
                bridge.find(|port| port.config.hosts().any(|own| own == address)).map(|port| port.mac)
            },
            is_on_bridge: &|address| self.config.own_network(&address.into()).is_some(),
            is_gateway: &|address| gateways.iter().any(|gateway| gateway.addr() == address),
            source_of_route: &|address| {
                let table = self.router.as_ref()?.routes();
                table.lookup(address).map(|(route, _)| source(route.source).to_owned())
            },
        };
        explain(&self.dataplane.snapshot(), &described, &surroundings).map_err(Refused::Invalid)
    }

    /// All neighbors, those of the bridge first.
    #[must_use]
    pub fn neighbors(&self) -> Vec<Neighbor> {
        let Some(router) = &self.router else { return Vec::new() };
        let settings = router.routes().settings();
        let links = [(LinkId::Bridge, &settings.bridge_name), (LinkId::Uplink, &settings.uplink_device)];
        let all = links
            .into_iter()
            .flat_map(|(link, dev)| router.neighbors().on(link).map(move |neighbor| (neighbor, dev.clone())));
        all.map(|(neighbor, dev)| Neighbor {
            dst: neighbor.address,
            dev,
            lladdr: neighbor.mac,
            state: vec![state(neighbor.state).to_owned()],
            port: self.name_of(neighbor.port),
        })
        .collect()
    }

    /// Forgets the neighbors that were learned, on one link or both.
    ///
    /// # Errors
    /// [`Refused::NotFound`] if `dev` is no link of the router's; [`Refused::Conflict`] without `[uplink]`.
    pub fn flush_neighbors(&mut self, dev: Option<&str>) -> Result<Flushed, Refused> {
        let router = self.router.as_mut().ok_or_else(no_router)?;
        let link = match dev {
            None => None,
            Some(dev) => Some(link_named(router.routes(), dev)?),
        };
        let flushed = router.neighbors_mut().flush(link);
        self.publish();
        Ok(Flushed { flushed })
    }

    /// The router in numbers.
    pub(super) fn routing_summary(&self) -> Option<RoutingSummary> {
        let router = self.router.as_ref()?;
        let table = router.routes();
        let mut sources = BTreeMap::new();
        for route in table.rib().routes() {
            *sources.entry(source(route.source).to_owned()).or_default() += 1;
        }
        let (routes, active) = table.counts();
        Some(RoutingSummary {
            uplink: table.settings().uplink_device.clone(),
            routes,
            active,
            sources,
            neighbors: router.neighbors().len(),
            requests_lost: self.dataplane.events().punts().lost(),
        })
    }

    /// What is not as it should be with the routes.
    pub(super) fn route_warnings(&self) -> Vec<String> {
        self.router.as_ref().map(|router| router.routes().warnings()).unwrap_or_default()
    }
}

fn hops(kind: &RouteKind) -> usize {
    match kind {
        RouteKind::Via(gateways) => gateways.len().max(1),
        _ => 1,
    }
}

fn no_router() -> Refused {
    Refused::Conflict(
        "this node's router is the kernel (see `ip route`): flyover routes where the configuration has [uplink]"
            .to_owned(),
    )
}

pub(super) fn refused(problem: RouteProblem) -> Refused {
    let sentence = problem.to_string();
    match problem {
        RouteProblem::Exists { .. } => Refused::Conflict(sentence),
        RouteProblem::Fib(_) => Refused::Unavailable(sentence),
        RouteProblem::Route(_) | RouteProblem::OwnNetwork { .. } | RouteProblem::OwnAddress(_) => {
            Refused::Invalid(sentence)
        }
    }
}

fn link_named(table: &RouteTable, dev: &str) -> Result<LinkId, Refused> {
    let settings = table.settings();
    match table.port_of(dev) {
        Some(port) if port == settings.uplink => Ok(LinkId::Uplink),
        Some(_) => Ok(LinkId::Bridge),
        None => Err(Refused::NotFound(format!(
            "\"{dev}\" is no link of the router: there are {} (all ports of the bridge) and {}",
            settings.bridge_name, settings.uplink_device
        ))),
    }
}
