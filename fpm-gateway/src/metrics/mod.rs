//! The service's metrics, under the prefix `fpm_gateway_`.

mod routes;

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use common::telemetry::{Latency, Registry};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use tokio::time::Instant;

pub use routes::{Route, Routes};

use crate::admission::Admission;
use crate::backend::Snapshot;
use crate::error::Outcome;
use crate::lanes::Lane;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Debug)]
pub struct Metrics {
    requests: Family<OutcomeLabel, Counter>,
    /// The usual outcome, found without a look-up.
    complete: Counter,
    request_seconds: Latency,
    queue_seconds: Latency,
    pub routes: Routes,
    post_response_seconds: Latency,
    pub post_response_timeouts: Counter,
    upstream_errors: Family<Kind, Counter>,
    pub retries: Counter,
    connections: Gauge<i64, AtomicI64>,
}

impl Metrics {
    pub fn register(registry: &mut Registry, admission: &Arc<Admission>) -> Self {
        let registry = registry.sub_registry_with_prefix("fpm_gateway");
        let requests = Family::<OutcomeLabel, Counter>::default();
        let complete = requests.get_or_create(&OutcomeLabel { outcome: Outcome::Complete.as_str() }).clone();
        let metrics = Self {
            requests,
            complete,
            request_seconds: Latency::default(),
            queue_seconds: Latency::default(),
            routes: Routes::register(registry),
            post_response_seconds: Latency::default(),
            post_response_timeouts: Counter::default(),
            upstream_errors: Family::default(),
            retries: Counter::default(),
            connections: Gauge::default(),
        };
        registry.register("requests", "Requests by outcome", metrics.requests.clone());
        registry.register("request_seconds", "Time from arrival to end", metrics.request_seconds.clone());
        registry.register("queue_seconds", "Time until a worker was there", metrics.queue_seconds.clone());
        registry.register(
            "post_response_seconds",
            "Time from a response's end, or from its client's leaving, until the worker was free",
            metrics.post_response_seconds.clone(),
        );
        registry.register(
            "post_response_timeouts",
            "Workers that did not say in time that they were free",
            metrics.post_response_timeouts.clone(),
        );
        registry.register(
            "upstream_errors",
            "Failures of replicas, by kind",
            metrics.upstream_errors.clone(),
        );
        registry.register("retries", "Requests that went on to another replica", metrics.retries.clone());
        registry.register("connections", "Inbound connections open", metrics.connections.clone());
        registry.register_collector(Box::new(Replicas(Arc::clone(admission))));
        metrics
    }

    /// Begins to measure a request. One that is dropped before its end has lost its client.
    pub fn request(&self) -> Measured<'_> {
        Measured { metrics: self, began: Instant::now(), outcome: Outcome::ClientGone }
    }

    /// A worker was there after this time.
    pub fn waited(&self, time: Duration) {
        self.queue_seconds.observe(time);
    }

    /// A worker was free so long after its request was over.
    pub fn post_response(&self, time: Duration) {
        self.post_response_seconds.observe(time);
    }

    pub fn upstream_error(&self, kind: &'static str) {
        self.upstream_errors.get_or_create(&Kind { kind }).inc();
    }

    /// Counts a connection for as long as it is open.
    pub fn connection(&self) -> Counted {
        self.connections.inc();
        Counted(self.connections.clone())
    }
}

/// A request that is measured.
#[derive(Debug)]
pub struct Measured<'a> {
    metrics: &'a Metrics,
    began: Instant,
    outcome: Outcome,
}

impl Measured<'_> {
    pub fn ended(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Measured<'_> {
    fn drop(&mut self) {
        if self.outcome == Outcome::Complete {
            self.metrics.complete.inc();
        } else {
            let label = OutcomeLabel { outcome: self.outcome.as_str() };
            self.metrics.requests.get_or_create(&label).inc();
        }
        self.metrics.request_seconds.observe(self.began.elapsed());
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub struct Counted(Gauge<i64, AtomicI64>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A gauge of one replica.
type Value = fn(&Snapshot) -> i64;

/// The replicas and the queue, read when they are asked for.
#[derive(Debug)]
struct Replicas(Arc<Admission>);

impl Collector for Replicas {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let overview = self.0.overview();
        let lanes = Lane::ALL.into_iter().zip(&overview.lines);
        let mut queue =
            encoder.encode_descriptor("queue_length", "Requests that wait", None, MetricType::Gauge)?;
        for (lane, line) in lanes.clone() {
            let length = i64::try_from(line.length).unwrap_or(i64::MAX);
            ConstGauge::new(length).encode(queue.encode_family(&[("lane", lane.as_str())])?)?;
        }
        let mut busy = encoder.encode_descriptor("lane_busy", "Workers busy", None, MetricType::Gauge)?;
        for (lane, _) in lanes {
            let workers = i64::from(overview.busy.get(lane));
            ConstGauge::new(workers).encode(busy.encode_family(&[("lane", lane.as_str())])?)?;
        }

        let families: [(&str, &str, Value); 4] = [
            ("in_flight", "Workers busy for us", |replica| replica.busy.into()),
            ("post_response", "Busy workers whose request is over", |replica| replica.settling.into()),
            ("workers", "Requests that may be in flight", |replica| replica.workers.into()),
            ("upstream_usable", "1 while the replica gets requests", |replica| replica.usable.into()),
        ];
        for (name, help, value) in families {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for replica in &overview.replicas {
                let labels = [("upstream", replica.endpoint.to_string())];
                ConstGauge::new(value(replica)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
