//! A web-proxy in this process, on free ports, with a docroot that goes with it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use common::admin::Admin;
use common::listener::Bound;
use common::shutdown::Shutdown;
use common::telemetry::Registry;
use tempfile::TempDir;
use test_support::client::{self, Response};
use test_support::metrics::Metrics;
use test_support::wait::{DEADLINE, wait_until};
use web_proxy::Config;

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
    shutdown: Shutdown,
    docroot: TempDir,
}

/// Nothing answers here.
pub(crate) const NOBODY: &str = "127.0.0.1:1";

impl Proxy {
    /// With an empty index.php in its docroot.
    pub(crate) async fn start(fastcgi: &str, flags: &[&str]) -> Self {
        let docroot = tempfile::tempdir().unwrap();
        fs::write(docroot.path().join("index.php"), "").unwrap();
        Self::serve(docroot, fastcgi, flags).await
    }

    pub(crate) async fn serve(docroot: TempDir, fastcgi: &str, flags: &[&str]) -> Self {
        let root = format!("--docroot={}", docroot.path().display());
        let mut all = vec!["--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--fastcgi", fastcgi];
        if !flags.iter().any(|flag| flag.starts_with("--docroot")) {
            all.push(&root);
        }
        if !flags.iter().any(|flag| flag.starts_with("--access-log")) {
            all.push("--access-log=none");
        }
        all.extend(flags);
        let config = Config::from_flags(all).expect("flags");
        let shutdown = Shutdown::new(Duration::from_secs(5));
        let mut registry = Registry::default();
        let admin = Admin::bind(&config.admin).await.expect("admin");
        let admin_address = admin.local_addr().expect("TCP");
        let service = web_proxy::bind(config, &mut registry, &shutdown).await.expect("bind");
        let Some(Bound::Tcp(address)) = service.bound().first().cloned() else { panic!("not TCP") };
        admin.serve(registry, vec![service.pages()], &shutdown);
        tokio::spawn(service.run());
        Self { address, admin: admin_address, shutdown, docroot }
    }

    pub(crate) const fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    pub(crate) fn docroot(&self) -> &Path {
        self.docroot.path()
    }

    /// Writes a file of the docroot, and the folders around it.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.docroot().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// As [`file`](Self::file), changed long ago, so that its validators are strong.
    pub(crate) fn old_file(&self, name: &str, content: impl AsRef<[u8]>) {
        self.file(name, content);
        let file = fs::File::options().write(true).open(self.docroot().join(name)).unwrap();
        file.set_modified(httpdate::parse_http_date(THEN).unwrap()).unwrap();
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.get_with(path, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.request("GET", path, headers, b"").await
    }

    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        client::request(self.address, method, path, headers, body).await.expect("a response")
    }

    pub(crate) async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        Metrics::fetch(self.admin).await.expect("metrics").value(name, labels)
    }

    pub(crate) async fn metrics(&self) -> Metrics {
        Metrics::fetch(self.admin).await.expect("metrics")
    }

    pub(crate) async fn metric_becomes(&self, name: &str, value: f64) {
        let what = format!("{name} to be {value}");
        wait_until(&what, DEADLINE, async || (self.metric(name, &[]).await - value).abs() < 0.5).await;
    }

    /// Waits until nothing is in flight, neither with the application nor otherwise.
    pub(crate) async fn is_idle(&self) {
        for gauge in ["fastcgi_in_flight", "requests_in_flight", "connections"] {
            self.metric_becomes(&format!("web_proxy_{gauge}"), 0.0).await;
        }
    }
}

/// When old files were changed.
pub(crate) const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shutdown.terminate();
    }
}
