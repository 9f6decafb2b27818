//! HTTP that both edge-cache and web-proxy speak.

pub mod access_log;
pub mod coding;
mod decimal;
pub mod direct;
pub mod entity_tag;
pub mod error_page;
pub mod forwarded;
pub mod hop_by_hop;
pub mod range;
pub mod request_id;
pub mod strict;

pub use decimal::decimal;
