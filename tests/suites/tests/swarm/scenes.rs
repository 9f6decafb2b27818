//! The scenes of the story, in their order.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use suites::service::{cache, root};
use tempfile::TempDir;
use test_support::wait::DEADLINE;
use tokio::process::Command;
use tokio::time::Instant;

use crate::bed::{Bed, NODES, STACK, name, output};
use crate::images::{self, STATELESS, image};
use crate::load::{Front, Load};
use crate::report::{Bound, Report};
use crate::story::{Story, scale, synced, without};

/// How many of each there are from the updates on.
const REPLICAS: [(&str, usize); 6] =
    [("edge-cache", 3), ("web-proxy", 3), ("fpm-gateway", 3), ("phpfpm", 3), ("memcached", 2), ("galera", 3)];

/// The node that things happen to; node 1 is asked, and so it stays.
const VICTIM: u8 = 3;

/// From nothing: three nodes, images in their registry, a site on the shared volume, the stack, the first page.
pub(crate) async fn deployed() -> anyhow::Result<Story> {
    let logs = cache().join("test");
    std::fs::create_dir_all(&logs)?;
    let began = Instant::now();
    let mut bed = Bed::start(&logs.join("swarm-bed.log")).await?;
    let mut report = Report::default();
    report.facts.push(format!("three nodes with GlusterFS after {:.0} s", began.elapsed().as_secs_f64()));
    for (name, size) in images::build(&bed, &logs.join("swarm-images.log")).await? {
        report.facts.push(format!("image {name}: {size:.1} MB"));
    }
    place_site(&bed).await?;

    // The secrets are made beside the files, and those of this checkout are not ours.
    let compose = compose_files()?;
    if !std::path::Path::new("/proc/net/ip_vs").exists() {
        println!(
            "\nnote: swarm: this kernel has no IPVS: host ports in the place of the routing mesh, dnsrr in that of addresses"
        );
    }
    let began = Instant::now();
    bed.deploy(compose.path(), &variables(&bed, "v1")).await?;
    let first = first_page(&bed).await?;
    report.facts.push(format!("`docker stack deploy` to the first page: {:.1} s (images pulled by each node from a registry on the same disk)", (first - began).as_secs_f64()));
    for (service, _) in REPLICAS {
        bed.settled(service, 1).await?;
    }
    over_tls(&bed).await.context("HTTPS")?;
    report.facts.push(format!("all services healthy after {:.1} s", began.elapsed().as_secs_f64()));
    Ok(Story { bed, record: Arc::default(), report, compose })
}

/// Visitors, once every page that the anonymous ones read has been seen.
pub(crate) async fn opened(story: &mut Story) -> anyhow::Result<Load> {
    let mut front = Front::new(&story.bed.fronts(), 0);
    let (home, _) = front.ask("GET", "/", &[], b"").await;
    let home = home?.text();
    let mut paths = vec!["/".to_owned(), "/articles".to_owned(), "/lab".to_owned()];
    // Files, some of which PHP makes when they are first asked for.
    for piece in home.split(['"', '\'']) {
        let is_path = ["/articles/", "/assets/", "/files/"].iter().any(|prefix| piece.starts_with(prefix));
        if is_path && !paths.iter().any(|path| path == piece) {
            paths.push(piece.to_owned());
        }
    }
    ensure!(paths.len() > 8, "{paths:?}");
    for path in &paths {
        let (answer, _) = front.ask("GET", path, &[], b"").await;
        let answer = answer?;
        ensure!(answer.status == 200, "{path}: {}", answer.status);
    }
    Ok(Load::start(&story.bed.fronts(), Arc::clone(&story.record), &paths))
}

pub(crate) async fn scaled(story: &mut Story) {
    for service in STATELESS {
        story.scale(service, 1, 3).await;
        story.scale(service, 3, 1).await;
    }
    story.scale("galera", 1, 3).await;
    story.scale("memcached", 1, 2).await;
}

/// A record written through one node is read on all three.
pub(crate) async fn synchronised(story: &mut Story) {
    let test = async |bed: &mut Bed| {
        let tasks = bed.settled("galera", 3).await?;
        for (n, task) in tasks.iter().enumerate() {
            let write = format!("REPLACE INTO settings (name, value) VALUES ('synchronised', '{n}')");
            bed.rows(task, &write).await?;
            for other in &tasks {
                let read =
                    "SET SESSION wsrep_sync_wait = 1; SELECT value FROM settings WHERE name = 'synchronised'";
                let rows = bed.rows(other, read).await?;
                ensure!(rows == [n.to_string()], "node {} says {rows:?}, not {n}", other.node);
            }
        }
        Ok(())
    };
    story.scene("a record through each Galera node, read on all", Bound::Nothing, test).await;
}

