//! What the docroot's .htaccess files say that the rules in force do not do.
//!
//! 1. [`find`]: the files, by a bounded walk that follows no symbolic link.
//! 2. [`parse`]: directives with the sections they stand in, in Apache's syntax. Pure.
//! 3. [`samples`]: names that an expression of a directive is about. Pure.
//! 4. [`verdict`]: a directive against what is [in force](in_force): the rules are asked what they do with such names.
//! 5. [`Report`]: what is not covered, with its place and what to write instead.
//!
//! Nothing of an .htaccess is ever obeyed: it is a report for whoever moves a site here from Apache.

mod find;
mod in_force;
mod parse;
mod samples;
mod verdict;

use std::fmt;
use std::path::{Path, PathBuf};

pub use in_force::InForce;
pub use verdict::Verdict;

use crate::config::Config;

/// What is done about the .htaccess files of the docroot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Mode {
    /// They are not looked at.
    #[default]
    Ignore,
    /// What they say beyond the rules is written to the log.
    Report,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    pub files: usize,
    pub directives: usize,
    pub findings: Vec<Finding>,
    /// Why the walk has not seen everything.
    pub incomplete: Vec<String>,
}

/// A directive that is not covered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Below the docroot.
    pub file: PathBuf,
    pub line: usize,
    pub directive: String,
    pub advice: String,
}

/// Reads and reports on a thread of its own: nobody waits for the disk, not even the end of the process.
pub fn report_in_background(config: Config) {
    let started =
        std::thread::Builder::new().name("htaccess".into()).spawn(move || Report::of(&config).log());
    if let Err(error) = started {
        tracing::warn!(%error, "the .htaccess files cannot be read");
    }
}

impl Report {
    /// Reads the docroot of `config`; blocks for as long as the disk does.
    pub fn of(config: &Config) -> Self {
        let in_force = InForce::of(config);
        let found = find::files(&config.docroot);
        let mut report = Self { files: found.files.len(), incomplete: found.incomplete, ..Self::default() };
        for file in found.files {
            report.add(&file.path, &file.text, &file.names, &in_force);
        }
        report
    }

    /// `names` are of files that are in its directory, for probing.
    fn add(&mut self, path: &Path, text: &str, names: &[String], in_force: &InForce<'_>) {
        let parsed = parse::parse(text);
        let directory = path.parent().unwrap_or(Path::new(""));
        for (line, problem) in parsed.problems {
            self.findings.push(Finding {
                file: path.to_owned(),
                line,
                directive: problem,
                advice: "Apache would refuse every request here".into(),
            });
        }
        for (directive, verdict) in verdict::all(&parsed.directives, directory, names, in_force) {
            self.directives += 1;
            if let Verdict::NotCovered { advice } = verdict {
                let directive_text = directive.to_string();
                self.findings.push(Finding {
                    file: path.to_owned(),
                    line: directive.line,
                    directive: directive_text,
                    advice,
                });
            }
        }
        self.findings.sort_by(|one, other| (&one.file, one.line).cmp(&(&other.file, other.line)));
    }

    /// One line of the log for each finding, and one that sums them up.
    pub fn log(&self) {
        for Finding { file, line, directive, advice } in &self.findings {
            tracing::warn!(
                at = format!("{}:{line}", file.display()),
                directive,
                advice,
                "not covered by the rules"
            );
        }
        for what in &self.incomplete {
            tracing::warn!("not all .htaccess files were read: {what}");
        }
        let Self { files, directives, .. } = self;
        tracing::info!(files, directives, not_covered = self.findings.len(), "the docroot's .htaccess files");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { file, line, directive, advice } in &self.findings {
            writeln!(f, "{}:{line}: {directive}\n    {advice}", file.display())?;
        }
        for what in &self.incomplete {
            writeln!(f, "not all .htaccess files were read: {what}")?;
        }
        let Self { files, directives, .. } = self;
        writeln!(f, "{files} files, {directives} directives, {} not covered", self.findings.len())
    }
}

#[cfg(test)]
mod tests;
