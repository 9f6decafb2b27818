//! The configuration read anew while the service runs.
//!
//! 1. [`Reload::watch`] waits for SIGHUP, or for another time, size or inode of the file. Looking is what works
//!    everywhere: a bind mount and a Swarm config tell nobody that they have changed.
//! 2. What was read is laid over what is in force: [`LIVE`] keys and rules count from the next request on, and
//!    those that belong to sockets and memory are named in a warning.
//! 3. What cannot be used changes nothing: the log says what is wrong and where.
//! 4. Certificates are looked at in the same way, and read anew by themselves: a configuration that cannot be used does
//!    not keep a certificate from being renewed.
//!
//! Connections and the store are not touched.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::config::{ConfigError, ConfigFile, Loaded};
use common::discovery::DnsError;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::cache::Cache;
use crate::config::{Config, Options};
use crate::live::Live;
use crate::tls::Tls;
use crate::tls::files::{self, Fingerprint as CertificateFiles};

/// A configuration with what it was made of.
#[derive(Debug)]
pub struct Reading {
    pub config: Config,
    pub known: Known,
}

/// What a configuration was made of.
#[derive(Debug, Clone)]
pub struct Known {
    /// Each option's value as it is written.
    pub values: BTreeMap<String, String>,
    pub file: Option<ConfigFile>,
}

/// How the configuration is read, and what is in force.
pub struct Reload {
    read: Read,
    known: Known,
    hangup: Option<Signal>,
    interval: Duration,
}

type Read = Arc<dyn Fn() -> Result<Reading, ConfigError> + Send + Sync>;

/// The options that can change while the service runs, besides the rules.
pub const LIVE: [&str; 21] = [
    "preset",
    "query",
    "strip-params",
    "trusted-proxies",
    "purge-from",
    "max-object",
    "range-fetch-limit",
    "max-variants",
    "grace",
    "keep",
    "targets",
    "cache-status-name",
    "cache-status-key",
    "connect-timeout",
    "first-byte-timeout",
    "between-bytes-timeout",
    "client-timeout",
    "max-head",
    "tls-certificate",
    "tls-key",
    "tls-handshake-timeout",
];

/// How often the file is looked at.
const INTERVAL: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Dns(#[from] DnsError),
    #[error("reading it ended early")]
    Interrupted,
}

/// What tells one state of the file from another without reading it.
type Fingerprint = (SystemTime, u64, u64);

impl Reload {
    /// `first` is what the service was started with; `read` reads the same again.
    pub fn new(
        first: Known,
        read: impl Fn() -> Result<Reading, ConfigError> + Send + Sync + 'static,
    ) -> Self {
        Self { read: Arc::new(read), known: first, hangup: None, interval: INTERVAL }
    }

    /// On SIGHUP too, whether there is a file or not.
    pub fn on_hangup(mut self) -> std::io::Result<Self> {
        self.hangup = Some(signal(SignalKind::hangup())?);
        Ok(self)
    }

    /// How often the file is looked at.
    #[must_use]
    pub fn every(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }

