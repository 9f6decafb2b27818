//! What the store has for a request, and what that is good for.

use std::sync::Arc;
use std::time::SystemTime;

use crate::policy::cache_control::CacheControl;
use crate::policy::part::Asked;
use crate::policy::reuse::{Reuse, Why, reuse};
use crate::request::Normalised;
use crate::respond::cache_status::StaleReason;
use crate::respond::{Answer, Forward, Verdict, from_parts};
use crate::store::{Lookup, Stored};

/// What is to be done with a request that the cache may answer.
#[derive(Debug)]
pub enum Plan {
    /// A stored response answers it; a stale one is refreshed behind.
    Serve(Arc<Stored>, Verdict),
    /// A stored part does.
    Part(Box<Answer>),
    /// The origin is asked for this reason, about what is stored if anything is.
    Fetch(Forward, Option<Arc<Stored>>),
}

/// `wishes` are the request's own directives. The same for a request and for `/explain`.
pub fn plan(found: &Lookup, request: &Normalised, wishes: &CacheControl, now: SystemTime) -> Plan {
    let limits = request.live.config.stale;
    match found {
        Lookup::UriMiss => Plan::Fetch(Forward::UriMiss, None),
        Lookup::VaryMiss(_) | Lookup::Unacceptable(_) => Plan::Fetch(Forward::VaryMiss, None),
        Lookup::Parts(parts) => {
            let answer =
                Asked::of(&request.head).and_then(|asked| from_parts(parts, asked, wishes, limits, now));
            answer.map_or(Plan::Fetch(Forward::Partial, None), |answer| Plan::Part(Box::new(answer)))
        }
        Lookup::Found(stored) => {
            let serve = |verdict| Plan::Serve(Arc::clone(stored), verdict);
            match reuse(stored.terms(limits), wishes, now) {
                Reuse::Fresh => serve(Verdict::Hit),
                Reuse::StaleWhileRevalidate => serve(Verdict::Stale(StaleReason::WhileRevalidate)),
                Reuse::Grace => serve(Verdict::Stale(StaleReason::Grace)),
                Reuse::Revalidate(Why::Request) => Plan::Fetch(Forward::Request, Some(Arc::clone(stored))),
                Reuse::Revalidate(Why::Stale | Why::NoCache) => {
                    Plan::Fetch(Forward::Stale, Some(Arc::clone(stored)))
                }
            }
        }
    }
}
