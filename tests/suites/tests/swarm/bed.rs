//! The test bed as a process, and Docker's client on its nodes.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::process::Signal;
use test_support::process::Group;
use tokio::process::Command;
use tokio::time::Instant;

pub(crate) const NODES: [u8; 3] = [1, 2, 3];

/// The node that is asked about the swarm.
const MANAGER: u8 = 1;

/// No command of Docker's or of the test bed may take longer.
const PATIENCE: Duration = Duration::from_mins(3);

/// Three nodes that go with it.
pub(crate) struct Bed {
    group: Group,
    state: PathBuf,
    /// `10.77.0`
    subnet: String,
    /// Of the database.
    root_password: String,
}

/// A replica that Swarm wants to run.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) id: String,
    pub(crate) node: u8,
    pub(crate) running: bool,
    #[expect(dead_code, reason = "shown when a test fails")]
    pub(crate) said: String,
}

impl Bed {
    pub(crate) async fn start(log: &Path) -> anyhow::Result<Self> {
        // Paths of sockets are short.
        let state = PathBuf::from(format!("/var/tmp/enjambre-swarm-{}", std::process::id()));
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "sleep infinity | exec \"$@\"", "bed"]).arg(script()).arg("up").arg(&state);
        // Of the run before.
        std::fs::write(log, "")?;
        let mut group = Group::spawn(command, log)?;
        let end = Instant::now() + PATIENCE;
        while !group.log().lines().any(|line| line == "ready") {
            if let Some(status) = group.exited() {
                bail!("the test bed ended ({status}):\n{}", group.log());
            }
            ensure!(Instant::now() < end, "the test bed is not ready:\n{}", group.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let subnet = std::fs::read_to_string(state.join("subnet"))?.trim().to_owned();
        Ok(Self { group, state, subnet, root_password: String::new() })
    }

    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        // The input ends, and with it the test bed.
        self.group.signal_all(Signal::TERM)?;
        self.group.ended(Duration::from_mins(1)).await?;
        let end = Instant::now() + Duration::from_mins(1);
        while self.state.exists() {
            ensure!(Instant::now() < end, "the test bed leaves something in {}", self.state.display());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// What every node mounts.
    pub(crate) fn shared(&self) -> PathBuf {
        self.state.join("shared")
    }

    /// Where images are pushed to.
    pub(crate) fn registry(&self) -> String {
        format!("{}.254:5000", self.subnet)
    }

    /// Where a browser finds each node.
    pub(crate) fn fronts(&self) -> Vec<SocketAddr> {
        let address = |node: &u8| -> Option<IpAddr> { format!("{}.{node}", self.subnet).parse().ok() };
        NODES.iter().filter_map(address).map(|address| SocketAddr::new(address, 80)).collect()
    }

    pub(crate) fn socket(&self, node: u8) -> String {
        format!("unix://{}", self.state.join(format!("n{node}/docker.sock")).display())
    }

    /// One of the test bed's commands on a node: `cut`, `heal`, `docker-kill`…
    pub(crate) async fn node(&self, command: &str, node: u8) -> anyhow::Result<String> {
        let mut program = Command::new(script());
        program.arg(command).arg(&self.state).arg(node.to_string());
        output(program).await
    }

    /// A program on a node.
    pub(crate) async fn on(&self, node: u8, command: &[&str]) -> anyhow::Result<String> {
        let mut program = Command::new(script());
        program.arg("on").arg(&self.state).arg(node.to_string()).args(command);
        output(program).await
    }

    /// Entries that GlusterFS has still to bring to a brick.
    pub(crate) async fn to_heal(&self) -> anyhow::Result<u32> {
        let mut program = Command::new(script());
        program.arg("pending").arg(&self.state);
        Ok(output(program).await?.trim().parse()?)
    }

    pub(crate) async fn docker(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.docker_on(MANAGER, arguments).await
    }

    pub(crate) async fn docker_on(&self, node: u8, arguments: &[&str]) -> anyhow::Result<String> {
        let mut program = Command::new("docker");
        program.env("DOCKER_HOST", self.socket(node)).args(arguments);
        output(program).await
    }

    /// `docker stack deploy` with this project's files and these variables.
    pub(crate) async fn deploy(
        &mut self,
        compose: &Path,
        variables: &[(&str, String)],
    ) -> anyhow::Result<()> {
        let mut program = Command::new("docker");
        program.env("DOCKER_HOST", self.socket(MANAGER)).env("SHARED", self.shared());
        program.envs(variables.iter().map(|(name, value)| (*name, value.as_str())));
        program.args(["stack", "deploy"]);
        for file in ["stack.yml", "host-ports.yml", "testbed/quick.yml"] {
            program.arg("-c").arg(compose.join(file));
        }
        self.root_password = std::fs::read_to_string(compose.join("secrets/db_root_password"))?;
        output(program.arg(STACK)).await.map(drop)
    }

    /// The rows of a statement, from this Galera node.
    pub(crate) async fn rows(&self, task: &Task, sql: &str) -> anyhow::Result<Vec<String>> {
        let container = self.container(task).await?;
        let password = format!("MYSQL_PWD={}", self.root_password.trim());
        let client = ["mariadb", "-uroot", "--batch", "--skip-column-names", "drupal", "-e", sql];
        let mut arguments = vec!["exec", "-e", &password, &container];
        arguments.extend(client);
        Ok(self.docker_on(task.node, &arguments).await?.lines().map(str::to_owned).collect())
    }

    /// What Swarm wants to run of a service.
    pub(crate) async fn tasks(&self, service: &str) -> anyhow::Result<Vec<Task>> {
        let format = "{{.ID}}\t{{.Node}}\t{{.CurrentState}}\t{{.Error}}";
        let name = name(service);
        let arguments =
            ["service", "ps", "--no-trunc", "--filter", "desired-state=running", "--format", format, &name];
        let task = |line: &str| {
            let mut parts = line.split('\t');
            let (id, node, said) = (parts.next()?, parts.next()?, parts.next()?);
            Some(Task {
                id: id.to_owned(),
                node: node.strip_prefix("node").and_then(|n| n.parse().ok()).unwrap_or_default(),
                running: said.starts_with("Running"),
                said: format!("{said} {}", parts.next().unwrap_or_default()),
            })
        };
        Ok(self.docker(&arguments).await?.lines().filter_map(task).collect())
    }

    /// The container of a replica.
    pub(crate) async fn container(&self, task: &Task) -> anyhow::Result<String> {
        let format = "{{.Status.ContainerStatus.ContainerID}}";
        Ok(self.docker(&["inspect", "--format", format, &task.id]).await?.trim().to_owned())
    }

    /// What these replicas have said last; `docker service logs` waits for nodes that are gone.
    pub(crate) async fn logs(&self, tasks: &[Task]) -> String {
        let mut logs = String::new();
        for task in tasks {
            let said = match self.container(task).await {
                // Its errors are on the other stream: the shell joins them.
                Ok(container) => {
                    let socket = self.socket(task.node);
                    let both = format!("docker -H '{socket}' logs --tail 80 {container} 2>&1");
                    let mut shell = Command::new("sh");
                    shell.args(["-c", &both]);
                    output(shell).await
                }
                Err(error) => Err(error),
            };
            let said = said.unwrap_or_else(|error| format!("{error:#}"));
            logs.push_str(&format!("--- node {}, {}\n{said}\n", task.node, task.id));
        }
        logs
    }

    /// Waits until exactly so many replicas are wanted, and all of them run and are healthy.
    pub(crate) async fn settled(&self, service: &str, replicas: usize) -> anyhow::Result<Vec<Task>> {
        let end = Instant::now() + PATIENCE;
        loop {
            // A manager that has just lost another may not answer for a moment.
            let tasks = self.tasks(service).await;
            if let Ok(tasks) = &tasks
                && tasks.len() == replicas
                && tasks.iter().all(|task| task.running)
            {
                return Ok(tasks.clone());
            }
            if Instant::now() > end {
                let logs = self.logs(tasks.as_deref().unwrap_or_default()).await;
                bail!("{service}: not {replicas} replicas: {tasks:#?}\n{logs}");
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Waits until an update has come to this end (`completed`, `rollback_completed`).
    pub(crate) async fn updated(&self, service: &str, outcome: &str) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let format = "{{if .UpdateStatus}}{{.UpdateStatus.State}} {{.UpdateStatus.Message}}{{end}}";
            let state = self.docker(&["service", "inspect", "--format", format, &name(service)]).await?;
            if state.split_whitespace().next() == Some(outcome) {
                return Ok(());
            }
            ensure!(
                Instant::now() < end,
                "{service}: {state}, not {outcome}: {:#?}",
                self.tasks(service).await
            );
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

/// The name that the stack is deployed under.
pub(crate) const STACK: &str = "drupal";

pub(crate) fn name(service: &str) -> String {
    format!("{STACK}_{service}")
}

/// What a command printed; its errors where it failed.
pub(crate) async fn output(mut command: impl std::borrow::BorrowMut<Command>) -> anyhow::Result<String> {
    let command = command.borrow_mut();
    let running = command.kill_on_drop(true).stdin(std::process::Stdio::null()).output();
    let output = tokio::time::timeout(PATIENCE, running)
        .await
        .with_context(|| format!("{command:?} takes too long"))?
        .with_context(|| format!("{command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{command:?}:\n{text}{}", String::from_utf8_lossy(&output.stderr));
    Ok(text)
}

fn script() -> PathBuf {
    suites::service::root().join("compose/testbed/testbed")
}
