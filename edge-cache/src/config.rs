//! Options as they are written, and the configuration that they make.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser};
use common::config::{
    self, AccessLogOptions, ByteSize, ConfigError, ConfigFile, HumanDuration, ListenOptions, Loaded,
    LogOptions, ShutdownOptions, Verb,
};
use common::discovery::{DiscoveryOptions, Target};
use common::http::access_log::{Destination, Format};
use common::http::forwarded::TrustedProxies;
use common::net::Address;
use ipnet::IpNet;

use crate::coding::Compression;
use crate::fetch::origin::Limits;
use crate::http_options::HttpOptions;
use crate::policy::reuse::StaleLimits;
use crate::request::target::{ParamName, QueryForm, QueryOrder};
use crate::rules::{Preset, Rules};
use crate::tls::{Tls, TlsOptions};

/// A shared HTTP cache for PHP sites.
#[derive(Debug, Parser)]
#[command(name = "edge-cache", version)]
pub struct Options {
    #[arg(value_enum, default_value = "serve")]
    pub verb: Verb,
    /// A TOML file with any of these options as keys.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Addresses to serve on: HOST:PORT or unix:/path.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_delimiter = ',')]
    pub listen: Vec<Address>,
    /// Where responses come from: http://HOST:PORT, HOST:PORT or dns://NAME:PORT.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8081", value_delimiter = ',', value_parser = origin)]
    pub origin: Vec<Target>,
    /// Where the admin pages are served.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9080")]
    pub admin: Address,
    /// What is known of the application, as rules: see check --print-rules.
    #[arg(long, value_name = "NAME", default_value = "none")]
    pub preset: Preset,
    /// Networks whose X-Forwarded-* and X-Request-Id are believed.
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub trusted_proxies: Vec<IpNet>,
    /// Networks that may send PURGE and BAN; nobody by default.
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub purge_from: Vec<IpNet>,
    /// Leave a query's parameters in their order, or sort them by name.
    #[arg(long, value_name = "ORDER", default_value = "keep")]
    pub query: QueryOrder,
    /// Query parameters to remove: names, patterns such as utm_*, or @tracking for all known ones.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub strip_params: Vec<ParamName>,
    /// With check: print the rules in force.
    #[arg(long)]
    pub print_rules: bool,
    #[command(flatten)]
    pub cache: CacheOptions,
    #[command(flatten)]
    pub http: HttpOptions,
    #[command(flatten)]
    pub tls: TlsOptions,
    #[command(flatten)]
    pub listening: ListenOptions,
    #[command(flatten)]
    pub discovery: DiscoveryOptions,
    #[command(flatten)]
    pub shutdown: ShutdownOptions,
    #[command(flatten)]
    pub log: LogOptions,
    #[command(flatten)]
    pub access: AccessLogOptions,
}

/// The options that are the cache's own.
#[derive(Debug, Clone, Args)]
pub struct CacheOptions {
    /// Memory for stored responses.
    #[arg(long, value_name = "SIZE", default_value = "256MiB")]
    pub memory: ByteSize,
    /// The largest body that is stored; by default an eighth of the memory.
    #[arg(long, value_name = "SIZE")]
    pub max_object: Option<ByteSize>,
    /// The largest body that is fetched whole, to be stored, when only ranges of it are asked for; by
    /// default the largest that is stored.
    #[arg(long, value_name = "SIZE")]
    pub range_fetch_limit: Option<ByteSize>,
    /// Variants of one URL that are kept; responses for more are not stored.
    #[arg(long, value_name = "N", default_value = "32", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub max_variants: u16,
    /// What compressible responses are kept as.
    #[arg(long, value_name = "CODING", default_value = "gzip")]
    pub compress: Compression,
    /// How long a stale response may be served while it is refreshed, and in place of a server error.
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    pub grace: HumanDuration,
    /// How long a stale response may be served while the origin cannot be reached.
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    pub keep: HumanDuration,
    /// How long connecting to the origin may take.
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    pub connect_timeout: HumanDuration,
    /// How long the origin may take to begin its answer.
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub first_byte_timeout: HumanDuration,
    /// How long the origin may pause within its answer.
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub between_bytes_timeout: HumanDuration,
    /// How long a client may take to send a request's head, and to be idle between two.
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub client_timeout: HumanDuration,
    /// How long an upgraded connection (WebSocket) may go without a byte in either direction.
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    pub upgrade_timeout: HumanDuration,
    /// The longest head of a request or of the origin's response.
    #[arg(long, value_name = "SIZE", default_value = "64KiB")]
    pub max_head: ByteSize,
}

