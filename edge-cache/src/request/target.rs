//! The request's target in one form: what differs only in its writing has one key and is one request to the
//! origin, which gets exactly what the key says (RFC 3986, section 6.2.2).
//!
//! 1. Percent signs: what needs none loses it (`%7E` is `~`), hexadecimal digits are capitals, what has to be
//!    encoded is. A reserved character stays as it was written, since `%2F` and `/` may mean different things.
//! 2. Dot segments are resolved, so that rules see the path that the origin sees.
//! 3. The query's parameters: some removed, the rest as they came or sorted.
//!
//! A path with a percent sign that begins nothing is refused. A query with one, such as `?discount=50%`, is met
//! in practice: it is left alone to the last byte, since to change a part of it may change what it says.

use std::borrow::Cow;
use std::cmp::Ordering;

use common::rules::{Text, TextError};
use http::uri::PathAndQuery;
use percent_encoding::percent_decode;

/// What is made of a query, whatever the rules say.
#[derive(Debug, Clone, Default)]
pub struct QueryForm {
    pub order: QueryOrder,
    pub strip: Vec<ParamName>,
}

/// The order of a query's parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum QueryOrder {
    /// As they came.
    #[default]
    Keep,
    /// By name; those of one name keep their order.
    Sort,
}

/// A parameter's name, or a pattern of names; `@tracking` is all of [`TRACKING`].
#[derive(Debug, Clone)]
pub struct ParamName(Vec<Text>);

/// Parameters that advertisers and newsletters add, which change nothing that a server answers.
pub const TRACKING: [&str; 33] = [
    "utm_*",
    "gclid",
    "gclsrc",
    "gbraid",
    "wbraid",
    "dclid",
    "gad_source",
    "gad_campaignid",
    "srsltid",
    "_ga",
    "_gl",
    "fbclid",
    "msclkid",
    "mc_cid",
    "mc_eid",
    "twclid",
    "ttclid",
    "li_fat_id",
    "yclid",
    "igsh",
    "igshid",
    "epik",
    "mkt_tok",
    "vero_id",
    "vero_conv",
    "_hsenc",
    "_hsmi",
    "__hs*",
    "hsCtaTracking",
    "_kx",
    "pk_{campaign,kwd,source,medium,content,cid}",
    "mtm_*",
    "matomo_*",
];

/// A percent sign without two hexadecimal digits behind it, or a target that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the target's encoding is broken")]
pub struct Malformed;

/// `target` in its one form; itself, without a copy, if it has that already.
pub fn canonical(target: &PathAndQuery, form: &QueryForm) -> Result<PathAndQuery, Malformed> {
    let text = target.as_str();
    if !text.starts_with('/') {
        return Ok(target.clone());
    }
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    };
    let path = canonical_path(path)?;
    let query = query.map(|query| form.apply(query));
    let unchanged = matches!(path, Cow::Borrowed(_)) && matches!(query, None | Some(Some(Cow::Borrowed(_))));
    if unchanged {
        return Ok(target.clone());
    }
    join(&path, query.flatten().as_deref())
}

/// `target` with the parameters that `wanted` is true of; `None` if that is all of them.
pub fn with_parameters(target: &PathAndQuery, wanted: impl Fn(&[u8]) -> bool) -> Option<PathAndQuery> {
    let query = target.query()?;
    match retain(Cow::Borrowed(query), wanted) {
        Some(Cow::Borrowed(_)) => None,
        // What is left of a valid target is one.
        left => join(target.path(), left.map(canonical_query).as_deref()).ok(),
    }
}

fn join(path: &str, query: Option<&str>) -> Result<PathAndQuery, Malformed> {
    let target = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    PathAndQuery::from_maybe_shared(bytes::Bytes::from(target)).map_err(|_| Malformed)
}

impl QueryForm {
    /// `None`: nothing is left, not even the question mark.
    fn apply<'a>(&self, query: &'a str) -> Option<Cow<'a, str>> {
        let mut query = Cow::Borrowed(query);
        if !self.strip.is_empty() {
            query = retain(query, |name| !self.strip.iter().any(|strip| strip.matches(name)))?;
        }
        let query = canonical_query(query);
        Some(if self.order == QueryOrder::Sort { sorted(query) } else { query })
    }
}

impl ParamName {
    pub fn matches(&self, name: &[u8]) -> bool {
        self.0.iter().any(|text| text.matches(name))
    }
}

impl std::str::FromStr for ParamName {
    type Err = TextError;
    fn from_str(text: &str) -> Result<Self, TextError> {
        let one = |text: &str| Text::plain(text);
        match text {
            "@tracking" => TRACKING.into_iter().map(one).collect::<Result<_, _>>().map(Self),
            text => Ok(Self(vec![one(text)?])),
        }
    }
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Which bytes may stand without a percent sign.
type Plain = [bool; 256];

/// In a path (RFC 3986, section 3.3).
const PATH: Plain = plain(b"!$&'()*+,;=:@/");
/// In a query, with the brackets that forms use.
const QUERY: Plain = plain(b"!$&'()*+,;=:@/?[]");

const fn plain(reserved: &[u8]) -> Plain {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        plain[byte] = is_unreserved(byte as u8);
        byte += 1;
    }
    let mut at = 0;
    while at < reserved.len() {
        plain[reserved[at] as usize] = true;
        at += 1;
    }
    plain
}

