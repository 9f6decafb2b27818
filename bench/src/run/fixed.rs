//! One URL, asked for by wrk over and over: hits, files, PHP.

use std::time::Duration;

use anyhow::ensure;

use super::{Bench, Entry, Meter, Sample, in_turn, start_all, verify, with_wrk};
use crate::client::Client;
use crate::contestant::{Kind, Running, Setup};
use crate::scenario::{Fixed, Scenario};
use crate::wrk::{self, Load};

pub(super) async fn run(bench: &Bench, scenario: &Scenario, work: Fixed) -> anyhow::Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = scenario.kinds.iter().map(|&kind| Entry::new(kind, "")).collect();
    let mut running = start_all(bench, &mut entries, |_| Setup { php: work.php, ..bench.setup() }).await;
    in_turn(bench, &mut entries, &mut running, async |round, _, contestant| {
        measure(bench, scenario, work, contestant, bench.duration(round)).await
    })
    .await;
    Ok(entries)
}

async fn measure(
    bench: &Bench,
    scenario: &Scenario,
    work: Fixed,
    contestant: &Running,
    duration: Duration,
) -> anyhow::Result<Sample> {
    let body = work.expect.body(&bench.docroot)?;
    let mut client = Client::connect(contestant.address).await?;
    if scenario.kinds.contains(&Kind::EdgeCache) {
        // Whatever is asked for with a condition is to be there already.
        client.get(work.target, &[]).await?;
    }
    let answer = client.get(work.target, work.fields).await?;
    verify(&answer, work.status, &body)?;
    let origin = bench.origin_count().await?;
    let load = Load {
        url: contestant.url(work.target),
        connections: work.connections,
        fields: work.fields.iter().map(|&field| field.to_owned()).collect(),
        ..Load::default()
    };
    let meter = Meter::start(contestant);
    let measured = wrk::run(&bench.place, &load, duration).await?;
    let mut sample = meter.stop(measured.requests);
    with_wrk(&mut sample, &measured);
    let asked = bench.origin_count().await? - origin;
    ensure!(asked == 0, "the origin was asked {asked} times during hits");
    ensure!(measured.requests > 0, "no request was answered");
    let answer = client.get(work.target, work.fields).await?;
    verify(&answer, work.status, &body)?;
    Ok(sample)
}
