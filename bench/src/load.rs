//! Load that wrk cannot make: answers that it does not understand, and requests that are made once each.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::task::JoinSet;

use crate::client::{Client, request};
use crate::run::{Sample, put, rate};
use crate::statistics::percentile;

/// What a closed loop of our own measured.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    seconds: f64,
    /// Milliseconds.
    latencies: Vec<f64>,
}

/// One request over and over on each of some connections, as wrk does it.
pub(crate) async fn closed_loop(
    address: SocketAddr,
    request: &[u8],
    status: u16,
    connections: u32,
    duration: Duration,
) -> anyhow::Result<Measured> {
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(Client::connect(address).await?);
    }
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for mut client in clients {
        let request = request.to_owned();
        tasks.spawn(async move {
            let mut part = Measured::default();
            let mut sent = Instant::now();
            while sent.duration_since(begin) < duration {
                let answer = client.skim(&request).await;
                let now = Instant::now();
                part.requests += 1;
                part.errors += u64::from(!answer.as_ref().is_ok_and(|(found, _)| *found == status));
                part.latencies.push(now.duration_since(sent).as_secs_f64() * 1e3);
                if answer.is_err() {
                    break;
                }
                sent = now;
            }
            part
        });
    }
    let mut measured = Measured::default();
    while let Some(part) = tasks.join_next().await {
        let part = part?;
        measured.requests += part.requests;
        measured.errors += part.errors;
        measured.latencies.extend(part.latencies);
    }
    measured.seconds = begin.elapsed().as_secs_f64();
    Ok(measured)
}

/// Asks for each target once, on 64 connections; every answer has to be 200.
pub(crate) async fn fill(
    address: SocketAddr,
    target: impl Fn(u32) -> String,
    count: u32,
) -> anyhow::Result<()> {
    const CONNECTIONS: u32 = 64;
    let mut tasks = JoinSet::new();
    for first in 0..CONNECTIONS.min(count) {
        let requests: Vec<Vec<u8>> = (first..count)
            .step_by(CONNECTIONS as usize)
            .map(|number| request("GET", &target(number), &[]))
            .collect();
        tasks.spawn(async move {
            let mut client = Client::connect(address).await?;
            for request in requests {
                let (status, _) = client.skim(&request).await?;
                ensure!(status == 200, "answers {status} while it is being filled");
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

impl Measured {
    pub(crate) fn into(mut self, sample: &mut Sample) {
        rate(sample, self.requests, self.seconds);
        put(sample, "errors", self.errors as f64);
        put_percentiles(sample, &mut self.latencies);
    }
}

/// Latencies in milliseconds.
pub(crate) fn put_percentiles(sample: &mut Sample, latencies: &mut [f64]) {
    for (name, share) in [("p50_ms", 0.5), ("p99_ms", 0.99), ("p999_ms", 0.999)] {
        let value = percentile(latencies, share);
        if value.is_finite() {
            put(sample, name, value);
        }
    }
}
