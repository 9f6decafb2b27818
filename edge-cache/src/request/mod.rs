//! The request as the cache sees it.
//!
//! 1. [`normalise`]: method, target and host are checked and brought to one form; fields that only a
//!    proxy may set are removed from strangers' requests and set anew.
//! 2. [`preset`]: which cookies matter to the application.
//! 3. [`admit`]: whether the cache may answer at all, or the request is passed on, and why.

pub mod admit;
pub mod normalise;
pub mod preset;

pub use admit::{Admission, PassReason, admit};
pub use normalise::{Normalised, Refusal, normalise};
pub use preset::Preset;
