//! One entry of the forwarding database as one machine word, so that it is read and replaced whole.

use packet::{MacAddress, PortId};

/// Bits below the MAC.
pub(crate) const MAC_SHIFT: u32 = 16;
const LEARNED: u64 = 1 << 15;
const SLOT_SHIFT: u32 = 12;
const SLOT_MASK: u64 = 7;
const PORT_MASK: u64 = (1 << SLOT_SHIFT) - 1;

const _: () = assert!(packet::PORTS_MAX as u64 == PORT_MASK + 1);

/// A MAC as it stands in a word: in the upper 48 bits, its first byte lowest; the rest is zero.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Key(pub(crate) u64);

impl Key {
    const RESERVED_GROUP: Self = Self::new(MacAddress([0x01, 0x80, 0xc2, 0, 0, 0]));

    /// Two loads and a shift or two: the order of the bytes is that of memory.
    #[inline]
    pub(crate) const fn new(mac: MacAddress) -> Self {
        let [a, b, c, d, e, f] = mac.0;
        let (first, last) = (u32::from_le_bytes([a, b, c, d]), u16::from_le_bytes([e, f]));
        Self((first as u64) << MAC_SHIFT | (last as u64) << (MAC_SHIFT + 32))
    }

    #[inline]
    pub(crate) const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// False for a group address, of which the I/G bit, the lowest of the first byte, is set, and for zero.
    #[inline]
    pub(crate) const fn is_station(self) -> bool {
        self.0 & 1 << MAC_SHIFT == 0 && self.0 != 0
    }

    /// True for 01-80-C2-00-00-00 to 0F.
    #[inline]
    pub(crate) const fn is_reserved_group(self) -> bool {
        self.0 & !(0x0f << 56) == Self::RESERVED_GROUP.0
    }
}

/// From the top: the MAC in 48 bits; one bit that is clear for a static entry; the number of the entry's own
/// slot in 3; the port in 12. Zero is an empty slot: the zero address is never stored.
///
/// The word of a MAC, exclusive-or that MAC, is a small number, and that of any other entry or of an empty
/// slot is not. So the least of a bucket's exclusive-ors tells in one whether, where and to which port: see
/// `Bucket::find`. Of two entries of one MAC the static one is the less.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Word(pub(crate) u64);

impl Word {
    pub(crate) const EMPTY: Self = Self(0);

    pub(crate) const fn learned(key: Key, slot: u8, port: PortId) -> Self {
        Self(Self::fixed(key, slot, port).0 | LEARNED)
    }

    pub(crate) const fn fixed(key: Key, slot: u8, port: PortId) -> Self {
        Self(key.0 | (slot as u64 & SLOT_MASK) << SLOT_SHIFT | port.get() as u64)
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// True for a static entry.
    #[inline]
    pub(crate) const fn is_static(self) -> bool {
        self.0 & LEARNED == 0 && !self.is_empty()
    }

    /// True for an entry that learning made.
    #[inline]
    pub(crate) const fn is_learned(self) -> bool {
        self.0 & LEARNED != 0
    }

    pub(crate) fn mac(self) -> MacAddress {
        let [_, _, octets @ ..] = self.0.to_le_bytes();
        MacAddress(octets)
    }

    /// True if the entry is of this address. The zero address would match an empty slot: callers exclude it.
    #[inline]
    pub(crate) const fn is_of(self, key: Key) -> bool {
        self.0 ^ key.0 < 1 << MAC_SHIFT
    }

    /// The slot that the entry is in, below 8.
    #[inline]
    pub(crate) const fn slot(self) -> usize {
        self.0.to_le_bytes()[1] as usize >> (SLOT_SHIFT - 8) & 7
    }

    /// The port; `None` never occurs.
    #[inline]
    pub(crate) fn port(self) -> Option<PortId> {
        u16::try_from(self.0 & PORT_MASK).ok().and_then(PortId::new)
    }

    /// True if learning made the entry, and it is on `port`.
    #[inline]
    pub(crate) const fn is_learned_on(self, port: PortId) -> bool {
        self.0 & (LEARNED | PORT_MASK) == LEARNED | port.get() as u64
    }

    /// True if the entry is on `port`.
    #[inline]
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
            let slot = u8::try_from(port.get() % 7).unwrap();
            let learned = Word::learned(key, slot, port);
            assert!(learned.is_learned() && !learned.is_static() && !learned.is_empty());
            assert!(learned.is_of(key) && learned.is_on(port));
            assert_eq!((learned.mac(), learned.port(), learned.slot()), (mac, Some(port), usize::from(slot)));
            let fixed = Word::fixed(key, slot, port);
            assert!(fixed.is_static() && !fixed.is_learned() && fixed.is_on(port));
            assert_eq!((fixed.mac(), fixed.port()), (mac, Some(port)));
        }
    }

    #[test]
    fn a_key_judges_addresses_as_the_address_itself_does() {
        let others = [
            "00:00:00:00:00:00",
            "ff:ff:ff:ff:ff:ff",
            "02:00:00:00:00:01",
            "01:80:c2:00:00:10",
            "01:80:c2:00:01:00",
        ];
        let reserved = ["01:80:c2:00:00:00", "01:80:c2:00:00:0f"];
        for text in others.into_iter().chain(reserved) {
            let mac: MacAddress = text.parse().unwrap();
            let key = Key::new(mac);
            assert_eq!(Word(key.0).mac(), mac);
            assert_eq!(
                (key.is_zero(), key.is_station(), key.is_reserved_group()),
                (mac.is_zero(), !mac.is_zero() && !mac.is_group(), mac.is_reserved_group()),
                "{text}"
            );
        }
    }
}
