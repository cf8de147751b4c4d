//! Values that the file spells as text.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use packet::MacAddress;

/// Serde for `Option<MacAddress>` as text such as `02:00:00:00:00:11`.
pub(crate) mod mac_option {
    use super::{Deserialize, Deserializer, MacAddress, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(mac: &Option<MacAddress>, to: S) -> Result<S::Ok, S::Error> {
        match mac {
            Some(mac) => to.collect_str(mac),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<MacAddress>, D::Error> {
        Option::<String>::deserialize(from)?
            .map(|text| {
                text.parse().map_err(|error| de::Error::custom(format_args!("\"{text}\" is {error}")))
            })
            .transpose()
    }
}

/// Serde for `MacAddress` as text.
pub(crate) mod mac {
    use super::{Deserialize, Deserializer, MacAddress, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(mac: &MacAddress, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(mac)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<MacAddress, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(|error| de::Error::custom(format_args!("\"{text}\" is {error}")))
    }
}

/// Text that stands for a value of `T`; the message quotes it.
fn parse_quoted<'de, T, D>(text: &str, expected: &str) -> Result<T, D::Error>
where
    T: FromStr,
    D: Deserializer<'de>,
{
    text.parse().map_err(|_| de::Error::custom(format_args!("\"{text}\" is not {expected}")))
}

/// Serde for a list of networks or of addresses with their prefix length.
pub(crate) mod networks {
    use super::{Deserialize, Deserializer, parse_quoted};
    use ipnet::IpNet;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
        Vec::<String>::deserialize(from)?
            .iter()
            .map(|text| parse_quoted::<_, D>(text, "an address with a prefix length, such as 10.244.1.0/24"))
            .collect()
    }
}

/// Serde for one network.
pub(crate) mod network {
    use super::{Deserialize, Deserializer, parse_quoted};
    use ipnet::IpNet;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<IpNet, D::Error> {
        let text = String::deserialize(from)?;
        parse_quoted::<_, D>(&text, "a network, such as 10.244.2.0/24")
    }
}

/// Serde for the destinations of a route: a network, or one address.
pub(crate) mod destination {
    use super::{Deserialize, Deserializer, parse_quoted};
    use ipnet::IpNet;
    use std::net::IpAddr;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<IpNet, D::Error> {
        let text = String::deserialize(from)?;
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(address.into());
        }
        parse_quoted::<_, D>(&text, "a network or an address, such as 10.244.2.0/24")
    }
}

/// Serde for one address.
pub(crate) mod address {
    use super::{Deserialize, Deserializer, parse_quoted};
    use std::net::IpAddr;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<IpAddr, D::Error> {
        let text = String::deserialize(from)?;
        parse_quoted::<_, D>(&text, "an IP address, such as 192.168.0.12")
    }
}

/// A range of transport ports, both ends included, written `40000-59999`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortRange {
    /// First port.
    pub first: u16,
    /// Last port, not below the first.
    pub last: u16,
}

impl FromStr for PortRange {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (first, last) = text.split_once('-').ok_or(())?;
        let (first, last) = (first.trim().parse().map_err(|_| ())?, last.trim().parse().map_err(|_| ())?);
        if first == 0 || first > last { Err(()) } else { Ok(Self { first, last }) }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl<'de> Deserialize<'de> for PortRange {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        parse_quoted::<_, D>(&text, "a range of ports, such as 40000-59999")
    }
}

impl Serialize for PortRange {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}
