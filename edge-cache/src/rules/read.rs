//! One `[[rule]]` read and made ready.

use std::sync::Arc;
use std::time::Duration;

use common::discovery::Target;
use common::rules::{Field, Headers, RuleError, Table, Text, When};
use http::StatusCode;
use http::header::{
    AGE, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, EXPECT, HeaderName, HeaderValue,
    SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VARY, VIA,
};

use super::edits::{RequestEdits, Selection, SetCookie, Template};
use super::response::ResponseRule;
use super::{Decision, Rule};
use crate::config;

/// A rule before its place is known.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) place: Option<Place>,
    /// `None` if it is not enabled.
    pub(super) rule: Option<Rule>,
    /// As it was written.
    pub(super) text: String,
    /// Where it stands, for errors that are found later.
    pub(super) at: RuleError,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Before(String),
    After(String),
}

impl Place {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Before(name) | Self::After(name) => name,
        }
    }
}

impl Draft {
    pub(super) fn error(&self, message: impl Into<String>) -> RuleError {
        RuleError { message: message.into(), ..self.at.clone() }
    }
}

pub(super) fn read(table: &Table<'_>, origins: &mut Vec<Vec<Target>>) -> Result<Draft, RuleError> {
    let name = table.get("name").ok_or_else(|| table.error("a rule needs a name"))?;
    let text = name.text()?;
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if text.is_empty() || text.len() > MAX_NAME || !plain(text) {
        let accepted = format!("expected up to {MAX_NAME} letters, digits, dots, dashes and underscores");
        return Err(name.error(accepted));
    }
    let enabled = table.get("enabled").map_or(Ok(true), |field| field.flag())?;
    let before = table.get("before").map(|field| field.text()).transpose()?;
    let after = table.get("after").map(|field| field.text()).transpose()?;
    let place = match (before, after) {
        (Some(_), Some(_)) => return Err(table.error("before and after: keep one")),
        (Some(before), None) => Some(Place::Before(before.to_owned())),
        (None, Some(after)) => Some(Place::After(after.to_owned())),
        (None, None) => None,
    };
    let when = When::read(table)?;
    let edits = request_edits(table, origins)?;
    let response = response_rule(table)?;
    let decision = decision(table)?;
    table.finish()?;

    if let Some(response) = &response {
        let is_chosen = !response.status.is_empty() || table.get("response-header").is_some();
        let is_early = decision.is_some()
            || edits.params.is_some()
            || edits.cookies.is_some()
            || edits.origin.is_some()
            || !edits.set.is_empty()
            || !edits.remove.is_empty();
        if is_chosen && is_early {
            return Err(table.error(
                "status and response-header choose responses: what is done with requests belongs into another rule",
            ));
        }
    }
    let does_something = response.is_some()
        || decision.is_some()
        || edits.params.is_some()
        || edits.cookies.is_some()
        || edits.origin.is_some()
        || !edits.set.is_empty()
        || !edits.remove.is_empty();
    if enabled && !does_something {
        return Err(table.error(format!("it does nothing; a rule has at least one of: {ACTIONS}")));
    }
    let varies = response.as_ref().is_some_and(|response| response.set.iter().any(|(name, _)| name == VARY));
    let passes = matches!(decision, Some(Decision::Pass));
    if edits.origin.is_some() && when.looks_beyond_the_key() && !passes && !varies {
        return Err(table.error(
            "header, cookie and client are no part of the cache's key, so one origin's answers would be served for \
             the other's: add pass = true, or set-response-headers = { Vary = \"…\" } with the field that it \
             depends on",
        ));
    }
    let rule = Rule { name: Arc::from(text), when, edits, response, decision };
    Ok(Draft {
        name: text.to_owned(),
        place,
        rule: enabled.then_some(rule),
        text: table.render(),
        at: table.error(""),
    })
}

/// Long enough to say what a rule is for, short enough for a header field.
const MAX_NAME: usize = 64;

const ACTIONS: &str = "pass, lookup, deny, redirect, ttl, grace, keep, set-cookie, keep-cookies, strip-cookies, \
    keep-params, strip-params, set-request-headers, remove-request-headers, set-response-headers, \
    remove-response-headers, origin";

/// What frames a message or belongs to one connection: whoever changes it breaks or smuggles.
const FRAMING: [HeaderName; 7] =
    [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, TE, TRAILER, UPGRADE, EXPECT];
