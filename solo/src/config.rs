//! What a run is made of: everything is found, checked and settled here, before anything is started.

use std::path::PathBuf;
use std::time::Duration;

use common::config::{ByteSize, ConfigError, ConfigFile};
use common::http::access_log::Destination;
use common::net::Address;

use crate::detect::{DetectError, Detected, Missing, detect};
use crate::options::Options;
use crate::php::{Account, Installation, InstallationError, PhpSetting};

#[derive(Debug)]
pub struct Config {
    pub site: Detected,
    pub php: Installation,
    pub account: Account,
    pub preset: String,
    pub workers: u32,
    pub settings: Vec<PhpSetting>,
    /// Where the site's own data stays; in the run's folder otherwise.
    pub data: Option<PathBuf>,
    pub admin: Address,
    pub grace: Duration,
    pub drain_delay: Duration,
    /// The services' own configurations; their addresses among each other are settled when they are bound.
    pub edge: edge_cache::Config,
    pub web: web_proxy::Config,
    pub gateway: fpm_gateway::Config,
}

/// Why there is nothing that could be run.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Site(#[from] DetectError),
    #[error(transparent)]
    Php(#[from] InstallationError),
    #[error("{application} {missing}")]
    Missing { application: String, missing: Missing },
    #[error("{}: {cause}", docroot.display())]
    Owner { docroot: PathBuf, cause: std::io::Error },
}

/// What applications want of PHP beyond its own defaults; a site's `.user.ini` may say otherwise.
const SETTINGS: [(&str, &str); 3] =
    [("memory_limit", "256M"), ("upload_max_filesize", "512M"), ("post_max_size", "520M")];

/// The key of web-proxy's rules, beside edge-cache's `[[rule]]`.
pub const WEB_RULE: &str = "web-rule";
/// And fpm-gateway's.
pub const GATEWAY_RULE: &str = "gateway-rule";

impl Config {
    pub fn resolve(
        options: Options,
        file: Option<&ConfigFile>,
        given: &std::path::Path,
    ) -> Result<Self, SetupError> {
        let site = detect(given)?;
        let php = Installation::find(options.php_fpm.as_deref())?;
        site.requirements
            .check(&php)
            .map_err(|missing| SetupError::Missing { application: site.application.to_string(), missing })?;
        let account = Account::choose(&site.docroot)
            .map_err(|cause| SetupError::Owner { docroot: site.docroot.clone(), cause })?;

        let edge = edge(&options, site.application.preset(), file)?;
        let preset = match options.preset.as_str() {
            "auto" => site.application.preset().to_owned(),
            named => named.to_owned(),
        };
        let preset_flag = format!("--preset={preset}");
        let workers = format!("--workers-per-upstream={}", options.workers_per_upstream);
        let docroot = format!("--docroot={}", site.docroot.display());
        let mut web = web_proxy::Config::from_flags_and(
            options.web.flags().chain([preset_flag.as_str(), docroot.as_str()]),
            file.map(|file| (file, WEB_RULE)),
        )?;
        web.access_log = Destination::None;
        let gateway = fpm_gateway::Config::from_flags_and(
            options.gateway.flags().chain([preset_flag.as_str(), workers.as_str()]),
            file.map(|file| (file, GATEWAY_RULE)),
        )?;

        let settings = settings(&site, options.php_value);
        Ok(Self {
            site,
            php,
            account,
            preset,
            workers: options.workers_per_upstream,
            settings,
            data: options.data,
            admin: options.admin,
            grace: options.shutdown.shutdown_timeout.get(),
            drain_delay: options.shutdown.drain_delay.get(),
            edge,
            web,
            gateway,
        })
    }

    pub fn memory(&self) -> ByteSize {
        ByteSize::new(self.edge.memory)
    }
}

/// edge-cache's own configuration, with the rules of the file; `detected` is the preset of what was found.
pub fn edge(
    options: &Options,
    detected: &str,
    file: Option<&ConfigFile>,
) -> Result<edge_cache::Config, ConfigError> {
    let preset = if options.preset == "auto" { detected } else { options.preset.as_str() };
    let preset = format!("--preset={preset}");
    let flags = options.edge.flags().chain([preset.as_str()]);
    let mut edge = edge_cache::Config::from_flags_and(flags, file)?;
    edge.listen.clone_from(&options.listen);
    edge.listening = options.listening.clone();
    edge.access_log = options.access.access_log.clone();
    edge.access_log_format = options.access.access_log_format.clone();
    Ok(edge)
}

/// Ours, over them what the application needs, over these what a person wants: one value of each, since of two
/// PHP-FPM takes the first.
fn settings(site: &Detected, wanted: Vec<PhpSetting>) -> Vec<PhpSetting> {
    let mut settings: Vec<PhpSetting> =
        SETTINGS.iter().map(|(name, value)| PhpSetting::new(name, *value)).collect();
    let (limit, ours) = SETTINGS[0];
    let needed = site.requirements.memory.as_ref().filter(|needed| php_bytes(needed) > php_bytes(ours));
    for setting in needed.map(|needed| PhpSetting::new(limit, needed.clone())).into_iter().chain(wanted) {
        settings.retain(|known| known.name != setting.name);
        settings.push(setting);
    }
    settings
}

/// PHP's notation for sizes, `512M`.
fn php_bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(['K', 'M', 'G', 'k', 'm', 'g']);
    let unit = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_shl(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{Application, Requirements};

    #[test]
    fn the_memory_limit_is_a_person_s_or_the_larger_of_ours_and_the_application_s() {
        let limit = |needed: Option<&str>, wanted: Option<&str>| {
            let requirements = Requirements { memory: needed.map(str::to_owned), ..Requirements::default() };
            let site = Detected {
                docroot: "/".into(),
                application: Application::Php { name: None, preset: None },
                requirements,
            };
            let wanted = wanted.map(|value| PhpSetting::new("memory_limit", value)).into_iter().collect();
            let mut settings = settings(&site, wanted);
            settings.retain(|setting| setting.name == "memory_limit");
            settings.into_iter().map(|setting| setting.value).collect::<Vec<_>>()
        };
        assert_eq!(limit(None, None), ["256M"]);
        assert_eq!(limit(Some("64M"), None), ["256M"]);
        assert_eq!(limit(Some("1G"), None), ["1G"]);
        assert_eq!(limit(Some("1G"), Some("128M")), ["128M"]);
    }
}
