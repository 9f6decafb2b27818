//! Rules: what the services' rules are written in, and what they match.
//!
//! 1. [`reader`](Table): a `[[rule]]` of a TOML file, key by key; an error names file, line, rule and key.
//! 2. [`When`]: a rule's matchers, compiled once.
//! 3. [`Subject`]: what they look at, a request with its path decoded.
//! 4. [`Text`]: a glob ([`Pattern`]) or, behind a tilde, a regular expression.
//!
//! What a rule does is its service's own.

mod pattern;
mod reader;
mod subject;
mod text;
mod when;

pub use pattern::{Pattern, PatternError};
pub use reader::{Field, RuleError, Source, Table};
pub use subject::{Subject, cookies, decoded_path, parameters};
pub use text::{Text, TextError};
pub use when::{Headers, When};