/// What says which bytes a response has, or what this cache has done.
const OURS: [HeaderName; 6] = [
    CONTENT_ENCODING,
    CONTENT_RANGE,
    AGE,
    VIA,
    HeaderName::from_static("cache-status"),
    HeaderName::from_static("x-cache"),
];

fn decision(table: &Table<'_>) -> Result<Option<Decision>, RuleError> {
    let status = table.get("redirect-status");
    let mut found = Vec::new();
    if let Some(field) = table.get("pass") {
        field.is_true()?;
        found.push(Decision::Pass);
    }
    if let Some(field) = table.get("lookup") {
        field.is_true()?;
        found.push(Decision::Lookup);
    }
    if let Some(field) = table.get("deny") {
        found.push(Decision::Deny(denial(&field)?));
    }
    if let Some(field) = table.get("redirect") {
        let template = Template::parse(field.text()?).map_err(|error| field.error(error))?;
        let status = status.as_ref().map_or(Ok(StatusCode::FOUND), redirection)?;
        found.push(Decision::Redirect(status, template));
    } else if let Some(status) = status {
        return Err(status.error("there is no redirect"));
    }
    if found.len() > 1 {
        return Err(table.error("pass, lookup, deny and redirect: keep one"));
    }
    Ok(found.pop())
}

fn denial(field: &Field<'_>) -> Result<StatusCode, RuleError> {
    if field.is_flag() {
        field.is_true()?;
        return Ok(StatusCode::FORBIDDEN);
    }
    let wrong = || field.error("expected true (403) or a status from 400 to 599");
    match field.words()?.as_slice() {
        [status] => match status.parse().map(StatusCode::from_u16) {
            Ok(Ok(status)) if status.is_client_error() || status.is_server_error() => Ok(status),
            _ => Err(wrong()),
        },
        _ => Err(wrong()),
    }
}

fn redirection(field: &Field<'_>) -> Result<StatusCode, RuleError> {
    match field.words()?.as_slice() {
        ["301"] => Ok(StatusCode::MOVED_PERMANENTLY),
        ["302"] => Ok(StatusCode::FOUND),
        ["303"] => Ok(StatusCode::SEE_OTHER),
        ["307"] => Ok(StatusCode::TEMPORARY_REDIRECT),
        ["308"] => Ok(StatusCode::PERMANENT_REDIRECT),
        _ => Err(field.error("expected 301, 302, 303, 307 or 308")),
    }
}

fn request_edits(table: &Table<'_>, origins: &mut Vec<Vec<Target>>) -> Result<RequestEdits, RuleError> {
    Ok(RequestEdits {
        params: selection(table, "keep-params", "strip-params", |field, text| {
            text.parse().map_err(|error| field.error(error))
        })?,
        cookies: selection(table, "keep-cookies", "strip-cookies", |field, text| {
            Text::plain(text).map_err(|error| field.error(error))
        })?,
        remove: removed(table, "remove-request-headers", &FRAMING)?,
        set: assigned(table, "set-request-headers", &FRAMING, |field| {
            Template::parse(field.text()?).map_err(|error| field.error(error))
        })?,
        origin: table.get("origin").map(|field| origin(&field, origins)).transpose()?,
    })
}

fn selection<T>(
    table: &Table<'_>,
    keep: &'static str,
    strip: &'static str,
    parse: impl Fn(&Field<'_>, &str) -> Result<T, RuleError>,
) -> Result<Option<Selection<T>>, RuleError> {
    let list = |field: &Field<'_>| -> Result<Vec<T>, RuleError> {
        field.texts()?.into_iter().map(|text| parse(field, text)).collect()
    };
    match (table.get(keep), table.get(strip)) {
        (Some(_), Some(field)) => Err(field.error(format!("{keep} says already what is left: keep one"))),
        (Some(field), None) => Ok(Some(Selection::Only(list(&field)?))),
        (None, Some(field)) => Ok(Some(Selection::AllBut(list(&field)?))),
        (None, None) => Ok(None),
    }
}

fn origin(field: &Field<'_>, origins: &mut Vec<Vec<Target>>) -> Result<usize, RuleError> {
    let target = |text: &str| config::origin(text).map_err(|error| field.error(error));
    let targets: Vec<Target> = field.texts()?.into_iter().map(target).collect::<Result<_, _>>()?;
    if let Some(known) = origins.iter().position(|known| *known == targets) {
        return Ok(known);
    }
    origins.push(targets);
    Ok(origins.len() - 1)
}

