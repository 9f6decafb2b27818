//! The TOML file as a flat list of keys, each with its line, before any meaning is given to it.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ConfigError;

/// One `key = value` of the file; an array gives several values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) values: Vec<String>,
    pub(super) line: usize,
}

/// All but the tables named in `beside`.
pub(super) fn parse(path: &Path, text: &str, beside: &[&str]) -> Result<Vec<Entry>, ConfigError> {
    let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        line: error.span().map_or(1, |span| line_of(text, span.start)),
        message: error.message().to_owned(),
    })?;
    let mut entries = Vec::new();
    for (key, value) in table.get_ref().iter().filter(|(key, _)| !beside.contains(&&**key.get_ref())) {
        let line = line_of(text, key.span().start);
        let values = scalars(value).ok_or_else(|| ConfigError::BadValue {
            place: format!("{}:{line}", path.display()),
            key: key.get_ref().to_string(),
            value: value.get_ref().type_str().to_owned(),
            message: "expected a string, a number, true or false, or an array of these".into(),
        })?;
        entries.push(Entry { key: key.get_ref().to_string(), values, line });
    }
    entries.sort_by_key(|entry| entry.line);
    Ok(entries)
}

fn scalars(value: &Spanned<DeValue<'_>>) -> Option<Vec<String>> {
    match value.get_ref() {
        DeValue::Array(items) => items.iter().map(|item| scalar(item.get_ref())).collect(),
        single => Some(vec![scalar(single)?]),
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.as_str().replace('_', "")),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// Counted from 1.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count()
}
