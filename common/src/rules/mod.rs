//! Rules: what the services' rules are written in, and what they match.
//!
//! 1. [`reader`](Table): a `[[rule]]` of a TOML file, key by key; an error names file, line, rule and key.
//! 2. [`When`]: a rule's matchers, compiled once.
//! 3. [`Subject`]: what they look at, a request with its path decoded.
//! 4. [`Text`]: a glob ([`Pattern`]) or, behind a tilde, a regular expression.
//! 5. [`merge`]: one list of a preset's rules and a file's.
//! 6. [`Template`] and [`values`]: what some keys of every service say.
//!
//! What a rule does is its service's own.

mod list;
mod pattern;
mod reader;
mod subject;
mod template;
mod text;
pub mod values;
mod when;

pub use list::{List, merge, written};
pub use pattern::{Pattern, PatternError};
pub use reader::{Field, RuleError, Source, Table};
pub use subject::{Subject, cookies, decoded_path, parameters};
pub use template::{Place, Template, TemplateError};
pub use text::{Text, TextError};
pub use when::{Headers, When};
