//! Rules: what an operator, or a preset, wants done with requests.
//!
//! 1. [`read`]: a `[[rule]]` of the file, or of a preset ([`presets`]), becomes a [`Rule`].
//! 2. [`common::rules::merge`]: the file's rules and the preset's become one list, in their order.
//! 3. [`Rules::apply`] goes through the list with a request and what its path is mapped to. The rules that fit are
//!    its [`Orders`]; the first that has a [`Decision`] ends it.
//! 4. What several rules that fit say, the last says ([`Orders`]); header fields and parameters all edit.

pub mod edits;
mod presets;
mod read;

use std::sync::OnceLock;
use std::time::Duration;

use common::http::request_id;
use common::rules::{RuleError, Source, Subject, Template, Text, When};
use http::{HeaderValue, StatusCode};

use edits::Edits;
pub use presets::Preset;

use crate::config::FrontController;

/// The rules in force, in their order.
#[derive(Debug)]
pub struct Rules {
    list: Vec<Rule>,
    looks_at_request_id: bool,
    /// All of them, also those that are not enabled, as they were written.
    text: String,
}

#[derive(Debug)]
pub struct Rule {
    pub name: Box<str>,
    when: When,
    /// It looks at nothing but the path and what that is mapped to.
    is_of_the_path: bool,
    /// Fits any of these names of what the path is mapped to (Apache's `FilesMatch`); everything, if there are none. A
    /// directory has no name.
    file: Vec<Text>,
    /// Fits any of these; everything, if there are none.
    found: Vec<Found>,
    edits: Edits,
    pub decision: Option<Decision>,
}

/// What ends the evaluation.
#[derive(Debug)]
pub enum Decision {
    /// The request goes its ordinary way.
    Serve,
    /// Answered here with this status.
    Deny(StatusCode),
    Redirect(StatusCode, Template),
}

/// What there is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    File,
    Directory,
    Nothing,
}

/// Where the walk from the docroot along the path has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MappedTo<'a> {
    Directory,
    /// A file of this name; the rest of the path is its `PATH_INFO`.
    File(&'a [u8]),
    /// The first segment that is not there.
    Nothing(&'a [u8]),
}

/// Which rules fit a file, of those that look at nothing but where it is; found out once.
#[derive(Debug, Default)]
pub struct OfThePath(OnceLock<Box<[Option<bool>]>>);

/// The rules that fit a request, in their order.
#[derive(Debug, Default, Clone)]
pub struct Orders<'r>(Vec<&'r Rule>);

impl Rules {
    /// Those of `preset` and, if there is a file, of its tables under the key that stands with it.
    pub fn of(preset: Preset, file: Option<(Source<'_>, &str)>) -> Result<Self, RuleError> {
        let merged = common::rules::merge(Some(preset.source()), file, read::ACTIONS, read::read)?;
        let list: Vec<Rule> = merged.rules.into_iter().map(|(rule, _)| rule).collect();
        let is_request_id = |name: &str| name == request_id::X_REQUEST_ID.as_str();
        let looks_at_request_id = list.iter().any(|rule| rule.when.names_field(is_request_id));
        Ok(Self { list, looks_at_request_id, text: merged.text })
    }

    /// Whether one of them looks at the field `X-Request-Id`, which has to be there then.
    pub const fn look_at_request_id(&self) -> bool {
        self.looks_at_request_id
    }

    /// Adds the rules that fit to `orders`, each once, and gives the first that decides.
    pub fn apply<'r>(
        &'r self,
        subject: &Subject<'_>,
        mapped: MappedTo<'_>,
        orders: &mut Orders<'r>,
    ) -> Option<(&'r Rule, &'r Decision)> {
        let fitting = self.list.iter().filter(|rule| rule.fits(subject, mapped));
        Self::go_through(fitting, orders)
    }

    /// The same, of what is always mapped to the same, with what is `known` of its path.
    pub fn apply_to_known<'r>(
        &'r self,
        subject: &Subject<'_>,
        mapped: MappedTo<'_>,
        known: &OfThePath,
        orders: &mut Orders<'r>,
    ) -> Option<(&'r Rule, &'r Decision)> {
        let of_the_path = |rule: &Rule| rule.is_of_the_path.then(|| rule.fits(subject, mapped));
        let known = known.0.get_or_init(|| self.list.iter().map(of_the_path).collect());
        let fitting = self.list.iter().zip(known).filter_map(|(rule, known)| {
            let fits = known.unwrap_or_else(|| rule.fits(subject, mapped));
            fits.then_some(rule)
        });
        Self::go_through(fitting, orders)
    }

    fn go_through<'r>(
        fitting: impl Iterator<Item = &'r Rule>,
        orders: &mut Orders<'r>,
    ) -> Option<(&'r Rule, &'r Decision)> {
        for rule in fitting {
            if let Some(decision) = &rule.decision {
                orders.add(rule);
                return Some((rule, decision));
            }
            orders.add(rule);
        }
        None
    }

    /// As TOML that a configuration file may hold, with the same preset or without one.
    pub fn render(&self) -> &str {
        &self.text
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|rule| &*rule.name)
    }
}

impl Rule {
    fn fits(&self, subject: &Subject<'_>, mapped: MappedTo<'_>) -> bool {
        let (found, name) = match mapped {
            MappedTo::Directory => (Found::Directory, &b""[..]),
            MappedTo::File(name) => (Found::File, name),
            MappedTo::Nothing(name) => (Found::Nothing, name),
        };
        (self.found.is_empty() || self.found.contains(&found))
            && (self.file.is_empty() || self.file.iter().any(|pattern| pattern.matches(name)))
            && self.when.fits(subject)
    }
}

impl<'r> Orders<'r> {
    fn add(&mut self, rule: &'r Rule) {
        if !self.0.iter().any(|known| std::ptr::eq(*known, rule)) {
            self.0.push(rule);
        }
    }

    /// Which rules these are.
    pub fn addresses(&self) -> impl Iterator<Item = usize> {
        self.0.iter().map(|rule| std::ptr::from_ref(*rule).addr())
    }

    /// Whether these are the rules with those addresses.
    pub fn are(&self, addresses: &[usize]) -> bool {
        self.addresses().eq(addresses.iter().copied())
    }

    /// All edits, in their order.
    pub fn edits(&self) -> impl DoubleEndedIterator<Item = &'r Edits> {
        self.0.iter().map(|rule| &rule.edits)
    }

    fn last<T>(&self, said: impl Fn(&'r Edits) -> Option<T>) -> Option<T> {
        self.edits().rev().find_map(said)
    }

    /// How long browsers and caches may keep a file (mod_expires).
    pub fn expires(&self) -> Option<Duration> {
        self.last(|edits| edits.expires)
    }

    /// A file's Content-Type, whatever its name says.
    pub fn media_type(&self) -> Option<&'r HeaderValue> {
        self.last(|edits| edits.media_type.as_ref())
    }

    /// What a file is encoded with on the disk.
    pub fn coding(&self) -> Option<&'r HeaderValue> {
        self.last(|edits| edits.coding.as_ref())
    }

    /// What is put in front of a script's query.
    pub fn query(&self) -> Option<&'r str> {
        self.last(|edits| edits.query.as_deref())
    }

    /// Whether the application makes, and writes to the disk, what is not there yet.
    pub fn is_lazy(&self) -> bool {
        self.last(|edits| edits.lazy).unwrap_or_default()
    }

    /// The script for what is neither a file nor a directory, where a rule names one.
    pub fn front_controller(&self) -> Option<&'r FrontController> {
        self.last(|edits| edits.front_controller.as_ref())
    }
}

#[cfg(test)]
mod tests;