pub(crate) async fn updated(story: &mut Story) {
    let out = async |bed: &mut Bed| {
        for service in STATELESS {
            bed.docker(&["service", "scale", "--detach", &format!("{}=3", name(service))]).await?;
        }
        for service in STATELESS {
            bed.settled(service, 3).await?;
        }
        Ok(())
    };
    story.scene("edge-cache, web-proxy, fpm-gateway, phpfpm 1 → 3 together", Bound::Nothing, out).await;
    for (service, replicas) in REPLICAS {
        let update = async |bed: &mut Bed| {
            update(bed, service, "v2").await?;
            bed.updated(service, "completed").await?;
            bed.settled(service, replicas).await?;
            if service == "galera" { synced(bed, replicas).await } else { Ok(()) }
        };
        story.scene(&format!("update of {service}, {replicas} replicas"), Bound::Nothing, update).await;
    }
    for service in STATELESS {
        let update = async |bed: &mut Bed| {
            update(bed, service, "broken").await?;
            bed.updated(service, "rollback_completed").await?;
            bed.settled(service, 3).await.map(drop)
        };
        story
            .scene(&format!("update of {service} to an image that does not work"), Bound::Nothing, update)
            .await;
    }
}

/// `docker kill` of one container of each service.
pub(crate) async fn killed(story: &mut Story) {
    for (service, replicas) in REPLICAS {
        let kill = async |bed: &mut Bed| {
            let tasks = bed.settled(service, replicas).await?;
            let task = tasks.first().context("no replica")?;
            let container = bed.container(task).await?;
            bed.docker_on(task.node, &["kill", &container]).await?;
            another(bed, service, &task.id, replicas).await?;
            if service == "galera" { synced(bed, replicas).await } else { Ok(()) }
        };
        story.scene(&format!("docker kill of a {service}"), Bound::InFlight, kill).await;
    }
}

pub(crate) async fn nodes_lost(story: &mut Story) {
    let victim = format!("node{VICTIM}");
    let drain = async |bed: &mut Bed| {
        bed.docker(&["node", "update", "--availability", "drain", &victim]).await?;
        left(bed, VICTIM).await?;
        bed.docker(&["node", "update", "--availability", "active", &victim]).await?;
        spread_again(bed).await
    };
    story.scene("a node is drained, and comes back", Bound::Nothing, drain).await;

    let kill = async |bed: &mut Bed| {
        bed.node("docker-kill", VICTIM).await?;
        given_up(bed, &victim).await?;
        left(bed, VICTIM).await
    };
    story.scene("kill -9 of a node's dockerd and all its containers", Bound::InFlight, kill).await;
    let start = async |bed: &mut Bed| {
        bed.node("docker-start", VICTIM).await?;
        spread_again(bed).await
    };
    story.scene("that node starts again", Bound::Nothing, start).await;

    let cut = async |bed: &mut Bed| {
        bed.node("cut", VICTIM).await?;
        given_up(bed, &victim).await?;
        left(bed, VICTIM).await
    };
    story.scene("a node is cut off the network", Bound::InFlight, cut).await;
    let heal = async |bed: &mut Bed| {
        bed.node("heal", VICTIM).await?;
        spread_again(bed).await?;
        healed(bed).await
    };
    // Until they are stopped its containers are found again, and know nothing of what has happened.
    story.scene("its network comes back", Bound::InFlight, heal).await;
}

pub(crate) async fn brick_lost(story: &mut Story) {
    let kill = async |bed: &mut Bed| {
        bed.node("brick-kill", VICTIM).await?;
        // Something is written meanwhile.
        bed.on(1, &["sh", "-c", &format!("date > {}/written-meanwhile", bed.shared().display())]).await?;
        ensure!(bed.to_heal().await? > 0, "the brick is still there");
        Ok(())
    };
    story.scene("a GlusterFS brick is killed", Bound::Nothing, kill).await;
    let start = async |bed: &mut Bed| {
        bed.node("brick-start", VICTIM).await?;
        healed(bed).await
    };
    story.scene("the brick comes back and heals", Bound::Nothing, start).await;
}

/// All Galera nodes at once, without a word.
pub(crate) async fn database_crashed(story: &mut Story) {
    let crash = async |bed: &mut Bed| {
        let tasks = bed.settled("galera", 3).await?;
        for task in &tasks {
            let container = bed.container(task).await?;
            bed.docker_on(task.node, &["kill", &container]).await?;
        }
        for task in &tasks {
            another(bed, "galera", &task.id, 3).await?;
        }
        synced(bed, 3).await
    };
    story.scene("docker kill of all three Galera nodes", Bound::Outage, crash).await;
}

