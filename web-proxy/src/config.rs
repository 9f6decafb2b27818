//! Options as they are written, and the configuration that they make.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
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

use crate::docroot::is_script;
use crate::error::ErrorPages;
use crate::fastcgi::Keep;
use crate::handover::Internal;
use crate::htaccess;
use crate::respond::{Compress, CompressOptions};
use crate::route::path::UrlPath;
use crate::rules::{Preset, Rules};
use crate::static_files::{FileOptions, Settings};

/// Static files and FastCGI for a PHP site.
#[derive(Debug, Parser)]
#[command(name = "web-proxy", version)]
pub struct Options {
    #[arg(value_enum, default_value = "serve")]
    pub verb: Verb,
    /// A TOML file with any of these options as keys.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Addresses to serve on: HOST:PORT or unix:/path.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081", value_delimiter = ',')]
    pub listen: Vec<Address>,
    /// The folder with the site's files and its index.php.
    #[arg(long, value_name = "DIR", default_value = "/var/www/html")]
    pub docroot: PathBuf,
    /// Where the application is: HOST:PORT, unix:/path or dns://NAME:PORT.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000", value_delimiter = ',')]
    pub fastcgi: Vec<Target>,
    /// Where the admin pages are served.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9081")]
    pub admin: Address,
    /// What is known of the application, as rules: see check --print-rules.
    #[arg(long, value_name = "NAME", default_value = "none")]
    pub preset: Preset,
    /// Networks whose X-Forwarded-* and X-Request-Id are believed.
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub trusted_proxies: Vec<IpNet>,
    /// With check: print the rules in force.
    #[arg(long)]
    pub print_rules: bool,
    #[command(flatten)]
    pub proxy: ProxyOptions,
    #[command(flatten)]
    pub files: FileOptions,
    #[command(flatten)]
    pub compress: CompressOptions,
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

/// The options that are the proxy's own.
#[derive(Debug, Clone, Args)]
pub struct ProxyOptions {
    /// Names of a directory's index file, the first that exists counts.
    #[arg(
        long,
        value_name = "NAME",
        default_values = ["index.php", "index.html", "index.htm"],
        value_delimiter = ',',
        value_parser = file_name
    )]
    pub index: Vec<String>,
    /// The script for what is neither a file nor a directory, or `none`.
    #[arg(long, value_name = "PATH", default_value = "/index.php")]
    pub front_controller: FrontController,
    /// The docroot as the application sees it, where that is another path.
    #[arg(long, value_name = "DIR")]
    pub script_root: Option<PathBuf>,
    /// Follow symbolic links out of the docroot.
    #[arg(long)]
    pub follow_symlinks: bool,
    /// Where X-Accel-Redirect and X-Sendfile may point: a path that only the application can name, and its folder.
    #[arg(long, value_name = "/PREFIX/=/FOLDER", value_delimiter = ',')]
    pub internal: Vec<Internal>,
    /// What is done about the docroot's .htaccess files: ignore, or report what they say that the rules do not.
    #[arg(long, value_enum, value_name = "WHAT", default_value = "ignore")]
    pub htaccess: htaccess::Mode,
    /// A folder of error pages in the place of the built-in ones: 404.html, 50x.html, 5xx.html.
    #[arg(long, value_name = "DIR")]
    pub error_pages: Option<PathBuf>,
    /// SERVER_NAME for the application, instead of the host that the client asked for.
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,
    /// The largest body of a request.
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    pub max_body: ByteSize,
    /// How much of a request's body is taken in before the application is asked, so that a slow client holds no
    /// worker; all of it where its length is not known.
    #[arg(long, value_name = "SIZE", default_value = "16MiB")]
    pub request_buffer: ByteSize,
    /// Where bodies wait until the application is asked; by default the system's folder for temporary files.
    #[arg(long, value_name = "DIR")]
    pub spool: Option<PathBuf>,
    /// How much may wait there in all.
    #[arg(long, value_name = "SIZE", default_value = "4GiB")]
    pub spool_limit: ByteSize,
    /// How long the application may send nothing.
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub fastcgi_timeout: HumanDuration,
    /// Connections to keep for further requests: auto, those of an application that multiplexes, as fpm-gateway does;
    /// or a number. PHP-FPM itself wants one connection a request.
    #[arg(long, value_name = "auto|N", default_value = "auto")]
    pub fastcgi_keep: Keep,
    /// How much of a response may wait for a slow client, so that the application need not.
    #[arg(long, value_name = "SIZE", default_value = "64KiB")]
    pub fastcgi_buffer: ByteSize,
    /// How long connecting to the application may take.
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    pub fastcgi_connect_timeout: HumanDuration,
    /// How long a client may take to send a request's head, and to pause within its body.
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub client_timeout: HumanDuration,
    /// How long a connection is kept open between two requests.
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub keep_alive_timeout: HumanDuration,
    /// Connections at once of one client: an IPv4 address, or a /64 of IPv6; 0 for any number. Trusted proxies may have
    /// any number.
    #[arg(long, value_name = "N", default_value = "256")]
    pub max_connections_per_client: u32,
    /// The longest head of a request.
    #[arg(long, value_name = "SIZE", default_value = "64KiB")]
    pub max_head: ByteSize,
}

