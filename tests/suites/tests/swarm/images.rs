//! The images of this checkout, in the test bed's registry: as they are (`v1`), the same under another name of the same kind
//! (`v2`), and one of each service that does not work (`broken`).

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use suites::service::root;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::bed::{Bed, output};

/// Those that a broken image is made of.
pub(crate) const STATELESS: [&str; 4] = ["edge-cache", "web-proxy", "fpm-gateway", "phpfpm"];
pub(crate) const ALL: [&str; 6] = ["edge-cache", "web-proxy", "fpm-gateway", "phpfpm", "memcached", "galera"];

/// Builds and pushes; what `docker/build` said goes to `log`. The daemon at `DOCKER_HOST` builds if there is one, and otherwise
/// the first node's.
pub(crate) async fn build(bed: &Bed, log: &Path) -> anyhow::Result<()> {
    let host = builder(bed);
    let mut command = Command::new(root().join("docker/build"));
    command.args(["--offline-base", "--network", "host", "--tag", "v1", "--push", &repository(bed)]);
    if let Ok(profile) = std::env::var("SWARM_PROFILE") {
        command.args(["--profile", &profile]);
    }
    let file = std::fs::File::create(log)?;
    let status = command
        .env("DOCKER_HOST", &host)
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()
        .await
        .context("docker/build")?;
    ensure!(status.success(), "docker/build: {}", std::fs::read_to_string(log)?);
    for name in ALL {
        derive(bed, name, "v2", "LABEL test=v2").await?;
    }
    for name in STATELESS {
        derive(bed, name, "broken", "ENTRYPOINT [\"/there-is-no-such-program\"]").await?;
    }
    Ok(())
}

/// Where images are named after: the registry of the test bed.
pub(crate) fn repository(bed: &Bed) -> String {
    format!("{}/enjambre", bed.registry())
}

pub(crate) fn image(bed: &Bed, name: &str, tag: &str) -> String {
    format!("{}/{name}:{tag}", repository(bed))
}

/// The size of an image in megabytes, as Docker counts.
pub(crate) async fn size(bed: &Bed, name: &str) -> anyhow::Result<f64> {
    let mut command = Command::new("docker");
    command.env("DOCKER_HOST", builder(bed));
    command.args(["image", "inspect", "--format", "{{.Size}}", &image(bed, name, "v1")]);
    Ok(output(command).await?.trim().parse::<f64>()? / 1e6)
}

fn builder(bed: &Bed) -> String {
    std::env::var("DOCKER_HOST").unwrap_or_else(|_| bed.socket(1))
}

/// An image made from another by one more line.
async fn derive(bed: &Bed, name: &str, tag: &str, line: &str) -> anyhow::Result<()> {
    let host = builder(bed);
    let mut command = Command::new("docker");
    command.env("DOCKER_HOST", &host).env("DOCKER_BUILDKIT", "0");
    command.args(["build", "--quiet", "--tag", &image(bed, name, tag), "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let recipe = format!("FROM {}\n{line}\n", image(bed, name, "v1"));
    child.stdin.take().context("no input")?.write_all(recipe.as_bytes()).await?;
    let built = child.wait_with_output().await?;
    ensure!(built.status.success(), "{name}:{tag}: {}", String::from_utf8_lossy(&built.stderr));
    let mut push = Command::new("docker");
    push.env("DOCKER_HOST", &host).args(["push", "--quiet", &image(bed, name, tag)]);
    output(push).await.map(drop)
}
