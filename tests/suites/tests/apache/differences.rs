//! The committed list of differences, each with its reason.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::rules::Text;
use serde::Deserialize;
use suites::service::root;

use crate::compare::Differing;
use crate::corpus::Request;

#[derive(Debug)]
pub(crate) struct Known(Vec<Entry>);

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    reason: String,
    application: Option<String>,
    target: Vec<Text>,
    unless: Vec<Text>,
    method: Vec<String>,
    fields: Vec<String>,
    aspect: Vec<Text>,
    ours: Vec<Text>,
    theirs: Vec<Text>,
    explained: AtomicUsize,
}

/// As it is written. A text is a glob or, behind a tilde, a regular expression; of several one has to match.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    name: String,
    reason: String,
    /// The only application whose docroot it is about.
    application: Option<String>,
    /// The target as sent.
    #[serde(default)]
    target: Vec<String>,
    #[serde(default)]
    unless: Vec<String>,
    #[serde(default)]
    method: Vec<String>,
    /// A field that the request has.
    #[serde(default)]
    field: Vec<String>,
    aspect: Vec<String>,
    #[serde(default)]
    ours: Vec<String>,
    #[serde(default)]
    theirs: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    difference: Vec<Source>,
}

impl Known {
    pub(crate) fn read(path: &Path) -> Self {
        let file: File = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        Self(file.difference.into_iter().map(Entry::compile).collect())
    }

    /// The first entry that explains it; counted.
    pub(crate) fn explains(&self, application: &str, request: &Request, differing: &Differing) -> bool {
        let of = |entry: &Entry| entry.application.as_ref().is_none_or(|of| of == application);
        let entry = self.0.iter().find(|entry| of(entry) && entry.explains(request, differing));
        entry.is_some_and(|entry| {
            entry.explained.fetch_add(1, Ordering::Relaxed);
            true
        })
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter()
    }
}

impl Entry {
    fn compile(source: Source) -> Self {
        assert!(source.reason.len() > 30, "the difference {} needs a reason", source.name);
        let texts = |texts: Vec<String>| -> Vec<Text> {
            texts
                .iter()
                .map(|text| Text::plain(text).unwrap_or_else(|error| panic!("{text}: {error}")))
                .collect()
        };
        Self {
            target: texts(source.target),
            unless: texts(source.unless),
            method: source.method,
            fields: source.field,
            aspect: texts(source.aspect),
            ours: texts(source.ours),
            theirs: texts(source.theirs),
            application: source.application,
            name: source.name,
            reason: source.reason,
            explained: AtomicUsize::new(0),
        }
    }

    fn explains(&self, request: &Request, differing: &Differing) -> bool {
        let any = |texts: &[Text], text: &[u8]| texts.iter().any(|pattern| pattern.matches(text));
        let fits = |texts: &[Text], text: &[u8]| texts.is_empty() || any(texts, text);
        fits(&self.aspect, differing.aspect.as_bytes())
            && fits(&self.ours, differing.ours.as_bytes())
            && fits(&self.theirs, differing.theirs.as_bytes())
            && fits(&self.target, &request.target)
            && !any(&self.unless, &request.target)
            && (self.method.is_empty() || self.method.iter().any(|method| method == request.method))
            && (self.fields.is_empty() || self.fields.iter().any(|name| request.value(name).is_some()))
    }

    /// How often it has explained something.
    pub(crate) fn count(&self) -> usize {
        self.explained.load(Ordering::Relaxed)
    }

    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }
}

pub(crate) fn file() -> PathBuf {
    root().join("tests/suites/tests/apache/differences.toml")
}