    pub(crate) async fn watch(mut self, cache: Arc<Cache>) {
        let mut ticks = interval_at(Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = None;
        // Nothing that came between the start and now is missed: the first look reads them again.
        let mut certificates = None;
        loop {
            let hangup = async {
                match &mut self.hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            let asked = tokio::select! {
                _ = hangup => true,
                _ = ticks.tick() => false,
            };
            let now = self.fingerprint().await;
            certificates = renew(&cache, certificates, asked).await;
            if asked || now.is_some() && now != seen {
                seen = now;
                self.reload(&cache, asked).await;
            }
        }
    }

    async fn fingerprint(&self) -> Option<Fingerprint> {
        let file = tokio::fs::metadata(&self.known.file.as_ref()?.path).await.ok()?;
        Some((file.modified().ok()?, file.len(), file.ino()))
    }

    async fn reload(&mut self, cache: &Cache, asked: bool) {
        let read = Arc::clone(&self.read);
        let reading = tokio::task::spawn_blocking(move || read()).await;
        let reading = reading.map_err(|_| ReloadError::Interrupted).and_then(|read| Ok(read?));
        if let Ok(reading) = &reading
            && !asked
            && reading.known.text() == self.known.text()
        {
            return;
        }
        match reading.and_then(|reading| self.adopt(cache, reading)) {
            Ok(()) => cache.metrics.config_reload("applied"),
            Err(error) => {
                cache.metrics.config_reload("refused");
                tracing::error!(%error, "the new configuration cannot be used; the old one stays in force");
            }
        }
    }

    fn adopt(&mut self, cache: &Cache, reading: Reading) -> Result<(), ReloadError> {
        let Reading { config, known } = reading;
        let before = cache.live.load_full();
        let config = before.config.reloaded(config);
        let rules = config.rules.names().count();
        let live = Live::new(config, &cache.shutdown, Some(&before))?;
        adopt(cache, live);

        let before = &self.known.values;
        let keys = known.values.iter().filter(|(key, value)| before.get(*key) != Some(value));
        let (changed, fixed): (Vec<&str>, Vec<&str>) =
            keys.map(|(key, _)| key.as_str()).partition(|key| LIVE.contains(key));
        tracing::info!(changed = changed.join(" "), rules, "the configuration was read anew");
        if !fixed.is_empty() {
            tracing::warn!(keys = fixed.join(" "), "these have changed and count only after a restart");
        }
        // What needs a restart stays different, and is said again.
        let fixed: Vec<(String, String)> = fixed
            .into_iter()
            .filter_map(|key| before.get_key_value(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        self.known = known;
        self.known.values.extend(fixed);
        Ok(())
    }
}

fn adopt(cache: &Cache, live: Live) {
    if let Some(tls) = &live.config.tls {
        cache.metrics.tls.certificates(Arc::clone(&tls.certificates));
    }
    cache.live.store(Arc::new(live));
}

/// Reads the certificates anew where their files are not as they were `seen`, or when that is asked for. Tells how
/// they were seen now.
async fn renew(cache: &Cache, seen: Option<CertificateFiles>, asked: bool) -> Option<CertificateFiles> {
    let before = cache.live.load_full();
    let tls = before.config.tls.as_ref()?;
    let sources = tls.sources.clone();
    let look = move || {
        let now = files::fingerprint(&sources);
        // Taken before they are read: what changes meanwhile is seen the next time.
        let read = (asked || seen.as_ref() != Some(&now)).then(|| files::load(&sources));
        (now, read)
    };
    let (now, read) = tokio::task::spawn_blocking(look).await.ok()?;
    match read {
        None => {}
        Some(Ok(certificates)) if certificates.are_those_of(&tls.certificates) => {}
        Some(Ok(certificates)) => {
            certificates.warn(SystemTime::now());
            let tls = Tls { certificates: Arc::new(certificates), ..tls.clone() };
            let config = Config { tls: Some(tls), ..before.config.clone() };
            adopt(cache, before.with(config));
            cache.metrics.tls.reloaded("applied");
            tracing::info!("the certificates were read anew");
        }
        Some(Err(error)) => {
            cache.metrics.tls.reloaded("refused");
            tracing::error!(%error, "the new certificates cannot be used; the old ones stay in force");
        }
    }
    Some(now)
}

impl Known {
    pub fn of(loaded: &Loaded<impl Sized>) -> Self {
        Self { values: loaded.values.clone(), file: loaded.file.clone() }
    }

    fn text(&self) -> Option<&str> {
        self.file.as_ref().map(|file| file.text.as_str())
    }
}

impl Reading {
    /// From the service's own options.
    pub fn of(loaded: Loaded<Options>) -> Result<Self, ConfigError> {
        let Loaded { options, values, file, .. } = loaded;
        let config = Config::resolve(options, file.as_ref())?;
        Ok(Self { config, known: Known { values, file } })
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload")
            .field("file", &self.known.file)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}
