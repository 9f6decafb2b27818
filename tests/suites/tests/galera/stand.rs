//! web-proxy → fpm-gateway → PHP-FPM with a folder of scripts.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;
use suites::service::Service;
use tempfile::TempDir;
use test_support::client;
use test_support::php_fpm::PhpFpm;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The user that the gateway asks with: it may log in, and nothing else.
pub(crate) const WATCHER: &str = "watcher";
pub(crate) const WATCHER_PASSWORD: &str = "it's a secret";

/// Everything in front of the database. Dropped in the order of its fields.
pub(crate) struct Stand {
    pub(crate) web: Service,
    pub(crate) gateway: Service,
    _fpm: PhpFpm,
    folder: TempDir,
}

/// What a client saw of one request.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) id: usize,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    pub(crate) status: Option<u16>,
    pub(crate) body: String,
}

/// Clients that write one row after the other until they are told to stop.
pub(crate) struct Writers {
    clients: JoinSet<Vec<Seen>>,
    written: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

/// What PHP was told, as JSON.
const TOLD: &str = "<?php header('Content-Type: application/json');
    $names = ['GALERA_WRITER', 'GALERA_READERS', 'MEMCACHED_SERVERS'];
    echo json_encode(array_intersect_key($_SERVER, array_flip($names)), JSON_FORCE_OBJECT);";

/// Writes a row where PHP is told to, as a site does: one connection a request, and an error page if it fails.
const WRITE: &str = "<?php
    mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
    try {
        [$host, $port] = explode(':', $_SERVER['GALERA_WRITER']);
        $database = mysqli_init();
        $database->options(MYSQLI_OPT_CONNECT_TIMEOUT, 2);
        $database->real_connect($host, 'enjambre', 'enjambre', 'site', (int) $port);
        $database->query('INSERT INTO visit (id, node) VALUES (' . (int) $_GET['id'] . ', @@port)');
        echo $_SERVER['GALERA_WRITER'];
    } catch (mysqli_sql_exception $error) {
        http_response_code(500);
        echo $error->getMessage();
    }";

impl Stand {
    pub(crate) async fn start(flags: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("test-stand-").tempdir().unwrap();
        for (name, script) in [("told.php", TOLD), ("write.php", WRITE), ("plain.php", "<?php echo 'plain';")]
        {
            fs::write(folder.path().join(name), script).unwrap();
        }
        fs::write(folder.path().join("password"), [WATCHER_PASSWORD, "\n"].concat()).unwrap();
        let fpm = PhpFpm::builder().max_children(8).start().await.unwrap();
        let upstream = fpm.address();
        let own = ["--upstream", &upstream, "--workers-per-upstream=8", "--galera-user", WATCHER];
        let password = folder.path().join("password").display().to_string();
        let environment = [("FPM_GATEWAY_GALERA_PASSWORD_FILE", password.as_str())];
        let gateway =
            Service::launch("fpm-gateway", &[&own[..], flags].concat(), &environment).await.unwrap();
        let (docroot, fastcgi) = (folder.path().display().to_string(), gateway.address().to_string());
        let web = Service::start("web-proxy", &["--docroot", &docroot, "--fastcgi", &fastcgi]).await.unwrap();
        Self { web, gateway, _fpm: fpm, folder }
    }

    pub(crate) fn docroot(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.web.address()
    }

    /// What PHP is told now; `None` where the parameter is not set.
    pub(crate) async fn told(&self, name: &str) -> Option<String> {
        let page = client::get(self.address(), "/told.php", &[]).await.unwrap();
        let told: Value = serde_json::from_str(&page.text()).ok()?;
        Some(told.get(name)?.as_str()?.to_owned())
    }

    pub(crate) async fn status(&self) -> Value {
        let page = client::get(self.gateway.admin(), "/status", &[]).await.unwrap();
        serde_json::from_str(&page.text()).unwrap()
    }

    /// A node's state, as `/status` has it.
    pub(crate) async fn state(&self, node: SocketAddr) -> String {
        let status = self.status().await;
        let nodes = status["galera"]["nodes"].as_array().unwrap().clone();
        let node = nodes.iter().find(|known| known["node"] == node.to_string().as_str());
        node.map_or(String::new(), |node| node["state"].as_str().unwrap().to_owned())
    }

    pub(crate) async fn metric(&self, name: &str) -> f64 {
        self.gateway.metrics().await.unwrap().value(name, &[])
    }
}

impl Seen {
    pub(crate) async fn of(address: SocketAddr, path: &str, id: usize) -> Self {
        let began = Instant::now();
        let answer = client::get(address, path, &[]).await.ok();
        Self {
            id,
            began,
            ended: Instant::now(),
            status: answer.as_ref().map(|answer| answer.status),
            body: answer.map(|answer| answer.text()).unwrap_or_default(),
        }
    }
}

impl Writers {
    /// Ids begin at `first` and belong to one request each.
    pub(crate) fn start(clients: usize, address: SocketAddr, first: usize) -> Self {
        let mut writers = Self { clients: JoinSet::new(), written: Arc::default(), stop: Arc::default() };
        for client in 0..clients {
            let (written, stop) = (Arc::clone(&writers.written), Arc::clone(&writers.stop));
            writers.clients.spawn(async move {
                let (mut seen, mut id) = (Vec::new(), first + client);
                while !stop.load(Ordering::Relaxed) {
                    let one = Seen::of(address, &format!("/write.php?id={id}"), id).await;
                    if one.status == Some(200) {
                        written.fetch_add(1, Ordering::Relaxed);
                    }
                    seen.push(one);
                    id += clients;
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
                seen
            });
        }
        writers
    }

    pub(crate) fn written(&self) -> usize {
        self.written.load(Ordering::Relaxed)
    }

    pub(crate) async fn stop(self) -> Vec<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.join_all().await.into_iter().flatten().collect()
    }
}
