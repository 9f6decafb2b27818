//! The private folder of one run: sockets, PHP's temporary files, the site's data.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::php::Account;

/// A socket's path has 108 bytes (unix(7)); what stands behind the folder takes some of them.
const LONGEST: usize = 70;

/// Makes the folder, for nobody but us and the workers.
pub fn create(account: Account) -> io::Result<TempDir> {
    let temporary = Some(std::env::temp_dir()).filter(|path| path.as_os_str().len() <= LONGEST);
    let folder = tempfile::Builder::new()
        .prefix("enjambre-")
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir_in(temporary.unwrap_or_else(|| "/tmp".into()))?;
    account.give(folder.path())?;
    Ok(folder)
}

/// The site's own data: `kept` if a person names a folder, otherwise one that goes with us.
pub fn data(folder: &Path, kept: Option<&Path>, account: Account) -> io::Result<PathBuf> {
    let data = match kept {
        Some(kept) => std::path::absolute(kept)?,
        None => folder.join("data"),
    };
    if !data.is_dir() {
        std::fs::create_dir_all(&data)?;
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700))?;
        account.give(&data)?;
    }
    Ok(data)
}

/// Where web-proxy keeps bodies until they are complete.
pub fn spool(folder: &Path) -> io::Result<PathBuf> {
    let spool = folder.join("spool");
    std::fs::create_dir(&spool)?;
    Ok(spool)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn nobody_else_may_look_in() {
        let folder = create(Account::Ours).unwrap();
        assert_eq!(folder.path().metadata().unwrap().permissions().mode() & 0o777, 0o700);
        let within = data(folder.path(), None, Account::Ours).unwrap();
        assert!(within.starts_with(folder.path()) && within.is_dir());

        let kept = folder.path().join("kept");
        assert_eq!(data(folder.path(), Some(&kept), Account::Ours).unwrap(), kept);
        assert!(kept.is_dir());
    }
}
