//! What this program says to the local mariadbd, over its socket, as root.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use common::config::Secret;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error, Opts, OptsBuilder};

use crate::agent::Server;
use crate::config::DatabaseOptions;
use crate::facts::{ClusterId, Position, View};
use crate::mariadbd::member_of;

/// Asks the local node, again and again.
#[derive(Debug)]
pub(crate) struct Asker {
    options: Opts,
    connection: Option<Conn>,
}

/// What the local node says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Observation {
    pub(crate) server: Server,
    pub(crate) position: Option<Position>,
    /// Only of a node that is Primary and ready; in order with the write sets that are applied.
    pub(crate) view: Option<View>,
}

const PATIENCE: Duration = Duration::from_secs(3);
const STATUS: &str = "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_cluster_status', \
                      'wsrep_local_state_comment', 'wsrep_cluster_size', 'wsrep_ready', \
                      'wsrep_cluster_state_uuid', 'wsrep_last_committed')";
/// MariaDB keeps its views in tables, committed with the position at which they began.
const VIEW: &str = "SELECT c.cluster_uuid, c.view_seqno, m.node_name FROM mysql.wsrep_cluster c \
                    JOIN mysql.wsrep_cluster_members m USING (cluster_uuid)";
/// MariaDB's own users without a password, one of them a root that comes over TCP.
const STRANGERS: &str = "FLUSH PRIVILEGES;\n\
    DELETE FROM mysql.global_priv WHERE User = '' OR (User = 'root' AND Host <> 'localhost');\n\
    DELETE FROM mysql.proxies_priv WHERE Host <> 'localhost';\n\
    FLUSH PRIVILEGES;\n";
const BOOTSTRAP: &str = "SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'";

impl Asker {
    pub(crate) fn new(socket: &Path, password: &Secret) -> Self {
        let options = OptsBuilder::default()
            .socket(socket.to_str())
            .user(Some("root"))
            .pass(Some(password.expose()))
            // Else the driver asks for them with a SELECT, which a node that is not ready refuses.
            .max_allowed_packet(Some(1 << 20))
            .wait_timeout(Some(28_800))
            .stmt_cache_size(0);
        Self { options: options.into(), connection: None }
    }

    /// An error where it does not answer in time.
    pub(crate) async fn observe(&mut self) -> Result<Observation, String> {
        let (options, taken) = (self.options.clone(), self.connection.take());
        let asked = async {
            let mut connection = match taken {
                Some(connection) => connection,
                None => Conn::new(options).await?,
            };
            Ok((look(&mut connection).await?, connection))
        };
        let (observation, connection) = in_time(PATIENCE, asked).await?;
        self.connection = Some(connection);
        Ok(observation)
    }

    /// The same, after everything that the group has agreed on before: the view is today's.
    pub(crate) async fn observe_latest(&self) -> Result<Observation, String> {
        let asked = async {
            // Of its own, since what is set stays.
            let mut connection = Conn::new(self.options.clone()).await?;
            connection.query_drop("SET SESSION wsrep_sync_wait = 1").await?;
            let observation = look(&mut connection).await?;
            connection.disconnect().await?;
            Ok(observation)
        };
        in_time(PATIENCE, asked).await
    }

    /// Makes the component that this node is in the Primary one.
    pub(crate) async fn bootstrap(&mut self) -> Result<(), String> {
        let asked = async {
            let mut connection = Conn::new(self.options.clone()).await?;
            connection.query_drop(BOOTSTRAP).await?;
            connection.disconnect().await
        };
        in_time(PATIENCE * 5, asked).await
    }
}

async fn look(connection: &mut Conn) -> Result<Observation, Error> {
    let status: Vec<(String, String)> = connection.query(STATUS).await?;
    let mut observation = understand(&status);
    if observation.is_primary() && observation.server.ready {
        let rows: Vec<(String, i64, String)> = connection.query(VIEW).await?;
        observation.view = view_of(&rows);
    }
    Ok(observation)
}

