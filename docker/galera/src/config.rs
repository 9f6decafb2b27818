//! Flags, environment (`GALERA_…`) and their meaning.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};
use common::config::{self, ByteSize, ConfigError, HumanDuration, Loaded, LogOptions, Secret};
use common::discovery::Target;

use crate::decide::Force;
use crate::facts::VolumeId;

/// What the program is asked to do: its first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Verb {
    /// Decide, and run mariadbd.
    #[default]
    Serve,
    /// Validate the configuration, print it resolved, and exit.
    Check,
    /// Print what the running agent knows, as JSON.
    Status,
    /// Ask the running agent whether it is alive; exit 0 or 1.
    Healthcheck,
}

/// The entrypoint of the galera image: decides whether to found, bootstrap or join, and runs mariadbd.
#[derive(Debug, Parser)]
#[command(name = "galera-node", version)]
pub struct Options {
    #[arg(value_enum, default_value = "serve")]
    pub verb: Verb,
    /// A TOML file with these options.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub node: NodeOptions,
    #[command(flatten)]
    pub database: DatabaseOptions,
    #[command(flatten)]
    pub server: ServerOptions,
    #[command(flatten)]
    pub log: LogOptions,
}

/// Who this node is, and where the others are.
#[derive(Debug, Clone, Args)]
pub struct NodeOptions {
    /// The number of this replica, `{{.Task.Slot}}` in a Swarm. Number 1 makes the database.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
    pub slot: u32,
    /// What the node is called, together with its slot and volume.
    #[arg(long, value_name = "NAME", default_value = "galera", value_parser = word)]
    pub node_name: String,
    /// The name of the cluster, the same on every node.
    #[arg(long, value_name = "NAME", default_value = "enjambre", value_parser = word)]
    pub cluster_name: String,
    /// The agents of the other nodes: `dns://tasks.galera`, or HOST[:PORT], separated by commas. This node may be among them.
    #[arg(long, value_name = "PEER", value_delimiter = ',')]
    pub peers: Vec<String>,
    /// This node's address on the data network; else the one that is among the peers, or from which they are reached.
    #[arg(long, value_name = "IP")]
    pub address: Option<IpAddr>,
    /// Where SQL, Galera and the agent listen.
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    pub bind: IpAddr,
    /// The volume: MariaDB's data is in its subfolder `data`.
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/mysql")]
    pub data_dir: PathBuf,
    /// A folder that all nodes share, for small records; empty for none.
    #[arg(long, value_name = "FOLDER", default_value = "")]
    pub records: String,
    /// Bootstrap although volumes are missing: the id of this volume, or its position UUID:SEQNO. Works once.
    #[arg(long, value_name = "VALUE", default_value = "")]
    pub force_bootstrap: String,
    /// How long to listen for peers before a bootstrap.
    #[arg(long, value_name = "DURATION", default_value = "3s")]
    pub settle: HumanDuration,
    /// How long Galera may look for its lost majority by itself before the nodes elect a new beginning.
    #[arg(long, value_name = "DURATION", default_value = "20s")]
    pub majority_patience: HumanDuration,
    /// How long slot 1 waits at its stop for other nodes that stop too, so that it is the last to leave.
    #[arg(long, value_name = "DURATION", default_value = "20s")]
    pub linger: HumanDuration,
    /// How long mariadbd may take to stop before it is killed.
    #[arg(long, value_name = "DURATION", default_value = "90s")]
    pub stop_timeout: HumanDuration,
    /// The DNS server to ask, instead of those in /etc/resolv.conf.
    #[arg(long, value_name = "IP:PORT")]
    pub dns_server: Option<std::net::SocketAddr>,
}

/// What a new database begins with.
#[derive(Debug, Clone, Args)]
pub struct DatabaseOptions {
    /// The password of root, on all nodes the same. root logs in from the node itself only.
    #[arg(long, value_name = "PASSWORD", default_value = "")]
    pub root_password: Secret,
    /// The application's database.
    #[arg(long, value_name = "NAME", default_value = "drupal", value_parser = word)]
    pub database: String,
    /// The application's user.
    #[arg(long, value_name = "NAME", default_value = "drupal", value_parser = word)]
    pub user: String,
    /// Its password; without one there is no such user.
    #[arg(long, value_name = "PASSWORD")]
    pub password: Option<Secret>,
    /// The user that fpm-gateway asks with. It may log in, and nothing else.
    #[arg(long, value_name = "NAME", default_value = "fpm-gateway", value_parser = word)]
    pub gateway_user: String,
    /// Its password; without one there is no such user.
    #[arg(long, value_name = "PASSWORD")]
    pub gateway_password: Option<Secret>,
    /// The user of the state transfer.
    #[arg(long, value_name = "NAME", default_value = "sst", value_parser = word)]
    pub sst_user: String,
    /// Its password, on all nodes the same; mariabackup needs one.
    #[arg(long, value_name = "PASSWORD")]
    pub sst_password: Option<Secret>,
}

