//! The requests, always the same ones.
//!
//! 1. [`shape`], [`names`]: what exists, and what the rules are about.
//! 2. [`targets`]: every name at every depth; and what can be done to a path, done to some.
//! 3. [`methods`]: other methods, bodies and request fields.
//! 4. [`random`]: paths put together from parts that mean something to one rule or another.

pub(crate) mod names;
mod shape;

mod methods;
mod random;
mod targets;

use std::fmt;
use std::path::Path;

pub(crate) use shape::{DRUPAL, Shape, WORDPRESS};

use crate::exchange::HOST;

/// A request as it goes over the wire, to both servers alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    /// As it stands in the request line.
    pub(crate) target: Vec<u8>,
    /// `{etag}` and `{modified}` in a value stand for what the server has called the target's state before.
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) body: &'static [u8],
}

pub(crate) fn all(shape: &Shape) -> Vec<Request> {
    let mut all: Vec<Request> = targets::by_name(shape)
        .into_iter()
        .chain(targets::by_mutation(shape))
        .chain(random::targets())
        .map(Request::get)
        .chain(methods::requests())
        .collect();
    all.sort();
    all.dedup();
    all
}

/// Requests for the files of a docroot: all of them if they are not too many, otherwise one in so many.
pub(crate) fn files_of(docroot: &Path) -> std::io::Result<Vec<Request>> {
    let mut files = Vec::new();
    let mut waiting = vec![docroot.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(directory)? {
            let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
            if kind.is_dir() {
                waiting.push(path.clone());
            }
            files.extend(path.strip_prefix(docroot).ok().and_then(Path::to_str).map(str::to_owned));
        }
    }
    files.sort();
    let step = files.len().div_ceil(MOST_FILES).max(1);
    Ok(files.iter().step_by(step).map(|path| Request::get(targets::encoded("", path))).collect())
}

const MOST_FILES: usize = 12_000;

impl Request {
    pub(crate) fn get(target: impl Into<Vec<u8>>) -> Self {
        Self { method: "GET", target: target.into(), fields: Vec::new(), body: b"" }
    }

    pub(crate) fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// The value of a field that the request has.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The host that it asks for, which an absolute target says before the field does (RFC 9112, section 3.2.2).
    pub(crate) fn host(&self) -> String {
        let target = String::from_utf8_lossy(&self.target);
        match target.strip_prefix("http://") {
            Some(rest) => rest.split(['/', '?']).next().unwrap_or_default().to_owned(),
            None => self.value("Host").unwrap_or(HOST).to_owned(),
        }
    }

    /// Whether it asks for the state that the server has told of before.
    pub(crate) fn is_conditional(&self) -> bool {
        self.fields.iter().any(|(_, value)| value.contains("{etag}") || value.contains("{modified}"))
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.target.escape_ascii())?;
        for (name, value) in &self.fields {
            write!(f, " [{name}: {}]", value.escape_debug())?;
        }
        if !self.body.is_empty() {
            write!(f, " ({} bytes)", self.body.len())?;
        }
        Ok(())
    }
}
