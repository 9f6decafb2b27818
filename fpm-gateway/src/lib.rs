//! fpm-gateway: a FastCGI balancer that owns the queue in front of PHP-FPM.
//!
//! [`handler`] is the life of one request; the modules stand in the order it meets them.

pub mod config;
pub mod server;

pub mod handler;
pub mod request;

pub mod dependencies;

pub mod admission;
pub mod balance;
pub mod lanes;
pub mod share;

pub mod backend;
pub mod relay;

pub mod error;
pub mod metrics;

pub mod admin;
pub mod discovery;
pub mod health;

use common::admin::Admin;
use common::shutdown::Shutdown;
use common::telemetry::{Registry, register_process};

pub use config::Config;
pub use error::Error;
pub use server::{Service, bind};

/// Serves until `shutdown` drains: the gateway and its admin listener.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), Error> {
    let mut registry = Registry::default();
    register_process(&mut registry);
    let admin = Admin::bind(&config.admin).await?;
    let service = bind(config, &mut registry, &shutdown).await?;
    let bound: Vec<String> = service.bound().iter().map(ToString::to_string).collect();
    tracing::info!(listen = bound.join(" "), admin = %admin.local(), "fpm-gateway is serving");
    admin.serve(registry, vec![service.pages()], &shutdown);
    service.run().await;
    Ok(())
}
