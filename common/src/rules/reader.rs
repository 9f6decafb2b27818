//! Reading a rule's TOML table key by key, so that every error can say where it stands and what is accepted.

use std::cell::RefCell;
use std::fmt::Write as _;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::config::{HumanDuration, closest, line_of};

/// A text that rules are written in, and what it is called in errors: a file's path or a preset's name.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    pub name: &'a str,
    pub text: &'a str,
}

/// What is wrong with a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{source_name}:{line}: {}{message}", rule.as_ref().map(|rule| format!("rule {rule}: ")).unwrap_or_default())]
pub struct RuleError {
    pub source_name: String,
    pub line: usize,
    /// Its name in quotes, or its place in the file.
    pub rule: Option<String>,
    pub message: String,
}

/// A table whose keys are asked for one by one. Those that nobody asked for are unknown.
#[derive(Debug)]
pub struct Table<'a> {
    source: Source<'a>,
    rule: String,
    /// Where it begins.
    start: usize,
    keys: &'a DeTable<'a>,
    asked: RefCell<Vec<&'static str>>,
    /// In front of its keys in errors: `unless.` of a table within a rule.
    prefix: String,
}

/// One `key = value` of a table.
#[derive(Debug)]
pub struct Field<'a> {
    source: Source<'a>,
    rule: String,
    prefix: String,
    pub name: &'a str,
    offset: usize,
    value: &'a DeValue<'a>,
}

impl Source<'_> {
    /// Gives `read` every table of the array `[[key]]`, in order.
    pub fn each<T>(
        self,
        key: &str,
        mut read: impl FnMut(&Table<'_>) -> Result<T, RuleError>,
    ) -> Result<Vec<T>, RuleError> {
        let error = |offset: usize, message: String| RuleError {
            source_name: self.name.to_owned(),
            line: line_of(self.text, offset),
            rule: None,
            message,
        };
        let document = DeTable::parse(self.text).map_err(|cause| {
            let offset = cause.span().map_or(0, |span| span.start);
            error(offset, format!("not valid TOML: {}", cause.message()))
        })?;
        let Some((name, value)) = document.get_ref().iter().find(|(name, _)| name.get_ref() == key) else {
            return Ok(Vec::new());
        };
        let wrong = || error(name.span().start, format!("{key}: expected tables that begin with [[{key}]]"));
        let mut found = Vec::new();
        for (index, item) in value.get_ref().as_array().ok_or_else(wrong)?.iter().enumerate() {
            let table = item.get_ref().as_table().ok_or_else(wrong)?;
            let named = table.iter().find(|(name, _)| name.get_ref() == "name");
            let rule = match named.and_then(|(_, value)| value.get_ref().as_str()) {
                Some(name) => format!("{name:?}"),
                None => (index + 1).to_string(),
            };
            let start = table.keys().map(|key| key.span().start).min().unwrap_or(item.span().start);
            let table = Table {
                source: self,
                rule,
                start,
                keys: table,
                asked: RefCell::default(),
                prefix: String::new(),
            };
            found.push(read(&table)?);
        }
        Ok(found)
    }
}

impl<'a> Table<'a> {
    pub fn get(&self, key: &'static str) -> Option<Field<'a>> {
        if !self.asked.borrow().contains(&key) {
            self.asked.borrow_mut().push(key);
        }
        let found = self.keys.iter().find(|(name, _)| name.get_ref() == key);
        found.map(|(name, value)| self.field(name, value))
    }

    /// All keys, where their names are data, in the order in which they are written.
    pub fn entries(&self) -> Vec<Field<'a>> {
        let mut fields: Vec<Field<'a>> =
            self.keys.iter().map(|(name, value)| self.field(name, value)).collect();
        fields.sort_by_key(|field| field.offset);
        fields
    }

