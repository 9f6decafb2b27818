//! Values of keys that mean the same in every service.

use http::StatusCode;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

use super::{Field, RuleError, Table};

/// What frames a message or belongs to one connection: whoever changes it breaks or smuggles.
pub const FRAMING: [HeaderName; 7] =
    [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, TE, TRAILER, UPGRADE, EXPECT];

/// `deny = true`, or a status.
pub fn denial(field: &Field<'_>) -> Result<StatusCode, RuleError> {
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

/// `redirect-status`
pub fn redirection(field: &Field<'_>) -> Result<StatusCode, RuleError> {
    match field.words()?.as_slice() {
        ["301"] => Ok(StatusCode::MOVED_PERMANENTLY),
        ["302"] => Ok(StatusCode::FOUND),
        ["303"] => Ok(StatusCode::SEE_OTHER),
        ["307"] => Ok(StatusCode::TEMPORARY_REDIRECT),
        ["308"] => Ok(StatusCode::PERMANENT_REDIRECT),
        _ => Err(field.error("expected 301, 302, 303, 307 or 308")),
    }
}

/// A list of field names, each of which `check` may refuse.
pub fn removed<T>(
    table: &Table<'_>,
    key: &'static str,
    name: impl Fn(&Field<'_>, &str) -> Result<T, RuleError>,
) -> Result<Vec<T>, RuleError> {
    let Some(field) = table.get(key) else { return Ok(Vec::new()) };
    field.texts()?.into_iter().map(|text| name(&field, text)).collect()
}

/// A table of names and their values.
pub fn assigned<N, T>(
    table: &Table<'_>,
    key: &'static str,
    name: impl Fn(&Field<'_>, &str) -> Result<N, RuleError>,
    value: impl Fn(&Field<'_>) -> Result<T, RuleError>,
) -> Result<Vec<(N, T)>, RuleError> {
    let mut found = Vec::new();
    let Some(field) = table.get(key) else { return Ok(found) };
    for table in field.tables()? {
        for entry in table.entries() {
            found.push((name(&entry, entry.name)?, value(&entry)?));
        }
    }
    Ok(found)
}

/// A header field's name.
pub fn field_name(field: &Field<'_>, text: &str) -> Result<HeaderName, RuleError> {
    text.parse().map_err(|_| field.error(format!("{text:?} is no field name")))
}

/// A header field's value, as it is sent.
pub fn field_value(field: &Field<'_>) -> Result<HeaderValue, RuleError> {
    HeaderValue::from_str(field.text()?).map_err(|_| field.error("expected a legal field value"))
}
