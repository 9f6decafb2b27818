//! What one `[[rule]]` says, made ready.

use std::sync::Arc;
use std::time::Duration;

use common::discovery::Target;
use common::rules::values::{self, FRAMING};
use common::rules::{Field, Headers, RuleError, Table, Template, Text, When};
use http::StatusCode;
use http::header::{AGE, CONTENT_ENCODING, CONTENT_RANGE, HeaderName, SET_COOKIE, VARY, VIA};

use super::edits::{PLACES, RequestEdits, Selection, SetCookie};
use super::response::ResponseRule;
use super::{Decision, Rule};
use crate::config;

/// `None` for a rule that would do nothing.
pub(super) fn read(
    table: &Table<'_>,
    name: &str,
    origins: &mut Vec<Vec<Target>>,
) -> Result<Option<Rule>, RuleError> {
    let when = When::read(table)?;
    let edits = request_edits(table, origins)?;
    let response = response_rule(table)?;
    let decision = decision(table)?;

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
    let varies = response.as_ref().is_some_and(|response| response.set.iter().any(|(name, _)| name == VARY));
    let passes = matches!(decision, Some(Decision::Pass));
    if edits.origin.is_some() && when.looks_beyond_the_key() && !passes && !varies {
        return Err(table.error(
            "header, cookie and client are no part of the cache's key, so one origin's answers would be served for \
             the other's: add pass = true, or set-response-headers = { Vary = \"…\" } with the field that it \
             depends on",
        ));
    }
    let rule = Rule { name: Arc::from(name), when, edits, response, decision };
    Ok(does_something.then_some(rule))
}

pub(super) const ACTIONS: &str = "pass, lookup, deny, redirect, ttl, grace, keep, set-cookie, keep-cookies, strip-cookies, \
    keep-params, strip-params, set-request-headers, remove-request-headers, set-response-headers, \
    remove-response-headers, origin";

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
        found.push(Decision::Deny(values::denial(&field)?));
    }
    if let Some(field) = table.get("redirect") {
        let status = status.as_ref().map_or(Ok(StatusCode::FOUND), values::redirection)?;
        found.push(Decision::Redirect(status, template(&field)?));
    } else if let Some(status) = status {
        return Err(status.error("there is no redirect"));
    }
    if found.len() > 1 {
        return Err(table.error("pass, lookup, deny and redirect: keep one"));
    }
    Ok(found.pop())
}

fn request_edits(table: &Table<'_>, origins: &mut Vec<Vec<Target>>) -> Result<RequestEdits, RuleError> {
    Ok(RequestEdits {
        params: selection(table, "keep-params", "strip-params", |field, text| {
            text.parse().map_err(|error| field.error(error))
        })?,
        cookies: selection(table, "keep-cookies", "strip-cookies", |field, text| {
            Text::plain(text).map_err(|error| field.error(error))
        })?,
        remove: values::removed(table, "remove-request-headers", field_name(&FRAMING))?,
        set: values::assigned(table, "set-request-headers", field_name(&FRAMING), template)?,
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
        remove: values::removed(table, "remove-response-headers", field_name(&protected))?,
        set: values::assigned(table, "set-response-headers", field_name(&protected), values::field_value)?,
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

fn template(field: &Field<'_>) -> Result<Template, RuleError> {
    Template::parse(field.text()?, &PLACES).map_err(|error| field.error(error))
}

/// Names of fields that a rule may edit.
fn field_name(protected: &[HeaderName]) -> impl Fn(&Field<'_>, &str) -> Result<HeaderName, RuleError> {
    move |field, text| {
        let name = values::field_name(field, text)?;
        if protected.contains(&name) {
            return Err(field.error(format!("{text} frames the message or is the cache's own")));
        }
        if name == SET_COOKIE {
            return Err(
                field.error("a response with Set-Cookie is not shared at all: see the key set-cookie")
            );
        }
        Ok(name)
    }
}
