//! Lanes: which requests wait together, and how many of a kind may run at a time.
//!
//! 1. A `[[rule]]` of the file or of the preset ([`Preset`]) matches on a request's parameters, in the language of the
//!    other services' rules.
//! 2. The first rule that fits and names a lane decides ([`Lane`]); every rule with `workers` that fits before it bounds
//!    its kind, the first of them counts ([`Route`]).
//! 3. What no rule sends elsewhere is anonymous.

mod subject;

use common::fastcgi::Params;
use common::rules::{Field, RuleError, Source, Table, When};

use subject::Request;

/// Where requests wait, each for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Somebody sits before it: forms, sessions, administration.
    Interactive,
    /// Pages for everybody.
    Anonymous,
    /// Nobody waits for it: cron, updates, feeds.
    Background,
}

/// How a request is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    pub lane: Lane,
    /// Its kind, where that is bounded: counts in [`Lanes::caps`].
    pub cap: Option<usize>,
}

/// A kind of requests of which only so many run at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cap {
    pub rule: String,
    pub workers: u32,
}

/// The rules in force, in their order.
#[derive(Debug)]
pub struct Lanes {
    list: Vec<Rule>,
    caps: Vec<Cap>,
    text: String,
    /// Some rule looks at header fields or at the client's address.
    reads_fields: bool,
}

#[derive(Debug)]
struct Rule {
    when: When,
    lane: Option<Lane>,
    workers: Option<u32>,
    cap: Option<usize>,
}

/// What is known of applications, written as rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Preset {
    /// What changes something is interactive.
    #[default]
    None,
    /// Drupal: sessions and administration too; cron, updates and feeds are background.
    Drupal,
    /// WordPress: likewise.
    Wordpress,
}

/// The key of the rules' tables in a file of this service alone.
pub const RULE: &str = "rule";
const ACTIONS: &str = "lane, workers";

impl Lane {
    pub const ALL: [Self; 3] = [Self::Interactive, Self::Anonymous, Self::Background];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Anonymous => "anonymous",
            Self::Background => "background",
        }
    }
}

impl Lanes {
    /// The rules of `preset` and, if there is a file, of its tables under the key that stands with it.
    pub fn of(preset: Preset, file: Option<(Source<'_>, &str)>) -> Result<Self, RuleError> {
        let merged = common::rules::merge(Some(preset.source()), file, ACTIONS, |table, _| read(table))?;
        let mut caps = Vec::new();
        let mut list = Vec::with_capacity(merged.rules.len());
        for (mut rule, at) in merged.rules {
            if let Some(workers) = rule.workers {
                rule.cap = Some(caps.len());
                // Errors name a rule in quotes.
                let name = at.rule.unwrap_or_default().trim_matches('"').to_owned();
                caps.push(Cap { rule: name, workers });
            }
            list.push(rule);
        }
        let reads_fields = list.iter().any(|rule| rule.when.looks_beyond_the_key());
        Ok(Self { list, caps, text: merged.text, reads_fields })
    }

    pub fn route(&self, params: &Params) -> Route {
        let request = Request::of(params, self.reads_fields);
        let subject = request.subject();
        let mut cap = None;
        for rule in self.list.iter().filter(|rule| rule.when.fits(&subject)) {
            cap = cap.or(rule.cap);
            if let Some(lane) = rule.lane {
                return Route { lane, cap };
            }
        }
        Route { lane: Lane::Anonymous, cap }
    }

    pub fn caps(&self) -> &[Cap] {
        &self.caps
    }

    /// As TOML that a configuration file may hold, with the same preset or without one.
    pub fn render(&self) -> &str {
        &self.text
    }
}

/// `None` for a rule that would do nothing.
fn read(table: &Table<'_>) -> Result<Option<Rule>, RuleError> {
    let rule = Rule {
        when: When::read(table)?,
        lane: table.get("lane").map(|field| lane(&field)).transpose()?,
        workers: table.get("workers").map(|field| workers(&field)).transpose()?,
        cap: None,
    };
    Ok((rule.lane.is_some() || rule.workers.is_some()).then_some(rule))
}

fn lane(field: &Field<'_>) -> Result<Lane, RuleError> {
    let text = field.text()?;
    let lane = Lane::ALL.into_iter().find(|lane| lane.as_str() == text);
    lane.ok_or_else(|| field.error("expected \"interactive\", \"anonymous\" or \"background\""))
}

fn workers(field: &Field<'_>) -> Result<u32, RuleError> {
    let words = field.words()?;
    match words.as_slice() {
        [count] => count.parse().ok().filter(|count| *count > 0),
        _ => None,
    }
    .ok_or_else(|| field.error("expected a number of workers, from 1 on"))
}

impl Preset {
    pub const fn source(self) -> Source<'static> {
        match self {
            Self::None => Source { name: "preset none", text: include_str!("presets/none.toml") },
            Self::Drupal => Source { name: "preset drupal", text: include_str!("presets/drupal.toml") },
            Self::Wordpress => {
                Source { name: "preset wordpress", text: include_str!("presets/wordpress.toml") }
            }
        }
    }
}

#[cfg(test)]
mod tests;
