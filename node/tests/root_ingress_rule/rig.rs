//! A node, somebody outside, and a wire between them.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use e2e::{Namespace, wait_until};
use node::ingress_rule::{self, IngressRule, IngressRuleError, Installed};
use packet::MacAddress;

/// How long nothing must come for it to count as nothing.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);
pub(crate) const NODE: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
pub(crate) const OUTSIDE: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);

/// A node whose kernel has all addresses that its packets may go to, the pods' included: what reaches its stack
/// is answered by it. Outside, somebody who sends to them.
pub(crate) struct Rig {
    pub(crate) node: Namespace,
    pub(crate) outside: Namespace,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let rig = Self { node: Namespace::new("node"), outside: Namespace::new("outside") };
        rig.wire();
        let node = &rig.node;
        node.ip("link add pods type bridge");
        node.ip("link set pods up");
        for address in ["10.244.1.1/24", "10.244.1.5/24", "10.244.9.5/24", "fd00:1::1/64", "fd00:1::5/64"] {
            node.ip(&format!("addr add {address} dev pods nodad"));
        }
        rig.await_answers(&["fd00:1::1", "fd00:1::5"]);
        rig
    }

    /// A link comes up, and an IPv6 address into use, some time after the command that asked for it.
    pub(crate) fn await_answers(&self, addresses: &[&str]) {
        for address in addresses {
            wait_until("the node is reached", || self.answers(address).then_some(()));
        }
    }

    pub(crate) fn wire(&self) {
        let Self { node, outside } = self;
        node.ip(&format!("link add up0 address {NODE} type veth peer name eth0 netns {}", outside.name()));
        node.ip("addr add 10.0.0.1/24 dev up0");
        node.ip("addr add fd00::1/64 dev up0 nodad");
        node.ip("link set up0 up");
        outside.ip(&format!("link set eth0 address {OUTSIDE}"));
        outside.ip("addr add 10.0.0.2/24 dev eth0");
        outside.ip("addr add fd00::2/64 dev eth0 nodad");
        outside.ip("link set eth0 up");
        for route in ["10.244.0.0/16 via 10.0.0.1", "fd00:1::/64 via fd00::1"] {
            outside.ip(&format!("route add {route}"));
        }
        self.await_answers(&["10.0.0.1", "fd00::1"]);
    }

    pub(crate) fn install(&self, rule: &IngressRule) -> Result<Installed, IngressRuleError> {
        self.node.run(|| rule.install())
    }

    pub(crate) fn is_present(&self, rule: &IngressRule) -> bool {
        self.node.run(|| rule.is_present()).expect("it can be looked for")
    }

    pub(crate) fn remove(&self) -> bool {
        self.node.run(ingress_rule::remove).expect("it can be removed")
    }

    /// What `nft` shows; `arguments` are separated by spaces.
    pub(crate) fn nft(&self, arguments: &str) -> String {
        let arguments: Vec<_> = arguments.split_whitespace().collect();
        let output = self.node.output("nft", &arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Whether the node's kernel answers a connection attempt to `address`, be it by a refusal.
    pub(crate) fn answers(&self, address: &str) -> bool {
        let to = SocketAddr::new(address.parse().expect("an address"), 7);
        let outcome = self.outside.run(|| TcpStream::connect_timeout(&to, SILENCE));
        match outcome.map_err(|error| error.kind()) {
            Ok(_) | Err(std::io::ErrorKind::ConnectionRefused) => true,
            Err(std::io::ErrorKind::TimedOut) => false,
            Err(other) => panic!("{address}: {other}"),
        }
    }
}

pub(crate) fn rule<T: AsRef<str>>(ours: &[T], except: &[T]) -> IngressRule {
    IngressRule {
        device: "up0".to_owned(),
        ours: ours.iter().map(|network| network.as_ref().parse().expect("a network")).collect(),
        except: except.iter().map(|address| address.as_ref().parse().expect("an address")).collect(),
    }
}

pub(crate) fn pods() -> IngressRule {
    rule(&["10.244.1.0/24", "fd00:1::/64"], &["10.244.1.1", "fd00:1::1"])
}
