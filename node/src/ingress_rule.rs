//! The rule that keeps our packets from the kernel's stack.
//!
//! On the uplink the kernel hears every frame that flyover hears (see [`port::packet_socket`]), and would
//! forward, answer or refuse what flyover routes. nftables drops such packets for it at the device's ingress,
//! which stands behind the packet sockets, so that they hear them all the same. What is dropped is one table of
//! the family `netdev`, named [`TABLE`], with one chain on the device; it is the product's own: whatever was in
//! a table of this name is replaced. Other tables are left alone.
//!
//! A rule names a network; packets to it are dropped, but for those to the addresses that are the node's own.
//! Everything else goes on to the kernel, and so do frames with a VLAN tag: they belong to a device upon the
//! uplink (those of VLAN 0, which have no more than a priority, the kernel forwards as it would without us). A
//! table is replaced in one transaction: at no instant is none of them in force.
//!
//! The rule outlives the process: after a crash the kernel goes on leaving our packets alone, and the next
//! process replaces the rule. A device that is removed takes the rule along; since Linux 6.16 the kernel puts
//! it on the next device of that name, before that it is to be [installed](IngressRule::install) anew. Somebody
//! else may remove it (`nft flush ruleset`), so it is to be [looked for](IngressRule::is_present) from time to
//! time.
//!
//! All of this concerns the network namespace of the calling thread, and needs `CAP_NET_ADMIN` there.

mod condition;
mod message;
mod netfilter;

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use condition::{Condition, drop_if_all};
use message::{Attributes, Operation, Request, attribute};
use netfilter::Netfilter;

/// Name of the table, of the family `netdev`.
pub const TABLE: &str = "flyover";
/// Networks that a rule takes: every packet of the host's own is compared with each.
pub const NETWORKS_MAX: usize = 64;
/// Excepted addresses that a rule takes (of one network the kernel would take a few more: it has 128 expressions
/// for it, `NFT_RULE_MAXEXPRS`).
pub const EXCEPTIONS_MAX: usize = 48;

const CHAIN: &str = "uplink";
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// What the kernel's stack is not to see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IngressRule {
    /// The device that the packets come by.
    pub device: String,
    /// Destinations of packets that are ours; at most [`NETWORKS_MAX`].
    pub ours: Vec<IpNet>,
    /// Destinations within them that are the kernel's all the same: the node's own addresses, such as the
    /// gateway's. Addresses outside the networks are left out; at most [`EXCEPTIONS_MAX`] count.
    pub except: Vec<IpAddr>,
}

/// What [`IngressRule::install`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Installed {
    /// There was no rule.
    Anew,
    /// A rule of ours was there, such as one that a killed process left; it was replaced.
    InPlaceOfAFormer,
}

