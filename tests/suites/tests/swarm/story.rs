//! One scene after the other: an order or a fault, the wait for its end, and what the visitors saw meanwhile.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::bed::{Bed, NODES, Task, name};
use crate::load::{Front, Record};
use crate::report::{Bound, Report, Scene};

pub(crate) struct Story {
    pub(crate) bed: Bed,
    pub(crate) record: Arc<Record>,
    pub(crate) report: Report,
    /// The files that were deployed, with their secrets.
    pub(crate) compose: TempDir,
}

impl Story {
    /// Does `act`, which returns once Swarm has what it wants, then looks at what the visitors saw from its start to a while
    /// after, and whether all that was acknowledged is there. What goes wrong is noted, and the story goes on.
    pub(crate) async fn scene(
        &mut self,
        title: &str,
        bound: Bound,
        act: impl AsyncFnOnce(&mut Bed) -> anyhow::Result<()>,
    ) {
        let began = Instant::now();
        let mut error = act(&mut self.bed).await.err().map(|error| format!("{error:#}"));
        let settled = began.elapsed();
        // Visitors that were held up have an answer by then, and each has asked again.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let seen = self.record.within(began, Instant::now());
        let mut scene = Scene::of(title, bound, began, settled, seen);
        match self.lost().await {
            Ok(lost) => scene.lost = lost.len(),
            Err(problem) => error = Some(format!("{}; {problem:#}", error.unwrap_or_default())),
        }
        scene.error = error;
        println!("\nnote: swarm: {}", scene.line());
        for fault in scene.faults() {
            println!("      FAULT: {fault}");
        }
        for why in scene.repeated_for.iter().take(3) {
            println!("      repeated: {why}");
        }
        self.report.scenes.push(scene);
    }

    /// Acknowledged comments that the database does not have, or has twice, and uploads that cannot be read.
    async fn lost(&self) -> anyhow::Result<Vec<String>> {
        let written = self.record.written();
        let rows = self.rows_anywhere("SELECT body FROM comments").await?;
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for row in &rows {
            *counts.entry(row).or_default() += 1;
        }
        let mut lost: Vec<String> =
            written.iter().filter(|text| !counts.contains_key(text.as_str())).cloned().collect();
        let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).map(|(text, _)| *text).collect();
        ensure!(twice.is_empty(), "written twice: {twice:?}");
        let uploads = self.record.uploads();
        let mut front = Front::new(&self.bed.fronts(), 0);
        // The latest, and some of those before.
        let latest = uploads.len().saturating_sub(3);
        for (n, (path, content)) in uploads.iter().enumerate() {
            if n < latest && n % 20 != 0 {
                continue;
            }
            let (answer, _) = front.ask("GET", path, &[], b"").await;
            if !matches!(answer, Ok(answer) if answer.status == 200 && answer.body == content.as_bytes()) {
                lost.push(path.clone());
            }
        }
        Ok(lost)
    }

    /// The rows of a statement, from the first Galera node that answers.
    async fn rows_anywhere(&self, sql: &str) -> anyhow::Result<Vec<String>> {
        let end = Instant::now() + Duration::from_mins(1);
        loop {
            let mut problem = String::from("there is no node");
            for task in self.bed.tasks("galera").await?.iter().filter(|task| task.running) {
                match self.bed.rows(task, sql).await {
                    Ok(rows) => return Ok(rows),
                    Err(error) => problem = format!("{error:#}"),
                }
            }
            ensure!(Instant::now() < end, "no Galera node answers: {problem}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Runs `docker service scale` and waits for its end.
    pub(crate) async fn scale(&mut self, service: &str, from: usize, to: usize) {
        let title = format!("{service} {from} → {to}");
        self.scene(&title, Bound::Nothing, async |bed| scale(bed, service, to).await).await;
    }
}

pub(crate) async fn scale(bed: &Bed, service: &str, replicas: usize) -> anyhow::Result<()> {
    bed.docker(&["service", "scale", "--detach", &format!("{}={replicas}", name(service))]).await?;
    bed.settled(service, replicas).await?;
    if service == "galera" {
        synced(bed, replicas).await?;
    }
    gone(bed, service, replicas).await
}

/// Waits until replicas that are not wanted any more have ended.
async fn gone(bed: &Bed, service: &str, replicas: usize) -> anyhow::Result<()> {
    let end = Instant::now() + Duration::from_mins(2);
    loop {
        let mut running = 0;
        for node in NODES {
            let filter = format!("label=com.docker.swarm.service.name={}", name(service));
            // A node that is off has none.
            if let Ok(list) = bed.docker_on(node, &["ps", "--quiet", "--filter", &filter]).await {
                running += list.lines().count();
            }
        }
        if running == replicas {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{service}: {running} containers, not {replicas}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Waits until so many Galera nodes are synced, in one cluster of that size.
pub(crate) async fn synced(bed: &Bed, nodes: usize) -> anyhow::Result<()> {
    const STATE: &str = "SELECT GROUP_CONCAT(variable_value ORDER BY variable_name) FROM information_schema.global_status \
         WHERE variable_name IN ('wsrep_cluster_size', 'wsrep_cluster_status', 'wsrep_local_state')";
    let wanted = format!("{nodes},Primary,4");
    let end = Instant::now() + Duration::from_mins(3);
    loop {
        let tasks = bed.tasks("galera").await.unwrap_or_default();
        let mut said = Vec::new();
        for task in tasks.iter().filter(|task| task.running) {
            said.push(bed.rows(task, STATE).await.map_err(|error| format!("{error:#}")));
        }
        let good = said.iter().filter(|rows| matches!(rows, Ok(rows) if rows.first() == Some(&wanted)));
        if good.count() == nodes {
            return Ok(());
        }
        if Instant::now() > end {
            anyhow::bail!("not {nodes} synced nodes: {said:#?} {tasks:#?}\n{}", bed.logs(&tasks).await);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Nodes that run none of these replicas.
pub(crate) fn without(tasks: &[Task]) -> Vec<u8> {
    let taken: HashSet<u8> = tasks.iter().map(|task| task.node).collect();
    NODES.into_iter().filter(|node| !taken.contains(node)).collect()
}
