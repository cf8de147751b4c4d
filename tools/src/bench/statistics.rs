//! Medians and ratios. A median, because one disturbed sample on a shared machine must not move the answer.

use serde::Serialize;

/// Median and extremes of some samples.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(crate) struct Summary {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Summary {
    /// `None` without samples.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self { median, min, max })
    }
}

/// Ratios pair by pair: what was measured side by side is compared, so that a slow drift of the machine
/// falls out. A pair whose divisor is zero gives none.
pub(crate) fn ratios(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    ours.iter()
        .zip(theirs)
        .filter(|(_, theirs)| **theirs != 0.0)
        .map(|(ours, theirs)| ours / theirs)
        .collect()
}

/// The order of `count` systems in round `round`: forward, then backward (A B B A …), so that none always
/// comes first.
pub(crate) fn order(count: usize, round: u32) -> Vec<usize> {
    if round.is_multiple_of(2) { (0..count).collect() } else { (0..count).rev().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let summary = Summary::of(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(summary, Summary { median: 2.5, min: 1.0, max: 4.0 });
    }

    #[test]
    fn the_median_of_an_odd_number_is_its_middle() {
        assert_eq!(Summary::of(&[9.0, 1.0, 2.0]).unwrap().median, 2.0);
        assert_eq!(Summary::of(&[5.0]).unwrap(), Summary { median: 5.0, min: 5.0, max: 5.0 });
    }

    #[test]
    fn nothing_has_no_summary() {
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn ratios_are_taken_pair_by_pair() {
        assert_eq!(ratios(&[2.0, 9.0, 5.0], &[1.0, 3.0, 0.0]), [2.0, 3.0]);
    }

    #[test]
    fn the_order_alternates() {
        let orders: Vec<_> = (0..4).map(|round| order(2, round)).collect();
        assert_eq!(orders, [[0, 1], [1, 0], [0, 1], [1, 0]]);
    }
}