/// Why the rule cannot be installed, removed or looked for.
#[derive(Debug, thiserror::Error)]
pub enum IngressRuleError {
    /// The device is not there (yet).
    #[error("there is no device {device} to keep the kernel's stack from our packets on")]
    NoDevice {
        /// The name.
        device: String,
    },
    /// The process lacks a right.
    #[error("CAP_NET_ADMIN is missing: it is needed to {action}")]
    MissingCapability {
        /// What was tried.
        action: &'static str,
    },
    /// The kernel has no nftables for devices, or not all that the rule is made of.
    #[error(
        "cannot {action}: this kernel lacks nftables at the ingress of devices (CONFIG_NF_TABLES_NETDEV, \
         CONFIG_NETFILTER_INGRESS; module nf_tables): {source}"
    )]
    Unsupported {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// More networks or exceptions than a rule takes.
    #[error("{count} {what} are too many for the ingress rule on {device}, which takes {limit}")]
    TooMany {
        /// How many there are.
        count: usize,
        /// Of what.
        what: &'static str,
        /// The device's name.
        device: String,
        /// How many would do.
        limit: usize,
    },
    /// Anything else that the kernel says.
    #[error("cannot {action}: {source}")]
    Failed {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl IngressRule {
    /// Puts the rule in force, in the place of a former one, whatever its device and networks. A packet that
    /// both keep from the kernel is kept from it all the while.
    ///
    /// # Errors
    /// See [`IngressRuleError`]; nothing has changed then.
    pub fn install(&self) -> Result<Installed, IngressRuleError> {
        const ACTION: &str = "install the ingress rule";
        self.check()?;
        let mut netfilter = open(ACTION)?;
        let former = match netfilter.ask(&request(Operation::GetTable, table())) {
            Ok(_) => Installed::InPlaceOfAFormer,
            Err(Errno::NOENT) => Installed::Anew,
            Err(errno) => return Err(refused(ACTION, errno)),
        };
        match netfilter.commit(&self.requests()) {
            Ok(()) => Ok(former),
            // It may have gone since it was looked for; an older kernel says so here.
            Err(_) if !is_there(&self.device) => Err(self.no_device()),
            Err(errno) => Err(refused(ACTION, errno)),
        }
    }

    /// True if exactly this rule is in force: its device is there, and all of the rule is on it.
    ///
    /// # Errors
    /// As [`install`](Self::install), except that a device that is not there is `Ok(false)`.
    pub fn is_present(&self) -> Result<bool, IngressRuleError> {
        const ACTION: &str = "look for the ingress rule";
        let mut netfilter = open(ACTION)?;
        let chain = match netfilter.ask(&request(Operation::GetChain, named_chain(NAME_OF_CHAIN))) {
            Ok(shown) => shown,
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(refused(ACTION, errno)),
        };
        let hook = chain.first().and_then(|chain| attribute(chain, HOOK));
        let device = hook.and_then(|hook| attribute(hook, HOOK_DEVICE));
        if device.map(without_zeros) != Some(self.device.as_bytes()) || !is_there(&self.device) {
            return Ok(false);
        }
        let shown = match netfilter.ask(&request(Operation::GetRules, named_chain(CHAIN_OF_RULE))) {
            Ok(shown) => shown,
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(refused(ACTION, errno)),
        };
        let marks = shown.iter().map(|rule| attribute(rule, USER_DATA).unwrap_or(&[]));
        Ok(marks.eq(self.rules().map(|expressions| mark(&expressions))))
    }

    fn check(&self) -> Result<(), IngressRuleError> {
        let exceptions = self.ours.iter().map(|&network| self.exceptions_in(network).count()).sum();
        let bounds =
            [(self.ours.len(), "networks", NETWORKS_MAX), (exceptions, "exceptions", EXCEPTIONS_MAX)];
        for (count, what, limit) in bounds {
            if count > limit {
                return Err(IngressRuleError::TooMany { count, what, device: self.device.clone(), limit });
            }
        }
        // Since Linux 6.16 the kernel itself would wait for such a device.
        if is_there(&self.device) { Ok(()) } else { Err(self.no_device()) }
    }

    fn no_device(&self) -> IngressRuleError {
        IngressRuleError::NoDevice { device: self.device.clone() }
    }

    fn exceptions_in(&self, network: IpNet) -> impl Iterator<Item = IpAddr> {
        self.except.iter().copied().filter(move |address| network.contains(address))
    }

    /// The transaction. A table that is not there cannot be deleted, so it is made before.
    fn requests(&self) -> Vec<Request> {
        let hook = Attributes::default()
            .number(HOOK_NUMBER, INGRESS)
            .number(HOOK_PRIORITY, PRIORITY)
            .text(HOOK_DEVICE, &self.device);
        let chain =
            named_chain(NAME_OF_CHAIN).nested(HOOK, &hook).number(POLICY, ACCEPT).text(TYPE, "filter");
        let mut requests = vec![
            request(Operation::NewTable, table()),
            request(Operation::DeleteTable, table()),
            request(Operation::NewTable, table()),
            request(Operation::NewChain, chain),
        ];
        requests.extend(self.rules().map(|expressions| {
            let mark = mark(&expressions);
            let rule = named_chain(CHAIN_OF_RULE).nested(EXPRESSIONS, &expressions).bytes(USER_DATA, &mark);
            request(Operation::NewRule, rule)
        }));
        requests
    }

    /// The expressions for each network.
    fn rules(&self) -> impl Iterator<Item = Attributes> {
        self.ours.iter().map(|&network| {
            let ethertype = if network.addr().is_ipv4() { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
            let mut conditions =
                vec![Condition::OnEthernet, Condition::EtherType(ethertype), Condition::To(network)];
            conditions.extend(self.exceptions_in(network).map(Condition::NotTo));
            drop_if_all(&conditions)
        })
    }
}

/// Removes the rule, whatever its device; true if there was one.
///
/// # Errors
/// See [`IngressRuleError`].
pub fn remove() -> Result<bool, IngressRuleError> {
    const ACTION: &str = "remove the ingress rule";
    let outcome = open(ACTION)?.commit(&[request(Operation::DeleteTable, table())]);
    match outcome {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(refused(ACTION, errno)),
    }
}

/// Attributes of a table, a chain, a hook and a rule (`NFTA_…` of `linux/netfilter/nf_tables.h`).
const NAME_OF_TABLE: u16 = 1;
const NAME_OF_CHAIN: u16 = 3;
const HOOK: u16 = 4;
const POLICY: u16 = 5;
const TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const HOOK_DEVICE: u16 = 3;
const CHAIN_OF_RULE: u16 = 2;
const EXPRESSIONS: u16 = 4;
const USER_DATA: u16 = 7;

/// `NF_NETDEV_INGRESS`, `NF_IP_PRI_FILTER`, `NF_ACCEPT`.
const INGRESS: u32 = 0;
const PRIORITY: u32 = 0;
const ACCEPT: u32 = 1;

fn table() -> Attributes {
    Attributes::default().text(NAME_OF_TABLE, TABLE)
}

/// The table and, as the attribute `kind`, the chain.
fn named_chain(kind: u16) -> Attributes {
    table().text(kind, CHAIN)
}

fn request(operation: Operation, attributes: Attributes) -> Request {
    Request { operation, attributes }
}

/// What a rule is recognized by: bytes that the kernel keeps for whoever made the rule. It is a list of kind,
/// length and value: a comment, which `nft` shows, and a hash (64-bit FNV-1a) of the expressions. What the
/// kernel itself makes of these it may show otherwise than they were written.
fn mark(expressions: &Attributes) -> Vec<u8> {
    const COMMENT: u8 = 0; // NFTNL_UDATA_RULE_COMMENT
    const HASH: u8 = 0xf1; // none of nft's
    const TEXT: &[u8; 23] = b"flyover forwards these\0";
    let hash = expressions.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    [&[COMMENT, 23][..], TEXT, &[HASH, 8], &hash.to_be_bytes()].concat()
}

fn without_zeros(name: &[u8]) -> &[u8] {
    name.split(|&byte| byte == 0).next().unwrap_or(name)
}

/// True if there is such a device in the calling thread's namespace.
fn is_there(device: &str) -> bool {
    // Any socket may be asked.
    socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .and_then(|socket| name_to_index(&socket, device))
        .is_ok()
}

fn open(action: &'static str) -> Result<Netfilter, IngressRuleError> {
    Netfilter::open().map_err(|errno| refused(action, errno))
}

fn refused(action: &'static str, errno: Errno) -> IngressRuleError {
    let source = io::Error::from(errno);
    match errno {
        Errno::PERM | Errno::ACCESS => IngressRuleError::MissingCapability { action },
        // No netfilter netlink; no nf_tables in it; no family of devices; no such chain or expression.
        Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT | Errno::OPNOTSUPP | Errno::NOENT => {
            IngressRuleError::Unsupported { action, source }
        }
        _ => IngressRuleError::Failed { action, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(ours: &[&str], except: &[&str]) -> IngressRule {
        IngressRule {
            device: "lo".to_owned(),
            ours: ours.iter().map(|network| network.parse().unwrap()).collect(),
            except: except.iter().map(|address| address.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn a_network_excepts_the_addresses_in_it() {
        let rule = rule(&["10.1.0.0/24", "fd00::/64"], &["10.1.0.1", "10.2.0.1", "fd00::1"]);
        let expected = [
            drop_if_all(&[
                Condition::OnEthernet,
                Condition::EtherType(0x0800),
                Condition::To("10.1.0.0/24".parse().unwrap()),
                Condition::NotTo("10.1.0.1".parse().unwrap()),
            ]),
            drop_if_all(&[
                Condition::OnEthernet,
                Condition::EtherType(0x86dd),
                Condition::To("fd00::/64".parse().unwrap()),
                Condition::NotTo("fd00::1".parse().unwrap()),
            ]),
        ];
        assert!(rule.rules().eq(expected));
    }

    #[test]
    fn the_old_table_goes_and_the_new_one_comes_in_one_batch() {
        let requests = rule(&["10.1.0.0/24", "10.3.0.0/24"], &[]).requests();
        let operations: Vec<_> = requests.iter().map(|request| request.operation).collect();
        let expected = {
            use Operation::{DeleteTable, NewChain, NewRule, NewTable};
            [NewTable, DeleteTable, NewTable, NewChain, NewRule, NewRule]
        };
        assert_eq!(operations, expected);
    }

    #[test]
    fn a_rule_is_recognized_by_what_it_does() {
        let mark_of = |network, except| {
            let rules: Vec<_> = rule(&[network], &[except]).rules().collect();
            mark(&rules[0])
        };
        let same = mark_of("10.1.0.0/24", "10.1.0.1");
        assert_eq!(mark_of("10.1.0.0/24", "10.1.0.1"), same);
        assert_ne!(mark_of("10.1.1.0/24", "10.1.0.1"), same);
        assert_ne!(mark_of("10.1.0.0/24", "10.1.0.2"), same);
        assert!(same.len() <= 256, "NFT_USERDATA_MAXLEN");
    }

    #[test]
    fn what_is_too_much_is_said() {
        let networks: Vec<_> = (0..=NETWORKS_MAX).map(|index| format!("10.1.{index}.0/24")).collect();
        let networks: Vec<_> = networks.iter().map(String::as_str).collect();
        let error = rule(&networks, &[]).install().unwrap_err().to_string();
        assert_eq!(error, "65 networks are too many for the ingress rule on lo, which takes 64");
        let addresses: Vec<_> = (0..=EXCEPTIONS_MAX).map(|index| format!("10.1.0.{index}")).collect();
        let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
        let error = rule(&["10.1.0.0/24"], &addresses).install().unwrap_err().to_string();
        assert_eq!(error, "49 exceptions are too many for the ingress rule on lo, which takes 48");
    }

    #[test]
    fn an_error_says_what_is_missing() {
        let said = |errno| refused("install the ingress rule", errno).to_string();
        assert_eq!(said(Errno::PERM), "CAP_NET_ADMIN is missing: it is needed to install the ingress rule");
        for errno in [Errno::PROTONOSUPPORT, Errno::OPNOTSUPP, Errno::AFNOSUPPORT, Errno::NOENT] {
            let error = said(errno);
            assert!(error.contains("this kernel lacks nftables at the ingress of devices"), "{error}");
        }
        assert!(said(Errno::NOMEM).starts_with("cannot install the ingress rule: "));
    }
}
