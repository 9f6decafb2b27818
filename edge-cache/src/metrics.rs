//! The service's metrics, under the prefix `edge_cache_`. docs/observing.md names each.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use common::http::access_log::AccessLog;
use common::telemetry::{Latency, Registry};
use http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};

use crate::fetch::fill::Budget;
use crate::invalidate::PurgeMetrics;
use crate::policy::storable::NotStored;
use crate::respond::Verdict;
use crate::server::http2::Abort;
use crate::store::{Cause, Store};
use crate::tls::TlsMetrics;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabels {
    decision: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decision {
    decision: &'static str,
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

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Status {
    status: &'static str,
}

#[derive(Debug)]
pub struct Metrics {
    requests: Family<VerdictLabels, Counter>,
    request_seconds: Family<Decision, Latency>,
    sent_bytes: Family<Decision, Counter>,
    broken: Family<Decision, Counter>,
    /// Those of a fresh hit, found without a look-up.
    hit: Hit,
    pub connections: Gauge<i64, AtomicI64>,
    pub accepted: Counter,
    pub collapsed: Counter,
    pub origin_requests: Counter,
    origin_responses: Family<Status, Counter>,
    origin_errors: Family<Reason, Counter>,
    pub origin_seconds: Latency,
    not_stored: Family<Reason, Counter>,
    pub stored: Counter,
    pub compressed: Counter,
    exploded: Family<Header, Counter>,
    refused: Family<Reason, Counter>,
    pub purges: PurgeMetrics,
    /// By unsafe methods.
    pub invalidated: Counter,
    pub fills: Gauge<i64, AtomicI64>,
    pub tunnels: Gauge<i64, AtomicI64>,
    config_reloads: Family<Outcome, Counter>,
    pub tls: TlsMetrics,
    http2_aborts: Family<Reason, Counter>,
}

#[derive(Debug)]
struct Hit {
    requests: Counter,
    seconds: Latency,
    sent: Arc<Sent>,
}

/// Where the body of a response counts, by what was decided.
#[derive(Debug)]
pub struct Sent {
    bytes: Counter,
    broken: Counter,
}

/// What is counted, and noted in the access log, for a client that left before there was a response.
pub const ABORTED: (&str, &str) = ("ABORTED", "client-gone");

impl Metrics {
    pub fn register(
        registry: &mut Registry,
        store: &Arc<Store>,
        budget: &Arc<Budget>,
        access_log: &AccessLog,
    ) -> Self {
        let registry = registry.sub_registry_with_prefix("edge_cache");
        let metrics = Self::new(registry);
        registry.register("requests", "Requests by decision and reason", metrics.requests.clone());
        registry.register(
            "request_seconds",
            "Time to the head of the response",
            metrics.request_seconds.clone(),
        );
        registry.register("sent_bytes", "Bytes of response bodies", metrics.sent_bytes.clone());
        registry.register("broken", "Responses cut off after their head", metrics.broken.clone());
        registry.register("connections", "Client connections open", metrics.connections.clone());
        registry.register("accepted_connections", "Client connections accepted", metrics.accepted.clone());
        registry.register("collapsed", "Requests answered by another one's fetch", metrics.collapsed.clone());
        registry.register("origin_requests", "Requests to the origin", metrics.origin_requests.clone());
        registry.register(
            "origin_responses",
            "Responses of the origin by class",
            metrics.origin_responses.clone(),
        );
        registry.register(
            "origin_errors",
            "Requests without an answer, or without all of it",
            metrics.origin_errors.clone(),
        );
        registry.register("origin_seconds", "Time to the origin's head", metrics.origin_seconds.clone());
        registry.register(
            "not_stored",
            "Responses that were not stored, by reason",
            metrics.not_stored.clone(),
        );
        registry.register("stored", "Responses stored", metrics.stored.clone());
        registry.register("compressed", "Of them those compressed here", metrics.compressed.clone());
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
        registry.register(
            "invalidated",
            "Objects invalidated by unsafe requests",
            metrics.invalidated.clone(),
        );
        registry.register("tunnels", "Upgraded connections to the origin", metrics.tunnels.clone());
        registry.register(
            "config_reloads",
            "Times that the configuration was read anew, by outcome",
            metrics.config_reloads.clone(),
        );
        registry.register(
            "http2_aborts",
            "HTTP/2 connections and streams that were cut off, by reason",
            metrics.http2_aborts.clone(),
        );
        registry.register("fills", "Bodies on their way into the store", metrics.fills.clone());
        registry.register("access_log_dropped", "Lines that were not written", access_log.dropped());
        registry.register_collector(Box::new(Held { store: Arc::clone(store), budget: Arc::clone(budget) }));
        metrics
    }

    /// With the series that are looked for in alarms there from the start, at zero.
    fn new(registry: &mut Registry) -> Self {
        let requests = Family::<VerdictLabels, Counter>::default();
        let request_seconds = Family::<Decision, Latency>::default();
        let sent_bytes = Family::<Decision, Counter>::default();
        let broken = Family::<Decision, Counter>::default();
        let fresh = Decision { decision: Verdict::Hit.as_str() };
        let labels = VerdictLabels { decision: Verdict::Hit.as_str(), reason: Verdict::Hit.reason() };
        let hit = Hit {
            requests: requests.get_or_create(&labels).clone(),
            seconds: request_seconds.get_or_create(&fresh).clone(),
            sent: Arc::new(Sent {
                bytes: sent_bytes.get_or_create(&fresh).clone(),
                broken: broken.get_or_create(&fresh).clone(),
            }),
        };
        let origin_errors = reasons(["no-endpoint", "unreachable", "timeout", "broken", "truncated"]);
        let worth_watching = [
            NotStored::NoStore,
            NotStored::Private,
            NotStored::SetCookie,
            NotStored::Useless,
            NotStored::TooLarge,
            NotStored::Budget,
            NotStored::Truncated,
        ];
        let not_stored = reasons(worth_watching.map(NotStored::as_str));
        let origin_responses = Family::<Status, Counter>::default();
        for status in ["2xx", "3xx", "4xx", "5xx"] {
            let _ = origin_responses.get_or_create(&Status { status });
        }
        let exploded = Family::<Header, Counter>::default();
        let _ = exploded.get_or_create(&Header { header: "other".into() });
        let config_reloads = Family::<Outcome, Counter>::default();
        for outcome in ["applied", "refused"] {
            let _ = config_reloads.get_or_create(&Outcome { outcome });
        }
        Self {
            requests,
            request_seconds,
            sent_bytes,
            broken,
            hit,
            connections: Gauge::default(),
            accepted: Counter::default(),
            collapsed: Counter::default(),
            origin_requests: Counter::default(),
            origin_responses,
            origin_errors,
            origin_seconds: Latency::default(),
            not_stored,
            stored: Counter::default(),
            compressed: Counter::default(),
            exploded,
            refused: reasons(["host", "target", "method"]),
            purges: PurgeMetrics::register(registry),
            invalidated: Counter::default(),
            fills: Gauge::default(),
            tunnels: Gauge::default(),
            config_reloads,
            tls: TlsMetrics::register(registry),
            http2_aborts: reasons(Abort::ALL.map(Abort::as_str)),
        }
    }

    /// Counts a request whose client left before there was a response.
    pub fn aborted(&self) {
        let (decision, reason) = ABORTED;
        self.requests.get_or_create(&VerdictLabels { decision, reason }).inc();
    }

    /// Counts a request whose response's head is there after `time`; says where its body counts.
    pub fn answered(&self, verdict: Verdict, time: Duration) -> Arc<Sent> {
        if verdict == Verdict::Hit {
            self.hit.requests.inc();
            self.hit.seconds.observe(time);
            return Arc::clone(&self.hit.sent);
        }
        let (decision, reason) = (verdict.as_str(), verdict.reason());
        self.requests.get_or_create(&VerdictLabels { decision, reason }).inc();
        let decision = Decision { decision };
        self.request_seconds.get_or_create(&decision).observe(time);
        Arc::new(Sent {
            bytes: self.sent_bytes.get_or_create(&decision).clone(),
            broken: self.broken.get_or_create(&decision).clone(),
        })
    }

    pub fn origin_response(&self, status: StatusCode) {
        let status = match status.as_u16() / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.origin_responses.get_or_create(&Status { status }).inc();
    }

    pub fn origin_error(&self, reason: &'static str) {
        self.origin_errors.get_or_create(&Reason { reason }).inc();
    }

    pub fn not_stored(&self, reason: &'static str) {
        self.not_stored.get_or_create(&Reason { reason }).inc();
    }

    /// Which fields there are is the origin's to say, so what is longer than a name usually is has none here.
    pub fn exploded(&self, header: &str) {
        let header = if header.len() <= 40 { header.to_owned() } else { "other".to_owned() };
        self.exploded.get_or_create(&Header { header }).inc();
    }

    pub fn config_reload(&self, outcome: &'static str) {
        self.config_reloads.get_or_create(&Outcome { outcome }).inc();
    }

    pub fn http2_abort(&self, abort: Abort) {
        self.http2_aborts.get_or_create(&Reason { reason: abort.as_str() }).inc();
    }

    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }
}

fn reasons<const N: usize>(reasons: [&'static str; N]) -> Family<Reason, Counter> {
    let family = Family::<Reason, Counter>::default();
    for reason in reasons {
        let _ = family.get_or_create(&Reason { reason });
    }
    family
}

impl Sent {
    /// The body could not be sent to its end.
    pub fn broken(&self) {
        self.broken.inc();
    }

    /// The body is over, be it because its client has gone.
    pub fn over(&self, bytes: u64) {
        self.bytes.inc_by(bytes);
    }
}

/// What the store holds and what has left it, read when it is asked for.
#[derive(Debug)]
struct Held {
    store: Arc<Store>,
    budget: Arc<Budget>,
}

impl Collector for Held {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Self { store, budget } = self;
        let gauges = [
            ("objects", "URLs stored", store.objects()),
            ("variants", "Responses stored", store.turnover().variants()),
            ("stored_bytes", "Bytes held by the store", store.bytes()),
            ("memory_limit_bytes", "Bytes that the store may hold", store.limit()),
            ("fill_bytes", "Bytes of bodies on their way into the store", budget.used()),
            ("fill_limit_bytes", "Bytes that bodies on their way may take", budget.total()),
            ("uncacheable_urls", "URLs remembered as uncacheable", store.uncacheable()),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        let left = Cause::ALL.map(|cause| (cause, store.turnover().left(cause)));
        let mut family = encoder.encode_descriptor(
            "evictions",
            "Responses that left the store by themselves",
            None,
            MetricType::Counter,
        )?;
        for (cause, (objects, _)) in left {
            let labels = [("cause", cause.as_str())];
            ConstCounter::new(objects).encode(family.encode_family(&labels)?)?;
        }
        let mut family =
            encoder.encode_descriptor("evicted_bytes", "Bytes of those", None, MetricType::Counter)?;
        for (cause, (_, bytes)) in left {
            let labels = [("cause", cause.as_str())];
            ConstCounter::new(bytes).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
