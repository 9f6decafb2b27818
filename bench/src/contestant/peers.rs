//! The peers, by the configurations of `bench/peers`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use test_support::process::{Group, is_root, program};

use super::{Start, socket_accepts};
use crate::template::{arguments, fill};

pub(super) fn varnish(start: &Start<'_>) -> anyhow::Result<Vec<Group>> {
    write(start, "varnish.vcl", "varnish.vcl", "")?;
    let arguments = arguments(&text(start, "varnish.args", "")?)?;
    Ok(vec![start.spawn(&program(&["varnishd"])?, &arguments)?])
}

pub(super) fn nginx(start: &Start<'_>, configuration: &str) -> anyhow::Result<Vec<Group>> {
    // Its master changes to another user for its workers, who could not read what belongs to root.
    let path = write(start, configuration, "nginx.conf", "user root;")?;
    let arguments =
        ["-p", &start.folder.display().to_string(), "-e", "stderr", "-c", &path.display().to_string()];
    Ok(vec![start.spawn(&program(&["nginx"])?, &arguments.map(str::to_owned))?])
}

pub(super) fn haproxy(start: &Start<'_>) -> anyhow::Result<Vec<Group>> {
    let path = write(start, "haproxy.cfg", "haproxy.cfg", "")?;
    let arguments = ["-db".to_owned(), "-f".to_owned(), path.display().to_string()];
    Ok(vec![start.spawn(&program(&["haproxy"])?, &arguments)?])
}

pub(super) fn traffic_server(start: &Start<'_>) -> anyhow::Result<Vec<Group>> {
    for folder in ["etc", "state", "run", "log", "cache", "data"] {
        let folder = start.folder.join(folder);
        fs::create_dir_all(&folder)?;
        // It refuses to serve as root and changes to its package's user.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777))?;
    }
    let user = "CONFIG proxy.config.admin.user_id STRING trafficserver";
    for name in ["records.config", "remap.config", "storage.config", "ip_allow.yaml"] {
        write(start, &format!("trafficserver/{name}"), &format!("etc/{name}"), user)?;
    }
    let root = write(start, "trafficserver/runroot.yaml", "runroot.yaml", "")?;
    let arguments = [format!("--run-root={}", root.display())];
    Ok(vec![start.spawn(&program(&["traffic_server"])?, &arguments)?])
}

pub(super) fn apache(start: &Start<'_>) -> anyhow::Result<Vec<Group>> {
    // It refuses to serve as root.
    let path = write(start, "apache2.conf", "apache2.conf", "User www-data\nGroup www-data")?;
    let arguments = ["-f".to_owned(), path.display().to_string(), "-DFOREGROUND".to_owned()];
    Ok(vec![start.spawn(&program(&["apache2"])?, &arguments)?])
}

pub(super) async fn php_fpm(start: &Start<'_>) -> anyhow::Result<Group> {
    let pool = write(start, "php-fpm.conf", "php-fpm.conf", "user = root\ngroup = root")?;
    let ini = write(start, "php.ini", "php.ini", "")?;
    let mut arguments: Vec<String> =
        ["--nodaemonize", "--fpm-config", &pool.display().to_string(), "-c", &ini.display().to_string()]
            .map(str::to_owned)
            .into();
    if is_root() {
        arguments.push("--allow-to-run-as-root".to_owned());
    }
    let mut group = start.spawn(&php_program()?, &arguments)?;
    socket_accepts(&start.fpm_socket(), &mut group).await?;
    Ok(group)
}

pub(crate) fn php_program() -> anyhow::Result<PathBuf> {
    program(&["php-fpm8.2", "php-fpm8.4", "php-fpm8.3", "php-fpm"])
}

fn write(start: &Start<'_>, source: &str, name: &str, user: &str) -> anyhow::Result<PathBuf> {
    let path = start.folder.join(name);
    fs::write(&path, text(start, source, user)?)?;
    Ok(path)
}

/// A configuration with its places filled; `user` is for who runs this as root.
fn text(start: &Start<'_>, source: &str, user: &str) -> anyhow::Result<String> {
    let setup = start.setup;
    let path: &Path = &start.place.bench.join("peers").join(source);
    let values = [
        ("PORT", start.port.to_string()),
        ("FOLDER", start.folder.display().to_string()),
        ("ORIGIN_PORT", setup.origin.to_string()),
        ("DOCROOT", setup.docroot.display().to_string()),
        ("FPM", start.fpm_socket().display().to_string()),
        ("CORES", setup.cores.to_string()),
        ("MEMORY_MB", setup.memory_mb.to_string()),
        // A file of the page cache takes whole pages, whatever is in it.
        ("DISK_MB", (setup.memory_mb * 3).to_string()),
        // Its documented limit.
        ("HAPROXY_MB", setup.memory_mb.min(4095).to_string()),
        ("NOFILE", start.place.nofile.to_string()),
        ("USER", if is_root() { user.to_owned() } else { String::new() }),
    ];
    fill(&fs::read_to_string(path)?, &values)
}
