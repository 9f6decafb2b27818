use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The user that PHP's workers run as.
///
/// Without root it can only be who started us. As root it is the owner of the document root: whoever may
/// edit the site's files is who installers, uploads and generated files have to be. If that is root, PHP
/// runs as root too: anything else could not write `sites/default/files`, and what it serves is root's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    Ours,
    Owner { user: u32, group: u32 },
}

impl Account {
    pub fn choose(docroot: &Path) -> io::Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Ours);
        }
        let metadata = docroot.metadata()?;
        Ok(Self::Owner { user: metadata.uid(), group: metadata.gid() })
    }

    /// Gives a folder of ours to the workers.
    pub fn give(self, folder: &Path) -> io::Result<()> {
        match self {
            Self::Ours => Ok(()),
            Self::Owner { user, group } => std::os::unix::fs::chown(folder, Some(user), Some(group)),
        }
    }

    /// PHP-FPM refuses to run its workers as root unless it is told that this is meant.
    pub const fn is_root(self) -> bool {
        matches!(self, Self::Owner { user: 0, .. })
    }
}
