//! Routes and neighbors in the API's words, and back.

use ipnet::IpNet;
use packet::PortId;
use router::neighbor::State;
use router::rib::{Gateway, RouteKind, RouteSource};

use super::super::Refused;
use super::link_named;
use crate::api::types::{NewNextHop, NewRoute, NextHop, Route, RouteType};
use crate::router::{Protocol, RouteTable};

/// What a route asks for, in the router's words.
pub(crate) fn kind_of(table: &RouteTable, new: &NewRoute) -> Result<RouteKind, Refused> {
    let port = |dev: &Option<String>| match dev {
        None => Ok(None),
        Some(dev) => link_named(table, dev).map(|_| table.port_of(dev)),
    };
    let invalid = |text: &str| Refused::Invalid(text.to_owned());
    let has_hops = new.gateway.is_some() || new.dev.is_some() || !new.nexthops.is_empty();
    match new.kind {
        RouteType::Unicast => {}
        _ if has_hops => return Err(invalid("a route that drops has no next hop")),
        RouteType::Blackhole => return Ok(RouteKind::Blackhole),
        RouteType::Prohibit => return Ok(RouteKind::Prohibit),
        RouteType::Unreachable => return Ok(RouteKind::Unreachable),
    }
    match (&new.gateway, port(&new.dev)?, new.nexthops.as_slice()) {
        (Some(address), port, []) => Ok(RouteKind::Via(vec![Gateway { address: *address, port, weight: 1 }])),
        (None, Some(port), []) => Ok(RouteKind::Connected { port }),
        (None, None, []) => Err(invalid("the route names no gateway")),
        (None, None, hops) => {
            let gateway = |hop: &NewNextHop| {
                Ok(Gateway { address: hop.gateway, port: port(&hop.dev)?, weight: hop.weight })
            };
            hops.iter().map(gateway).collect::<Result<_, Refused>>().map(RouteKind::Via)
        }
        _ => Err(invalid("a route has either one gateway or several next hops")),
    }
}

/// The request that adds this route.
pub(crate) fn new_route(table: &RouteTable, route: &router::rib::Route) -> NewRoute {
    let dev = |port: Option<PortId>| port.and_then(|port| table.device_of(port)).map(str::to_owned);
    let mut new = NewRoute {
        dst: route.prefix,
        kind: RouteType::Unicast,
        gateway: None,
        dev: None,
        metric: route.metric,
        nexthops: Vec::new(),
    };
    match &route.kind {
        RouteKind::Via(gateways) => match gateways[..] {
            [Gateway { address, port, .. }] => {
                (new.gateway, new.dev) = (Some(address), dev(port));
            }
            _ => {
                let hop = |gateway: &Gateway| NewNextHop {
                    gateway: gateway.address,
                    dev: dev(gateway.port),
                    weight: gateway.weight,
                };
                new.nexthops = gateways.iter().map(hop).collect();
            }
        },
        RouteKind::Connected { port } => new.dev = dev(Some(*port)),
        // The API has no such route.
        RouteKind::Local => {}
        RouteKind::Blackhole => new.kind = RouteType::Blackhole,
        RouteKind::Prohibit => new.kind = RouteType::Prohibit,
        RouteKind::Unreachable => new.kind = RouteType::Unreachable,
    }
    new
}

/// A route as `ip -j route` shows it.
pub(super) fn shown(table: &RouteTable, route: &router::rib::Route) -> Route {
    let problem = table.rib().resolve(route).err().map(|error| error.to_string());
    let dead = |is_dead: bool| if is_dead { vec!["dead".to_owned()] } else { Vec::new() };
    let mut shown = Route {
        kind: None,
        dst: destination(route.prefix),
        gateway: None,
        dev: None,
        protocol: protocol(route.source),
        scope: None,
        prefsrc: None,
        metric: (route.source != RouteSource::Connected && route.metric != 0).then_some(route.metric),
        flags: dead(problem.is_some()),
        nexthops: Vec::new(),
        source: source(route.source).to_owned(),
        active: table.is_in_use(route),
        reason: problem,
    };
    let dev = |gateway: &Gateway| {
        let port = gateway.port.or_else(|| table.rib().port_toward(gateway.address));
        port.and_then(|port| table.device_of(port)).map(str::to_owned)
    };
    match &route.kind {
        RouteKind::Via(gateways) => match &gateways[..] {
            [gateway] => {
                shown.gateway = Some(gateway.address);
                shown.dev = dev(gateway);
            }
            _ => {
                let hop = |gateway: &Gateway| {
                    let dev = dev(gateway);
                    let flags = dead(dev.is_none());
                    NextHop { gateway: gateway.address, dev, weight: gateway.weight, flags }
                };
                shown.nexthops = gateways.iter().map(hop).collect();
            }
        },
        RouteKind::Connected { port } => {
            shown.dev = table.device_of(*port).map(str::to_owned);
            shown.scope = Some("link".to_owned());
            shown.prefsrc = table.address_in(route.prefix);
        }
        RouteKind::Local => {
            shown.kind = Some("local".to_owned());
            shown.dev.clone_from(&table.settings().host_device);
            shown.scope = Some("host".to_owned());
        }
        RouteKind::Blackhole => shown.kind = Some("blackhole".to_owned()),
        RouteKind::Prohibit => shown.kind = Some("prohibit".to_owned()),
        RouteKind::Unreachable => shown.kind = Some("unreachable".to_owned()),
    }
    shown
}

/// As `ip route` writes it: no length behind a whole address.
pub(crate) fn destination(prefix: IpNet) -> String {
    match prefix.prefix_len() {
        0 if prefix.addr().is_unspecified() => "default".to_owned(),
        length if length == prefix.max_prefix_len() => prefix.addr().to_string(),
        _ => prefix.to_string(),
    }
}

fn protocol(source: RouteSource) -> String {
    match source {
        RouteSource::Connected => Protocol::KERNEL.to_string(),
        RouteSource::Static => "static".to_owned(),
        RouteSource::Api => "api".to_owned(),
        RouteSource::Cluster => "cluster".to_owned(),
        RouteSource::Kernel { protocol } => Protocol(protocol).to_string(),
    }
}

pub(super) const fn source(source: RouteSource) -> &'static str {
    match source {
        RouteSource::Connected => "connected",
        RouteSource::Static => "config",
        RouteSource::Api => "api",
        RouteSource::Cluster => "cluster",
        RouteSource::Kernel { .. } => "kernel",
    }
}

pub(super) const fn state(state: State) -> &'static str {
    match state {
        State::Incomplete => "INCOMPLETE",
        State::Reachable => "REACHABLE",
        State::Stale => "STALE",
        State::Delay => "DELAY",
        State::Probe => "PROBE",
        State::Failed => "FAILED",
        State::Permanent => "PERMANENT",
    }
}
