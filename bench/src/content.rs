//! The bodies that contestants answer with, and the document root that holds them.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::place::Place;
use crate::scenario::Expect;

/// What the origin answers for this size: the same function as in `bin/floor.rs`.
pub(crate) fn canned(size: usize) -> Vec<u8> {
    (0..size).map(|place| (place.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

impl Expect {
    pub(crate) fn body(self, docroot: &Path) -> anyhow::Result<Vec<u8>> {
        Ok(match self {
            Self::Canned(size) => canned(size),
            Self::File(name) => fs::read(docroot.join(name))?,
            Self::Text(text) => text.as_bytes().to_vec(),
            Self::Lines => format!("{}\n", "x".repeat(63)).repeat(1600).into_bytes(),
            Self::Nothing => Vec::new(),
        })
    }
}

/// A small Drupal's files: its .htaccess, a front controller, pictures and a style sheet with its compressed form.
pub(crate) fn docroot(place: &Place, folder: &Path) -> anyhow::Result<()> {
    let tests = place.bench.join("../tests/suites/tests/apache/docroot/drupal.htaccess");
    fs::copy(&tests, folder.join(".htaccess")).with_context(|| tests.display().to_string())?;
    fs::copy(place.bench.join("peers/docroot/index.php"), folder.join("index.php"))?;
    let files = folder.join("sites/default/files");
    fs::create_dir_all(files.join("css"))?;
    let modified = httpdate::parse_http_date("Thu, 01 Jan 2026 00:00:00 GMT")?;
    for (name, size) in [("1k.webp", 1024), ("64k.webp", 64 * 1024), ("10m.webp", 10 * 1024 * 1024)] {
        fs::write(files.join(name), canned(size))?;
        File::options().write(true).open(files.join(name))?.set_modified(modified)?;
    }
    let sheet = files.join("css/css_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG.css");
    let mut rules = String::new();
    for n in 0..600 {
        let _ = writeln!(rules, ".block-{n} {{ margin: {n}px auto; color: #{:06x}; }}", n * 7919);
    }
    fs::write(&sheet, rules)?;
    // --keep gives the compressed form the time of the plain one.
    let status = Command::new("gzip").args(["-9", "--keep", "--no-name"]).arg(&sheet).status()?;
    ensure!(status.success(), "gzip failed");
    Ok(())
}
