use std::fmt::Write as _;

/// A text with places for parts of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place(Place),
}

/// A part of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Scheme,
    /// Without the port.
    Host,
    Path,
    Query,
    /// A question mark and the query, or nothing where there is none.
    QueryPart,
    /// Path and query.
    Target,
    Client,
    /// The path up to its last slash, without it.
    Directory,
    /// What stands behind the path's last slash.
    Name,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}: the places are {places}, and braces are written twice")]
pub struct TemplateError {
    problem: String,
    places: String,
}

impl Place {
    const fn name(self) -> &'static str {
        match self {
            Self::Scheme => "scheme",
            Self::Host => "host",
            Self::Path => "path",
            Self::Query => "query",
            Self::QueryPart => "?query",
            Self::Target => "target",
            Self::Client => "client",
            Self::Directory => "directory",
            Self::Name => "name",
        }
    }
}

impl Template {
    /// `{host}` and its like, of `places`; `{{` is a brace.
    pub fn parse(text: &str, places: &[Place]) -> Result<Self, TemplateError> {
        let error = |problem: String| {
            let places: Vec<String> = places.iter().map(|place| format!("{{{}}}", place.name())).collect();
            TemplateError { problem, places: places.join(", ") }
        };
        let alone = || error(format!("a brace without its partner in {text:?}"));
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            rest = &rest[first.len_utf8()..];
            if matches!(first, '{' | '}') && rest.starts_with(first) {
                rest = &rest[1..];
                plain.push(first);
            } else if first == '{' {
                let (name, after) = rest.split_once('}').ok_or_else(alone)?;
                let place = places.iter().find(|place| place.name() == name);
                let place = place.ok_or_else(|| error(format!("{{{name}}} is no place")))?;
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(Piece::Place(*place));
                rest = after;
            } else if first == '}' {
                return Err(alone());
            } else {
                plain.push(first);
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    /// `fill` writes what belongs into a place.
    pub fn render(&self, mut fill: impl FnMut(Place, &mut String) -> std::fmt::Result) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            // Writing to a String cannot fail.
            let _ = match piece {
                Piece::Text(text) => out.write_str(text),
                Piece::Place(place) => fill(*place, &mut out),
            };
        }
        out
    }

    /// For a Location: never one that leads to another host unless it is written so.
    pub fn location(&self, fill: impl FnMut(Place, &mut String) -> std::fmt::Result) -> String {
        let text = self.render(fill);
        let rest = text.trim_start_matches(['/', '\\']);
        let is_of_a_path = text.starts_with('/') && text.len() - rest.len() > 1 && !self.begins_with("//");
        if is_of_a_path { format!("/{rest}") } else { text }
    }

    /// Whether it is written so itself, whatever the request is.
    fn begins_with(&self, text: &str) -> bool {
        matches!(self.0.first(), Some(Piece::Text(first)) if first.starts_with(text))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    const PLACES: [Place; 3] = [Place::Host, Place::Target, Place::Client];

    fn fill(place: Place, out: &mut String) -> std::fmt::Result {
        match place {
            Place::Host => out.write_str("a.example"),
            Place::Target => out.write_str("//evil.example/x"),
            _ => write!(out, "{}", 1),
        }
    }

    #[test]
    fn places_and_braces() {
        let cases = [("https://{host}:{client}", "https://a.example:1"), ("{{a}} {{{{", "{a} {{"), ("", "")];
        for (text, expected) in cases {
            assert_eq!(Template::parse(text, &PLACES).unwrap().render(fill), expected);
        }
        for bad in ["{", "}", "{hots}", "a{b", "{}", "{path}"] {
            let error = Template::parse(bad, &PLACES).unwrap_err().to_string();
            assert!(error.contains("the places are {host}, {target}, {client}, and"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_path_in_a_location_is_no_host() {
        let location = |text| Template::parse(text, &PLACES).unwrap().location(fill);
        assert_eq!(location("{target}"), "/evil.example/x");
        assert_eq!(location("//cdn.example{target}"), "//cdn.example//evil.example/x");
    }
}
