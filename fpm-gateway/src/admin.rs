//! The gateway's own admin page: `/status`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::admin::{PageFuture, Pages, status_page};
use http::{Method, Request};
use serde::Serialize;

use crate::admission::Line;
use crate::dependencies;
use crate::lanes::{Cap, Lane};
use crate::server::Gateway;

#[derive(Debug)]
pub struct GatewayPages(pub Arc<Gateway>);

#[derive(Serialize)]
struct Status {
    /// Requests in flight, on all replicas.
    in_flight: u32,
    queue: Queue,
    kinds: Vec<Kind>,
    replicas: Vec<Replica>,
    #[serde(flatten)]
    dependencies: dependencies::Status,
}

#[derive(Serialize)]
struct Queue {
    length: usize,
    lanes: Vec<LaneStatus>,
}

#[derive(Serialize)]
struct LaneStatus {
    lane: &'static str,
    /// Workers.
    busy: u32,
    /// Requests that wait.
    waiting: usize,
    limit: usize,
    /// How long the first of them has waited.
    oldest_seconds: Option<f64>,
    timeout_seconds: f64,
}

/// A kind of requests that a rule bounds.
#[derive(Serialize)]
struct Kind {
    rule: String,
    busy: u32,
    workers: u32,
}

#[derive(Serialize)]
struct Replica {
    endpoint: String,
    usable: bool,
    /// Out of use for a while, since its requests fail one after the other.
    ejected: bool,
    /// No longer listed; finishes what it has.
    leaving: bool,
    busy: u32,
    /// Of the busy ones those whose request is over.
    post_response: u32,
    /// How it is known that a worker is free.
    accounting: &'static str,
    workers: u32,
    served: u64,
    /// Since its last answer.
    silent_seconds: Option<f64>,
}

impl Pages for GatewayPages {
    fn name(&self) -> &'static str {
        "fpm-gateway"
    }

    fn ready(&self) -> Result<(), String> {
        match self.0.admission.outage() {
            Some(since) => Err(format!("no replica can be reached for {} s", since.as_secs())),
            None => Ok(()),
        }
    }

    fn routes(&self) -> &'static [(&'static str, &'static str)] {
        &[("/status", "replicas, queue, database and cache, as JSON or as a page")]
    }

    fn page<'a>(&'a self, request: &'a Request<Bytes>) -> PageFuture<'a> {
        let page = (request.method() == Method::GET && request.uri().path() == "/status")
            .then(|| status_page(request, "fpm-gateway", &self.status()));
        Box::pin(std::future::ready(page))
    }
}

impl GatewayPages {
    fn status(&self) -> Status {
        let Gateway { admission, dependencies, config, .. } = &*self.0;
        let overview = admission.overview();
        let lanes = Lane::ALL.into_iter().zip(overview.lines).zip(config.queue_timeout);
        let lane = |((lane, line), timeout): ((Lane, Line), Duration)| LaneStatus {
            lane: lane.as_str(),
            busy: overview.busy.get(lane),
            waiting: line.length,
            limit: config.queue_length,
            oldest_seconds: line.oldest.map(|since| since.elapsed().as_secs_f64()),
            timeout_seconds: timeout.as_secs_f64(),
        };
        let kinds = admission.caps().iter().zip(&overview.capped);
        let kind =
            |(cap, busy): (&Cap, &u32)| Kind { rule: cap.rule.clone(), busy: *busy, workers: cap.workers };
        Status {
            in_flight: overview.replicas.iter().map(|replica| replica.busy).sum(),
            queue: Queue { length: overview.queued(), lanes: lanes.map(lane).collect() },
            kinds: kinds.map(kind).collect(),
            replicas: overview
                .replicas
                .into_iter()
                .map(|replica| Replica {
                    endpoint: replica.endpoint.to_string(),
                    usable: replica.usable,
                    ejected: replica.ejected,
                    leaving: replica.leaving,
                    busy: replica.busy,
                    post_response: replica.settling,
                    accounting: replica.accounting.as_str(),
                    workers: replica.workers,
                    served: replica.served,
                    silent_seconds: replica.silent_for.map(|time| time.as_secs_f64()),
                })
                .collect(),
            dependencies: dependencies.status(),
        }
    }
}
