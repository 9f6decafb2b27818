//! What a service says about itself: logs on standard error, metrics on the admin listener.

mod latency;
mod logs;
mod metrics;

pub use latency::Latency;
pub use logs::{LogError, LogFormat, init};
pub use metrics::{CONTENT_TYPE, Registry, encode, register_process};
