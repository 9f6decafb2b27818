//! One question to one node, on a connection that is kept.

use std::time::Duration;

use common::net::Endpoint;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error, IoError, Opts, OptsBuilder};

use super::observation::{Answer, Observation};
use crate::dependencies::options::GaleraConfig;

/// Asks one node, again and again.
#[derive(Debug)]
pub(super) struct Asker {
    options: Opts,
    timeout: Duration,
    connection: Option<Conn>,
}

/// Both are answered by nodes that take no other statement, and need no privilege.
const STATUS: &str = "SHOW GLOBAL STATUS LIKE 'wsrep\\_%'";
const VARIABLES: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN \
                         ('read_only', 'wsrep_on', 'wsrep_desync', 'wsrep_reject_queries')";

/// "WSREP has not yet prepared node for application use".
const UNKNOWN_COMMAND: u16 = 1047;
/// Too many connections, of all or of this user; no access, from this host or at all.
const NO_ENTRY: [u16; 9] = [1040, 1044, 1045, 1129, 1130, 1203, 1226, 1251, 1698];

impl Asker {
    pub(super) fn new(node: &Endpoint, config: &GaleraConfig) -> Self {
        let address = match node {
            Endpoint::Tcp(address) => {
                OptsBuilder::default().ip_or_hostname(address.ip().to_string()).tcp_port(address.port())
            }
            Endpoint::Unix(path) => OptsBuilder::default().socket(path.to_str()),
        };
        let options = address
            .user(Some(&config.user))
            .pass(config.password.as_ref().map(common::config::Secret::expose))
            // Else the driver asks for them with a SELECT, which a node that is not ready refuses.
            .max_allowed_packet(Some(1 << 20))
            .wait_timeout(Some(28_800))
            .prefer_socket(false)
            .stmt_cache_size(0);
        Self { options: options.into(), timeout: config.timeout, connection: None }
    }

    /// Connects if need be, and asks. Whatever happens, it takes no longer than the time-out.
    pub(super) async fn ask(&mut self) -> Answer {
        let kept = self.connection.is_some();
        let answer = tokio::time::timeout(self.timeout, async {
            match self.try_once().await {
                // A connection that was kept may have been closed since: that says nothing of the node.
                Err(error) if kept && error.is_fatal() => {
                    self.connection = None;
                    self.try_once().await
                }
                answer => answer,
            }
        })
        .await;
        match answer {
            Ok(Ok(observation)) => Answer::Said(observation),
            Ok(Err(error)) => {
                self.connection = None;
                understand(&error)
            }
            Err(_) => {
                self.connection = None;
                Answer::Silent
            }
        }
    }

    async fn try_once(&mut self) -> Result<Observation, Error> {
        // A question that is given up leaves a connection that cannot be used again.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Conn::new(self.options.clone()).await?,
        };
        let mut rows: Vec<(String, String)> = connection.query(STATUS).await?;
        rows.extend(connection.query::<(String, String), _>(VARIABLES).await?);
        self.connection = Some(connection);
        Ok(Observation::from_rows(rows))
    }
}

fn understand(error: &Error) -> Answer {
    match error {
        Error::Server(error) if error.code == UNKNOWN_COMMAND => Answer::NotReady,
        Error::Server(error) if NO_ENTRY.contains(&error.code) => {
            Answer::Denied(format!("error {}: {}", error.code, error.message))
        }
        Error::Io(IoError::Io(error)) if is_unreachable(error.kind()) => {
            Answer::Unreachable(error.to_string())
        }
        error => Answer::Broken(error.to_string()),
    }
}

fn is_unreachable(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut};
    matches!(kind, ConnectionRefused | HostUnreachable | NetworkUnreachable | TimedOut)
}

#[cfg(test)]
mod tests {
    use mysql_async::ServerError;

    use super::*;

    #[test]
    fn errors() {
        let server = |code| Error::Server(ServerError { code, message: "m".into(), state: "HY000".into() });
        let io = |kind: std::io::ErrorKind| Error::Io(IoError::Io(kind.into()));
        assert_eq!(understand(&server(1047)), Answer::NotReady);
        assert_eq!(understand(&server(1045)), Answer::Denied("error 1045: m".into()));
        assert!(matches!(understand(&server(1064)), Answer::Broken(_)));
        assert!(matches!(understand(&io(std::io::ErrorKind::ConnectionRefused)), Answer::Unreachable(_)));
        assert!(matches!(understand(&io(std::io::ErrorKind::ConnectionReset)), Answer::Broken(_)));
    }
}