    fn field(&self, name: &'a Spanned<DeString<'a>>, value: &'a Spanned<DeValue<'a>>) -> Field<'a> {
        Field {
            source: self.source,
            rule: self.rule.clone(),
            prefix: self.prefix.clone(),
            name: name.get_ref(),
            offset: name.span().start,
            value: value.get_ref(),
        }
    }

    /// After all that is known was asked for: an error if there is more.
    pub fn finish(&self) -> Result<(), RuleError> {
        let asked = self.asked.borrow();
        let unknown = self.keys.iter().find(|(name, _)| !asked.iter().any(|key| name.get_ref() == key));
        let Some((name, value)) = unknown else { return Ok(()) };
        let hint = closest(name.get_ref(), asked.iter().copied());
        let hint = hint.map(|key| format!(" (did you mean `{key}`?)")).unwrap_or_default();
        let field = self.field(name, value);
        let message = format!("unknown key `{}`{hint}; the keys are: {}", field.key(), asked.join(", "));
        Err(field.at(message))
    }

    /// An error of the table as a whole.
    pub fn error(&self, message: impl Into<String>) -> RuleError {
        RuleError {
            source_name: self.source.name.to_owned(),
            line: line_of(self.source.text, self.start),
            rule: Some(self.rule.clone()),
            message: message.into(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The table as TOML again, a line a key, without its header.
    pub fn render(&self) -> String {
        let mut out = String::new();
        for (name, value) in in_order(self.keys) {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{} = {}", bare_or_quoted(name), inline(value));
        }
        out
    }
}

impl<'a> Field<'a> {
    /// An error of this value.
    pub fn error(&self, message: impl std::fmt::Display) -> RuleError {
        self.at(format!("{} = {}: {message}", self.key(), inline(self.value)))
    }

    fn at(&self, message: String) -> RuleError {
        RuleError {
            source_name: self.source.name.to_owned(),
            line: line_of(self.source.text, self.offset),
            rule: Some(self.rule.clone()),
            message,
        }
    }

    /// With the tables that it stands in.
    fn key(&self) -> String {
        format!("{}{}", self.prefix, self.name)
    }

    pub fn text(&self) -> Result<&'a str, RuleError> {
        self.value.as_str().ok_or_else(|| self.error("expected a string"))
    }

    /// One string, or a list of them that is not empty.
    pub fn texts(&self) -> Result<Vec<&'a str>, RuleError> {
        let wrong = || self.error("expected a string or a list of strings");
        match self.value {
            DeValue::String(text) => Ok(vec![text]),
            DeValue::Array(items) if !items.is_empty() => {
                items.iter().map(|item| item.get_ref().as_str().ok_or_else(wrong)).collect()
            }
            _ => Err(wrong()),
        }
    }

    /// One string or number, or a list of them that is not empty.
    pub fn words(&self) -> Result<Vec<&'a str>, RuleError> {
        let wrong = || self.error("expected a number, a string or a list of them");
        let word = |value: &'a DeValue<'a>| match value {
            DeValue::String(text) => Ok(&**text),
            DeValue::Integer(number) => Ok(number.as_str()),
            _ => Err(wrong()),
        };
        match self.value {
            DeValue::Array(items) if !items.is_empty() => {
                items.iter().map(|item| word(item.get_ref())).collect()
            }
            single => Ok(vec![word(single)?]),
        }
    }

    pub fn is_flag(&self) -> bool {
        self.value.as_bool().is_some()
    }

    pub fn flag(&self) -> Result<bool, RuleError> {
        self.value.as_bool().ok_or_else(|| self.error("expected true or false"))
    }

    /// For what can only be said, not denied.
    pub fn is_true(&self) -> Result<(), RuleError> {
        if self.flag()? { Ok(()) } else { Err(self.error("expected true, or nothing at all")) }
    }

    pub fn duration(&self) -> Result<std::time::Duration, RuleError> {
        let duration: HumanDuration = self.text()?.parse().map_err(|error| self.error(error))?;
        Ok(duration.get())
    }

    pub fn is_table(&self) -> bool {
        self.value.is_table()
    }

    /// One table, or a list of them that is not empty.
    pub fn tables(&self) -> Result<Vec<Table<'a>>, RuleError> {
        let wrong = || self.error("expected a table, { key = … }");
        let table = |value: &'a DeValue<'a>| -> Result<Table<'a>, RuleError> {
            Ok(Table {
                source: self.source,
                rule: self.rule.clone(),
                start: self.offset,
                keys: value.as_table().ok_or_else(wrong)?,
                asked: RefCell::default(),
                prefix: format!("{}.", self.key()),
            })
        };
        match self.value {
            DeValue::Array(items) if !items.is_empty() => {
                items.iter().map(|item| table(item.get_ref())).collect()
            }
            single => Ok(vec![table(single)?]),
        }
    }
}

fn in_order<'t>(table: &'t DeTable<'t>) -> Vec<(&'t str, &'t DeValue<'t>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries.into_iter().map(|(name, value)| (&**name.get_ref(), value.get_ref())).collect()
}

/// A value on one line.
fn inline(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| inline(item.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Table(table) => {
            let pairs: Vec<String> = in_order(table)
                .into_iter()
                .map(|(name, value)| format!("{} = {}", bare_or_quoted(name), inline(value)))
                .collect();
            format!("{{ {} }}", pairs.join(", "))
        }
    }
}

fn bare_or_quoted(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if bare { key.to_owned() } else { quoted(key) }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
