use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A PHP-FPM that is installed on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    pub program: PathBuf,
    /// Such as `8.2.36`.
    pub version: String,
    /// In lower case, blanks as hyphens: `pdo_sqlite`, `zend-opcache`.
    extensions: BTreeSet<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum InstallationError {
    #[error(
        "PHP-FPM is not installed here; on Debian: apt-get install php-fpm, or name the program with --php-fpm"
    )]
    Absent,
    #[error("{}: cannot be run: {cause}", program.display())]
    NotRunnable { program: PathBuf, cause: std::io::Error },
    #[error("{}: not PHP-FPM: `-v` says {said:?}", program.display())]
    NotFpm { program: PathBuf, said: String },
}

/// Where Debian, Alpine, Fedora and the official images put it, should PATH lack these.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/usr/bin"];

impl Installation {
    /// The named program, or the newest one that is installed.
    pub fn find(named: Option<&Path>) -> Result<Self, InstallationError> {
        match named {
            Some(program) => Self::ask(program),
            None => Self::ask(&newest(&folders()).ok_or(InstallationError::Absent)?),
        }
    }

    pub fn new<'a>(program: PathBuf, version: String, modules: impl IntoIterator<Item = &'a str>) -> Self {
        Self { program, version, extensions: modules.into_iter().map(normal).collect() }
    }

    pub fn has(&self, extension: &str) -> bool {
        self.extensions.contains(&normal(extension))
    }

    /// The program's own name, for sentences.
    pub fn name(&self) -> String {
        self.program.file_name().unwrap_or(self.program.as_os_str()).to_string_lossy().into_owned()
    }

    /// `8.2`, as in the names of packages.
    pub fn short_version(&self) -> String {
        self.version.split('.').take(2).collect::<Vec<_>>().join(".")
    }

    fn ask(program: &Path) -> Result<Self, InstallationError> {
        let said = output(program, "-v")?;
        let version = said
            .strip_prefix("PHP ")
            .filter(|rest| rest.lines().next().is_some_and(|line| line.contains("fpm")))
            .and_then(|rest| rest.split_whitespace().next());
        let Some(version) = version else {
            let said = said.lines().next().unwrap_or_default().to_owned();
            return Err(InstallationError::NotFpm { program: program.to_owned(), said });
        };
        let modules = output(program, "-m")?;
        let modules =
            modules.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('['));
        Ok(Self::new(program.to_owned(), version.to_owned(), modules))
    }
}

fn output(program: &Path, flag: &str) -> Result<String, InstallationError> {
    let output = Command::new(program)
        .arg(flag)
        .stdin(Stdio::null())
        .output()
        .map_err(|cause| InstallationError::NotRunnable { program: program.to_owned(), cause })?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn folders() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(FOLDERS.iter().map(PathBuf::from));
    folders
}

/// `php-fpm8.4` before `php-fpm8.2`, also `php-fpm84` as Alpine has it, before a plain `php-fpm`; of
/// equals, the one that PATH names first.
fn newest(folders: &[PathBuf]) -> Option<PathBuf> {
    let mut best: Option<(Option<(u32, u32)>, PathBuf)> = None;
    for folder in folders {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(suffix) = name.to_str().and_then(|name| name.strip_prefix("php-fpm")) else { continue };
            let version = version_of(suffix);
            if version.is_none() && !suffix.is_empty() {
                continue;
            }
            if best.as_ref().is_none_or(|(known, _)| version > *known) {
                best = Some((version, entry.path()));
            }
        }
    }
    best.map(|(_, program)| program)
}

fn version_of(suffix: &str) -> Option<(u32, u32)> {
    let (major, minor) = match suffix.split_once('.') {
        Some(parts) => parts,
        None => suffix.split_at_checked(1)?,
    };
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn normal(extension: &str) -> String {
    extension.to_ascii_lowercase().replace(' ', "-")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn the_newest_program_is_found() {
        let folders: Vec<tempfile::TempDir> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
        let paths: Vec<PathBuf> = folders.iter().map(|folder| folder.path().to_owned()).collect();
        assert_eq!(newest(&paths), None);
        let put = |folder: usize, name: &str| std::fs::write(paths[folder].join(name), "").unwrap();
        put(0, "php-fpm-tool");
        assert_eq!(newest(&paths), None);
        put(0, "php-fpm");
        assert_eq!(newest(&paths), Some(paths[0].join("php-fpm")));
        put(1, "php-fpm8.2");
        assert_eq!(newest(&paths), Some(paths[1].join("php-fpm8.2")));
        put(1, "php-fpm8.10");
        assert_eq!(newest(&paths), Some(paths[1].join("php-fpm8.10")));
        put(0, "php-fpm83");
        assert_eq!(newest(&paths), Some(paths[1].join("php-fpm8.10")));
    }

    #[test]
    fn what_is_not_php_fpm_is_refused() {
        let error = Installation::find(Some(Path::new("/bin/echo"))).unwrap_err();
        assert_eq!(error.to_string(), "/bin/echo: not PHP-FPM: `-v` says \"-v\"");
        let error = Installation::find(Some(Path::new("/no/such/fpm"))).unwrap_err();
        assert!(matches!(error, InstallationError::NotRunnable { .. }), "{error}");
    }
}
