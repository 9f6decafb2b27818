//! What two answers have to agree on.
//!
//! 1. [`Observed::of`]: an answer as an outcome (status, and whether it is a file, a script's or a page of the
//!    server's own) and named aspects: its header fields, its bytes, a script's parameters.
//! 2. [`differing`]: where the outcomes differ, that; otherwise each aspect that differs.
//!
//! What cannot agree is brought to a form in which it does, and nothing else is: dates and times of expiry are
//! lifetimes; entity tags are strong, weak or missing; a relative Location is resolved; the server's own pages have
//! words and a media type of its own; who serves and how the connection goes on is not of the response.

use std::collections::BTreeMap;
use std::fmt;

use test_support::client::Response;

use crate::corpus::Request;

#[derive(Debug)]
pub(crate) struct Observed {
    outcome: String,
    aspects: BTreeMap<String, String>,
}

/// One thing on which they do not agree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Differing {
    /// `outcome`, `body`, a field's name in lower case, or `param NAME`.
    pub(crate) aspect: String,
    pub(crate) ours: String,
    pub(crate) theirs: String,
}

/// Of the connection and of the program, not of what was asked for.
const IGNORED: [&str; 6] = ["date", "server", "connection", "keep-alive", "transfer-encoding", "x-script"];
/// What a field or parameter that is not there is called in a difference.
const NONE: &str = "(none)";

impl Observed {
    pub(crate) fn of(request: &Request, answer: &anyhow::Result<Response>, docroot: &str) -> Self {
        match answer {
            Ok(response) => Self::of_response(request, response, docroot),
            Err(_) => Self { outcome: "no answer".into(), aspects: BTreeMap::new() },
        }
    }

    fn of_response(request: &Request, response: &Response, docroot: &str) -> Self {
        let script = response.header("x-script").map(|script| script.replace("%2F", "/"));
        let is_file = script.is_none()
            && matches!(response.status, 200 | 206 | 304)
            && response.header("last-modified").is_some();
        let what = match &script {
            Some(script) => format!("script {}", script.strip_prefix(docroot).unwrap_or(script)),
            None if is_file => "file".to_owned(),
            None => "page".to_owned(),
        };
        let mut aspects = BTreeMap::new();
        for (name, value) in fields(response, &request.host()) {
            // A list in several fields is a list in one (RFC 9110, section 5.3); cookies are not.
            aspects
                .entry(name)
                .and_modify(|before: &mut String| {
                    before.push_str(", ");
                    before.push_str(&value);
                })
                .or_insert(value);
        }
        if script.is_some() {
            // Where PHP does not say it, it is the server's choice whether to count or to send chunks.
            aspects.remove("content-length");
            if request.method != "HEAD" && !response.body.is_empty() {
                parameters(response, docroot, &mut aspects);
            }
        } else if is_file {
            match response.header("content-type").and_then(|value| value.split_once("boundary=")) {
                Some((_, boundary)) => {
                    aspects.remove("content-length");
                    parts(&response.body, boundary, &mut aspects);
                }
                None => {
                    aspects.insert("body".into(), digest(&response.body));
                }
            }
        } else {
            for name in [
                "content-type",
                "content-length",
                "content-language",
                "accept-ranges",
                "etag",
                "last-modified",
            ] {
                aspects.remove(name);
            }
        }
        if !response.is_complete() {
            aspects.insert("end".into(), "truncated".into());
        }
        Self { outcome: format!("{} {what}", response.status), aspects }
    }
}

fn fields<'a>(response: &'a Response, host: &'a str) -> impl Iterator<Item = (String, String)> + 'a {
    response.headers.iter().filter_map(move |(name, value)| {
        let name = name.to_ascii_lowercase();
        if IGNORED.contains(&name.as_str()) {
            return None;
        }
        let value = match name.as_str() {
            "location" => resolved(value, host),
            "etag" if value.starts_with("W/") => "weak".into(),
            "etag" if value.starts_with('"') => "strong".into(),
            "expires" => lifetime(value, response.header("date")),
            "allow" => sorted(value),
            "vary" => sorted(&value.to_ascii_lowercase()),
            "content-type" => media_type(value),
            _ => value.clone(),
        };
        Some((name, value))
    })
}