/// The visitors have gone; all that they wrote is there afterwards.
pub(crate) async fn stopped_and_started(story: &mut Story) {
    let compose = story.compose.path().to_owned();
    let began = Instant::now();
    let result = async {
        let bed = &mut story.bed;
        bed.docker(&["stack", "rm", STACK]).await?;
        removed(bed).await?;
        let mut variables = variables(bed, "v2");
        // Of the others quick.yml has one.
        variables.push(("GALERA_REPLICAS", "3".to_owned()));
        bed.deploy(&compose, &variables).await?;
        first_page(bed).await?;
        for (service, replicas) in REPLICAS {
            scale(bed, service, replicas).await?;
        }
        synced(bed, 3).await
    };
    let error = result.await.err();
    let mut front = Front::new(&story.bed.fronts(), 0);
    let bound = Bound::Nothing;
    let record = Arc::clone(&story.record);
    story
        .scene("the whole stack is removed and deployed again", bound, async |_| {
            // Visitors of the scene: one of each kind of page.
            for path in ["/", "/articles", "/me", "/login"] {
                let began = Instant::now();
                let (answer, repeated) = front.ask("GET", path, &[], b"").await;
                let failed = match answer {
                    Ok(answer) if answer.status < 400 => None,
                    Ok(answer) => Some(format!("{path}: {}", answer.status)),
                    Err(error) => Some(format!("{error:#}")),
                };
                let kind = crate::load::Kind::Session;
                record.add(crate::load::Seen { kind, began, ended: Instant::now(), repeated, failed });
            }
            error.map_or(Ok(()), Err)
        })
        .await;
    if let Some(scene) = story.report.scenes.last_mut() {
        scene.settled = began.elapsed();
    }
}

/// A picture of the site, the table, and the verdict.
pub(crate) async fn told(story: Story) -> anyhow::Result<()> {
    let Story { bed, report, .. } = story;
    if let Some(front) = bed.fronts().first() {
        screenshot(&format!("http://{front}/"), &cache().join("test/swarm.png")).await?;
    }
    println!("{}", report.table());
    if let Ok(page) = std::env::var("SWARM_REPORT") {
        report.write(&root().join(page))?;
    }
    bed.stop().await?;
    let faults: Vec<String> = report
        .scenes
        .iter()
        .flat_map(|scene| scene.faults().into_iter().map(|fault| format!("{}: {fault}", scene.title)))
        .collect();
    ensure!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    Ok(())
}

// --- what the scenes wait for ---

async fn update(bed: &Bed, service: &str, tag: &str) -> anyhow::Result<()> {
    let image = image(bed, service, tag);
    bed.docker(&["service", "update", "--detach", "--image", &image, &name(service)]).await.map(drop)
}

