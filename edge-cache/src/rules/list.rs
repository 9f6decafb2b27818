//! One list of the preset's rules and the file's.
//!
//! 1. A rule of the file with the name of a preset's rule takes its place.
//! 2. One that says `before` or `after` goes there.
//! 3. All others of the file come first, in their order; then the preset's.
//! 4. What is not `enabled` goes.

use common::rules::{RuleError, Source};

use super::read::{Draft, Place, read};
use super::response::MAX_RESPONSE_RULES;
use super::{Preset, Rule, Rules};

pub(super) fn merge(preset: Preset, file: Option<Source<'_>>) -> Result<Rules, RuleError> {
    let mut origins = Vec::new();
    let mut read_all = |source: Source<'_>| source.each("rule", |table| read(table, &mut origins));
    let mut drafts = preset.source().map(&mut read_all).transpose()?.unwrap_or_default();
    let own = file.map(&mut read_all).transpose()?.unwrap_or_default();

    let mut first = Vec::new();
    let mut placed: Vec<Draft> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for draft in own {
        if names.contains(&draft.name) {
            return Err(draft.error("there is another rule of this name"));
        }
        names.push(draft.name.clone());
        let replaced = drafts.iter().position(|known| known.name == draft.name);
        match (draft.place.is_some(), replaced) {
            (true, replaced) => {
                replaced.map(|at| drafts.remove(at));
                placed.push(draft);
            }
            (false, Some(at)) => drafts[at] = draft,
            (false, None) => first.push(draft),
        }
    }
    first.append(&mut drafts);
    let mut list = first;
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

    let text: Vec<String> = list.iter().map(|draft| format!("[[rule]]\n{}", draft.text)).collect();
    let mut rules: Vec<Rule> = Vec::new();
    let mut bits = 0;
    for draft in list {
        let Some(mut rule) = draft.rule else { continue };
        if let Some(response) = &mut rule.response {
            if bits == MAX_RESPONSE_RULES {
                return Err(RuleError {
                    message: format!("more than {MAX_RESPONSE_RULES} rules act on responses"),
                    ..draft.at
                });
            }
            response.bit = 1 << bits;
            bits += 1;
        }
        rules.push(rule);
    }
    Ok(Rules { list: rules, origins, text: text.join("\n") })
}

/// Where `draft` is to be inserted: behind others that stand after the same rule already.
fn spot(list: &[Draft], draft: &Draft) -> Option<usize> {
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
