//! The gateway's own admin page: `/status`.

use std::sync::Arc;

use bytes::Bytes;
use common::admin::{PageFuture, Pages, json};
use http::{Method, Request, StatusCode};
use serde::Serialize;

use crate::server::Gateway;

#[derive(Debug)]
pub struct GatewayPages(pub Arc<Gateway>);

#[derive(Serialize)]
struct Status {
    /// Requests in flight, on all replicas.
    in_flight: u32,
    queue: Queue,
    replicas: Vec<Replica>,
}

#[derive(Serialize)]
struct Queue {
    length: usize,
    limit: usize,
    timeout_seconds: f64,
}

#[derive(Serialize)]
struct Replica {
    endpoint: String,
    usable: bool,
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
        &[("/status", "replicas and queue, as JSON")]
    }

    fn page<'a>(&'a self, request: &'a Request<Bytes>) -> PageFuture<'a> {
        let page = (request.method() == Method::GET && request.uri().path() == "/status").then(|| {
            // Numbers and addresses always make JSON.
            let mut body = serde_json::to_vec_pretty(&self.status()).unwrap_or_default();
            body.push(b'\n');
            json(StatusCode::OK, body)
        });
        Box::pin(std::future::ready(page))
    }
}

impl GatewayPages {
    fn status(&self) -> Status {
        let Gateway { admission, config, .. } = &*self.0;
        let (replicas, length) = admission.snapshot();
        Status {
            in_flight: replicas.iter().map(|replica| replica.busy).sum(),
            queue: Queue {
                length,
                limit: config.queue_length,
                timeout_seconds: config.queue_timeout.as_secs_f64(),
            },
            replicas: replicas
                .into_iter()
                .map(|replica| Replica {
                    endpoint: replica.endpoint.to_string(),
                    usable: replica.usable,
                    leaving: replica.leaving,
                    busy: replica.busy,
                    post_response: replica.settling,
                    accounting: replica.accounting.as_str(),
                    workers: replica.workers,
                    served: replica.served,
                    silent_seconds: replica.silent_for.map(|time| time.as_secs_f64()),
                })
                .collect(),
        }
    }
}
