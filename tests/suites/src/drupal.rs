//! Drupal as `DRUPAL_ROOT` has it: a copy on which the installer has not been.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use crate::chain::{Front, Plan};

/// The copied files, gone on drop.
#[derive(Debug)]
pub struct Drupal {
    folder: TempDir,
}

impl Drupal {
    /// Copies the tree whose document root, or the folder `web` above it, `root` is.
    pub fn copy(root: &Path) -> anyhow::Result<Self> {
        let web = [root.to_owned(), root.join("web")].into_iter().find(|web| web.join("core").is_dir());
        let web = web.with_context(|| format!("DRUPAL_ROOT={}: no core in it", root.display()))?;
        let folder = tempfile::Builder::new().prefix("test-drupal-").tempdir()?;
        copy(&web, &folder.path().join("web"))?;
        let vendor = web.join("../vendor");
        if vendor.is_dir() {
            copy(&vendor, &folder.path().join("vendor"))?;
        }
        let drupal = Self { folder };
        drupal.forget_installation()?;
        Ok(drupal)
    }

    pub fn docroot(&self) -> PathBuf {
        self.folder.path().join("web")
    }

    pub async fn serve<F: Front>(&self) -> anyhow::Result<F> {
        let docroot = self.docroot();
        let mut plan = Plan::new(&docroot, "drupal");
        // Installing is done in steps that may be long on a busy machine.
        plan.web = &["--fastcgi-timeout", "5m"];
        plan.gateway = &["--read-timeout", "5m"];
        plan.edge = &["--first-byte-timeout", "5m"];
        plan.fpm = plan.fpm.ini("memory_limit", "2048M").ini("opcache.interned_strings_buffer", "16");
        F::start(plan).await
    }

    fn forget_installation(&self) -> anyhow::Result<()> {
        let site = self.docroot().join("sites/default");
        fs::set_permissions(&site, fs::Permissions::from_mode(0o755))?;
        let _ = fs::remove_dir_all(site.join("files"));
        let _ = fs::remove_file(site.join("services.yml"));
        let _ = fs::remove_file(site.join("settings.php"));
        fs::create_dir(site.join("files"))?;
        fs::copy(site.join("default.settings.php"), site.join("settings.php"))?;
        fs::set_permissions(site.join("settings.php"), fs::Permissions::from_mode(0o644))?;
        Ok(())
    }
}

/// `cp`, which knows the quickest way.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let status = Command::new("cp").args(["-R", "--reflink=auto"]).arg(from).arg(to).status()?;
    ensure!(status.success(), "copying {} failed", from.display());
    Ok(())
}
