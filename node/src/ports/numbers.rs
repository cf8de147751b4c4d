//! Which number a port gets.

use std::collections::BTreeSet;

use packet::{PORTS_MAX, PortId};

/// The numbers in use. From 1 on, so that a port's number can be shown as an interface index.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    taken: BTreeSet<u16>,
}

impl Numbers {
    /// The lowest free number, or `None` if all are taken. It stays taken until it is given back, which is
    /// to be done once every worker and table has forgotten the port.
    pub fn take(&mut self) -> Option<PortId> {
        let free = (1u16..)
            .take_while(|number| usize::from(*number) < PORTS_MAX)
            .find(|n| !self.taken.contains(n))?;
        self.taken.insert(free);
        PortId::new(free)
    }

    /// Gives a number back.
    pub fn give(&mut self, id: PortId) {
        self.taken.remove(&id.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_begin_at_one_and_are_used_again_only_when_given_back() {
        let mut numbers = Numbers::default();
        let taken: Vec<_> = (0..3).map(|_| numbers.take().unwrap()).collect();
        assert_eq!(taken.iter().map(|id| id.get()).collect::<Vec<_>>(), [1, 2, 3]);
        numbers.give(taken[1]);
        assert_eq!(numbers.take(), Some(taken[1]));
        assert_eq!(numbers.take().map(PortId::get), Some(4));
    }

    #[test]
    fn there_are_as_many_as_the_tables_can_hold() {
        let mut numbers = Numbers::default();
        assert_eq!(std::iter::from_fn(|| numbers.take()).count(), PORTS_MAX - 1);
    }
}
