//! Names that a regular expression is about: enough of them to ask the rules what they do.

/// Texts that `expression` matches, each of its alternatives at least once. `None` where it is not understood.
pub(super) fn of_expression(expression: &str) -> Option<Vec<String>> {
    let mut reader = Reader { rest: expression, depth: 0 };
    let texts = reader.alternatives()?;
    if !reader.rest.is_empty() {
        return None;
    }
    let mut finished: Vec<String> = texts.iter().filter_map(|text| finished(text)).collect();
    finished.sort();
    finished.dedup();
    (!finished.is_empty()).then_some(finished)
}

/// Texts that a pattern of `<Files>` matches.
pub(super) fn of_wildcards(pattern: &str) -> Vec<String> {
    let once = pattern.replace('?', "x");
    let mut texts = vec![once.replace('*', "x"), once.replace('*', "x.y")];
    texts.dedup();
    texts
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

/// Where the text has to begin and to end.
const START: char = '\u{2}';
const END: char = '\u{3}';
/// More than any expression in an .htaccess needs.
const MAX_TEXTS: usize = 1_000;
const MAX_DEPTH: usize = 20;

impl Reader<'_> {
    fn alternatives(&mut self) -> Option<Vec<String>> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let mut all = self.sequence()?;
        while self.eat("|") {
            all.extend(self.sequence()?);
        }
        self.depth -= 1;
        all.truncate(MAX_TEXTS);
        Some(all)
    }

    fn sequence(&mut self) -> Option<Vec<String>> {
        let mut made = vec![String::new()];
        while let Some(next) = self.rest.chars().next() {
            if matches!(next, '|' | ')') {
                break;
            }
            let piece = self.piece()?;
            let piece = self.repeated(piece)?;
            made = product(&made, &piece);
        }
        Some(made)
    }

    /// What one item matches, without what says how often.
    fn piece(&mut self) -> Option<Vec<String>> {
        let one = |c: char| Some(vec![c.to_string()]);
        match self.take()? {
            '(' => self.group(),
            '[' => self.class(),
            '.' => one('x'),
            '^' => one(START),
            '$' => one(END),
            '\\' => match self.take()? {
                'd' => one('1'),
                'w' | 'D' | 'S' => one('x'),
                's' | 'W' => one(' '),
                'b' | 'B' => Some(vec![String::new()]),
                'A' => one(START),
                'z' | 'Z' => one(END),
                c if c.is_ascii_alphanumeric() => None,
                c => one(c),
            },
            '*' | '+' | '?' => None,
            c => one(c),
        }
    }

    fn group(&mut self) -> Option<Vec<String>> {
        let looks_around = ["?=", "?!", "?<=", "?<!"].iter().any(|opening| self.eat(opening));
        if !looks_around && self.eat("?") && !self.eat(":") {
            // (?i), (?i:…), (?<name>…), (?P<name>…)
            let end = self.rest.find([')', ':', '>'])?;
            let closing = self.rest.as_bytes()[end];
            self.rest = &self.rest[end + 1..];
            if closing == b')' {
                return Some(vec![String::new()]);
            }
        }
        let inner = self.alternatives()?;
        if !self.eat(")") {
            return None;
        }
        // What is around a text is not part of it.
        Some(if looks_around { vec![String::new()] } else { inner })
    }

    /// The first two members, or something that is none.
    fn class(&mut self) -> Option<Vec<String>> {
        let negated = self.eat("^");
        let mut members = Vec::new();
        loop {
            match self.take()? {
                ']' if !members.is_empty() => break,
                '\\' => match self.take()? {
                    'd' => members.push('1'),
                    'w' => members.push('x'),
                    's' => members.push(' '),
                    c => members.push(c),
                },
                c => members.push(c),
            }
        }
        if negated {
            let other = ['x', 'q', '1', '_'].into_iter().find(|c| !members.contains(c))?;
            return Some(vec![other.to_string()]);
        }
        Some(members.iter().take(2).filter(|c| **c != '-').map(char::to_string).collect())
    }

    fn repeated(&mut self, piece: Vec<String>) -> Option<Vec<String>> {
        let with_nothing = |piece: Vec<String>| [vec![String::new()], piece].concat();
        let repeated = if self.eat("*") || self.eat("?") {
            with_nothing(piece)
        } else if self.eat("+") {
            piece
        } else if self.rest.starts_with('{') && self.rest[1..].starts_with(|c: char| c.is_ascii_digit()) {
            let end = self.rest.find('}')?;
            let times: usize = self.rest[1..end].split(',').next()?.parse().ok()?;
            self.rest = &self.rest[end + 1..];
            match times {
                0 => with_nothing(piece),
                1..=64 => piece.iter().map(|text| text.repeat(times)).collect(),
                _ => return None,
            }
        } else {
            return Some(piece);
        };
        // Lazy and possessive ones match the same texts.
        let _ = self.eat("?") || self.eat("+");
        Some(repeated)
    }

    fn take(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }

    fn eat(&mut self, text: &str) -> bool {
        self.rest.strip_prefix(text).is_some_and(|rest| {
            self.rest = rest;
            true
        })
    }
}

