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
