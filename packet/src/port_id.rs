//! The number of a port, the one name by which the tables and the workers know it.

/// Most ports that one switch can have. The forwarding database stores a port in 15 bits.
pub const PORTS_MAX: usize = 1 << 12;

/// A port of the switch: an index below [`PORTS_MAX`], given out by the control side and reused only after
/// every worker and table has forgotten the former holder.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PortId(u16);

impl PortId {
    /// The port with index 0.
    pub const FIRST: Self = Self(0);

    /// The port with this index, or `None` if it is not below [`PORTS_MAX`].
    #[must_use]
    pub const fn new(index: u16) -> Option<Self> {
        if (index as usize) < PORTS_MAX { Some(Self(index)) } else { None }
    }

    /// The index, below [`PORTS_MAX`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The index as the tables store it.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl std::fmt::Display for PortId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
