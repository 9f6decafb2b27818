//! edge-cache → web-proxy → fpm-gateway → PHP-FPM, each a process of its own.

use std::net::SocketAddr;
use std::path::Path;

use test_support::php_fpm::{PhpFpm, PhpFpmBuilder};

use crate::service::Service;

/// The chain. Dropped in the order of its fields: whoever asks goes before whoever answers.
#[derive(Debug)]
pub struct Chain {
    pub edge: Service,
    pub web: Service,
    pub gateway: Service,
    pub fpm: PhpFpm,
}

/// web-proxy → PHP-FPM, and nothing else: what stands in the place of Apache.
#[derive(Debug)]
pub struct Alone {
    pub web: Service,
    pub fpm: PhpFpm,
}

/// What a site is served by.
pub trait Front: Sized {
    fn start(plan: Plan<'_>) -> impl Future<Output = anyhow::Result<Self>>;

    /// Where browsers go.
    fn address(&self) -> SocketAddr;

    /// Everything that was logged, for the message of a test that fails.
    fn logs(&self) -> String;

    /// The processes of ours, by name; the first is where browsers go.
    fn services(&self) -> Vec<(&'static str, &Service)>;

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }
}

/// What a chain is made of.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    pub docroot: &'a Path,
    pub preset: &'a str,
    pub workers: u32,
    pub fpm: PhpFpmBuilder,
    /// Further flags.
    pub edge: &'a [&'a str],
    pub web: &'a [&'a str],
    pub gateway: &'a [&'a str],
}

impl<'a> Plan<'a> {
    pub fn new(docroot: &'a Path, preset: &'a str) -> Self {
        Self { docroot, preset, workers: 8, fpm: PhpFpm::builder(), edge: &[], web: &[], gateway: &[] }
    }

    async fn php(&self) -> anyhow::Result<PhpFpm> {
        self.fpm.clone().max_children(self.workers).start().await
    }
}

impl Chain {
    pub async fn start(plan: Plan<'_>) -> anyhow::Result<Self> {
        let fpm = plan.php().await?;
        let (upstream, workers) = (fpm.address(), plan.workers.to_string());
        let flags = ["--upstream", upstream.as_str(), "--workers-per-upstream", workers.as_str()];
        let gateway = Service::start("fpm-gateway", &[&flags[..], plan.gateway].concat()).await?;
        let (docroot, fastcgi) = (plan.docroot.display().to_string(), gateway.address().to_string());
        let flags = ["--docroot", docroot.as_str(), "--fastcgi", fastcgi.as_str(), "--preset", plan.preset];
        let trust = ["--trusted-proxies", "127.0.0.1/32"];
        let web = Service::start("web-proxy", &[&flags[..], &trust, plan.web].concat()).await?;
        let origin = format!("http://{}", web.address());
        let flags = ["--origin", origin.as_str(), "--preset", plan.preset];
        let edge = Service::start("edge-cache", &[&flags[..], plan.edge].concat()).await?;
        Ok(Self { edge, web, gateway, fpm })
    }

    /// Where browsers go.
    pub const fn address(&self) -> SocketAddr {
        self.edge.address()
    }

    pub fn url(&self, path: &str) -> String {
        self.edge.url(path)
    }

    /// Everything that was logged, for the message of a test that fails.
    pub fn logs(&self) -> String {
        format!(
            "edge-cache:\n{}\nweb-proxy:\n{}\nfpm-gateway:\n{}\nPHP-FPM:\n{}",
            self.edge.log(),
            self.web.log(),
            self.gateway.log(),
            self.fpm.log()
        )
    }
}

impl Front for Chain {
    async fn start(plan: Plan<'_>) -> anyhow::Result<Self> {
        Self::start(plan).await
    }

    fn address(&self) -> SocketAddr {
        self.address()
    }

    fn logs(&self) -> String {
        self.logs()
    }

    fn services(&self) -> Vec<(&'static str, &Service)> {
        vec![("edge-cache", &self.edge), ("web-proxy", &self.web), ("fpm-gateway", &self.gateway)]
    }
}

impl Front for Alone {
    async fn start(plan: Plan<'_>) -> anyhow::Result<Self> {
        let fpm = plan.php().await?;
        let (docroot, fastcgi) = (plan.docroot.display().to_string(), fpm.address());
        let flags = ["--docroot", docroot.as_str(), "--fastcgi", fastcgi.as_str(), "--preset", plan.preset];
        let web = Service::start("web-proxy", &[&flags[..], plan.web].concat()).await?;
        Ok(Self { web, fpm })
    }

    fn address(&self) -> SocketAddr {
        self.web.address()
    }

    fn services(&self) -> Vec<(&'static str, &Service)> {
        vec![("web-proxy", &self.web)]
    }

    fn logs(&self) -> String {
        format!("web-proxy:\n{}\nPHP-FPM:\n{}", self.web.log(), self.fpm.log())
    }
}
