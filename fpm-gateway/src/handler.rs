//! The life of one request.
//!
//! 1. [`dependencies`](crate::dependencies): without a database it is refused at once.
//! 2. [`admission`](crate::admission): a worker is waited for, in the order of arrival within its
//!    [lane](crate::lanes), and not for ever.
//! 3. [`balance`](crate::balance): it is one of the replica with the least outstanding requests.
//! 4. [`backend`]: a connection of its own. One that cannot be made costs nothing but time: nothing was
//!    sent, so the request goes back to its place in the queue, whatever its method.
//! 5. [`request`]: parameters that may not come from outside go, and those that say where database and cache are come.
//! 6. [`relay`]: request and response stream through, at the pace of the slower side.
//! 7. The worker is given back when it is free ([`Lease`]): after what it does behind its response, and also when the
//!    web server has gone and this future with it.
//! 8. [`error`]: what went wrong becomes an answer.

use std::sync::Arc;
use std::time::Duration;

use common::fastcgi::EndRequest;
use common::net::Endpoint;
use tokio::time::Instant;

use crate::admission::{Refusal, Visit};
use crate::backend::{self, Backoff, ConnectError, Lease, Worker};
use crate::error::{self, Failure, Outcome};
use crate::lanes::Lane;
use crate::relay::{self, RelayError, SecondChance};
use crate::request::{self, Inbound};
use crate::server::{Ended, Gateway};

/// How long after a replica broke off a request is tried once more.
const BEFORE_AGAIN: Duration = Duration::from_millis(50);

pub async fn handle(gateway: Arc<Gateway>, mut inbound: Inbound) -> Ended {
    let measured = gateway.metrics.request();
    let began = Instant::now();
    let mut times = Times::default();
    let served = serve(&gateway, &mut inbound, &mut times).await;
    log_slow(&gateway, &inbound, began.elapsed(), times);
    match served {
        Ok(end) => {
            inbound.replies.end(end);
            measured.ended(Outcome::Complete);
            Ended::Whole
        }
        Err(failure) => {
            let outcome = failure.outcome(inbound.replies.started());
            log(&failure, outcome, &inbound);
            measured.ended(outcome);
            error::answer(&failure, inbound.replies)
        }
    }
}

/// Where a request's time has gone.
#[derive(Debug, Clone, Default)]
struct Times {
    /// In the queue, and until there was a connection.
    waited: Option<Duration>,
    replica: Option<Endpoint>,
    lane: Option<Lane>,
}

async fn serve(
    gateway: &Arc<Gateway>,
    inbound: &mut Inbound,
    times: &mut Times,
) -> Result<EndRequest, Failure> {
    let pass = gateway.dependencies.admit(&inbound.params)?;
    let route = gateway.config.lanes.route(&inbound.params);
    times.lane = Some(route.lane);
    let visit = gateway.admission.arrive(route);
    gateway.budget.earn();
    let mut repeatable = request::is_repeatable(&inbound.params);
    loop {
        let mut lease = Lease::new(worker(gateway, &visit).await?, Arc::clone(gateway));
        let waited = visit.arrived.elapsed();
        gateway.metrics.waited(waited);
        times.waited = Some(waited);
        let Some(worker) = lease.worker() else { return Err(Refusal::Unavailable.into()) };
        times.replica = Some(worker.endpoint().clone());
        // Also what the attempt before has set.
        request::strip_reserved(&mut inbound.params);
        let told = gateway.dependencies.steer(&mut inbound.params);
        let asked = Instant::now();
        let again = repeatable.then_some(SecondChance { told: &told, budget: &gateway.budget });
        let relayed = relay::relay(worker, inbound, gateway.config.read_timeout, again).await;
        let error = match relayed {
            Ok(end) => {
                pass.ended(!inbound.replies.is_error());
                let route = gateway.metrics.routes.of(&inbound.params, inbound.replies.is_error());
                let first_byte = worker.begun.map_or(asked.elapsed(), |begun| begun - asked);
                route.answered(first_byte, asked.elapsed());
                lease.finished(&route);
                return Ok(end);
            }
            // Not a failure of the replica.
            Err(error @ RelayError::ClientStalled(_)) => {
                lease.given_up();
                return Err(error.into());
            }
            // Nor is this: it is left as if the client had gone.
            Err(error @ RelayError::Superseded) => {
                tracing::debug!(request = request::name(&inbound.params), %error, "trying once more");
                gateway.metrics.upstream_error(error.kind());
                gateway.metrics.retries.inc();
                repeatable = false;
                continue;
            }
            Err(error) => error,
        };
        gateway.metrics.upstream_error(error.kind());
        lease.failed();
        // Whether the script has run nobody knows: a second run must do no harm (RFC 9110, section 9.2.2).
        let untouched = inbound.body.is_untouched() && !inbound.replies.started();
        let again = repeatable && untouched && error.is_silent() && gateway.budget.spend();
        if !again {
            pass.ended(false);
            return Err(error.into());
        }
        tracing::debug!(request = request::name(&inbound.params), %error, "trying once more");
        gateway.metrics.retries.inc();
        repeatable = false;
        // A replica that is dying takes connections until its last process is gone: not into the same hole.
        tokio::time::sleep(BEFORE_AGAIN).await;
    }
}

/// A connection to a replica with a worker for us; others are tried until one is there.
async fn worker(gateway: &Gateway, visit: &Visit) -> Result<Worker, Failure> {
    let mut backoff = Backoff::new();
    let mut failing_since = None;
    loop {
        let permit = gateway.admission.admit(visit).await?;
        let error = match backend::connect(permit, gateway.config.connect_timeout).await {
            Ok(worker) => return Ok(worker),
            Err(error) => error,
        };
        gateway.metrics.upstream_error(error.kind());
        let since = *failing_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= gateway.config.retry_timeout {
            return Err(Refusal::Unavailable.into());
        }
        gateway.metrics.retries.inc();
        // A replica that cannot be reached is not chosen again before a probe has reached it; the others
        // still may be.
        if !matches!(error, ConnectError::Unreachable(_)) {
            tokio::time::sleep(backoff.pause()).await;
        }
    }
}

/// PHP's own slow log says where a script was; this one says what was asked and where it waited.
fn log_slow(gateway: &Gateway, inbound: &Inbound, total: Duration, times: Times) {
    let limit = gateway.config.slow_log;
    if limit.is_zero() || total < limit {
        return;
    }
    let Times { waited, replica, lane } = times;
    let id =
        inbound.params.get("HTTP_X_REQUEST_ID").map(|id| String::from_utf8_lossy(id)).unwrap_or_default();
    tracing::info!(
        request = request::name(&inbound.params),
        request_id = &*id,
        lane = lane.map_or("-", Lane::as_str),
        replica = replica.map(|endpoint| endpoint.to_string()).unwrap_or_default(),
        waited_ms = waited.unwrap_or(total).as_millis(),
        total_ms = total.as_millis(),
        "slow request"
    );
}

fn log(failure: &Failure, outcome: Outcome, inbound: &Inbound) {
    let request = request::name(&inbound.params);
    match failure {
        // Overload and outages would fill the log just when it is needed; the metrics count them.
        Failure::Refused(_) | Failure::Shed(_) => {
            tracing::debug!(request, outcome = outcome.as_str(), %failure, "refused");
        }
        Failure::Relay(RelayError::ClientStalled(_)) => tracing::debug!(request, %failure, "given up"),
        Failure::Relay(_) => tracing::warn!(request, outcome = outcome.as_str(), %failure, "failed"),
    }
}