fn canonical_path(path: &str) -> Result<Cow<'_, str>, Malformed> {
    let bytes = path.as_bytes();
    let path = if is_encoded(bytes, &PATH) {
        Cow::Borrowed(path)
    } else {
        Cow::Owned(encoded(bytes, &PATH).ok_or(Malformed)?)
    };
    if memchr::memmem::find(path.as_bytes(), b"/.").is_some() && has_dot_segment(&path) {
        return Ok(Cow::Owned(without_dot_segments(&path)));
    }
    Ok(path)
}

fn canonical_query(query: Cow<'_, str>) -> Cow<'_, str> {
    if is_encoded(query.as_bytes(), &QUERY) {
        return query;
    }
    encoded(query.as_bytes(), &QUERY).map_or(query, Cow::Owned)
}

/// Whether [`encoded`] would change nothing.
fn is_encoded(bytes: &[u8], may_stand: &Plain) -> bool {
    let Some(first) = bytes.iter().position(|byte| !may_stand[usize::from(*byte)]) else { return true };
    let mut bytes = bytes.get(first..).unwrap_or_default();
    while let Some((first, rest)) = bytes.split_first() {
        bytes = match (first, rest) {
            (b'%', [high, low, rest @ ..]) => match decoded(*high, *low) {
                Some(byte) if is_unreserved(byte) => return false,
                Some(_) if high.is_ascii_lowercase() || low.is_ascii_lowercase() => return false,
                Some(_) => rest,
                None => return false,
            },
            (byte, rest) if may_stand[usize::from(*byte)] => rest,
            _ => return false,
        };
    }
    true
}

fn decoded(high: u8, low: u8) -> Option<u8> {
    Some((char::from(high).to_digit(16)? * 16 + char::from(low).to_digit(16)?) as u8)
}

/// `None` where a percent sign is not followed by two hexadecimal digits.
fn encoded(bytes: &[u8], may_stand: &Plain) -> Option<String> {
    let mut out = String::with_capacity(bytes.len() + 16);
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        let (byte, is_plain) = if *byte == b'%' {
            let byte = decoded(*rest.next()?, *rest.next()?)?;
            (byte, is_unreserved(byte))
        } else {
            (*byte, may_stand[usize::from(*byte)])
        };
        if is_plain {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend(
                [byte >> 4, byte & 15]
                    .map(|half| char::from_digit(half.into(), 16).unwrap_or_default().to_ascii_uppercase()),
            );
        }
    }
    Some(out)
}

fn has_dot_segment(path: &str) -> bool {
    path.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// RFC 3986, section 5.2.4.
pub fn without_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

/// The pairs whose decoded name is `wanted`. A query of which nothing is left is `None`.
fn retain(query: Cow<'_, str>, wanted: impl Fn(&[u8]) -> bool) -> Option<Cow<'_, str>> {
    let keeps = |pair: &str| pair.is_empty() || wanted(&name_of(pair));
    if query.split('&').all(keeps) {
        return Some(query);
    }
    let left: Vec<&str> = query.split('&').filter(|pair| keeps(pair)).collect();
    let left = left.join("&");
    (!left.is_empty()).then_some(Cow::Owned(left))
}

fn sorted(query: Cow<'_, str>) -> Cow<'_, str> {
    if query.split('&').is_sorted_by(|left, right| by_name(left, right) != Ordering::Greater) {
        return query;
    }
    let mut pairs: Vec<&str> = query.split('&').collect();
    // Stable: parameters of one name keep their order.
    pairs.sort_by(|left, right| by_name(left, right));
    Cow::Owned(pairs.join("&"))
}

/// Names that PHP takes for the same variable are equal, since their order decides what it holds: `a[]`, `a[x]`
/// and `a` are, and so are `a.b`, `a b` and `a_b`.
fn by_name(left: &str, right: &str) -> Ordering {
    variable(&name_of(left)).cmp(variable(&name_of(right)))
}

fn variable(name: &[u8]) -> impl Iterator<Item = u8> + '_ {
    name.trim_ascii_start().iter().take_while(|byte| !matches!(**byte, b'[' | 0)).map(|byte| match byte {
        b'.' | b' ' => b'_',
        other => *other,
    })
}

/// A parameter's name, decoded as a form's.
fn name_of(pair: &str) -> Cow<'_, [u8]> {
    let name = pair.split('=').next().unwrap_or_default();
    if name.contains('+') {
        return Cow::Owned(percent_decode(name.replace('+', " ").as_bytes()).collect());
    }
    percent_decode(name.as_bytes()).into()
}

#[cfg(test)]
mod tests;
