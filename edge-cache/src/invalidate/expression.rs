//! What is to be invalidated, said by its properties: `host == example.org && path ~ ^/news/`.
//!
//! ```text
//! expression = condition *( "&&" condition )
//! condition  = field operator value
//! field      = "host" | "path" | "url" | "status" | "tag" | "header." NAME
//! operator   = "==" | "!="      text in which * stands for any characters
//!            | "~"  | "!~"      a regular expression, found anywhere
//! value      = a word | "in double quotes"
//! ```
//!
//! The names of Varnish's bans are taken too: `req.http.host`, `req.url`, `obj.status`, `obj.http.NAME`.

use std::fmt;
use std::sync::Arc;

use http::{HeaderName, StatusCode};
use regex::bytes::{Regex, RegexBuilder};

use super::Tags;
use crate::key::CacheKey;
use crate::respond::tags::TAG_FIELDS;
use crate::store::Stored;
use crate::store::fields::Fields;

/// All of its conditions are to be met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression(Arc<[Condition]>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    field: Field,
    negated: bool,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// With its port, if that is not the scheme's own; a value without a port leaves it out.
    Host,
    /// Without the query, unless the value has a `?`.
    Path,
    /// Path and query.
    Url,
    Status,
    /// Any of the tags.
    Tag,
    /// Any line of a response field.
    Header(HeaderName),
}

#[derive(Debug, Clone)]
enum Test {
    /// `*` stands for any characters.
    Glob(Box<str>),
    Regex(Regex),
}

/// What a condition looks at: a response that is stored, or on its way into the store.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub key: &'a CacheKey,
    pub status: StatusCode,
    pub fields: Fields<'a>,
    pub tags: &'a Tags,
}

/// Where an expression cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {at} of the expression: {why}")]
pub struct ExpressionError {
    /// Counted from 1.
    pub at: usize,
    pub why: ValueError,
}

/// Why a part cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    #[error("found {found}, expected {expected}")]
    Unexpected { found: String, expected: &'static str },
    #[error("the regular expression {text:?} cannot be used: {why}")]
    Regex { text: String, why: String },
    #[error("more than {MAX_CONDITIONS} conditions")]
    TooMany,
}

const FIELDS: &str = "host, path, url, status, tag or header.NAME \
                      (or Varnish's req.http.host, req.url, obj.status, obj.http.NAME)";
const OPERATORS: &str = "== or != (* stands for any characters), ~ or !~ (a regular expression)";
const VALUE: &str = "a value, in double quotes if it has blanks or &&";
const QUOTE: &str = "a double quote behind the value (\\\" stands for one within)";
const JOINT: &str = "&& or the end (for \"or\", send one ban for each)";

const MAX_CONDITIONS: usize = 32;
/// Bytes of a compiled regular expression, and of what it remembers while it runs.
const REGEX_SIZE: usize = 128 << 10;

impl Expression {
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let mut parser = Parser { text, at: 0 };
        let mut conditions = Vec::new();
        loop {
            if conditions.len() == MAX_CONDITIONS {
                return Err(parser.error(ValueError::TooMany));
            }
            conditions.push(parser.condition()?);
            parser.skip_blanks();
            if parser.rest().is_empty() {
                return Ok(Self(conditions.into()));
            }
            if !parser.take("&&") {
                return Err(parser.unexpected(JOINT));
            }
        }
    }

    /// The responses with this in a field: `~` in front makes a regular expression, otherwise `*` stands for
    /// any characters.
    pub fn of_value(field: Field, value: &str) -> Result<Self, ValueError> {
        let test = match value.strip_prefix('~') {
            Some(pattern) => Test::regex(&field, pattern.trim_start())?,
            None => Test::glob(&field, value),
        };
        Ok(Self([Condition { field, negated: false, test }].into()))
    }

    /// The responses whose whole host is this, without any meaning of `*`: it has none in a host.
    pub fn of_host(host: &str) -> Self {
        let test = Test::glob(&Field::Host, host);
        Self([Condition { field: Field::Host, negated: false, test }].into())
    }

    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(&*other.0).cloned().collect())
    }

    pub fn matches(&self, subject: Subject<'_>) -> bool {
        self.0.iter().all(|condition| condition.matches(subject))
    }

    /// Whether it covers all that is stored under this key, whatever that is.
    pub fn covers(&self, key: &CacheKey) -> bool {
        self.0.iter().all(|condition| condition.matches_key(key) == Some(true))
    }

    /// Whether no response can but match.
    pub fn is_everything(&self) -> bool {
        self.0.iter().all(Condition::is_always_met)
    }

    /// Whether it is no more than globs on host and path.
    pub fn is_pattern(&self) -> bool {
        let is_plain = |condition: &Condition| {
            matches!(condition.field, Field::Host | Field::Path)
                && !condition.negated
                && matches!(condition.test, Test::Glob(_))
        };
        self.0.iter().all(is_plain)
    }
}

