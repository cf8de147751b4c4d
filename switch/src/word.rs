//! One entry of the forwarding database as one machine word, so that it is read and replaced whole.

use packet::{MacAddress, PortId};

const MAC_SHIFT: u32 = 16;
const STATIC: u64 = 1 << 15;
const PORT_MASK: u64 = STATIC - 1;

/// MAC in the upper 48 bits, then one bit for a static entry, then the port in 15. Zero is an empty slot: the
/// zero address is never stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Word(pub(crate) u64);

impl Word {
    pub(crate) const EMPTY: Self = Self(0);

    pub(crate) const fn learned(mac: MacAddress, port: PortId) -> Self {
        Self(mac.to_u64() << MAC_SHIFT | port.get() as u64)
    }

    pub(crate) const fn fixed(mac: MacAddress, port: PortId) -> Self {
        Self(mac.to_u64() << MAC_SHIFT | STATIC | port.get() as u64)
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

    /// True if the entry is of `mac`. The zero address would match an empty slot: callers exclude it.
    pub(crate) const fn is_of(self, mac: MacAddress) -> bool {
        self.0 >> MAC_SHIFT == mac.to_u64()
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
            let learned = Word::learned(mac, port);
            assert!(learned.is_learned() && !learned.is_static() && !learned.is_empty());
            assert!(learned.is_of(mac) && learned.is_on(port));
            assert_eq!((learned.mac(), learned.port()), (mac, Some(port)));
            let fixed = Word::fixed(mac, port);
            assert!(fixed.is_static() && !fixed.is_learned() && fixed.is_on(port));
            assert_eq!((fixed.mac(), fixed.port()), (mac, Some(port)));
        }
    }
}
