//! Images that are built, and containers that go when they are no longer needed.

use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use suites::docker::{Daemon, Reach, succeed};
use suites::service::root;
use test_support::wait::wait_until;

/// A container's own health check runs each five seconds.
pub(crate) const HEALTHY: Duration = Duration::from_mins(1);

/// Builds all images in a daemon that has this machine's network, once for all tests of this suite.
pub(crate) async fn built() {
    static BUILT: OnceLock<()> = OnceLock::new();
    if BUILT.get().is_some() {
        return;
    }
    let daemon = Daemon::start(Reach::Host).await.unwrap();
    let profile = std::env::var("IMAGES_PROFILE").unwrap_or_else(|_| "release".to_owned());
    let mut build = daemon.command(root().join("docker/build"));
    build
        .args(["--offline-base", "--network", "host", "--profile", &profile])
        .env_remove("REGISTRY")
        .env_remove("TAG");
    let said = succeed(&mut build).unwrap();
    // Behind the name of the test, which is on this line already.
    println!();
    for line in said.lines().filter(|line| line.ends_with(" MB")) {
        println!("note: image {line}");
    }
    // What the builds before this one have left.
    daemon.docker(&["image", "prune", "--force"]).unwrap();
    let _ = BUILT.set(());
}

/// A container; removed on drop, with its anonymous volumes.
pub(crate) struct Container<'a> {
    daemon: &'a Daemon,
    pub name: String,
}

impl<'a> Container<'a> {
    /// Runs an image as the stack does: nothing to write to, nothing to become.
    pub(crate) fn run(daemon: &'a Daemon, image: &str, options: &[&str], arguments: &[&str]) -> Self {
        let name = format!("{image}-{:08x}", fastrand::u32(..));
        let safe = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
        let image = format!("enjambre/{image}");
        let command =
            [&["run", "--detach", "--name", &name][..], &safe, options, &[&image], arguments].concat();
        daemon.docker(&command).unwrap();
        Self { daemon, name }
    }

    pub(crate) async fn healthy(&self) {
        wait_until(&format!("{} to be healthy", self.name), HEALTHY, async || {
            let health = self.daemon.health(&self.name).unwrap();
            assert!(health == "starting" || health == "healthy", "{health}:\n{}", self.log());
            health == "healthy"
        })
        .await;
    }

    pub(crate) fn log(&self) -> String {
        let mut logs = Command::new("docker");
        let output = logs.env("DOCKER_HOST", self.daemon.host()).args(["logs", &self.name]).output().unwrap();
        suites::docker::printed(&output)
    }

    /// The image's stop signal; the exit code.
    pub(crate) fn stop(&self) -> String {
        self.daemon.docker(&["stop", "--time", "20", &self.name]).unwrap();
        self.daemon.docker(&["inspect", "--format", "{{.State.ExitCode}}", &self.name]).unwrap()
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _ = self.daemon.docker(&["rm", "--force", "--volumes", &self.name]);
    }
}
