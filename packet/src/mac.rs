//! IEEE 802 MAC addresses (EUI-48).

use std::fmt;
use std::str::FromStr;

/// A 48-bit MAC address in transmission order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// ff:ff:ff:ff:ff:ff.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// 00:00:00:00:00:00, never a valid source.
    pub const ZERO: Self = Self([0; 6]);

    /// True for multicast and broadcast: the I/G bit is set (IEEE 802-2014 §8.2).
    #[must_use]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// True for ff:ff:ff:ff:ff:ff.
    #[must_use]
    pub const fn is_broadcast(self) -> bool {
        self.to_u64() == 0xffff_ffff_ffff
    }

    /// True for the all-zero address.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.to_u64() == 0
    }

    /// True for 01-80-C2-00-00-00 to 0F, which no bridge relays (IEEE 802.1Q-2018 table 8-1).
    #[must_use]
    pub const fn is_reserved_group(self) -> bool {
        self.to_u64() & 0xffff_ffff_fff0 == 0x0180_c200_0000
    }

    /// The address as the low 48 bits of an integer, first byte most significant.
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// The address in the low 48 bits of `value`; the upper 16 are ignored.
    #[must_use]
    pub const fn from_u64(value: u64) -> Self {
        let [_, _, a, b, c, d, e, f] = value.to_be_bytes();
        Self([a, b, c, d, e, f])
    }

    /// The first six bytes of `bytes` at `offset`, or `None` if they are not all there.
    #[must_use]
    pub fn read(bytes: &[u8], offset: usize) -> Option<Self> {
        let octets = bytes.get(offset..offset.checked_add(6)?)?;
        octets.try_into().ok().map(Self)
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not six two-digit hexadecimal numbers with colons between them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a MAC address: six hexadecimal pairs with colons are expected, such as 02:00:00:00:00:11")]
pub struct ParseMacError;

impl FromStr for MacAddress {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, ParseMacError> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().ok_or(ParseMacError)?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(ParseMacError);
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| ParseMacError)?;
        }
        if parts.next().is_some() { Err(ParseMacError) } else { Ok(Self(octets)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_address_agree_both_ways() {
        let mac: MacAddress = "02:00:5e:aB:00:11".parse().unwrap();
        assert_eq!(mac, MacAddress([0x02, 0, 0x5e, 0xab, 0, 0x11]));
        assert_eq!(mac.to_string(), "02:00:5e:ab:00:11");
        assert_eq!(MacAddress::from_u64(mac.to_u64()), mac);
    }

    #[test]
    fn malformed_text_is_refused() {
        for text in [
            "",
            "02:00:00:00:00",
            "02:00:00:00:00:11:22",
            "2:0:0:0:0:1",
            "02-00-00-00-00-11",
            "+2:00:00:00:00:11",
        ] {
            assert_eq!(text.parse::<MacAddress>(), Err(ParseMacError), "{text}");
        }
    }

    #[test]
    fn only_the_sixteen_reserved_groups_are_reserved() {
        assert!(MacAddress([1, 0x80, 0xc2, 0, 0, 0]).is_reserved_group());
        assert!(MacAddress([1, 0x80, 0xc2, 0, 0, 0x0f]).is_reserved_group());
        assert!(!MacAddress([1, 0x80, 0xc2, 0, 0, 0x10]).is_reserved_group());
        assert!(!MacAddress::BROADCAST.is_reserved_group());
    }
}
