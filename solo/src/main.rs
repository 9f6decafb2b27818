//! Arguments → configuration → telemetry → bind → run → drain.

use std::process::ExitCode;

use common::admin::healthcheck;
use common::config::{self, ConfigError, Loaded, Verb};
use common::limits::raise_open_files;
use common::rules::written;
use common::shutdown::{Drained, Shutdown};
use common::telemetry;
use edge_cache::reload::{Known, Reading, Reload};
use solo::banner::Banner;
use solo::config::{GATEWAY_RULE, WEB_RULE, edge};
use solo::options::Options;
use solo::{Chain, Config, SetupError};

fn main() -> ExitCode {
    let loaded = match load() {
        Ok(loaded) => loaded,
        Err(error) => return error.report("solo"),
    };
    let known = Known::of(&loaded);
    let Loaded { options, rendered, file, .. } = loaded;
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
    let config = match Config::resolve(options, file.as_ref(), &folder) {
        Ok(config) => config,
        Err(SetupError::Config(error)) => return error.report("solo"),
        Err(error) => return fail(&error, 2),
    };
    if verb == Verb::Check {
        let written = |file| ["rule", WEB_RULE, GATEWAY_RULE].map(|key| written(file, key)).concat();
        print!("{rendered}{}", file.as_ref().map(written).unwrap_or_default());
        return ExitCode::SUCCESS;
    }
    // No SIGHUP: the end of a terminal ends what runs in it.
    let detected = config.site.application.preset().to_owned();
    let reload = Reload::new(known, move || {
        let Loaded { options, values, file, .. } = load()?;
        let config = edge(&options, &detected, file.as_ref())?;
        Ok(Reading { config, known: Known { values, file } })
    });
    match telemetry::init(&log).map_err(Into::into).and_then(|()| block_on(serve(config, reload))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 2),
    }
}

fn load() -> Result<Loaded<Options>, ConfigError> {
    config::load_beside("SOLO", std::env::args_os(), &["rule", WEB_RULE, GATEWAY_RULE])
}

async fn serve(config: Config, reload: Reload) -> anyhow::Result<()> {
    raise_open_files();
    let (grace, delay) = (config.grace, config.drain_delay);
    let shutdown = Shutdown::on_signals(grace, delay)?;
    let banner = Banner::of(&config);
    let chain = Chain::bind(config, &shutdown).await?.reloading(reload);
    print!("{}", banner.with(&chain.bound(), &chain.bound_tls(), chain.admin()));
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
