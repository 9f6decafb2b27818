//! A rule's matchers: all that are given must fit, each of them any of its values.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, Method};
use ipnet::IpNet;

use super::subject::{cookies, parameters};
use super::{Field, RuleError, Subject, Table, Text, TextError};

/// Fits every request when it is empty.
#[derive(Debug, Default)]
pub struct When {
    method: Vec<Method>,
    scheme: Option<&'static str>,
    host: Vec<Text>,
    path: Vec<Text>,
    extension: Vec<Box<[u8]>>,
    query: Option<Pairs>,
    header: Headers,
    cookie: Option<Pairs>,
    client: Vec<IpNet>,
    /// The rule is for none of these.
    unless: Vec<When>,
}

/// Parameters or cookies.
#[derive(Debug)]
enum Pairs {
    /// One with any of these names is there.
    Named(Vec<Text>),
    /// Each of these finds its own.
    Valued(Vec<(Text, Value)>),
}

/// Fields of a request or a response: each finds its own.
#[derive(Debug, Default)]
pub struct Headers(Vec<Header>);

#[derive(Debug)]
struct Header {
    names: Vec<HeaderName>,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Present,
    Absent,
    Is(Vec<Text>),
}

impl When {
    /// From the keys of `table` that are matchers.
    pub fn read(table: &Table<'_>) -> Result<Self, RuleError> {
        let mut when = Self::matchers(table)?;
        if let Some(field) = table.get("unless") {
            for table in field.tables()? {
                let unless = Self::matchers(&table)?;
                table.finish()?;
                if table.is_empty() {
                    return Err(field.error("expected at least one matcher"));
                }
                when.unless.push(unless);
            }
        }
        Ok(when)
    }

    fn matchers(table: &Table<'_>) -> Result<Self, RuleError> {
        let texts = |key, parse: fn(&str) -> Result<Text, TextError>| match table.get(key) {
            Some(field) => patterns(&field, parse),
            None => Ok(Vec::new()),
        };
        Ok(Self {
            method: table.get("method").map_or(Ok(Vec::new()), |field| methods(&field))?,
            scheme: table.get("scheme").map(|field| scheme(&field)).transpose()?,
            host: texts("host", |text| {
                if text.starts_with('~') {
                    Text::plain(text)
                } else {
                    Text::plain(&text.to_ascii_lowercase())
                }
            })?,
            path: texts("path", Text::path)?,
            extension: table.get("extension").map_or(Ok(Vec::new()), |field| extensions(&field))?,
            query: table.get("query").map(|field| Pairs::read(&field)).transpose()?,
            header: table.get("header").map_or(Ok(Headers::default()), |field| Headers::read(&field))?,
            cookie: table.get("cookie").map(|field| Pairs::read(&field)).transpose()?,
            client: table.get("client").map_or(Ok(Vec::new()), |field| networks(&field))?,
            unless: Vec::new(),
        })
    }

    /// Whether something is looked at that is no part of a cache's key.
    pub fn looks_beyond_the_key(&self) -> bool {
        !self.header.0.is_empty()
            || self.cookie.is_some()
            || !self.client.is_empty()
            || self.unless.iter().any(Self::looks_beyond_the_key)
    }

    /// Whether nothing but the path is looked at, so that the answer is the same for all requests for one.
    pub fn looks_at_the_path_alone(&self) -> bool {
        let Self { method, scheme, host, path: _, extension: _, query, header, cookie, client, unless } =
            self;
        method.is_empty()
            && scheme.is_none()
            && host.is_empty()
            && query.is_none()
            && header.0.is_empty()
            && cookie.is_none()
            && client.is_empty()
            && unless.iter().all(Self::looks_at_the_path_alone)
    }

    /// Whether it looks at a field of the request that `is` names.
    pub fn names_field(&self, is: fn(&str) -> bool) -> bool {
        self.header.0.iter().flat_map(|header| &header.names).any(|name| is(name.as_str()))
            || self.unless.iter().any(|unless| unless.names_field(is))
    }

    pub fn fits(&self, subject: &Subject<'_>) -> bool {
        let any = |texts: &[Text], text: &[u8]| {
            texts.is_empty() || texts.iter().any(|pattern| pattern.matches(text))
        };
        (self.method.is_empty() || self.method.contains(subject.method))
            && self.scheme.is_none_or(|scheme| scheme == subject.scheme)
            && (self.extension.is_empty() || self.has_extension(subject.path))
            && any(&self.path, subject.path)
            && any(&self.host, subject.host.as_bytes())
            && (self.client.is_empty() || self.client.iter().any(|network| network.contains(&subject.client)))
            && self.query.as_ref().is_none_or(|query| query.fits(|| parameters(subject.query)))
            && self.header.fits(subject.headers)
            && self.cookie.as_ref().is_none_or(|cookie| {
                cookie.fits(|| {
                    let borrowed = |(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value));
                    cookies(subject.headers).map(borrowed)
                })
            })
            && !self.unless.iter().any(|unless| unless.fits(subject))
    }

    fn has_extension(&self, path: &[u8]) -> bool {
        let name = memchr::memrchr(b'/', path).map_or(path, |slash| path.get(slash..).unwrap_or_default());
        let Some(dot) = memchr::memrchr(b'.', name) else { return false };
        let extension = name.get(dot + 1..).unwrap_or_default();
        self.extension.iter().any(|known| known.eq_ignore_ascii_case(extension))
    }
}

