//! Routes known to routes compiled: in full and prefix by prefix.

use super::{Action, Fib, Target};
use crate::lpm::{Compiler, LpmError, Prefix, Value};
use crate::next_hop::NextHops;
use crate::rib::{Resolution, Rib};
use ipnet::IpNet;
use packet::PortId;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Why a route is not in the compiled table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FibError {
    /// There are as many targets as there can be.
    #[error("routes lead to more than {max} different sets of next hops", max = Value::COUNT)]
    TooManyTargets,
    /// The longest-prefix-match table has no room.
    #[error(transparent)]
    Lpm(#[from] LpmError),
}

/// A target that routes use.
#[derive(Clone, Copy, Debug)]
struct Use {
    value: Value,
    routes: usize,
}

/// Makes [`Fib`]s from a [`Rib`]; see [`fib`](super).
#[derive(Clone, Debug, Default)]
pub struct FibCompiler {
    v4: Compiler<Ipv4Addr>,
    v6: Compiler<Ipv6Addr>,
    targets: Arc<Vec<Option<Arc<Target>>>>,
    /// What the routes of each target resolve to.
    resolutions: Vec<Option<Resolution>>,
    uses: BTreeMap<Resolution, Use>,
    /// Numbers of targets that nobody uses.
    free: Vec<Value>,
}

impl FibCompiler {
    /// A table without a route.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Compiles all of a RIB at once. A route that does not fit is left out and reported; the others are there.
    #[must_use]
    pub fn from_rib(rib: &Rib) -> (Self, Vec<(IpNet, FibError)>) {
        let mut compiler = Self::new();
        let (mut v4, mut v6, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for prefix in rib.prefixes() {
            let Some((_, resolution)) = rib.best(prefix) else { continue };
            match (compiler.take(resolution), prefix) {
                (Ok(value), IpNet::V4(network)) => v4.push((Prefix::from(network), value)),
                (Ok(value), IpNet::V6(network)) => v6.push((Prefix::from(network), value)),
                (Err(error), _) => refused.push((prefix, error)),
            }
        }
        let fits = (Compiler::from_routes(v4), Compiler::from_routes(v6));
        if let (Ok(v4), Ok(v6)) = fits {
            (compiler.v4, compiler.v6) = (v4, v6);
            return (compiler, refused);
        }
        // Too many: as many as there is room for, one by one.
        let mut compiler = Self::new();
        let refused = rib.prefixes().filter_map(|prefix| Some((prefix, compiler.update(rib, prefix).err()?)));
        let refused = refused.collect();
        (compiler, refused)
    }

    /// Brings one prefix up to date with the RIB, as it should be done for each that a change of the RIB returns.
    ///
    /// # Errors
    /// There is no room; the prefix then has no route of its own.
    pub fn update(&mut self, rib: &Rib, prefix: IpNet) -> Result<(), FibError> {
        let best = rib.best(prefix).map(|(_, resolution)| resolution);
        let Some(resolution) = best else {
            self.remove(prefix);
            return Ok(());
        };
        let value = match self.take(resolution) {
            Ok(value) => value,
            Err(error) => {
                self.remove(prefix);
                return Err(error);
            }
        };
        let before = match prefix {
            IpNet::V4(network) => self.v4.insert(network.into(), value),
            IpNet::V6(network) => self.v6.insert(network.into(), value),
        };
        match before {
            Ok(before) => {
                self.give_back(before);
                Ok(())
            }
            Err(error) => {
                self.give_back(Some(value));
                self.remove(prefix);
                Err(error.into())
            }
        }
    }

    /// An immutable table of the routes as they are now.
    #[must_use]
    pub fn fib(&self) -> Fib {
        Fib { v4: self.v4.table(), v6: self.v6.table(), targets: Arc::clone(&self.targets) }
    }

    /// Number of routes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// True without any route.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of different targets in use.
    #[must_use]
    pub fn targets(&self) -> usize {
        self.uses.len()
    }

    fn remove(&mut self, prefix: IpNet) {
        let before = match prefix {
            IpNet::V4(network) => self.v4.remove(network.into()),
            IpNet::V6(network) => self.v6.remove(network.into()),
        };
        self.give_back(before);
    }

    /// The target of a resolution, for one more route.
    fn take(&mut self, resolution: Resolution) -> Result<Value, FibError> {
        if let Some(known) = self.uses.get_mut(&resolution) {
            known.routes += 1;
            return Ok(known.value);
        }
        let unused = self.free.pop().or_else(|| Value::new(self.resolutions.len()));
        let value = unused.ok_or(FibError::TooManyTargets)?;
        let targets = Arc::make_mut(&mut self.targets);
        if value.index() == targets.len() {
            targets.push(None);
            self.resolutions.push(None);
        }
        targets[value.index()] = Target::new(&resolution).map(Arc::new);
        self.resolutions[value.index()] = Some(resolution.clone());
        self.uses.insert(resolution, Use { value, routes: 1 });
        Ok(value)
    }

    /// One route less has this target.
    fn give_back(&mut self, value: Option<Value>) {
        let Some(value) = value else { return };
        let Some(resolution) = &self.resolutions[value.index()] else { return };
        let Some(known) = self.uses.get_mut(resolution) else { return };
        known.routes -= 1;
        if known.routes == 0 {
            self.uses.remove(resolution);
            self.resolutions[value.index()] = None;
            Arc::make_mut(&mut self.targets)[value.index()] = None;
            self.free.push(value);
        }
    }
}

impl Target {
    /// `None` if there is no next hop, which no resolution has.
    fn new(resolution: &Resolution) -> Option<Self> {
        let (action, mut ports): (Action, Vec<PortId>) = match resolution {
            Resolution::Via(hops) => {
                (Action::Forward(NextHops::new(hops)?), hops.iter().map(|(hop, _)| hop.port).collect())
            }
            Resolution::Connected { port } => (Action::Connected { port: *port }, vec![*port]),
            Resolution::Local => (Action::Local, Vec::new()),
            Resolution::Blackhole => (Action::Blackhole, Vec::new()),
            Resolution::Prohibit => (Action::Prohibit, Vec::new()),
            Resolution::Unreachable => (Action::Unreachable, Vec::new()),
        };
        ports.sort_unstable();
        ports.dedup();
        Some(Self { action, ports: ports.into() })
    }
}
