//! A namespace, a follower in it, and what `ip` shows there as the oracle.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use e2e::{Namespace, wait_until};
use ipnet::IpNet;
use node::kernel::{
    FollowOptions, KernelChange, KernelFollower, KernelHop, KernelLink, KernelRoute, KernelRouteKey,
    KernelRouteKind,
};
use packet::MacAddress;
use serde_json::Value;

/// The kernel's state as somebody knows it who applies all changes.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Known {
    pub(crate) links: BTreeMap<u32, KernelLink>,
    pub(crate) addresses: BTreeSet<(u32, IpNet)>,
    pub(crate) routes: BTreeMap<KernelRouteKey, KernelRouteKind>,
    pub(crate) neighbors: BTreeMap<(u32, IpAddr), MacAddress>,
}

impl Known {
    /// Each change has to be one.
    fn apply(&mut self, change: KernelChange) {
        let text = format!("{change:?}");
        let is_change = match change {
            KernelChange::Link(link) => self.links.insert(link.index, link.clone()) != Some(link),
            KernelChange::LinkGone { index } => {
                assert!(self.addresses.iter().all(|(of, _)| *of != index), "addresses of {text}");
                assert!(self.neighbors.keys().all(|(of, _)| *of != index), "neighbors of {text}");
                let mut kinds = self.routes.values();
                let leads = |kind: &KernelRouteKind| matches!(kind, KernelRouteKind::Hops(hops) if hops.iter().any(|hop| hop.index == index));
                assert!(!kinds.any(leads), "routes by {text}");
                self.links.remove(&index).is_some()
            }
            KernelChange::Address { index, address } => self.addresses.insert((index, address)),
            KernelChange::AddressGone { index, address } => self.addresses.remove(&(index, address)),
            KernelChange::Route(KernelRoute { key, kind }) => {
                assert_ne!(kind, KernelRouteKind::Hops(Vec::new()), "{text}");
                self.routes.insert(key, kind.clone()) != Some(kind)
            }
            KernelChange::RouteGone(key) => self.routes.remove(&key).is_some(),
            KernelChange::Neighbor { index, address, mac } => {
                self.neighbors.insert((index, address), mac) != Some(mac)
            }
            KernelChange::NeighborGone { index, address } => {
                self.neighbors.remove(&(index, address)).is_some()
            }
        };
        assert!(is_change, "nothing changes by {text}");
    }

    fn difference(&self, other: &Self) -> Vec<String> {
        let (mine, theirs) = (self.lines(), other.lines());
        let told = mine.difference(&theirs).map(|line| format!("only told: {line}"));
        told.chain(theirs.difference(&mine).map(|line| format!("only shown: {line}"))).collect()
    }

    fn lines(&self) -> BTreeSet<String> {
        fn text(part: impl std::fmt::Debug) -> String {
            format!("{part:?}")
        }
        let links = self.links.iter().map(text).chain(self.addresses.iter().map(text));
        links.chain(self.routes.iter().map(text)).chain(self.neighbors.iter().map(text)).collect()
    }
}

/// What was told.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) known: Known,
    pub(crate) batches: Vec<usize>,
    /// A change that was none.
    pub(crate) fault: Option<String>,
}

pub(crate) struct Rig {
    pub(crate) namespace: Namespace,
    pub(crate) options: FollowOptions,
    follower: Option<KernelFollower>,
    told: Arc<Mutex<Told>>,
}

impl Rig {
    /// Follows a namespace with the devices d0 and d1, which have addresses, and their far ends p0 and p1.
    pub(crate) fn start(options: FollowOptions) -> Self {
        let mut rig = Self::prepare(options);
        rig.follow();
        rig
    }

    pub(crate) fn prepare(options: FollowOptions) -> Self {
        let namespace = Namespace::new("mirror");
        let rig = Self { namespace, options, follower: None, told: Arc::default() };
        rig.batch(&[
            "link add d0 type veth peer name p0",
            "link add d1 type veth peer name p1",
            "link set d0 up",
            "link set p0 up",
            "link set d1 up",
            "link set p1 up",
            "addr add 10.0.0.1/24 dev d0",
            "addr add 10.0.1.1/24 dev d1",
            "addr add fd00::1/64 dev d0 nodad",
            "addr add fd01::1/64 dev d1 nodad",
        ]);
        wait_until("all have a carrier", || {
            (rig.namespace.ip("link").matches("state UP").count() == 4).then_some(())
        });
        rig
    }

