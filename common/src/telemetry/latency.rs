//! A histogram of times whose observers never wait for each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Clones share it. prometheus-client's own histogram locks a mutex with every observation, which would be
/// everybody's on the path of a hit; this one adds to three counters.
#[derive(Debug, Clone, Default)]
pub struct Latency(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Observations up to the bound of the same index and above the one before; the last is above all.
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

/// Upper bounds in microseconds, from a cached hit to a long report.
const BOUNDS: [u64; 17] = [
    50, 100, 500, 1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

impl Latency {
    pub fn observe(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let at = BOUNDS.partition_point(|bound| bound * 1_000 < nanoseconds);
        if let Some(count) = self.0.counts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.0.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }
}

impl EncodeMetric for Latency {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let bounds = BOUNDS.iter().map(|bound| *bound as f64 / 1e6).chain([f64::INFINITY]);
        let counts = self.0.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.0.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Latency {
    const TYPE: MetricType = MetricType::Histogram;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Registry, encode};

    #[test]
    fn each_time_is_in_its_bucket() {
        let mut registry = Registry::default();
        let latency = Latency::default();
        registry.register("seconds", "Times", latency.clone());
        for micros in [0, 50, 51, 2_000_000, 70_000_000] {
            latency.observe(Duration::from_micros(micros));
        }
        latency.observe(Duration::from_nanos(100_001));
        let text = encode(&registry);
        for line in [
            "# TYPE seconds histogram",
            "seconds_sum 72.000201001",
            "seconds_count 6",
            "seconds_bucket{le=\"0.00005\"} 2",
            "seconds_bucket{le=\"0.0001\"} 3",
            "seconds_bucket{le=\"0.0005\"} 4",
            "seconds_bucket{le=\"1.0\"} 4",
            "seconds_bucket{le=\"2.5\"} 5",
            "seconds_bucket{le=\"60.0\"} 5",
            "seconds_bucket{le=\"+Inf\"} 6",
        ] {
            assert!(text.lines().any(|got| got == line), "{line} is not in\n{text}");
        }
    }
}
