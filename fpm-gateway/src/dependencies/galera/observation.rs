//! What a node says of itself.

use std::collections::HashMap;

/// A node's status and variables, as far as they matter here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observation {
    /// `None` for a server without Galera.
    pub wsrep: Option<Wsrep>,
    pub read_only: bool,
}

/// The node's view of its cluster: status variables that begin with `wsrep_`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "as many as the server has")]
pub struct Wsrep {
    /// `wsrep_cluster_status` is `Primary`.
    pub primary: bool,
    pub ready: bool,
    pub connected: bool,
    /// 1 Joining, 2 Donor or desynced, 3 Joined, 4 Synced.
    pub local_state: u8,
    pub local_index: Option<u64>,
    pub cluster_size: u64,
    pub state_uuid: String,
    /// The number of the cluster's view: all members of a component have the same.
    pub conf_id: u64,
    pub recv_queue: u64,
    /// The average receive queue since the last `FLUSH STATUS`, in thousandths.
    pub recv_queue_avg_milli: u64,
    /// Time that replication was held back by flow control since the last `FLUSH STATUS`.
    pub paused_ns: u64,
    pub desync: bool,
    /// `wsrep_reject_queries` is not `NONE`.
    pub rejects_queries: bool,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Said(Observation),
    /// Error 1047: the node does not take statements, and does not say more.
    NotReady,
    /// It answers, and does not let us in: its state is not known.
    Denied(String),
    /// No connection.
    Unreachable(String),
    /// No answer in time.
    Silent,
    /// An answer that is none, or a connection that broke.
    Broken(String),
}

impl Observation {
    /// From the rows of `SHOW GLOBAL STATUS` and `SHOW GLOBAL VARIABLES`.
    pub fn from_rows(rows: impl IntoIterator<Item = (String, String)>) -> Self {
        let rows: HashMap<String, String> =
            rows.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        let text = |name: &str| rows.get(name).map_or("", String::as_str);
        let is_on = |name: &str| matches!(text(name), "ON" | "1");
        let number = |name: &str| text(name).parse::<u64>().ok();
        // A server that could be a node, and is none, has the variables and says that Galera is off.
        let galera = rows.contains_key("wsrep_cluster_status") && text("wsrep_on") != "OFF";
        let wsrep = galera.then(|| Wsrep {
            primary: text("wsrep_cluster_status").eq_ignore_ascii_case("primary"),
            ready: is_on("wsrep_ready"),
            connected: is_on("wsrep_connected"),
            local_state: number("wsrep_local_state").and_then(|state| state.try_into().ok()).unwrap_or(0),
            local_index: number("wsrep_local_index"),
            cluster_size: number("wsrep_cluster_size").unwrap_or(0),
            state_uuid: text("wsrep_cluster_state_uuid").to_owned(),
            conf_id: number("wsrep_cluster_conf_id").unwrap_or(0),
            recv_queue: number("wsrep_local_recv_queue").unwrap_or(0),
            recv_queue_avg_milli: thousandths(text("wsrep_local_recv_queue_avg")),
            paused_ns: number("wsrep_flow_control_paused_ns").unwrap_or(0),
            desync: is_on("wsrep_desync"),
            rejects_queries: !matches!(text("wsrep_reject_queries"), "" | "NONE"),
        });
        // MariaDB 11.8 has more values than ON and OFF; all but OFF keep somebody from writing.
        Self { wsrep, read_only: !matches!(text("read_only"), "" | "OFF" | "0") }
    }
}

fn thousandths(text: &str) -> u64 {
    let value = text.parse::<f64>().unwrap_or(0.0);
    // A float converts saturating; what is negative or no number is 0.
    #[expect(clippy::cast_sign_loss, reason = "saturates at 0")]
    let value = (value * 1000.0) as u64;
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(rows: &[(&str, &str)]) -> Observation {
        Observation::from_rows(rows.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())))
    }

    #[test]
    fn a_synced_node() {
        let node = observed(&[
            ("wsrep_local_state", "4"),
            ("wsrep_local_recv_queue", "7"),
            ("wsrep_local_recv_queue_avg", "0.145918"),
            ("wsrep_flow_control_paused_ns", "12"),
            ("wsrep_cluster_conf_id", "18446744073709551615"),
            ("wsrep_cluster_size", "3"),
            ("wsrep_cluster_state_uuid", "2aceccad-e859-11f1-bc2b-aa8646371d69"),
            ("wsrep_cluster_status", "Primary"),
            ("wsrep_connected", "ON"),
            ("wsrep_local_index", "2"),
            ("wsrep_ready", "ON"),
            ("read_only", "OFF"),
            ("wsrep_desync", "OFF"),
            ("wsrep_on", "ON"),
            ("wsrep_reject_queries", "NONE"),
        ]);
        let wsrep = Wsrep {
            primary: true,
            ready: true,
            connected: true,
            local_state: 4,
            local_index: Some(2),
            cluster_size: 3,
            state_uuid: "2aceccad-e859-11f1-bc2b-aa8646371d69".into(),
            conf_id: u64::MAX,
            recv_queue: 7,
            recv_queue_avg_milli: 145,
            paused_ns: 12,
            desync: false,
            rejects_queries: false,
        };
        assert_eq!(node, Observation { wsrep: Some(wsrep), read_only: false });
    }

    #[test]
    fn servers_without_galera() {
        let mysql = observed(&[("read_only", "ON")]);
        assert_eq!(mysql, Observation { wsrep: None, read_only: true });
        let off = [("wsrep_cluster_status", "Disconnected"), ("wsrep_on", "OFF"), ("read_only", "OFF")];
        assert_eq!(observed(&off), Observation::default());
        for only in ["NO_LOCK", "1", "NO_LOCK_NO_ADMIN"] {
            assert!(observed(&[("read_only", only)]).read_only, "{only}");
        }
    }

    #[test]
    fn nonsense_is_not_used() {
        let node = observed(&[("wsrep_cluster_status", "Primary"), ("wsrep_local_recv_queue_avg", "-nan")]);
        let wsrep = node.wsrep.unwrap_or_default();
        assert!(wsrep.primary && !wsrep.ready && wsrep.local_state == 0 && wsrep.recv_queue_avg_milli == 0);
    }
}
