//! What a line says: `combined`, `json`, or directives in the spirit of Apache's `LogFormat`.

use std::fmt;
use std::str::FromStr;

use http::{HeaderName, header};

/// A line's form, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// As it was written.
    source: String,
    pub(super) kind: Kind,
    request_fields: Vec<HeaderName>,
    response_fields: Vec<HeaderName>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Json,
    Tokens(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Literal(String),
    Field(Field),
    /// `%t`: `[10/Oct/2000:13:55:36 +0000]`
    CommonTime,
    /// `%{sec}t` and its like: time since 1970 in this unit.
    Since(Unit),
    /// `%r`: method, target and protocol.
    RequestLine,
    /// `%q`: the query with its `?`, or nothing.
    Query,
    /// `%b`: the bytes, `-` for none.
    BytesOrDash,
    /// `%T` and its like: the whole time in this unit.
    Taken(Unit),
    /// One of [`Format::request_fields`].
    RequestField(usize),
    /// One of [`Format::response_fields`].
    ResponseField(usize),
    /// A space and the decision, or nothing where there is none.
    Note,
}

impl Token {
    const fn field(&self) -> Option<Field> {
        match self {
            Self::Field(field) => Some(*field),
            Self::Taken(_) => Some(Field::Total),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
}

macro_rules! fields {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What is known of a request by name: `%{name}x` in a format, a key in JSON.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Field {
            $($(#[$doc])* $variant,)*
        }

        impl Field {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

fields! {
    /// `2000-10-10T13:55:36.123Z`
    Time = "time",
    Client = "client",
    Method = "method",
    Scheme = "scheme",
    Host = "host",
    Target = "target",
    /// The target without its query.
    Path = "path",
    Protocol = "protocol",
    Status = "status",
    Bytes = "bytes",
    Complete = "complete",
    Referer = "referer",
    UserAgent = "user_agent",
    RequestId = "request_id",
    Decision = "decision",
    Reason = "reason",
    Ttl = "ttl",
    Age = "age",
    Stored = "stored",
    NotStored = "not_stored",
    Collapsed = "collapsed",
    Rule = "rule",
    Script = "script",
    /// All times are in microseconds.
    FirstByte = "first_byte_us",
    Upstream = "upstream_us",
    Total = "total_us",
}

/// Some of the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Fields(u32);

impl Fields {
    pub(super) const fn contains(self, field: Field) -> bool {
        self.0 & Self::bit(field) != 0
    }

    const fn bit(field: Field) -> u32 {
        1 << field as u32
    }
}

impl FromIterator<Field> for Fields {
    fn from_iter<I: IntoIterator<Item = Field>>(fields: I) -> Self {
        Self(fields.into_iter().fold(0, |all, field| all | Self::bit(field)))
    }
}

/// What is wrong with a format, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error(
        "expected combined, json, or a format with directives such as '%h %t \"%r\" %>s %B %{{decision}}x %D'"
    )]
    NoDirective,
    #[error("at character {at}: {found} is no directive; those are {DIRECTIVES}")]
    Directive { at: usize, found: String },
    #[error("at character {at}: %{{ without }} and a letter behind it")]
    Open { at: usize },
    #[error("at character {at}: there is no field {name:?}; those of %{{…}}x are {}", names())]
    Field { at: usize, name: String },
    #[error("at character {at}: {name:?} is no name of a header field")]
    HeaderName { at: usize, name: String },
    #[error("at character {at}: there is no unit {name:?}; those of %{{…}}{letter} are {accepted}")]
    Unit { at: usize, name: String, letter: char, accepted: &'static str },
    #[error("at character {at}: a line break or another control character; \\t is a tab")]
    Control { at: usize },
    #[error("at character {at}: \\{found} is no escape; those are \\t, \\\" and \\\\")]
    Escape { at: usize, found: String },
}

const DIRECTIVES: &str = "%h %a %l %u %t %{sec|msec|usec|iso}t %r %m %U %q %H %v %V %s %>s %b %B %D %T %{s|ms|us}T \
                          %{NAME}i %{NAME}o %{field}x %%";
const COMBINED: &str = r#"%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i""#;

fn names() -> String {
    Field::ALL.iter().map(|field| field.name()).collect::<Vec<_>>().join(", ")
}

impl Format {
    /// The request's fields that it names, beside those that every entry has.
    pub fn request_fields(&self) -> &[HeaderName] {
        &self.request_fields
    }

    pub fn response_fields(&self) -> &[HeaderName] {
        &self.response_fields
    }

    /// What its lines say, beside parts of what every entry has; `json` are the fields of a JSON line.
    pub(super) fn fields(&self, json: &[Field]) -> Fields {
        match &self.kind {
            Kind::Json => json.iter().copied().collect(),
            Kind::Tokens(tokens) => tokens.iter().filter_map(Token::field).collect(),
        }
    }

    fn parse(text: &str, note: bool) -> Result<Self, FormatError> {
        let mut parser = Parser { rest: text.chars(), at: 0, tokens: Vec::new(), literal: String::new() };
        let (mut request_fields, mut response_fields) = (Vec::new(), Vec::new());
        while let Some(character) = parser.next() {
            match character {
                '%' => {
                    let token = parser.directive(&mut request_fields, &mut response_fields)?;
                    parser.push(token);
                }
                '\\' => parser.escape()?,
                control if control.is_control() && control != '\t' => {
                    return Err(FormatError::Control { at: parser.at });
                }
                other => parser.literal.push(other),
            }
        }
        if note {
            parser.push(Token::Note);
        }
        let tokens = parser.finish();
        Ok(Self { source: text.to_owned(), kind: Kind::Tokens(tokens), request_fields, response_fields })
    }
}

struct Parser<'a> {
    rest: std::str::Chars<'a>,
    /// The characters read, so the position of the last one counted from 1.
    at: usize,
    tokens: Vec<Token>,
    literal: String,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.next();
        self.at += usize::from(next.is_some());
        next
    }

    fn push(&mut self, token: Token) {
        if let Token::Literal(text) = &token {
            return self.literal.push_str(text);
        }
        if !self.literal.is_empty() {
            self.tokens.push(Token::Literal(std::mem::take(&mut self.literal)));
        }
        self.tokens.push(token);
    }

    fn finish(mut self) -> Vec<Token> {
        if !self.literal.is_empty() {
            self.tokens.push(Token::Literal(self.literal));
        }
        self.tokens
    }

    fn escape(&mut self) -> Result<(), FormatError> {
        let at = self.at;
        match self.next() {
            Some('t') => self.literal.push('\t'),
            Some(same @ ('"' | '\\')) => self.literal.push(same),
            other => {
                return Err(FormatError::Escape { at, found: other.map(String::from).unwrap_or_default() });
            }
        }
        Ok(())
    }

    /// Behind a `%`.
    fn directive(
        &mut self,
        request_fields: &mut Vec<HeaderName>,
        response_fields: &mut Vec<HeaderName>,
    ) -> Result<Token, FormatError> {
        let at = self.at;
        let letter = self.next();
        if letter == Some('{') {
            return self.named(at, request_fields, response_fields);
        }
        let found = |text: String| FormatError::Directive { at, found: format!("%{text}") };
        Ok(match letter {
            Some('%') => Token::Literal("%".into()),
            Some('h' | 'a') => Token::Field(Field::Client),
            // For identd and HTTP authentication: neither is known here.
            Some('l' | 'u') => Token::Literal("-".into()),
            Some('t') => Token::CommonTime,
            Some('r') => Token::RequestLine,
            Some('m') => Token::Field(Field::Method),
            Some('U') => Token::Field(Field::Path),
            Some('q') => Token::Query,
            Some('H') => Token::Field(Field::Protocol),
            Some('v' | 'V') => Token::Field(Field::Host),
            Some('s') => Token::Field(Field::Status),
            Some('b') => Token::BytesOrDash,
            Some('B') => Token::Field(Field::Bytes),
            Some('D') => Token::Taken(Unit::Microseconds),
            Some('T') => Token::Taken(Unit::Seconds),
            // There is one status only: no internal redirect has another.
            Some('>') => match self.next() {
                Some('s') => Token::Field(Field::Status),
                other => return Err(found(format!(">{}", other.map(String::from).unwrap_or_default()))),
            },
            other => return Err(found(other.map(String::from).unwrap_or_default())),
        })
    }

    /// Behind a `%{` that began at `at`.
    fn named(
        &mut self,
        at: usize,
        request_fields: &mut Vec<HeaderName>,
        response_fields: &mut Vec<HeaderName>,
    ) -> Result<Token, FormatError> {
        let mut name = String::new();
        loop {
            match self.next() {
                Some('}') => break,
                Some(character) => name.push(character),
                None => return Err(FormatError::Open { at }),
            }
        }
        let unit = |letter, accepted| FormatError::Unit { at, name: name.clone(), letter, accepted };
        match self.next() {
            Some('x') => match Field::ALL.iter().find(|field| field.name() == name) {
                Some(field) => Ok(Token::Field(*field)),
                None => Err(FormatError::Field { at, name }),
            },
            Some('i') => Ok(match header_name(&name, at)? {
                header::REFERER => Token::Field(Field::Referer),
                header::USER_AGENT => Token::Field(Field::UserAgent),
                name => Token::RequestField(place(request_fields, name)),
            }),
            Some('o') => Ok(Token::ResponseField(place(response_fields, header_name(&name, at)?))),
            Some('t') => match &*name {
                "sec" => Ok(Token::Since(Unit::Seconds)),
                "msec" => Ok(Token::Since(Unit::Milliseconds)),
                "usec" => Ok(Token::Since(Unit::Microseconds)),
                "iso" => Ok(Token::Field(Field::Time)),
                _ => Err(unit('t', "sec, msec, usec, iso")),
            },
            Some('T') => match &*name {
                "s" => Ok(Token::Taken(Unit::Seconds)),
                "ms" => Ok(Token::Taken(Unit::Milliseconds)),
                "us" => Ok(Token::Taken(Unit::Microseconds)),
                _ => Err(unit('T', "s, ms, us")),
            },
            Some(other) => Err(FormatError::Directive { at, found: format!("%{{{name}}}{other}") }),
            None => Err(FormatError::Open { at }),
        }
    }
}

fn header_name(name: &str, at: usize) -> Result<HeaderName, FormatError> {
    name.parse().map_err(|_| FormatError::HeaderName { at, name: name.to_owned() })
}

/// Where the name is, added when it is new.
fn place(names: &mut Vec<HeaderName>, name: HeaderName) -> usize {
    names.iter().position(|known| *known == name).unwrap_or_else(|| {
        names.push(name);
        names.len() - 1
    })
}

impl FromStr for Format {
    type Err = FormatError;
    fn from_str(text: &str) -> Result<Self, FormatError> {
        match text {
            "combined" => Ok(Self { source: text.to_owned(), ..Self::parse(COMBINED, true)? }),
            "json" => Ok(Self {
                source: text.to_owned(),
                kind: Kind::Json,
                request_fields: Vec::new(),
                response_fields: Vec::new(),
            }),
            // Whatever it is meant to be, every line of it would be the same.
            text if !text.contains('%') => Err(FormatError::NoDirective),
            text => Self::parse(text, false),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}