/// What the service runs with.
#[derive(Debug, Clone)]
pub struct Config {
    pub listen: Vec<Address>,
    pub listening: ListenOptions,
    /// Where HTTPS is served too.
    pub tls: Option<Tls>,
    pub origin: Vec<Target>,
    pub discovery: DiscoveryOptions,
    pub admin: Address,
    pub preset: Preset,
    /// The preset's and the file's.
    pub rules: Arc<Rules>,
    pub query: QueryForm,
    pub trusted_proxies: TrustedProxies,
    pub purge_from: Vec<IpNet>,
    pub memory: u64,
    pub max_object: u64,
    /// The longest body that is fetched whole for a range of it.
    pub range_fetch_limit: u64,
    pub max_variants: usize,
    pub compress: Compression,
    /// The operator's word on stale responses.
    pub stale: StaleLimits,
    pub http: HttpOptions,
    pub limits: Limits,
    pub client_timeout: Duration,
    pub upgrade_timeout: Duration,
    pub access_log: Destination,
    pub access_log_format: Format,
    pub shutdown_timeout: Duration,
    pub drain_delay: Duration,
}

/// [`common::config::load`] with the file's `[[rule]]` left for [`Config::resolve`].
pub fn load(
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<Loaded<Options>, ConfigError> {
    config::load_beside("EDGE_CACHE", args, &["rule"])
}

/// Below this hyper cannot read a head at all.
const MIN_HEAD: u64 = 8 << 10;

impl Config {
    /// Checks what no single option can know.
    pub fn resolve(options: Options, file: Option<&ConfigFile>) -> Result<Self, ConfigError> {
        let Options {
            listen,
            origin,
            admin,
            preset,
            trusted_proxies,
            purge_from,
            query,
            strip_params,
            cache,
            http,
            tls,
            listening,
            discovery,
            shutdown,
            access,
            ..
        } = options;
        let memory = cache.memory.bytes();
        if memory < 1 << 20 {
            return Err(ConfigError::Conflict(format!("memory = {}: at least 1MiB is needed", cache.memory)));
        }
        let max_object = cache.max_object.map_or(memory / 8, ByteSize::bytes);
        if max_object > memory / 2 {
            let message = format!("max-object = {max_object}: more than half of memory = {}", cache.memory);
            return Err(ConfigError::Conflict(message));
        }
        if cache.max_head.bytes() < MIN_HEAD {
            return Err(ConfigError::Conflict(format!(
                "max-head = {}: at least 8KiB are needed",
                cache.max_head
            )));
        }
        Ok(Self {
            listen,
            listening,
            tls: Tls::resolve(tls)?,
            origin,
            discovery,
            admin,
            preset,
            rules: Arc::new(Rules::of(preset, file.map(ConfigFile::source))?),
            query: QueryForm { order: query, strip: strip_params },
            trusted_proxies: TrustedProxies::new(trusted_proxies),
            purge_from,
            memory,
            max_object,
            range_fetch_limit: cache.range_fetch_limit.map_or(max_object, ByteSize::bytes),
            max_variants: usize::from(cache.max_variants),
            compress: cache.compress,
            stale: StaleLimits { grace: cache.grace.get(), keep: cache.keep.get() },
            http,
            limits: Limits {
                connect: cache.connect_timeout.get(),
                first_byte: cache.first_byte_timeout.get(),
                between_bytes: cache.between_bytes_timeout.get(),
                head_bytes: cache.max_head.bytes() as usize,
            },
            client_timeout: cache.client_timeout.get(),
            upgrade_timeout: cache.upgrade_timeout.get(),
            access_log: access.access_log,
            access_log_format: access.access_log_format,
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
        file: Option<&ConfigFile>,
    ) -> Result<Self, ConfigError> {
        Self::resolve(Options::try_parse_from(std::iter::once("edge-cache").chain(flags))?, file)
    }

    /// What is in force after `new` was read: of `new` only what can change while the service runs
    /// ([`LIVE`](crate::reload::LIVE)).
    #[must_use]
    pub fn reloaded(&self, new: Self) -> Self {
        Self {
            preset: new.preset,
            rules: new.rules,
            query: new.query,
            trusted_proxies: new.trusted_proxies,
            purge_from: new.purge_from,
            // The memory stays what it is.
            max_object: new.max_object.min(self.memory / 2),
            range_fetch_limit: new.range_fetch_limit,
            max_variants: new.max_variants,
            stale: new.stale,
            http: new.http,
            limits: new.limits,
            client_timeout: new.client_timeout,
            tls: self.tls.as_ref().map(|tls| new.tls.map_or_else(|| tls.clone(), |new| tls.reloaded(new))),
            ..self.clone()
        }
    }
}

/// `http://` in front and a slash behind are taken; a path or TLS is not what an origin here has.
pub fn origin(text: &str) -> Result<Target, String> {
    let plain = text.strip_prefix("http://").unwrap_or(text);
    let plain = plain.strip_suffix('/').unwrap_or(plain);
    let plain = if text.starts_with("http://") && !plain.contains(':') {
        format!("{plain}:80")
    } else {
        plain.into()
    };
    plain.parse().map_err(|_| "expected http://HOST:PORT, HOST:PORT, unix:/path or dns://NAME:PORT".into())
}