async fn in_time<T>(patience: Duration, asked: impl Future<Output = Result<T, Error>>) -> Result<T, String> {
    match tokio::time::timeout(patience, asked).await {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

impl Observation {
    pub(crate) fn is_primary(&self) -> bool {
        self.server.cluster_status == "Primary"
    }

    /// It is in no component, neither a Primary one nor another: Galera has closed its connection to the group.
    pub(crate) fn is_disconnected(&self) -> bool {
        self.server.cluster_status == "Disconnected"
    }

    pub(crate) fn is_synced(&self) -> bool {
        self.server.local_state == "Synced" && self.server.ready
    }
}

fn understand(status: &[(String, String)]) -> Observation {
    let value = |name: &str| {
        let row = status.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        row.map(|(_, value)| value.as_str()).unwrap_or_default()
    };
    let (uuid, seqno) = (value("wsrep_cluster_state_uuid"), value("wsrep_last_committed"));
    let position = format!("{uuid}:{seqno}").parse().ok().filter(|position: &Position| position.seqno >= 0);
    Observation {
        server: Server {
            cluster_status: value("wsrep_cluster_status").to_owned(),
            local_state: value("wsrep_local_state_comment").to_owned(),
            cluster_size: value("wsrep_cluster_size").parse().unwrap_or(0),
            ready: value("wsrep_ready") == "ON",
        },
        position,
        view: None,
    }
}

/// The epoch is not MariaDB's to know.
fn view_of(rows: &[(String, i64, String)]) -> Option<View> {
    let (uuid, seqno, _) = rows.first()?;
    let (cluster, seqno) = (ClusterId(uuid.to_ascii_lowercase()), *seqno);
    let members = rows.iter().map(|(_, _, name)| member_of(name)).collect();
    Some(View { cluster, epoch: 0, seqno, members, admitted: std::collections::BTreeSet::new() })
}

/// What a new database begins with, for `mariadbd --bootstrap`: one statement a line.
pub(crate) fn initial(options: &DatabaseOptions) -> String {
    let mut sql = String::from(STRANGERS);
    let mut add = |statement: std::fmt::Arguments<'_>| {
        // Writing to a string does not fail.
        let _ = writeln!(sql, "{statement};");
    };
    let quoted = |secret: &Secret| format!("'{}'", secret.expose().replace('\\', "\\\\").replace('\'', "''"));
    // The operator in the container needs no password; another user of the machine does, or is not let in at all.
    let by_password = match options.root_password.expose() {
        "" => String::new(),
        _ => format!(" OR mysql_native_password USING PASSWORD({})", quoted(&options.root_password)),
    };
    add(format_args!("CREATE OR REPLACE USER 'root'@'localhost' IDENTIFIED VIA unix_socket{by_password}"));
    add(format_args!("GRANT ALL ON *.* TO 'root'@'localhost' WITH GRANT OPTION"));
    add(format_args!("CREATE DATABASE IF NOT EXISTS `{}` CHARACTER SET utf8mb4", options.database));
    if let Some(password) = &options.password {
        let user = &options.user;
        add(format_args!("CREATE USER IF NOT EXISTS '{user}'@'%' IDENTIFIED BY {}", quoted(password)));
        // In a grant an underscore stands for any character.
        let database = options.database.replace('_', "\\_");
        add(format_args!("GRANT ALL ON `{database}`.* TO '{user}'@'%'"));
    }
    if let Some(password) = &options.gateway_password {
        let user = &options.gateway_user;
        add(format_args!("CREATE USER IF NOT EXISTS '{user}'@'%' IDENTIFIED BY {}", quoted(password)));
    }
    if let Some(password) = &options.sst_password {
        let user = &options.sst_user;
        add(format_args!(
            "CREATE USER IF NOT EXISTS '{user}'@'localhost' IDENTIFIED BY {}",
            quoted(password)
        ));
        add(format_args!(
            "GRANT RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR, REPLICA MONITOR ON *.* TO '{user}'@'localhost'"
        ));
    }
    sql
}
