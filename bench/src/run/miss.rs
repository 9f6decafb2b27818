//! Each URL once: what it costs to fetch and to store.

use anyhow::ensure;

use super::{Bench, Entry, Meter, in_turn, start_all, verify, with_wrk};
use crate::client::Client;
use crate::content::canned;
use crate::scenario::Scenario;
use crate::wrk::{self, Load};

const CONNECTIONS: u32 = 64;

pub(super) async fn run(bench: &Bench, scenario: &Scenario) -> anyhow::Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = scenario.kinds.iter().map(|&kind| Entry::new(kind, "")).collect();
    let mut running = start_all(bench, &mut entries, |_| bench.setup()).await;
    in_turn(bench, &mut entries, &mut running, async |round, place, contestant| {
        let prefix = format!("/b/1024/miss-{round}-{place}-");
        let mut client = Client::connect(contestant.address).await?;
        verify(&client.get(&format!("{prefix}first"), &[]).await?, 200, &canned(1024))?;
        let origin = bench.origin_count().await?;
        let load = Load {
            url: contestant.url("/"),
            connections: CONNECTIONS,
            script: Some("once.lua"),
            environment: vec![("PREFIX", prefix.clone())],
            ..Load::default()
        };
        let meter = Meter::start(contestant);
        let measured = wrk::run(&bench.place, &load, bench.duration(round)).await?;
        let mut sample = meter.stop(measured.requests);
        with_wrk(&mut sample, &measured);
        let asked = bench.origin_count().await? - origin;
        // wrk leaves with a request on each connection that it does not count.
        let expected = measured.requests..=measured.requests + u64::from(CONNECTIONS) * 2;
        ensure!(
            expected.contains(&asked),
            "the origin was asked {asked} times for {} misses",
            measured.requests
        );
        Ok(sample)
    })
    .await;
    Ok(entries)
}
