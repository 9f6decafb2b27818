//! Binding and accepting; each connection is a [`connection`].

mod connection;
mod replies;

use std::sync::Arc;

use common::discovery::discover;
use common::listener::{Bound, Listener};
use common::shutdown::Shutdown;
use common::telemetry::Registry;

use crate::admin::GatewayPages;
use crate::admission::{Admission, Limits};
use crate::config::Config;
use crate::dependencies::Dependencies;
use crate::discovery;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::share;
use common::retry_budget::RetryBudget;

pub use connection::Ended;
pub use replies::Replies;

/// What all requests share.
#[derive(Debug)]
pub struct Gateway {
    pub admission: Arc<Admission>,
    pub dependencies: Arc<Dependencies>,
    pub budget: RetryBudget,
    pub metrics: Metrics,
    pub config: Config,
    pub shutdown: Shutdown,
}

/// A gateway that is bound to its addresses and not yet serving.
#[derive(Debug)]
pub struct Service {
    gateway: Arc<Gateway>,
    listeners: Vec<Listener>,
}

/// Binds the listeners and begins to follow the replicas.
pub async fn bind(config: Config, registry: &mut Registry, shutdown: &Shutdown) -> Result<Service, Error> {
    let mut listeners = Vec::with_capacity(config.listen.len());
    for address in &config.listen {
        listeners.push(Listener::bind(address, &config.listening).await?);
    }
    let endpoints = discover(config.upstream.clone(), &config.discovery, shutdown)?;
    let limits = Limits {
        queue_length: config.queue_length,
        queue_timeout: config.queue_timeout,
        shares: config.shares,
        patience: config.retry_timeout,
        workers_per_upstream: config.workers_per_upstream,
        slow_start: config.slow_start,
    };
    let admission = Admission::new(limits, config.lanes.caps().to_vec());
    share::follow(&config.gateways, &config.discovery, &admission, shutdown)?;
    discovery::follow(endpoints, &admission, &config, shutdown);
    let dependencies = Dependencies::watch(&config.dependencies, &config.discovery, &admission, shutdown)?;
    let metrics = Metrics::register(registry, &admission);
    dependencies.register(registry);
    let budget = RetryBudget::new();
    let gateway = Gateway { admission, dependencies, budget, metrics, config, shutdown: shutdown.clone() };
    Ok(Service { gateway: Arc::new(gateway), listeners })
}

impl Service {
    /// The addresses that were bound, in the order of the configuration.
    pub fn bound(&self) -> Vec<Bound> {
        self.listeners.iter().map(|listener| listener.local().clone()).collect()
    }

    pub fn pages(&self) -> Arc<GatewayPages> {
        Arc::new(GatewayPages(Arc::clone(&self.gateway)))
    }

    /// Accepts until the drain begins; connections are the shutdown's work in flight.
    pub async fn run(self) {
        let shutdown = self.gateway.shutdown.clone();
        for listener in self.listeners {
            let gateway = Arc::clone(&self.gateway);
            shutdown.spawn_until_drain(async move {
                loop {
                    let accepted = listener.accept().await;
                    gateway.shutdown.spawn(connection::serve(Arc::clone(&gateway), accepted));
                }
            });
        }
        shutdown.draining().await;
    }
}
