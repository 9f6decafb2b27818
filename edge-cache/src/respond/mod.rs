//! What the client gets.
//!
//! 1. [`conditional`]: 304 where the client has the response already (RFC 9110, section 13).
//! 2. [`range`] and [`multipart`]: one range of a stored body, or several (section 14).
//!    [`part`]: a range of what is stored in parts only.
//! 3. [`stored`]: a response from the store, or on its way into it.
//! 4. [`cache_status`]: what the cache did, for machines and people (RFC 9211).
//! 5. [`body`]: stored, filling, passed on or made here, counted to its end.
//! 6. [`record`]: the request's line in the access log. [`account`]: it and all else that is said of an answer.

pub mod account;
pub mod body;
pub mod cache_status;
pub mod conditional;
pub mod multipart;
pub mod part;
pub mod range;
pub mod record;
pub mod stored;
pub mod tags;

pub use account::Account;
pub use body::Body;
pub use cache_status::{CacheStatus, Forward, Verdict};
pub use part::from_parts;
pub use record::Record;
pub use stored::{from_fill, from_store};

/// A response with what `Cache-Status` is to say of it.
pub type Answer = (http::Response<Body>, CacheStatus);