/// A script's own page: the parameters that it was run with.
fn parameters(response: &Response, docroot: &str, aspects: &mut BTreeMap<String, String>) {
    match serde_json::from_slice::<BTreeMap<String, String>>(&response.body) {
        Ok(parameters) => {
            for (name, value) in parameters {
                aspects.insert(format!("param {name}"), value.replace(docroot, "{docroot}"));
            }
        }
        Err(_) => {
            aspects.insert("body".into(), digest(&response.body));
        }
    }
}

/// The parts of a `multipart/byteranges` body, whatever is between them.
fn parts(body: &[u8], boundary: &str, aspects: &mut BTreeMap<String, String>) {
    let text = body.escape_ascii().to_string();
    let delimiter = format!("--{}", boundary.trim_matches('"'));
    for (number, part) in text.split(&delimiter).enumerate().skip(1) {
        let Some((head, content)) = part.split_once("\\r\\n\\r\\n") else { continue };
        aspects.insert(format!("part {number} body"), content.to_owned());
        for field in head.split("\\r\\n") {
            if let Some((name, value)) = field.split_once(':') {
                aspects
                    .insert(format!("part {number} {}", name.to_ascii_lowercase()), value.trim().to_owned());
            }
        }
    }
}

/// All on which two answers to the same request do not agree.
pub(crate) fn differing(ours: &Observed, theirs: &Observed) -> Vec<Differing> {
    if ours.outcome != theirs.outcome {
        // The rest follows from that.
        return vec![Differing {
            aspect: "outcome".into(),
            ours: ours.outcome.clone(),
            theirs: theirs.outcome.clone(),
        }];
    }
    let mut names: Vec<&String> = ours.aspects.keys().chain(theirs.aspects.keys()).collect();
    names.sort();
    names.dedup();
    let value = |of: &Observed, name: &str| of.aspects.get(name).map_or(NONE, String::as_str).to_owned();
    names
        .into_iter()
        .map(|name| Differing { aspect: name.clone(), ours: value(ours, name), theirs: value(theirs, name) })
        .filter(|differing| differing.ours != differing.theirs)
        .collect()
}

impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.outcome)?;
        for (name, value) in &self.aspects {
            writeln!(f, "  {name}: {value}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Differing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ours {}, theirs {}", self.aspect, self.ours, self.theirs)
    }
}

/// Relative to the target (RFC 9110, section 10.2.2), percent-encoded in one case (RFC 3986, section 6.2.2.1).
fn resolved(location: &str, host: &str) -> String {
    let absolute =
        if location.starts_with('/') { format!("http://{host}{location}") } else { location.to_owned() };
    let mut parts = absolute.split('%');
    let mut resolved = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        resolved.push('%');
        resolved.push_str(&digits.to_ascii_uppercase());
        resolved.push_str(rest);
    }
    resolved
}

/// In tens of seconds, since it is reckoned from a clock that goes on.
fn lifetime(expires: &str, date: Option<&str>) -> String {
    let seconds = |text: &str| {
        let time = httpdate::parse_http_date(text).ok()?;
        time.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs().cast_signed())
    };
    match (seconds(expires), date.and_then(seconds)) {
        (Some(expires), Some(date)) if expires > date => format!("in {} s", (expires - date + 5) / 10 * 10),
        (Some(_), Some(_)) => "past".into(),
        _ => expires.to_owned(),
    }
}

fn sorted(list: &str) -> String {
    let mut members: Vec<&str> = list.split(',').map(str::trim).collect();
    members.sort_unstable();
    members.join(", ")
}

/// Without the boundary that each server makes up.
fn media_type(value: &str) -> String {
    value.split("; boundary=").next().unwrap_or_default().to_ascii_lowercase()
}

/// A body in a line: short ones as they are.
fn digest(body: &[u8]) -> String {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    if body.len() <= 64 {
        return body.escape_ascii().to_string();
    }
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    format!("{} bytes, {:016x}", body.len(), hasher.finish())
}
