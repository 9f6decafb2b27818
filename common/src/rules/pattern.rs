//! Patterns of paths and names, as people write them.
//!
//! `*` is any run of bytes without a slash, `**` any run at all, `?` one byte that is no slash, and
//! `{a,b}` either of its alternatives. Bytes are compared exactly. Time grows with the length of the text
//! times that of the pattern, whatever a client sends: there is no backtracking.

use memchr::memmem::Finder;

/// One or more alternatives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// Those that may end in anything.
    open: Vec<Glob>,
    /// Those that end in a certain byte, with it and sorted by it: a list of a hundred endings is asked for the few that a
    /// name could have.
    ended: Vec<(u8, Glob)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("a brace without its partner, or one within another")]
    Braces,
    #[error("an alternative of more than {MAX_ITEMS} characters")]
    TooLong,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Glob {
    Exact(Vec<u8>),
    /// `text**`
    Prefix(Vec<u8>),
    /// `**text`
    Suffix(Vec<u8>),
    /// `**text**`
    Contains(Box<Part>),
    /// `*text`
    SuffixOfName(Vec<u8>),
    General(Box<General>),
}

/// What texts that fit have in common is looked at first; that is enough for nearly all that do not.
#[derive(Debug, Clone, PartialEq, Eq)]
struct General {
    prefix: Vec<u8>,
    suffix: Vec<u8>,
    /// The longest text within.
    part: Part,
    items: Vec<Item>,
}

/// What is searched for, made ready once.
#[derive(Debug, Clone)]
struct Part(Finder<'static>);

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        self.0.needle() == other.0.needle()
    }
}

impl Eq for Part {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Byte(u8),
    /// `?`
    One,
    /// `?` where a slash is like any other byte.
    Any,
    /// `*`
    Run,
    /// `**`
    Deep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slash {
    Separates,
    IsText,
}

/// The states of a match are the bits of a `u128`, one more than there are items.
const MAX_ITEMS: usize = 127;

impl Pattern {
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        Self::compile(text, Slash::Separates)
    }

    /// For what is no path: a slash is like any other byte, so `*` and `**` are the same.
    pub fn parse_text(text: &str) -> Result<Self, PatternError> {
        Self::compile(text, Slash::IsText)
    }

    fn compile(text: &str, slash: Slash) -> Result<Self, PatternError> {
        let globs = alternatives(text.as_bytes())?;
        let (mut open, mut ended) = (Vec::new(), Vec::new());
        for glob in &globs {
            let glob = Glob::compile(glob, slash)?;
            match glob.end() {
                Some(end) => ended.push((end, glob)),
                None => open.push(glob),
            }
        }
        ended.sort_by_key(|(end, _)| *end);
        Ok(Self { open, ended })
    }

    pub fn matches(&self, text: &[u8]) -> bool {
        self.open.iter().any(|glob| glob.matches(text))
            || text.last().is_some_and(|last| {
                let first = self.ended.partition_point(|(end, _)| end < last);
                let those = self.ended.get(first..).unwrap_or_default();
                those.iter().take_while(|(end, _)| end == last).any(|(_, glob)| glob.matches(text))
            })
    }
}

/// The pattern with each of its alternatives written out.
fn alternatives(pattern: &[u8]) -> Result<Vec<Vec<u8>>, PatternError> {
    let Some(open) = memchr::memchr2(b'{', b'}', pattern) else { return Ok(vec![pattern.to_vec()]) };
    let (before, rest) = pattern.split_at(open);
    let close = memchr::memchr(b'}', rest).filter(|_| rest.starts_with(b"{")).ok_or(PatternError::Braces)?;
    let (inside, after) = (&rest[1..close], &rest[close + 1..]);
    if inside.contains(&b'{') {
        return Err(PatternError::Braces);
    }
    let after = alternatives(after)?;
    let inside: Vec<&[u8]> = inside.split(|byte| *byte == b',').collect();
    Ok(inside.iter().flat_map(|choice| after.iter().map(|rest| [before, choice, rest].concat())).collect())
}

