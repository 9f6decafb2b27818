use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogOptions;

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error(
        "log-level = {level:?}: expected a level (error, warn, info, debug, trace) or a filter such as info,hyper=warn: {cause}"
    )]
    Filter { level: String, cause: tracing_subscriber::filter::ParseError },
    #[error("cannot start logging: {0}")]
    Init(#[from] tracing_subscriber::util::TryInitError),
}

/// Starts logging to standard error, once a process.
pub fn init(options: &LogOptions) -> Result<(), LogError> {
    let filter = EnvFilter::builder()
        .parse(&options.log_level)
        .map_err(|cause| LogError::Filter { level: options.log_level.clone(), cause })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match options.log_format {
        LogFormat::Text => builder.with_target(false).finish().try_init()?,
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}
