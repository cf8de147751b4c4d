//! One entry of the forwarding database as one machine word, so that it is read and replaced whole.

use packet::{MacAddress, PortId};

const MAC_SHIFT: u32 = 16;
const STATIC: u64 = 1 << 15;
const PORT_MASK: u64 = STATIC - 1;

/// A MAC as it stands in a word: in the upper 48 bits, the rest zero.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Key(pub(crate) u64);

impl Key {
    /// Two loads, where `MacAddress::to_u64` comes out as a dozen instructions.
    #[inline]
    pub(crate) const fn new(mac: MacAddress) -> Self {
        let [a, b, c, d, e, f] = mac.0;
        let (upper, lower) = (u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([e, f]));
        Self((upper as u64) << 32 | (lower as u64) << MAC_SHIFT)
    }

    #[inline]
    pub(crate) const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// True for a group address: the I/G bit is the lowest of the first byte.
    #[inline]
    pub(crate) const fn is_group(self) -> bool {
        self.0 & 1 << 56 != 0
    }

    /// True for 01-80-C2-00-00-00 to 0F.
    #[inline]
    pub(crate) const fn is_reserved_group(self) -> bool {
        self.0 >> (MAC_SHIFT + 4) == 0x0018_0c20_0000
    }
}

/// MAC in the upper 48 bits, then one bit for a static entry, then the port in 15. Zero is an empty slot: the
/// zero address is never stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Word(pub(crate) u64);

impl Word {
    pub(crate) const EMPTY: Self = Self(0);

    #[inline]
    pub(crate) const fn learned(key: Key, port: PortId) -> Self {
        Self(key.0 | port.get() as u64)
    }

    #[inline]
    pub(crate) const fn fixed(key: Key, port: PortId) -> Self {
        Self(key.0 | STATIC | port.get() as u64)
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// True for a static entry.
    pub(crate) const fn is_static(self) -> bool {
        self.0 & STATIC != 0
    }

    /// True for an entry that learning made.
    pub(crate) const fn is_learned(self) -> bool {
        !self.is_empty() && !self.is_static()
    }

    pub(crate) const fn mac(self) -> MacAddress {
        MacAddress::from_u64(self.0 >> MAC_SHIFT)
    }

    /// True if the entry is of this address. The zero address would match an empty slot: callers exclude it.
    #[inline]
    pub(crate) const fn is_of(self, key: Key) -> bool {
        self.0 ^ key.0 < 1 << MAC_SHIFT
    }

    /// The port; `None` never occurs, for a word is only made from a [`PortId`].
    pub(crate) fn port(self) -> Option<PortId> {
        u16::try_from(self.0 & PORT_MASK).ok().and_then(PortId::new)
    }

    /// True if the entry is on `port`.
    pub(crate) const fn is_on(self, port: PortId) -> bool {
        self.0 & PORT_MASK == port.get() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use packet::PORTS_MAX;

    #[test]
    fn an_entry_survives_the_way_in_and_out() {
        let last = u16::try_from(PORTS_MAX - 1).unwrap();
        for port in [0, 1, last].map(|index| PortId::new(index).unwrap()) {
            let mac = MacAddress([0xfe, 2, 3, 4, 5, 6]);
            let key = Key::new(mac);
            let learned = Word::learned(key, port);
            assert!(learned.is_learned() && !learned.is_static() && !learned.is_empty());
            assert!(learned.is_of(key) && learned.is_on(port));
            assert_eq!((learned.mac(), learned.port()), (mac, Some(port)));
            let fixed = Word::fixed(key, port);
            assert!(fixed.is_static() && !fixed.is_learned() && fixed.is_on(port));
            assert_eq!((fixed.mac(), fixed.port()), (mac, Some(port)));
        }
    }

    #[test]
    fn a_key_judges_addresses_as_the_address_itself_does() {
        let others = ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "02:00:00:00:00:01", "01:80:c2:00:00:10"];
        let reserved = ["01:80:c2:00:00:00", "01:80:c2:00:00:0f"];
        for text in others.into_iter().chain(reserved) {
            let mac: MacAddress = text.parse().unwrap();
            let key = Key::new(mac);
            assert_eq!(key.0, mac.to_u64() << MAC_SHIFT);
            assert_eq!(
                (key.is_zero(), key.is_group(), key.is_reserved_group()),
                (mac.is_zero(), mac.is_group(), mac.is_reserved_group()),
                "{text}"
            );
        }
    }
}
