//! Arguments → configuration → telemetry → bind → run → drain.

use std::process::ExitCode;

use common::admin::healthcheck;
use common::config::{self, Loaded, Verb};
use common::limits::raise_open_files;
use common::shutdown::{Drained, Shutdown};
use common::telemetry;
use solo::banner::Banner;
use solo::options::Options;
use solo::{Chain, Config, SetupError};

fn main() -> ExitCode {
    let Loaded { options, rendered } = match config::load::<Options>("SOLO", std::env::args_os()) {
        Ok(loaded) => loaded,
        Err(error) => return error.report("solo"),
    };
    let (verb, folder) = match options.words() {
        Ok(words) => words,
        Err(problem) => return fail(&problem, 2),
    };
    let (log, admin) = (options.log.clone(), options.admin.clone());
    if verb == Verb::Healthcheck {
        return match block_on(async { Ok(healthcheck(&admin).await?) }) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, 1),
        };
    }
    let config = match Config::resolve(options, &folder) {
        Ok(config) => config,
        Err(SetupError::Config(error)) => return error.report("solo"),
        Err(error) => return fail(&error, 2),
    };
    if verb == Verb::Check {
        print!("{rendered}");
        return ExitCode::SUCCESS;
    }
    match telemetry::init(&log).map_err(Into::into).and_then(|()| block_on(serve(config))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 2),
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    raise_open_files();
    let (grace, delay) = (config.grace, config.drain_delay);
    let shutdown = Shutdown::on_signals(grace, delay)?;
    let banner = Banner::of(&config);
    let chain = Chain::bind(config, &shutdown).await?;
    print!("{}", banner.with(&chain.bound(), chain.admin()));
    if let Drained::Forced { tasks } = chain.run(grace, &shutdown).await {
        tracing::warn!(tasks, "ended with work unfinished");
    }
    Ok(())
}

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

fn fail(problem: &dyn std::fmt::Display, code: u8) -> ExitCode {
    eprintln!("solo: {problem}");
    ExitCode::from(code)
}
