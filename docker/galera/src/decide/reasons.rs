//! Why: for the log, the agent's answer and the operator.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::facts::{ClusterId, Founding, Member, Position};

/// What makes a bootstrap safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// It was stopped in order when nobody else was left.
    LastToLeave,
    /// Every volume of the latest view is heard or recorded, and none is further.
    AllAccounted,
    /// An operator has said so.
    Forced,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// For everybody who is there to be heard.
    Listening,
    /// This node is about to be Primary, or to say what it has.
    Starting(Member),
    /// A position that still moves.
    Unsettled(Member),
    /// Another has come further and starts the cluster.
    Winner { member: Member, seqno: i64 },
    /// A node that is behind, and runs without a majority, has to stop first.
    GivesWay(Member),
    /// These could have acknowledged writes that nobody here has.
    Missing(Vec<(Member, Absence)>),
    /// Stopped in order, further than anybody here.
    Newer { member: Member, position: Position, at: u64 },
    /// Nobody who is heard has a database that could be started.
    NobodyCan(Vec<Member>),
    /// The database is on other volumes.
    NoDataHere { cluster: Option<ClusterId>, known: Vec<Member> },
    /// Another volume was to make the database.
    Founder(Founding),
    /// Slot 1 makes the database.
    FirstSlot,
    /// Peers that are listed and do not answer may have a database.
    Silent(Vec<String>),
    /// The records cannot be read, and may tell of a database.
    Records(String),
}

/// Why a volume is not accounted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absence {
    /// It does not answer; with the time of its last record.
    NotHeard(Option<u64>),
    /// It answers, and cannot say where its data stands.
    Damaged(String),
    /// It answers, was a member, and its data is gone.
    Emptied,
}

/// What only an operator can resolve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    TwoDatabases(Vec<(Member, Position)>),
    TwoPrimaries(Member, Member),
    /// Two forced bootstraps went different ways.
    Branches(Member, Member),
    /// Data whose position cannot be told, and that never was part of this cluster.
    UnknownData(String),
    /// Nobody knows who else was a member.
    NoView(Member),
    /// This volume made the database, and holds none.
    FoundedButEmpty(Founding),
}

impl Waiting {
    /// Whether `force-bootstrap` would be an answer.
    pub const fn can_be_forced(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::Newer { .. })
    }
}

impl Refusal {
    pub const fn can_be_forced(&self) -> bool {
        matches!(self, Self::NoView(_))
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LastToLeave => "it was the last to leave, in order",
            Self::AllAccounted => "every volume of the latest view is accounted for and none is further",
            Self::Forced => "an operator forces it",
        })
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHeard(Some(at)) => write!(f, "not heard, last recorded {}", ago(*at)),
            Self::NotHeard(None) => f.write_str("not heard, never recorded"),
            Self::Damaged(why) => write!(f, "which is damaged: {why}"),
            Self::Emptied => f.write_str("whose data was deleted"),
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listening => f.write_str("listening for peers"),
            Self::Starting(member) => write!(f, "{member} is starting"),
            Self::Unsettled(member) => write!(f, "the position of {member} is not final yet"),
            Self::Winner { member, seqno } => {
                write!(f, "{member} has come furthest (seqno {seqno}) and starts the cluster")
            }
            Self::GivesWay(member) => {
                write!(f, "{member} runs without a majority, is behind, and has to stop first")
            }
            Self::Missing(members) => {
                f.write_str("these volumes could hold writes that nobody here has: ")?;
                listed(f, members.iter().map(|(member, absence)| format!("{member}, {absence}")))
            }
            Self::Newer { member, position, at } => {
                write!(f, "{member} was stopped {} at {position}, further than anybody here", ago(*at))
            }
            Self::NobodyCan(members) if members.is_empty() => {
                f.write_str("no volume that is heard holds a database that could be started")
            }
            Self::NobodyCan(members) => {
                f.write_str("no volume that is heard holds a database that could be started; not heard: ")?;
                listed(f, members.iter().map(ToString::to_string))
            }
            Self::NoDataHere { cluster, known } => {
                f.write_str("this volume is empty, and the database")?;
                if let Some(cluster) = cluster {
                    write!(f, " {cluster}")?;
                }
                f.write_str(" is on other volumes: ")?;
                listed(f, known.iter().map(ToString::to_string))
            }
            Self::Founder(founding) => write!(
                f,
                "volume {} (slot {}) began {} to make the database, and is not heard",
                founding.volume,
                founding.slot,
                ago(founding.at)
            ),
            Self::FirstSlot => f.write_str("slot 1 makes the database"),
            Self::Silent(addresses) => {
                f.write_str("these peers do not answer, and may have a database: ")?;
                listed(f, addresses.iter().cloned())
            }
            Self::Records(why) => {
                write!(
                    f,
                    "this volume is empty, and the records that may tell of a database cannot be read: {why}"
                )
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TwoDatabases(positions) => {
                f.write_str("these volumes hold different databases: ")?;
                listed(f, positions.iter().map(|(member, position)| format!("{member} at {position}")))?;
                f.write_str("; empty those that are not to be kept")
            }
            Self::TwoPrimaries(one, other) => {
                write!(
                    f,
                    "{one} and {other} are Primary without each other: stop the one that is not to be kept"
                )
            }
            Self::Branches(one, other) => {
                write!(f, "{one} and {other} descend from different forced bootstraps: empty one of them")
            }
            Self::UnknownData(why) => {
                write!(
                    f,
                    "this volume holds a database whose position is not known, and joining would delete it: {why}"
                )
            }
            Self::NoView(member) => write!(
                f,
                "{member} has come furthest of those that are heard, but nobody knows who else was a member"
            ),
            Self::FoundedButEmpty(founding) => write!(
                f,
                "this volume made the database {} and holds none: its data was deleted",
                ago(founding.at)
            ),
        }
    }
}

fn listed(f: &mut fmt::Formatter<'_>, items: impl Iterator<Item = String>) -> fmt::Result {
    f.write_str(&items.collect::<Vec<_>>().join("; "))
}

fn ago(at: u64) -> String {
    let age = SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_secs(at)).unwrap_or_default();
    let seconds = age.as_secs();
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} minutes ago", seconds / 60),
        7200..172_800 => format!("{} hours ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}
