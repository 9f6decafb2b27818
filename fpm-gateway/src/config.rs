//! Options as they are written, and the configuration that they make.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser};
use common::config::{
    self, ByteSize, ConfigError, ConfigFile, HumanDuration, ListenOptions, Loaded, LogOptions,
    ShutdownOptions, Verb,
};
use common::discovery::{DiscoveryOptions, Target};
use common::net::Address;

use crate::admission::Shares;
use crate::dependencies::{DependencyConfig, DependencyOptions};
use crate::lanes::{Lanes, Preset, RULE};
use crate::share::Gateways;

/// A FastCGI balancer that owns the queue in front of PHP-FPM.
#[derive(Debug, Parser)]
#[command(name = "fpm-gateway", version)]
pub struct Options {
    #[arg(value_enum, default_value = "serve")]
    pub verb: Verb,
    /// A TOML file with any of these options as keys.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Addresses to serve FastCGI on: HOST:PORT or unix:/path.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9001", value_delimiter = ',')]
    pub listen: Vec<Address>,
    /// PHP-FPM replicas: HOST:PORT, unix:/path or dns://NAME:PORT.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9000", value_delimiter = ',')]
    pub upstream: Vec<Target>,
    /// What is known of the application, as rules: see check --print-rules.
    #[arg(long, value_name = "NAME", default_value = "none")]
    pub preset: Preset,
    /// With check: print the rules in force.
    #[arg(long)]
    pub print_rules: bool,
    /// Where the admin pages are served.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9082")]
    pub admin: Address,
    #[command(flatten)]
    pub gateway: GatewayOptions,
    #[command(flatten)]
    pub dependencies: DependencyOptions,
    #[command(flatten)]
    pub listening: ListenOptions,
    #[command(flatten)]
    pub discovery: DiscoveryOptions,
    #[command(flatten)]
    pub shutdown: ShutdownOptions,
    #[command(flatten)]
    pub log: LogOptions,
}

/// The options that are the gateway's own.
#[derive(Debug, Clone, Args)]
pub struct GatewayOptions {
    /// A replica's workers: its pm.max_children.
    #[arg(long, value_name = "N", default_value = "8", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub workers_per_upstream: u32,
    /// How many gateways share the replicas' workers: a number, or the name that has an address for each.
    #[arg(long, value_name = "N|NAME:PORT", default_value = "1")]
    pub gateways: Gateways,
    /// Requests that take longer are logged; 0s: none.
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub slow_log: HumanDuration,
    /// Requests that may wait for a worker in each lane; more are answered 503 at once.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub queue_length: u32,
    /// How long a request may wait for a worker.
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub queue_timeout: HumanDuration,
    /// The same for what nobody waits for: cron, updates, feeds.
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub background_queue_timeout: HumanDuration,
    /// Percent of all workers that only interactive requests get, rounded down.
    #[arg(long, value_name = "PERCENT", default_value = "10", value_parser = clap::value_parser!(u32).range(0..=90))]
    pub interactive_reserve: u32,
    /// Percent of all workers that background requests may have, rounded up.
    #[arg(long, value_name = "PERCENT", default_value = "25", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub background_limit: u32,
    /// How long requests wait for a replica to come back when none can be reached.
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    pub retry_timeout: HumanDuration,
    /// How long a replica that appears gets less than the others, since its opcache is cold.
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub slow_start: HumanDuration,
    /// How long connecting to a replica may take.
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    pub connect_timeout: HumanDuration,
    /// How long a request may go without a byte in either direction.
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub read_timeout: HumanDuration,
    /// How long a worker that works on after its response, or for a client that has left, counts as busy; then its
    /// connection is closed.
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub post_response_timeout: HumanDuration,
    /// How long a replica that has not answered GET_VALUES yet may take to say that a worker is free.
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub values_timeout: HumanDuration,
    /// How much of a response may wait for a web server that reads slowly, on one connection; what fits frees its worker.
    #[arg(long, value_name = "SIZE", default_value = "64KiB")]
    pub response_buffer: ByteSize,
    /// How long an inbound connection is kept without a request.
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    pub idle_timeout: HumanDuration,
    /// How often a replica that shows no other sign of life is asked for one.
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    pub probe_interval: HumanDuration,
    /// How long a replica may take to answer a probe.
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    pub probe_timeout: HumanDuration,
    /// The pool's ping.path. Without one PHP-FPM answers the probe with 404, which is as good a sign of life.
    #[arg(long, value_name = "PATH", default_value = "/fpm-ping")]
    pub ping_path: String,
    /// The pool's pm.status_path, to learn its size from where pm is static.
    #[arg(long, value_name = "PATH")]
    pub status_path: Option<String>,
}

/// What the service runs with.
#[derive(Debug, Clone)]
pub struct Config {
    pub listen: Vec<Address>,
    pub listening: ListenOptions,
    pub upstream: Vec<Target>,
    pub discovery: DiscoveryOptions,
    pub admin: Address,
    pub workers_per_upstream: u32,
    pub gateways: Gateways,
    pub slow_log: Duration,
    pub queue_length: usize,
    /// By lane.
    pub queue_timeout: [Duration; 3],
    pub shares: Shares,
    pub lanes: Arc<Lanes>,
    pub retry_timeout: Duration,
    pub slow_start: Duration,
    pub connect_timeout: Duration,
    pub read_timeout: Duration,
    pub response_buffer: usize,
    pub idle_timeout: Duration,
    pub post_response_timeout: Duration,
    /// How long GET_VALUES may take at a replica that is not known to answer it.
    pub values_timeout: Duration,
    pub probe: Probe,
    pub dependencies: DependencyConfig,
    pub shutdown_timeout: Duration,
    pub drain_delay: Duration,
}

