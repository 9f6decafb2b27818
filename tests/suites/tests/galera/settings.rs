//! `compose/settings.enjambre.php` and `compose/wp-config.enjambre.php`, under the real PHP.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use suites::service::root;
use test_support::mariadb::{MariaDb, PASSWORD, USER};
use test_support::process::{free_port, program};

/// Sets `$_SERVER`, includes the file as settings.php does, and prints what came of it.
const DRUPAL: &str = "<?php
    $_SERVER = array_merge($_SERVER, json_decode($argv[2], true));
    class Loader { public array $psr4 = []; function addPsr4($p, $d) { $this->psr4[$p] = $d; } }
    (function (string $app_root, $class_loader) use ($argv) {
        $databases = []; $settings = ['hash_salt' => 'of settings.php']; $config = [];
        include $argv[1];
        echo json_encode(compact('databases', 'settings') + ['psr4' => $class_loader->psr4]);
    })($argv[3], new Loader);";

const WORDPRESS: &str = "<?php
    define('DB_CHARSET', 'latin1');
    $_SERVER = array_merge($_SERVER, json_decode($argv[2], true));
    (function () use ($argv) { require $argv[1]; })();
    echo json_encode(get_defined_constants(true)['user'] + [
        'memcached_servers' => $GLOBALS['memcached_servers'] ?? null,
        'https' => $_SERVER['HTTPS'] ?? null,
        'client' => $_SERVER['REMOTE_ADDR'] ?? null,
    ]);";

/// Runs a harness under `php` with nothing else in the environment.
fn run(harness: &str, file: &str, server: &Value, app_root: &Path, environment: &[(&str, &str)]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("harness.php");
    fs::write(&script, harness).unwrap();
    let output = Command::new(program(&["php"]).unwrap())
        .args(["-d", "display_errors=stderr", "-d", "error_reporting=-1"])
        .arg(&script)
        .arg(root().join("compose").join(file))
        .arg(server.to_string())
        .arg(app_root)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stdout)))
}

fn drupal(server: &Value, app_root: &Path, environment: &[(&str, &str)]) -> Value {
    run(DRUPAL, "settings.enjambre.php", server, app_root, environment)
}

fn wordpress(server: &Value, environment: &[(&str, &str)]) -> Value {
    run(WORDPRESS, "wp-config.enjambre.php", server, Path::new("/"), environment)
}

/// As a gateway says it.
fn told() -> Value {
    json!({
        "GALERA_WRITER": "10.0.0.2:3307",
        "GALERA_READERS": "10.0.0.1:3306,10.0.0.2:3307,[fd00::3]:3306",
        "MEMCACHED_SERVERS": "10.0.0.8:11211,10.0.0.9:11211",
    })
}

#[test]
fn the_files_are_valid_php() {
    for file in ["settings.enjambre.php", "wp-config.enjambre.php"] {
        let output = Command::new(program(&["php"]).unwrap())
            .arg("-l")
            .arg(root().join("compose").join(file))
            .output();
        assert!(output.as_ref().unwrap().status.success(), "{output:?}");
    }
}

#[test]
fn drupal_writes_and_reads_where_it_is_told() {
    let secrets = tempfile::tempdir().unwrap();
    let file = secrets.path().join("password");
    fs::write(&file, "p4ss'word\n").unwrap();
    let environment = [
        ("DB_NAME", "site"),
        ("DB_USER", "drupal"),
        ("DB_PASSWORD_FILE", file.to_str().unwrap()),
        ("DRUPAL_HASH_SALT", "salt"),
        ("DRUPAL_TRUSTED_HOSTS", "example.org, www.example.org"),
        ("DRUPAL_PRIVATE_FILES", "/srv/private"),
    ];
    let made = drupal(&told(), secrets.path(), &environment);
    let database = &made["databases"]["default"]["default"];
    assert_eq!((&database["host"], &database["port"]), (&json!("10.0.0.2"), &json!(3307)));
    assert_eq!((&database["username"], &database["password"]), (&json!("drupal"), &json!("p4ss'word")));
    assert_eq!((&database["driver"], &database["database"]), (&json!("mysql"), &json!("site")));
    let replicas = made["databases"]["default"]["replica"].as_array().unwrap();
    let hosts: Vec<&Value> = replicas.iter().map(|replica| &replica["host"]).collect();
    assert_eq!(hosts, ["10.0.0.1", "fd00::3"], "the others");
    let settings = &made["settings"];
    assert_eq!(settings["hash_salt"], "salt");
    assert_eq!(settings["trusted_host_patterns"], json!(["^example\\.org$", "^www\\.example\\.org$"]));
    assert_eq!(settings["file_private_path"], "/srv/private");
    assert_eq!(settings.get("reverse_proxy"), None, "web-proxy has done that");
    assert_eq!(settings.get("memcache"), None, "there is no module");

    let behind = [("DRUPAL_PROXIES", "10.0.0.0/8")];
    let settings = &drupal(&told(), secrets.path(), &behind)["settings"];
    assert_eq!(
        (&settings["reverse_proxy"], &settings["reverse_proxy_addresses"]),
        (&json!(true), &json!(["10.0.0.0/8"]))
    );
}

