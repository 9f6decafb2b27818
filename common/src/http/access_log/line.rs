//! An entry as a line. No byte of a client's can end it, nor forge a field between quotes, nor break JSON.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Uri, Version};

use super::format::{Kind, Token, Unit};
use super::{Entry, Field, Format};
use crate::net::push_ip;

/// A field's value, in the form that it has in JSON.
enum Value<'a> {
    Missing,
    Number(u64),
    Signed(i64),
    Flag(bool),
    /// What comes from here: nothing in it needs escaping.
    Plain(&'a str),
    Client(IpAddr),
    Time(SystemTime),
    Bytes(&'a [u8]),
    Text(&'a str),
    Target(&'a Uri),
}

/// Writing to a String cannot fail.
macro_rules! put {
    ($out:expr, $($format:tt)*) => {{ let _ = write!($out, $($format)*); }};
}

impl Format {
    /// Appends the line, without its end.
    pub(super) fn write(&self, entry: &Entry, json: &[Field], line: &mut String) {
        match &self.kind {
            Kind::Json => as_json(entry, json, line),
            Kind::Tokens(tokens) => tokens.iter().for_each(|token| token.write(entry, line)),
        }
    }
}

impl Token {
    fn write(&self, entry: &Entry, line: &mut String) {
        match self {
            Self::Literal(text) => line.push_str(text),
            Self::Field(field) => field.of(entry).as_text(line),
            Self::CommonTime => common_time(entry.began.time, line),
            Self::Since(unit) => {
                Value::Number(unit.of(since_1970(entry.began.time))).as_text(line);
            }
            Self::RequestLine => {
                line.push_str(entry.method.as_str());
                line.push(' ');
                of_target(&entry.target).as_text(line);
                line.push(' ');
                line.push_str(protocol(entry.version));
            }
            Self::Query => {
                if let Some(query) = entry.target.query() {
                    line.push('?');
                    escape(query.as_bytes(), line);
                }
            }
            Self::BytesOrDash if entry.bytes == 0 => line.push('-'),
            Self::BytesOrDash => Field::Bytes.of(entry).as_text(line),
            Self::Taken(unit) => Value::Number(unit.of(entry.total)).as_text(line),
            Self::RequestField(at) => header(entry.request_fields.get(*at), line),
            Self::ResponseField(at) => header(entry.response_fields.get(*at), line),
            Self::Note if entry.decision.is_empty() => {}
            Self::Note => {
                line.push(' ');
                line.push_str(entry.decision);
            }
        }
    }
}

impl Field {
    fn of(self, entry: &Entry) -> Value<'_> {
        match self {
            Self::Time => Value::Time(entry.began.time),
            Self::Client => Value::Client(entry.client),
            // A token, with no character that needs escaping.
            Self::Method => Value::Plain(entry.method.as_str()),
            Self::Scheme => Value::Plain(entry.scheme),
            Self::Host => of_header(entry.host.as_ref()),
            Self::Target => of_target(&entry.target),
            Self::Path => Value::Bytes(entry.target.path().as_bytes()),
            Self::Protocol => Value::Plain(protocol(entry.version)),
            Self::Status => Value::Number(entry.status.as_u16().into()),
            Self::Bytes => Value::Number(entry.bytes),
            Self::Complete => Value::Flag(entry.complete),
            Self::Referer => of_header(entry.referer.as_ref()),
            Self::UserAgent => of_header(entry.user_agent.as_ref()),
            Self::RequestId => of_header(entry.request_id.as_ref()),
            Self::Decision => word(entry.decision),
            Self::Reason => word(entry.reason),
            Self::Ttl => entry.ttl.map_or(Value::Missing, Value::Signed),
            Self::Age => {
                let age = entry.age.as_ref().and_then(|age| age.to_str().ok()?.parse::<u64>().ok());
                age.map_or(Value::Missing, Value::Number)
            }
            Self::Stored => entry.stored.map_or(Value::Missing, |stored| Value::Flag(stored.is_ok())),
            Self::NotStored => match entry.stored {
                Some(Err(why)) => word(why),
                Some(Ok(())) | None => Value::Missing,
            },
            Self::Collapsed => entry.collapsed.map_or(Value::Missing, Value::Flag),
            Self::Rule => entry.rule.as_ref().map_or(Value::Missing, |rule| Value::Bytes(rule.as_bytes())),
            Self::Script => entry.script.as_ref().map_or(Value::Missing, |script| Value::Bytes(script)),
            Self::FirstByte => micros(entry.first_byte),
            Self::Upstream => micros(entry.upstream),
            Self::Total => micros(Some(entry.total)),
        }
    }
}

/// Nearly always a path with or without a query, which is there as text.
fn of_target(target: &Uri) -> Value<'_> {
    match target.path_and_query() {
        Some(text) if target.authority().is_none() && target.scheme().is_none() => Value::Text(text.as_str()),
        _ => Value::Target(target),
    }
}

const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

fn of_header(value: Option<&HeaderValue>) -> Value<'_> {
    value.map_or(Value::Missing, |value| Value::Bytes(value.as_bytes()))
}

