//! The volume: MariaDB's files in `data`, and ours in `node` beside them, where no state transfer deletes them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::durable;
use crate::facts::{Data, Lineage, View, VolumeId};
use crate::grastate::Grastate;

#[derive(Debug, Clone)]
pub struct Volume {
    root: PathBuf,
    pub id: VolumeId,
}

/// What the volume remembers of the cluster; `node/state.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Memory {
    pub view: Option<View>,
    pub lineage: Lineage,
    /// Values of `force-bootstrap` that have done their work: the option may still be set.
    #[serde(default)]
    pub forced: Vec<String>,
}

/// What the files alone say; where it stands may still have to be recovered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Known(Data),
    /// A database that was not stopped in order.
    Crashed,
}

#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error("{}: {cause}", path.display())]
    Io { path: PathBuf, cause: io::Error },
    #[error(
        "{}: there are MariaDB's files in the folder itself; this image keeps them in its subfolder data (move them there)",
        .0.display()
    )]
    Layout(PathBuf),
    #[error("{}: cannot be understood: {cause}", path.display())]
    State { path: PathBuf, cause: serde_json::Error },
}

impl Volume {
    /// Opens it, with a new id if it has none.
    pub fn open(root: &Path) -> Result<Self, VolumeError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |cause| VolumeError::Io { path, cause }
        };
        if root.join("ibdata1").exists() {
            return Err(VolumeError::Layout(root.to_owned()));
        }
        let node = root.join("node");
        for folder in [root.join("data"), node.clone()] {
            fs::create_dir_all(&folder).map_err(io(&folder))?;
        }
        let path = node.join("volume");
        if !path.exists() {
            durable::create(&path, VolumeId::random().0.as_bytes()).map_err(io(&path))?;
        }
        let id = fs::read_to_string(&path).map_err(io(&path))?;
        Ok(Self { root: root.to_owned(), id: VolumeId(id.trim().to_owned()) })
    }

    /// MariaDB's folder.
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// The socket, which is worth nothing after a stop.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    pub fn node(&self) -> PathBuf {
        self.root.join("node")
    }

    pub fn memory(&self) -> Result<Memory, VolumeError> {
        let path = self.state();
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|cause| VolumeError::State { path, cause }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Memory::default()),
            Err(cause) => Err(VolumeError::Io { path, cause }),
        }
    }

    pub fn remember(&self, memory: &Memory) -> Result<(), VolumeError> {
        let path = self.state();
        let text = serde_json::to_vec_pretty(memory)
            .map_err(|cause| VolumeError::State { path: path.clone(), cause })?;
        durable::replace(&path, &text).map_err(|cause| VolumeError::Io { path, cause })
    }

    /// From here until [`finished`](Self::finished) the data is worth nothing.
    pub fn begin(&self) -> io::Result<()> {
        durable::replace(&self.marker(), b"the first initialisation has not ended\n")
    }

    pub fn finished(&self) -> io::Result<()> {
        fs::remove_file(self.marker())?;
        fs::File::open(self.node())?.sync_all()
    }

    /// Deletes MariaDB's files, but not the folder, which may be a mount.
    pub fn wipe(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.data())? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    pub fn look(&self) -> io::Result<Found> {
        let data = self.data();
        if self.marker().exists() {
            return Ok(Found::Known(Data::Unfinished));
        }
        let mut entries = fs::read_dir(&data)?.collect::<io::Result<Vec<_>>>()?;
        entries.retain(|entry| entry.file_name() != "lost+found");
        if entries.is_empty() {
            return Ok(Found::Known(Data::Empty));
        }
        let has = |name: &str| data.join(name).exists();
        if has("sst_in_progress") || !has("ibdata1") || !has("mysql") {
            return Ok(Found::Known(Data::Partial));
        }
        Ok(match Grastate::read(&data) {
            Some(state) => match state.position() {
                Some(position) => Found::Known(Data::At { position, last_to_leave: state.safe_to_bootstrap }),
                // Galera forgets the uuid while it receives a state.
                None if state.cluster.is_none() => Found::Known(Data::Partial),
                None => Found::Crashed,
            },
            None => Found::Crashed,
        })
    }

    fn marker(&self) -> PathBuf {
        self.node().join("initialising")
    }

    fn state(&self) -> PathBuf {
        self.node().join("state.json")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let volume = Volume::open(folder.path()).unwrap();
        assert_eq!(Volume::open(folder.path()).unwrap().id, volume.id);
        let data = volume.data();
        let state = |text: &str| fs::write(data.join("grastate.dat"), text).unwrap();
        let uuid = "6f7c7b10-23c4-11f1-8a3c-5b1d4e4c2a77";

        assert_eq!(volume.look().unwrap(), Found::Known(Data::Empty));
        fs::create_dir(data.join("lost+found")).unwrap();
        assert_eq!(volume.look().unwrap(), Found::Known(Data::Empty));
        volume.begin().unwrap();
        assert_eq!(volume.look().unwrap(), Found::Known(Data::Unfinished));
        volume.finished().unwrap();
        fs::write(data.join("ibdata1"), "").unwrap();
        assert_eq!(volume.look().unwrap(), Found::Known(Data::Partial));
        fs::create_dir(data.join("mysql")).unwrap();
        assert_eq!(volume.look().unwrap(), Found::Crashed);
        state("");
        assert_eq!(volume.look().unwrap(), Found::Crashed);
        state(&format!("uuid: {uuid}\nseqno: -1\nsafe_to_bootstrap: 0\n"));
        assert_eq!(volume.look().unwrap(), Found::Crashed);
        state(&format!("uuid: {uuid}\nseqno: 5\nsafe_to_bootstrap: 1\n"));
        let position = format!("{uuid}:5").parse().unwrap();
        assert_eq!(volume.look().unwrap(), Found::Known(Data::At { position, last_to_leave: true }));
        state("uuid: 00000000-0000-0000-0000-000000000000\nseqno: -1\nsafe_to_bootstrap: 0\n");
        assert_eq!(volume.look().unwrap(), Found::Known(Data::Partial));
        fs::write(data.join("sst_in_progress"), "").unwrap();
        state(&format!("uuid: {uuid}\nseqno: 5\nsafe_to_bootstrap: 1\n"));
        assert_eq!(volume.look().unwrap(), Found::Known(Data::Partial));
        volume.wipe().unwrap();
        assert_eq!(volume.look().unwrap(), Found::Known(Data::Empty));

        fs::write(folder.path().join("ibdata1"), "").unwrap();
        assert!(matches!(Volume::open(folder.path()), Err(VolumeError::Layout(_))));
    }

    #[test]
    fn what_it_remembers() {
        let folder = tempfile::tempdir().unwrap();
        let volume = Volume::open(folder.path()).unwrap();
        assert_eq!(volume.memory().unwrap(), Memory::default());
        let memory = Memory { forced: vec!["x".to_owned()], ..Memory::default() };
        volume.remember(&memory).unwrap();
        assert_eq!(volume.memory().unwrap(), memory);
        fs::write(volume.state(), "{").unwrap();
        assert!(matches!(volume.memory(), Err(VolumeError::State { .. })));
    }
}
