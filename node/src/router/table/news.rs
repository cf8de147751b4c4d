//! What an operator is to know of the routes.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use router::rib::{Rib, Route, RouteSource};

use super::{RouteProblem, RouteTable};

/// Warnings of one kind that are told one by one.
const TOLD_MAX: usize = 8;

/// Whether there are default routes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Defaults {
    had: [bool; 2],
    has: [bool; 2],
}

fn default_routes() -> [IpNet; 2] {
    [
        Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0).into(),
        Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0).into(),
    ]
}

impl Defaults {
    pub(super) fn look(&mut self, rib: &Rib) {
        self.has = default_routes().map(|prefix| rib.best(prefix).is_some());
        for (had, has) in self.had.iter_mut().zip(self.has) {
            *had |= has;
        }
    }

    /// Those that were there and are not any more.
    pub(super) fn lost(self) -> impl Iterator<Item = IpNet> {
        let lost = default_routes().into_iter().zip(self.had).zip(self.has);
        lost.filter(|((_, had), has)| *had && !has).map(|((prefix, _), _)| prefix)
    }
}

impl RouteTable {
    /// What is not as it should be now, one sentence each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self
            .defaults
            .lost()
            .map(|prefix| format!("the default route {prefix} is gone: pods reach known networks only"))
            .collect();
        let sleeping = self.statics.iter().flat_map(|prefix| self.rib.routes_to(*prefix));
        let sleeping = sleeping.filter(|route| route.source == RouteSource::Static);
        let sleeping = sleeping.filter_map(|route| Some((route.prefix, self.problem_of(route)?)));
        let sleeping =
            sleeping.map(|(prefix, problem)| format!("[[route]] to {prefix} is of no use: {problem}"));
        tell_some(&mut warnings, sleeping, "[[route]]s are of no use");
        let refused = self.refused.iter().map(|((prefix, source, _), problem)| {
            format!("the route to {prefix} of {} is not taken: {problem}", owner(*source))
        });
        tell_some(&mut warnings, refused, "routes are not taken");
        let unfit =
            self.unfit.iter().map(|(prefix, error)| format!("the route to {prefix} is not in use: {error}"));
        tell_some(&mut warnings, unfit, "routes are not in use: the table is full");
        warnings
    }

    /// Default routes that were there and are not any more.
    #[must_use]
    pub fn lost_defaults(&self) -> Vec<IpNet> {
        self.defaults.lost().collect()
    }

    fn problem_of(&self, route: &Route) -> Option<RouteProblem> {
        let own = || self.own_gateway(route).map(RouteProblem::OwnAddress);
        self.rib.resolve(route).err().map(RouteProblem::from).or_else(own)
    }

    /// Offers that were taken, and prefixes that have a route in use.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.rib.len(), self.compiler.len())
    }

    /// True if packets to its prefix follow this offer.
    #[must_use]
    pub fn is_in_use(&self, route: &Route) -> bool {
        let is_best = |(best, _): (&Route, _)| (best.source, best.metric) == (route.source, route.metric);
        !self.unfit.contains_key(&route.prefix) && self.rib.best(route.prefix).is_some_and(is_best)
    }
}

/// The first sentences, and the number of the others.
fn tell_some(to: &mut Vec<String>, mut sentences: impl Iterator<Item = String>, others: &str) {
    to.extend(sentences.by_ref().take(TOLD_MAX));
    let left = sentences.count();
    if left > 0 {
        to.push(format!("{left} more {others}"));
    }
}

/// Whose route it is.
fn owner(source: RouteSource) -> &'static str {
    match source {
        RouteSource::Connected => "the node",
        RouteSource::Static => "the configuration",
        RouteSource::Api => "the API",
        RouteSource::Cluster => "the cluster",
        RouteSource::Kernel { .. } => "the kernel",
    }
}
