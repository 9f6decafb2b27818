//! What `docker/build` says when it cannot, and the secrets of one host.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use suites::docker::{printed, succeed};
use suites::service::root;

/// Arguments, variables, and what is said of them.
type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);

#[test]
fn errors_say_what_is_missing() {
    let empty = tempfile::tempdir().unwrap();
    // What the script is made of, without Docker.
    for tool in ["bash", "dirname", "env"] {
        let real = test_support::process::program(&[tool]).unwrap();
        std::os::unix::fs::symlink(real, empty.path().join(tool)).unwrap();
    }
    let path = empty.path().display().to_string();
    let absent = format!("unix://{path}/absent.sock");
    let cases: [Case<'_>; 5] = [
        (&["apache"], &[], "there is no image apache; there are: edge-cache web-proxy fpm-gateway phpfpm"),
        (&["--squash"], &[], "there is no option --squash"),
        (&["--push"], &[], "--push needs a value"),
        (&["memcached"], &[("DOCKER_HOST", &absent)], "no Docker daemon answers at unix://"),
        (&["memcached"], &[("PATH", &path), ("HOME", "/nowhere")], "apt-get install docker.io"),
    ];
    for (arguments, environment, message) in cases {
        let mut command = Command::new(root().join("docker/build"));
        let output = command.args(arguments).envs(environment.iter().copied()).output().unwrap();
        let said = printed(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(message), "{arguments:?}: {said}");
    }
}

#[test]
fn secrets_are_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let make = || succeed(Command::new(root().join("compose/secrets/make")).arg(folder.path())).unwrap();
    let names = [
        "db_password",
        "db_root_password",
        "drupal_hash_salt",
        "fpm_gateway_password",
        "galera_sst_password",
    ];
    let values = || names.map(|name| fs::read_to_string(folder.path().join(name)).unwrap());

    let said = make();
    assert_eq!(said.matches(" made\n").count() + usize::from(said.ends_with(" made")), 5, "{said}");
    let first = values();
    for (name, value) in names.iter().zip(&first) {
        assert!(value.len() == 48 && value.chars().all(|c| c.is_ascii_alphanumeric()), "{name}: {value}");
        assert_eq!(first.iter().filter(|other| *other == value).count(), 1, "each has its own");
        let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o444, "containers of several users read {name}");
    }
    assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700, "and nobody else");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 5, "nothing else is left");

    // One that is gone is made; the others stay.
    fs::remove_file(folder.path().join("db_password")).unwrap();
    let said = make();
    assert_eq!(said.matches("is there already").count(), 4, "{said}");
    let second = values();
    assert_ne!(first[0], second[0]);
    assert_eq!(first[1..], second[1..]);
}
