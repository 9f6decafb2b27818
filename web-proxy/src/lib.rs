//! web-proxy: static files and FastCGI for PHP sites, in the place of Apache.
//!
//! [`handler`] is the life of one request; the modules stand in the order it meets them.

pub mod config;
pub mod server;

pub mod crowd;
pub mod handler;

pub mod request;

pub mod docroot;
pub mod route;
pub mod rules;

pub mod htaccess;

pub mod fastcgi;
pub mod handover;
pub mod on_demand;
pub mod static_files;

pub mod error;
pub mod respond;

pub mod admin;
pub mod metrics;
pub mod site;

use common::admin::Admin;
use common::shutdown::Shutdown;
use common::telemetry::{Registry, register_process};

pub use config::Config;
pub use error::Error;
pub use server::{Service, bind};

/// Serves until `shutdown` drains: the site and its admin listener.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), Error> {
    let mut registry = Registry::default();
    register_process(&mut registry);
    let admin = Admin::bind(&config.admin).await?;
    let service = bind(config, &mut registry, &shutdown).await?;
    let bound: Vec<String> = service.bound().iter().map(ToString::to_string).collect();
    tracing::info!(listen = bound.join(" "), admin = %admin.local(), "web-proxy is serving");
    admin.serve(registry, vec![service.pages()], &shutdown);
    service.run().await;
    Ok(())
}