/// How replicas are asked for a sign of life.
#[derive(Debug, Clone)]
pub struct Probe {
    pub interval: Duration,
    pub timeout: Duration,
    pub path: String,
    pub status_path: Option<String>,
}

/// [`common::config::load`] with the file's `[[rule]]` left for [`Config::resolve`].
pub fn load(
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<Loaded<Options>, ConfigError> {
    config::load_beside("FPM_GATEWAY", args, &[RULE])
}

impl Config {
    /// Checks what no single option can know, and reads the rules: those of `file` stand under the key with it.
    pub fn resolve(options: Options, file: Option<(&ConfigFile, &str)>) -> Result<Self, ConfigError> {
        let Options {
            preset,
            listen,
            upstream,
            admin,
            gateway,
            dependencies,
            listening,
            discovery,
            shutdown,
            ..
        } = options;
        if let Some(path) = gateway.status_path.as_ref().filter(|path| !path.starts_with('/')) {
            let message = format!("status-path = {path:?}: expected a path such as /status");
            return Err(ConfigError::Conflict(message));
        }
        if !gateway.ping_path.starts_with('/') {
            let message = format!("ping-path = {:?}: expected a path such as /ping", gateway.ping_path);
            return Err(ConfigError::Conflict(message));
        }
        let durations = [
            // Not to wait at all is queue-length = 0.
            ("queue-timeout", gateway.queue_timeout),
            ("background-queue-timeout", gateway.background_queue_timeout),
            ("idle-timeout", gateway.idle_timeout),
            ("post-response-timeout", gateway.post_response_timeout),
            ("values-timeout", gateway.values_timeout),
            ("connect-timeout", gateway.connect_timeout),
            ("read-timeout", gateway.read_timeout),
            ("probe-interval", gateway.probe_interval),
            ("probe-timeout", gateway.probe_timeout),
        ];
        if let Some((key, _)) = durations.into_iter().find(|(_, duration)| duration.get().is_zero()) {
            return Err(ConfigError::Conflict(format!("{key} = 0s: more than nothing is needed")));
        }
        Ok(Self {
            listen,
            listening,
            upstream,
            discovery,
            admin,
            workers_per_upstream: gateway.workers_per_upstream,
            gateways: gateway.gateways,
            slow_log: gateway.slow_log.get(),
            queue_length: gateway.queue_length as usize,
            queue_timeout: [
                gateway.queue_timeout.get(),
                gateway.queue_timeout.get(),
                gateway.background_queue_timeout.get(),
            ],
            shares: Shares {
                interactive_reserve: gateway.interactive_reserve,
                background_limit: gateway.background_limit,
            },
            lanes: Arc::new(Lanes::of(preset, file.map(|(file, key)| (file.source(), key)))?),
            retry_timeout: gateway.retry_timeout.get(),
            slow_start: gateway.slow_start.get(),
            connect_timeout: gateway.connect_timeout.get(),
            read_timeout: gateway.read_timeout.get(),
            response_buffer: response_buffer(gateway.response_buffer)?,
            idle_timeout: gateway.idle_timeout.get(),
            post_response_timeout: gateway.post_response_timeout.get(),
            values_timeout: gateway.values_timeout.get(),
            probe: Probe {
                interval: gateway.probe_interval.get(),
                timeout: gateway.probe_timeout.get(),
                path: gateway.ping_path,
                status_path: gateway.status_path,
            },
            dependencies: DependencyConfig::resolve(dependencies)?,
            shutdown_timeout: shutdown.shutdown_timeout.get(),
            drain_delay: shutdown.drain_delay.get(),
        })
    }

    /// From flags alone, for tests and for a service inside another process.
    pub fn from_flags<'a>(flags: impl IntoIterator<Item = &'a str>) -> Result<Self, ConfigError> {
        Self::from_flags_and(flags, None)
    }

    /// From flags, with the rules of a file.
    pub fn from_flags_and<'a>(
        flags: impl IntoIterator<Item = &'a str>,
        file: Option<(&ConfigFile, &str)>,
    ) -> Result<Self, ConfigError> {
        Self::resolve(Options::try_parse_from(std::iter::once("fpm-gateway").chain(flags))?, file)
    }
}

/// One connection is no reason to keep more; less than a page would have PHP wait for every packet.
fn response_buffer(size: ByteSize) -> Result<usize, ConfigError> {
    match size.bytes() {
        bytes @ 4096..=0x1000_0000 => Ok(bytes as usize),
        _ => Err(ConfigError::Conflict(format!("response-buffer = {size}: expected 4KiB to 256MiB"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn flags() {
        let config = Config::from_flags([
            "--upstream=unix:/run/a.sock,10.0.0.1:9000",
            "--upstream=dns://tasks.phpfpm:9000",
            "--workers-per-upstream=3",
        ])
        .unwrap();
        assert_eq!(config.upstream.len(), 3);
        assert_eq!((config.workers_per_upstream, config.queue_timeout[0]), (3, Duration::from_secs(10)));
        for bad in [
            "--workers-per-upstream=0",
            "--ping-path=ping",
            "--status-path=status",
            "--read-timeout=0s",
            "--queue-timeout=0s",
            "--idle-timeout=0s",
            "--upstream=x",
        ] {
            assert!(Config::from_flags([bad]).is_err(), "{bad}");
        }
    }
}