impl Field {
    fn of_name(name: &str) -> Option<Self> {
        let header = |name: &str| {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            // Tags are taken off the head before it is stored.
            Some(if TAG_FIELDS.contains(&name) { Self::Tag } else { Self::Header(name) })
        };
        match name.to_ascii_lowercase().as_str() {
            "host" | "req.http.host" => Some(Self::Host),
            "path" => Some(Self::Path),
            "url" | "req.url" => Some(Self::Url),
            "status" | "obj.status" => Some(Self::Status),
            "tag" => Some(Self::Tag),
            other => header(other.strip_prefix("header.").or_else(|| other.strip_prefix("obj.http."))?),
        }
    }

    pub fn header(name: &str) -> Option<Self> {
        Self::of_name(&format!("header.{name}"))
    }
}

impl Condition {
    fn matches(&self, subject: Subject<'_>) -> bool {
        if let Some(matches) = self.matches_key(subject.key) {
            return matches;
        }
        let hit = match &self.field {
            Field::Host | Field::Path | Field::Url => false,
            Field::Status => self.test.is(subject.status.as_str().as_bytes()),
            Field::Tag => match &self.test {
                Test::Glob(name) if !name.contains('*') => subject.tags.contains(name),
                test => subject.tags.names().any(|tag| test.is(tag.as_bytes())),
            },
            Field::Header(name) => subject.fields.get_all(name).any(|value| self.test.is(value)),
        };
        hit != self.negated
    }

    /// `None` when the key does not tell.
    fn matches_key(&self, key: &CacheKey) -> Option<bool> {
        let (host, target) = key.host_and_target();
        let hit = match self.field {
            Field::Host => {
                let name =
                    host.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map(|(name, _)| name);
                self.test.is(host.as_bytes()) || name.is_some_and(|name| self.test.is(name.as_bytes()))
            }
            Field::Path => {
                let with_query = matches!(&self.test, Test::Glob(glob) if glob.contains('?'));
                let path = target.split('?').next().filter(|_| !with_query).unwrap_or(target);
                self.test.is(path.as_bytes())
            }
            Field::Url => self.test.is(target.as_bytes()),
            Field::Status | Field::Tag | Field::Header(_) => return None,
        };
        Some(hit != self.negated)
    }

    fn is_always_met(&self) -> bool {
        let Test::Glob(glob) = &self.test else { return false };
        let glob = match self.field {
            Field::Host | Field::Status => glob,
            // Every path begins with one.
            Field::Path | Field::Url => glob.strip_prefix('/').unwrap_or(glob),
            Field::Tag | Field::Header(_) => return false,
        };
        !self.negated && !glob.is_empty() && glob.bytes().all(|byte| byte == b'*')
    }
}

impl Test {
    fn glob(field: &Field, text: &str) -> Self {
        Self::Glob(if *field == Field::Host { text.to_ascii_lowercase().into() } else { text.into() })
    }

    fn regex(field: &Field, text: &str) -> Result<Self, ValueError> {
        RegexBuilder::new(text)
            .case_insensitive(*field == Field::Host)
            .size_limit(REGEX_SIZE)
            .dfa_size_limit(REGEX_SIZE)
            .build()
            .map(Self::Regex)
            .map_err(|error| {
                let why = match &error {
                    regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
                    // The first lines show the place in the pattern, which may be long.
                    other => {
                        let lines = other.to_string();
                        let last = lines.lines().last().unwrap_or_default();
                        last.trim().trim_start_matches("error: ").to_owned()
                    }
                };
                ValueError::Regex { text: text.to_owned(), why }
            })
    }

    fn is(&self, text: &[u8]) -> bool {
        match self {
            Self::Glob(pattern) => glob(pattern.as_bytes(), text),
            Self::Regex(regex) => regex.is_match(text),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Glob(text) => text,
            Self::Regex(regex) => regex.as_str(),
        }
    }
}