/// How a joining node gets the whole state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SstMethod {
    /// The donor goes on serving.
    Mariabackup,
    /// The donor takes no writes meanwhile.
    Rsync,
}

/// mariadbd.
#[derive(Debug, Clone, Args)]
pub struct ServerOptions {
    /// Where mariadbd takes statements.
    #[arg(long, value_name = "PORT", default_value = "3306")]
    pub sql_port: u16,
    /// Galera's group communication.
    #[arg(long, value_name = "PORT", default_value = "4567")]
    pub group_port: u16,
    /// Incremental state transfer.
    #[arg(long, value_name = "PORT", default_value = "4568")]
    pub ist_port: u16,
    /// Whole state transfer.
    #[arg(long, value_name = "PORT", default_value = "4444")]
    pub sst_port: u16,
    /// Where the nodes ask each other.
    #[arg(long, value_name = "PORT", default_value = "4570")]
    pub agent_port: u16,
    /// How a joining node gets the whole state.
    #[arg(long, value_name = "METHOD", default_value = "mariabackup")]
    pub sst_method: SstMethod,
    /// InnoDB's cache.
    #[arg(long, value_name = "SIZE", default_value = "256MiB")]
    pub buffer_pool: ByteSize,
    /// Write sets that are kept for nodes that come back.
    #[arg(long, value_name = "SIZE", default_value = "128MiB")]
    pub gcache: ByteSize,
    /// Appliers of write sets.
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub applier_threads: u32,
    /// `commit`: an acknowledged write is on the disk. `second`: on the disks of all nodes within a second.
    #[arg(long, value_name = "commit|second", default_value = "commit")]
    pub durability: Durability,
    /// Connections at once.
    #[arg(long, value_name = "N", default_value = "200", value_parser = clap::value_parser!(u32).range(10..=100_000))]
    pub max_database_connections: u32,
    /// Further provider options, `key=value` separated by semicolons.
    #[arg(long, value_name = "OPTIONS", default_value = "")]
    pub provider_options: String,
    /// A further line of MariaDB's configuration, `key=value`; as often as needed.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// The user that mariadbd runs as, when this program is root.
    #[arg(long, value_name = "USER", default_value = "mysql", value_parser = word)]
    pub run_as: String,
}

/// When a commit is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Durability {
    Commit,
    Second,
}

/// What cannot be wrong any more.
#[derive(Debug, Clone)]
pub struct Config {
    pub node: NodeOptions,
    pub database: DatabaseOptions,
    pub server: ServerOptions,
    pub peers: Vec<Target>,
    pub records: Option<PathBuf>,
    pub force: Option<Force>,
}

