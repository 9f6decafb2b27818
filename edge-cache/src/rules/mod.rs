//! Rules: what an operator wants done with requests and with what the origin answers them.
//!
//! 1. [`read`]: a `[[rule]]` of the file, or of a preset ([`presets`]), becomes a [`Rule`].
//! 2. [`list`]: the file's rules and the preset's become one list, in their order.
//! 3. [`Rules::apply`] goes through the list with a request. Every rule that fits makes its [`edits`]; the
//!    first that has a [`Decision`] ends it. What is left to do is in the [`Orders`].
//! 4. [`response`]: what the rules that fitted want of the origin's response.
//!
//! Nothing is copied unless it is changed, and a list without rules costs nothing.

pub mod edits;
mod list;
pub mod presets;
mod read;
pub mod response;

use std::net::IpAddr;
use std::sync::Arc;

use common::discovery::Target;
use common::rules::{RuleError, Source, Subject, Template, When, decoded_path};
use http::{StatusCode, Uri, request};

use edits::RequestEdits;
pub use edits::SetCookie;
pub use presets::Preset;
use response::ResponseRule;
pub use response::{Orders, ResponseOrders};

use crate::key::CacheKey;

/// The rules in force, in their order.
#[derive(Debug, Default)]
pub struct Rules {
    list: Vec<Rule>,
    /// What the rules' `origin` keys say, each once.
    origins: Vec<Vec<Target>>,
    /// One of them looks at a field that this proxy sets, or changes it.
    name_forwarded: bool,
    /// All of them, also those that are not enabled, as they were written.
    text: String,
}

#[derive(Debug)]
pub struct Rule {
    pub name: Arc<str>,
    when: When,
    edits: RequestEdits,
    response: Option<ResponseRule>,
    pub decision: Option<Decision>,
}

/// What ends the evaluation.
#[derive(Debug)]
pub enum Decision {
    /// The cache may answer.
    Lookup,
    /// To the origin, whatever is stored.
    Pass,
    /// Answered here with this status.
    Deny(StatusCode),
    Redirect(StatusCode, Template),
}

impl Rules {
    /// Those of `preset` and, if there is a file, of its tables `[[rule]]`.
    pub fn of(preset: Preset, file: Option<Source<'_>>) -> Result<Self, RuleError> {
        list::merge(preset, file)
    }

    /// Whether they need the fields that are [forwarded](crate::request::forwarding) to be there.
    pub const fn name_forwarded(&self) -> bool {
        self.name_forwarded
    }

    /// Edits `head`, and `key` with it, as the rules have it.
    pub fn apply(&self, head: &mut request::Parts, key: &mut CacheKey, client: IpAddr) -> Orders {
        self.apply_seen(head, key, client, |_| ())
    }

    /// [`apply`](Self::apply), which says which rules fit.
    pub fn apply_seen(
        &self,
        head: &mut request::Parts,
        key: &mut CacheKey,
        client: IpAddr,
        mut seen: impl FnMut(&Rule),
    ) -> Orders {
        let mut orders = Orders::default();
        if self.list.is_empty() {
            return orders;
        }
        // Its bytes are shared, not copied.
        let (uri, origin) = (head.uri.clone(), key.clone());
        let path = decoded_path(uri.path());
        let (scheme, host) = (origin.scheme(), origin.host_name());
        for (index, rule) in self.list.iter().enumerate() {
            if rule.edits.are_idle(head) && rule.response.is_none() && rule.decision.is_none() {
                continue;
            }
            let subject = Subject {
                method: &head.method,
                scheme,
                host,
                path: &path,
                query: head.uri.query().unwrap_or_default(),
                headers: &head.headers,
                client,
            };
            if !rule.when.fits(&subject) {
                continue;
            }
            seen(rule);
            rule.edits.make(head, key, client);
            orders.origin = rule.edits.origin.or(orders.origin);
            if let Some(response) = &rule.response {
                orders.responding |= response.bit;
            }
            if rule.decision.is_some() {
                orders.decided_by = Some(index);
                break;
            }
        }
        orders
    }

    /// The rule that has decided.
    pub fn decider(&self, orders: Orders) -> Option<&Rule> {
        self.list.get(orders.decided_by?)
    }

    /// The origins that rules name; [`Orders::origin`] counts in these.
    pub fn origins(&self) -> &[Vec<Target>] {
        &self.origins
    }

    /// The key of what is asked for at `key` by a plain GET.
    pub fn key_of(&self, key: &CacheKey) -> CacheKey {
        let mut key = key.clone();
        let Ok(uri) = key.host_and_target().1.parse::<Uri>() else { return key };
        let mut head = http::Request::new(()).into_parts().0;
        head.uri = uri;
        self.apply(&mut head, &mut key, IpAddr::from([0, 0, 0, 0]));
        key
    }

    /// As TOML that a configuration file may hold, with the same preset or without one.
    pub fn render(&self) -> &str {
        &self.text
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|rule| &*rule.name)
    }
}

#[cfg(test)]
mod tests;
