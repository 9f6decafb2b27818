//! Two replicas of PHP-FPM on the same files, the gateway before them, and web-proxy before it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::net::Endpoint;
use serde_json::Value;
use suites::service::Service;
use tempfile::TempDir;
use test_support::client;
use test_support::php_fpm::{PhpFpm, PhpFpmBuilder};
use test_support::wait::wait_until;

use crate::asking::Way;

/// Dropped in the order of its fields: whoever asks goes before whoever answers.
pub(crate) struct Pair {
    pub(crate) web: Service,
    pub(crate) gateway: Service,
    pub(crate) replicas: [PhpFpm; 2],
    pub(crate) files: Files,
}

/// The docroot.
pub(crate) struct Files(TempDir);

/// Workers of each replica.
pub(crate) const WORKERS: usize = 4;

impl Pair {
    pub(crate) async fn start(flags: &[&str]) -> Self {
        Self::start_with(PhpFpm::builder().tcp(), flags).await
    }

    /// With pools that differ from the usual ones.
    pub(crate) async fn start_with(pool: PhpFpmBuilder, flags: &[&str]) -> Self {
        let replicas = [pool.clone(), pool].map(|pool| pool.max_children(WORKERS.try_into().unwrap()));
        let [a, b] = replicas;
        let replicas = [replica(a, "a").await, replica(b, "b").await];
        let upstream = replicas.each_ref().map(PhpFpm::address).join(",");
        Self::before(replicas, &[&["--upstream", &upstream], flags].concat()).await
    }

    pub(crate) async fn before(replicas: [PhpFpm; 2], flags: &[&str]) -> Self {
        let files = Files::new();
        let workers = WORKERS.to_string();
        let all = [&["--workers-per-upstream", &workers, "--probe-interval", "500ms"], flags].concat();
        let gateway = Service::start("fpm-gateway", &all).await.unwrap();
        let web = web_proxy(&files, &gateway).await;
        Self { web, gateway, replicas, files }
    }

    /// Straight to the gateway as a web server does, and through web-proxy.
    pub(crate) fn ways(&self) -> [Way; 2] {
        [self.straight(), Way::Http(self.web.address())]
    }

    pub(crate) fn straight(&self) -> Way {
        Way::FastCgi { gateway: Endpoint::Tcp(self.gateway.address()), script: self.files.script() }
    }

    /// What the gateway's status page says of a replica.
    pub(crate) async fn status(&self, replica: usize) -> Value {
        let status: Value =
            serde_json::from_str(&client::get(self.gateway.admin(), "/status", &[]).await.unwrap().text())
                .unwrap();
        let address = self.replicas[replica].address();
        let replicas = status["replicas"].as_array().unwrap();
        replicas.iter().find(|one| one["endpoint"] == address.as_str()).cloned().unwrap_or(Value::Null)
    }

    pub(crate) async fn wait_usable(&self, replica: usize, usable: bool, deadline: Duration) {
        let what = format!("replica {replica} to be {} use", if usable { "in" } else { "out of" });
        wait_until(&what, deadline, async || self.status(replica).await["usable"] == usable).await;
    }

    /// Until no worker is busy for the gateway.
    pub(crate) async fn wait_idle(&self, deadline: Duration) {
        wait_until("all workers to be free", deadline, async || {
            self.gateway.metrics().await.unwrap().value("fpm_gateway_in_flight", &[]) < 0.5
        })
        .await;
    }
}

impl Files {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("test-gateway-").tempdir().unwrap();
        let files = Self(folder);
        // Apache's children are another user.
        open(files.docroot());
        fs::write(files.script(), include_str!("app.php")).unwrap();
        files
    }

    pub(crate) fn docroot(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn script(&self) -> PathBuf {
        self.docroot().join("app.php")
    }
}

fn open(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Starts a pool whose answers carry this name.
pub(crate) async fn replica(pool: PhpFpmBuilder, name: &str) -> PhpFpm {
    pool.pool("env[REPLICA]", name).start().await.unwrap()
}

pub(crate) async fn web_proxy(files: &Files, gateway: &Service) -> Service {
    let (docroot, fastcgi) = (files.docroot().display().to_string(), gateway.address().to_string());
    // All clients come from one address.
    let any = ["--max-connections-per-client", "0"];
    let flags = [&["--docroot", &docroot, "--fastcgi", &fastcgi, "--preset", "none"], &any[..]].concat();
    Service::start("web-proxy", &flags).await.unwrap()
}
