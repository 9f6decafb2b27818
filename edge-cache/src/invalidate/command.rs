//! What is asked for, by PURGE and BAN requests and as JSON on the admin listener: each has its counterpart.

use std::collections::BTreeMap;
use std::fmt;

use common::http::forwarded::Scheme;
use http::header::ACCEPT;
use http::{HeaderMap, HeaderName, Method};

use super::expression::{Expression, ExpressionError, Field, ValueError};
use crate::key::CacheKey;
use crate::live::Live;
use crate::request::Normalised;
use crate::respond::tags;
use crate::rules::Preset;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub scope: Scope,
    pub mode: Mode,
}

/// What is to be invalidated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every variant under these keys.
    Url(Vec<CacheKey>),
    /// Every response that carries one of these tags.
    Tags(Vec<Box<str>>),
    /// Those of them that match as well.
    TagsAnd(Vec<Box<str>>, Expression),
    /// Those of them that have the origin of this key: groups (RFC 9875, section 2.1).
    Groups(Vec<Box<str>>, CacheKey),
    /// Every response that matches.
    Matching(Expression),
    Everything,
}

/// How it is invalidated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Gone.
    Hard,
    /// Stale: to be validated, and still there when the origin is down.
    Soft,
}

/// Why a request to invalidate cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error(
        "a BAN needs tags (Cache-Tags: a b) or conditions (X-Ban-Path: /news/*, X-Ban-Host: example.org, \
         X-Ban-Header: Content-Type: image/*, X-Ban-Expression: host == example.org && path ~ ^/news/); \
         BAN /site is everything, PURGE /path one URL"
    )]
    NothingNamed,
    /// A purger whose list came out empty must not take everything else that it names.
    #[error("the list of tags is empty")]
    NoTags,
    #[error("{name} is {value:?}: expected {expected}")]
    Value { name: &'static str, value: String, expected: &'static str },
    #[error("{name}: {why}")]
    Condition { name: &'static str, why: ValueError },
    #[error("{name}: {why}")]
    Expression { name: &'static str, why: ExpressionError },
    #[error("{0} belongs to BAN: PURGE takes a URL, which may contain *")]
    OfBan(&'static str),
    #[error(
        "expected JSON such as {{\"url\":\"https://example.org/news/*\"}}, {{\"tags\":[\"node:1\"]}}, \
         {{\"host\":\"example.org\",\"path\":\"~^/news/\",\"header\":{{\"content-type\":\"image/*\"}}}}, \
         {{\"expression\":\"host == example.org && path ~ ^/news/\"}} or {{\"everything\":true}}, \
         with \"soft\":true if wanted: {0}"
    )]
    Json(String),
}

const PURGE_MODE: HeaderName = HeaderName::from_static("x-purge-mode");
/// As Fastly has it.
const SOFT_PURGE: HeaderName = HeaderName::from_static("fastly-soft-purge");
/// As WordPress' plugins for Varnish have it.
const PURGE_METHOD: HeaderName = HeaderName::from_static("x-purge-method");
const BAN_HOST: &str = "x-ban-host";
const BAN_PATH: &str = "x-ban-path";
const BAN_HEADER: &str = "x-ban-header";
const BAN_EXPRESSION: &str = "x-ban-expression";

/// Tags that a command is logged with.
const SHOWN: usize = 10;

/// Whether a request is one of the two methods that invalidate.
pub fn is_command(method: &Method) -> bool {
    matches!(method.as_str(), "PURGE" | "BAN")
}

/// Whether the answer is to be JSON.
pub fn wants_json(headers: &HeaderMap) -> bool {
    let mut ranges =
        headers.get_all(ACCEPT).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    ranges.any(|range| {
        let range = range.split(|byte| *byte == b';').next().unwrap_or_default();
        range.trim_ascii().eq_ignore_ascii_case(b"application/json")
    })
}

impl Command {
    /// From a PURGE or BAN request, as Varnish's users and the purgers of Drupal and WordPress send them.
    pub fn of_request(request: &Normalised) -> Result<Self, CommandError> {
        let scope = Scope::of_request(request)?;
        Ok(Self { scope, mode: mode(&request.head.headers)? })
    }

    /// From the admin listener's JSON.
    pub fn of_json(body: &[u8], live: &Live) -> Result<Self, CommandError> {
        let wish: Wish =
            serde_json::from_slice(body).map_err(|error| CommandError::Json(error.to_string()))?;
        let mode = if wish.soft { Mode::Soft } else { Mode::Hard };
        Ok(Self { scope: wish.scope(live)?, mode })
    }
}

