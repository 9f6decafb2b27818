//! What a worker does when nobody waits for it any more: after its response, or after its client has left.
//!
//! The permit is held until the worker is free: when GET_VALUES is answered, or the connection ends. Where the answer came
//! together with the end of the response, that is at once. Whoever leaves does
//! not stop a script: it would only notice at its next output. What it still says is read and dropped, for a while;
//! then the connection is closed, and the script ends at its next output.

use std::sync::Arc;
use std::time::Duration;

use common::fastcgi::message::MAX_CONNS;
use common::fastcgi::{Outbound, ReadError, RequestEncoder, ResponseEvent, io};
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use super::{Heard, Worker};
use crate::health;
use crate::metrics::Route;
use crate::server::Gateway;

/// A worker in use. Dropping it while its request is under way leaves the worker to its aftermath.
#[derive(Debug)]
pub struct Lease {
    worker: Option<Worker>,
    gateway: Arc<Gateway>,
}

/// How long a response that had begun when its client left may take to its end. A page is then nearly done; a stream
/// has no end, and its script is to notice.
const REST_OF_A_RESPONSE: Duration = Duration::from_secs(2);
/// How long the answer to a question that went with the request may take.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// What is read of a response that nobody gets.
const MOST: u64 = 8 << 20;

impl Lease {
    pub const fn new(worker: Worker, gateway: Arc<Gateway>) -> Self {
        Self { worker: Some(worker), gateway }
    }

    /// `None` never, before the end.
    pub const fn worker(&mut self) -> Option<&mut Worker> {
        self.worker.as_mut()
    }

    /// The response is complete; the worker may not be done.
    pub fn finished(mut self, route: &Arc<Route>) {
        let Some(mut worker) = self.worker.take() else { return };
        worker.served();
        if worker.has_answered() {
            worker.heard(Heard::Answer);
            drop(worker);
            self.gateway.metrics.post_response(Duration::ZERO);
            route.post_response(Duration::ZERO);
        } else {
            self.leave(worker, Some(Arc::clone(route)));
        }
    }

    /// The connection is of no more use, by nobody's fault here.
    pub fn given_up(mut self) {
        self.worker = None;
    }

    /// The replica has failed the request.
    pub fn failed(mut self) {
        if let Some(ejection) = self.worker.take().and_then(|worker| worker.failed()) {
            let probe = self.gateway.config.probe.clone();
            self.gateway.shutdown.spawn_until_drain(health::readmit(ejection, probe));
        }
    }

    /// `ended`: the response is complete, and whose it was.
    fn leave(&self, mut worker: Worker, ended: Option<Arc<Route>>) {
        // Without the request's end a script would wait for it, and an application that is not asked is free by now.
        if !worker.uploaded || (ended.is_some() && !worker.asks()) {
            return;
        }
        // Nobody is served any more outside of a runtime.
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        worker.leaves();
        let gateway = Arc::clone(&self.gateway);
        self.gateway.shutdown.spawn(async move {
            let draining = gateway.shutdown.draining();
            tokio::select! {
                () = settle(&gateway, &mut worker, ended) => {}
                () = draining => {}
            }
        });
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            self.leave(worker, None);
        }
    }
}

/// Waits until the worker is free, or for as long as it is worth it.
async fn settle(gateway: &Gateway, worker: &mut Worker, ended: Option<Arc<Route>>) {
    let began = Instant::now();
    let patience = gateway.config.post_response_timeout;
    if ended.is_none() {
        let rest = if worker.begun.is_some() { REST_OF_A_RESPONSE.min(patience) } else { patience };
        match tokio::time::timeout(rest, rest_of_response(worker)).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false) | Err(_)) | Err(_) => return,
        }
        if !worker.asks() {
            return;
        }
    }
    // One that is not known to answer is not waited for that long.
    let patience = if worker.is_exact() { patience } else { patience.min(gateway.config.values_timeout) };
    let heard = tokio::time::timeout(patience, is_free(worker)).await.unwrap_or(Heard::Nothing);
    worker.heard(heard);
    if heard == Heard::Nothing {
        gateway.metrics.post_response_timeouts.inc();
        tracing::debug!(endpoint = %worker.endpoint(), ?patience, "a worker is not free, or does not say so");
    }
    gateway.metrics.post_response(began.elapsed());
    if let Some(route) = ended {
        route.post_response(began.elapsed());
    }
}

/// Reads up to END_REQUEST; `false` where that is too much.
async fn rest_of_response(worker: &mut Worker) -> Result<bool, ReadError> {
    let mut left = MOST;
    loop {
        match io::response(&mut worker.stream, &mut worker.decoder).await? {
            Some(ResponseEvent::End(_)) => return Ok(true),
            Some(ResponseEvent::Stdout(piece)) => match left.checked_sub(piece.len() as u64) {
                Some(rest) => left = rest,
                None => return Ok(false),
            },
            // Said before the end, it says nothing.
            Some(ResponseEvent::Values(_)) => worker.asked = false,
            Some(_) => {}
            None => return Ok(false),
        }
    }
}

/// The answer to GET_VALUES, or any end of the connection, comes from a worker that has nothing else to do.
async fn is_free(worker: &mut Worker) -> Heard {
    if worker.asked {
        // An application that has overlooked the question among a request's records is asked once more.
        if let Ok(heard) = tokio::time::timeout(ASK_AGAIN, answer(worker)).await {
            return heard;
        }
    }
    let mut out = Outbound::new();
    RequestEncoder::get_values(&mut out, &[MAX_CONNS]);
    if worker.stream.write_all_buf(&mut out).await.is_err() {
        return Heard::Closed;
    }
    answer(worker).await
}

async fn answer(worker: &mut Worker) -> Heard {
    loop {
        match io::response(&mut worker.stream, &mut worker.decoder).await {
            Ok(Some(ResponseEvent::Values(_) | ResponseEvent::UnknownType(_))) => return Heard::Answer,
            Ok(None) | Err(_) => return Heard::Closed,
            Ok(Some(_)) => {}
        }
    }
}