impl Pairs {
    fn read(field: &Field<'_>) -> Result<Self, RuleError> {
        if !field.is_table() {
            return patterns(field, Text::plain).map(Self::Named);
        }
        let mut pairs = Vec::new();
        for table in field.tables()? {
            for entry in table.entries() {
                let name = Text::plain(entry.name).map_err(|error| entry.error(error))?;
                pairs.push((name, Value::read(&entry)?));
            }
        }
        Ok(Self::Valued(pairs))
    }

    fn fits<'a, I>(&self, pairs: impl Fn() -> I) -> bool
    where
        I: Iterator<Item = (Cow<'a, [u8]>, Cow<'a, [u8]>)>,
    {
        match self {
            Self::Named(names) => pairs().any(|(name, _)| names.iter().any(|known| known.matches(&name))),
            Self::Valued(wanted) => wanted.iter().all(|(name, value)| {
                value.fits(pairs().filter(|(found, _)| name.matches(found)).map(|(_, value)| value))
            }),
        }
    }
}

impl Headers {
    pub fn read(field: &Field<'_>) -> Result<Self, RuleError> {
        let name = |field: &Field<'_>, text: &str| {
            text.parse::<HeaderName>().map_err(|_| field.error(format!("{text:?} is no field name")))
        };
        if !field.is_table() {
            let names = field.texts()?.into_iter().map(|text| name(field, text)).collect::<Result<_, _>>()?;
            return Ok(Self(vec![Header { names, value: Value::Present }]));
        }
        let mut headers = Vec::new();
        for table in field.tables()? {
            for entry in table.entries() {
                headers.push(Header { names: vec![name(&entry, entry.name)?], value: Value::read(&entry)? });
            }
        }
        Ok(Self(headers))
    }

    pub fn fits(&self, headers: &HeaderMap) -> bool {
        self.0
            .iter()
            .all(|header| header.value.fits(header.names.iter().flat_map(|name| headers.get_all(name))))
    }
}

impl Value {
    fn read(field: &Field<'_>) -> Result<Self, RuleError> {
        if field.is_flag() {
            return Ok(if field.flag()? { Self::Present } else { Self::Absent });
        }
        patterns(field, Text::plain).map(Self::Is)
    }

    fn fits(&self, mut found: impl Iterator<Item = impl AsRef<[u8]>>) -> bool {
        match self {
            Self::Present => found.next().is_some(),
            Self::Absent => found.next().is_none(),
            Self::Is(texts) => found.any(|value| texts.iter().any(|text| text.matches(value.as_ref()))),
        }
    }
}

fn patterns(field: &Field<'_>, parse: fn(&str) -> Result<Text, TextError>) -> Result<Vec<Text>, RuleError> {
    field.texts()?.into_iter().map(|text| parse(text).map_err(|error| field.error(error))).collect()
}

fn methods(field: &Field<'_>) -> Result<Vec<Method>, RuleError> {
    let method = |text: &str| match text.parse() {
        Ok(method) if text.bytes().all(|byte| !byte.is_ascii_lowercase()) => Ok(method),
        _ => Err(field.error("expected a method in capitals, such as \"GET\"")),
    };
    field.texts()?.into_iter().map(method).collect()
}

fn scheme(field: &Field<'_>) -> Result<&'static str, RuleError> {
    match field.text()? {
        "http" => Ok("http"),
        "https" => Ok("https"),
        _ => Err(field.error("expected \"http\" or \"https\"")),
    }
}

fn extensions(field: &Field<'_>) -> Result<Vec<Box<[u8]>>, RuleError> {
    let extension = |text: &str| {
        let plain =
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_~".contains(&b));
        if plain {
            Ok(text.as_bytes().into())
        } else {
            Err(field.error("expected what stands behind a name's last dot, such as \"css\""))
        }
    };
    field.texts()?.into_iter().map(extension).collect()
}

fn networks(field: &Field<'_>) -> Result<Vec<IpNet>, RuleError> {
    let network = |text: &str| {
        let single = text.parse::<std::net::IpAddr>().map(IpNet::from);
        single.or_else(|_| text.parse()).map_err(|_| field.error("expected networks such as \"10.0.0.0/8\""))
    };
    field.texts()?.into_iter().map(network).collect()
}

#[cfg(test)]
mod tests;
