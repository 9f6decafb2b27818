//! An edge-cache in this process, in front of a fake origin, on free ports.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use common::admin::Admin;
use common::listener::Bound;
use common::shutdown::Shutdown;
use common::telemetry::Registry;
use edge_cache::Config;
use edge_cache::config::load;
use edge_cache::reload::{Known, Reading, Reload};
use test_support::client::{self, Client, Response};
use test_support::origin::FakeOrigin;
use test_support::wait::{DEADLINE, wait_until};

pub(crate) struct Edge {
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
    /// Where HTTPS is served, with `--tls-listen`.
    tls: Option<SocketAddr>,
    shutdown: Shutdown,
}

impl Edge {
    /// With further flags; ports are free ones and nothing is logged.
    pub(crate) async fn start(origin: &FakeOrigin, flags: &[&str]) -> Self {
        Self::in_front_of(&[&origin.url()], flags).await
    }

    pub(crate) async fn in_front_of(origins: &[&str], flags: &[&str]) -> Self {
        let origins = origins.join(",");
        let mut all = vec!["--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--origin", &origins];
        if !flags.iter().any(|flag| flag.starts_with("--access-log=")) {
            all.push("--access-log=none");
        }
        all.extend(flags);
        Self::with(Config::from_flags(all).expect("flags"), None).await
    }

    /// With a configuration file that is looked at ten times a second.
    pub(crate) async fn with_file(origin: &FakeOrigin, file: &Path, flags: &[&str]) -> Self {
        Self::reloading(origin, file, flags, |reload| reload.every(Duration::from_millis(100))).await
    }

    /// With a configuration file that is read anew as `how` says.
    pub(crate) async fn reloading(
        origin: &FakeOrigin,
        file: &Path,
        flags: &[&str],
        how: impl Fn(Reload) -> Reload,
    ) -> Self {
        let mut args: Vec<String> =
            ["edge-cache", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--access-log=none", "--config"]
                .map(str::to_owned)
                .into();
        args.extend([file.to_str().expect("UTF-8").to_owned(), "--origin".to_owned(), origin.url()]);
        args.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let loaded = load(&args).expect("a configuration");
        let known = Known::of(&loaded);
        let first = Reading::of(loaded).expect("a configuration").config;
        let reload = how(Reload::new(known, move || Reading::of(load(&args)?)));
        Self::with(first, Some(reload)).await
    }

    /// Without a file, and with certificates that are looked at so often.
    pub(crate) async fn watching(origin: &FakeOrigin, flags: &[&str], interval: Duration) -> Self {
        let args =
            ["edge-cache", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--access-log=none", "--origin"];
        let mut args: Vec<String> = args.map(str::to_owned).into();
        args.push(origin.url());
        args.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let loaded = load(&args).expect("a configuration");
        let known = Known::of(&loaded);
        let first = Reading::of(loaded).expect("a configuration").config;
        let reload = Reload::new(known, move || Reading::of(load(&args)?)).every(interval);
        Self::with(first, Some(reload)).await
    }

    async fn with(config: Config, reload: Option<Reload>) -> Self {
        let shutdown = Shutdown::new(Duration::from_secs(5));
        let mut registry = Registry::default();
        let admin = Admin::bind(&config.admin).await.expect("admin");
        let admin_address = admin.local_addr().expect("TCP");
        let service = edge_cache::bind(config, &mut registry, &shutdown).await.expect("bind");
        let Some(Bound::Tcp(address)) = service.bound().first().cloned() else { panic!("not TCP") };
        let tls = service.bound_tls().first().cloned().map(|bound| match bound {
            Bound::Tcp(address) => address,
            Bound::Unix(_) => panic!("not TCP"),
        });
        admin.serve(registry, vec![service.pages()], &shutdown);
        tokio::spawn(service.reloading(reload).run());
        Self { address, admin: admin_address, tls, shutdown }
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
        let mut all = vec![("Host", "site.example")];
        if headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            all.clear();
        }
        all.extend(headers);
        // Without `Connection: close`, which would be hyper's (`common/src/http/direct/`).
        let mut client = Client::connect(self.address).await.expect("a connection");
        client.request(method, path, &all, body).await.expect("a response")
    }

    /// The whole page of metrics.
    pub(crate) async fn metrics(&self) -> String {
        client::get(self.admin, "/metrics", &[]).await.expect("metrics").text()
    }

    pub(crate) async fn status(&self) -> String {
        client::get(self.admin, "/status", &[]).await.expect("status").text()
    }

    /// The sum of a metric's samples, or of those with the labels that are given; 0 where there is none.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let page = self.metrics().await;
        let samples = page
            .lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
        samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// The value of one sample, named with its labels; 0 where there is none.
    pub(crate) async fn sample(&self, sample: &str) -> f64 {
        let page = client::get(self.admin, "/metrics", &[]).await.expect("metrics").text();
        let mut values = page.lines().filter_map(|line| line.strip_prefix(sample)?.trim().parse().ok());
        values.next().unwrap_or(0.0)
    }

    pub(crate) async fn metric_becomes(&self, name: &str, value: f64) {
        let what = format!("{name} to be {value}");
        wait_until(&what, DEADLINE, async || (self.metric(name).await - value).abs() < 0.5).await;
    }

    /// Waits until the response for `path` is stored, which happens after its last byte was sent.
    pub(crate) async fn stored(&self, count: usize) {
        self.metric_becomes("edge_cache_stored_total", count as f64).await;
    }

    pub(crate) const fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub(crate) fn tls(&self) -> SocketAddr {
        self.tls.expect("--tls-listen")
    }

    pub(crate) const fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.shutdown.terminate();
    }
}

pub(crate) fn x_cache(response: &Response) -> &str {
    response.header("x-cache").unwrap_or("none")
}
