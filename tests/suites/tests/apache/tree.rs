//! A docroot of an application's shape, in a temporary folder.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use suites::service::root;
use tempfile::TempDir;

use crate::corpus::Shape;
use crate::corpus::names::FILES;

#[derive(Debug)]
pub(crate) struct Tree {
    folder: TempDir,
}

/// When everything was changed last: long ago, so that entity tags are strong.
const CHANGED: u64 = 1_735_689_600;

impl Tree {
    pub(crate) fn create(shape: &Shape) -> std::io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("test-docroot-").tempdir()?;
        let tree = Self { folder };
        // Apache reads it as a user of its own.
        fs::set_permissions(tree.folder.path(), fs::Permissions::from_mode(0o755))?;
        fs::create_dir_all(tree.docroot())?;
        for directory in shape.directories {
            for name in FILES {
                tree.file(&join(directory, name))?;
            }
        }
        for script in shape.scripts {
            tree.file(script)?;
        }
        tree.indexes()?;
        tree.aggregates(shape.assets)?;
        tree.links(shape.linked)?;
        for (directory, name) in shape.htaccess {
            tree.write(&join(directory, ".htaccess"), &fixture(name))?;
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
    fn aggregates(&self, folders: &[&str]) -> std::io::Result<()> {
        for folder in folders {
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

    fn links(&self, linked: &str) -> std::io::Result<()> {
        symlink(linked, self.docroot().join("linked-core"))?;
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
