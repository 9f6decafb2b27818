//! One list of the preset's rules and the file's ([`common::rules::merge`]), and the bits of those that act on
//! responses.

use common::rules::{RuleError, Source, merge as merge_all};

use super::read::{ACTIONS, read};
use super::response::MAX_RESPONSE_RULES;
use super::{Preset, Rule, Rules};
use crate::request::forwarding;

pub(super) fn merge(preset: Preset, file: Option<Source<'_>>) -> Result<Rules, RuleError> {
    let mut origins = Vec::new();
    let file = file.map(|source| (source, "rule"));
    let merged = merge_all(preset.source(), file, ACTIONS, |table, name| read(table, name, &mut origins))?;
    let mut list = Vec::with_capacity(merged.rules.len());
    let mut bits = 0;
    for (mut rule, at) in merged.rules {
        if let Some(response) = &mut rule.response {
            if bits == MAX_RESPONSE_RULES {
                let message = format!("more than {MAX_RESPONSE_RULES} rules act on responses");
                return Err(RuleError { message, ..at });
            }
            response.bit = 1 << bits;
            bits += 1;
        }
        list.push(rule);
    }
    let names =
        |rule: &Rule| rule.when.names_field(forwarding::sets) || rule.edits.names_field(forwarding::sets);
    let name_forwarded = list.iter().any(names);
    Ok(Rules { list, origins, name_forwarded, text: merged.text })
}
