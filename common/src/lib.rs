//! What the three services share, in the order a service meets it.

pub mod admin;
pub mod config;
pub mod discovery;
pub mod fastcgi;
pub mod http;
pub mod limits;
pub mod listener;
pub mod net;
pub mod retry_budget;
pub mod rules;
pub mod shutdown;
pub mod telemetry;
