//! Which endpoints a service sends its requests to, now.
//!
//! 1. [`Target`]: what an operator writes; an address, a name, a socket, or `dns://name:port`.
//! 2. [`Lookup`]: one question to DNS, asked again on our own interval. Record TTLs are ignored, since
//!    Swarm gives 600 s for answers that change within seconds.
//! 3. [`merge`]: pure. An empty or failed answer keeps the last known good list; duplicates count once.
//! 4. [`Endpoints`] behind one [`watch`]: an endpoint that is gone from the list is to be drained, by
//!    giving it no new request; requests in flight on it go on.

mod dns;
mod target;

use std::collections::BTreeSet;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

pub use dns::{Dns, DnsError};
pub use target::{Target, TargetError};

use crate::config::HumanDuration;
use crate::net::Endpoint;
use crate::shutdown::Shutdown;

/// The endpoints in use, sorted and without duplicates; empty until a first answer has come.
pub type Endpoints = Arc<[Endpoint]>;

/// The endpoints in use. A request that comes before the first answer of DNS, to a service that has just been started, waits
/// for it up to `patience` (nginx and HAProxy look names up before they listen). Cancel safe.
pub async fn known(endpoints: &watch::Receiver<Endpoints>, patience: Duration) -> Endpoints {
    let now = Endpoints::clone(&endpoints.borrow());
    if !now.is_empty() {
        return now;
    }
    let mut coming = endpoints.clone();
    let first = coming.wait_for(|endpoints| !endpoints.is_empty());
    match tokio::time::timeout(patience, first).await {
        Ok(Ok(first)) => Endpoints::clone(&first),
        // Too late, or nobody looks any more.
        _ => now,
    }
}

/// One look-up of a host name's addresses.
pub trait Lookup: Send + Sync + 'static {
    /// Every address of `host`; an error says why there is none.
    fn lookup<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, DnsError>> + Send + 'a>>;
}

/// How names are looked up.
#[derive(Debug, Clone, clap::Args)]
pub struct DiscoveryOptions {
    /// How often names are looked up.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    pub dns_interval: HumanDuration,
    /// The DNS server to ask, instead of those in /etc/resolv.conf.
    #[arg(long, value_name = "IP:PORT")]
    pub dns_server: Option<SocketAddr>,
}

fn interval(text: &str) -> Result<HumanDuration, String> {
    let interval: HumanDuration =
        text.parse().map_err(|error: crate::config::UnitError| error.to_string())?;
    if interval.get() < SHORTEST_INTERVAL {
        return Err(format!("expected at least {}ms", SHORTEST_INTERVAL.as_millis()));
    }
    Ok(interval)
}

/// More often a DNS server would feel it.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
/// How long one look-up may take before it counts as failed.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// Follows `targets` until the drain begins. Fixed ones are there at once, names after their first answer.
pub fn discover(
    targets: Vec<Target>,
    options: &DiscoveryOptions,
    shutdown: &Shutdown,
) -> Result<watch::Receiver<Endpoints>, DnsError> {
    let names = targets.iter().any(|target| matches!(target, Target::Name { .. }));
    let lookup: Option<Arc<dyn Lookup>> =
        if names { Some(Arc::new(Dns::new(options.dns_server, LOOKUP_TIMEOUT)?)) } else { None };
    Ok(discover_with(targets, options.dns_interval.get(), lookup, shutdown))
}

/// [`discover`] with another resolver.
pub fn discover_with(
    targets: Vec<Target>,
    interval: Duration,
    lookup: Option<Arc<dyn Lookup>>,
    shutdown: &Shutdown,
) -> watch::Receiver<Endpoints> {
    let mut known: Vec<Known> = targets.into_iter().map(Known::new).collect();
    let (sender, receiver) = watch::channel(merge(&known));
    let Some(lookup) = lookup else {
        // Nothing will change; the receiver keeps the one value after its sender is gone.
        return receiver;
    };
    shutdown.spawn_until_drain(async move {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !sender.is_closed() {
            ticks.tick().await;
            futures_util::future::join_all(known.iter_mut().map(|known| known.refresh(lookup.as_ref())))
                .await;
            let now = merge(&known);
            sender.send_if_modified(|current| {
                let changed = **current != *now;
                if changed {
                    tracing::info!(before = %list(current), now = %list(&now), "endpoints changed");
                    *current = now;
                }
                changed
            });
        }
    });
    receiver
}

/// A target with its last good answer.
struct Known {
    target: Target,
    endpoints: Vec<Endpoint>,
    /// The last look-up failed: said once, not every second.
    failing: bool,
}

impl Known {
    fn new(target: Target) -> Self {
        let endpoints = match &target {
            Target::Fixed(endpoint) => vec![endpoint.clone()],
            Target::Name { .. } => Vec::new(),
        };
        Self { target, endpoints, failing: false }
    }

    async fn refresh(&mut self, lookup: &dyn Lookup) {
        let Target::Name { host, port } = &self.target else { return };
        let answer = tokio::time::timeout(LOOKUP_TIMEOUT, lookup.lookup(host))
            .await
            .unwrap_or(Err(DnsError::TimedOut));
        match answer {
            Ok(addresses) if !addresses.is_empty() => {
                self.endpoints =
                    addresses.into_iter().map(|ip| Endpoint::Tcp(SocketAddr::new(ip, *port))).collect();
                self.failing = false;
            }
            Ok(_) => self.keep("the answer is empty"),
            Err(error) => self.keep(&error.to_string()),
        }
    }

    fn keep(&mut self, why: &str) {
        if !self.failing {
            tracing::warn!(target_name = %self.target, why, keeping = self.endpoints.len(), "look-up failed");
        }
        self.failing = true;
    }
}

fn merge(known: &[Known]) -> Endpoints {
    let all: BTreeSet<&Endpoint> = known.iter().flat_map(|known| &known.endpoints).collect();
    all.into_iter().cloned().collect()
}

fn list(endpoints: &[Endpoint]) -> String {
    let names: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
    names.join(" ")
}

#[cfg(test)]
mod tests;