    pub(crate) fn follow(&mut self) {
        self.stop();
        *self.told() = Told::default();
        let told = Arc::clone(&self.told);
        let tell = move |changes: Vec<KernelChange>| {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            told.batches.push(changes.len());
            for change in changes {
                let known = &mut told.known;
                let applied = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| known.apply(change)));
                if let Err(panic) = applied {
                    let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                    told.fault.get_or_insert(text);
                }
            }
        };
        let options = self.options.clone();
        let follower = self.namespace.run(|| KernelFollower::start(options, tell)).expect("it starts");
        self.follower = Some(follower);
    }

    pub(crate) fn stop(&mut self) {
        self.follower = None;
    }

    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn dumps(&self) -> u64 {
        self.follower.as_ref().map_or(0, KernelFollower::dumps)
    }

    /// Runs `ip` with these lines; those that the kernel refuses are passed over.
    pub(crate) fn batch<T: AsRef<str>>(&self, lines: &[T]) {
        let file = tempfile::NamedTempFile::new().expect("a file can be made");
        let text: String = lines.iter().flat_map(|line| [line.as_ref(), "\n"]).collect();
        std::fs::write(file.path(), text).expect("it can be written");
        let path = file.path().to_string_lossy().into_owned();
        let output = self.namespace.output("ip", &["-force", "-batch", &path]);
        if lines.len() == 1 {
            assert!(output.status.success(), "{}: {output:?}", lines[0].as_ref());
        }
    }

    /// Waits until what was told is what `ip` shows.
    pub(crate) fn compare(&self, step: &str) {
        let deadline = std::time::Instant::now() + e2e::DEADLINE;
        loop {
            let shown = self.shown();
            let (told, fault) = {
                let told = self.told();
                (told.known.clone(), told.fault.clone())
            };
            assert_eq!(fault, None, "{step}");
            if told == shown {
                return;
            }
            let late = std::time::Instant::now() > deadline;
            assert!(!late, "{step}: {:#?}", told.difference(&shown));
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    pub(crate) fn await_routes(
        &self,
        what: &str,
        enough: impl Fn(&BTreeMap<KernelRouteKey, KernelRouteKind>) -> bool,
    ) {
        wait_until(what, || enough(&self.told().known.routes).then_some(()));
    }

    /// What `ip` shows.
    pub(crate) fn shown(&self) -> Known {
        let mut known = Known::default();
        let mut indexes = BTreeMap::new();
        for link in self.json("addr show") {
            let index = number(&link["ifindex"]);
            indexes.insert(text(&link["ifname"]), index);
            let link = read_link(&link, index, &mut known.addresses);
            known.links.insert(index, link);
        }
        let mut slots = BTreeSet::new();
        for route in self.json("-d -N route show table all") {
            let Some((key, kind)) = read_route(&route, &indexes, &self.options) else { continue };
            // The first of its slot that lives.
            if slots.insert((key.table, key.prefix, key.metric)) {
                known.routes.extend(kind.map(|kind| (key, kind)));
            }
        }
        for neighbor in self.json("neigh show nud permanent") {
            let index = indexes[&text(&neighbor["dev"])];
            let address = text(&neighbor["dst"]).parse().expect("an address");
            known.neighbors.insert((index, address), text(&neighbor["lladdr"]).parse().expect("a MAC"));
        }
        known
    }

    fn json(&self, what: &str) -> Vec<Value> {
        let text = self.namespace.ip(&format!("-j {what}"));
        if text.trim().is_empty() { Vec::new() } else { serde_json::from_str(&text).expect("an array") }
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn number(value: &Value) -> u32 {
    u32::try_from(value.as_u64().expect("a number")).expect("of 32 bits")
}

fn has(value: &Value, flag: &str) -> bool {
    value["flags"].as_array().expect("flags").iter().any(|of| of == flag)
}

fn read_link(link: &Value, index: u32, addresses: &mut BTreeSet<(u32, IpNet)>) -> KernelLink {
    for address in link["addr_info"].as_array().expect("addresses") {
        let is = |what: &str| address[what] == true;
        if (is("tentative") && !is("optimistic")) || is("dadfailed") {
            continue;
        }
        let own: IpAddr = text(&address["local"]).parse().expect("an address");
        let length = u8::try_from(number(&address["prefixlen"])).expect("a length");
        let is_alone = address["address"].is_null();
        let net = if is_alone { IpNet::new(own, length).expect("a network") } else { IpNet::from(own) };
        addresses.insert((index, net));
    }
    let mac: Option<MacAddress> = link["address"].as_str().and_then(|mac| mac.parse().ok());
    KernelLink {
        index,
        name: text(&link["ifname"]),
        mac: mac.filter(|mac| *mac != MacAddress::ZERO),
        mtu_bytes: number(&link["mtu"]),
        is_running: has(link, "UP") && !has(link, "NO-CARRIER"),
    }
}

/// `None`: it does not count. A kind of `None`: it counts, but not for a router.
fn read_route(
    route: &Value,
    indexes: &BTreeMap<String, u32>,
    options: &FollowOptions,
) -> Option<(KernelRouteKey, Option<KernelRouteKind>)> {
    let read = |what: &str| text(&route[what]).parse::<u32>().expect("a number");
    let (table, protocol) = (read("table"), u8::try_from(read("protocol")).expect("a protocol"));
    let is_table = if options.tables.is_empty() { table != 255 } else { options.tables.contains(&table) };
    let is_protocol = options.protocols.is_empty() || options.protocols.contains(&protocol);
    if !is_table || !is_protocol || !route["tos"].is_null() {
        return None;
    }
    let hops = read_hops(route, indexes);
    let kind = match read("type") {
        1 if hops.is_empty() => return None,
        1 => Some(KernelRouteKind::Hops(hops)),
        6 => Some(KernelRouteKind::Blackhole),
        8 => Some(KernelRouteKind::Prohibit),
        7 | 9 => Some(KernelRouteKind::Unreachable),
        _ => None,
    };
    let gateway_is_ipv6 = route["gateway"].as_str().is_some_and(|gateway| gateway.contains(':'));
    let prefix = match text(&route["dst"]) {
        all if all == "default" => default_route(route, gateway_is_ipv6),
        host if !host.contains('/') => IpNet::from(host.parse::<IpAddr>().expect("an address")),
        net => net.parse().expect("a network"),
    };
    let metric = route["metric"].as_u64().map_or(0, |_| number(&route["metric"]));
    Some((KernelRouteKey { table, protocol, prefix, metric }, kind))
}

/// `ip` does not say of which family it is, but shows a preference for IPv6 alone.
fn default_route(route: &Value, gateway_is_ipv6: bool) -> IpNet {
    let is_ipv6 = gateway_is_ipv6 || !route["pref"].is_null();
    if is_ipv6 { "::/0" } else { "0.0.0.0/0" }.parse().expect("a network")
}

fn read_hops(route: &Value, indexes: &BTreeMap<String, u32>) -> Vec<KernelHop> {
    let alone = [route.clone()];
    let hops = route["nexthops"].as_array().map_or(&alone[..], Vec::as_slice);
    let alive = hops.iter().filter(|hop| !has(hop, "dead") && !has(hop, "linkdown") && !hop["dev"].is_null());
    let mut hops: Vec<_> = alive
        .map(|hop| {
            let weight = hop["weight"].as_u64().map_or(1, |weight| u8::try_from(weight).unwrap_or(u8::MAX));
            if !hop["via"].is_null() || !hop["encap"].is_null() {
                return KernelHop { index: KernelHop::KERNEL_ONLY, gateway: None, weight };
            }
            let gateway = hop["gateway"].as_str().map(|gateway| gateway.parse().expect("an address"));
            KernelHop { index: indexes[&text(&hop["dev"])], gateway, weight }
        })
        .collect();
    hops.sort_unstable();
    if let [only] = &mut hops[..] {
        only.weight = 1;
    }
    hops
}
