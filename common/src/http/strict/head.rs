use memchr::{memchr, memrchr};

use super::Violation;

/// How much a head may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// All of it, with its line ends.
    pub bytes: usize,
    pub target: usize,
    pub fields: usize,
}

/// Which kind of message begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Request,
    Response,
}

/// What a head says of what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Framing {
    /// HTTP/1.1, otherwise 1.0.
    pub is_http_11: bool,
    /// A response's.
    pub status: u16,
    pub length: Option<u64>,
    pub is_chunked: bool,
    /// An Upgrade field, and a Connection field that lists it (RFC 9110, section 7.8).
    pub wants_upgrade: bool,
}

/// Reads one head, in as many pieces as it comes.
#[derive(Debug)]
pub struct Scanner {
    kind: Kind,
    limits: Limits,
    /// Where the line begins that is not complete yet.
    line: usize,
    /// Up to where its end was looked for.
    searched: usize,
    has_start_line: bool,
    fields: usize,
    codings: usize,
    has_upgrade: bool,
    connection_upgrade: bool,
    framing: Framing,
}

/// What cannot be a `HeaderName`, with room to spare.
const MAX_NAME: usize = 8 << 10;
/// hyper keeps the largest numbers for itself.
const MAX_LENGTH: u64 = i64::MAX.cast_unsigned();

impl Scanner {
    pub fn new(kind: Kind, limits: Limits) -> Self {
        Self {
            kind,
            limits,
            line: 0,
            searched: 0,
            has_start_line: false,
            fields: 0,
            codings: 0,
            has_upgrade: false,
            connection_upgrade: false,
            framing: Framing::default(),
        }
    }