fn word(word: &str) -> Value<'_> {
    if word.is_empty() { Value::Missing } else { Value::Plain(word) }
}

fn micros(time: Option<Duration>) -> Value<'static> {
    time.map_or(Value::Missing, |time| Value::Number(time.as_micros() as u64))
}

fn header(value: Option<&Option<HeaderValue>>, line: &mut String) {
    of_header(value.and_then(Option::as_ref)).as_text(line);
}

impl Value<'_> {
    fn as_text(&self, line: &mut String) {
        match self {
            Self::Missing => line.push('-'),
            Self::Number(number) => line.push_str(itoa::Buffer::new().format(*number)),
            Self::Signed(number) => line.push_str(itoa::Buffer::new().format(*number)),
            Self::Flag(flag) => put!(line, "{flag}"),
            Self::Plain(text) => line.push_str(text),
            Self::Client(client) => push_ip(line, *client),
            Self::Time(time) => iso_time(*time, line),
            Self::Bytes(bytes) => escape(bytes, line),
            Self::Text(text) if is_all_plain(text.as_bytes()) => line.push_str(text),
            Self::Text(text) => escape(text.as_bytes(), line),
            Self::Target(target) => escape(target.to_string().as_bytes(), line),
        }
    }

    fn as_json(&self, line: &mut String) {
        match self {
            Self::Missing => line.push_str("null"),
            Self::Number(_) | Self::Signed(_) | Self::Flag(_) => self.as_text(line),
            Self::Plain(_) | Self::Client(_) | Self::Time(_) => {
                line.push('"');
                self.as_text(line);
                line.push('"');
            }
            Self::Bytes(bytes) => json_string(bytes, line),
            Self::Text(text) => json_string(text.as_bytes(), line),
            Self::Target(target) => json_string(target.to_string().as_bytes(), line),
        }
    }
}

fn as_json(entry: &Entry, fields: &[Field], line: &mut String) {
    for (at, field) in fields.iter().enumerate() {
        line.push_str(if at == 0 { "{\"" } else { ",\"" });
        line.push_str(field.name());
        line.push_str("\":");
        field.of(entry).as_json(line);
    }
    line.push('}');
}

/// Whether it may stand between quotes in any form.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\'
}

/// Whether all may, which is nearly always so: then they are copied as a whole. Every byte is looked at: without an early end there is no branch for each, and several are looked at together.
fn is_all_plain(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |all, byte| all & is_plain(*byte))
}

/// The same as text.
fn plain(bytes: &[u8]) -> Option<&str> {
    if is_all_plain(bytes) { std::str::from_utf8(bytes).ok() } else { None }
}

