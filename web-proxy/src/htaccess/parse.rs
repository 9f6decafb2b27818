//! Apache's syntax: a directive a line, sections, quotes, continued lines.

use std::fmt;

#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) directives: Vec<Directive>,
    /// Lines that Apache would not accept.
    pub(super) problems: Vec<(usize, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directive {
    /// Counted from one; of several joined lines the first.
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) args: Vec<String>,
    /// The sections around it, from the outermost.
    pub(super) within: Vec<Section>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) line: usize,
    /// In lower case.
    pub(super) name: String,
    pub(super) args: Vec<String>,
}

pub(super) fn parse(text: &str) -> Parsed {
    let mut parsed = Parsed::default();
    let mut within: Vec<Section> = Vec::new();
    for (line, text) in joined(text) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if let Some(name) = text.strip_prefix("</") {
            let name = name.trim_end_matches('>').trim().to_ascii_lowercase();
            match within.pop() {
                Some(open) if open.name == name => {}
                Some(open) => {
                    parsed.problems.push((line, format!("</{name}> where <{}> is open", open.name)));
                    within.push(open);
                }
                None => parsed.problems.push((line, format!("</{name}> where nothing is open"))),
            }
        } else if let Some(head) = text.strip_prefix('<') {
            let Some(head) = head.strip_suffix('>') else {
                parsed.problems.push((line, format!("{text} without a > at its end")));
                continue;
            };
            let mut words = words(head);
            let name = if words.is_empty() { String::new() } else { words.remove(0).to_ascii_lowercase() };
            within.push(Section { line, name, args: words });
        } else {
            let mut words = words(text);
            let name = if words.is_empty() { String::new() } else { words.remove(0) };
            parsed.directives.push(Directive { line, name, args: words, within: within.clone() });
        }
    }
    for open in within {
        parsed.problems.push((open.line, format!("<{}> is never closed", open.name)));
    }
    parsed
}

/// Lines with those joined that a backslash continues, each with its first line's number.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut continues = false;
    for (number, line) in text.lines().enumerate() {
        let (line, goes_on) = match line.strip_suffix('\\') {
            // A backslash that is itself escaped ends the line.
            Some(rest) if !rest.ends_with('\\') => (rest, true),
            _ => (line, false),
        };
        match lines.last_mut().filter(|_| continues) {
            Some((_, before)) => before.push_str(line),
            None => lines.push((number + 1, line.to_owned())),
        }
        continues = goes_on;
    }
    lines
}

/// As `ap_getword_conf` cuts them: in quotes, a backslash escapes the quote and itself.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let mut word = String::new();
        let mut chars = rest.char_indices();
        let end = if first == '"' || first == '\'' {
            chars.next();
            loop {
                match chars.next() {
                    Some((at, c)) if c == first => break at + c.len_utf8(),
                    Some((_, '\\')) => match chars.next() {
                        Some((_, c)) if c == first || c == '\\' => word.push(c),
                        Some((_, c)) => word.extend(['\\', c]),
                        None => break rest.len(),
                    },
                    Some((_, c)) => word.push(c),
                    None => break rest.len(),
                }
            }
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            word.push_str(&rest[..end]);
            end
        };
        words.push(word);
        rest = rest[end..].trim_start();
    }
    words
}

impl Directive {
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    pub(super) fn arg(&self, at: usize) -> &str {
        self.args.get(at).map_or("", String::as_str)
    }
}

impl fmt::Display for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for section in self.within.iter().filter(|section| section.name != "ifmodule") {
            write!(f, "<{} {}> ", section.name, section.args.join(" "))?;
        }
        f.write_str(&self.name)?;
        for arg in &self.args {
            if arg.is_empty() || arg.contains(char::is_whitespace) {
                write!(f, " {arg:?}")?;
            } else {
                write!(f, " {arg}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_and_sections() {
        let parsed = parse(
            "# a comment \\\n  that goes on\nOptions -Indexes\n\n<IfModule mod_rewrite.c>\n  <Files \"a b\">\n\
             RewriteRule \"^a b\" \\\n    '-' [F]\n  </Files>\n</IfModule>\nHeader set X \"a \\\"b\\\" \\d\"\n",
        );
        let lines: Vec<String> = parsed.directives.iter().map(|it| format!("{}: {it}", it.line)).collect();
        assert_eq!(
            lines,
            [
                "3: Options -Indexes",
                "7: <files a b> RewriteRule \"^a b\" - [F]",
                "11: Header set X \"a \\\"b\\\" \\\\d\""
            ]
        );
        assert_eq!(parsed.directives[2].args, ["set", "X", "a \"b\" \\d"]);
        let within: Vec<&str> = parsed.directives[1].within.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(within, ["ifmodule", "files"]);
        assert!(parsed.problems.is_empty());
    }

    #[test]
    fn what_apache_refuses() {
        let parsed = parse("</Files>\n<IfModule x>\n</Files>\n<Files a\n");
        assert_eq!(
            parsed.problems,
            [
                (1, "</files> where nothing is open".to_owned()),
                (3, "</files> where <ifmodule> is open".to_owned()),
                (4, "<Files a without a > at its end".to_owned()),
                (2, "<ifmodule> is never closed".to_owned()),
            ]
        );
    }

    #[test]
    fn words_in_quotes() {
        let cases: [(&str, &[&str]); 6] = [
            ("a  b\tc", &["a", "b", "c"]),
            ("a \"b c\" d", &["a", "b c", "d"]),
            ("'a \"b'", &["a \"b"]),
            (r#""^(.+/.*|autoload)\.php($|/)" - [F]"#, &[r"^(.+/.*|autoload)\.php($|/)", "-", "[F]"]),
            ("\"never closed", &["never closed"]),
            ("\"\" x", &["", "x"]),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text), expected, "{text}");
        }
    }
}
