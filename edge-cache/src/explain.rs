//! `GET /explain?url=…` on the admin listener: what would happen now to a request, and why.
//!
//! | parameter | |
//! |---|---|
//! | `url` | the absolute URL, as a browser would ask for it |
//! | `method` | `GET` unless it is given |
//! | `header` | `Name: value`, as often as there are fields |
//!
//! The answer is made by the functions that a request goes through ([`normalise`], [`admit`], [`plan`]), and asks
//! nobody. It is JSON, or sentences for who prefers text.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::http::forwarded::Scheme;
use common::listener::Peer;
use http::header::{COOKIE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri, Version, request};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::cache::Cache;
use crate::invalidate::command;
use crate::lookup::{Plan, plan};
use crate::policy::cache_control::CacheControl;
use crate::policy::freshness::Source;
use crate::policy::storable::NotStored;
use crate::request::{Admission, Normalised, admit, normalise};
use crate::respond::{Forward, Verdict};
use crate::store::{Lookup, Stored};

/// A request as it would have come.
#[derive(Debug)]
struct Asked {
    head: request::Parts,
    scheme: Scheme,
}

/// What would be done with it.
#[derive(Debug)]
pub struct Explanation {
    pub words: Vec<String>,
    pub json: Value,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    #[error("which URL? ask for /explain?url=https://host/path")]
    NoUrl,
    #[error("url={0:?} is not an absolute http or https URL")]
    Url(String),
    #[error("method={0:?} is no method")]
    Method(String),
    #[error("header={0:?} is not of the form Name: value")]
    Header(String),
    #[error("there is no parameter {0:?}: url, method and header are known")]
    Parameter(String),
}

/// Explains what `query` describes.
pub fn explain(cache: &Arc<Cache>, query: &str, now: SystemTime) -> Result<Explanation, ExplainError> {
    let Asked { head, scheme } = parse(query)?;
    let mut words = Vec::new();
    let mut json = json!({ "method": head.method.as_str(), "url": head.uri.to_string() });
    let sent = cookies(&head.headers);
    // A stranger: what a trusted proxy adds would be taken for the client's.
    let nobody = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    let peer = Peer::Tcp { client: nobody, local: nobody };
    let mut request = match normalise(head, &peer, scheme, cache.live.load_full()) {
        Ok(request) => request,
        Err(refusal) => {
            words.push(format!("The request is refused: {}.", refusal.as_str()));
            conclude(&mut json, "ERROR", "refused");
            return Ok(Explanation { words, json });
        }
    };
    request.forward();
    if command::is_command(&request.head.method) {
        words.push("It is an invalidation, and never looked up or sent to the origin.".into());
        conclude(&mut json, Verdict::Purge.as_str(), Verdict::Purge.reason());
        return Ok(Explanation { words, json });
    }
    let mut fitting = Vec::new();
    {
        let mut seen = request.clone();
        let Normalised { head, key, client, live, .. } = &mut seen;
        live.config.rules.apply_seen(head, key, client.ip, |rule| fitting.push(rule.name.to_string()));
    }
    let admission = admit(&mut request, false);
    let kept = cookies(&request.head.headers);
    words.push(format!("The key is {}.", request.key));
    if !fitting.is_empty() {
        words.push(format!("Rules that fit: {}.", fitting.join(", ")));
    }
    if sent != kept {
        let kept = if kept.is_empty() { "none".to_owned() } else { kept.join(", ") };
        words.push(format!("Of the cookies {} the rules keep {kept}.", sent.join(", ")));
    }
    json["key"] = request.key.as_str().into();
    json["rules"] = fitting.into();
    json["decided_by"] = request.decided_by().map_or(Value::Null, |rule| (&*rule).into());
    json["cookies"] = json!({ "sent": sent, "kept": kept });
    let (decision, reason) = match admission {
        Admission::Lookup => looked_up(cache, &request, now, &mut words, &mut json),
        Admission::Pass(reason) => {
            let rule = request.decided_by().map(|rule| format!(" {rule}")).unwrap_or_default();
            words.push(format!("It is passed to the origin whatever is stored: {}{rule}.", reason.as_str()));
            (Verdict::Pass(reason).as_str(), reason.as_str())
        }
        Admission::Deny(status) => {
            words.push(format!("A rule answers with {status}."));
            (Verdict::Deny.as_str(), Verdict::Deny.reason())
        }
        Admission::Redirect(status, location) => {
            words.push(format!(
                "A rule answers with {status} to {}.",
                String::from_utf8_lossy(location.as_bytes())
            ));
            (Verdict::Redirect.as_str(), Verdict::Redirect.reason())
        }
    };
    conclude(&mut json, decision, reason);
    Ok(Explanation { words, json })
}

