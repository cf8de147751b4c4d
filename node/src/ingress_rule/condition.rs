//! What a packet has to be to be ours, in the expressions of nf_tables.
//!
//! An expression writes a register, compares one, counts, or gives a verdict; a comparison that fails ends the
//! rule, so that a packet of the host's own costs at most three loads and comparisons a rule. `nft list table netdev
//! flyover` shows the rules in words.

use std::net::IpAddr;

use ipnet::IpNet;

use super::message::Attributes;

/// `NFT_META_IIFTYPE`, and what it is of an Ethernet device: `ARPHRD_ETHER`.
const DEVICE_TYPE: u32 = 8;
const ETHERNET: u16 = 1;

/// The only register that is needed (`NFT_REG_1`: 16 bytes), and that of the verdict.
const REGISTER: u32 = 1;
const VERDICT_REGISTER: u32 = 0;
/// `NF_DROP`.
const DROP: u32 = 0;

/// `NFTA_LIST_ELEM`, `NFTA_EXPR_NAME`, `NFTA_EXPR_DATA`.
const ELEMENT: u16 = 1;
const NAME: u16 = 1;
const DATA: u16 = 2;
/// `NFTA_DATA_VALUE`, `NFTA_DATA_VERDICT`.
const VALUE: u16 = 1;
const VERDICT: u16 = 2;

/// Of `linux/netfilter/nf_tables.h`, what a payload is counted from: `NFT_PAYLOAD_…_HEADER`.
const LINK_LAYER: u32 = 0;
const NETWORK: u32 = 1;
/// `NFT_CMP_EQ`, `NFT_CMP_NEQ`.
const EQUAL: u32 = 0;
const UNEQUAL: u32 = 1;

/// Something that holds of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Condition {
    /// The device has Ethernet frames. Where an EtherType is asked for, `nft` takes this for granted.
    OnEthernet,
    /// The EtherType behind the addresses. A tagged frame has that of its tag, also where the device has
    /// taken the tag out of the bytes.
    EtherType(u16),
    /// The destination lies in a network; of a packet whose EtherType says that it has such a destination.
    To(IpNet),
    /// The destination is another one than this.
    NotTo(IpAddr),
}

/// The expressions of a rule that drops, and counts, the packets of which all of `conditions` hold.
pub(super) fn drop_if_all(conditions: &[Condition]) -> Attributes {
    let mut expressions = Attributes::default();
    for condition in conditions {
        expressions = condition.append_to(expressions);
    }
    let none = [0; 8];
    let counter = Attributes::default().bytes(1, &none).bytes(2, &none);
    let verdict = Attributes::default().nested(VERDICT, &Attributes::default().number(1, DROP));
    let drop = Attributes::default().number(1, VERDICT_REGISTER).nested(2, &verdict);
    expression(expression(expressions, "counter", &counter), "immediate", &drop)
}

impl Condition {
    fn append_to(self, expressions: Attributes) -> Attributes {
        match self {
            Self::OnEthernet => {
                let meta = Attributes::default().number(1, REGISTER).number(2, DEVICE_TYPE);
                compare(expression(expressions, "meta", &meta), EQUAL, &ETHERNET.to_ne_bytes())
            }
            Self::EtherType(ethertype) => {
                let expressions = load(expressions, LINK_LAYER, 12, 2);
                compare(expressions, EQUAL, &ethertype.to_be_bytes())
            }
            Self::To(network) => to(expressions, network),
            Self::NotTo(address) => {
                let octets = octets(address);
                let expressions = load(expressions, NETWORK, destination_offset(address), octets.len());
                compare(expressions, UNEQUAL, &octets)
            }
        }
    }
}

/// Whole bytes are compared as they stand; if the prefix ends within a byte, the address behind a mask.
fn to(expressions: Attributes, network: IpNet) -> Attributes {
    let (address, mask) = (octets(network.network()), octets(network.netmask()));
    let offset = destination_offset(network.addr());
    let prefix_bytes = usize::from(network.prefix_len() / 8);
    match (prefix_bytes, network.prefix_len() % 8) {
        (0, 0) => expressions,
        (bytes, 0) => compare(load(expressions, NETWORK, offset, bytes), EQUAL, &address[..bytes]),
        _ => {
            let loaded = load(expressions, NETWORK, offset, address.len());
            compare(masked(loaded, &mask), EQUAL, &address)
        }
    }
}

/// Bytes of a header into the register (`NFTA_PAYLOAD_…`).
fn load(expressions: Attributes, base: u32, offset: u32, bytes: usize) -> Attributes {
    let payload = Attributes::default()
        .number(1, REGISTER)
        .number(2, base)
        .number(3, offset)
        .number(4, length_of(bytes));
    expression(expressions, "payload", &payload)
}

/// The register and a mask (`NFTA_BITWISE_…`).
fn masked(expressions: Attributes, mask: &[u8]) -> Attributes {
    let zeros = vec![0; mask.len()];
    let bitwise = Attributes::default()
        .number(1, REGISTER)
        .number(2, REGISTER)
        .number(3, length_of(mask.len()))
        .nested(4, &Attributes::default().bytes(VALUE, mask))
        .nested(5, &Attributes::default().bytes(VALUE, &zeros));
    expression(expressions, "bitwise", &bitwise)
}

