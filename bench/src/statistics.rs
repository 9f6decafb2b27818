//! Of a few rounds: the median and how far they spread.

use serde::{Deserialize, Serialize};

/// The median of some rounds, with the least and the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` without any value.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = match (values.len() % 2, values.get(middle.wrapping_sub(1)), values.get(middle)) {
            (0, Some(below), Some(above)) => f64::midpoint(*below, *above),
            (_, _, Some(middle)) => *middle,
            _ => return None,
        };
        Some(Self { median, min, max })
    }

    /// Of quotients within one round each: what disturbs a round disturbs both of its numbers.
    pub(crate) fn of_ratios(over: &[Option<f64>], under: &[Option<f64>]) -> Option<Self> {
        let pairs = over.iter().zip(under).filter_map(|(over, under)| Some(((*over)?, (*under)?)));
        Self::of(pairs.filter(|(_, under)| *under > 0.0).map(|(over, under)| over / under))
    }
}

/// The value below which `share` of the values are, of values in any order; NaN without any.
pub(crate) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let below = |place: usize| place as f64 / (values.len() as f64) < share;
    let rank = (1..values.len()).find(|&place| !below(place)).unwrap_or(values.len());
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn medians() {
        for (values, expected) in [
            (vec![], None),
            (vec![3.0], Some((3.0, 3.0, 3.0))),
            (vec![3.0, 1.0], Some((2.0, 1.0, 3.0))),
            (vec![9.0, 1.0, 2.0], Some((2.0, 1.0, 9.0))),
            (vec![4.0, 1.0, 2.0, 100.0], Some((3.0, 1.0, 100.0))),
            (vec![f64::NAN, 5.0], Some((5.0, 5.0, 5.0))),
        ] {
            let found = Spread::of(values.clone()).map(|spread| (spread.median, spread.min, spread.max));
            assert_eq!(found, expected, "{values:?}");
        }
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let spread =
            Spread::of_ratios(&[Some(10.0), None, Some(40.0)], &[Some(5.0), Some(1.0), Some(10.0)]).unwrap();
        assert_eq!(spread, Spread { median: 3.0, min: 2.0, max: 4.0 });
        assert_eq!(Spread::of_ratios(&[Some(1.0)], &[Some(0.0)]), None);
    }

    #[test]
    fn percentiles() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        for (share, expected) in [(0.5, 50.0), (0.99, 99.0), (0.999, 100.0), (0.0, 1.0), (1.0, 100.0)] {
            assert!((percentile(&mut values, share) - expected).abs() < 1e-9, "{share}");
        }
        assert!(percentile(&mut [], 0.5).is_nan());
    }
}
