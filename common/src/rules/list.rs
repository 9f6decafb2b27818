//! One list of a preset's rules and a file's.
//!
//! 1. A rule of the file with the name of a preset's rule takes its place.
//! 2. One that says `before` or `after` goes there.
//! 3. All others of the file come first, in their order; then the preset's.
//! 4. What is not `enabled` goes.

use super::{RuleError, Source, Table};
use crate::config::ConfigFile;

/// The rules in force, in their order.
#[derive(Debug)]
pub struct List<T> {
    /// Each with where it stands, for errors that are found later.
    pub rules: Vec<(T, RuleError)>,
    /// All of them, also those that are not enabled, as they were written.
    pub text: String,
}

/// A rule before its place is known.
#[derive(Debug)]
struct Draft<T> {
    name: String,
    place: Option<Place>,
    /// `None` if it is not enabled.
    rule: Option<T>,
    /// As it was written.
    text: String,
    /// Where it stands.
    at: RuleError,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Before(String),
    After(String),
}

/// Long enough to say what a rule is for, short enough for a header field.
const MAX_NAME: usize = 64;

/// The rules of a file, under `key`, as they are written there.
pub fn written(file: &ConfigFile, key: &str) -> String {
    let rules = file.source().each(key, |table| Ok(format!("\n[[{key}]]\n{}", table.render())));
    // What cannot be read was an error before.
    rules.unwrap_or_default().concat()
}

/// Reads the tables `[[key]]` of `preset` and of `file`, each by `read`, which gets the rule's name and gives `None`
/// for a rule that would do nothing; `actions` is what a rule could do, for the error then.
pub fn merge<T>(
    preset: Option<Source<'_>>,
    file: Option<(Source<'_>, &str)>,
    actions: &str,
    mut read: impl FnMut(&Table<'_>, &str) -> Result<Option<T>, RuleError>,
) -> Result<List<T>, RuleError> {
    let mut read_all =
        |(source, key): (Source<'_>, &str)| source.each(key, |table| Draft::read(table, actions, &mut read));
    let preset = preset.map(|source| (source, "rule")).map(&mut read_all).transpose()?.unwrap_or_default();
    let own = file.map(&mut read_all).transpose()?.unwrap_or_default();
    let list = ordered(preset, own)?;
    let text: Vec<String> = list.iter().map(|draft| format!("[[rule]]\n{}", draft.text)).collect();
    let rules = list.into_iter().filter_map(|draft| Some((draft.rule?, draft.at))).collect();
    Ok(List { rules, text: text.join("\n") })
}

fn ordered<T>(mut preset: Vec<Draft<T>>, own: Vec<Draft<T>>) -> Result<Vec<Draft<T>>, RuleError> {
    let mut list = Vec::new();
    let mut placed: Vec<Draft<T>> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for draft in own {
        if names.contains(&draft.name) {
            return Err(draft.error("there is another rule of this name"));
        }
        names.push(draft.name.clone());
        let replaced = preset.iter().position(|known| known.name == draft.name);
        match (draft.place.is_some(), replaced) {
            (true, replaced) => {
                replaced.map(|at| preset.remove(at));
                placed.push(draft);
            }
            (false, Some(at)) => preset[at] = draft,
            (false, None) => list.push(draft),
        }
    }
    list.append(&mut preset);
    // One that is placed may be placed at another that is.
    while !placed.is_empty() {
        let waiting = placed.len();
        let mut left = Vec::new();
        for draft in placed {
            match spot(&list, &draft) {
                Some(at) => list.insert(at, draft),
                None => left.push(draft),
            }
        }
        placed = left;
        if let Some(draft) = placed.first().filter(|_| placed.len() == waiting) {
            let known: Vec<&str> = list.iter().map(|draft| draft.name.as_str()).collect();
            let wanted = draft.place.as_ref().map(Place::name).unwrap_or_default();
            return Err(draft.error(format!(
                "there is no rule {wanted:?} that it could stand beside; there are: {}",
                known.join(", ")
            )));
        }
    }
    Ok(list)
}

/// Where `draft` is to be inserted: behind others that stand after the same rule already.
fn spot<T>(list: &[Draft<T>], draft: &Draft<T>) -> Option<usize> {
    let place = draft.place.as_ref()?;
    let at = list.iter().position(|known| known.name == place.name())?;
    match place {
        Place::Before(_) => Some(at),
        Place::After(_) => {
            let same = list.iter().skip(at + 1).take_while(|known| known.place.as_ref() == Some(place));
            Some(at + 1 + same.count())
        }
    }
}

impl<T> Draft<T> {
    fn read(
        table: &Table<'_>,
        actions: &str,
        read: impl FnOnce(&Table<'_>, &str) -> Result<Option<T>, RuleError>,
    ) -> Result<Self, RuleError> {
        let name = table.get("name").ok_or_else(|| table.error("a rule needs a name"))?;
        let text = name.text()?;
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if text.is_empty() || text.len() > MAX_NAME || !plain(text) {
            let accepted = format!("expected up to {MAX_NAME} letters, digits, dots, dashes and underscores");
            return Err(name.error(accepted));
        }
        let enabled = table.get("enabled").map_or(Ok(true), |field| field.flag())?;
        let before = table.get("before").map(|field| field.text()).transpose()?;
        let after = table.get("after").map(|field| field.text()).transpose()?;
        let place = match (before, after) {
            (Some(_), Some(_)) => return Err(table.error("before and after: keep one")),
            (Some(before), None) => Some(Place::Before(before.to_owned())),
            (None, Some(after)) => Some(Place::After(after.to_owned())),
            (None, None) => None,
        };
        let rule = read(table, text)?;
        table.finish()?;
        if enabled && rule.is_none() {
            return Err(table.error(format!("it does nothing; a rule has at least one of: {actions}")));
        }
        let (name, at) = (text.to_owned(), table.error(""));
        Ok(Self { name, place, rule: rule.filter(|_| enabled), text: table.render(), at })
    }

    fn error(&self, message: impl Into<String>) -> RuleError {
        RuleError { message: message.into(), ..self.at.clone() }
    }
}

impl Place {
    fn name(&self) -> &str {
        match self {
            Self::Before(name) | Self::After(name) => name,
        }
    }
}
