//! What PHP depends on: its database and its cache.
//!
//! 1. [`galera`] and [`memcached`] are watched, each node by a task of its own.
//! 2. [`Dependencies::admit`]: while there is no database requests are refused at once ([`shedding`]).
//! 3. [`Dependencies::steer`]: the others are told where to find what is healthy ([`steering`]).
//! 4. [`Pass::ended`]: a request that fails is the first sign of a node that has just died.
//!    [`Told::is_superseded`]: it may be tried again where it has.
//! 5. [`status`]: what is known, for `/status` and the metrics.

pub mod galera;
pub mod memcached;
mod options;
mod shedding;
mod status;
mod steering;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::discovery::{DiscoveryOptions, DnsError, discover};
use common::fastcgi::Params;
use common::shutdown::Shutdown;

use crate::admission::Admission;
use galera::Galera;
use memcached::Memcached;
use shedding::{Probe, Shedding};
use steering::Steering;

pub use options::{DependencyConfig, DependencyOptions};
pub use shedding::Refusal;
pub use status::Status;

/// Database and cache, as far as they were named.
#[derive(Debug)]
pub struct Dependencies {
    steering: Arc<Steering>,
    shedding: Arc<Shedding>,
    galera: Option<Arc<Galera>>,
    memcached: Option<Arc<Memcached>>,
}

impl Dependencies {
    /// Begins to watch what is configured.
    pub fn watch(
        config: &DependencyConfig,
        discovery: &DiscoveryOptions,
        admission: &Arc<Admission>,
        shutdown: &Shutdown,
    ) -> Result<Arc<Self>, DnsError> {
        let (steering, shedding) = (Arc::new(Steering::default()), Arc::new(Shedding::new()));
        let mut this = Self { steering, shedding, galera: None, memcached: None };
        let thresholds = config.thresholds;
        if !config.galera.nodes.is_empty() {
            let nodes = discover(config.galera.nodes.clone(), discovery, shutdown)?;
            let (steering, shedding) = (Arc::clone(&this.steering), Arc::clone(&this.shedding));
            let galera = Galera::new(config.galera.clone(), thresholds, steering, shedding);
            galera.follow(nodes, shutdown);
            this.galera = Some(galera);
        }
        if !config.memcached.servers.is_empty() {
            let servers = discover(config.memcached.servers.clone(), discovery, shutdown)?;
            let steering = Arc::clone(&this.steering);
            let memcached = Memcached::new(config.memcached.clone(), thresholds, steering);
            memcached.follow(servers, shutdown);
            limit(&memcached, Arc::clone(admission), shutdown);
            this.memcached = Some(memcached);
        }
        Ok(Arc::new(this))
    }

    /// Whether a request may go on, before it waits for a worker.
    pub fn admit(&self, params: &Params) -> Result<Pass<'_>, Refusal> {
        Ok(Pass { probe: self.shedding.admit(params)?, dependencies: self })
    }

    /// Tells PHP where its database and its cache are.
    pub fn steer(&self, params: &mut Params) -> Told<'_> {
        Told { writer: self.steering.apply(params), dependencies: self }
    }
}

/// What PHP was told with a request.
#[derive(Debug)]
pub struct Told<'a> {
    writer: Option<Bytes>,
    dependencies: &'a Dependencies,
}

impl Told<'_> {
    /// Whether another node has taken the writer's place since. Waits for the writer's next answer, or until it has none, but
    /// not for longer than `galera-timeout`.
    pub async fn is_superseded(&self) -> bool {
        match (&self.dependencies.galera, &self.writer) {
            (Some(galera), Some(writer)) => galera.is_superseded(writer).await,
            _ => false,
        }
    }
}

/// A request that may go on, until it has ended.
#[derive(Debug)]
pub struct Pass<'a> {
    probe: Option<Probe<'a>>,
    dependencies: &'a Dependencies,
}

impl Pass<'_> {
    /// The request got a good answer or not. A bad one is a reason to look after the database at once.
    pub fn ended(self, well: bool) {
        if let Some(galera) = &self.dependencies.galera
            && !well
        {
            galera.doubt();
        }
        if let Some(probe) = self.probe {
            probe.ended(well);
        }
    }
}

/// Passes the cap on workers on.
fn limit(memcached: &Memcached, admission: Arc<Admission>, shutdown: &Shutdown) {
    let mut cap = memcached.cap();
    shutdown.spawn_until_drain(async move {
        loop {
            admission.limit(*cap.borrow_and_update());
            if cap.changed().await.is_err() {
                return;
            }
        }
    });
}

/// Between 0.9 and 1.1 times as long, so that gateways that started together do not ask together.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.9 + fastrand::f64() / 5.0)
}
