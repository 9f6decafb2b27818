//! The life of a run.
//!
//! 1. A private folder, and a warden that removes it should we be killed.
//! 2. The three services are bound: edge-cache where a person wants it, the others on Unix sockets in the
//!    folder, which nobody else can reach. So web-proxy may believe what edge-cache says of its clients.
//! 3. PHP-FPM is started; the gateway knows its socket already.
//! 4. All serve until the drain. Then the services end one after the other, in the order of a request: what
//!    edge-cache has begun may have yet to reach the others.
//! 5. PHP-FPM finishes what goes on after its responses, and the folder goes.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use common::admin::Admin;
use common::discovery::Target;
use common::listener::{Bound, ListenError};
use common::net::{Address, Endpoint};
use common::shutdown::{Drained, Shutdown};
use common::telemetry::{Registry, register_process};

use tokio::time::Instant;

use crate::admin::PhpPages;
use crate::config::Config;
use crate::folder;
use crate::php::{Plan, Pool, StartError, Supervisor, Warden};

/// Why a run cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot make a private folder: {0}")]
    Folder(std::io::Error),
    #[error("cannot start /bin/sh: {0}")]
    Warden(std::io::Error),
    #[error("admin: {0}")]
    Admin(ListenError),
    #[error(transparent)]
    Edge(#[from] edge_cache::Error),
    #[error(transparent)]
    Web(#[from] web_proxy::Error),
    #[error(transparent)]
    Gateway(#[from] fpm_gateway::Error),
    #[error(transparent)]
    Php(#[from] StartError),
}

/// A chain that answers its addresses and has yet to be [`run`](Self::run).
#[derive(Debug)]
pub struct Chain {
    edge: edge_cache::Service,
    web: web_proxy::Service,
    gateway: fpm_gateway::Service,
    /// web-proxy's and fpm-gateway's end, which comes after edge-cache's.
    inner: Shutdown,
    php: Supervisor,
    admin: Bound,
}

impl Chain {
    pub async fn bind(config: Config, shutdown: &Shutdown) -> Result<Self, Error> {
        let Config {
            php,
            account,
            workers,
            settings,
            data,
            admin,
            grace,
            mut edge,
            mut web,
            mut gateway,
            ..
        } = config;
        let folder = folder::create(account).map_err(Error::Folder)?;
        let warden = Warden::post(folder.path()).map_err(Error::Warden)?;
        let data = folder::data(folder.path(), data.as_deref(), account).map_err(Error::Folder)?;
        let pool = Pool { folder: folder.path().to_owned(), account, workers, grace, settings };

        let socket = |name: &str| folder.path().join(name);
        edge.origin = vec![Target::Fixed(Endpoint::Unix(socket("web.sock")))];
        web.listen = vec![Address::Unix(socket("web.sock"))];
        web.spool = folder::spool(folder.path()).map_err(Error::Folder)?;
        web.fastcgi = vec![Target::Fixed(Endpoint::Unix(socket("gateway.sock")))];
        gateway.listen = vec![Address::Unix(socket("gateway.sock"))];
        gateway.upstream = vec![Target::Fixed(Endpoint::Unix(pool.socket()))];

        let mut registry = Registry::default();
        register_process(&mut registry);
        let edge = edge_cache::bind(edge, &mut registry, shutdown).await?;
        let admin = Admin::bind(&admin).await.map_err(Error::Admin)?;
        let inner = Shutdown::new(grace);
        let web = web_proxy::bind(web, &mut registry, &inner).await?;
        let gateway = fpm_gateway::bind(gateway, &mut registry, &inner).await?;
        let plan = Plan { program: php.program, pool, environment: environment(&data) };
        let php = Supervisor::start(plan, folder, warden).await?;

        let bound = admin.local().clone();
        let pages = PhpPages::new(php.state(), &mut registry);
        admin.serve(registry, vec![edge.pages(), web.pages(), gateway.pages(), pages], shutdown);
        Ok(Self { edge, web, gateway, inner, php, admin: bound })
    }

    /// Has edge-cache read its part of the configuration anew when the file changes.
    #[must_use]
    pub fn reloading(self, reload: edge_cache::Reload) -> Self {
        Self { edge: self.edge.reloading(Some(reload)), ..self }
    }

    /// Where the site is served.
    pub fn bound(&self) -> Vec<Bound> {
        self.edge.bound()
    }

    /// Where it is served over HTTPS.
    pub fn bound_tls(&self) -> Vec<Bound> {
        self.edge.bound_tls()
    }

    pub fn admin(&self) -> &Bound {
        &self.admin
    }

    /// Serves until the drain, and ends in order, within `grace` for all together.
    pub async fn run(self, grace: Duration, shutdown: &Shutdown) -> Drained {
        let Self { edge, web, gateway, inner, php, .. } = self;
        let serving = tokio::spawn({
            let inner = inner.clone();
            async move { tokio::join!(web.run(), gateway.run(), inner.draining()) }
        });
        edge.run().await;
        let end = Instant::now() + grace;
        let overdue = async || {
            tokio::select! {
                () = tokio::time::sleep_until(end) => {}
                () = shutdown.terminated() => {}
            }
        };
        let drained = shutdown.finish().await;
        inner.drain();
        let rest = tokio::select! {
            rest = inner.finish() => rest,
            () = overdue() => {
                inner.terminate();
                inner.finish().await
            }
        };
        serving.abort();
        php.stop(overdue()).await;
        if drained == Drained::Clean { rest } else { drained }
    }
}

/// What PHP finds in `$_SERVER` besides our own environment.
fn environment(data: &Path) -> Vec<(OsString, OsString)> {
    vec![("SITE_DATA".into(), data.as_os_str().to_owned())]
}