impl Glob {
    fn compile(text: &[u8], slash: Slash) -> Result<Self, PatternError> {
        let items = items(text, slash)?;
        Ok(match items.as_slice() {
            all if literal(all).is_some() => Self::Exact(text.to_vec()),
            [text @ .., Item::Deep] if literal(text).is_some() => {
                Self::Prefix(literal(text).unwrap_or_default())
            }
            [Item::Deep, text @ .., Item::Deep] if literal(text).is_some() => {
                let part = literal(text).unwrap_or_default();
                Self::Contains(Box::new(Part(Finder::new(&part).into_owned())))
            }
            [Item::Deep, text @ ..] if literal(text).is_some() => {
                Self::Suffix(literal(text).unwrap_or_default())
            }
            [Item::Run, text @ ..] if literal(text).is_some() => {
                Self::SuffixOfName(literal(text).unwrap_or_default())
            }
            _ => Self::General(Box::new(General::new(items))),
        })
    }

    fn matches(&self, text: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => text == exact,
            Self::Prefix(prefix) => text.starts_with(prefix),
            Self::Suffix(suffix) => text.ends_with(suffix),
            Self::Contains(part) => part.0.find(text).is_some(),
            Self::SuffixOfName(suffix) => {
                text.strip_suffix(&suffix[..]).is_some_and(|rest| !rest.contains(&b'/'))
            }
            Self::General(general) => general.matches(text),
        }
    }

    /// The byte in which every text ends that fits.
    fn end(&self) -> Option<u8> {
        let end = match self {
            Self::Exact(text) | Self::Suffix(text) | Self::SuffixOfName(text) => text.last(),
            Self::General(general) => general.suffix.last(),
            Self::Prefix(_) | Self::Contains(_) => None,
        };
        end.copied()
    }
}

impl General {
    fn new(items: Vec<Item>) -> Self {
        let texts = || items.split(|item| !matches!(item, Item::Byte(_))).filter_map(literal);
        let longest = texts().max_by_key(Vec::len).unwrap_or_default();
        let part = Part(Finder::new(&longest).into_owned());
        let (prefix, suffix) = (texts().next().unwrap_or_default(), texts().next_back().unwrap_or_default());
        Self { prefix, suffix, part, items }
    }

    fn matches(&self, text: &[u8]) -> bool {
        text.starts_with(&self.prefix)
            && text.ends_with(&self.suffix)
            && self.part.0.find(text).is_some()
            && simulate(&self.items, text)
    }
}

fn items(text: &[u8], slash: Slash) -> Result<Vec<Item>, PatternError> {
    let mut items = Vec::with_capacity(text.len());
    for byte in text {
        match (byte, items.last_mut()) {
            (b'*', Some(last @ Item::Run)) => *last = Item::Deep,
            (b'*', Some(Item::Deep)) => {}
            (b'*', _) if slash == Slash::IsText => items.push(Item::Deep),
            (b'*', _) => items.push(Item::Run),
            (b'?', _) if slash == Slash::IsText => items.push(Item::Any),
            (b'?', _) => items.push(Item::One),
            (byte, _) => items.push(Item::Byte(*byte)),
        }
    }
    if items.len() > MAX_ITEMS {
        return Err(PatternError::TooLong);
    }
    Ok(items)
}

fn literal(items: &[Item]) -> Option<Vec<u8>> {
    items.iter().map(|item| if let Item::Byte(byte) = item { Some(*byte) } else { None }).collect()
}

