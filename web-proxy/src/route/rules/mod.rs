//! Rules: what is done with a request before files and PHP are.
//!
//! 1. A table of [`RuleSource`]s, in order: the ones of every site ([`presets::EVERY_SITE`]), then the preset's.
//! 2. [`Rules::compile`] parses their patterns.
//! 3. [`Rules::first`] gives the first rule that fits a [`Subject`]; its [`Action`] decides. No rule: the
//!    request goes its ordinary way.

mod presets;

use common::rules::Pattern;
pub use common::rules::PatternError;
pub use presets::{Preset, Profile};

/// A rule as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleSource {
    /// What the log says when the rule has decided.
    pub name: &'static str,
    /// Fits any of these paths; every path if there are none.
    pub path: &'static [&'static str],
    /// But none of these.
    pub unless: &'static [&'static str],
    /// Fits any of these names of what the path is mapped to (Apache's FilesMatch); everything, if there are
    /// none. A directory has no name.
    pub file: &'static [&'static str],
    pub found: Found,
    pub then: Action,
}

/// What has to be there for a rule to fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Anything,
    File,
    Nothing,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// 403
    Deny,
    /// 404 without asking the application.
    NotFound,
    /// 301 to this target, in which `{directory}` is the path up to its last slash and `{name}` the rest.
    Redirect(&'static str),
    /// The query gets this in front.
    Query(&'static str),
}

/// What a rule looks at.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub path: &'a [u8],
    pub mapped: MappedTo<'a>,
}

/// Where the walk from the docroot along the path has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MappedTo<'a> {
    Directory,
    /// A file of this name; the rest of the path is its PATH_INFO.
    File(&'a [u8]),
    /// The first segment that is not there.
    Nothing(&'a [u8]),
}

/// A table made ready.
#[derive(Debug)]
pub struct Rules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    name: &'static str,
    path: Vec<Pattern>,
    unless: Vec<Pattern>,
    file: Vec<Pattern>,
    found: Found,
    then: Action,
}

impl Rules {
    pub fn compile(sources: impl IntoIterator<Item = RuleSource>) -> Result<Self, PatternError> {
        let patterns = |texts: &[&str]| -> Result<Vec<Pattern>, PatternError> {
            texts.iter().map(|text| Pattern::parse(text)).collect()
        };
        let compile = |source: RuleSource| {
            Ok(Rule {
                name: source.name,
                path: patterns(source.path)?,
                unless: patterns(source.unless)?,
                file: patterns(source.file)?,
                found: source.found,
                then: source.then,
            })
        };
        Ok(Self(sources.into_iter().map(compile).collect::<Result<_, _>>()?))
    }

    /// The name and the action of the first rule that fits.
    pub fn first(&self, subject: Subject<'_>) -> Option<(&'static str, Action)> {
        self.0.iter().find(|rule| rule.fits(subject)).map(|rule| (rule.name, rule.then))
    }
}

impl Rule {
    fn fits(&self, subject: Subject<'_>) -> bool {
        let name = match (self.found, subject.mapped) {
            (Found::Anything | Found::File, MappedTo::File(name))
            | (Found::Anything | Found::Nothing, MappedTo::Nothing(name)) => name,
            (Found::Anything, MappedTo::Directory) => b"",
            _ => return false,
        };
        let any = |patterns: &[Pattern], text: &[u8]| patterns.iter().any(|pattern| pattern.matches(text));
        (self.file.is_empty() || any(&self.file, name))
            && (self.path.is_empty() || any(&self.path, subject.path))
            && !any(&self.unless, subject.path)
    }
}

#[cfg(test)]
mod tests;