fn conclude(json: &mut Value, decision: &str, reason: &str) {
    json["decision"] = decision.into();
    json["reason"] = reason.into();
}

fn looked_up(
    cache: &Cache,
    request: &Normalised,
    now: SystemTime,
    words: &mut Vec<String>,
    json: &mut Value,
) -> (&'static str, &'static str) {
    let wishes = CacheControl::of(&request.head.headers);
    let found = cache.store.lookup(&request.key, &request.head.headers);
    let chosen = match &found {
        Lookup::Found(stored) => Some(stored),
        _ => None,
    };
    let variants: Vec<Value> = cache
        .store
        .variants(&request.key)
        .iter()
        .filter(|stored| !stored.is_gone())
        .map(|stored| variant(request, stored, chosen.is_some_and(|chosen| Arc::ptr_eq(chosen, stored)), now))
        .collect();
    let selection = found.selection(&request.head.headers);
    let considered: serde_json::Map<String, Value> = selection
        .as_ref()
        .iter()
        .map(|(name, value)| {
            (name.to_owned(), value.map_or(Value::Null, |value| String::from_utf8_lossy(value).into()))
        })
        .collect();
    let uncacheable = cache.store.uncacheable_since(&request.key, &selection);
    words.push(match variants.len() {
        0 => "Nothing is stored under this key.".to_owned(),
        1 => "One response is stored under this key.".to_owned(),
        many => format!("{many} variants are stored under this key."),
    });
    if !considered.is_empty() {
        let fields: Vec<&str> = considered.keys().map(String::as_str).collect();
        words.push(format!("The response varies on {}.", fields.join(", ")));
    }
    let verdict = match plan(&found, request, &wishes, now) {
        Plan::Serve(stored, verdict) => {
            let freshness = stored.freshness();
            let (age, lifetime) = (freshness.age(now), freshness.lifetime);
            let source = source(freshness.source);
            words.push(format!(
                "It is {} old and fresh for {} ({source}): it is served from the store{}.",
                text(age),
                text(lifetime),
                if verdict == Verdict::Hit { "" } else { ", stale, and refreshed behind" }
            ));
            verdict
        }
        Plan::Part(_) => {
            words.push("The part that is asked for is stored.".into());
            Verdict::Hit
        }
        Plan::Fetch(forward, stored) => {
            words.push(fetched(forward, stored.as_deref(), now));
            if let Some(why) = uncacheable {
                words.push(format!(
                    "The last response could not be stored: {}. Nobody waits for another's.",
                    why.as_str()
                ));
            }
            if cache.flights.has(&request.key, &selection) {
                words.push("A fetch is under way that it would take part in.".into());
            }
            Verdict::Miss(forward)
        }
    };
    json["varies_on"] = considered.into();
    json["variants"] = variants.into();
    json["uncacheable"] = uncacheable.map_or(Value::Null, |why: NotStored| why.as_str().into());
    json["fetch_under_way"] = cache.flights.has(&request.key, &selection).into();
    (verdict.as_str(), verdict.reason())
}

fn fetched(forward: Forward, stored: Option<&Stored>, now: SystemTime) -> String {
    match (forward, stored) {
        (Forward::Stale, Some(stored)) => {
            let freshness = stored.freshness();
            let stale = text(freshness.staleness(now));
            format!("It has been stale for {stale}, or may be used only when the origin has confirmed it: the origin is asked.")
        }
        (Forward::Request, _) => "The request's own Cache-Control wants the origin to be asked.".into(),
        (Forward::VaryMiss, _) => {
            "None of them was selected by a request like this, or comes in a coding that it accepts: the origin is asked."
                .into()
        }
        (Forward::Partial, _) => "Only other parts of it are stored: the origin is asked.".into(),
        _ => "The origin is asked.".into(),
    }
}

