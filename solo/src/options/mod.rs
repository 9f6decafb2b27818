//! Options as they are written: `solo`'s own, and those of the three services that a person may want.
//!
//! A service's option appears here under its own name and heading and is passed on as it was written, so
//! nothing is declared twice. What connects the services to each other is not for choice: it is left out.

mod passed;

use std::path::PathBuf;

use clap::Parser;
use common::config::{ListenOptions, LogOptions, ShutdownOptions, Verb};
use common::net::Address;

use crate::php::PhpSetting;
pub use passed::{Passed, Service};

/// A whole site on this machine: edge-cache, web-proxy and fpm-gateway in one process, with a PHP-FPM.
#[derive(Debug, Parser)]
#[command(name = "solo", version)]
pub struct Options {
    /// The folder with the site's index.php, or the project around it. `check` before it only validates,
    /// `healthcheck` asks a running one.
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
    #[arg(long, value_name = "N", default_value = "12", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub workers: u32,
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
}

/// What `./up` serves when nothing is named: this project's own site.
const OWN_SITE: &str = "site/web";

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
        Ok((verb, folder.map_or_else(|| OWN_SITE.into(), PathBuf::from)))
    }
}