    /// Looks at the lines that are complete. `bytes` begins where the head does, each time.
    /// The head's length and meaning when its last line is there, `None` while it is not.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Option<(usize, Framing)>, Violation> {
        loop {
            let Some(found) = bytes.get(self.searched..).and_then(|rest| memchr(b'\n', rest)) else {
                self.searched = bytes.len();
                self.check_unfinished(bytes.get(self.line..).unwrap_or_default(), bytes.len())?;
                return Ok(None);
            };
            let end = self.searched + found + 1;
            let line = bytes.get(self.line..end).unwrap_or_default();
            (self.line, self.searched) = (end, end);
            self.check_size(end)?;
            // RFC 9112, section 2.2 lets a recipient take a bare LF for a line's end: others do not.
            let line = line.strip_suffix(b"\r\n").ok_or(Violation::LineEnd)?;
            if !self.has_start_line {
                if memchr(b'\r', line).is_some() {
                    return Err(Violation::LineEnd);
                }
                // "A server SHOULD ignore at least one empty line received prior to the request-line."
                if line.is_empty() && self.kind == Kind::Request {
                    continue;
                }
                match self.kind {
                    Kind::Request => self.request_line(line)?,
                    Kind::Response => self.status_line(line)?,
                }
                self.has_start_line = true;
            } else if line.is_empty() {
                return Ok(Some((end, self.finish()?)));
            } else {
                self.field(line)?;
            }
        }
    }

    /// Fields that were there so far.
    pub const fn fields(&self) -> usize {
        self.fields
    }

    fn check_size(&self, length: usize) -> Result<(), Violation> {
        if length <= self.limits.bytes {
            return Ok(());
        }
        let is_target = self.kind == Kind::Request && !self.has_start_line;
        Err(if is_target { Violation::TargetTooLong } else { Violation::HeadTooLong })
    }

    /// What another protocol sends (TLS to a port without it) may never come to a line's end.
    fn check_unfinished(&self, line: &[u8], length: usize) -> Result<(), Violation> {
        if !self.has_start_line && line.iter().any(|byte| *byte < 0x20 && *byte != b'\r') {
            return Err(self.bad_start_line());
        }
        self.check_size(length)
    }

    const fn bad_start_line(&self) -> Violation {
        match self.kind {
            Kind::Request => Violation::RequestLine,
            Kind::Response => Violation::StatusLine,
        }
    }

    /// RFC 9112, section 3: exactly one space at either side of the target.
    fn request_line(&mut self, line: &[u8]) -> Result<(), Violation> {
        let (method, rest) = split_at_byte(line, memchr(b' ', line)).ok_or(Violation::RequestLine)?;
        let (target, version) = split_at_byte(rest, memrchr(b' ', rest)).ok_or(Violation::RequestLine)?;
        if !is_token(method) || target.is_empty() {
            return Err(Violation::RequestLine);
        }
        self.version(version, Violation::RequestLine)?;
        if target.len() > self.limits.target {
            return Err(Violation::TargetTooLong);
        }
        if !is_target(target) {
            return Err(Violation::Target);
        }
        Ok(())
    }

    /// RFC 9112, section 4; the space in front of a missing reason may be missing too, as everywhere.
    fn status_line(&mut self, line: &[u8]) -> Result<(), Violation> {
        let (version, rest) = split_at_byte(line, memchr(b' ', line)).ok_or(Violation::StatusLine)?;
        self.version(version, Violation::StatusLine)?;
        let (status, reason) = rest.split_at_checked(3).ok_or(Violation::StatusLine)?;
        let is_reason = reason.first().is_none_or(|byte| *byte == b' ') && is_value(reason);
        if !status.iter().all(u8::is_ascii_digit) || !is_reason {
            return Err(Violation::StatusLine);
        }
        self.framing.status = status.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
        Ok(())
    }

    fn version(&mut self, version: &[u8], otherwise: Violation) -> Result<(), Violation> {
        match version {
            b"HTTP/1.1" => self.framing.is_http_11 = true,
            b"HTTP/1.0" => {}
            _ if version.starts_with(b"HTTP/") => return Err(Violation::Version),
            _ => return Err(otherwise),
        }
        Ok(())
    }

    /// RFC 9112, section 5.
    fn field(&mut self, line: &[u8]) -> Result<(), Violation> {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(Violation::Folding);
        }
        self.fields += 1;
        if self.fields > self.limits.fields {
            return Err(Violation::TooManyFields);
        }
        // "No whitespace is allowed between the field name and colon": a space is no part of a token.
        let end = line.iter().position(|byte| !is_token_byte(*byte)).ok_or(Violation::FieldName)?;
        let (name, rest) = line.split_at(end);
        let value = rest.strip_prefix(b":").ok_or(Violation::FieldName)?;
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(Violation::FieldName);
        }
        if !is_value(value) {
            return Err(if value.contains(&b'\r') { Violation::LineEnd } else { Violation::FieldValue });
        }
        match name.len() {
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.has_upgrade = true,
            10 if name.eq_ignore_ascii_case(b"connection") => self.connection(value),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(value)?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.transfer_encoding(value)?,
            _ => {}
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) {
        self.connection_upgrade |= value
            .split(|byte| *byte == b',')
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
    }

    /// One field with one number. Of a response a repetition of the same number is taken for what it is: a server
    /// and its application that have both said it (RFC 9110, section 8.6 permits either).
    fn content_length(&mut self, value: &[u8]) -> Result<(), Violation> {
        let mut numbers = value.split(|byte| *byte == b',').map(|number| decimal(trim(number)));
        let first = numbers.next().flatten().ok_or(Violation::ContentLength)?;
        let is_repeated = self.framing.length.is_some() || value.contains(&b',');
        let agrees = self.framing.length.is_none_or(|length| length == first)
            && numbers.all(|number| number == Some(first));
        if is_repeated && (self.kind == Kind::Request || !agrees) {
            return Err(Violation::ContentLength);
        }
        self.framing.length = Some(first);
        Ok(())
    }

    /// Not a list of codings of which chunked is the last: nobody would decode the others. In a response, one name that
    /// no registry knows says nothing but that the body ends with the connection (RFC 9112, section 6.3, number 4).
    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Violation> {
        self.codings += 1;
        let coding = trim(value);
        self.framing.is_chunked = coding.eq_ignore_ascii_case(b"chunked");
        let is_sound = self.framing.is_chunked || self.kind == Kind::Response && is_unknown_coding(coding);
        if self.codings > 1 || !is_sound {
            return Err(Violation::TransferEncoding);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Framing, Violation> {
        let mut framing = self.framing;
        if self.codings > 0 {
            // RFC 9112, section 6.1: HTTP/1.0 has no transfer codings.
            if !framing.is_http_11 {
                return Err(Violation::TransferEncoding);
            }
            if framing.length.is_some() {
                return Err(Violation::LengthAndCoding);
            }
        }
        framing.wants_upgrade = framing.is_http_11 && self.has_upgrade && self.connection_upgrade;
        Ok(framing)
    }
}

/// A token that looks like none of the transfer codings there are (RFC 9112, section 7).
fn is_unknown_coding(coding: &[u8]) -> bool {
    const KNOWN: [&[u8]; 5] = [b"chunked", b"gzip", b"compress", b"deflate", b"identity"];
    let holds = |known: &&[u8]| coding.windows(known.len()).any(|part| part.eq_ignore_ascii_case(known));
    !coding.is_empty() && coding.iter().all(u8::is_ascii_alphanumeric) && !KNOWN.iter().any(holds)
}

fn split_at_byte(bytes: &[u8], at: Option<usize>) -> Option<(&[u8], &[u8])> {
    let (before, rest) = bytes.split_at_checked(at?)?;
    Some((before, rest.get(1..)?))
}

/// Optional whitespace: spaces and tabs, nothing else (RFC 9110, section 5.6.3).
pub(in crate::http) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Digits only: no sign, no blank, nothing that overflows.
fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || bytes.len() > 19 || !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = bytes.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    (value <= MAX_LENGTH).then_some(value)
}

/// `tchar` of RFC 9110, section 5.6.2.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let this = byte as u8;
        table[byte] = this.is_ascii_alphanumeric()
            || matches!(
                this,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};

pub(super) fn is_token_byte(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_token_byte(*byte))
}

/// No control character but the tab. Without a branch, so that it is done sixteen bytes at a time.
#[allow(clippy::needless_bitwise_bool, reason = "a lazy operator is a branch")]
fn is_value(bytes: &[u8]) -> bool {
    !bytes.iter().fold(false, |bad, byte| bad | (*byte < 0x20) & (*byte != b'\t') | (*byte == 0x7f))
}

/// What RFC 3986 has, and what browsers and people send unencoded all the same. No fragment: hyper would cut it
/// off, and the next hop might not.
#[allow(clippy::needless_bitwise_bool, reason = "a lazy operator is a branch")]
pub fn is_target(bytes: &[u8]) -> bool {
    let (path, query) = bytes.split_at(memchr(b'?', bytes).unwrap_or(bytes.len()));
    let none_of = |part: &[u8], own: u8| {
        !part.iter().fold(false, |bad, &byte| {
            bad | (byte <= b' ') | (byte == 0x7f) | matches!(byte, b'<' | b'>' | b'#') | (byte == own)
        })
    };
    none_of(path, b'`') && none_of(query, b'"') && std::str::from_utf8(bytes).is_ok()
}
