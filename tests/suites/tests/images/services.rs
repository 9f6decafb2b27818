//! Each image by itself.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use suites::docker::{Daemon, Reach, printed, succeed};
use suites::service::root;
use test_support::client;
use test_support::process::{Group, free_port};
use test_support::wait::{DEADLINE, wait_until};

use crate::support::{Container, built};

/// What one static binary and nothing else may weigh.
const LARGEST: u64 = 25_000_000;

const SERVICES: [(&str, &str); 3] =
    [("edge-cache", "65532:65532"), ("web-proxy", "33:33"), ("fpm-gateway", "65532:65532")];

#[tokio::test(flavor = "multi_thread")]
async fn our_images_are_one_binary() {
    built().await;
    let daemon = Daemon::start(Reach::Host).await.unwrap();
    let inspect =
        |image: &str, format: &str| daemon.docker(&["image", "inspect", "--format", format, image]).unwrap();
    for (name, user) in SERVICES {
        let image = format!("enjambre/{name}");
        assert_eq!(inspect(&image, "{{.Config.User}}"), user);
        assert_eq!(inspect(&image, "{{json .Config.Entrypoint}}"), format!("[\"/{name}\"]"));
        assert_eq!(inspect(&image, "{{json .Config.Cmd}}"), "null");
        assert_eq!(inspect(&image, "{{.Config.StopSignal}}"), "SIGTERM");
        assert_eq!(
            inspect(&image, "{{json .Config.Healthcheck.Test}}"),
            format!("[\"CMD\",\"/{name}\",\"healthcheck\"]")
        );
        let size: u64 = inspect(&image, "{{.Size}}").parse().unwrap();
        assert!(size < LARGEST, "{name}: {size} bytes");
        labels(&daemon, name);

        // Nothing but the binary: the rest is what Docker itself puts into every container.
        let container = daemon.docker(&["create", &image]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("root.tar");
        daemon.docker(&["export", "--output", archive.to_str().unwrap(), &container]).unwrap();
        let list = succeed(Command::new("tar").arg("-tf").arg(&archive)).unwrap();
        let ours = |path: &&str| {
            !path.ends_with('/')
                && !["dev/", "etc/", "proc/", "sys/", ".dockerenv"].iter().any(|own| path.starts_with(own))
        };
        assert_eq!(list.lines().filter(ours).collect::<Vec<_>>(), [name]);
        daemon.docker(&["rm", "--volumes", &container]).unwrap();
        let shell = daemon
            .command("docker")
            .args(["run", "--rm", "--network", "none", "--entrypoint", "/bin/sh", &image, "-c", "true"])
            .output()
            .unwrap();
        assert_eq!(shell.status.code(), Some(127), "{name} has a shell: {}", printed(&shell));
    }
}

fn labels(daemon: &Daemon, name: &str) {
    let image = format!("enjambre/{name}");
    let label = |what: &str| {
        let format = format!("{{{{index .Config.Labels \"org.opencontainers.image.{what}\"}}}}");
        daemon.docker(&["image", "inspect", "--format", &format, &image]).unwrap()
    };
    assert_eq!(label("title"), name);
    assert_eq!(label("licenses"), "Apache-2.0 OR MIT");
    assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
    for what in ["description", "source", "revision"] {
        assert!(
            !["", "unknown", "<no value>"].contains(&label(what).as_str()),
            "{name}: {what} = {}",
            label(what)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_images_run_with_nothing_to_write_to() {
    built().await;
    let daemon = Daemon::start(Reach::Host).await.unwrap();
    let site = tempfile::tempdir().unwrap();
    fs::create_dir_all(site.path().join("web")).unwrap();
    let mount = format!("{}:/var/www/site:ro", site.path().display());
    for (name, _) in SERVICES {
        let container = Container::run(&daemon, name, &["--network", "none", "--volume", &mount], &[]);
        container.healthy().await;
        assert_eq!(container.stop(), "0", "{}", container.log());
        let log = container.log();
        assert!(log.contains(&format!("{name} is serving")) && !log.contains("ERROR"), "{log}");

        // Whoever makes a mistake is told so.
        let wrong = Container::run(&daemon, name, &["--network", "none"], &["--admin", "nowhere"]);
        wait_until("it to end", Duration::from_secs(20), async || {
            daemon.health(&wrong.name).unwrap() == "exited"
        })
        .await;
        assert!(wrong.log().contains("admin"), "{}", wrong.log());
        assert_eq!(wrong.stop(), "2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn php_and_memcached_run_with_nothing_to_write_to() {
    built().await;
    let daemon = Daemon::start(Reach::Host).await.unwrap();
    for name in ["phpfpm", "memcached", "drupal"] {
        labels(&daemon, name);
    }

    let options = ["--network", "none", "--tmpfs", "/tmp", "--env", "PHP_WORKERS=3"];
    let fpm = Container::run(&daemon, "phpfpm", &options, &[]);
    fpm.healthy().await;
    let exec = |arguments: &[&str]| daemon.docker(&[&["exec", &fpm.name], arguments].concat());
    assert_eq!(exec(&["id", "-u"]).unwrap(), "33");
    let health = ["php", "-n", "/usr/local/lib/enjambre/healthcheck.php"];
    assert_eq!(exec(&health).unwrap(), "healthy: 3 workers");
    let modules = exec(&["php-fpm8.2", "-m"]).unwrap().to_lowercase();
    for module in [
        "apcu",
        "bcmath",
        "curl",
        "dom",
        "gd",
        "intl",
        "mbstring",
        "memcached",
        "mysqli",
        "pdo_mysql",
        "uploadprogress",
        "xml",
        "zend opcache",
        "zip",
    ] {
        assert!(modules.lines().any(|line| line == module), "{module} is missing");
    }
    // The health check is one: without PHP-FPM it fails.
    let alone =
        Container::run(&daemon, "phpfpm", &["--network", "none", "--entrypoint", "php"], &health[1..]);
    wait_until("it to end", Duration::from_secs(20), async || {
        daemon.health(&alone.name).unwrap() == "exited"
    })
    .await;
    assert!(alone.log().contains("unhealthy: no connection"), "{}", alone.log());
    assert_eq!(alone.stop(), "1");
    assert_eq!(fpm.stop(), "0", "{}", fpm.log());

    let options = ["--network", "none", "--env", "MEMCACHED_MEMORY=16"];
    let memcached = Container::run(&daemon, "memcached", &options, &[]);
    memcached.healthy().await;
    assert_eq!(daemon.docker(&["exec", &memcached.name, "id", "-u"]).unwrap(), "11211");
    assert_eq!(memcached.stop(), "0", "{}", memcached.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_pushed_to_a_registry() {
    built().await;
    let daemon = Daemon::start(Reach::Host).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
    let config = folder.path().join("config.yml");
    let storage = folder.path().join("storage");
    let lines = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}\"}}\n",
        storage.display()
    );
    fs::write(&config, lines).unwrap();
    let mut serve = Command::new("docker-registry");
    serve.arg("serve").arg(&config);
    let registry = Group::spawn(serve, &folder.path().join("log")).unwrap();
    wait_until("the registry", DEADLINE, async || client::get(address, "/v2/", &[]).await.is_ok()).await;

    let there = address.to_string();
    let mut build = daemon.command(root().join("docker/build"));
    build.args(["--offline-base", "--network", "host", "--push", &there, "--tag", "try", "memcached"]);
    let said = succeed(&mut build).unwrap();
    assert!(said.contains(&format!("{there}/memcached:try ")), "{said}");
    let tags = client::get(address, "/v2/memcached/tags/list", &[]).await.unwrap().text();
    assert!(tags.contains("\"try\""), "{tags}\n{}", registry.log());
    daemon.docker(&["image", "rm", &format!("{there}/memcached:try")]).unwrap();
}