pub fn load(
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<Loaded<Options>, ConfigError> {
    config::load("GALERA", args)
}

impl Config {
    pub fn resolve(options: &Options) -> Result<Self, ConfigError> {
        let Options { node, database, server, .. } = options;
        let conflict = |text: String| Err(ConfigError::Conflict(text));
        let mut peers = Vec::new();
        for peer in node.peers.iter().filter(|peer| !peer.is_empty()) {
            let Some(target) = peer_target(peer, server.agent_port) else {
                return conflict(format!("peers = {peer:?}: expected dns://NAME[:PORT] or HOST[:PORT]"));
            };
            peers.push(target);
        }
        if server.sst_method == SstMethod::Mariabackup && database.sst_password.is_none() {
            return conflict("sst-password is not set: sst-method = mariabackup logs in with it".to_owned());
        }
        for (key, secret) in [
            ("root-password", Some(&database.root_password)),
            ("password", database.password.as_ref()),
            ("gateway-password", database.gateway_password.as_ref()),
            ("sst-password", database.sst_password.as_ref()),
        ] {
            if secret.is_some_and(|secret| secret.expose().chars().any(char::is_control)) {
                return conflict(format!("{key}: control characters cannot be used"));
            }
        }
        if database
            .sst_password
            .as_ref()
            .is_some_and(|secret| secret.expose().contains(['\'', '"', '\\', '#']))
        {
            return conflict("sst-password: quotes, backslashes and # cannot be used".to_owned());
        }
        if let Some(setting) = server.settings.iter().find(|setting| setting.chars().any(char::is_control)) {
            return conflict(format!("set = {setting:?}: expected one line, key=value"));
        }
        if server.provider_options.chars().any(|c| c.is_control() || c == '"') {
            return conflict("provider-options: quotes and line breaks cannot be used".to_owned());
        }
        let force = match node.force_bootstrap.trim() {
            "" => None,
            text => {
                Some(text.parse().map_or_else(|_| Force::Volume(VolumeId(text.to_owned())), Force::Position))
            }
        };
        Ok(Self {
            peers,
            records: (!node.records.is_empty()).then(|| node.records.clone().into()),
            force,
            node: node.clone(),
            database: database.clone(),
            server: server.clone(),
        })
    }
}

/// The agents' port where none is named.
fn peer_target(text: &str, port: u16) -> Option<Target> {
    let bare = text.strip_prefix("dns://").unwrap_or(text);
    if let Ok(ip) = bare.trim_matches(['[', ']']).parse::<IpAddr>() {
        return std::net::SocketAddr::new(ip, port).to_string().parse().ok();
    }
    let named = if bare.contains(':') { text.to_owned() } else { format!("{text}:{port}") };
    match named.parse().ok()? {
        Target::Fixed(common::net::Endpoint::Unix(_)) => None,
        target => Some(target),
    }
}

/// What can stand in MariaDB's configuration and statements without quotes.
fn word(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > 64 || !text.chars().all(plain) {
        return Err("expected letters, digits, -, _ and . (64 at most)".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn resolve(flags: &[&str]) -> Result<Config, ConfigError> {
        let options = Options::try_parse_from([&["galera-node"], flags].concat())?;
        Config::resolve(&options)
    }

    #[test]
    fn peers_have_the_agents_port() {
        let cases = [
            ("dns://tasks.galera", "dns://tasks.galera:4570"),
            ("dns://tasks.galera:99", "dns://tasks.galera:99"),
            ("node2", "dns://node2:4570"),
            ("10.0.0.2", "10.0.0.2:4570"),
            ("10.0.0.2:99", "10.0.0.2:99"),
            ("fd00::2", "[fd00::2]:4570"),
        ];
        for (text, expected) in cases {
            let config = resolve(&["--sst-password=x", "--peers", text]).unwrap();
            assert_eq!(config.peers.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
        }
        assert_eq!(resolve(&["--sst-password=x", "--peers", "a,b"]).unwrap().peers.len(), 2);
        assert_eq!(resolve(&["--sst-password=x"]).unwrap().peers, []);
    }

    #[test]
    fn what_cannot_work_names_its_key() {
        let cases: &[(&[&str], &str)] = &[
            (&[], "sst-password"),
            (&["--sst-password=a'b"], "sst-password"),
            (&["--sst-password=x", "--peers=unix:/x"], "peers"),
            (&["--sst-password=x", "--set=a\nb"], "set"),
            (&["--sst-password=x", "--provider-options=a\"b"], "provider-options"),
            (&["--slot=0"], "--slot"),
            (&["--user=a'b"], "--user"),
            (&["--sst-method=other"], "--sst-method"),
        ];
        for (flags, key) in cases {
            let error = resolve(flags).unwrap_err().to_string();
            assert!(error.contains(key), "{flags:?}: {error}");
        }
        assert!(resolve(&["--sst-method=rsync"]).is_ok());
    }

    #[test]
    fn what_is_forced() {
        let force = |text: &str| resolve(&["--sst-method=rsync", "--force-bootstrap", text]).unwrap().force;
        assert_eq!(force(""), None);
        assert_eq!(force("3fa92c01d4e5"), Some(Force::Volume(VolumeId("3fa92c01d4e5".to_owned()))));
        let position = "6f7c7b10-23c4-11f1-8a3c-5b1d4e4c2a77:12";
        assert_eq!(force(position), Some(Force::Position(position.parse().unwrap())));
    }
}
