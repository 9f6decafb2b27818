//! The walk from the docroot along a path, never out of it.
//!
//! 1. The whole path is opened at once: most requests are for something that is there.
//! 2. If it is not there, the walk goes segment by segment until the first that is no directory: a file,
//!    whose PATH_INFO is the rest, or nothing (as Apache's directory walk does).
//!
//! The kernel keeps the walk inside (`openat2`, RESOLVE_BENEATH), whatever is renamed or linked meanwhile.
//! A symbolic link with an absolute target inside the docroot is followed in a second step, by its real
//! path. Without `openat2` (before Linux 5.6, or forbidden by a sandbox) the real path is compared with the
//! docroot's before opening; whoever can rename directories in the docroot at that moment could win the race.

mod followed;

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub use followed::{Followed, follow};
use rustix::fs::{FsWord, Mode, OFlags, ResolveFlags, Stat, fstat, fstatfs, open, openat2};
use rustix::io::Errno;

use crate::route::path::UrlPath;

/// A docroot held open.
#[derive(Debug)]
pub struct Docroot {
    /// No other docroot of this process has it.
    id: u64,
    root: OwnedFd,
    /// Absolute and without symbolic links.
    path: Arc<Path>,
    identity: Identity,
    follow_symlinks: bool,
    /// `openat2` can be used.
    beneath: AtomicBool,
    /// Nothing here waits for a disk or a file server, unless another file system is mounted below. Such a file system
    /// does not remember what is not there: the kernel's cache never knows the answer.
    in_memory: bool,
}

/// Where the walk has ended: after the first `end` bytes of the path.
#[derive(Debug)]
pub struct Mapped {
    pub end: usize,
    pub found: Found,
}

#[derive(Debug)]
pub enum Found {
    /// A regular file; open for reading unless its name says that it is a script.
    File(File, Metadata),
    Directory,
    Nothing,
}

/// Why a path leads to nothing that could be served or passed on.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    #[error("not permitted")]
    NotPermitted,
    /// A symbolic link leads out of the docroot, or round in circles.
    #[error("outside of the docroot")]
    Outside,
    /// A socket, a pipe or a device.
    #[error("neither a file nor a directory")]
    Special,
    #[error("cannot be read: {0}")]
    Io(io::Error),
    /// The kernel would have to read from the disk first.
    #[error("not in the kernel's cache")]
    NotCached,
}

/// Whether the walk may wait for a disk or a file server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// For calls on threads that serve other requests too.
    Never,
    Allowed,
}

/// How many docroots were opened.
static OPENED: AtomicU64 = AtomicU64::new(0);
/// The magic number of tmpfs (statfs(2)).
const TMPFS: FsWord = 0x0102_1994;

/// Which folder it is, by device and inode.
type Identity = (u64, u64);

const fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

/// Something in the docroot; its metadata too, so that nothing is asked twice.
type Opened = (File, Metadata);

impl Docroot {
    pub fn open(path: &Path, follow_symlinks: bool) -> io::Result<Self> {
        let path = path.canonicalize()?;
        let root = open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let identity = identity(&fstat(&root)?);
        let in_memory = fstatfs(&root).is_ok_and(|system| system.f_type == TMPFS);
        let (id, beneath) = (OPENED.fetch_add(1, Ordering::Relaxed), AtomicBool::new(true));
        Ok(Self { id, root, path: path.into(), identity, follow_symlinks, beneath, in_memory })
    }

    pub const fn id(&self) -> u64 {
        self.id
    }

    pub const fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// Whether reading a file of this docroot waits for nothing.
    pub fn is_in_memory(&self, file: &Metadata) -> bool {
        self.in_memory && file.dev() == self.identity.0
    }

    /// Blocks for as long as the disk does if `wait` allows it.
    pub fn map(&self, path: &UrlPath, wait: Wait) -> Result<Mapped, MapError> {
        let whole = path.trimmed_len();
        match self.look(path, whole, wait) {
            Err(MapError::Io(error)) if is_missing(&error) => {}
            other => return other,
        }
        for end in path.ends() {
            let mapped = match self.look(path, end, wait) {
                Err(MapError::Io(error)) if is_missing(&error) => Mapped { end, found: Found::Nothing },
                other => other?,
            };
            if end == whole || !matches!(mapped.found, Found::Directory) {
                return Ok(mapped);
            }
        }
        // The docroot itself is gone.
        Err(MapError::Io(Errno::NOENT.into()))
    }

