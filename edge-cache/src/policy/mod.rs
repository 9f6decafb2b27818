//! What HTTP caching says, as pure functions: values and `now` in, a decision with its reason out.
//!
//! 1. [`cache_control`]: the directives as they were written; [`targeted`]: those for caches like this one.
//! 2. [`freshness`]: how long a response is fresh and how old it is now (RFC 9111, section 4.2).
//! 3. [`storable`]: whether a response may be stored, and why not (section 3).
//! 4. [`reuse`]: what may be done with a stored response for a request (section 4).
//! 5. [`vary`]: whether a stored response was selected by the same request fields (section 4.1); [`language`]: which
//!    of them mean the same.
//! 6. [`part`]: which ranges a stored part answers (section 3.3).
//! 7. [`coding`]: which form of its body a client gets (RFC 9110, section 12.5.3).
//! 8. [`update`]: how a 304 freshens a stored response (section 4.3.4).

pub mod cache_control;
pub mod coding;
pub mod date;
pub mod freshness;
pub mod language;
pub mod part;
pub mod reuse;
pub mod storable;
pub mod targeted;
pub mod update;
pub mod vary;

#[cfg(test)]
mod tests;
