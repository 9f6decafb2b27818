//! Options of what PHP depends on.

use std::time::Duration;

use clap::{Args, ValueEnum};
use common::config::{ConfigError, HumanDuration, Secret};
use common::discovery::Target;
use common::net::Endpoint;

/// What PHP depends on, how it is watched, and what is done when it is gone.
#[derive(Debug, Clone, Args)]
pub struct DependencyOptions {
    /// Galera nodes, or a single MariaDB or MySQL server: HOST:PORT or dns://NAME:PORT.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = over_tcp)]
    pub galera: Vec<Target>,
    /// The database user that asks nodes for their state; it needs no privilege but to log in.
    #[arg(long, value_name = "USER", default_value = "fpm-gateway")]
    pub galera_user: String,
    /// That user's password.
    #[arg(long, value_name = "PASSWORD")]
    pub galera_password: Option<Secret>,
    /// How often a node is asked for its state.
    #[arg(long, value_name = "DURATION", default_value = "500ms")]
    pub galera_interval: HumanDuration,
    /// How long a node may take to connect and answer.
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    pub galera_timeout: HumanDuration,
    /// Write sets that may wait in a node's receive queue; with more it is lagging.
    #[arg(long, value_name = "N", default_value = "200", value_parser = clap::value_parser!(u64).range(1..))]
    pub galera_queue: u64,
    /// How long a better writer must have been there before it takes the place of one that works.
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    pub galera_hold: HumanDuration,
    /// Answer requests 503 while Galera has no Primary component.
    #[arg(long, value_enum, value_name = "on|off", default_value = "on")]
    pub galera_shedding: Switch,
    /// memcached servers: HOST:PORT or dns://NAME:PORT.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = over_tcp)]
    pub memcached: Vec<Target>,
    /// How often a memcached server is asked for its state.
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    pub memcached_interval: HumanDuration,
    /// How long a memcached server may take to connect and answer.
    #[arg(long, value_name = "DURATION", default_value = "500ms")]
    pub memcached_timeout: HumanDuration,
    /// How long a memcached server that is gone keeps its place in the list.
    #[arg(long, value_name = "DURATION", default_value = "1m")]
    pub memcached_hold: HumanDuration,
    /// Percent of the workers that may be busy while no memcached server answers; 100 for all.
    #[arg(long, value_name = "PERCENT", default_value = "50", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub memcached_lost_workers: u8,
    /// Questions in a row that stay without an answer before a node or server is out of use.
    #[arg(long, value_name = "N", default_value = "2", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub dependency_fall: u32,
    /// Good answers in a row before one is used that was not.
    #[arg(long, value_name = "N", default_value = "2", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub dependency_rise: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

/// What the service runs with.
#[derive(Debug, Clone)]
pub struct DependencyConfig {
    pub galera: GaleraConfig,
    pub memcached: MemcachedConfig,
    pub thresholds: Thresholds,
}

#[derive(Debug, Clone)]
pub struct GaleraConfig {
    pub nodes: Vec<Target>,
    pub user: String,
    pub password: Option<Secret>,
    pub interval: Duration,
    pub timeout: Duration,
    pub queue: u64,
    pub hold: Duration,
    pub shedding: bool,
}

#[derive(Debug, Clone)]
pub struct MemcachedConfig {
    pub servers: Vec<Target>,
    pub interval: Duration,
    pub timeout: Duration,
    pub hold: Duration,
    pub lost_workers: u8,
}

/// How many answers in a row change what is thought of a node or server.
#[derive(Debug, Clone, Copy)]
pub struct Thresholds {
    pub fall: u32,
    pub rise: u32,
}

impl DependencyConfig {
    pub fn resolve(options: DependencyOptions) -> Result<Self, ConfigError> {
        let durations = [
            ("galera-interval", options.galera_interval),
            ("galera-timeout", options.galera_timeout),
            ("memcached-interval", options.memcached_interval),
            ("memcached-timeout", options.memcached_timeout),
        ];
        if let Some((key, _)) = durations.into_iter().find(|(_, duration)| duration.get() < SHORTEST) {
            let message = format!("{key}: expected at least {}ms", SHORTEST.as_millis());
            return Err(ConfigError::Conflict(message));
        }
        Ok(Self {
            galera: GaleraConfig {
                nodes: options.galera,
                user: options.galera_user,
                password: options.galera_password,
                interval: options.galera_interval.get(),
                timeout: options.galera_timeout.get(),
                queue: options.galera_queue,
                hold: options.galera_hold.get(),
                shedding: options.galera_shedding == Switch::On,
            },
            memcached: MemcachedConfig {
                servers: options.memcached,
                interval: options.memcached_interval.get(),
                timeout: options.memcached_timeout.get(),
                hold: options.memcached_hold.get(),
                lost_workers: options.memcached_lost_workers,
            },
            thresholds: Thresholds { fall: options.dependency_fall, rise: options.dependency_rise },
        })
    }
}

/// More often, or in less time, nothing useful is learnt.
const SHORTEST: Duration = Duration::from_millis(10);

/// PHP is given addresses as HOST:PORT.
fn over_tcp(text: &str) -> Result<Target, String> {
    match text.parse() {
        Ok(Target::Fixed(Endpoint::Unix(_))) | Err(_) => {
            Err("expected HOST:PORT or dns://NAME:PORT".to_owned())
        }
        Ok(target) => Ok(target),
    }
}

#[cfg(test)]
mod tests {
    use crate::Config;

    #[test]
    fn flags() {
        for bad in [
            "--galera=unix:/run/mysqld.sock",
            "--galera=mysql://db:3306",
            "--memcached=cache",
            "--galera-interval=0s",
            "--memcached-timeout=1ms",
            "--galera-shedding=maybe",
            "--memcached-lost-workers=0",
            "--memcached-lost-workers=101",
            "--dependency-fall=0",
        ] {
            assert!(Config::from_flags([bad]).is_err(), "{bad}");
        }
    }
}