    /// The regular file at exactly this path; `None` if there is none. One look, without a walk.
    pub fn open_file(&self, path: &UrlPath, wait: Wait) -> Result<Option<(File, Metadata)>, MapError> {
        match self.look(path, path.trimmed_len(), wait) {
            Ok(Mapped { found: Found::File(file, metadata), .. }) => Ok(Some((file, metadata))),
            Ok(_) | Err(MapError::Special) => Ok(None),
            Err(MapError::Io(error)) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the first `end` bytes of the path are.
    fn look(&self, path: &UrlPath, end: usize, wait: Wait) -> Result<Mapped, MapError> {
        let relative = path.below(end);
        let (file, metadata) = self.open_below(relative, access(relative), wait)?;
        let kind = metadata.file_type();
        let found = if kind.is_dir() {
            Found::Directory
        } else if kind.is_file() {
            Found::File(file, metadata)
        } else {
            return Err(MapError::Special);
        };
        Ok(Mapped { end, found })
    }

    fn open_below(&self, relative: &Path, flags: OFlags, wait: Wait) -> Result<Opened, MapError> {
        let opened = match self.try_open(relative, flags, wait) {
            // The handle of a file that was replaced on a file server: asking again finds the new one.
            Err(Errno::STALE) => self.try_open(relative, flags, wait),
            other => other,
        };
        match opened {
            Ok(opened) => Ok(opened),
            // EAGAIN: something was renamed, anywhere on the system, while the kernel followed a link with
            // `..` in it (openat2(2)). Real paths have none.
            Err(Errno::XDEV | Errno::AGAIN) if wait == Wait::Allowed => self.open_real(relative, flags),
            Err(Errno::XDEV | Errno::AGAIN) if wait == Wait::Never => Err(MapError::NotCached),
            Err(error) => Err(error.into()),
        }
    }

    fn try_open(&self, relative: &Path, flags: OFlags, wait: Wait) -> Result<Opened, Errno> {
        if !self.beneath.load(Ordering::Relaxed) {
            return Err(Errno::XDEV);
        }
        let mut resolve = ResolveFlags::NO_MAGICLINKS;
        if !self.follow_symlinks {
            resolve |= ResolveFlags::BENEATH;
        }
        if wait == Wait::Never {
            resolve |= if self.in_memory { ResolveFlags::NO_XDEV } else { ResolveFlags::CACHED };
        }
        match openat2(&self.root, relative, flags, Mode::empty(), resolve) {
            Ok(descriptor) => with_metadata(descriptor.into()),
            // EINVAL: RESOLVE_CACHED is younger than openat2 (Linux 5.12).
            Err(Errno::INVAL) if wait == Wait::Never => Err(Errno::AGAIN),
            Err(Errno::NOSYS | Errno::PERM) => {
                if self.beneath.swap(false, Ordering::Relaxed) {
                    tracing::warn!("openat2 is not available: paths are checked before they are opened");
                }
                Err(Errno::XDEV)
            }
            Err(error) => Err(error),
        }
    }

    /// By the real path, if that is inside the docroot.
    fn open_real(&self, relative: &Path, flags: OFlags) -> Result<Opened, MapError> {
        let real = self.path.join(relative).canonicalize().map_err(MapError::from)?;
        if self.follow_symlinks {
            return Ok(with_metadata(open(&real, flags, Mode::empty())?.into())?);
        }
        let inside = real.strip_prefix(&self.path).map_err(|_| MapError::Outside)?;
        let inside = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
        match self.try_open(inside, flags, Wait::Allowed) {
            Err(Errno::XDEV) if !self.beneath.load(Ordering::Relaxed) => {
                Ok(with_metadata(open(&real, flags | OFlags::NOFOLLOW, Mode::empty())?.into())?)
            }
            other => Ok(other?),
        }
    }
}

/// PHP reads its scripts itself, perhaps as somebody else. Anything else is opened without waiting, since a
/// pipe would wait for its other end.
fn access(path: &Path) -> OFlags {
    let how = if is_script(path) { OFlags::PATH } else { OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY };
    how | OFlags::CLOEXEC
}

/// The one spelling that PHP-FPM runs (its `security.limit_extensions`).
pub fn is_script(path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt as _;
    path.as_os_str().as_bytes().ends_with(b".php")
}

fn with_metadata(file: File) -> Result<Opened, Errno> {
    let metadata = file.metadata().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok((file, metadata))
}

/// A name that is too long for the file system is not there either.
fn is_missing(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG))
}

impl From<Errno> for MapError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::ACCESS | Errno::PERM => Self::NotPermitted,
            Errno::XDEV | Errno::LOOP => Self::Outside,
            Errno::NXIO => Self::Special,
            other => Self::Io(other.into()),
        }
    }
}

impl From<io::Error> for MapError {
    fn from(error: io::Error) -> Self {
        Errno::from_io_error(&error).map_or(Self::Io(error), Self::from)
    }
}

#[cfg(test)]
mod tests;
