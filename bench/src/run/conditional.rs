//! A page that the client has, answered 304. By a loop of our own: HAProxy's 304 has the Content-Length of what it stands for,
//! as it may, and wrk waits for that body.

use anyhow::ensure;

use super::{Bench, Entry, Meter, in_turn, start_all, verify};
use crate::client::{Client, request};
use crate::load::closed_loop;
use crate::scenario::Scenario;

const TARGET: &str = "/b/1024/page";
const CONDITION: &str = "If-None-Match: \"b1024\"";

pub(super) async fn run(bench: &Bench, scenario: &Scenario) -> anyhow::Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = scenario.kinds.iter().map(|&kind| Entry::new(kind, "")).collect();
    let mut running = start_all(bench, &mut entries, |_| bench.setup()).await;
    in_turn(bench, &mut entries, &mut running, async |round, _, contestant| {
        let mut client = Client::connect(contestant.address).await?;
        client.get(TARGET, &[]).await?;
        verify(&client.get(TARGET, &[CONDITION]).await?, 304, b"")?;
        let origin = bench.origin_count().await?;
        let request = request("GET", TARGET, &[CONDITION]);
        let meter = Meter::start(contestant);
        let measured = closed_loop(contestant.address, &request, 304, 64, bench.duration(round)).await?;
        let mut sample = meter.stop(measured.requests);
        measured.into(&mut sample);
        let asked = bench.origin_count().await? - origin;
        ensure!(asked == 0, "the origin was asked {asked} times during hits");
        Ok(sample)
    })
    .await;
    Ok(entries)
}
