//! The docroot's .htaccess files, by a walk that ends.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) files: Vec<Htaccess>,
    /// What was left out, and why.
    pub(super) incomplete: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Htaccess {
    /// Below the docroot.
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// Some of the files beside it.
    pub(super) names: Vec<String>,
}

const NAME: &str = ".htaccess";
/// Directories below the docroot that lie within each other.
const MAX_DEPTH: usize = 24;
/// A large site has some tens of thousands of directories.
const MAX_DIRECTORIES: usize = 200_000;
const MAX_FILES: usize = 20_000;
const MAX_BYTES: u64 = 256 << 10;
/// Enough to see whether a directory is open.
const MAX_NAMES: usize = 16;

/// Breadth first, so that what is left out is what lies deepest. Symbolic links are not followed.
pub(super) fn files(docroot: &Path) -> Found {
    let mut found = Found::default();
    let mut waiting = VecDeque::from([(PathBuf::new(), 0)]);
    let mut directories = 0;
    while let Some((directory, depth)) = waiting.pop_front() {
        directories += 1;
        if directories > MAX_DIRECTORIES || found.files.len() >= MAX_FILES {
            found.incomplete.push(format!(
                "the walk ended after {MAX_DIRECTORIES} directories or {MAX_FILES} files, at {}",
                directory.display()
            ));
            break;
        }
        if let Err(error) = look(docroot, &directory, depth, &mut waiting, &mut found) {
            found.incomplete.push(format!("{}: {error}", directory.display()));
        }
    }
    found
}

fn look(
    docroot: &Path,
    directory: &Path,
    depth: usize,
    waiting: &mut VecDeque<(PathBuf, usize)>,
    found: &mut Found,
) -> std::io::Result<()> {
    let mut below = Vec::new();
    let mut names = Vec::new();
    let mut has_one = false;
    for entry in fs::read_dir(docroot.join(directory))? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let name = entry.file_name();
        if kind.is_dir() {
            below.push(directory.join(name));
        } else if kind.is_file() && name == NAME {
            has_one = true;
        } else if kind.is_file() && names.len() < MAX_NAMES {
            names.extend(name.into_string());
        }
    }
    // Always the same order, whatever the file system's is.
    below.sort();
    if depth < MAX_DEPTH {
        waiting.extend(below.into_iter().map(|path| (path, depth + 1)));
    } else if let Some(path) = below.first() {
        found.incomplete.push(format!("{} lies deeper than {MAX_DEPTH} directories", path.display()));
    }
    if has_one {
        let path = directory.join(NAME);
        let mut bytes = Vec::new();
        File::open(docroot.join(&path))?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_BYTES {
            found.incomplete.push(format!("{} has more than {MAX_BYTES} bytes", path.display()));
        } else {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            found.files.push(Htaccess { path, text, names });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn all_of_them_but_not_by_links() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join(NAME), "Deny from all").unwrap();
        fs::create_dir_all(folder.path().join("a/b/c")).unwrap();
        for name in ["a/b/c/.htaccess", ".htaccess", "a/x.txt", "a/b/c/x.txt"] {
            fs::write(folder.path().join(name), "Options None").unwrap();
        }
        symlink(outside.path(), folder.path().join("a/outside")).unwrap();
        symlink(outside.path().join(NAME), folder.path().join("a/.htaccess")).unwrap();
        symlink(folder.path(), folder.path().join("a/round")).unwrap();
        fs::write(folder.path().join("a/b/.htaccess"), vec![b'#'; MAX_BYTES as usize + 1]).unwrap();
        let found = files(folder.path());
        let paths: Vec<&str> = found.files.iter().map(|file| file.path.to_str().unwrap()).collect();
        assert_eq!(paths, [".htaccess", "a/b/c/.htaccess"]);
        assert_eq!(found.files[1].names, ["x.txt"]);
        assert_eq!(found.incomplete, [format!("a/b/.htaccess has more than {MAX_BYTES} bytes")]);
    }

    #[test]
    fn the_walk_ends() {
        let folder = tempfile::tempdir().unwrap();
        let deep: PathBuf = std::iter::repeat_n("d", MAX_DEPTH + 2).collect();
        fs::create_dir_all(folder.path().join(&deep)).unwrap();
        fs::write(folder.path().join(&deep).join(NAME), "").unwrap();
        let found = files(folder.path());
        assert_eq!(found.files.len(), 0);
        assert!(found.incomplete[0].ends_with("lies deeper than 24 directories"), "{:?}", found.incomplete);
        assert_eq!(files(&folder.path().join("none")).incomplete.len(), 1);
    }
}
