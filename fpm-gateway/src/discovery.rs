//! Follows the replicas: what appears is used and watched, what disappears finishes and goes.

use std::sync::Arc;

use common::discovery::Endpoints;
use common::shutdown::Shutdown;
use tokio::sync::watch;

use crate::admission::Admission;
use crate::config::Config;
use crate::health;

/// Uses the endpoints that are known now, and follows them until the drain begins.
pub fn follow(
    mut endpoints: watch::Receiver<Endpoints>,
    admission: &Arc<Admission>,
    config: &Config,
    shutdown: &Shutdown,
) {
    let (admission, probe, shutdown) = (Arc::clone(admission), config.probe.clone(), shutdown.clone());
    let update = move |now: &Endpoints, shutdown: &Shutdown| {
        for replica in admission.follow(now) {
            shutdown.spawn_until_drain(health::watch(Arc::clone(&admission), replica, probe.clone()));
        }
    };
    update(&endpoints.borrow_and_update(), &shutdown);
    shutdown.clone().spawn_until_drain(async move {
        // A list that is fixed has no sender any more.
        while endpoints.changed().await.is_ok() {
            update(&endpoints.borrow_and_update(), &shutdown);
        }
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::time::Duration;

    use common::net::Endpoint;

    use super::*;
    use crate::admission::Limits;

    #[tokio::test(start_paused = true)]
    async fn replicas_appear_and_disappear() {
        let config = Config::from_flags([]).unwrap();
        let limits = Limits {
            queue_length: 8,
            queue_timeout: [Duration::from_secs(10); 3],
            shares: config.shares,
            patience: Duration::from_secs(2),
            workers_per_upstream: 1,
            slow_start: Duration::ZERO,
        };
        let admission = Admission::new(limits, Vec::new());
        let shutdown = Shutdown::new(Duration::from_secs(1));
        let (sender, receiver) = watch::channel(Endpoints::from([]));
        follow(receiver, &admission, &config, &shutdown);
        assert!(admission.outage().is_some());

        // A request that came before the first answer of DNS is served as soon as there is one.
        let visit = admission.arrive(crate::lanes::Route { lane: crate::lanes::Lane::Anonymous, cap: None });
        let (permit, ()) = tokio::join!(admission.admit(&visit), async {
            sender.send_replace([Endpoint::Unix("/nowhere".into())].into());
        });
        let permit = permit.unwrap();

        sender.send_replace([].into());
        while admission.overview().replicas.iter().any(|replica| !replica.leaving) {
            tokio::task::yield_now().await;
        }
        assert_eq!(admission.overview().replicas.len(), 1, "its last request goes on");
        drop(permit);
        assert!(admission.overview().replicas.is_empty());
        shutdown.terminate();
    }
}
