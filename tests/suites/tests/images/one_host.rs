//! `compose/compose.yaml` with the sample site, from nothing to nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use suites::docker::{Daemon, Reach, compose, succeed};
use suites::service::root;
use suites::visitor::Visitor;
use tempfile::TempDir;
use test_support::client;
use test_support::wait::wait_for;

use crate::support::built;

/// The database makes its files.
const FIRST_PAGE: Duration = Duration::from_mins(2);

const ARTICLE: &str = "/articles/how-a-cache-decides";

/// The stack in a folder of its own, so that the secrets of who works here are not touched.
struct Stack {
    daemon: Daemon,
    folder: TempDir,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stack_on_one_host() {
    built().await;
    let stack = Stack::new().await;
    let site = stack.daemon.port(80);

    // 1. From nothing to the first page.
    let begin = Instant::now();
    stack.compose(&["up", "--detach"]);
    let up = begin.elapsed();
    let first = first_page(site).await;
    println!("note: one host: up after {:.0?}, the first page after {:.0?}", up, begin.elapsed());
    assert_eq!((first.header("x-cache"), first.header("via")), (Some("MISS"), Some("1.1 edge-cache")));
    let again = client::get(site, "/", &[]).await.unwrap();
    assert_eq!((again.status, again.header("x-cache")), (200, Some("HIT")));

    // 2. All parts are in use, and nothing may do more than it must.
    let health = client::get(site, "/health", &[]).await.unwrap().text();
    assert!(health.contains("\"mariadb\"") && health.contains("\"sessions\": \"memcached\""), "{health}");
    stack.is_confined();

    // 3. PHP knows the client, not the cache in front of it.
    let told = client::get(site, "/whoami", &[]).await.unwrap().text();
    let [a, b, c, _] = stack
        .daemon
        .port(80)
        .ip()
        .to_string()
        .split('.')
        .map(str::to_owned)
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    assert!(told.contains(&format!("{a}.{b}.{c}.")), "{told}");

    // 4. What PHP writes to the shared folder web-proxy serves.
    let picture = "/files/styles/thumb/how-a-cache-decides.png";
    let made = client::get(site, picture, &[]).await.unwrap();
    assert_eq!((made.status, made.header("content-type")), (200, Some("image/png")), "{}", made.text());
    assert!(stack.folder.path().join("shared/site/web").join(&picture[1..]).is_file());

    // PHP may purge; visitors may not.
    let asked = client::request(site, "PURGE", "/", &[], b"").await.unwrap();
    assert!(asked.status >= 400, "{}", asked.status);
    assert_eq!(client::get(site, "/", &[]).await.unwrap().header("x-cache"), Some("HIT"));
    stack.purge("/", site);
    assert_eq!(client::get(site, "/", &[]).await.unwrap().header("x-cache"), Some("MISS"));

    // 5. A person logs in and says something.
    let said = format!("said-{:08x}", fastrand::u32(..));
    log_in_and_say(site, &said).await;

    // 6. Replicas come and go; who is being served is served to the end.
    stack.compose(&["up", "--detach", "--scale", "phpfpm=3", "--scale", "web-proxy=2"]);
    stack.gateway_sees(3).await;
    let slow: Vec<_> = (0..6)
        .map(|number| {
            tokio::spawn(async move { client::get(site, &format!("/slow?ms=8000&n={number}"), &[]).await })
        })
        .collect();
    stack.busy(6).await;
    stack.compose(&["up", "--detach", "--scale", "phpfpm=1", "--scale", "web-proxy=1"]);
    for answer in slow {
        let answer = answer.await.unwrap().unwrap();
        assert_eq!(answer.status, 200, "{}\n{}", answer.text(), stack.logs());
    }
    stack.gateway_sees(1).await;

    // 7. Stopped and started again, all is there.
    stack.compose(&["down"]);
    stack.compose(&["up", "--detach"]);
    first_page(site).await;
    let article = client::get(site, ARTICLE, &[]).await.unwrap().text();
    assert!(article.contains(&said), "{article}");

    // 8. Nothing is left, but the shared folder.
    stack.compose(&["down", "--volumes"]);
    for what in [&["ps", "--all", "--quiet"][..], &["volume", "ls", "--quiet"]] {
        assert_eq!(stack.daemon.docker(what).unwrap(), "", "{what:?}");
    }
    let networks = stack.daemon.docker(&["network", "ls", "--format", "{{.Name}}"]).unwrap();
    assert_eq!(networks.lines().collect::<Vec<_>>(), ["bridge", "host", "none"]);
}

/// Waits until the site answers. Until the database does, that is a 503.
async fn first_page(site: SocketAddr) -> client::Response {
    wait_for("the first page", FIRST_PAGE, async || {
        let page = client::get(site, "/", &[]).await.ok()?;
        (page.status == 200).then_some(page)
    })
    .await
}

async fn log_in_and_say(site: SocketAddr, said: &str) {
    let mut person = Visitor::new(site);
    let form = person.get("/login").await.unwrap().text();
    let login = [("name", "demo"), ("password", "demo"), ("token", &token(&form))];
    let entered = person.post("/login", &login).await.unwrap();
    assert_eq!((entered.status, entered.header("x-cache")), (303, Some("PASS")), "{}", entered.text());
    for visit in 1..=2 {
        let own = person.get("/me").await.unwrap();
        assert!(own.text().contains(&format!("<b id=\"visits\">{visit}</b>")), "{}", own.text());
    }
    let page = person.get(ARTICLE).await.unwrap().text();
    let form = page.split("/comments\"").nth(1).unwrap();
    let comment = [("comment", said), ("token", &token(form))];
    assert_eq!(person.post(&format!("{ARTICLE}/comments"), &comment).await.unwrap().status, 303);
    assert!(person.get(ARTICLE).await.unwrap().text().contains(said));
}

fn token(form: &str) -> String {
    form.split("name=\"token\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

impl Stack {
    async fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("test-stack-").tempdir().unwrap();
        fs::copy(root().join("compose/compose.yaml"), folder.path().join("compose.yaml")).unwrap();
        let secrets = folder.path().join("secrets");
        succeed(Command::new(root().join("compose/secrets/make")).arg(secrets)).unwrap();
        Self { daemon: Daemon::start(Reach::Own).await.unwrap(), folder }
    }

    fn compose(&self, arguments: &[&str]) {
        let mut command = compose(&self.daemon);
        command.current_dir(self.folder.path()).args(["-p", "stack", "-f", "compose.yaml"]).args(arguments);
        for name in ["REGISTRY", "TAG", "HTTP_PORT", "PRESET"] {
            command.env_remove(name);
        }
        command.env("SITE_SOURCE", "sample").env("SHARED", self.folder.path().join("shared"));
        command.env("SOURCE_FOLDER", self.folder.path().join("source"));
        if let Err(error) = succeed(&mut command) {
            panic!("{error:#}\n{}", self.logs());
        }
    }

    /// The containers of a service.
    fn containers(&self, service: &str) -> Vec<String> {
        let filter = format!("label=com.docker.compose.service={service}");
        let listed = self.daemon.docker(&["ps", "--quiet", "--filter", &filter]).unwrap();
        listed.lines().map(str::to_owned).collect()
    }

    fn logs(&self) -> String {
        let mut all = String::new();
        let listed = self.daemon.docker(&["ps", "--all", "--format", "{{.Names}}"]).unwrap_or_default();
        for name in listed.lines() {
            let output = self.daemon.command("docker").args(["logs", "--tail", "30", name]).output();
            let output = output.map(|it| suites::docker::printed(&it)).unwrap_or_default();
            let _ = write!(all, "--- {name}\n{output}");
        }
        all
    }

    /// How many replicas of PHP-FPM the gateway knows, by the last line that it has written on that.
    async fn gateway_sees(&self, replicas: usize) {
        let gateway = self.containers("fpm-gateway").pop().unwrap();
        let known = async || {
            let output = self.daemon.command("docker").args(["logs", &gateway]).output().ok()?;
            let log = suites::docker::printed(&output);
            // Those of PHP-FPM end in its port, as do the gateway's own; their networks tell nothing.
            let mut line = log.lines().filter(|line| line.contains("endpoints changed")).filter_map(|line| {
                let (_, now) = line.split_once("now=")?;
                let addresses: Vec<&str> = now.split_whitespace().collect();
                addresses.iter().any(|address| self.is_php(address)).then_some(addresses.len())
            });
            (line.next_back() == Some(replicas)).then_some(())
        };
        wait_for(&format!("{replicas} replicas"), Duration::from_secs(30), known).await;
    }

    fn is_php(&self, address: &str) -> bool {
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}:9000 {{end}}";
        self.containers("phpfpm").iter().any(|container| {
            let addresses = self.daemon.docker(&["inspect", "--format", format, container]).unwrap();
            addresses.split_whitespace().any(|own| own == address)
        })
    }

    /// As a module of Drupal does it: to the cache, with the host that visitors use.
    fn purge(&self, path: &str, site: SocketAddr) {
        let script = format!(
            "$context = stream_context_create(['http' => ['method' => 'PURGE', 'header' => 'Host: {site}', \
             'protocol_version' => 1.1]]); echo file_get_contents('http://edge-cache{path}', false, $context), \
             $http_response_header[0];"
        );
        let container = self.containers("phpfpm").pop().unwrap();
        let said = self.daemon.docker(&["exec", &container, "php", "-n", "-r", &script]).unwrap();
        assert!(said.contains(" 200 "), "{said}");
    }

    /// Waits until so many requests are in PHP, in all replicas together, and in each of them.
    async fn busy(&self, requests: usize) {
        let ask = "$c = stream_socket_client('tcp://127.0.0.1:9001'); \
                   $p = fn($n, $v) => chr(strlen($n)) . chr(strlen($v)) . $n . $v; \
                   $r = fn($t, $c) => pack('CCnnCx', 1, $t, 1, strlen($c), 0) . $c; \
                   $q = $p('REQUEST_METHOD', 'GET') . $p('SCRIPT_NAME', '/fpm-status') . $p('SCRIPT_FILENAME', '/fpm-status'); \
                   fwrite($c, $r(1, pack('nCx5', 1, 0)) . $r(4, $q) . $r(4, '') . $r(5, '')); \
                   preg_match('/^active processes:\\s+(\\d+)/m', stream_get_contents($c), $found); echo $found[1];";
        let active = async || {
            let mut all = 0;
            for container in self.containers("phpfpm") {
                let said = self.daemon.docker(&["exec", &container, "php", "-n", "-r", ask]).ok()?;
                let own: usize = said.parse().ok()?;
                if own == 0 {
                    return None;
                }
                all += own;
            }
            (all >= requests).then_some(())
        };
        wait_for("all replicas to be busy", Duration::from_secs(7), active).await;
    }

    /// Who is in which network, and that nobody has rights or resources without end.
    fn is_confined(&self) {
        let expected: BTreeMap<&str, &[&str]> = BTreeMap::from([
            ("edge-cache", &["stack_front", "stack_purge"][..]),
            ("web-proxy", &["stack_app", "stack_front"]),
            ("fpm-gateway", &["stack_app", "stack_data"]),
            ("phpfpm", &["stack_app", "stack_data", "stack_purge"]),
            ("memcached", &["stack_data"]),
            ("galera", &["stack_data"]),
        ]);
        for (service, networks) in expected {
            let [container] = self.containers(service).try_into().unwrap();
            let inspect =
                |format: &str| self.daemon.docker(&["inspect", "--format", format, &container]).unwrap();
            let of = inspect("{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}");
            let mut of: Vec<&str> = of.split_whitespace().collect();
            of.sort_unstable();
            assert_eq!(of, networks, "{service}");
            let rights =
                inspect("{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}}");
            assert_eq!(rights, "true [ALL] [no-new-privileges:true]", "{service}");
            assert_ne!(inspect("{{.HostConfig.Memory}}"), "0", "{service}");
            assert_ne!(inspect("{{.HostConfig.NanoCpus}}"), "0", "{service}");
        }
    }
}