/// The path of a script, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrontController(pub Option<UrlPath>);

/// What the service runs with.
#[derive(Debug, Clone)]
pub struct Config {
    pub listen: Vec<Address>,
    pub listening: ListenOptions,
    pub docroot: PathBuf,
    pub fastcgi: Vec<Target>,
    pub discovery: DiscoveryOptions,
    pub admin: Address,
    pub rules: Arc<Rules>,
    pub trusted_proxies: TrustedProxies,
    pub index: Vec<String>,
    pub front_controller: FrontController,
    pub script_root: Option<PathBuf>,
    pub follow_symlinks: bool,
    pub internal: Vec<Internal>,
    pub files: Settings,
    pub htaccess: htaccess::Mode,
    pub compress: Compress,
    pub error_pages: ErrorPages,
    pub server_name: Option<String>,
    pub max_body: u64,
    pub request_buffer: u64,
    pub spool: PathBuf,
    pub spool_limit: u64,
    pub fastcgi_timeout: Duration,
    pub fastcgi_keep: Keep,
    pub fastcgi_buffer: u32,
    pub connect_timeout: Duration,
    pub client_timeout: Duration,
    pub keep_alive_timeout: Duration,
    pub max_connections_per_client: u32,
    pub max_head: usize,
    pub access_log: Destination,
    pub access_log_format: Format,
    pub shutdown_timeout: Duration,
    pub drain_delay: Duration,
}

/// The key of the rules' tables in a file of this service alone.
pub const RULE: &str = "rule";

