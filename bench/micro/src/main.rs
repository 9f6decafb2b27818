//! Counts the instructions that a request takes in each scenario, and compares them with bench/instructions.toml.
//!
//! 1. Each scenario is replayed twice under valgrind, with few requests and with many: `SCENARIO REQUESTS` is such a
//!    replay, against services in this process.
//! 2. Without arguments: a figure that deviates by more than the tolerance fails, if it was counted with the same tools.
//! 3. `--write`: the figures are written to the file. `--spread N`: each is counted N times, and what comes is shown.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::SystemTime;

use anyhow::{Context as _, bail, ensure};
use bench_micro::callgrind::Counter;
use bench_micro::figures::{Figures, Made, Verdict, deviation};
use bench_micro::scenario::Scenario;

/// What is done with the figures.
enum Verb {
    Compare,
    Write,
    Spread(usize),
    Help,
    Replay(Scenario, usize),
}

const USAGE: &str = "usage: replay [--write | --spread N | SCENARIO REQUESTS]";
/// Of a file that does not exist yet.
const TOLERANCE: f64 = 5.0;
/// The figure that is written is the middle one of so many.
const WRITE_RUNS: usize = 3;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("replay: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<bool> {
    let verb = verb()?;
    let program = std::env::current_exe()?;
    let folder = program.with_file_name("callgrind");
    std::fs::create_dir_all(&folder)?;
    let counter = Counter { program, folder };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../instructions.toml");
    match verb {
        Verb::Compare => compare(&counter, &path),
        Verb::Write => write(&counter, &path).map(|()| true),
        Verb::Spread(times) => spread(&counter, times).map(|()| true),
        Verb::Replay(scenario, requests) => replay(scenario, requests).map(|()| true),
        Verb::Help => {
            println!("{USAGE}");
            Ok(true)
        }
    }
}

fn verb() -> anyhow::Result<Verb> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    Ok(match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Verb::Compare,
        ["--help"] => Verb::Help,
        ["--write"] => Verb::Write,
        ["--spread", times] => Verb::Spread(times.parse().context("--spread")?),
        [name, requests] => {
            let scenario = Scenario::named(name).with_context(|| format!("there is no scenario {name}"))?;
            Verb::Replay(scenario, requests.parse().context("how many requests?")?)
        }
        _ => bail!("{USAGE}"),
    })
}

fn replay(scenario: Scenario, requests: usize) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(scenario.replay(requests))?;
    // Tasks that wait for ever are not waited for.
    runtime.shutdown_background();
    Ok(())
}

fn compare(runs: &Counter, path: &Path) -> anyhow::Result<bool> {
    let committed = read(path)?;
    let made = made()?;
    let judges = committed.made.is_comparable(&made);
    for name in committed.instructions.keys() {
        ensure!(Scenario::named(name).is_some(), "{}: there is no scenario {name}", path.display());
    }
    let (mut passed, mut failed) = (0, 0);
    for scenario in Scenario::ALL {
        let (name, counted) = (scenario.name(), runs.count(scenario)?);
        let verdict = committed.judge(name, counted);
        match verdict {
            Verdict::Within { committed } | Verdict::More { committed } | Verdict::Fewer { committed } => {
                println!(
                    "{name}: {counted} instructions per request, committed {committed}: {:+.2} %",
                    deviation(committed, counted)
                );
            }
            Verdict::NotCommitted => println!("{name}: {counted} instructions per request, none committed"),
        }
        if !judges {
            continue;
        }
        if verdict.is_good() {
            passed += 1;
            continue;
        }
        failed += 1;
        let what = match verdict {
            Verdict::More { .. } => "it takes more: where, `callgrind_annotate` says of",
            _ => "the file is not up to date; the profile is",
        };
        println!("FAILED {name}: {what} {}", runs.profile(scenario).display());
    }
    if failed > 0 {
        println!(
            "The tolerance is {} %. Counted with {made}; the figures of {} with {}.\n\
             If the change is wanted: ./test instructions -- --write",
            committed.tolerance, committed.made.date, committed.made
        );
    }
    if !judges {
        println!("note: not judged: counted with {made}; the committed figures with {}", committed.made);
    }
    println!("test result: instructions. {passed} passed; {failed} failed; 0 ignored");
    Ok(failed == 0)
}

fn write(runs: &Counter, path: &PathBuf) -> anyhow::Result<()> {
    let before = if path.exists() { Some(read(path)?) } else { None };
    let mut figures = Figures {
        made: made()?,
        tolerance: before.as_ref().map_or(TOLERANCE, |before| before.tolerance),
        instructions: [].into(),
    };
    for scenario in Scenario::ALL {
        let mut counts = (0..WRITE_RUNS).map(|_| runs.count(scenario)).collect::<anyhow::Result<Vec<_>>>()?;
        counts.sort_unstable();
        let counted = counts[WRITE_RUNS / 2];
        let change = before.as_ref().and_then(|before| before.instructions.get(scenario.name()));
        let change = change.map_or_else(String::new, |&before| {
            format!(", was {before}: {:+.2} %", deviation(before, counted))
        });
        println!("{}: {counted} instructions per request{change}", scenario.name());
        figures.instructions.insert(scenario.name().to_owned(), counted);
    }
    std::fs::write(path, figures.render()).with_context(|| path.display().to_string())
}

fn spread(runs: &Counter, times: usize) -> anyhow::Result<()> {
    for scenario in Scenario::ALL {
        let counts = (0..times).map(|_| runs.count(scenario)).collect::<anyhow::Result<Vec<_>>>()?;
        let (Some(&least), Some(&most)) = (counts.iter().min(), counts.iter().max()) else { continue };
        println!("{}: {counts:?}, {:.2} % apart", scenario.name(), deviation(least, most));
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Figures> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    toml::from_str(&text).with_context(|| path.display().to_string())
}

fn made() -> anyhow::Result<Made> {
    // `Wed, 25 Nov 2026 06:31:00 GMT`
    let now = httpdate::fmt_http_date(SystemTime::now());
    Ok(Made {
        date: now.get(5..16).unwrap_or_default().to_owned(),
        rustc: said("rustc", "-V")?,
        valgrind: said("valgrind", "--version")?,
        architecture: std::env::consts::ARCH.to_owned(),
        avx2: avx2(),
    })
}

#[cfg(target_arch = "x86_64")]
fn avx2() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
}

#[cfg(not(target_arch = "x86_64"))]
const fn avx2() -> bool {
    false
}

fn said(program: &str, argument: &str) -> anyhow::Result<String> {
    let said = Command::new(program).arg(argument).output().with_context(|| program.to_owned())?;
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}
