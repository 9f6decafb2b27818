use common::telemetry::Registry;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::{Command, Mode};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: &'static str,
    mode: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// What was asked for and what it took.
#[derive(Debug, Default)]
pub struct PurgeMetrics {
    commands: Family<Labels, Counter>,
    objects: Family<Labels, Counter>,
    refused: Family<Reason, Counter>,
}

impl PurgeMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for kind in ["url", "tags", "pattern", "expression", "everything"] {
            for mode in [Mode::Hard, Mode::Soft].map(Mode::as_str) {
                let _ = metrics.commands.get_or_create(&Labels { kind, mode });
                let _ = metrics.objects.get_or_create(&Labels { kind, mode });
            }
        }
        for reason in ["not-allowed", "malformed"] {
            let _ = metrics.refused.get_or_create(&Reason { reason });
        }
        registry.register("purges", "PURGE and BAN by kind and mode", metrics.commands.clone());
        registry.register("purged_objects", "Responses that they took", metrics.objects.clone());
        registry.register(
            "purges_refused",
            "PURGE and BAN that were not allowed or not understood",
            metrics.refused.clone(),
        );
        metrics
    }

    pub fn carried_out(&self, command: &Command, count: usize) {
        let labels = Labels { kind: command.scope.kind(), mode: command.mode.as_str() };
        self.commands.get_or_create(&labels).inc();
        self.objects.get_or_create(&labels).inc_by(count as u64);
    }

    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }
}
