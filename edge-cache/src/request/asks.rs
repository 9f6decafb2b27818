use http::HeaderMap;

/// What a request asks for beside its URL, by the names of its fields: most ask for nothing, and then nothing has to be looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub struct Asks {
    /// If-Match or If-Unmodified-Since.
    pub precondition: bool,
    /// If-None-Match or If-Modified-Since.
    pub condition: bool,
    /// Range.
    pub range: bool,
    /// Cache-Control.
    pub directives: bool,
}

impl Asks {
    pub fn of(headers: &HeaderMap) -> Self {
        let mut asks = Self::default();
        for name in headers.keys() {
            match name.as_str() {
                "if-match" | "if-unmodified-since" => asks.precondition = true,
                "if-none-match" | "if-modified-since" => asks.condition = true,
                "range" => asks.range = true,
                "cache-control" => asks.directives = true,
                _ => {}
            }
        }
        asks
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn what_each_field_asks_for() {
        let none = Asks::default();
        let cases: [(&[&str], Asks); 8] = [
            (&["host", "accept", "if-range", "pragma"], none),
            (&["if-match"], Asks { precondition: true, ..none }),
            (&["host", "if-unmodified-since"], Asks { precondition: true, ..none }),
            (&["if-none-match", "host"], Asks { condition: true, ..none }),
            (&["if-modified-since"], Asks { condition: true, ..none }),
            (&["if-range", "range"], Asks { range: true, ..none }),
            (&["cache-control"], Asks { directives: true, ..none }),
            (&[], none),
        ];
        for (names, expected) in cases {
            let headers = names.iter().map(|name| (name.parse().unwrap(), "x".parse().unwrap())).collect();
            assert_eq!(Asks::of(&headers), expected, "{names:?}");
        }
    }
}
