//! Options that every service has, to be flattened into its own.

use clap::{Args, ValueEnum};

use super::HumanDuration;
use crate::telemetry::LogFormat;

/// What a binary is asked to do: its first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Verb {
    /// Run the service.
    #[default]
    Serve,
    /// Validate the configuration, print it resolved, and exit.
    Check,
    /// Ask the running service's admin listener whether it is well; exit 0 or 1.
    Healthcheck,
}

/// How connections are taken.
#[derive(Debug, Clone, Args)]
pub struct ListenOptions {
    /// Connections served at once; more wait in the kernel's queue.
    #[arg(long, value_name = "N", default_value = "20000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,
    /// Expect a PROXY protocol header (v1 or v2) on every connection and take the client address from it.
    #[arg(long)]
    pub proxy_protocol: bool,
    /// Share the port with other processes of the same user (SO_REUSEPORT).
    #[arg(long)]
    pub reuse_port: bool,
}

/// How a service ends.
#[derive(Debug, Clone, Args)]
pub struct ShutdownOptions {
    /// How long requests in flight may go on after SIGTERM or SIGINT.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub shutdown_timeout: HumanDuration,
    /// How long to go on accepting, no longer ready, after SIGTERM, so that balancers can look away.
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    pub drain_delay: HumanDuration,
}

/// What is logged, and how.
#[derive(Debug, Clone, Args)]
pub struct LogOptions {
    /// Form of the log on standard error.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// Level, or a filter such as `info,hyper=warn`.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub log_level: String,
}

/// What is noted of each request.
#[derive(Debug, Clone, Args)]
pub struct AccessLogOptions {
    /// Where access-log lines go: `stdout`, `none`, or a file.
    #[arg(long, value_name = "stdout|none|FILE", default_value = "stdout")]
    pub access_log: crate::http::access_log::Destination,
    /// What they say: `combined`, `json`, or directives such as '%h %t "%r" %>s %B %{decision}x %D'.
    #[arg(long, value_name = "combined|json|FORMAT", default_value = "combined")]
    pub access_log_format: crate::http::access_log::Format,
}