/// As Apache does since 2.0.46: what comes from a client ends neither a line nor what stands between quotes.
fn escape(bytes: &[u8], line: &mut String) {
    if let Some(text) = plain(bytes) {
        return line.push_str(text);
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        let plain = rest.iter().position(|byte| !is_plain(*byte)).unwrap_or(rest.len());
        let (text, after) = rest.split_at(plain);
        // ASCII, all of it.
        line.push_str(std::str::from_utf8(text).unwrap_or_default());
        let Some((byte, after)) = after.split_first() else { return };
        match byte {
            b'"' => line.push_str("\\\""),
            b'\\' => line.push_str("\\\\"),
            other => put!(line, "\\x{other:02x}"),
        }
        rest = after;
    }
}

/// RFC 8259, section 7, and whatever some reader takes for the end of a line. What is not UTF-8 becomes U+FFFD.
fn json_string(bytes: &[u8], line: &mut String) {
    line.push('"');
    if let Some(text) = plain(bytes) {
        line.push_str(text);
        return line.push('"');
    }
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => line.push_str("\\\""),
                '\\' => line.push_str("\\\\"),
                control if control.is_control() || matches!(control, '\u{2028}' | '\u{2029}') => {
                    put!(line, "\\u{:04x}", u32::from(control));
                }
                other => line.push(other),
            }
        }
        if !chunk.invalid().is_empty() {
            line.push('\u{fffd}');
        }
    }
    line.push('"');
}

impl Unit {
    /// Good for half a million years.
    const fn of(self, time: Duration) -> u64 {
        match self {
            Self::Seconds => time.as_secs(),
            Self::Milliseconds => time.as_millis() as u64,
            Self::Microseconds => time.as_micros() as u64,
        }
    }
}

/// A date and a time of day in UTC.
struct Civil {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

impl Civil {
    /// Howard Hinnant's `civil_from_days`, for seconds since 1970.
    fn of(since_1970: u64) -> Self {
        let (days, seconds) = (since_1970 / 86_400, since_1970 % 86_400);
        // Years begin in March, so that the leap day is the last one; eras have 400 years.
        let days = days + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * from_march + 2) / 5 + 1,
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
        }
    }
}

/// A second as text: lines are many in each.
struct Second {
    since_1970: u64,
    text: String,
}

thread_local! {
    static COMMON: RefCell<Second> = const { RefCell::new(Second::NONE) };
    static ISO: RefCell<Second> = const { RefCell::new(Second::NONE) };
}

impl Second {
    const NONE: Self = Self { since_1970: u64::MAX, text: String::new() };

    /// The text for a time `since` 1970, made by `write` when it is another second than before.
    fn text(&mut self, since: Duration, write: impl FnOnce(Civil, &mut String)) -> &str {
        if self.since_1970 != since.as_secs() {
            self.text.clear();
            write(Civil::of(since.as_secs()), &mut self.text);
            self.since_1970 = since.as_secs();
        }
        &self.text
    }
}

/// `[10/Oct/2000:13:55:36 +0000]`
fn common_time(time: SystemTime, line: &mut String) {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let write = |civil: Civil, text: &mut String| {
        let Civil { year, month, day, hour, minute, second } = civil;
        let month = MONTHS.get((month as usize).saturating_sub(1)).copied().unwrap_or_default();
        put!(text, "[{day:02}/{month}/{year}:{hour:02}:{minute:02}:{second:02} +0000]");
    };
    COMMON.with_borrow_mut(|last| line.push_str(last.text(since_1970(time), write)));
}

/// `2000-10-10T13:55:36.123Z`
fn iso_time(time: SystemTime, line: &mut String) {
    let write = |civil: Civil, text: &mut String| {
        let Civil { year, month, day, hour, minute, second } = civil;
        put!(text, "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.");
    };
    let since = since_1970(time);
    ISO.with_borrow_mut(|last| line.push_str(last.text(since, write)));
    let milliseconds = since.subsec_millis();
    line.push_str(match milliseconds {
        0..=9 => "00",
        10..=99 => "0",
        _ => "",
    });
    line.push_str(itoa::Buffer::new().format(milliseconds));
    line.push('Z');
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
