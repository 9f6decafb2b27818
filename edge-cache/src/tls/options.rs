use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use common::config::{ConfigError, HumanDuration};
use common::net::Address;

use super::{Certificates, files};

#[derive(Debug, Clone, Args)]
pub struct TlsOptions {
    /// Addresses to serve HTTPS on, HTTP/2 and HTTP/1.1: HOST:PORT or unix:/path.
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    pub tls_listen: Vec<Address>,
    /// Certificate chains in PEM, or folders of them. A key is in the same file, in the one that tls-key names, or
    /// beside it with the ending .key.
    #[arg(long, value_name = "PATH", value_delimiter = ',')]
    pub tls_certificate: Vec<PathBuf>,
    /// Private keys in PEM, one for each tls-certificate in their order.
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    pub tls_key: Vec<PathBuf>,
    /// How long a client may take for the TLS handshake.
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub tls_handshake_timeout: HumanDuration,
}

/// Where certificates are read from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources {
    pub certificates: Vec<PathBuf>,
    /// As many, or none.
    pub keys: Vec<PathBuf>,
}

/// TLS as it is configured, with the certificates that were read.
#[derive(Debug, Clone)]
pub struct Tls {
    pub listen: Vec<Address>,
    pub sources: Sources,
    pub certificates: Arc<Certificates>,
    pub handshake_timeout: Duration,
}

impl Tls {
    /// `None` without an address to listen on.
    pub fn resolve(options: TlsOptions) -> Result<Option<Self>, ConfigError> {
        let TlsOptions { tls_listen, tls_certificate, tls_key, tls_handshake_timeout } = options;
        if tls_listen.is_empty() {
            return Ok(None);
        }
        if tls_certificate.is_empty() {
            return conflict("tls-listen needs tls-certificate: PEM files, or folders of them");
        }
        if !tls_key.is_empty() && tls_key.len() != tls_certificate.len() {
            let (keys, certificates) = (tls_key.len(), tls_certificate.len());
            return conflict(&format!(
                "tls-key: {keys} for the {certificates} of tls-certificate; expected one for each in their order, or \
                 none where keys are in the same files or beside them"
            ));
        }
        let sources = Sources { certificates: tls_certificate, keys: tls_key };
        let certificates = files::load(&sources).map_err(|error| {
            let key = if error.is_of_key(&sources) { "tls-key" } else { "tls-certificate" };
            ConfigError::Conflict(format!("{key}: {error}"))
        })?;
        Ok(Some(Self {
            listen: tls_listen,
            sources,
            certificates: Arc::new(certificates),
            handshake_timeout: tls_handshake_timeout.get(),
        }))
    }

    /// What is in force after `new` was read: sockets stay.
    #[must_use]
    pub fn reloaded(&self, new: Self) -> Self {
        Self { listen: self.listen.clone(), ..new }
    }
}

fn conflict<T>(message: &str) -> Result<T, ConfigError> {
    Err(ConfigError::Conflict(message.to_owned()))
}
