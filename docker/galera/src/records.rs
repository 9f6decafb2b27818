//! The shared folder `/cluster`: who made the database, and where each volume was seen last.
//!
//! `founded` is made once, exclusively. `volumes/ID.json` is replaced whole by the one node that has the volume.
//! Everything is small, and nothing here may hold a running database up: every access has a deadline.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::decide::Records;
use crate::durable::{self, within};
use crate::facts::{Founding, Ledger, VolumeRecord};

#[derive(Debug, Clone)]
pub struct Folder(Option<PathBuf>);

impl Folder {
    pub const fn new(path: Option<PathBuf>) -> Self {
        Self(path)
    }

    pub const fn is_configured(&self) -> bool {
        self.0.is_some()
    }

    pub async fn read(&self) -> Records {
        let Some(path) = self.0.clone() else { return Records::NotConfigured };
        match within(move || ledger(&path)).await {
            Ok(ledger) => Records::Read(ledger),
            Err(error) => Records::Unreadable(error.to_string()),
        }
    }

    /// Writes down what is true of this volume now.
    pub async fn write(&self, record: &VolumeRecord) -> io::Result<()> {
        let Some(path) = self.0.clone() else { return Ok(()) };
        let (name, text) = (format!("{}.json", record.volume), serde_json::to_vec_pretty(record)?);
        within(move || {
            let folder = path.join("volumes");
            fs::create_dir_all(&folder)?;
            durable::replace(&folder.join(name), &text)
        })
        .await
    }

    /// Becomes the one that makes the database. False when another has become it, or this volume before.
    pub async fn found(&self, founding: &Founding) -> io::Result<bool> {
        let Some(path) = self.0.clone() else { return Ok(true) };
        let text = serde_json::to_vec_pretty(founding)?;
        within(move || durable::create(&path.join("founded"), &text)).await
    }
}

fn ledger(folder: &Path) -> io::Result<Ledger> {
    // A shared folder that is not mounted must not look like one in which nothing was ever written.
    if !folder.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("{}: no such folder", folder.display())));
    }
    let founding = read(&folder.join("founded"))?;
    let mut volumes = Vec::new();
    match fs::read_dir(folder.join("volumes")) {
        Ok(entries) => {
            for entry in entries {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "json") {
                    volumes.extend(read::<VolumeRecord>(&path)?);
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    volumes.sort_by(|a, b| (a.slot, &a.volume).cmp(&(b.slot, &b.volume)));
    Ok(Ledger { founding, volumes })
}

/// `None` when there is no such file; one that cannot be understood is an error that names it.
fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::facts::{Lineage, RecordedState, VolumeId};

    #[tokio::test]
    async fn kept_and_read() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::new(Some(temporary.path().to_owned()));
        assert_eq!(folder.read().await, Records::Read(Ledger::default()));
        let founding = Founding { volume: VolumeId("a".to_owned()), slot: 1, at: 5 };
        assert!(folder.found(&founding).await.unwrap());
        let other = Founding { volume: VolumeId("b".to_owned()), ..founding.clone() };
        assert!(!folder.found(&other).await.unwrap());
        let record = VolumeRecord {
            volume: VolumeId("a".to_owned()),
            slot: 1,
            state: RecordedState::Running,
            position: None,
            lineage: Lineage::default(),
            view: None,
            at: 6,
        };
        folder.write(&record).await.unwrap();
        let expected = Ledger { founding: Some(founding), volumes: vec![record] };
        assert_eq!(folder.read().await, Records::Read(expected));

        fs::write(temporary.path().join("volumes/b.json"), "{}").unwrap();
        assert!(matches!(folder.read().await, Records::Unreadable(why) if why.contains("b.json")));
    }

    #[tokio::test]
    async fn a_folder_that_is_not_mounted_is_not_an_empty_one() {
        let folder = Folder::new(Some("/nonexistent/cluster".into()));
        assert!(matches!(folder.read().await, Records::Unreadable(_)));
        assert_eq!(Folder::new(None).read().await, Records::NotConfigured);
    }
}
