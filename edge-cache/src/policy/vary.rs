//! The request fields that select a response (RFC 9111, section 4.1).

use http::header::{HeaderMap, HeaderName, VARY};

/// A stored response's `Vary`, with the values that selected it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(Box<[(HeaderName, Option<Vec<u8>>)]>);

impl Selector {
    /// Remembers what `request` had in the fields that `response` varies on.
    pub fn of(request: &HeaderMap, response: &HeaderMap) -> Self {
        let mut names: Vec<HeaderName> = field_names(response).collect();
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        Self(names.into_iter().map(|name| (name.clone(), normalised(request, &name))).collect())
    }

    /// Whether `request` would have selected the same response.
    pub fn matches(&self, request: &HeaderMap) -> bool {
        self.0.iter().all(|(name, value)| normalised(request, name) == *value)
    }

    /// What `request` has in the same fields, for telling requests apart before the response is known.
    #[must_use]
    pub fn same_fields(&self, request: &HeaderMap) -> Self {
        Self(self.0.iter().map(|(name, _)| (name.clone(), normalised(request, name))).collect())
    }

    /// Bytes held, for the store's weight.
    pub fn weight(&self) -> usize {
        self.0
            .iter()
            .map(|(_, value)| size_of::<(HeaderName, Option<Vec<u8>>)>() + value.as_ref().map_or(0, Vec::len))
            .sum()
    }

    /// The bytes that tell one selection from another.
    pub fn append_to(&self, key: &mut Vec<u8>) {
        for (name, value) in &self.0 {
            key.push(b'\n');
            key.extend_from_slice(name.as_str().as_bytes());
            if let Some(value) = value {
                key.push(b':');
                key.extend_from_slice(value);
            }
        }
    }
}

/// Whether `*` stands anywhere in the list: then no request ever matches.
pub fn is_star(response: &HeaderMap) -> bool {
    elements(response).any(|element| element == b"*")
}

fn field_names(response: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    elements(response).filter_map(|element| HeaderName::from_bytes(element).ok())
}

fn elements(response: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    response
        .get_all(VARY)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// The field's lines joined, white space around list elements removed. Not there at all is another
/// value than there and empty.
fn normalised(request: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let mut lines = request.get_all(name).iter().peekable();
    lines.peek()?;
    let mut joined = Vec::new();
    for element in lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')) {
        if !joined.is_empty() {
            joined.push(b',');
        }
        joined.extend_from_slice(element.trim_ascii());
    }
    Some(joined)
}