/// Bit `i` of the states: the first `i` items have matched what was read so far.
fn simulate(items: &[Item], text: &[u8]) -> bool {
    let skip_empty = |mut states: u128| {
        for (at, item) in items.iter().enumerate() {
            if matches!(item, Item::Run | Item::Deep) && states >> at & 1 == 1 {
                states |= 1 << (at + 1);
            }
        }
        states
    };
    let mut states = skip_empty(1);
    for byte in text {
        let mut next = 0;
        let mut left = states;
        while left != 0 {
            let at = left.trailing_zeros() as usize;
            left &= left - 1;
            next |= match items.get(at) {
                Some(Item::Byte(wanted)) if wanted == byte => 1 << (at + 1),
                Some(Item::Any) => 1 << (at + 1),
                Some(Item::One) if *byte != b'/' => 1 << (at + 1),
                Some(Item::Run) if *byte != b'/' => 1 << at,
                Some(Item::Deep) => 1 << at,
                _ => 0,
            };
        }
        if next == 0 {
            return false;
        }
        states = skip_empty(next);
    }
    states >> items.len() & 1 == 1
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn matching() {
        let cases: [(&str, &[&str], &[&str]); 12] = [
            ("abc", &["abc"], &["", "ab", "abcd", "xabc"]),
            ("*.yml", &["a.yml", ".yml"], &["a/b.yml", "a.ymlx"]),
            ("*.{yml,inc}{,~,.bak}", &["a.yml", "a.inc~", "a.inc.bak"], &["a.bak", "a.yml.sav"]),
            ("*.{*sql}", &["a.sql", "a.mysql", "a.b.sql", "a.x-sql"], &["asql", "sql"]),
            ("/core/*.php", &["/core/a.php", "/core/.php"], &["/core/a/b.php", "/core/a.php/"]),
            ("/core/**.php", &["/core/a.php", "/core/a/b.php"], &["/core.php"]),
            ("/.**", &["/.git", "/.git/config"], &["/a/.git"]),
            ("/?**/.**", &["/a/.git", "/a/b/.c/d"], &["/.git", "/a/b", "//.a"]),
            ("**/x/**", &["/x/", "/a/x/b"], &["/ax/b", "/x"]),
            ("**", &["", "/", "/a/b"], &[]),
            ("a?c", &["abc"], &["ac", "a/c", "abbc"]),
            ("/a/*/b/*", &["/a/1/b/2", "/a//b/"], &["/a/1/2/b/3", "/a/1/b/2/3"]),
        ];
        for (pattern, yes, no) in cases {
            let compiled = Pattern::parse(pattern).unwrap();
            for text in yes {
                assert!(compiled.matches(text.as_bytes()), "{pattern} {text}");
            }
            for text in no {
                assert!(!compiled.matches(text.as_bytes()), "{pattern} {text}");
            }
        }
    }

    proptest! {
        /// The short cuts change nothing: every alternative as its items say, one after the other.
        #[test]
        fn as_the_items_have_it(pattern in "([ab/.?]|\\*|\\*\\*|\\{(a|b|)(,|,b/)\\*?\\}){0,8}", text in "[ab/.]{0,10}") {
            for slash in [Slash::Separates, Slash::IsText] {
                let compiled = Pattern::compile(&pattern, slash).unwrap();
                let expected = alternatives(pattern.as_bytes()).unwrap().iter().any(|glob| {
                    simulate(&items(glob, slash).unwrap(), text.as_bytes())
                });
                prop_assert_eq!(compiled.matches(text.as_bytes()), expected, "{} {}", pattern, text);
            }
        }
    }

    #[test]
    fn text_knows_no_slash() {
        for (pattern, text) in [("*", "a/b"), ("a*c", "a/b/c"), ("a?c", "a/c"), ("text/*", "text/html")] {
            assert!(Pattern::parse_text(pattern).unwrap().matches(text.as_bytes()), "{pattern} {text}");
        }
        assert!(!Pattern::parse_text("a?c").unwrap().matches(b"ac"));
    }

    #[test]
    fn malformed() {
        for pattern in ["{a", "a}", "{a,{b}}", "}{"] {
            assert_eq!(Pattern::parse(pattern), Err(PatternError::Braces), "{pattern}");
        }
        assert_eq!(Pattern::parse(&"?".repeat(128)), Err(PatternError::TooLong));
    }

    #[test]
    fn a_long_path_costs_no_more_than_its_length() {
        let pattern = Pattern::parse("/?**/**.php/**").unwrap();
        let text = format!("/a{}", "/a.ph".repeat(200_000));
        let before = std::time::Instant::now();
        assert!(!pattern.matches(text.as_bytes()));
        assert!(before.elapsed().as_secs() < 5, "{:?}", before.elapsed());
    }
}
