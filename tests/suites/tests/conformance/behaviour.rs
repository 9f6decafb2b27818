//! The table in docs/http-behaviour.md: what the cache does where the standard leaves it the choice.

use std::collections::BTreeMap;
use std::path::PathBuf;

use suites::service::root;

use crate::edition::{Kind, Outcomes};

const BEGIN: &str = "<!-- The rest is written by the conformance suite: WRITE_BEHAVIOUR=1. -->\n";

fn file() -> PathBuf {
    root().join("docs/http-behaviour.md")
}

/// What is committed.
pub(crate) fn committed() -> String {
    let page = std::fs::read_to_string(file()).unwrap();
    page.split_once(BEGIN).unwrap().1.to_owned()
}

pub(crate) fn write(outcomes: &Outcomes) {
    let page = std::fs::read_to_string(file()).unwrap();
    let (by_hand, _) = page.split_once(BEGIN).unwrap();
    std::fs::write(file(), format!("{by_hand}{BEGIN}{}", rendered(outcomes))).unwrap();
}

/// The tables, one for each of the suite's parts.
pub(crate) fn rendered(outcomes: &Outcomes) -> String {
    let mut text = String::new();
    let mut part = "";
    for outcome in outcomes.iter().filter(|outcome| outcome.kind == Kind::Check) {
        if part != outcome.suite {
            part = &outcome.suite;
            text += &format!("\n### {part}\n\n| | | test |\n|---|---|---|\n");
        }
        let question = outcome.name.replace('|', "\\|");
        let answer = if outcomes.passes(outcome) { "yes" } else { "no" };
        text += &format!("| {question} | {answer} | `{}` |\n", outcome.id);
    }
    text
}

/// The answers in such a text, by test.
pub(crate) fn answers(text: &str) -> BTreeMap<String, bool> {
    text.lines()
        .filter_map(|line| {
            let mut cells = line.trim_end_matches(" |").rsplitn(3, " | ");
            let id = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
            Some((id.to_owned(), cells.next()? == "yes"))
        })
        .collect()
}
