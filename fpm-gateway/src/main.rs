//! Arguments → configuration → telemetry → bind → run → drain.

use std::process::ExitCode;

use common::admin::healthcheck;
use common::config::{Loaded, Verb};
use common::limits::raise_open_files;
use common::rules::written;
use common::shutdown::{Drained, Shutdown};
use common::telemetry;
use fpm_gateway::Config;
use fpm_gateway::config::load;
use fpm_gateway::lanes::RULE;

fn main() -> ExitCode {
    let Loaded { options, rendered, file, .. } = match load(std::env::args_os()) {
        Ok(loaded) => loaded,
        Err(error) => return error.report("fpm-gateway"),
    };
    let (verb, log, print_rules) = (options.verb, options.log.clone(), options.print_rules);
    let config = match Config::resolve(options, file.as_ref().map(|file| (file, RULE))) {
        Ok(config) => config,
        Err(error) => return error.report("fpm-gateway"),
    };
    let outcome = match verb {
        Verb::Check if print_rules => {
            print!("{}", config.lanes.render());
            return ExitCode::SUCCESS;
        }
        Verb::Check => {
            print!("{rendered}{}", file.as_ref().map(|file| written(file, RULE)).unwrap_or_default());
            return ExitCode::SUCCESS;
        }
        Verb::Healthcheck => block_on(async { Ok(healthcheck(&config.admin).await?) }),
        Verb::Serve => telemetry::init(&log).map_err(Into::into).and_then(|()| block_on(serve(config))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fpm-gateway: {error}");
            // 1 for a service that is not well, 2 for one that cannot be started as it is told.
            ExitCode::from(if verb == Verb::Healthcheck { 1 } else { 2 })
        }
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    raise_open_files();
    let shutdown = Shutdown::on_signals(config.shutdown_timeout, config.drain_delay)?;
    fpm_gateway::run(config, shutdown.clone()).await?;
    if let Drained::Forced { tasks } = shutdown.finish().await {
        tracing::warn!(tasks, "ended with work unfinished");
    }
    Ok(())
}

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}
