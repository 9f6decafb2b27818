//! What a folder holds, from its files.
//!
//! 1. The document root: the folder itself, or the one of its subfolders that frameworks use for it.
//! 2. The application: Drupal, WordPress, or a PHP site whose `composer.json` may say more.
//! 3. [`Requirements`]: what PHP must have for it, before anything is started.

mod composer;
mod requirements;

use std::fmt;
use std::path::{Path, PathBuf};

pub use requirements::{Missing, Requirements};

/// A document root and what runs in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    pub docroot: PathBuf,
    pub application: Application,
    pub requirements: Requirements,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Application {
    Drupal {
        version: String,
    },
    WordPress {
        version: String,
    },
    /// Named by its `composer.json`, which may also name the preset to use (`extra.enjambre.preset`).
    Php {
        name: Option<String>,
        preset: Option<String>,
    },
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DetectError {
    #[error("{}: there is no such folder; give the one with the site's index.php", .0.display())]
    Absent(PathBuf),
    #[error("{}: not a folder; give the one with the site's index.php", .0.display())]
    NotAFolder(PathBuf),
    #[error("{}: cannot be read: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: String },
    #[error("{}: neither this folder nor {} in it has an index.php or index.html", path.display(), SUBFOLDERS.join(", "))]
    Empty { path: PathBuf },
}

/// Where projects keep their document root.
const SUBFOLDERS: [&str; 5] = ["web", "public", "docroot", "html", "public_html"];

/// Looks at `given`, the folder that a person named: the document root or the project around it.
pub fn detect(given: &Path) -> Result<Detected, DetectError> {
    let given = match given.canonicalize() {
        Ok(path) => path,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            return Err(DetectError::Absent(given.to_owned()));
        }
        Err(cause) => {
            return Err(DetectError::Unreadable { path: given.to_owned(), cause: cause.to_string() });
        }
    };
    if !given.is_dir() {
        return Err(DetectError::NotAFolder(given));
    }
    let folders: Vec<PathBuf> =
        std::iter::once(given.clone()).chain(SUBFOLDERS.iter().map(|name| given.join(name))).collect();
    for docroot in &folders {
        if let Some(found) = drupal(docroot).or_else(|| wordpress(docroot)) {
            return Ok(found);
        }
    }
    folders
        .into_iter()
        .find(|folder| folder.join("index.php").is_file() || folder.join("index.html").is_file())
        .map(other)
        .ok_or(DetectError::Empty { path: given })
}

impl Application {
    /// The name of the preset for it.
    pub fn preset(&self) -> &str {
        match self {
            Self::Drupal { .. } => "drupal",
            Self::WordPress { .. } => "wordpress",
            Self::Php { preset, .. } => preset.as_deref().unwrap_or("none"),
        }
    }
}

impl fmt::Display for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drupal { version } => write!(f, "Drupal {version}"),
            Self::WordPress { version } => write!(f, "WordPress {version}"),
            Self::Php { name: Some(name), .. } => f.write_str(name),
            Self::Php { name: None, .. } => f.write_str("a PHP site"),
        }
    }
}

fn drupal(docroot: &Path) -> Option<Detected> {
    let source = std::fs::read_to_string(docroot.join("core/lib/Drupal.php")).ok()?;
    let version = constant(&source, "VERSION")?.to_owned();
    let mut requirements = composer::read(&docroot.join("core/composer.json"))
        .map_or_else(Requirements::of_drupal, |composer| composer.requirements);
    requirements.any_of = vec!["pdo_sqlite".into(), "pdo_mysql".into(), "pdo_pgsql".into()];
    requirements.memory = constant(&source, "MINIMUM_PHP_MEMORY_LIMIT").map(str::to_owned);
    Some(Detected { docroot: docroot.to_owned(), application: Application::Drupal { version }, requirements })
}

fn wordpress(docroot: &Path) -> Option<Detected> {
    let source = std::fs::read_to_string(docroot.join("wp-includes/version.php")).ok()?;
    let version = assigned(&source, "$wp_version")?.to_owned();
    // A drop-in replaces the whole database layer, mysqli with it.
    let drop_in = docroot.join("wp-content/db.php").exists();
    let requirements = Requirements {
        php: assigned(&source, "$required_php_version").map(str::to_owned),
        extensions: if drop_in { vec![] } else { vec!["mysqli".into()] },
        ..Requirements::default()
    };
    Some(Detected {
        docroot: docroot.to_owned(),
        application: Application::WordPress { version },
        requirements,
    })
}

fn other(docroot: PathBuf) -> Detected {
    let found = composer::read(&docroot.join("composer.json"))
        .or_else(|| composer::read(&docroot.parent()?.join("composer.json")));
    let (name, preset, requirements) = match found {
        Some(composer) => (composer.name, composer.preset, composer.requirements),
        None => (None, None, Requirements::default()),
    };
    Detected { docroot, application: Application::Php { name, preset }, requirements }
}

/// The string in `const NAME = 'string';`.
fn constant<'a>(source: &'a str, name: &str) -> Option<&'a str> {
    source.lines().find_map(|line| {
        let rest = line.trim_start().strip_prefix("const ")?.trim_start().strip_prefix(name)?;
        quoted(rest.trim_start().strip_prefix('=')?)
    })
}

/// The string in `$name = 'string';`.
fn assigned<'a>(source: &'a str, name: &str) -> Option<&'a str> {
    source.lines().find_map(|line| {
        let rest = line.trim_start().strip_prefix(name)?;
        quoted(rest.trim_start().strip_prefix('=')?)
    })
}

fn quoted(text: &str) -> Option<&str> {
    let text = text.trim_start();
    let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    text[1..].split_once(quote).map(|(inside, _)| inside)
}

#[cfg(test)]
mod tests;
