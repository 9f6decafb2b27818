//! A docroot with Drupal's shape, in a temporary folder.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use suites::service::root;
use tempfile::TempDir;

use crate::corpus::names::{DIRECTORIES, FILES};

#[derive(Debug)]
pub(crate) struct Tree {
    folder: TempDir,
}

/// Directories in which Drupal puts an .htaccess of its own, by what it says.
const FILES_HTACCESS: &[&str] = &["sites/default/files", "sub/sites/a.example/files"];
const PRIVATE_HTACCESS: &[&str] = &[
    "sites/default/files/php",
    "sites/default/files/php/twig",
    "sites/default/files/config_abc/sync",
    "sites/default/files/private",
    "sites/default/private",
    "core/profiles/demo_umami/modules/demo_umami_content/default_content",
    "vendor",
];

/// Further scripts that a stock Drupal has.
const SCRIPTS: &[&str] = &[
    "index.php",
    "update.php",
    "autoload.php",
    ".ht.router.php",
    "core/install.php",
    "core/authorize.php",
    "core/rebuild.php",
    "core/update.php",
    "core/modules/system/tests/http.php",
    "core/modules/system/tests/https.php",
    "core/modules/statistics/statistics.php",
    "sites/default/files/core/modules/system/tests/http.php",
    "sites/bare.example/files/core/modules/system/tests/http.php",
    "sites/bare.example/files/core/evil.php",
    "sub/core/install.php",
    "nested/index.php",
    "core/nested/index.php",
];

/// When everything was changed last: long ago, so that entity tags are strong.
const CHANGED: u64 = 1_735_689_600;

impl Tree {
    pub(crate) fn create() -> std::io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("test-docroot-").tempdir()?;
        let tree = Self { folder };
        // Apache reads it as a user of its own.
        fs::set_permissions(tree.folder.path(), fs::Permissions::from_mode(0o755))?;
        fs::create_dir_all(tree.docroot())?;
        for directory in DIRECTORIES {
            for name in FILES {
                tree.file(&join(directory, name))?;
            }
        }
        for script in SCRIPTS {
            tree.file(script)?;
        }
        tree.indexes()?;
        tree.aggregates()?;
        tree.links()?;
        tree.write(".htaccess", &fixture("drupal.htaccess"))?;
        for directory in FILES_HTACCESS {
            tree.write(&join(directory, ".htaccess"), &fixture("files.htaccess"))?;
        }
        for directory in PRIVATE_HTACCESS {
            tree.write(&join(directory, ".htaccess"), &fixture("private.htaccess"))?;
        }
        Ok(tree)
    }

    pub(crate) fn docroot(&self) -> PathBuf {
        self.folder.path().join("web")
    }

    /// Directories that are answered by a file, and one that is not.
    fn indexes(&self) -> std::io::Result<()> {
        self.write("html/index.html", b"<p>html")?;
        self.write("htm/index.htm", b"<p>htm")?;
        self.write("both/index.html", b"<p>html")?;
        self.write("both/index.htm", b"<p>htm")?;
        fs::create_dir_all(self.docroot().join("empty"))?;
        fs::create_dir_all(self.docroot().join("index/index.html"))?;
        fs::create_dir_all(self.docroot().join("index/index.php"))?;
        self.write("index/index.htm", b"<p>htm")?;
        self.write("zero.txt", b"")?;
        self.write("large.bin", &b"0123456789abcdef".repeat(40_000))
    }

    /// Drupal's aggregated assets, with and without what it has compressed beside them.
    fn aggregates(&self) -> std::io::Result<()> {
        for folder in ["sites/default/files/css", "sites/default/files/js", "core/assets", ""] {
            for (name, content) in [
                ("css_both.css", "a{color:red}\n".repeat(50)),
                ("js_both.js", "f();\n".repeat(50)),
                ("plain_both.css", "b{color:red}\n".repeat(50)),
            ] {
                let path = join(folder, name);
                self.write(&path, content.as_bytes())?;
                self.write(&format!("{path}.gz"), &gzip(content.as_bytes())?)?;
            }
            self.write(&join(folder, "css_alone.css"), b"c{}")?;
            self.write(&join(folder, "css_packed.css.gz"), &gzip(b"d{}")?)?;
            self.write(&join(folder, "css_hollow.css"), b"e{}")?;
            self.write(&join(folder, "css_hollow.css.gz"), b"")?;
            self.write(&join(folder, "drawing.svgz"), &gzip(b"<svg xmlns='http://www.w3.org/2000/svg'/>")?)?;
        }
        Ok(())
    }

    fn links(&self) -> std::io::Result<()> {
        symlink("core", self.docroot().join("linked-core"))?;
        symlink("robots.txt", self.docroot().join("linked.txt"))?;
        symlink("nowhere", self.docroot().join("dangling.txt"))?;
        symlink("/etc", self.docroot().join("outside"))
    }

    /// It holds its own name. What is in a script does not matter: PHP-FPM runs another one in front of it.
    fn file(&self, path: &str) -> std::io::Result<()> {
        self.write(path, format!("This is {path}.\n").as_bytes())
    }

    fn write(&self, path: &str, content: &[u8]) -> std::io::Result<()> {
        let path = self.docroot().join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut file = File::create(path)?;
        file.write_all(content)?;
        file.set_modified(UNIX_EPOCH + Duration::from_secs(CHANGED))
    }
}

/// The files beside this one from which the docroot is made.
pub(crate) fn fixtures() -> PathBuf {
    root().join("tests/suites/tests/apache/docroot")
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(fixtures().join(name)).unwrap()
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

fn gzip(content: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content)?;
    encoder.finish()
}
