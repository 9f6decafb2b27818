//! The images of this checkout, in the test bed's registry: as they are (`v1`), the same under another name of the same kind
//! (`v2`), and one of each service that does not work (`broken`).

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use suites::docker::{Daemon, Reach};
use suites::service::root;

use crate::bed::Bed;

/// Those that a broken image is made of.
pub(crate) const STATELESS: [&str; 4] = ["edge-cache", "web-proxy", "fpm-gateway", "phpfpm"];
pub(crate) const ALL: [&str; 6] = ["edge-cache", "web-proxy", "fpm-gateway", "phpfpm", "memcached", "galera"];

/// Builds and pushes in a daemon of its own, which keeps its layers for the next run. What `docker/build` says goes to `log`.
/// Returns each image's size in megabytes, as Docker counts.
pub(crate) async fn build(bed: &Bed, log: &Path) -> anyhow::Result<Vec<(&'static str, f64)>> {
    let daemon = Daemon::start(Reach::Host).await?;
    let mut command = daemon.command(root().join("docker/build"));
    command.args(["--offline-base", "--network", "host", "--tag", "v1", "--push", &repository(bed)]);
    if let Ok(profile) = std::env::var("IMAGES_PROFILE") {
        command.args(["--profile", &profile]);
    }
    let file = std::fs::File::create(log)?;
    let status = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).status()?;
    ensure!(status.success(), "docker/build: {}", std::fs::read_to_string(log)?);
    for name in ALL {
        derive(&daemon, bed, name, "v2", "LABEL test=v2")?;
    }
    for name in STATELESS {
        derive(&daemon, bed, name, "broken", "ENTRYPOINT [\"/there-is-no-such-program\"]")?;
    }
    let size = |name: &'static str| {
        let size = daemon.docker(&["image", "inspect", "--format", "{{.Size}}", &image(bed, name, "v1")])?;
        Ok((name, size.parse::<f64>()? / 1e6))
    };
    ALL.into_iter().map(size).collect()
}

/// Where images are named after: the registry of the test bed.
pub(crate) fn repository(bed: &Bed) -> String {
    format!("{}/enjambre", bed.registry())
}

pub(crate) fn image(bed: &Bed, name: &str, tag: &str) -> String {
    format!("{}/{name}:{tag}", repository(bed))
}

/// An image made from another by one more line.
fn derive(daemon: &Daemon, bed: &Bed, name: &str, tag: &str, line: &str) -> anyhow::Result<()> {
    let image = |tag| image(bed, name, tag);
    let mut command = daemon.command("docker");
    command.env("DOCKER_BUILDKIT", "0").args(["build", "--quiet", "--tag", &image(tag), "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    child
        .stdin
        .take()
        .context("no input")?
        .write_all(format!("FROM {}\n{line}\n", image("v1")).as_bytes())?;
    let built = child.wait_with_output()?;
    ensure!(built.status.success(), "{name}:{tag}: {}", String::from_utf8_lossy(&built.stderr));
    daemon.docker(&["push", "--quiet", &image(tag)]).map(drop)
}
