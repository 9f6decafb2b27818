//! `bench/run`: the services beside what they replace, on one machine, in one run. See docs/benchmarks.md.
//!
//! 1. `place`: this process and the load go on one CPU, servers on another.
//! 2. For each scenario, `contestant` starts everybody, and `run` verifies that they answer alike and measures them.
//! 3. `report` shows and writes what was measured.

mod client;
mod content;
mod contestant;
mod load;
mod machine;
mod place;
mod report;
mod run;
mod scenario;
mod statistics;
mod template;
mod usage;
mod wrk;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use machine::Machine;
use place::{Place, folder};
use report::{Results, html, readme, terminal};
use run::Bench;
use scenario::{SCENARIOS, Scenario};

/// Compares Enjambre's services with what they replace.
#[derive(Debug, Parser)]
#[command(name = "bench/run", version)]
struct Arguments {
    /// Scenarios to run; all of them if none is named
    scenarios: Vec<String>,
    /// How often each contestant is measured, in turn with the others
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// How long each is measured in a round
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    seconds: u16,
    /// Name the scenarios and end
    #[arg(long)]
    list: bool,
    /// Where results go
    #[arg(long, default_value = "bench/results")]
    out: PathBuf,
    /// Where edge-cache, web-proxy, fpm-gateway and floor are
    #[arg(long, default_value = "target/release")]
    binaries: PathBuf,
    /// The folder bench/
    #[arg(long, default_value = "bench")]
    bench: PathBuf,
    /// Put the table of all results into this file, between its markers; README.md after a run of all scenarios
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "README.md")]
    readme: Option<PathBuf>,
    /// Measure nothing: show what was measured anew
    #[arg(long)]
    report: bool,
    /// How many objects hit-million has
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    objects: u32,
    /// An option for one of our services, as `edge-cache=--compress=off`: results say so
    #[arg(long = "option", value_name = "SERVICE=OPTION", value_parser = option)]
    options: Vec<(String, String)>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.list {
        for scenario in SCENARIOS {
            println!("{:<22}{}", scenario.name, scenario.what);
        }
        return Ok(());
    }
    if arguments.report {
        return show(&arguments);
    }
    let chosen = chosen(&arguments.scenarios)?;
    let binaries = arguments.binaries.canonicalize().context("the folder of the binaries")?;
    let bench = arguments.bench.canonicalize().context("the folder bench/")?;
    let machine = Machine::this(&bench);
    let place = Place::new(bench, binaries, arguments.options.clone())?;
    let docroot = folder("docroot")?;
    content::docroot(&place, docroot.path())?;
    let origin = contestant::origin(&place).await?;
    let bench = Bench {
        rounds: usize::from(arguments.rounds),
        duration: Duration::from_secs(arguments.seconds.into()),
        docroot: docroot.path().to_owned(),
        objects: arguments.objects,
        origin,
        place,
    };
    // What was started ends with the guards that this drops.
    tokio::select! {
        done = run_all(&bench, &chosen, &machine, &arguments.out) => done?,
        signal = interrupted() => bail!("interrupted{}", signal.err().map(|e| e.to_string()).unwrap_or_default()),
    }
    show(&arguments)
}

/// The page and README's table of all that was measured, now or before.
fn show(arguments: &Arguments) -> anyhow::Result<()> {
    let all = Results::read_all(&arguments.out)?;
    html::write(&arguments.out, &all)?;
    println!("{}", arguments.out.join("index.html").display());
    let complete = !arguments.report && arguments.scenarios.is_empty();
    let own = arguments.bench.join("../README.md");
    if let Some(readme) = arguments.readme.as_deref().or(complete.then_some(own.as_path())) {
        readme::update(readme, &all)?;
    }
    Ok(())
}

async fn run_all(bench: &Bench, chosen: &[&Scenario], machine: &Machine, out: &Path) -> anyhow::Result<()> {
    for scenario in chosen {
        println!("== {}: {}", scenario.name, scenario.what);
        let entries = bench.run(scenario).await.with_context(|| scenario.name)?;
        let results = Results::new(scenario, bench, machine, entries);
        results.write(out)?;
        terminal::print(&results);
    }
    Ok(())
}

async fn interrupted() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        done = tokio::signal::ctrl_c() => done,
    }
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Scenario>> {
    if names.is_empty() {
        return Ok(SCENARIOS.iter().collect());
    }
    names
        .iter()
        .map(|name| match SCENARIOS.iter().find(|scenario| scenario.name == name) {
            Some(scenario) => Ok(scenario),
            None => bail!("there is no scenario {name}; --list names them"),
        })
        .collect()
}

fn option(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((service, option)) if option.starts_with("--") => Ok((service.to_owned(), option.to_owned())),
        _ => Err("as edge-cache=--compress=off".to_owned()),
    }
}