fn variant(request: &Normalised, stored: &Stored, is_chosen: bool, now: SystemTime) -> Value {
    let freshness = stored.freshness();
    let limits = stored.terms(request.live.config.stale).limits;
    let selects: serde_json::Map<String, Value> = stored
        .selector()
        .iter()
        .map(|(name, value)| {
            (name.to_owned(), value.map_or(Value::Null, |value| String::from_utf8_lossy(value).into()))
        })
        .collect();
    json!({
        "chosen": is_chosen,
        "status": stored.status.as_u16(),
        "selected_by": selects,
        "age": freshness.age(now).as_secs(),
        "lifetime": freshness.lifetime.as_secs(),
        "lifetime_from": source(freshness.source),
        "ttl": freshness.ttl(now),
        "grace": limits.grace.as_secs(),
        "keep": limits.keep.as_secs(),
        "coding": stored.coding.as_str(),
        "bytes": stored.length(),
        "weight": stored.weight(),
        "tags": stored.tags.names().collect::<Vec<_>>(),
    })
}

const fn source(source: Source) -> &'static str {
    match source {
        Source::SMaxage => "s-maxage",
        Source::MaxAge => "max-age",
        Source::Expires => "Expires",
        Source::Heuristic => "a tenth of the time since Last-Modified",
        Source::Rule => "a rule",
        Source::None => "nothing said",
    }
}

fn text(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

fn cookies(headers: &HeaderMap) -> Vec<String> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    pairs
        .map(|pair| pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii())
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect()
}

fn parse(query: &str) -> Result<Asked, ExplainError> {
    let (mut url, mut method) = (None, Method::GET);
    let mut headers = HeaderMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned();
        match name {
            "url" => url = Some(value),
            "method" => {
                method = Method::from_bytes(value.as_bytes()).map_err(|_| ExplainError::Method(value))?;
            }
            "header" => {
                let field = value.split_once(':').and_then(|(name, text)| {
                    let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
                    Some((name, HeaderValue::from_str(text.trim()).ok()?))
                });
                let (name, text) = field.ok_or(ExplainError::Header(value))?;
                headers.append(name, text);
            }
            other => return Err(ExplainError::Parameter(other.to_owned())),
        }
    }
    let url = url.ok_or(ExplainError::NoUrl)?;
    let bad = || ExplainError::Url(url.clone());
    let uri: Uri = url.parse().map_err(|_| bad())?;
    let scheme = match uri.scheme_str() {
        Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        _ => return Err(bad()),
    };
    let host = uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok()).ok_or_else(bad)?;
    headers.insert(HOST, host);
    let mut head = http::Request::new(()).into_parts().0;
    (head.method, head.uri, head.headers, head.version) = (method, uri, headers, Version::HTTP_11);
    Ok(Asked { head, scheme })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn what_is_asked() {
        let asked =
            parse("url=https%3A%2F%2Fa.example%2Fx%3Fy%3D1&header=Accept-Language:+de&method=HEAD").unwrap();
        assert_eq!(
            (asked.head.uri.to_string().as_str(), asked.scheme),
            ("https://a.example/x?y=1", Scheme::Https)
        );
        assert_eq!(asked.head.headers["accept-language"], "de");
        assert_eq!(asked.head.method, Method::HEAD);
        for (query, error) in [
            ("", ExplainError::NoUrl),
            ("url=/x", ExplainError::Url("/x".into())),
            ("url=ftp://a/x", ExplainError::Url("ftp://a/x".into())),
            ("url=http://a/&header=nonsense", ExplainError::Header("nonsense".into())),
            ("url=http://a/&method=a%20b", ExplainError::Method("a b".into())),
            ("uri=http://a/", ExplainError::Parameter("uri".into())),
        ] {
            assert_eq!(parse(query).unwrap_err(), error, "{query}");
        }
    }
}