/// [`common::config::load`] with the file's `[[rule]]` left for [`Config::resolve`].
pub fn load(
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<Loaded<Options>, ConfigError> {
    config::load_beside("WEB_PROXY", args, &[RULE])
}

/// One response is no reason to keep more.
const MAX_BUFFER: u32 = 256 << 20;

/// Below this hyper cannot read a head at all.
const MIN_HEAD: u64 = 8 << 10;

impl Config {
    /// Checks what no single option can know, and reads the rules: those of `file` stand under the key with it.
    pub fn resolve(options: Options, file: Option<(&ConfigFile, &str)>) -> Result<Self, ConfigError> {
        let Options { docroot, proxy, files, shutdown, access, .. } = options;
        let spool = proxy.spool.unwrap_or_else(std::env::temp_dir);
        for (key, folder) in [("docroot", &docroot), ("spool", &spool)] {
            // Whoever only asks for a running service's health may be elsewhere.
            if options.verb != Verb::Healthcheck && !folder.is_dir() {
                return Err(ConfigError::Conflict(format!("{key} = {}: no such folder", folder.display())));
            }
        }
        if proxy.max_head.bytes() < MIN_HEAD {
            return Err(ConfigError::Conflict(format!(
                "max-head = {}: at least 8KiB are needed",
                proxy.max_head
            )));
        }
        let error_pages = match proxy.error_pages {
            Some(folder) if options.verb != Verb::Healthcheck => {
                ErrorPages::open(&folder).map_err(|error| {
                    ConfigError::Conflict(format!("error-pages = {}: {error}", folder.display()))
                })?
            }
            _ => ErrorPages::default(),
        };
        Ok(Self {
            listen: options.listen,
            listening: options.listening,
            docroot,
            fastcgi: options.fastcgi,
            discovery: options.discovery,
            admin: options.admin,
            rules: Arc::new(Rules::of(options.preset, file.map(|(file, key)| (file.source(), key)))?),
            trusted_proxies: TrustedProxies::new(options.trusted_proxies),
            index: proxy.index,
            front_controller: proxy.front_controller,
            script_root: proxy.script_root,
            follow_symlinks: proxy.follow_symlinks,
            internal: proxy.internal,
            files: Settings::resolve(files)?,
            htaccess: proxy.htaccess,
            compress: Compress::resolve(&options.compress)?,
            error_pages,
            server_name: proxy.server_name,
            max_body: proxy.max_body.bytes(),
            request_buffer: proxy.request_buffer.bytes(),
            spool,
            spool_limit: proxy.spool_limit.bytes(),
            fastcgi_timeout: proxy.fastcgi_timeout.get(),
            fastcgi_keep: proxy.fastcgi_keep,
            fastcgi_buffer: u32::try_from(proxy.fastcgi_buffer.bytes())
                .ok()
                .filter(|bytes| *bytes <= MAX_BUFFER)
                .ok_or_else(|| {
                    let message = format!("fastcgi-buffer = {}: at most 256MiB", proxy.fastcgi_buffer);
                    ConfigError::Conflict(message)
                })?,
            connect_timeout: proxy.fastcgi_connect_timeout.get(),
            client_timeout: proxy.client_timeout.get(),
            keep_alive_timeout: proxy.keep_alive_timeout.get(),
            max_connections_per_client: proxy.max_connections_per_client,
            max_head: proxy.max_head.bytes() as usize,
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
        file: Option<(&ConfigFile, &str)>,
    ) -> Result<Self, ConfigError> {
        Self::resolve(Options::try_parse_from(std::iter::once("web-proxy").chain(flags))?, file)
    }
}

impl FromStr for FrontController {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        match UrlPath::parse(text) {
            Ok(path) if is_script(path.below(path.as_bytes().len())) => Ok(Self(Some(path))),
            _ => Err("expected the path of a script such as /index.php, or none".into()),
        }
    }
}

fn file_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.starts_with('.') || text.contains(['/', '\\', '\0']) {
        return Err("expected a file's name such as index.php".into());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_schema_is_sound() {
        Options::command().debug_assert();
    }

    #[test]
    fn defaults() {
        let config = Config::from_flags(["--docroot=/"]).unwrap();
        assert_eq!(config.index, ["index.php", "index.html", "index.htm"]);
        assert_eq!(config.front_controller.0.unwrap().as_bytes(), b"/index.php");
        assert_eq!(config.max_body, 1 << 30);
    }

    #[test]
    fn what_cannot_work_is_said() {
        let cases = [
            ("--docroot=/none/such", "docroot = /none/such: no such folder"),
            ("--front-controller=index.php", "expected the path of a script"),
            ("--front-controller=/index.html", "expected the path of a script"),
            ("--index=a/b", "expected a file's name"),
            ("--max-head=1KiB", "at least 8KiB"),
            ("--preset=joomla", "joomla"),
            ("--error-pages=/none/such", "error-pages = /none/such: "),
            ("--precompressed=br,off", "off stands alone"),
            ("--precompressed=deflate", "zstd"),
            ("--compress=off,gzip", "off stands alone"),
            ("--compress=zstd", "gzip"),
            ("--types=glb", "expected EXTENSION=TYPE"),
        ];
        for (flag, message) in cases {
            let flags =
                [flag, "--docroot=/"].into_iter().take(if flag.starts_with("--docroot") { 1 } else { 2 });
            let error = Config::from_flags(flags).unwrap_err().to_string();
            assert!(error.contains(message), "{flag}: {error}");
        }
        assert_eq!(
            Config::from_flags(["--docroot=/", "--front-controller=none"]).unwrap().front_controller,
            FrontController(None)
        );
    }
}
