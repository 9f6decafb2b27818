//! Options as they are written: `solo`'s own, and those of the three services that a person may want.
//!
//! A service's option appears here under its own name and heading and is passed on as it was written, so
//! nothing is declared twice. What connects the services to each other is not for choice: it is left out.

mod passed;

use std::path::PathBuf;

use clap::Parser;
use common::config::{AccessLogOptions, ListenOptions, LogOptions, ShutdownOptions, Verb};
use common::net::Address;

use crate::php::PhpSetting;
pub use passed::{Passed, Service};

/// A whole site on this machine: edge-cache, web-proxy and fpm-gateway in one process, with a PHP-FPM.
#[derive(Debug, Parser)]
#[command(name = "solo", version)]
pub struct Options {
    /// The folder with the site's index.php, or the project around it; by default the current one.
    /// `check` in front of it only validates, `healthcheck` asks the running one.
    #[arg(value_name = "DOCROOT", num_args = 0..=2)]
    words: Vec<String>,
    /// A TOML file with any of these options as keys.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the site is served: HOST:PORT or unix:/path.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_delimiter = ',')]
    pub listen: Vec<Address>,
    /// Where the admin pages of all three services are served.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    pub admin: Address,
    /// What is known of the application: auto, none, drupal or wordpress.
    #[arg(long, value_name = "NAME", default_value = "auto", value_parser = ["auto", "none", "drupal", "wordpress"])]
    pub preset: String,
    /// PHP workers; each is one request at a time.
    #[arg(long, alias = "workers", value_name = "N", default_value = "12", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub workers_per_upstream: u32,
    /// The PHP-FPM program, instead of the newest one that is installed.
    #[arg(long, value_name = "FILE")]
    pub php_fpm: Option<PathBuf>,
    /// A setting of php.ini, such as memory_limit=512M.
    #[arg(long, value_name = "NAME=VALUE", value_delimiter = ',')]
    pub php_value: Vec<PhpSetting>,
    /// A folder that PHP finds as SITE_DATA and that stays, instead of a temporary one.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub listening: ListenOptions,
    #[command(flatten)]
    pub shutdown: ShutdownOptions,
    #[command(flatten)]
    pub log: LogOptions,
    #[command(flatten)]
    pub access: AccessLogOptions,
    #[command(flatten)]
    pub edge: Passed<Edge>,
    #[command(flatten)]
    pub web: Passed<Web>,
    #[command(flatten)]
    pub gateway: Passed<Gateway>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge;
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Web;
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway;

impl Service for Edge {
    type Options = edge_cache::config::Options;
    const KEPT: &'static [&'static str] = &["config", "listen", "admin", "origin", "preset", "print-rules"];
}

impl Service for Web {
    type Options = web_proxy::config::Options;
    // Whoever reaches its socket in our private folder is edge-cache, whose log says everything.
    const KEPT: &'static [&'static str] = &[
        "config",
        "listen",
        "admin",
        "docroot",
        "fastcgi",
        "preset",
        "print-rules",
        "trusted-proxies",
        "proxy-protocol",
        "reuse-port",
        "access-log",
        "access-log-format",
        "spool",
    ];
}

impl Service for Gateway {
    type Options = fpm_gateway::config::Options;
    const KEPT: &'static [&'static str] = &[
        "config",
        "listen",
        "admin",
        "preset",
        "print-rules",
        "upstream",
        "workers-per-upstream",
        "proxy-protocol",
        "reuse-port",
    ];
}

impl Options {
    /// What to do, and with which folder.
    pub fn words(&self) -> Result<(Verb, PathBuf), String> {
        let verb = |word: &str| <Verb as clap::ValueEnum>::from_str(word, false).ok();
        let (verb, folder) = match self.words.as_slice() {
            [] => (Verb::Serve, None),
            [word] => verb(word).map_or((Verb::Serve, Some(word)), |verb| (verb, None)),
            [first, folder] => match verb(first) {
                Some(verb) => (verb, Some(folder)),
                None => return Err(format!("expected one folder, found {first:?} and {folder:?}")),
            },
            _ => return Err("expected one folder".into()),
        };
        Ok((verb, folder.map_or_else(|| ".".into(), PathBuf::from)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use clap::CommandFactory as _;

    use super::*;

    fn words(words: &[&str]) -> Result<(Verb, PathBuf), String> {
        Options::try_parse_from(std::iter::once(&"solo").chain(words)).unwrap().words()
    }

    #[test]
    fn the_schema_is_sound() {
        Options::command().debug_assert();
    }

    #[test]
    fn a_folder_and_a_verb_in_front_of_it() {
        assert_eq!(words(&[]), Ok((Verb::Serve, ".".into())));
        assert_eq!(words(&["site/web"]), Ok((Verb::Serve, "site/web".into())));
        assert_eq!(words(&["check"]), Ok((Verb::Check, ".".into())));
        assert_eq!(words(&["check", "web"]), Ok((Verb::Check, "web".into())));
        assert_eq!(words(&["./check"]), Ok((Verb::Serve, "./check".into())));
        assert!(words(&["web", "html"]).is_err());
    }

    #[test]
    fn options_of_the_services_are_options_here() {
        let options =
            Options::try_parse_from(["solo", "--memory=64MiB", "--trusted-proxies=10.0.0.0/8"]).unwrap();
        assert_eq!(
            options.edge.flags().collect::<Vec<_>>(),
            ["--trusted-proxies=10.0.0.0/8", "--memory=64MiB"]
        );
        assert_eq!(options.web.flags().count(), 0);
    }
}
