//! Who gave a route to the kernel (`rtm_protocol`), by the names that iproute2 prints.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The kernel's main table (`RT_TABLE_MAIN`).
pub const MAIN_TABLE: u32 = 254;

/// Names of `/etc/iproute2/rt_protos`, as iproute2 comes with them.
const NAMES: &[(u8, &str)] = &[
    (1, "redirect"),
    (2, "kernel"),
    (3, "boot"),
    (4, "static"),
    (8, "gated"),
    (9, "ra"),
    (10, "mrt"),
    (11, "zebra"),
    (12, "bird"),
    (13, "dnrouted"),
    (14, "xorp"),
    (15, "ntk"),
    (16, "dhcp"),
    (17, "mrouted"),
    (18, "keepalived"),
    (42, "babel"),
    (84, "ovn"),
    (99, "openr"),
    (186, "bgp"),
    (187, "isis"),
    (188, "ospf"),
    (189, "rip"),
    (192, "eigrp"),
];

/// A routing protocol of the kernel's routes: its number, shown by its name if it has one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Protocol(pub u8);

impl Protocol {
    /// Routes that the kernel made itself, of the addresses of its devices.
    pub const KERNEL: Self = Self(2);
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => f.pad(name),
            None => self.0.fmt(f),
        }
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = NAMES.iter().find(|(_, name)| *name == text).map(|(number, _)| *number);
        named.or_else(|| text.parse().ok()).map(Self).ok_or_else(|| {
            format!("\"{text}\" is not a routing protocol, such as bird, bgp or a number up to 255")
        })
    }
}

impl Serialize for Protocol {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Protocol {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct NameOrNumber;
        impl de::Visitor<'_> for NameOrNumber {
            type Value = Protocol;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name or the number of a routing protocol, such as bird")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Protocol, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Protocol, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Protocol, E> {
                self.visit_str(&number.to_string())
            }
        }
        from.deserialize_any(NameOrNumber)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_mean_the_same() {
        for (number, name) in NAMES {
            assert_eq!(name.parse(), Ok(Protocol(*number)));
            assert_eq!(number.to_string().parse(), Ok(Protocol(*number)));
            assert_eq!(Protocol(*number).to_string(), *name);
        }
        assert_eq!(Protocol(77).to_string(), "77");
        assert_eq!(
            serde_json::from_str::<Vec<Protocol>>("[12, \"12\", \"bird\"]").unwrap(),
            [Protocol(12); 3]
        );
        assert!("256".parse::<Protocol>().is_err() && "brid".parse::<Protocol>().is_err());
    }
}
