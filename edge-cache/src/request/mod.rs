//! The request as the cache sees it.
//!
//! 1. [`normalise`]: method, target and host are checked and brought to one form; fields that only a
//!    proxy may set are removed from strangers' requests and set anew. [`steering`]: what would change an
//!    answer without being part of the key. [`forwarding`]: what the origin is told. [`target`]: path and query in one
//!    form, however they are written. [`upgrade`]: whether it asks for another protocol.
//! 2. [`admit`]: what the rules say, what the request [`asks`] for, and whether the cache may answer at all, or the request is passed on, and
//!    why.

pub mod admit;
pub mod asks;
pub mod forwarding;
pub mod normalise;
pub mod steering;
pub mod target;
pub mod upgrade;

pub use admit::{Admission, PassReason, admit};
pub use asks::Asks;
pub use normalise::{Normalised, Refusal, normalise};
pub use upgrade::Upgrade;
