//! `grastate.dat`: what Galera itself notes of its state.

use std::fs;
use std::io;
use std::path::Path;

use crate::durable;
use crate::facts::{ClusterId, Position};

pub(crate) const NAME: &str = "grastate.dat";

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grastate {
    /// `None` for the nil uuid: the data belongs to no cluster, or is half received.
    pub(crate) cluster: Option<ClusterId>,
    /// `None` for -1: not stopped in order.
    pub(crate) seqno: Option<i64>,
    pub(crate) safe_to_bootstrap: bool,
}

impl Grastate {
    /// `None` where it cannot be understood.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| {
            text.lines()
                .find_map(|line| line.split_once(':').filter(|(name, _)| name.trim() == key))
                .map(|(_, value)| value.trim())
        };
        let uuid = value("uuid")?;
        let seqno: i64 = value("seqno")?.parse().ok()?;
        // One parser for both: the shape of a uuid.
        let position: Position = format!("{uuid}:{seqno}").parse().ok()?;
        let nil = position.cluster.0.chars().all(|c| c == '0' || c == '-');
        Some(Self {
            cluster: (!nil).then_some(position.cluster),
            seqno: (seqno >= 0).then_some(seqno),
            safe_to_bootstrap: value("safe_to_bootstrap") == Some("1"),
        })
    }

    /// `None` where there is none, or none that can be understood.
    pub(crate) fn read(data: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(data.join(NAME)).ok()?)
    }

    /// Where an orderly stop has left the data.
    pub(crate) fn position(&self) -> Option<Position> {
        Some(Position { cluster: self.cluster.clone()?, seqno: self.seqno? })
    }
}

/// Tells Galera that it may start a cluster from here.
pub(crate) fn allow_bootstrap(data: &Path, position: &Position) -> io::Result<()> {
    let text = format!(
        "# GALERA saved state\nversion: 2.1\nuuid:    {}\nseqno:   {}\nsafe_to_bootstrap: 1\n",
        position.cluster, position.seqno
    );
    durable::replace(&data.join(NAME), text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "6f7c7b10-23c4-11f1-8a3c-5b1d4e4c2a77";

    #[test]
    fn what_it_says() {
        let text = |uuid: &str, seqno: &str, safe: &str| {
            format!(
                "# GALERA saved state\nversion: 2.1\nuuid:    {uuid}\nseqno:   {seqno}\nsafe_to_bootstrap: {safe}\n"
            )
        };
        let nil = "00000000-0000-0000-0000-000000000000";
        let cases = [
            (text(UUID, "17", "1"), Some((true, Some(17), true))),
            (text(UUID, "-1", "0"), Some((true, None, false))),
            (text(nil, "-1", "0"), Some((false, None, false))),
            (String::new(), None),
            (text("junk", "1", "1"), None),
            (text(UUID, "many", "1"), None),
            (format!("uuid: {UUID}\nseqno: 3\n"), Some((true, Some(3), false))),
        ];
        for (text, expected) in cases {
            let read = Grastate::parse(&text).map(|g| (g.cluster.is_some(), g.seqno, g.safe_to_bootstrap));
            assert_eq!(read, expected, "{text}");
        }
    }
}
