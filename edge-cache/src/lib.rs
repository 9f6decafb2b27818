//! edge-cache: a shared HTTP cache for PHP sites, in the place of Varnish.
//!
//! [`handler`] is the life of one request; the modules stand in the order it meets them.

pub mod admin;
pub mod cache;
pub mod coding;
pub mod config;
pub mod error;
pub mod explain;
pub mod fetch;
pub mod handler;
pub mod http_options;
pub mod interim;
pub mod invalidate;
pub mod key;
pub mod live;
pub mod lookup;
pub mod metrics;
pub mod policy;
pub mod reload;
pub mod request;
pub mod respond;
pub mod rules;
pub mod server;
pub mod store;
pub mod tls;

use common::admin::Admin;
use common::shutdown::Shutdown;
use common::telemetry::{Registry, register_process};

pub use config::Config;
pub use error::Error;
pub use reload::Reload;
pub use server::{Service, bind};

/// Serves until `shutdown` drains: the cache and its admin listener.
pub async fn run(config: Config, reload: Option<Reload>, shutdown: Shutdown) -> Result<(), Error> {
    let mut registry = Registry::default();
    register_process(&mut registry);
    let admin = Admin::bind(&config.admin).await?;
    let service = bind(config, &mut registry, &shutdown).await?;
    let bound: Vec<String> = service.bound().iter().map(ToString::to_string).collect();
    let tls: Vec<String> = service.bound_tls().iter().map(ToString::to_string).collect();
    tracing::info!(listen = bound.join(" "), tls = tls.join(" "), admin = %admin.local(), "edge-cache is serving");
    admin.serve(registry, vec![service.pages()], &shutdown);
    service.reloading(reload).run().await;
    Ok(())
}
