//! What a service says about itself: logs on standard error, metrics on the admin listener.

mod logs;
mod metrics;

pub use logs::{LogError, LogFormat, init};
pub use metrics::{CONTENT_TYPE, Registry, encode, latency_buckets, register_process};
