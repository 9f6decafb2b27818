//! The site in `site/`, on SQLite, behind the chain or web-proxy alone: a copy, since it writes files that it makes on demand.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::chain::{Chain, Front, Plan};
use crate::service::root;

/// Its parts are dropped in the order of the fields.
#[derive(Debug)]
pub struct Site<F = Chain> {
    pub chain: F,
    files: Files,
}

/// A copy of the site's files.
#[derive(Debug)]
pub struct Files {
    folder: TempDir,
}

impl Site {
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(|plan| plan).await
    }

    /// With a chain that differs from the usual one.
    pub async fn start_with(change: impl FnOnce(Plan<'_>) -> Plan<'_>) -> anyhow::Result<Self> {
        Self::serve(change).await
    }
}

impl<F: Front> Site<F> {
    pub async fn serve(change: impl FnOnce(Plan<'_>) -> Plan<'_>) -> anyhow::Result<Self> {
        let files = Files::copy()?;
        let docroot = files.docroot();
        let mut plan = change(Plan::new(&docroot, "drupal"));
        plan.fpm = plan.fpm.pool("env[SITE_DATA]", files.data().display().to_string());
        let chain = F::start(plan).await?;
        Ok(Self { chain, files })
    }

    pub fn docroot(&self) -> PathBuf {
        self.files.docroot()
    }

    /// Puts a file of the test's own into the docroot.
    pub fn write(&self, name: &str, content: &str) -> anyhow::Result<()> {
        Ok(fs::write(self.docroot().join(name), content)?)
    }
}

impl Files {
    pub fn copy() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("test-site-").tempdir()?;
        copy(&root().join("site"), &folder.path().join("site")).context("copying site/")?;
        let files = Self { folder };
        // What an earlier run of ./up has made on demand is to be made again.
        let _ = fs::remove_dir_all(files.docroot().join("files"));
        Ok(files)
    }

    pub fn docroot(&self) -> PathBuf {
        self.folder.path().join("site/web")
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
