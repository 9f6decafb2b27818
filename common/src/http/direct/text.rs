use std::cell::RefCell;
use std::io;
use std::time::SystemTime;

use http::StatusCode;
use http::header::{CONTENT_LENGTH, DATE, HeaderMap, TRANSFER_ENCODING};

/// A response's head as it is sent (RFC 9112, sections 4 and 5).
#[derive(Debug, Default)]
pub struct HeadText {
    bytes: Vec<u8>,
    status: StatusCode,
    has_date: bool,
    length: Option<u64>,
    closes: bool,
}

thread_local! {
    /// The second that was written last, and how.
    static NOW: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
}

impl HeadText {
    pub(super) const fn new() -> Self {
        Self { bytes: Vec::new(), status: StatusCode::OK, has_date: false, length: None, closes: false }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.status = StatusCode::OK;
        (self.has_date, self.length, self.closes) = (false, None, false);
    }

    /// A whole head, to be [copied](Self::copy) for one response after the other, but for the body's length and the date.
    pub fn of(status: StatusCode, headers: &HeaderMap) -> Self {
        let mut text = Self::new();
        text.response(status, headers, false);
        text
    }

    /// Becomes like `other`.
    pub fn copy(&mut self, other: &Self) {
        self.bytes.clear();
        self.bytes.extend_from_slice(&other.bytes);
        self.status = other.status;
        (self.has_date, self.length, self.closes) = (other.has_date, other.length, other.closes);
    }

    /// Comes first.
    pub fn status(&mut self, status: StatusCode) {
        self.status = status;
        if status == StatusCode::OK {
            self.bytes.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
            return;
        }
        self.bytes.extend_from_slice(b"HTTP/1.1 ");
        self.bytes.extend_from_slice(status.as_str().as_bytes());
        self.bytes.push(b' ');
        self.bytes.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// `name` and `value` are those of a `HeaderName` and a `HeaderValue`: nothing is checked here.
    pub fn field(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let (name, value) = (name.as_ref(), value.as_ref());
        match name {
            b"date" => self.has_date = true,
            // One that is no number is none's length.
            b"content-length" => {
                let number = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
                self.length = Some(number.unwrap_or(u64::MAX));
            }
            b"connection" => self.closes |= value.eq_ignore_ascii_case(b"close"),
            _ => {}
        }
        self.bytes.reserve(name.len() + value.len() + 4);
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(b"\r\n");
    }

    pub fn number(&mut self, name: impl AsRef<[u8]>, number: u64) {
        self.field(name, itoa::Buffer::new().format(number));
    }

    /// A whole head but for what [`length`](Self::length) and [`finish`](Self::finish) add. What a body is sent with is not up to
    /// `headers`, except for the length of one that is not sent (`is_head`).
    pub(super) fn response(&mut self, status: StatusCode, headers: &HeaderMap, is_head: bool) {
        self.status(status);
        for (name, value) in headers {
            let of_the_body = *name == TRANSFER_ENCODING
                || *name == CONTENT_LENGTH && !(is_head || self.status == StatusCode::NOT_MODIFIED);
            if !of_the_body {
                self.field(name, value);
            }
        }
    }

    pub(super) const fn says_length(&self) -> bool {
        self.length.is_some()
    }

    /// Adds the length of the body, if there is none yet. An error where another one was said: what follows would be taken for a
    /// part of it, or it for what follows.
    pub(super) fn length(&mut self, length: u64) -> io::Result<()> {
        match self.length {
            None => self.number(CONTENT_LENGTH, length),
            Some(said) if said == length => {}
            Some(said) => {
                return Err(io::Error::other(format!("a body of {length} bytes was announced with {said}")));
            }
        }
        Ok(())
    }

    /// The status says that there is no body (RFC 9110, section 6.4.1).
    pub(super) fn is_bodiless(&self) -> bool {
        matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }

    /// Adds the Date, if there is none, and the empty line (RFC 9110, section 6.6.1).
    pub(super) fn finish(&mut self) {
        if !self.has_date {
            NOW.with_borrow_mut(|(second, text)| {
                let now = SystemTime::now();
                let this = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
                if *second != this {
                    (*second, *text) = (this, httpdate::fmt_http_date(now));
                }
                self.field(DATE, text);
            });
        }
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// The connection ends with this response.
    pub(super) const fn closes(&self) -> bool {
        self.closes
    }

    pub(super) const fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}
