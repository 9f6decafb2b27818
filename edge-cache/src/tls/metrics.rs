use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use common::telemetry::{Latency, Registry};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;

use super::handshake::{Agreed, Protocol};
use super::{Certificates, Failure};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Handshake {
    version: &'static str,
    protocol: &'static str,
    resumed: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug)]
pub struct TlsMetrics {
    handshakes: Family<Handshake, Counter>,
    failures: Family<Reason, Counter>,
    seconds: Latency,
    reloads: Family<Outcome, Counter>,
    /// Those in force, for what is said of them when it is asked for.
    certificates: Arc<ArcSwap<Certificates>>,
}

impl TlsMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        let failures = Family::<Reason, Counter>::default();
        for failure in Failure::ALL {
            let _ = failures.get_or_create(&Reason { reason: failure.as_str() });
        }
        let reloads = Family::<Outcome, Counter>::default();
        for outcome in ["applied", "refused"] {
            let _ = reloads.get_or_create(&Outcome { outcome });
        }
        let (handshakes, seconds) = (Family::<Handshake, Counter>::default(), Latency::default());
        let certificates = Arc::new(ArcSwap::default());
        registry.register("tls_handshakes", "TLS handshakes by what was agreed upon", handshakes.clone());
        registry.register(
            "tls_handshake_failures",
            "TLS handshakes that failed, by reason",
            failures.clone(),
        );
        registry.register("tls_handshake_seconds", "Time of TLS handshakes", seconds.clone());
        registry.register(
            "certificate_reloads",
            "Times that changed certificates were read anew, by outcome",
            reloads.clone(),
        );
        registry.register_collector(Box::new(Expiry(Arc::clone(&certificates))));
        Self { handshakes, failures, seconds, reloads, certificates }
    }

    pub fn agreed(&self, agreed: Agreed, time: Duration) {
        let Agreed { version, protocol, is_resumed } = agreed;
        let resumed = if is_resumed { "yes" } else { "no" };
        let protocol = Protocol::as_str(protocol);
        self.handshakes.get_or_create(&Handshake { version, protocol, resumed }).inc();
        self.seconds.observe(time);
    }

    pub fn failed(&self, failure: Failure) {
        self.failures.get_or_create(&Reason { reason: failure.as_str() }).inc();
    }

    pub fn reloaded(&self, outcome: &'static str) {
        self.reloads.get_or_create(&Outcome { outcome }).inc();
    }

    /// These are in force now.
    pub fn certificates(&self, certificates: Arc<Certificates>) {
        self.certificates.store(certificates);
    }
}

/// When each certificate expires.
#[derive(Debug)]
struct Expiry(Arc<ArcSwap<Certificates>>);

impl Collector for Expiry {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let certificates = self.0.load();
        let mut family = encoder.encode_descriptor(
            "certificate_expiry_timestamp_seconds",
            "When a certificate expires, in seconds since 1970",
            None,
            MetricType::Gauge,
        )?;
        for certificate in certificates.all() {
            let labels = [("file", certificate.file.display().to_string())];
            ConstGauge::new(certificate.not_after).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
