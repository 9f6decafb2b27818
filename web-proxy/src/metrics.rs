//! The service's metrics, under the prefix `web_proxy_`.

use std::sync::atomic::AtomicI64;
use std::sync::{Arc, OnceLock};

use common::http::access_log::AccessLog;
use common::telemetry::{Latency, Registry};
use http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};

use crate::on_demand::Outcome;
use crate::respond::Kind;
use crate::static_files::file_cache::{self, FileCache};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    /// Those of `requests` that were counted already, so that nobody looks for them again.
    found: [[OnceLock<Counter>; STATUSES.len()]; Kind::ALL.len()],
    pub in_flight: Gauge<i64, AtomicI64>,
    pub connections: Gauge<i64, AtomicI64>,
    /// Connections of clients that had too many.
    pub turned_away: Counter,
    refused: Family<Reason, Counter>,
    pub spool_bytes: Gauge<i64, AtomicI64>,
    pub sent_bytes: Counter,
    /// Responses cut off after their head.
    pub broken: Counter,
    pub fastcgi_in_flight: Gauge<i64, AtomicI64>,
    fastcgi_errors: Family<Reason, Counter>,
    on_demand: Family<OutcomeLabel, Counter>,
    /// From the connection's being wanted to the response's head.
    pub fastcgi_seconds: Latency,
}

/// By the first digit of the status.
const STATUSES: [&str; 6] = ["aborted", "1xx", "2xx", "3xx", "4xx", "5xx"];

impl Metrics {
    pub fn register(registry: &mut Registry, access_log: &AccessLog, files: &Arc<FileCache>) -> Self {
        let registry = registry.sub_registry_with_prefix("web_proxy");
        let metrics = Self {
            requests: Family::default(),
            found: [const { [const { OnceLock::new() }; _] }; _],
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            turned_away: Counter::default(),
            refused: Family::default(),
            spool_bytes: Gauge::default(),
            sent_bytes: Counter::default(),
            broken: Counter::default(),
            fastcgi_in_flight: Gauge::default(),
            fastcgi_errors: Family::default(),
            on_demand: Family::default(),
            fastcgi_seconds: Latency::default(),
        };
        registry.register(
            "requests",
            "Requests by what answered them and class of status; aborted: the client went before",
            metrics.requests.clone(),
        );
        registry.register(
            "requests_in_flight",
            "Requests that are being answered",
            metrics.in_flight.clone(),
        );
        registry.register("connections", "Client connections open", metrics.connections.clone());
        registry.register(
            "connections_turned_away",
            "Connections closed at once, since their client had as many as it may have",
            metrics.turned_away.clone(),
        );
        registry.register(
            "refused",
            "Requests that were not understood or came too slowly, by reason",
            metrics.refused.clone(),
        );
        registry.register(
            "spool_bytes",
            "Bytes of request bodies that wait in files",
            metrics.spool_bytes.clone(),
        );
        registry.register("sent_bytes", "Bytes of response bodies", metrics.sent_bytes.clone());
        registry.register("broken", "Responses cut off after their head", metrics.broken.clone());
        registry.register(
            "fastcgi_in_flight",
            "Requests that the application has not ended",
            metrics.fastcgi_in_flight.clone(),
        );
        registry.register(
            "fastcgi_errors",
            "Requests that the application did not answer, or not to the end",
            metrics.fastcgi_errors.clone(),
        );
        registry.register(
            "on_demand",
            "Requests for files that did not exist yet and that the application makes, by where they came from",
            metrics.on_demand.clone(),
        );
        registry.register(
            "fastcgi_seconds",
            "Time to the application's head",
            metrics.fastcgi_seconds.clone(),
        );
        registry.register_collector(Box::new(Held(Arc::clone(files))));
        registry.register("access_log_dropped", "Lines that were not written", access_log.dropped());
        metrics
    }

    pub fn request(&self, kind: Kind, status: Option<StatusCode>) {
        let class = status.map_or(0, |status| usize::from(status.as_u16() / 100)).min(STATUSES.len() - 1);
        let find = || {
            let labels = RequestLabels { route: kind.as_str(), status: STATUSES[class] };
            self.requests.get_or_create(&labels).clone()
        };
        self.found[kind as usize][class].get_or_init(find).inc();
    }

    pub fn on_demand(&self, outcome: Outcome) {
        self.on_demand.get_or_create(&OutcomeLabel { outcome: outcome.as_str() }).inc();
    }

    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    pub fn fastcgi_error(&self, reason: &'static str) {
        self.fastcgi_errors.get_or_create(&Reason { reason }).inc();
    }
}

/// What the cache of small files holds and what it was good for, read when it is asked for.
#[derive(Debug)]
struct Held(Arc<FileCache>);

impl Collector for Held {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let gauges = [
            ("file_cache_files", "Files in memory, without their compressed forms", self.0.files()),
            ("file_cache_bytes", "Bytes that files in memory take", self.0.bytes()),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let help = "Files that were asked for, by what memory was good for";
        let mut family = encoder.encode_descriptor("file_cache", help, None, MetricType::Counter)?;
        for outcome in file_cache::Outcome::ALL {
            let labels = [("outcome", outcome.as_str())];
            ConstCounter::new(self.0.counted(outcome)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
