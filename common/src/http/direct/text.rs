use std::cell::RefCell;
use std::time::SystemTime;

use http::StatusCode;
use http::header::{CONTENT_LENGTH, DATE, HeaderMap, TRANSFER_ENCODING};

/// A response's head as it is sent (RFC 9112, sections 4 and 5).
#[derive(Debug, Default)]
pub struct HeadText {
    bytes: Vec<u8>,
    has_date: bool,
    closes: bool,
}

thread_local! {
    /// The second that was written last, and how.
    static NOW: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
}

impl HeadText {
    pub(super) const fn new() -> Self {
        Self { bytes: Vec::new(), has_date: false, closes: false }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        (self.has_date, self.closes) = (false, false);
    }

    /// Comes first.
    pub fn status(&mut self, status: StatusCode) {
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
    pub fn field(&mut self, name: &str, value: &[u8]) {
        match name {
            "date" => self.has_date = true,
            "connection" => self.closes |= value.eq_ignore_ascii_case(b"close"),
            _ => {}
        }
        self.bytes.reserve(name.len() + value.len() + 4);
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(b"\r\n");
    }

    pub fn number(&mut self, name: &str, number: u64) {
        self.field(name, itoa::Buffer::new().format(number).as_bytes());
    }

    /// All of `headers`, with this length of the body where there is one: what it is sent with is not up to the fields.
    pub(super) fn fields(&mut self, headers: &HeaderMap, length: Option<u64>) {
        for (name, value) in headers {
            if *name != TRANSFER_ENCODING && (*name != CONTENT_LENGTH || length.is_none()) {
                self.field(name.as_str(), value.as_bytes());
            }
        }
        if let Some(length) = length {
            self.number(CONTENT_LENGTH.as_str(), length);
        }
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
                self.field(DATE.as_str(), text.as_bytes());
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