impl PartialEq for Test {
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other) && self.as_str() == other.as_str()
    }
}

impl Eq for Test {}

impl<'a> Subject<'a> {
    pub fn of(stored: &'a Stored) -> Self {
        Self { key: &stored.key, status: stored.status, fields: stored.fields(), tags: &stored.tags }
    }
}

/// `*` stands for any characters, also none. Linear but for the last star, so no pattern is expensive.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if Some(byte) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, matched)) = star else { return false };
                star = Some((at, matched + 1));
                p = at + 1;
                t = matched + 1;
            }
        }
    }
    pattern.iter().skip(p).all(|byte| *byte == b'*')
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn condition(&mut self) -> Result<Condition, ExpressionError> {
        self.skip_blanks();
        let start = self.at;
        let name = self.word(|rest| rest.starts_with(['=', '!', '~', '&']));
        let Some(field) = Field::of_name(name) else {
            self.at = start;
            return Err(self.unexpected(FIELDS));
        };
        self.skip_blanks();
        let (negated, is_regex) = if self.take("==") {
            (false, false)
        } else if self.take("!=") {
            (true, false)
        } else if self.take("!~") {
            (true, true)
        } else if self.take("~") {
            (false, true)
        } else {
            return Err(self.unexpected(OPERATORS));
        };
        self.skip_blanks();
        let start = self.at;
        let value = self.value()?;
        let test = if is_regex {
            Test::regex(&field, &value).map_err(|why| ExpressionError { at: self.character(start), why })?
        } else {
            Test::glob(&field, &value)
        };
        Ok(Condition { field, negated, test })
    }

    fn value(&mut self) -> Result<String, ExpressionError> {
        if !self.take("\"") {
            let word = self.word(|rest| rest.starts_with("&&"));
            return if word.is_empty() { Err(self.unexpected(VALUE)) } else { Ok(word.to_owned()) };
        }
        let mut value = String::new();
        loop {
            // Only the quote is escaped, so that regular expressions stay as they are.
            if self.take("\\\"") {
                value.push('"');
            } else if self.take("\"") {
                return Ok(value);
            } else if let Some(character) = self.rest().chars().next() {
                value.push(character);
                self.at += character.len_utf8();
            } else {
                return Err(self.unexpected(QUOTE));
            }
        }
    }

    /// Up to a blank or what `ends` it.
    fn word(&mut self, ends: impl Fn(&str) -> bool) -> &'a str {
        let rest = self.rest();
        let is_end = |(at, character): &(usize, char)| {
            character.is_whitespace() || ends(rest.get(*at..).unwrap_or(""))
        };
        let length = rest.char_indices().find(is_end).map_or(rest.len(), |(at, _)| at);
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn take(&mut self, token: &str) -> bool {
        let there = self.rest().starts_with(token);
        if there {
            self.at += token.len();
        }
        there
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn unexpected(&self, expected: &'static str) -> ExpressionError {
        let found = match self.rest().split_whitespace().next() {
            Some(word) => format!("{:?}", word.chars().take(40).collect::<String>()),
            None => "the end".to_owned(),
        };
        self.error(ValueError::Unexpected { found, expected })
    }

    fn error(&self, why: ValueError) -> ExpressionError {
        ExpressionError { at: self.character(self.at), why }
    }

    fn character(&self, at: usize) -> usize {
        self.text.get(..at).unwrap_or_default().chars().count() + 1
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, condition) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(" && ")?;
            }
            write!(f, "{condition}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Field::Host => f.write_str("host"),
            Field::Path => f.write_str("path"),
            Field::Url => f.write_str("url"),
            Field::Status => f.write_str("status"),
            Field::Tag => f.write_str("tag"),
            Field::Header(name) => write!(f, "header.{name}"),
        }?;
        let operator = match (&self.test, self.negated) {
            (Test::Glob(_), false) => "==",
            (Test::Glob(_), true) => "!=",
            (Test::Regex(_), false) => "~",
            (Test::Regex(_), true) => "!~",
        };
        let value = self.test.as_str();
        let is_word = !value.is_empty() && !value.contains("&&") && !value.starts_with('"');
        if is_word && !value.contains(char::is_whitespace) {
            write!(f, " {operator} {value}")
        } else {
            write!(f, " {operator} \"{}\"", value.replace('"', "\\\""))
        }
    }
}
