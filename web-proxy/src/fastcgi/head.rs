//! The head of a CGI response (RFC 3875, section 6).

use common::http::hop_by_hop;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, DATE, HeaderMap, HeaderName, HeaderValue, LOCATION};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// What the application promised.
    pub(super) content_length: Option<u64>,
    /// The response is what a request for this would get (RFC 3875, section 6.2.2).
    pub(super) local_redirect: Option<String>,
}

/// What is wrong with a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    #[error("a line that is no header field")]
    Field,
    #[error("a Status that is none")]
    Status,
    #[error("a Content-Length that is no number, or two that differ")]
    Length,
    #[error("no end of its head")]
    Unfinished,
    #[error("a head of more than {MAX_HEAD} bytes")]
    TooLarge,
}

/// Drupal's cache tags alone pass 16 KiB.
pub(super) const MAX_HEAD: usize = 256 << 10;

/// Where the body begins: behind the first empty line. The bytes before `from` are known to hold none.
pub(super) fn end(bytes: &[u8], from: usize) -> Option<usize> {
    // The line's end may have come in the piece before.
    let from = from.saturating_sub(3);
    let mut line_starts_at = 0;
    for newline in memchr::memchr_iter(b'\n', bytes.get(from..)?) {
        let newline = from + newline;
        if line_starts_at == 0 && from > 0 {
            // The first line seen here began earlier.
            line_starts_at = memchr::memrchr(b'\n', &bytes[..newline]).map_or(0, |before| before + 1);
        }
        if matches!(&bytes[line_starts_at..newline], b"" | b"\r") {
            return Some(newline + 1);
        }
        line_starts_at = newline + 1;
    }
    None
}

/// `bytes` up to and with the empty line.
pub(super) fn parse(bytes: &[u8]) -> Result<Head, HeadError> {
    let mut headers = HeaderMap::new();
    let mut status = None;
    for line in bytes.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        let colon = memchr::memchr(b':', line).ok_or(HeadError::Field)?;
        let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| HeadError::Field)?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).map_err(|_| HeadError::Field)?;
        if name == "status" {
            status = Some(parse_status(value.as_bytes())?);
        } else {
            // More fields than a map can hold.
            headers.try_append(name, value).map_err(|_| HeadError::TooLarge)?;
        }
    }
    // "The server … MUST NOT" let fields of this connection through (section 6.3.5 leaves them to the server).
    hop_by_hop::strip(&mut headers);
    // The message is ours, and made now (RFC 9110, section 6.6.1; as Apache with mod_php). Drupal's page cache
    // repeats the date on which it stored a page: a cache in front of us would take that for the page's age,
    // and a page older than its max-age would never be a hit again.
    headers.remove(DATE);
    let content_length = take_length(&mut headers)?;
    let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
    let local_redirect = location
        .filter(|location| status.is_none() && location.starts_with('/') && !location.starts_with("//"))
        .map(str::to_owned);
    // A client redirect; PHP says it in Status (section 6.2.3).
    let unsaid = if headers.contains_key(LOCATION) { StatusCode::FOUND } else { StatusCode::OK };
    Ok(Head { status: status.unwrap_or(unsaid), headers, content_length, local_redirect })
}

/// `404 Not Found`; the words do not matter.
fn parse_status(value: &[u8]) -> Result<StatusCode, HeadError> {
    let code = value.split(|byte| *byte == b' ').next().unwrap_or_default();
    match StatusCode::from_bytes(code) {
        // 1xx would be no answer, and 101 another protocol.
        Ok(status) if (200..600).contains(&status.as_u16()) => Ok(status),
        _ => Err(HeadError::Status),
    }
}

/// Leaves one field, in its plainest form.
fn take_length(headers: &mut HeaderMap) -> Result<Option<u64>, HeadError> {
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let digits = value.as_bytes();
        let number = std::str::from_utf8(digits).ok().and_then(|text| text.parse::<u64>().ok());
        let number = number.filter(|_| digits.iter().all(u8::is_ascii_digit)).ok_or(HeadError::Length)?;
        if length.is_some_and(|known| known != number) {
            return Err(HeadError::Length);
        }
        length = Some(number);
    }
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    Ok(length)
}

#[cfg(test)]
mod tests;
