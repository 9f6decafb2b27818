use std::fmt;

use common::http::forwarded::Scheme;
use http::{HeaderMap, HeaderName, Method};

use crate::key::CacheKey;
use crate::request::Normalised;
use crate::respond::tags;

/// What is to be invalidated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Every variant under these keys.
    Url {
        keys: Vec<CacheKey>,
        mode: Mode,
    },
    /// Every response that carries one of these tags.
    Tags {
        tags: Vec<Box<str>>,
        mode: Mode,
    },
    /// Every key that matches.
    Pattern {
        pattern: Pattern,
        mode: Mode,
    },
    Everything,
}

/// How it is invalidated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Gone.
    Hard,
    /// Stale: to be validated, and still there when the origin is down.
    Soft,
}

/// A host and a path in which `*` stands for any characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// Any host where there is none.
    pub host: Option<String>,
    pub path: String,
}

/// Why a request to invalidate cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error(
        "a BAN needs tags (Cache-Tags: a b) or a path (X-Ban-Path: /news/*, with X-Ban-Host for one host)"
    )]
    NothingNamed,
    #[error("X-Purge-Mode is {0:?}: expected hard or soft")]
    Mode(String),
    #[error(
        "expected JSON such as {{\"url\":\"https://host/path\"}}, {{\"tags\":[\"node:1\"]}}, {{\"host\":\"h\",\"path\":\"/news/*\"}} or {{\"everything\":true}}, with \"soft\":true if wanted: {0}"
    )]
    Json(String),
}

const PURGE_MODE: HeaderName = HeaderName::from_static("x-purge-mode");
const BAN_HOST: HeaderName = HeaderName::from_static("x-ban-host");
const BAN_PATH: HeaderName = HeaderName::from_static("x-ban-path");

/// Whether a request is one of the two methods that invalidate.
pub fn is_command(method: &Method) -> bool {
    matches!(method.as_str(), "PURGE" | "BAN")
}

impl Command {
    /// From a PURGE or BAN request, as Varnish's users and Drupal's purgers send them.
    pub fn of_request(request: &Normalised) -> Result<Self, CommandError> {
        let headers = &request.head.headers;
        let mode = mode(headers)?;
        let tags = tags::of(headers);
        if !tags.is_empty() {
            return Ok(Self::Tags { tags, mode });
        }
        let text =
            |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        if request.head.method.as_str() == "BAN" {
            let path = text(&BAN_PATH).ok_or(CommandError::NothingNamed)?;
            return Ok(Self::Pattern { pattern: Pattern { host: text(&BAN_HOST), path }, mode });
        }
        let (host, target) = request.key.host_and_target();
        if target.contains('*') {
            let pattern = Pattern { host: Some(host.to_owned()), path: target.to_owned() };
            return Ok(Self::Pattern { pattern, mode });
        }
        // A purger inside the network speaks HTTP, whatever visitors speak.
        let keys = [Scheme::Http, Scheme::Https].map(|scheme| CacheKey::new(scheme, host, target));
        Ok(Self::Url { keys: keys.into(), mode })
    }

    /// From the admin listener's JSON.
    pub fn of_json(body: &[u8]) -> Result<Self, CommandError> {
        let wish: Wish =
            serde_json::from_slice(body).map_err(|error| CommandError::Json(error.to_string()))?;
        let mode = if wish.soft { Mode::Soft } else { Mode::Hard };
        match wish {
            Wish { everything: true, .. } => Ok(Self::Everything),
            Wish { tags, .. } if !tags.is_empty() => Ok(Self::Tags { tags, mode }),
            Wish { url: Some(url), .. } => {
                let keys =
                    CacheKey::of_url(&url).ok_or_else(|| CommandError::Json(format!("url {url:?}")))?;
                Ok(Self::Url { keys: vec![keys], mode })
            }
            Wish { host, path: Some(path), .. } => {
                Ok(Self::Pattern { pattern: Pattern { host, path }, mode })
            }
            Wish { .. } => Err(CommandError::Json("it names nothing".into())),
        }
    }
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wish {
    url: Option<String>,
    tags: Vec<Box<str>>,
    host: Option<String>,
    path: Option<String>,
    everything: bool,
    soft: bool,
}

fn mode(headers: &HeaderMap) -> Result<Mode, CommandError> {
    match headers.get(PURGE_MODE).map(|mode| mode.as_bytes().to_ascii_lowercase()).as_deref() {
        None | Some(b"hard") => Ok(Mode::Hard),
        Some(b"soft") => Ok(Mode::Soft),
        Some(other) => Err(CommandError::Mode(String::from_utf8_lossy(other).into_owned())),
    }
}

impl Pattern {
    pub fn matches(&self, key: &CacheKey) -> bool {
        let (host, target) = key.host_and_target();
        self.host.as_ref().is_none_or(|wanted| glob(wanted.as_bytes(), host.as_bytes()))
            && glob(self.path.as_bytes(), target.as_bytes())
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

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url { keys, mode } => {
                let first = keys.first().map_or("", CacheKey::as_str);
                write!(f, "{} purge of {first}", mode.as_str())
            }
            Self::Tags { tags, mode } => write!(f, "{} purge of tags {}", mode.as_str(), tags.join(" ")),
            Self::Pattern { pattern, mode } => {
                let host = pattern.host.as_deref().unwrap_or("*");
                write!(f, "{} ban of {host}{}", mode.as_str(), pattern.path)
            }
            Self::Everything => f.write_str("purge of everything"),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn globs() {
        let cases = [
            ("/a", "/a", true),
            ("/a", "/ab", false),
            ("/a*", "/a", true),
            ("/a*", "/a/b?c", true),
            ("*", "", true),
            ("/*/b", "/a/a/b", true),
            ("/*/b", "/a/a/c", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("", "a", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
        let long = "a".repeat(10_000);
        assert!(!glob(format!("{}b", "*a".repeat(200)).as_bytes(), long.as_bytes()));
    }

    #[test]
    fn json() {
        let tags = Command::of_json(br#"{"tags":["node:1","node:2"],"soft":true}"#).unwrap();
        assert_eq!(tags, Command::Tags { tags: vec!["node:1".into(), "node:2".into()], mode: Mode::Soft });
        let url = Command::of_json(br#"{"url":"https://A.example/x?y"}"#).unwrap();
        assert_eq!(url.to_string(), "hard purge of https://a.example/x?y");
        let ban = Command::of_json(br#"{"path":"/news/*"}"#).unwrap();
        assert_eq!(ban.to_string(), "hard ban of */news/*");
        assert_eq!(Command::of_json(br#"{"everything":true}"#).unwrap(), Command::Everything);
        for bad in ["", "{}", r#"{"url":"nonsense"}"#, r#"{"tag":"x"}"#, r#"{"soft":true}"#] {
            assert!(matches!(Command::of_json(bad.as_bytes()), Err(CommandError::Json(_))), "{bad}");
        }
    }
}
