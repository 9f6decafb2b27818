//! Debian's WordPress on a private MariaDB, behind the chain.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;
use test_support::mariadb::{MariaDb, PASSWORD, USER};

use crate::chain::{Chain, Front, Plan};
use crate::service::cache;
use crate::visitor::Visitor;

pub const ADMIN: &str = "admin";
pub const ADMIN_PASSWORD: &str = "a long enough Passw0rd, for WordPress";
pub const TITLE: &str = "A site in a test";

/// WordPress, installed and served. Its parts are dropped in the order of the fields.
#[derive(Debug)]
pub struct WordPress<F = Chain> {
    pub chain: F,
    pub database: MariaDb,
    folder: TempDir,
}

impl<F: Front> WordPress<F> {
    /// The files and an empty database: nobody has been to `wp-admin/install.php` yet.
    pub async fn unpack() -> anyhow::Result<Self> {
        let database = MariaDb::start(&["wordpress"]).await?;
        let folder = tempfile::Builder::new().prefix("test-wordpress-").tempdir()?;
        let package = cache().join("wordpress");
        let docroot = folder.path().join("web");
        copy(&package.join("usr/share/wordpress"), &docroot, &package)
            .context("copying Debian's wordpress, which ./test fetches")?;
        copy(&package.join("var/lib/wordpress/wp-content"), &docroot.join("wp-content"), &package)?;
        fs::write(docroot.join("wp-config.php"), configuration(&database))?;
        fs::create_dir_all(docroot.join("wp-content/mu-plugins"))?;
        fs::write(docroot.join("wp-content/mu-plugins/test.php"), PLUGIN)?;
        let chain = F::start(Plan::new(&docroot, "wordpress")).await?;
        Ok(Self { chain, database, folder })
    }

    /// Goes through the installer as a person does.
    pub async fn install(&self) -> anyhow::Result<()> {
        let mut person = Visitor::new(self.chain.address());
        let start = person.get("/").await?;
        ensure!(start.status == 302, "the front page of an empty site answers {}", start.status);
        let form = person.follow(start).await?;
        ensure!(form.text().contains("id=\"setup\""), "no installer:\n{}", form.text());
        let fields = [
            ("weblog_title", TITLE),
            ("user_name", ADMIN),
            ("admin_password", ADMIN_PASSWORD),
            ("admin_password2", ADMIN_PASSWORD),
            ("admin_email", "admin@example.org"),
            ("blog_public", "0"),
            ("language", ""),
            ("Submit", "Install WordPress"),
        ];
        let done = person.post("/wp-admin/install.php?step=2", &fields).await?;
        ensure!(
            done.status == 200 && done.text().contains("Success!"),
            "the installer answers {}:\n{}\n{}",
            done.status,
            done.text(),
            self.chain.logs()
        );
        Ok(())
    }

    pub async fn installed() -> anyhow::Result<Self> {
        let site = Self::unpack().await?;
        site.install().await?;
        Ok(site)
    }

    pub fn docroot(&self) -> PathBuf {
        self.folder.path().join("web")
    }
}

/// 1. WordPress says nothing of freshness on pages for everybody; plugins for page caches do it like this.
/// 2. Avatars would be fetched from a service elsewhere.
const PLUGIN: &str = r"<?php
add_action('send_headers', function () {
    if (!is_user_logged_in() && !is_admin()) {
        header('Cache-Control: public, max-age=0, s-maxage=300');
    }
});
add_filter('pre_option_show_avatars', '__return_zero');
";

/// Nothing outside of this machine is asked, and nothing is done behind the test's back.
fn configuration(database: &MariaDb) -> String {
    format!(
        "<?php\n\
         define('DB_NAME', 'wordpress');\n\
         define('DB_USER', '{USER}');\n\
         define('DB_PASSWORD', '{PASSWORD}');\n\
         define('DB_HOST', '{}');\n\
         define('DB_CHARSET', 'utf8mb4');\n\
         define('DB_COLLATE', '');\n\
         define('WP_HTTP_BLOCK_EXTERNAL', true);\n\
         define('AUTOMATIC_UPDATER_DISABLED', true);\n\
         define('DISABLE_WP_CRON', true);\n\
         define('FS_METHOD', 'direct');\n\
         foreach (['AUTH', 'SECURE_AUTH', 'LOGGED_IN', 'NONCE'] as $name) {{\n\
         \x20   define($name . '_KEY', $name . ' key');\n\
         \x20   define($name . '_SALT', $name . ' salt');\n\
         }}\n\
         $table_prefix = 'wp_';\n\
         if (!defined('ABSPATH')) {{ define('ABSPATH', __DIR__ . '/'); }}\n\
         require_once ABSPATH . 'wp-settings.php';\n",
        database.address()
    )
}

/// Copies a tree out of an unpacked package, and what its links point to: in the package if it is there, else on
/// this machine. A link to nothing is left out.
fn copy(from: &Path, to: &Path, package: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let Some(source) = resolve(entry.path(), package) else { continue };
        if source.is_dir() {
            copy(&source, &target, package)?;
        } else {
            fs::copy(source, target)?;
        }
    }
    Ok(())
}

/// Follows a link that may lead out of the unpacked package by an absolute path.
fn resolve(path: PathBuf, package: &Path) -> Option<PathBuf> {
    let Ok(pointed) = fs::read_link(&path) else { return Some(path) };
    let within = pointed.strip_prefix("/").ok().map(|pointed| package.join(pointed));
    within.filter(|within| within.exists()).or_else(|| path.exists().then_some(path))
}
