//! The service's metrics, under the prefix `edge_cache_`.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use common::telemetry::{Registry, latency_buckets};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;

use crate::invalidate::PurgeMetrics;
use crate::respond::Verdict;
use crate::store::Store;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabels {
    decision: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Header {
    header: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug)]
pub struct Metrics {
    requests: Family<VerdictLabels, Counter>,
    /// The one on the hit path, found without a look-up.
    hits: Counter,
    pub bytes_sent: Counter,
    pub connections: Gauge<i64, AtomicI64>,
    pub collapsed: Counter,
    pub origin_requests: Counter,
    origin_errors: Family<Reason, Counter>,
    not_stored: Family<Reason, Counter>,
    exploded: Family<Header, Counter>,
    refused: Family<Reason, Counter>,
    pub stored: Counter,
    pub invalidated: Counter,
    pub purges: PurgeMetrics,
    pub fills: Gauge<i64, AtomicI64>,
    pub tunnels: Gauge<i64, AtomicI64>,
    pub origin_seconds: Histogram,
    config_reloads: Family<Outcome, Counter>,
}

impl Metrics {
    pub fn register(registry: &mut Registry, store: &Arc<Store>) -> Self {
        let registry = registry.sub_registry_with_prefix("edge_cache");
        let requests = Family::<VerdictLabels, Counter>::default();
        let hit = VerdictLabels { decision: Verdict::Hit.as_str(), reason: Verdict::Hit.reason() };
        let hits = requests.get_or_create(&hit).clone();
        let metrics = Self {
            requests,
            hits,
            bytes_sent: Counter::default(),
            connections: Gauge::default(),
            collapsed: Counter::default(),
            origin_requests: Counter::default(),
            origin_errors: Family::default(),
            not_stored: Family::default(),
            exploded: Family::default(),
            refused: Family::default(),
            stored: Counter::default(),
            invalidated: Counter::default(),
            purges: PurgeMetrics::register(registry),
            fills: Gauge::default(),
            tunnels: Gauge::default(),
            origin_seconds: Histogram::new(latency_buckets()),
            config_reloads: Family::default(),
        };
        registry.register("requests", "Requests by decision and reason", metrics.requests.clone());
        registry.register("sent_bytes", "Bytes of response bodies", metrics.bytes_sent.clone());
        registry.register("connections", "Client connections open", metrics.connections.clone());
        registry.register("collapsed", "Requests answered by another one's fetch", metrics.collapsed.clone());
        registry.register("origin_requests", "Requests to the origin", metrics.origin_requests.clone());
        registry.register("origin_errors", "Requests without an answer", metrics.origin_errors.clone());
        registry.register(
            "not_stored",
            "Responses that were not stored, by reason",
            metrics.not_stored.clone(),
        );
        registry.register(
            "variant_budget_exceeded",
            "Responses not stored since their URL has too many variants, by the field that makes most of them",
            metrics.exploded.clone(),
        );
        registry.register(
            "refused",
            "Requests answered with a 4xx of our own, by reason",
            metrics.refused.clone(),
        );
        registry.register("stored", "Responses stored", metrics.stored.clone());
        registry.register(
            "invalidated",
            "Objects invalidated by unsafe requests",
            metrics.invalidated.clone(),
        );
        registry.register("fills", "Bodies on their way into the store", metrics.fills.clone());
        registry.register("tunnels", "Upgraded connections to the origin", metrics.tunnels.clone());
        registry.register("origin_seconds", "Time to the origin's head", metrics.origin_seconds.clone());
        registry.register(
            "config_reloads",
            "Times that the configuration was read anew, by outcome",
            metrics.config_reloads.clone(),
        );
        registry.register_collector(Box::new(Held(Arc::clone(store))));
        metrics
    }

    pub fn request(&self, verdict: Verdict) {
        if verdict == Verdict::Hit {
            self.hits.inc();
        } else {
            let labels = VerdictLabels { decision: verdict.as_str(), reason: verdict.reason() };
            self.requests.get_or_create(&labels).inc();
        }
    }

    pub fn origin_error(&self, reason: &'static str) {
        self.origin_errors.get_or_create(&Reason { reason }).inc();
    }

    /// Which fields there are is the origin's to say, so what is longer than a name usually is has none here.
    pub fn exploded(&self, header: &str) {
        let header = if header.len() <= 40 { header.to_owned() } else { "other".to_owned() };
        self.exploded.get_or_create(&Header { header }).inc();
    }

    pub fn config_reload(&self, outcome: &'static str) {
        self.config_reloads.get_or_create(&Outcome { outcome }).inc();
    }

    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    pub fn not_stored(&self, reason: &'static str) {
        self.not_stored.get_or_create(&Reason { reason }).inc();
    }
}

/// What the store holds, read when it is asked for.
#[derive(Debug)]
struct Held(Arc<Store>);

impl Collector for Held {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let gauges = [
            ("objects", "URLs stored", self.0.objects()),
            ("stored_bytes", "Bytes held by the store", self.0.bytes()),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}
