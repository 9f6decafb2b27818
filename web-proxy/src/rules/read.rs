//! What one `[[rule]]` says, made ready.

use common::rules::values::{self, FRAMING};
use common::rules::{Field, RuleError, Table, Template, Text, When};
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_RANGE, HeaderName, HeaderValue};

use super::edits::{Edits, PLACES};
use super::{Decision, Found, Rule};

pub(super) const ACTIONS: &str = "serve, deny, redirect, expires, type, encoding, add-query, lazy, front-controller, \
    set-params, remove-params, set-response-headers, remove-response-headers";

/// `None` for a rule that would do nothing.
pub(super) fn read(table: &Table<'_>, name: &str) -> Result<Option<Rule>, RuleError> {
    let when = When::read(table)?;
    let rule = Rule {
        name: name.into(),
        is_of_the_path: when.looks_at_the_path_alone(),
        when,
        file: values::removed(table, "file", |field, text| {
            Text::plain(text).map_err(|error| field.error(error))
        })?,
        found: values::removed(table, "found", found)?,
        edits: edits(table)?,
        decision: decision(table)?,
    };
    let does_something = rule.decision.is_some() || !rule.edits.is_empty();
    Ok(does_something.then_some(rule))
}

fn found(field: &Field<'_>, text: &str) -> Result<Found, RuleError> {
    match text {
        "file" => Ok(Found::File),
        "directory" => Ok(Found::Directory),
        "nothing" => Ok(Found::Nothing),
        _ => Err(field.error("expected \"file\", \"directory\" or \"nothing\"")),
    }
}

fn decision(table: &Table<'_>) -> Result<Option<Decision>, RuleError> {
    let status = table.get("redirect-status");
    let mut found = Vec::new();
    if let Some(field) = table.get("serve") {
        field.is_true()?;
        found.push(Decision::Serve);
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
        return Err(table.error("serve, deny and redirect: keep one"));
    }
    Ok(found.pop())
}

fn edits(table: &Table<'_>) -> Result<Edits, RuleError> {
    Ok(Edits {
        expires: table.get("expires").map(|field| field.duration()).transpose()?,
        media_type: table.get("type").map(|field| media_type(&field)).transpose()?,
        coding: table.get("encoding").map(|field| coding(&field)).transpose()?,
        query: table.get("add-query").map(|field| query(&field)).transpose()?,
        lazy: table.get("lazy").map(|field| field.flag()).transpose()?,
        front_controller: table
            .get("front-controller")
            .map(|field| field.text()?.parse().map_err(|error: String| field.error(error)))
            .transpose()?,
        remove_params: values::removed(table, "remove-params", parameter)?,
        set_params: values::assigned(table, "set-params", parameter, template)?,
        remove_headers: values::removed(table, "remove-response-headers", field_name)?,
        set_headers: values::assigned(table, "set-response-headers", field_name, values::field_value)?,
    })
}

fn template(field: &Field<'_>) -> Result<Template, RuleError> {
    Template::parse(field.text()?, &PLACES).map_err(|error| field.error(error))
}

fn media_type(field: &Field<'_>) -> Result<HeaderValue, RuleError> {
    let value = values::field_value(field)?;
    let text = field.text()?;
    let essence = text.split(';').next().unwrap_or_default();
    if essence.matches('/').count() == 1 && !essence.starts_with('/') && !essence.trim_end().ends_with('/') {
        Ok(value)
    } else {
        Err(field.error("expected a media type such as \"text/css\""))
    }
}

fn coding(field: &Field<'_>) -> Result<HeaderValue, RuleError> {
    match field.text()? {
        "gzip" | "br" | "zstd" | "deflate" | "compress" => values::field_value(field),
        _ => Err(field.error("expected \"gzip\", \"br\", \"zstd\", \"deflate\" or \"compress\"")),
    }
}

fn query(field: &Field<'_>) -> Result<Box<str>, RuleError> {
    let text = field.text()?;
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\"<>".contains(&byte));
    if plain && !text.is_empty() {
        Ok(text.into())
    } else {
        Err(field.error("expected parameters as they stand in a URL, such as \"a=b&c=d\""))
    }
}

/// What says which script runs, and where messages begin and end.
const NOT_PARAMETERS: [&str; 8] = [
    "SCRIPT_FILENAME",
    "SCRIPT_NAME",
    "DOCUMENT_ROOT",
    "PATH_INFO",
    "PATH_TRANSLATED",
    "REQUEST_METHOD",
    "CONTENT_LENGTH",
    "HTTP_TRANSFER_ENCODING",
];

fn parameter(field: &Field<'_>, text: &str) -> Result<Box<str>, RuleError> {
    if NOT_PARAMETERS.contains(&text) {
        return Err(field.error(format!("{text} says what is run and is not edited")));
    }
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain && !text.is_empty() && !text.starts_with(|first: char| first.is_ascii_digit()) {
        Ok(text.into())
    } else {
        Err(field.error(format!("{text:?} is no name of a parameter, such as APP_ENV")))
    }
}

fn field_name(field: &Field<'_>, text: &str) -> Result<HeaderName, RuleError> {
    let name = values::field_name(field, text)?;
    if FRAMING.contains(&name) || [CONTENT_RANGE, CONTENT_ENCODING].contains(&name) {
        return Err(field.error(format!("{text} frames the message or says which bytes it has")));
    }
    Ok(name)
}