/// Goes on if the register is, or is not, a value (`NFTA_CMP_…`).
fn compare(expressions: Attributes, relation: u32, value: &[u8]) -> Attributes {
    let comparison = Attributes::default()
        .number(1, REGISTER)
        .number(2, relation)
        .nested(3, &Attributes::default().bytes(VALUE, value));
    expression(expressions, "cmp", &comparison)
}

fn expression(list: Attributes, name: &str, data: &Attributes) -> Attributes {
    list.nested(ELEMENT, &Attributes::default().text(NAME, name).nested(DATA, data))
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Where the destination stands in an IP header (RFC 791 §3.1, RFC 8200 §3).
fn destination_offset(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 16,
        IpAddr::V6(_) => 24,
    }
}

fn length_of(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    /// One expression as it goes over the wire.
    fn golden(name: &[u8], data: &[u8]) -> Vec<u8> {
        let name_length = u8::try_from(4 + name.len()).unwrap();
        let mut inner = [&[name_length, 0, 1, 0], name].concat();
        inner.resize(inner.len().next_multiple_of(4), 0);
        inner.extend([u8::try_from(4 + data.len()).unwrap(), 0, 2, 0x80]);
        inner.extend(data);
        [&[u8::try_from(4 + inner.len()).unwrap(), 0, 1, 0x80], &inner[..]].concat()
    }

    fn golden_load(base: u8, offset: u8, bytes: u8) -> Vec<u8> {
        let words = [(1, 1), (2, base), (3, offset), (4, bytes)];
        golden(b"payload\0", &words.map(|(kind, value)| [8, 0, kind, 0, 0, 0, 0, value]).concat())
    }

    fn golden_compare(relation: u8, value: &[u8]) -> Vec<u8> {
        let value_length = u8::try_from(4 + value.len()).unwrap();
        let padded = value.len().next_multiple_of(4);
        let mut data = [[8, 0, 1, 0, 0, 0, 0, 1], [8, 0, 2, 0, 0, 0, 0, relation]].concat();
        data.extend([u8::try_from(8 + padded).unwrap(), 0, 3, 0x80, value_length, 0, 1, 0]);
        data.extend(value);
        data.resize(24 + padded, 0);
        golden(b"cmp\0", &data)
    }

    fn bytes_of(conditions: &[Condition]) -> Vec<u8> {
        let all = drop_if_all(conditions).as_bytes().to_vec();
        let end = drop_if_all(&[]).as_bytes().len();
        all[..all.len() - end].to_vec()
    }

    #[test]
    fn an_ethertype_is_compared_where_the_frame_has_it() {
        let expected = [golden_load(0, 12, 2), golden_compare(0, &[0x86, 0xdd])].concat();
        assert_eq!(bytes_of(&[Condition::EtherType(0x86dd)]), expected);
    }

    #[test]
    fn the_device_s_type_is_compared_in_the_machine_s_order() {
        let meta = golden(b"meta\0", &[8, 0, 1, 0, 0, 0, 0, 1, 8, 0, 2, 0, 0, 0, 0, 8]);
        assert_eq!(bytes_of(&[Condition::OnEthernet]), [meta, golden_compare(0, &[1, 0])].concat());
    }

    #[test]
    fn of_a_prefix_of_whole_bytes_only_those_are_compared() {
        let expected = [golden_load(1, 16, 3), golden_compare(0, &[10, 244, 1])].concat();
        assert_eq!(bytes_of(&[Condition::To("10.244.1.9/24".parse().unwrap())]), expected);
        let expected = [golden_load(1, 24, 2), golden_compare(0, &[0xfd, 0])].concat();
        assert_eq!(bytes_of(&[Condition::To("fd00::/16".parse().unwrap())]), expected);
        assert!(bytes_of(&[Condition::To("0.0.0.0/0".parse().unwrap())]).is_empty());
    }

    #[test]
    fn a_prefix_that_ends_within_a_byte_is_compared_behind_its_mask() {
        let words = [(1, 1), (2, 1), (3, 4)].map(|(kind, value)| [8, 0, kind, 0, 0, 0, 0, value]);
        let mask = [12, 0, 4, 0x80, 8, 0, 1, 0, 255, 255, 252, 0];
        let zeros = [12, 0, 5, 0x80, 8, 0, 1, 0, 0, 0, 0, 0];
        let bitwise = golden(b"bitwise\0", &[&words.concat()[..], &mask, &zeros].concat());
        let expected = [golden_load(1, 16, 4), bitwise, golden_compare(0, &[10, 244, 4, 0])].concat();
        assert_eq!(bytes_of(&[Condition::To("10.244.7.1/22".parse().unwrap())]), expected);
    }

    #[test]
    fn what_is_excepted_is_compared_whole() {
        let expected = [golden_load(1, 16, 4), golden_compare(1, &[10, 244, 1, 1])].concat();
        assert_eq!(bytes_of(&[Condition::NotTo("10.244.1.1".parse().unwrap())]), expected);
    }

    #[test]
    fn a_rule_ends_by_counting_and_dropping() {
        let zeros = [[12, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0], [12, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0]];
        let verdict = [16, 0, 2, 0x80, 12, 0, 2, 0x80, 8, 0, 1, 0, 0, 0, 0, 0];
        let drop = [&[8, 0, 1, 0, 0, 0, 0, 0][..], &verdict].concat();
        let expected = [golden(b"counter\0", &zeros.concat()), golden(b"immediate\0", &drop)].concat();
        assert_eq!(drop_if_all(&[]).as_bytes(), expected);
    }
}