fn response_rule(table: &Table<'_>) -> Result<Option<ResponseRule>, RuleError> {
    let duration = |key| -> Result<Option<Duration>, RuleError> {
        table.get(key).map(|field| field.duration()).transpose()
    };
    let status = table.get("status").map(|field| statuses(&field)).transpose()?;
    let header = table.get("response-header").map(|field| Headers::read(&field)).transpose()?;
    let is_chosen = status.is_some() || header.is_some();
    let protected: Vec<HeaderName> = FRAMING.iter().chain(&OURS).cloned().collect();
    let overrides = table.get("override");
    let rule = ResponseRule {
        bit: 0,
        status: status.unwrap_or_default(),
        header: header.unwrap_or_default(),
        ttl: duration("ttl")?,
        overrides: overrides.as_ref().map_or(Ok(false), Field::flag)?,
        grace: duration("grace")?,
        keep: duration("keep")?,
        set_cookie: table.get("set-cookie").map(|field| set_cookie(&field)).transpose()?,
        remove: removed(table, "remove-response-headers", &protected)?,
        set: assigned(table, "set-response-headers", &protected, |field| {
            HeaderValue::from_str(field.text()?).map_err(|_| field.error("expected a legal field value"))
        })?,
    };
    if let Some(field) = overrides.filter(|_| rule.ttl.is_none()) {
        return Err(field.error("it belongs to a ttl, and there is none"));
    }
    let acts = rule.ttl.is_some()
        || rule.grace.is_some()
        || rule.keep.is_some()
        || rule.set_cookie.is_some()
        || !rule.remove.is_empty()
        || !rule.set.is_empty();
    if is_chosen && !acts {
        return Err(table.error(
            "status and response-header choose responses: the rule needs ttl, grace, keep, set-cookie, \
             set-response-headers or remove-response-headers",
        ));
    }
    Ok(acts.then_some(rule))
}

fn statuses(field: &Field<'_>) -> Result<Vec<(u16, u16)>, RuleError> {
    let status = |text: &str| {
        let class = text.strip_suffix("xx").and_then(|class| class.parse::<u16>().ok());
        match (class, text.parse::<u16>()) {
            (Some(class @ 2..=5), _) => Ok((class * 100, class * 100 + 99)),
            (None, Ok(status @ 200..=599)) => Ok((status, status)),
            _ => Err(field.error("expected statuses such as 404 or \"5xx\"")),
        }
    };
    field.words()?.into_iter().map(status).collect()
}

fn set_cookie(field: &Field<'_>) -> Result<SetCookie, RuleError> {
    match field.text()? {
        "strip" => Ok(SetCookie::Strip),
        "share" => Ok(SetCookie::Share),
        _ => Err(field.error("expected \"strip\" or \"share\"")),
    }
}

fn removed(
    table: &Table<'_>,
    key: &'static str,
    protected: &[HeaderName],
) -> Result<Vec<HeaderName>, RuleError> {
    let Some(field) = table.get(key) else { return Ok(Vec::new()) };
    field.texts()?.into_iter().map(|text| field_name(&field, text, protected)).collect()
}

fn assigned<T>(
    table: &Table<'_>,
    key: &'static str,
    protected: &[HeaderName],
    parse: impl Fn(&Field<'_>) -> Result<T, RuleError>,
) -> Result<Vec<(HeaderName, T)>, RuleError> {
    let mut found = Vec::new();
    let Some(field) = table.get(key) else { return Ok(found) };
    for table in field.tables()? {
        for entry in table.entries() {
            found.push((field_name(&entry, entry.name, protected)?, parse(&entry)?));
        }
    }
    Ok(found)
}

fn field_name(field: &Field<'_>, text: &str, protected: &[HeaderName]) -> Result<HeaderName, RuleError> {
    let name: HeaderName = text.parse().map_err(|_| field.error(format!("{text:?} is no field name")))?;
    if protected.contains(&name) {
        return Err(field.error(format!("{text} frames the message or is the cache's own")));
    }
    if name == SET_COOKIE {
        return Err(field.error("a response with Set-Cookie is not shared at all: see the key set-cookie"));
    }
    Ok(name)
}