/// Every one of `before` with every one of `after`; where that is too much, each of them at least once.
fn product(before: &[String], after: &[String]) -> Vec<String> {
    if before.len() * after.len() <= MAX_TEXTS {
        let with = |one: &String| after.iter().map(|other| format!("{one}{other}")).collect::<Vec<_>>();
        return before.iter().flat_map(with).collect();
    }
    let longest = before.len().max(after.len());
    let pairs = before.iter().cycle().zip(after.iter().cycle());
    pairs.take(longest).map(|(one, other)| format!("{one}{other}")).collect()
}

/// With something in front and behind where the expression is open. `None` where it cannot match.
fn finished(text: &str) -> Option<String> {
    let begun = match text.strip_prefix(START) {
        Some(rest) => rest.to_owned(),
        None => format!("x{text}"),
    };
    let done = match begun.strip_suffix(END) {
        Some(rest) => rest.to_owned(),
        None => format!("{begun}x"),
    };
    (!done.contains([START, END])).then_some(done)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use common::rules::Text;

    use super::*;

    #[test]
    fn samples() {
        let cases: [(&str, Option<&[&str]>); 18] = [
            ("^a$", Some(&["a"])),
            ("a", Some(&["xax"])),
            (r"\.(inc|sh)$", Some(&["x.inc", "x.sh"])),
            (r"^(Entries.*|Root)$", Some(&["Entries", "Entriesx", "Root"])),
            (r"\.sw[op]$", Some(&["x.swo", "x.swp"])),
            (r"^a(\.b)?$", Some(&["a", "a.b"])),
            (r"^\.(?!well-known).*$", Some(&[".", ".x"])),
            (r"^(?i)a+$", Some(&["a"])),
            (r"^[^/]+\.php($|/)", Some(&["x.php", "x.php/x"])),
            (r"^\d{4}$", Some(&["1111"])),
            (r"^[a-zA-Z0-9-_]+$", Some(&["a"])),
            (r"a$b|^c$", Some(&["c"])),
            (r"(a)\1", None),
            ("(a", None),
            ("a)", None),
            ("*", None),
            ("", Some(&["xx"])),
            (".", Some(&["xxx"])),
        ];
        for (expression, expected) in cases {
            let expected = expected.map(|texts| texts.iter().map(ToString::to_string).collect());
            assert_eq!(of_expression(expression), expected, "{expression}");
        }
        assert_eq!(of_wildcards("*.log"), ["x.log", "x.y.log"]);
        assert_eq!(of_wildcards("wp-config.php"), ["wp-config.php"]);
    }

    /// Whatever comes out is what the expression matches.
    #[test]
    fn samples_match() {
        let expressions = [
            r"\.(engine|inc|.*sql|tpl(\.php)?)(~|\.sw[op]|\.bak)?$|^(\.x.*|Root)$|^#.*#$|\.php(~|\.save)$",
            r"^(.+/.*|autoload)\.php($|/)",
            r"(\.js\.gz|\.css\.gz)$",
            r"^wp-content/uploads/.*\.(?:php[1-7]?|pht|phtml?|phps)$",
            r"[ab]{2,3}c*?d+?(e|f|)(g{0,2})",
        ];
        for expression in expressions {
            let compiled = Text::plain(&format!("~{expression}")).unwrap();
            let texts = of_expression(expression).unwrap_or_default();
            assert!(!texts.is_empty(), "{expression}");
            for text in texts {
                assert!(compiled.matches(text.as_bytes()), "{expression} {text}");
            }
        }
    }
}