#[test]
fn drupal_uses_memcached_where_the_module_is_there() {
    let app = tempfile::tempdir().unwrap();
    let module = app.path().join("modules/contrib/memcache");
    fs::create_dir_all(&module).unwrap();
    fs::write(module.join("memcache.services.yml"), "services: {}\n").unwrap();
    let named = [("DB_NAME", "site")];
    let made = drupal(&told(), app.path(), &named);
    let settings = &made["settings"];
    assert_eq!(
        settings["memcache"]["servers"],
        json!({"10.0.0.8:11211": "default", "10.0.0.9:11211": "default"})
    );
    assert_eq!(settings["memcache"]["key_prefix"], "site");
    assert_eq!(settings["cache"]["default"], "cache.backend.memcache");
    assert_eq!(settings["container_yamls"], json!(["modules/contrib/memcache/memcache.services.yml"]));
    assert!(made["psr4"]["Drupal\\memcache\\"].as_str().unwrap().ends_with("modules/contrib/memcache/src"));

    // The gateway knows that none is left: the list in the environment is not used.
    let none = json!({"MEMCACHED_SERVERS": ""});
    let listed = [("DB_NAME", "site"), ("MEMCACHED_NODES", "10.0.0.8:11211")];
    assert_eq!(drupal(&none, app.path(), &listed)["settings"].get("cache"), None);
    // Without a gateway it is.
    let alone = drupal(&json!({}), app.path(), &listed);
    assert_eq!(alone["settings"]["memcache"]["servers"], json!({"10.0.0.8:11211": "default"}));
}

#[test]
fn what_the_environment_does_not_say_stays() {
    let made = drupal(&told(), Path::new("/nowhere"), &[]);
    assert_eq!(made["databases"], json!([]));
    assert_eq!(made["settings"], json!({"hash_salt": "of settings.php"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_gateway_the_first_node_that_answers_is_used() {
    let server = MariaDb::start(&["site"]).await.unwrap();
    let dead = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
    let nodes = format!("{dead},{}", server.address());
    let environment =
        [("DB_NAME", "site"), ("DB_USER", USER), ("DB_PASSWORD", PASSWORD), ("DB_NODES", nodes.as_str())];
    let database = drupal(&json!({}), Path::new("/"), &environment)["databases"]["default"].clone();
    assert_eq!(database["default"]["port"], server.address().port());
    assert_eq!(database.get("replica"), None);
    let constants = wordpress(&json!({}), &environment);
    assert_eq!(constants["DB_HOST"], server.address().to_string());
    assert_eq!(constants["DB_READERS"], json!([server.address().to_string()]));
}

#[test]
fn wordpress_writes_where_it_is_told() {
    let environment = [
        ("DB_NAME", "site"),
        ("DB_USER", "wordpress"),
        ("DB_PASSWORD", "p4ss"),
        ("WORDPRESS_SECRET", "secret"),
        ("WORDPRESS_PROXIES", "10.0.0.5"),
    ];
    let made = wordpress(&told(), &environment);
    assert_eq!((&made["DB_HOST"], &made["DB_NAME"]), (&json!("10.0.0.2:3307"), &json!("site")));
    assert_eq!(made["DB_CHARSET"], "latin1", "of wp-config.php");
    assert_eq!(made["DB_READERS"].as_array().unwrap().len(), 3);
    assert_eq!(made["memcached_servers"], json!({"default": ["10.0.0.8:11211", "10.0.0.9:11211"]}));
    let kinds = ["AUTH", "SECURE_AUTH", "LOGGED_IN", "NONCE"];
    let mut keys: Vec<&str> = kinds
        .iter()
        .flat_map(|kind| ["KEY", "SALT"].map(|end| made[format!("{kind}_{end}")].as_str().unwrap()))
        .collect();
    assert!(keys.iter().all(|key| key.len() == 64));
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 8, "all different");
    assert_eq!(wordpress(&told(), &environment), made, "and the same in every container");

    let proxied = |remote: &str| {
        let server = json!({
            "REMOTE_ADDR": remote,
            "HTTP_X_FORWARDED_PROTO": "https",
            "HTTP_X_FORWARDED_FOR": "6.6.6.6, 203.0.113.7, 10.0.0.5",
        });
        let made = wordpress(&server, &environment);
        (made["https"].clone(), made["client"].clone())
    };
    assert_eq!(proxied("10.0.0.5"), (json!("on"), json!("203.0.113.7")));
    assert_eq!(proxied("198.51.100.1"), (json!(null), json!("198.51.100.1")), "a stranger is not believed");
}