impl Scope {
    fn of_request(request: &Normalised) -> Result<Self, CommandError> {
        let headers = &request.head.headers;
        let tags = tags::of(headers);
        let (host, target) = request.key.host_and_target();
        let is_ban = request.head.method.as_str() == "BAN";
        let condition = conditions(headers)?;
        if tags.is_empty() && tags::TAG_FIELDS.iter().any(|name| headers.contains_key(name)) {
            return Err(CommandError::NoTags);
        }
        if !is_ban && let Some((name, _)) = condition {
            return Err(CommandError::OfBan(name));
        }
        if !tags.is_empty() || condition.is_some() {
            return Self::of_parts(tags, condition.map(|(_, expression)| expression))
                .ok_or(CommandError::NothingNamed);
        }
        match target {
            // Drupal's purgers say so: https://www.drupal.org/project/acquia_purge and those made after it. A
            // page of this name is purged by everyone else.
            "/site" if is_ban || request.live.config.preset == Preset::Drupal => Ok(Self::Everything),
            // Meant for tags, which are missing.
            "/" | "/tags" if is_ban => Err(CommandError::NothingNamed),
            _ if is_regex(headers)? => {
                let url = Expression::of_value(Field::Url, &format!("~{target}"))
                    .map_err(|why| CommandError::Condition { name: "X-Purge-Method: regex", why })?;
                Ok(Self::Matching(Expression::of_host(host).and(&url)))
            }
            _ => Ok(Self::of_url(&request.key, &request.live)),
        }
    }

    /// One URL, or those of its host that match where it contains `*`.
    fn of_url(url: &CacheKey, live: &Live) -> Self {
        let (host, target) = url.host_and_target();
        if target.contains('*')
            // What does not begin with ~ cannot fail.
            && let Ok(path) = Expression::of_value(Field::Path, target)
        {
            return Self::Matching(Expression::of_host(host).and(&path));
        }
        // A purger inside the network speaks HTTP, whatever visitors speak.
        let keys =
            [Scheme::Http, Scheme::Https].map(|scheme| live.key_of(&CacheKey::new(scheme, host, target)));
        Self::Url(keys.into())
    }

    fn of_parts(tags: Vec<Box<str>>, expression: Option<Expression>) -> Option<Self> {
        let expression = match expression {
            Some(all) if all.is_everything() && tags.is_empty() => return Some(Self::Everything),
            other => other.filter(|expression| !expression.is_everything()),
        };
        match (tags.is_empty(), expression) {
            (true, None) => None,
            (true, Some(expression)) => Some(Self::Matching(expression)),
            (false, None) => Some(Self::Tags(tags)),
            (false, Some(expression)) => Some(Self::TagsAnd(tags, expression)),
        }
    }

    /// For metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Url(_) => "url",
            Self::Tags(_) | Self::TagsAnd(..) => "tags",
            Self::Matching(expression) if expression.is_pattern() => "pattern",
            Self::Groups(..) => "groups",
            Self::Matching(_) => "expression",
            Self::Everything => "everything",
        }
    }
}

/// The conditions of a BAN, all of which are to be met, and the name of the first.
fn conditions(headers: &HeaderMap) -> Result<Option<(&'static str, Expression)>, CommandError> {
    let mut all: Option<(&'static str, Expression)> = None;
    let mut add = |name: &'static str, expression: Expression| {
        all = Some(match all.take() {
            Some((first, all)) => (first, all.and(&expression)),
            None => (name, expression),
        });
    };
    for (name, field) in [(BAN_HOST, Field::Host), (BAN_PATH, Field::Path)] {
        for value in texts(headers, name) {
            let why = |why| CommandError::Condition { name, why };
            add(name, Expression::of_value(field.clone(), value?).map_err(why)?);
        }
    }
    for value in texts(headers, BAN_HEADER) {
        let value = value?;
        let (field, value) = value.split_once(':').unwrap_or((value, ""));
        add(BAN_HEADER, header_condition(BAN_HEADER, field.trim(), value.trim())?);
    }
    for value in texts(headers, BAN_EXPRESSION) {
        let why = |why| CommandError::Expression { name: BAN_EXPRESSION, why };
        add(BAN_EXPRESSION, Expression::parse(value?).map_err(why)?);
    }
    Ok(all)
}

fn header_condition(name: &'static str, field: &str, value: &str) -> Result<Expression, CommandError> {
    let expected = "NAME: VALUE, such as Content-Type: image/* or Server: ~^Apache";
    let unusable = || CommandError::Value { name, value: format!("{field}: {value}"), expected };
    if value.is_empty() {
        return Err(unusable());
    }
    let field = Field::header(field).ok_or_else(unusable)?;
    Expression::of_value(field, value).map_err(|why| CommandError::Condition { name, why })
}

fn texts<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
) -> impl Iterator<Item = Result<&'a str, CommandError>> {
    headers.get_all(name).iter().map(move |value| {
        std::str::from_utf8(value.as_bytes()).map_err(|_| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            CommandError::Value { name, value, expected: "UTF-8" }
        })
    })
}

