//! The path of a request, decoded once and free of everything that could lead outside.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

/// An absolute path of plain segments: no empty ones, no `.` or `..`, no NUL, no backslash. A slash at the
/// end is kept, since it asks for a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlPath(Vec<u8>);

/// Why a request's path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("the target is no path")]
    NotAbsolute,
    #[error("a percent sign without two hexadecimal digits")]
    Encoding,
    #[error("a NUL")]
    Nul,
    /// Decoding it would change which segments there are (RFC 3986, section 2.2).
    #[error("an encoded slash")]
    EncodedSlash,
    /// No path of this system has one; what comes after us may take it for a slash.
    #[error("a backslash")]
    Backslash,
    #[error("more .. than segments before them")]
    Escapes,
}

/// Bytes that a path in a Location field cannot hold (RFC 3986, section 3.3).
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

impl UrlPath {
    /// `raw` as it stood in the request, without the query.
    pub fn parse(raw: &str) -> Result<Self, PathError> {
        if !raw.starts_with('/') {
            return Err(PathError::NotAbsolute);
        }
        if is_plain(raw.as_bytes()) {
            return Ok(Self(raw.as_bytes().to_vec()));
        }
        let decoded = decode(raw.as_bytes())?;
        let mut path = Vec::with_capacity(decoded.len());
        let mut segments = decoded.split(|byte| *byte == b'/').skip(1).peekable();
        while let Some(segment) = segments.next() {
            let last = segments.peek().is_none();
            match segment {
                b"" | b"." => {}
                b".." => {
                    let parent = path.iter().rposition(|byte| *byte == b'/').ok_or(PathError::Escapes)?;
                    path.truncate(parent);
                }
                name => {
                    path.push(b'/');
                    path.extend_from_slice(name);
                    continue;
                }
            }
            if last {
                path.push(b'/');
            }
        }
        Ok(Self(path))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether a directory is asked for.
    pub fn has_trailing_slash(&self) -> bool {
        self.0.ends_with(b"/")
    }

    /// The length without the slash at the end.
    pub fn trimmed_len(&self) -> usize {
        self.0.len() - usize::from(self.has_trailing_slash())
    }

    /// Where each segment ends, from the left.
    pub fn ends(&self) -> impl Iterator<Item = usize> {
        let inner = (1..self.trimmed_len()).filter(|at| self.0[*at] == b'/');
        inner.chain((self.trimmed_len() > 0).then_some(self.trimmed_len()))
    }

    /// The first `end` bytes as a path below the docroot; `.` for the docroot itself.
    pub fn below(&self, end: usize) -> &Path {
        match self.0.get(1..end) {
            Some(relative) if !relative.is_empty() => Path::new(OsStr::from_bytes(relative)),
            _ => Path::new("."),
        }
    }

    /// This directory's entry `name`, a single plain segment.
    #[must_use]
    pub fn entry(&self, name: &str) -> Self {
        let mut path = self.0.clone();
        if !path.ends_with(b"/") {
            path.push(b'/');
        }
        path.extend_from_slice(name.as_bytes());
        Self(path)
    }

    /// The file beside this one whose name has `suffix` behind it.
    #[must_use]
    pub fn with_suffix(&self, suffix: &str) -> Self {
        let name = &self.0[..self.trimmed_len()];
        Self([name, suffix.as_bytes()].concat())
    }

    /// As a reference for a Location field; it begins with exactly one slash.
    pub fn encoded(&self) -> String {
        encoded(&self.0)
    }
}

/// The path up to its last slash, and the name behind it.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memrchr(b'/', path) {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// A part of a path, percent-encoded.
pub fn encoded(part: &[u8]) -> String {
    percent_encode(part, ENCODED).to_string()
}

/// Whether it is as it stands what [`UrlPath::parse`] makes of it, as nearly all are.
fn is_plain(raw: &[u8]) -> bool {
    memchr::memchr3(b'%', b'\\', 0, raw).is_none()
        && raw.array_windows().all(|pair| !matches!(pair, b"//" | b"/."))
}

fn decode(raw: &[u8]) -> Result<Vec<u8>, PathError> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || {
                    let digit = char::from(*bytes.next()?).to_digit(16)?;
                    u8::try_from(digit).ok()
                };
                let (Some(high), Some(low)) = (digit(), digit()) else { return Err(PathError::Encoding) };
                match high << 4 | low {
                    b'/' => return Err(PathError::EncodedSlash),
                    other => other,
                }
            }
            plain => *plain,
        };
        match byte {
            0 => return Err(PathError::Nul),
            b'\\' => return Err(PathError::Backslash),
            other => decoded.push(other),
        }
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    fn parsed(raw: &str) -> Result<String, PathError> {
        UrlPath::parse(raw).map(|path| String::from_utf8_lossy(path.as_bytes()).into_owned())
    }

    #[test]
    fn paths() {
        let cases = [
            ("/", Ok("/")),
            ("//", Ok("/")),
            ("/a", Ok("/a")),
            ("/a/", Ok("/a/")),
            ("//a///b//", Ok("/a/b/")),
            ("/./a/./b/.", Ok("/a/b/")),
            ("/a/b/../c", Ok("/a/c")),
            ("/a/..", Ok("/")),
            ("/a/../", Ok("/")),
            ("/a/b/%2e%2E/c", Ok("/a/c")),
            ("/a/.../b", Ok("/a/.../b")),
            ("/caf%C3%A9 x", Ok("/café x")),
            ("/a%20b;c=d", Ok("/a b;c=d")),
            // Decoded once, not twice.
            ("/%252e%252e/etc", Ok("/%2e%2e/etc")),
            ("/%252f", Ok("/%2f")),
            ("/..", Err(PathError::Escapes)),
            ("/a/../../b", Err(PathError::Escapes)),
            ("/%2e%2e/%2e%2e/etc/passwd", Err(PathError::Escapes)),
            ("/a%2Fb", Err(PathError::EncodedSlash)),
            ("/a%00b", Err(PathError::Nul)),
            ("/a\\..\\b", Err(PathError::Backslash)),
            ("/a%5cb", Err(PathError::Backslash)),
            ("/a%", Err(PathError::Encoding)),
            ("/a%2", Err(PathError::Encoding)),
            ("/a%zz", Err(PathError::Encoding)),
            ("/a%+1", Err(PathError::Encoding)),
            ("", Err(PathError::NotAbsolute)),
            ("*", Err(PathError::NotAbsolute)),
        ];
        for (raw, expected) in cases {
            assert_eq!(parsed(raw), expected.map(str::to_owned), "{raw}");
        }
    }

    #[test]
    fn parts() {
        let path = UrlPath::parse("/a/bc/").unwrap();
        assert_eq!(path.ends().collect::<Vec<_>>(), [2, 5]);
        assert_eq!(path.below(2), Path::new("a"));
        assert_eq!(path.below(5), Path::new("a/bc"));
        let root = UrlPath::parse("/").unwrap();
        assert_eq!((root.ends().count(), root.below(0)), (0, Path::new(".")));
        assert_eq!(root.entry("x").as_bytes(), b"/x");
        assert_eq!(path.entry("x").as_bytes(), b"/a/bc/x");
        assert_eq!(path.with_suffix(".gz").as_bytes(), b"/a/bc.gz");
        assert_eq!(UrlPath::parse("/a%20%0d%0a?").unwrap().encoded(), "/a%20%0D%0A%3F");
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_plain(raw in "/([a-c./%\\\\]|%2e|%2f|%00|\u{e9}){0,24}") {
            if let Ok(path) = UrlPath::parse(&raw) {
                let bytes = path.as_bytes();
                prop_assert!(bytes.starts_with(b"/") && !bytes.contains(&0) && !bytes.contains(&b'\\'));
                let inner = &bytes[1..path.trimmed_len().max(1)];
                if !inner.is_empty() {
                    for segment in inner.split(|byte| *byte == b'/') {
                        prop_assert!(!matches!(segment, b"" | b"." | b".."), "{raw} gives {path:?}");
                    }
                }
                // Encoding and parsing again changes nothing.
                prop_assert_eq!(UrlPath::parse(&path.encoded()), Ok(path));
            }
        }
    }
}
