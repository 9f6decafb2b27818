//! Bodies that wait until the application is to have them: in memory while they are small, then in files without a
//! name, of which all together there may be so much.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use bytes::{Bytes, BytesMut};
use prometheus_client::metrics::gauge::Gauge;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

/// Where the files are, and how much there is in all of them.
#[derive(Debug, Clone)]
pub struct SpoolSpace {
    folder: PathBuf,
    limit: u64,
    used: Arc<Gauge<i64, AtomicI64>>,
}

/// What has come of one body.
#[derive(Debug)]
pub(super) struct Spool {
    length: u64,
    /// What comes first, if it is too much for memory.
    file: Option<Filed>,
    pending: BytesMut,
    /// What comes last, when nothing is added any more.
    rest: Bytes,
}

#[derive(Debug)]
struct Filed {
    file: File,
    /// Behind that there may be a piece that did not fit, which is in memory still.
    written: u64,
    reserved: Reserved,
}

/// Bytes of the space that a file has; dropping it gives them back.
#[derive(Debug)]
struct Reserved {
    space: SpoolSpace,
    bytes: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// So many bytes, or the disk's.
    #[error("there is no more room for bodies")]
    Full,
    #[error("{0}")]
    Io(io::Error),
}

const IN_MEMORY: usize = 64 << 10;
const PIECE: usize = 64 << 10;

impl SpoolSpace {
    pub fn new(folder: PathBuf, limit: u64, used: Gauge<i64, AtomicI64>) -> Self {
        Self { folder, limit, used: Arc::new(used) }
    }
}

impl Spool {
    pub(super) fn new() -> Self {
        Self { length: 0, file: None, pending: BytesMut::new(), rest: Bytes::new() }
    }

    /// A body that came in one piece.
    pub(super) fn of(piece: Bytes) -> Self {
        Self { length: piece.len() as u64, rest: piece, ..Self::new() }
    }

    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// What was added stays readable after an error, too: it is in memory then.
    pub(super) async fn add(&mut self, piece: &Bytes, space: &SpoolSpace) -> Result<(), SpoolError> {
        self.length += piece.len() as u64;
        self.pending.extend_from_slice(piece);
        if self.pending.len() <= IN_MEMORY {
            return Ok(());
        }
        let Filed { file, written, reserved } = match &mut self.file {
            Some(filed) => filed,
            None => self.file.insert(Filed {
                file: unnamed_file(space.folder.clone()).await?,
                written: 0,
                reserved: Reserved::none(space),
            }),
        };
        reserved.grow(self.pending.len())?;
        file.write_all(&self.pending).await?;
        // What is written later fails later: it has to be known now whether there is room.
        file.flush().await?;
        *written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Nothing is added any more: from here on it is read.
    pub(super) async fn rewind(&mut self) -> Result<(), SpoolError> {
        if let Some(Filed { file, written, .. }) = &mut self.file {
            file.set_len(*written).await?;
            file.rewind().await?;
        }
        if !self.pending.is_empty() {
            self.rest = std::mem::take(&mut self.pending).freeze();
        }
        Ok(())
    }

    /// The next piece, never empty; `None` at the end.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, SpoolError> {
        if let Some(Filed { file, .. }) = &mut self.file {
            let mut piece = BytesMut::with_capacity(PIECE);
            if file.read_buf(&mut piece).await? > 0 {
                return Ok(Some(piece.freeze()));
            }
            self.file = None;
        }
        Ok(Some(std::mem::take(&mut self.rest)).filter(|piece| !piece.is_empty()))
    }
}

impl Reserved {
    fn none(space: &SpoolSpace) -> Self {
        Self { space: space.clone(), bytes: 0 }
    }

    fn grow(&mut self, bytes: usize) -> Result<(), SpoolError> {
        // No body is that long.
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let limit = i64::try_from(self.space.limit).unwrap_or(i64::MAX);
        self.bytes += bytes;
        let before = self.space.used.inc_by(bytes);
        if before.saturating_add(bytes) > limit { Err(SpoolError::Full) } else { Ok(()) }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.space.used.dec_by(self.bytes);
    }
}

impl From<io::Error> for SpoolError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io(error),
        }
    }
}

/// It has no name, so nothing of it outlives us.
async fn unnamed_file(folder: PathBuf) -> io::Result<File> {
    let file = tokio::task::spawn_blocking(move || tempfile::tempfile_in(folder))
        .await
        .map_err(io::Error::other)??;
    Ok(File::from_std(file))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn space(limit: u64) -> SpoolSpace {
        SpoolSpace::new(std::env::temp_dir(), limit, Gauge::default())
    }

    async fn all(spool: &mut Spool) -> Vec<u8> {
        spool.rewind().await.unwrap();
        let mut all = Vec::new();
        while let Some(piece) = spool.piece().await.unwrap() {
            all.extend_from_slice(&piece);
        }
        all
    }

    #[tokio::test]
    async fn what_goes_in_comes_out() {
        let space = space(1 << 20);
        for length in [0, 1, IN_MEMORY, IN_MEMORY + 1, 300_000] {
            let body: Vec<u8> = (0..length).map(|number| (number % 251) as u8).collect();
            let mut spool = Spool::new();
            for piece in body.chunks(7001) {
                spool.add(&Bytes::copy_from_slice(piece), &space).await.unwrap();
            }
            assert_eq!(spool.length(), length as u64);
            assert_eq!(space.used.get() > 0, length > IN_MEMORY);
            assert!(all(&mut spool).await == body, "{length}");
            drop(spool);
            assert_eq!(space.used.get(), 0);
        }
    }

    #[tokio::test]
    async fn all_together_have_so_much_room() {
        let space = space(200_000);
        let piece = Bytes::from(vec![b'x'; 90_000]);
        let (mut first, mut second) = (Spool::new(), Spool::new());
        first.add(&piece, &space).await.unwrap();
        second.add(&piece, &space).await.unwrap();
        assert!(matches!(second.add(&piece, &space).await, Err(SpoolError::Full)));
        // What it has is still there.
        assert_eq!(all(&mut second).await.len(), 180_000);
        drop(second);
        first.add(&piece, &space).await.unwrap();
        drop(first);
        assert_eq!(space.used.get(), 0);
    }
}
