//! What one volume knows, as the agents tell each other and as the records keep it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A volume, by the random id in its `node/volume`. What counts is the volume, not the slot or the host it is at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VolumeId(pub String);

/// `wsrep_cluster_state_uuid`: which database this is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub String);

/// How far a volume has come in the history of its cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub cluster: ClusterId,
    pub seqno: i64,
}

/// A volume with the slot it was last seen in, for people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    pub volume: VolumeId,
    pub slot: u32,
}

/// A bootstrap that an operator forced: what other volumes had beyond `seqno` was given up then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forced {
    pub by: VolumeId,
    pub seqno: i64,
}

/// The forced bootstraps that a volume descends from. A longer lineage is younger than any position of a shorter one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lineage(pub Vec<Forced>);

/// A Primary view: who could acknowledge writes from `seqno` on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    pub cluster: ClusterId,
    /// The number of forced bootstraps before it.
    pub epoch: usize,
    pub seqno: i64,
    pub members: BTreeSet<Member>,
    /// Volumes that were let in and may have become members since.
    #[serde(default)]
    pub admitted: BTreeSet<Member>,
}

/// What is in a volume's data folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Data {
    /// Nothing.
    Empty,
    /// A first initialisation that was cut off: no client has ever seen it.
    Unfinished,
    /// Half a state transfer: it needs a whole one.
    Partial,
    /// A database that does not say where it stands.
    Unknown(String),
    /// A database at a position.
    At {
        position: Position,
        /// It was stopped in order as the only member of its Primary view (`safe_to_bootstrap: 1`).
        last_to_leave: bool,
    },
}

/// What a node is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It has not looked at its volume yet.
    Starting,
    Deciding,
    /// It makes a new database.
    Founding,
    /// It has decided to become the first member.
    Bootstrapping,
    /// mariadbd runs and receives what it lacks.
    Joining,
    Running {
        primary: bool,
        synced: bool,
    },
    /// An orderly stop; its position is not final.
    Stopping,
    /// mariadbd has stopped in order.
    Stopped,
}

/// What one node says of itself and its volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub volume: VolumeId,
    pub slot: u32,
    pub phase: Phase,
    pub data: Data,
    pub lineage: Lineage,
    /// The latest Primary view that it was a member of.
    pub view: Option<View>,
}

/// What `/cluster` holds of one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRecord {
    pub volume: VolumeId,
    pub slot: u32,
    pub state: RecordedState,
    /// Where it was when this was written.
    pub position: Option<Position>,
    pub lineage: Lineage,
    pub view: Option<View>,
    /// Seconds since 1970.
    pub at: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordedState {
    Running,
    /// In order, at its position.
    Stopped,
}

/// Who made the database, once and for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Founding {
    pub volume: VolumeId,
    pub slot: u32,
    /// Seconds since 1970.
    pub at: u64,
}

/// What `/cluster` says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ledger {
    pub founding: Option<Founding>,
    pub volumes: Vec<VolumeRecord>,
}

impl Lineage {
    pub const fn epoch(&self) -> usize {
        self.0.len()
    }

    /// Whether `self` descends from `older`, or is it.
    pub fn descends_from(&self, older: &Self) -> bool {
        self.0.starts_with(&older.0)
    }
}

impl Facts {
    pub const fn position(&self) -> Option<&Position> {
        match &self.data {
            Data::At { position, .. } => Some(position),
            _ => None,
        }
    }

    pub fn member(&self) -> Member {
        Member { volume: self.volume.clone(), slot: self.slot }
    }

    pub const fn is_primary(&self) -> bool {
        matches!(self.phase, Phase::Running { primary: true, .. })
    }
}

impl VolumeRecord {
    pub fn member(&self) -> Member {
        Member { volume: self.volume.clone(), slot: self.slot }
    }
}

impl VolumeId {
    pub fn random() -> Self {
        Self(format!("{:012x}", fastrand::u64(..1 << 48)))
    }
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.cluster, self.seqno)
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "volume {} (slot {})", self.volume, self.slot)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected UUID:SEQNO")]
pub struct PositionError;

impl FromStr for Position {
    type Err = PositionError;
    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (cluster, seqno) = text.split_once(':').ok_or(PositionError)?;
        // Galera 4 may add a GTID after a comma.
        let seqno = seqno.split(',').next().unwrap_or(seqno).trim();
        let shaped = cluster.len() == 36 && cluster.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        match (shaped, seqno.parse()) {
            (true, Ok(seqno)) => Ok(Self { cluster: ClusterId(cluster.to_ascii_lowercase()), seqno }),
            _ => Err(PositionError),
        }
    }
}
