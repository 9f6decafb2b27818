//! The same hits with a server on one core and on two. On a machine with two cores the load shares the second one, so
//! throughput says little there; what the server could do with both is told by its CPU time per request.

use anyhow::ensure;

use super::{Bench, Entry, Meter, in_turn, put, start_all, verify, with_wrk};
use crate::client::Client;
use crate::content::canned;
use crate::contestant::Setup;
use crate::scenario::Scenario;
use crate::wrk::{self, Load};

const TARGET: &str = "/b/1024/page";

pub(super) async fn run(bench: &Bench, scenario: &Scenario) -> anyhow::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for &kind in scenario.kinds {
        entries.extend([Entry::new(kind, "1 core"), Entry::new(kind, "2 cores")]);
    }
    let cores = |place: usize| 1 + place % 2;
    let mut running = start_all(bench, &mut entries, |entry| Setup {
        cores: if entry.variant == "1 core" { 1 } else { 2 },
        ..bench.setup()
    })
    .await;
    in_turn(bench, &mut entries, &mut running, async |round, place, contestant| {
        let mut client = Client::connect(contestant.address).await?;
        client.get(TARGET, &[]).await?;
        verify(&client.get(TARGET, &[]).await?, 200, &canned(1024))?;
        let origin = bench.origin_count().await?;
        let load = Load { url: contestant.url(TARGET), connections: 128, ..Load::default() };
        let meter = Meter::start(contestant);
        let measured = wrk::run(&bench.place, &load, bench.duration(round)).await?;
        let mut sample = meter.stop(measured.requests);
        with_wrk(&mut sample, &measured);
        if let Some(cpu) = sample.get("cpu_us").copied() {
            put(&mut sample, "capacity_rps", cores(place) as f64 * 1e6 / cpu);
        }
        ensure!(bench.origin_count().await? == origin, "the origin was asked during hits");
        Ok(sample)
    })
    .await;
    Ok(entries)
}
