//! Arguments → configuration → telemetry → volume and agent → decide → run → stop.

use std::process::ExitCode;
use std::time::Duration;

use common::config::Loaded;
use common::telemetry;
use galera_node::config::{Verb, load};
use galera_node::{Config, agent, node};

fn main() -> ExitCode {
    let Loaded { options, rendered, .. } = match load(std::env::args_os()) {
        Ok(loaded) => loaded,
        Err(error) => return error.report("galera-node"),
    };
    let verb = options.verb;
    let agent = node::agent_address(&options);
    let patience = Duration::from_secs(4);
    match verb {
        Verb::Healthcheck => {
            return finish(block_on(async { Ok(agent::ask_health(agent, patience).await?) }), 1);
        }
        Verb::Status => {
            let printed = block_on(async {
                let report = agent::ask(agent, patience).await?;
                println!("{}", serde_json::to_string_pretty(&report)?);
                Ok(())
            });
            return finish(printed, 1);
        }
        Verb::Check | Verb::Serve => {}
    }
    let config = match Config::resolve(&options) {
        Ok(config) => config,
        Err(error) => return error.report("galera-node"),
    };
    if verb == Verb::Check {
        print!("{rendered}");
        return ExitCode::SUCCESS;
    }
    if let Err(error) = telemetry::init(&options.log) {
        return finish(Err(error.into()), 2);
    }
    match block_on(node::run(config)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => finish(Err(error), 1),
    }
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(work);
    // A thread that hangs in a shared file system must not hold the end up.
    runtime.shutdown_background();
    outcome
}

fn finish(outcome: anyhow::Result<()>, code: u8) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("galera-node: {error:#}");
            ExitCode::from(code)
        }
    }
}