/// Waits until another replica is in the place of this one.
async fn another(bed: &Bed, service: &str, task: &str, replicas: usize) -> anyhow::Result<()> {
    let end = Instant::now() + Duration::from_mins(2);
    loop {
        let tasks = bed.settled(service, replicas).await?;
        if tasks.iter().all(|other| other.id != task) {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{service}: nothing takes the place of {task}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Waits until the others have everything that this node had and can have it: the edge's ports and Galera's volumes are once a
/// node.
async fn left(bed: &Bed, node: u8) -> anyhow::Result<()> {
    let end = Instant::now() + Duration::from_mins(2);
    loop {
        let mut missing = Vec::new();
        for (service, replicas) in REPLICAS {
            let tasks = bed.tasks(service).await.unwrap_or_default();
            let running = tasks.iter().filter(|task| task.running && task.node != node).count();
            let wanted = if matches!(service, "edge-cache" | "galera") { 2 } else { replicas };
            if running < wanted {
                missing.push(format!("{service}: {running} of {wanted}: {tasks:?}"));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{missing:#?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Swarm does not move what runs: one replica fewer and one more goes to the node that has none.
async fn spread_again(bed: &Bed) -> anyhow::Result<()> {
    for (service, replicas) in REPLICAS {
        let tasks = bed.settled(service, replicas).await?;
        if replicas == NODES.len() && !without(&tasks).is_empty() {
            scale(bed, service, replicas - 1).await?;
            scale(bed, service, replicas).await?;
        }
    }
    synced(bed, 3).await
}

/// Waits until the managers have given a node up.
async fn given_up(bed: &Bed, node: &str) -> anyhow::Result<()> {
    let end = Instant::now() + Duration::from_mins(2);
    loop {
        let state = bed.docker(&["node", "inspect", "--format", "{{.Status.State}}", node]).await;
        if matches!(&state, Ok(state) if state.trim() == "down") {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{node} is {state:?}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

async fn healed(bed: &Bed) -> anyhow::Result<()> {
    let end = Instant::now() + Duration::from_mins(2);
    loop {
        let left = bed.to_heal().await?;
        if left == 0 {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{left} entries are not healed");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Waits until nothing of the stack is left.
async fn removed(bed: &Bed) -> anyhow::Result<()> {
    let end = Instant::now() + Duration::from_mins(3);
    let label = format!("label=com.docker.stack.namespace={STACK}");
    loop {
        let mut left = bed.docker(&["network", "ls", "--quiet", "--filter", &label]).await?.lines().count();
        for node in NODES {
            left += bed.docker_on(node, &["ps", "--quiet", "--filter", &label]).await?.lines().count();
        }
        if left == 0 {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{left} containers and networks are left");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn first_page(bed: &Bed) -> anyhow::Result<Instant> {
    let end = Instant::now() + Duration::from_mins(4);
    let mut front = Front::new(&bed.fronts(), 0);
    loop {
        let (answer, _) = front.ask("GET", "/", &[], b"").await;
        let said = match answer {
            Ok(answer) if answer.status == 200 => return Ok(Instant::now()),
            Ok(answer) => format!("{} {}", answer.status, answer.text()),
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() > end {
            let services = bed.docker(&["stack", "ps", "--no-trunc", STACK]).await.unwrap_or_default();
            let logs = bed.logs(&bed.tasks("galera").await.unwrap_or_default()).await;
            anyhow::bail!("no page: {said}\n{services}\n{logs}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

// --- what is deployed ---

fn variables(bed: &Bed, tag: &str) -> Vec<(&'static str, String)> {
    vec![("REGISTRY", images::repository(bed)), ("TAG", tag.to_owned()), ("PHP_WORKERS", "4".to_owned())]
}

fn compose_files() -> anyhow::Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("enjambre-compose-").tempdir()?;
    let copy = std::process::Command::new("cp")
        .arg("-R")
        .arg(root().join("compose/."))
        .arg(folder.path())
        .status()?;
    ensure!(copy.success(), "copying compose/");
    let made = std::process::Command::new(folder.path().join("secrets/make")).output()?;
    ensure!(made.status.success(), "secrets/make: {}", String::from_utf8_lossy(&made.stderr));
    Ok(folder)
}

/// The drupal image puts the site on the shared volume.
async fn place_site(bed: &Bed) -> anyhow::Result<()> {
    let site = format!("{}:/var/www/site", bed.shared().join("site").display());
    let image = image(bed, "drupal", "v1");
    let arguments =
        ["run", "--rm", "--network", "none", "--volume", &site, "--env", "SITE_SOURCE=sample", &image];
    bed.docker(&arguments).await.map(drop)
}

/// A certificate is put on the shared volume, and is in use without a word to anybody.
async fn over_tls(bed: &Bed) -> anyhow::Result<()> {
    let folder = bed.shared().join("certificates");
    let make = "cd \"$0\" && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
         -subj /CN=swarm.test -addext subjectAltName=DNS:swarm.test -keyout new.key -out new.crt 2>/dev/null \
         && cat new.key new.crt >new && chmod 644 new && mv new swarm.test.pem && rm new.key new.crt";
    bed.on(1, &["sh", "-c", make, &folder.to_string_lossy()]).await?;
    let end = Instant::now() + DEADLINE;
    loop {
        let mut said = String::new();
        for front in bed.fronts() {
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--show-error", "--insecure", "--http2", "--max-time", "5"]);
            curl.args(["--write-out", "%{http_version} %{http_code}", "--output", "/dev/null"]);
            curl.args(["--resolve", &format!("swarm.test:443:{}", front.ip()), "https://swarm.test/"]);
            match output(curl).await {
                Ok(answer) if answer == "2 200" => return Ok(()),
                Ok(answer) => said = answer,
                Err(error) => said.push_str(&error.to_string()),
            }
        }
        ensure!(Instant::now() < end, "{said}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

async fn screenshot(url: &str, file: &PathBuf) -> anyhow::Result<()> {
    let profile = tempfile::tempdir()?;
    let mut chromium = Command::new("chromium");
    chromium
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--window-size=1200,900",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--screenshot={}", file.display()))
        .arg(url);
    tokio::time::timeout(DEADLINE * 3, output(chromium)).await.context("chromium")??;
    ensure!(std::fs::metadata(file)?.len() > 10_000, "the picture is empty");
    Ok(())
}
