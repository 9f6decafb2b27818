//! Arguments → configuration → telemetry → bind → run → drain.

use std::process::ExitCode;

use common::admin::healthcheck;
use common::config::{Loaded, Verb};
use common::limits::raise_open_files;
use common::rules::written;
use common::shutdown::{Drained, Shutdown};
use common::telemetry;
use edge_cache::Config;
use edge_cache::config::load;
use edge_cache::reload::{Known, Reading, Reload};

fn main() -> ExitCode {
    let loaded = match load(std::env::args_os()) {
        Ok(loaded) => loaded,
        Err(error) => return error.report("edge-cache"),
    };
    let reload = Reload::new(Known::of(&loaded), || Reading::of(load(std::env::args_os())?));
    let Loaded { options, rendered, file, .. } = loaded;
    let (verb, log, print_rules) = (options.verb, options.log.clone(), options.print_rules);
    let config = match Config::resolve(options, file.as_ref()) {
        Ok(config) => config,
        Err(error) => return error.report("edge-cache"),
    };
    let outcome = match verb {
        Verb::Check if print_rules => {
            print!("{}", config.rules.render());
            return ExitCode::SUCCESS;
        }
        Verb::Check => {
            print!("{rendered}{}", file.as_ref().map(|file| written(file, "rule")).unwrap_or_default());
            return ExitCode::SUCCESS;
        }
        Verb::Healthcheck => block_on(async { Ok(healthcheck(&config.admin).await?) }),
        Verb::Serve => {
            telemetry::init(&log).map_err(Into::into).and_then(|()| block_on(serve(config, reload)))
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("edge-cache: {error}");
            // 1 for a service that is not well, 2 for one that cannot be started as it is told.
            ExitCode::from(if verb == Verb::Healthcheck { 1 } else { 2 })
        }
    }
}

async fn serve(config: Config, reload: Reload) -> anyhow::Result<()> {
    raise_open_files();
    let shutdown = Shutdown::on_signals(config.shutdown_timeout, config.drain_delay)?;
    edge_cache::run(config, Some(reload.on_hangup()?), shutdown.clone()).await?;
    if let Drained::Forced { tasks } = shutdown.finish().await {
        tracing::warn!(tasks, "ended with work unfinished");
    }
    Ok(())
}

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}