fn mode(headers: &HeaderMap) -> Result<Mode, CommandError> {
    if let Some(mode) = headers.get(PURGE_MODE) {
        return match mode.as_bytes().trim_ascii().to_ascii_lowercase().as_slice() {
            b"hard" => Ok(Mode::Hard),
            b"soft" => Ok(Mode::Soft),
            other => Err(CommandError::Value {
                name: "X-Purge-Mode",
                value: String::from_utf8_lossy(other).into_owned(),
                expected: "hard or soft",
            }),
        };
    }
    match headers.get(SOFT_PURGE).map(|soft| soft.as_bytes().trim_ascii()) {
        None | Some(b"0") => Ok(Mode::Hard),
        Some(b"1") => Ok(Mode::Soft),
        Some(other) => Err(CommandError::Value {
            name: "Fastly-Soft-Purge",
            value: String::from_utf8_lossy(other).into_owned(),
            expected: "1 or 0",
        }),
    }
}

fn is_regex(headers: &HeaderMap) -> Result<bool, CommandError> {
    match headers
        .get(PURGE_METHOD)
        .map(|method| method.as_bytes().trim_ascii().to_ascii_lowercase())
        .as_deref()
    {
        None | Some(b"" | b"default" | b"exact") => Ok(false),
        Some(b"regex") => Ok(true),
        Some(other) => Err(CommandError::Value {
            name: "X-Purge-Method",
            value: String::from_utf8_lossy(other).into_owned(),
            expected: "regex, exact or default",
        }),
    }
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wish {
    url: Option<String>,
    tags: Option<TagList>,
    host: Option<String>,
    path: Option<String>,
    header: BTreeMap<String, String>,
    expression: Option<String>,
    everything: bool,
    soft: bool,
}

/// A list of tags, or one text as a header field has it.
#[derive(Debug, serde::Deserialize)]
#[serde(untagged)]
enum TagList {
    Text(String),
    List(Vec<Box<str>>),
}

impl Wish {
    fn scope(self, live: &Live) -> Result<Scope, CommandError> {
        let json = |error: CommandError| CommandError::Json(error.to_string());
        let condition = self.condition().map_err(json)?;
        let tags = match self.tags {
            None => None,
            Some(TagList::Text(text)) => Some(tags::of_text(&text)),
            Some(TagList::List(mut list)) => {
                list.retain(|tag| !tag.is_empty());
                list.sort_unstable();
                list.dedup();
                Some(list)
            }
        };
        if tags.as_ref().is_some_and(Vec::is_empty) {
            return Err(json(CommandError::NoTags));
        }
        let says_what = tags.is_some() || condition.is_some();
        match (self.everything, self.url, says_what) {
            (true, None, false) => Ok(Scope::Everything),
            (false, Some(url), false) => match CacheKey::of_url(&url) {
                Some(key) => Ok(Scope::of_url(&key, live)),
                None => Err(CommandError::Json(format!("{url:?} is no http:// or https:// URL"))),
            },
            (false, None, true) => Scope::of_parts(tags.unwrap_or_default(), condition)
                .ok_or_else(|| json(CommandError::NothingNamed)),
            (false, None, false) => Err(CommandError::Json("it names nothing".into())),
            _ => Err(CommandError::Json("\"url\" and \"everything\" stand alone".into())),
        }
    }

    fn condition(&self) -> Result<Option<Expression>, CommandError> {
        let mut all: Vec<Expression> = Vec::new();
        for (name, field, value) in [("host", Field::Host, &self.host), ("path", Field::Path, &self.path)] {
            if let Some(value) = value {
                let why = |why| CommandError::Condition { name, why };
                all.push(Expression::of_value(field, value).map_err(why)?);
            }
        }
        for (name, value) in &self.header {
            all.push(header_condition("header", name, value)?);
        }
        if let Some(text) = &self.expression {
            let why = |why| CommandError::Expression { name: "expression", why };
            all.push(Expression::parse(text).map_err(why)?);
        }
        Ok(all.into_iter().reduce(|all, next| all.and(&next)))
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} purge of ", self.mode.as_str())?;
        let write_tags = |f: &mut fmt::Formatter<'_>, tags: &[Box<str>]| {
            let shown = tags.iter().take(SHOWN).map(AsRef::as_ref).collect::<Vec<&str>>().join(" ");
            match tags.len().saturating_sub(SHOWN) {
                0 => write!(f, "tags {shown}"),
                more => write!(f, "tags {shown} and {more} more"),
            }
        };
        match &self.scope {
            Scope::Url(keys) => f.write_str(keys.first().map_or("", CacheKey::as_str)),
            Scope::Tags(tags) => write_tags(f, tags),
            Scope::TagsAnd(tags, expression) => {
                write_tags(f, tags)?;
                write!(f, " where {expression}")
            }
            Scope::Groups(groups, key) => {
                write_tags(f, groups)?;
                write!(f, " by {key}")
            }
            Scope::Matching(expression) => write!(f, "what has {expression}"),
            Scope::Everything => f.write_str("everything"),
        }
    }
}

impl Mode {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Soft => "soft",
        }
    }
}
