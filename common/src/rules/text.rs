use regex::bytes::{Regex, RegexBuilder};

use super::{Pattern, PatternError};

/// A glob or, when it begins with `~`, a regular expression. Bytes are compared exactly.
#[derive(Debug, Clone)]
pub enum Text {
    Glob(Pattern),
    Regex(Regex),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    #[error(transparent)]
    Pattern(#[from] PatternError),
    #[error("not a regular expression of the crate regex: {0}")]
    Regex(String),
}

/// What a compiled expression may take; one of a few hundred characters needs a tenth.
const REGEX_BYTES: usize = 256 << 10;

impl Text {
    /// Of a path: `*` ends at a slash, `**` does not.
    pub fn path(text: &str) -> Result<Self, TextError> {
        match text.strip_prefix('~') {
            Some(expression) => regex(expression),
            None => Ok(Self::Glob(Pattern::parse(text)?)),
        }
    }

    /// Of anything else: `*` is any run of bytes.
    pub fn plain(text: &str) -> Result<Self, TextError> {
        match text.strip_prefix('~') {
            Some(expression) => regex(expression),
            None => Ok(Self::Glob(Pattern::parse_text(text)?)),
        }
    }

    pub fn matches(&self, text: &[u8]) -> bool {
        match self {
            Self::Glob(pattern) => pattern.matches(text),
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

/// Linear in the text whatever the expression is, as the crate promises.
fn regex(expression: &str) -> Result<Text, TextError> {
    RegexBuilder::new(expression)
        .unicode(false)
        .size_limit(REGEX_BYTES)
        .dfa_size_limit(2 * REGEX_BYTES)
        .build()
        .map(Text::Regex)
        // The crate's message draws the expression over several lines; the last says what is wrong.
        .map_err(|error| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            TextError::Regex(last.strip_prefix("error: ").unwrap_or(last).to_owned())
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn globs_and_expressions() {
        let cases = [
            (Text::path("/user/*").unwrap(), "/user/1", true),
            (Text::path("/user/*").unwrap(), "/user/1/edit", false),
            (Text::plain("*.example.org").unwrap(), "a/b.example.org", true),
            (Text::path(r"~^/user/\d+$").unwrap(), "/user/12", true),
            (Text::path(r"~^/user/\d+$").unwrap(), "/user/12/edit", false),
            (Text::plain("~(?i)mobile").unwrap(), "A MOBILE phone", true),
            (Text::plain(r"~^\xff.$").unwrap(), "x", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(pattern.matches(text.as_bytes()), expected, "{pattern:?} {text}");
        }
    }

    #[test]
    fn an_expression_is_bounded_and_its_error_is_one_line() {
        let huge = Text::plain("~(a{1000}){1000}").unwrap_err().to_string();
        assert!(huge.contains("size limit"), "{huge}");
        let open = Text::plain("~(a").unwrap_err().to_string();
        assert_eq!(open, "not a regular expression of the crate regex: unclosed group");
        assert_eq!(Text::plain("{a").unwrap_err(), TextError::Pattern(PatternError::Braces));
    }
}
