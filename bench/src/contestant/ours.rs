//! Our services as they come: addresses and memory, nothing else.

use test_support::process::{Group, free_port};

use super::{Start, socket_accepts};

pub(super) fn edge_cache(start: &Start<'_>) -> anyhow::Result<Vec<Group>> {
    let arguments = [
        format!("--listen={}", start.address()),
        format!("--admin=127.0.0.1:{}", free_port()?),
        format!("--origin=http://127.0.0.1:{}", start.setup.origin),
        format!("--memory={}MiB", start.setup.memory_mb),
        "--purge-from=127.0.0.0/8".to_owned(),
    ];
    Ok(vec![start.spawn(&start.place.binary("edge-cache")?, &with_extra(start, "edge-cache", &arguments))?])
}

/// web-proxy with the rules of Drupal's .htaccess; with PHP also fpm-gateway.
pub(super) async fn web_proxy(start: &Start<'_>) -> anyhow::Result<Vec<Group>> {
    let mut groups = Vec::new();
    let gateway = start.folder.join("gateway.sock");
    if start.setup.php {
        let arguments = [
            format!("--listen=unix:{}", gateway.display()),
            format!("--admin=127.0.0.1:{}", free_port()?),
            format!("--upstream=unix:{}", start.fpm_socket().display()),
            // As many as peers/php-fpm.conf has.
            "--workers-per-upstream=4".to_owned(),
        ];
        let mut group = start
            .spawn(&start.place.binary("fpm-gateway")?, &with_extra(start, "fpm-gateway", &arguments))?;
        socket_accepts(&gateway, &mut group).await?;
        groups.push(group);
    }
    let arguments = [
        format!("--listen={}", start.address()),
        format!("--admin=127.0.0.1:{}", free_port()?),
        format!("--docroot={}", start.setup.docroot.display()),
        format!("--fastcgi=unix:{}", gateway.display()),
        "--preset=drupal".to_owned(),
    ];
    groups.push(start.spawn(&start.place.binary("web-proxy")?, &with_extra(start, "web-proxy", &arguments))?);
    Ok(groups)
}

pub(super) fn floor(start: &Start<'_>) -> anyhow::Result<Vec<Group>> {
    Ok(vec![start.spawn(&start.place.binary("floor")?, &[start.address().to_string()])?])
}

fn with_extra(start: &Start<'_>, service: &str, arguments: &[String]) -> Vec<String> {
    let extra = start.place.extra.iter().filter(|(name, _)| name == service);
    arguments.iter().cloned().chain(extra.map(|(_, option)| option.clone())).collect()
}
