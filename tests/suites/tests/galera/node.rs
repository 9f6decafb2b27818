//! `galera-node` with real MariaDB nodes: they find each other, and recover by themselves or refuse and say why.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};
use suites::galera_node::{GATEWAY_PASSWORD, Nodes, PATIENCE};
use test_support::wait::wait_until;

/// Every row was acknowledged to its client.
#[derive(Debug, Default)]
struct Acknowledged(BTreeSet<u32>);

impl Acknowledged {
    fn write(&mut self, nodes: &Nodes, slot: u32, id: u32) {
        nodes.sql(slot, &format!("INSERT INTO site.record VALUES ({id})")).unwrap();
        self.0.insert(id);
    }

    /// On every one of these nodes there is all of it, and nothing else.
    async fn are_on(&self, nodes: &Nodes, slots: &[u32]) {
        for slot in slots {
            wait_until(&format!("all rows on slot {slot}"), PATIENCE, async || {
                let rows = nodes.sql(*slot, "SELECT id FROM site.record ORDER BY id").unwrap_or_default();
                rows.lines().map(|id| id.parse().unwrap()).collect::<BTreeSet<u32>>() == self.0
            })
            .await;
        }
    }
}

async fn synced(nodes: &Nodes, slots: &[u32]) {
    for slot in slots {
        let end = tokio::time::Instant::now() + PATIENCE;
        while !nodes.is_synced(*slot).await {
            assert!(tokio::time::Instant::now() < end, "slot {slot} is not synced:\n{}", nodes.logs());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
    let sizes = async || {
        let mut sizes = BTreeSet::new();
        for slot in slots {
            sizes.insert(nodes.report(*slot).await["server"]["cluster_size"].as_u64());
        }
        sizes
    };
    let all = BTreeSet::from([u64::try_from(slots.len()).ok()]);
    wait_until("one cluster of all", PATIENCE, async || sizes().await == all).await;
}

/// Until the node says that it waits, for a reason with all these words in it.
async fn waits(nodes: &Nodes, slot: u32, words: &[&str]) {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let why = nodes.waiting(slot).await;
        if words.iter().all(|word| why.contains(word)) {
            return;
        }
        assert!(tokio::time::Instant::now() < end, "slot {slot} says {why:?}:\n{}", nodes.log(slot));
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// A session that keeps its node from applying anything.
fn lock(nodes: &Nodes, slot: u32) -> Child {
    let mut session = nodes.session(slot).unwrap().spawn().unwrap();
    let stdin = session.stdin.as_mut().unwrap();
    stdin.write_all(b"FLUSH TABLES WITH READ LOCK; SELECT 'locked';\n").unwrap();
    stdin.flush().unwrap();
    let mut line = String::new();
    BufReader::new(session.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "locked");
    session
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_by_rsync() {
    let mut nodes = Nodes::new("rsync").unwrap();
    let mut rows = Acknowledged::default();

    // The first start: a database, its users, and nobody else.
    nodes.start(1).unwrap();
    synced(&nodes, &[1]).await;
    nodes.sql(1, "CREATE TABLE site.record (id INT PRIMARY KEY) ENGINE=InnoDB").unwrap();
    rows.write(&nodes, 1, 1);
    let grants = nodes.sql_as(1, "fpm-gateway", GATEWAY_PASSWORD, "SHOW GRANTS").unwrap();
    assert_eq!(grants.lines().count(), 1, "{grants}");
    assert!(grants.contains("GRANT USAGE ON *.*"), "{grants}");
    assert!(nodes.sql_as(1, "root", "", "SELECT 1").is_err(), "root is not let in from outside");
    assert!(nodes.sql_as(1, "", "", "SELECT 1").is_err(), "nobody is not let in");

    // 1 → 3. What is written on one is read on all.
    nodes.start(2).unwrap();
    nodes.start(3).unwrap();
    synced(&nodes, &[1, 2, 3]).await;
    for slot in [1, 2, 3] {
        rows.write(&nodes, slot, 10 + slot);
        assert!(nodes.verb(slot, "healthcheck").unwrap().status.success());
    }
    rows.are_on(&nodes, &[1, 2, 3]).await;
    let status = nodes.verb(2, "status").unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["view"]["members"].as_array().unwrap().len(), 3, "{status}");

    // One is killed, and gets what it has missed.
    nodes.kill9(2);
    assert_eq!(nodes.verb(2, "healthcheck").unwrap().status.code(), Some(1));
    rows.write(&nodes, 1, 20);
    let before = nodes.log(2).len();
    nodes.start(2).unwrap();
    synced(&nodes, &[1, 2, 3]).await;
    rows.are_on(&nodes, &[2]).await;
    let log = nodes.log(2).split_off(before);
    assert!(log.contains("recovering its position") && log.contains("rsync IST completed"), "{log}");

    // mariadbd dies by itself: so does the container, for the orchestrator to see.
    let server = Pid::from_raw(i32::try_from(nodes.server(3).unwrap()).unwrap()).unwrap();
    kill_process(server, Signal::KILL).unwrap();
    let status = nodes.group(3).unwrap().ended(PATIENCE).await.unwrap();
    assert!(!status.success());
    nodes.start(3).unwrap();
    synced(&nodes, &[1, 2, 3]).await;

    // All stop in order at once: slot 1 leaves last. Without it nobody can be sure.
    nodes.stop(&[1, 2, 3]).await.unwrap();
    nodes.start(3).unwrap();
    let first = nodes.volume_id(1).unwrap();
    waits(&nodes, 3, &[&first, "slot 1", "further than anybody here"]).await;
    nodes.start(2).unwrap();
    waits(&nodes, 2, &[&first, "slot 1"]).await;
    nodes.start(1).unwrap();
    synced(&nodes, &[1, 2, 3]).await;
    rows.are_on(&nodes, &[1, 2, 3]).await;

    // The stack is removed and deployed anew, with one replica: slot 1 knows that it was the last.
    nodes.stop(&[1, 2, 3]).await.unwrap();
    nodes.start(1).unwrap();
    synced(&nodes, &[1]).await;
    rows.write(&nodes, 1, 30);
    rows.are_on(&nodes, &[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_of_all() {
    let mut nodes = Nodes::new("rsync").unwrap();
    let mut rows = Acknowledged::default();
    nodes.start(1).unwrap();
    synced(&nodes, &[1]).await;
    nodes.sql(1, "CREATE TABLE site.record (id INT PRIMARY KEY) ENGINE=InnoDB").unwrap();
    nodes.start(2).unwrap();
    nodes.start(3).unwrap();
    synced(&nodes, &[1, 2, 3]).await;

    // Slot 2 acknowledges what the others have not written down yet, and all are killed.
    rows.write(&nodes, 2, 1);
    rows.are_on(&nodes, &[1, 2, 3]).await;
    let mut locks = [lock(&nodes, 1), lock(&nodes, 3)];
    for id in 2..8 {
        rows.write(&nodes, 2, id);
    }
    for slot in [1, 2, 3] {
        nodes.kill9(slot);
    }
    for session in &mut locks {
        session.wait().unwrap();
    }

    // Without slot 2 they refuse, and name it.
    let furthest = nodes.volume_id(2).unwrap();
    nodes.start(1).unwrap();
    nodes.start(3).unwrap();
    for slot in [1, 3] {
        waits(&nodes, slot, &[&furthest, "slot 2", "GALERA_FORCE_BOOTSTRAP="]).await;
        assert!(nodes.verb(slot, "healthcheck").unwrap().status.success(), "waiting is not being stuck");
    }
    nodes.start(2).unwrap();
    synced(&nodes, &[1, 2, 3]).await;
    rows.are_on(&nodes, &[1, 2, 3]).await;
    let bootstrapped = |slot| nodes.log(slot).matches("INFO bootstrapping").count();
    assert_eq!([bootstrapped(1), bootstrapped(2), bootstrapped(3)], [1, 1, 0], "the furthest has started");

    // Two of three are killed: the third has no majority, and stays. When the two are back all three agree to go on.
    nodes.kill9(1);
    nodes.kill9(3);
    let lonely = serde_json::json!({"primary": false, "synced": false});
    wait_until("no majority", PATIENCE, async || nodes.report(2).await["phase"]["running"] == lonely).await;
    assert!(nodes.verb(2, "healthcheck").unwrap().status.success());
    nodes.start(1).unwrap();
    waits(&nodes, 1, &["slot 3"]).await;
    nodes.start(3).unwrap();
    synced(&nodes, &[1, 2, 3]).await;
    assert!(nodes.log(2).contains("pc.bootstrap"), "{}", nodes.log(2));
    rows.are_on(&nodes, &[1, 2, 3]).await;

    // All are killed, and one volume is lost.
    for slot in [1, 2, 3] {
        nodes.kill9(slot);
    }
    nodes.lose(2).unwrap();
    nodes.start(1).unwrap();
    nodes.start(3).unwrap();
    waits(&nodes, 1, &[&furthest, "slot 2"]).await;

    // Only the exact value forces, and only where nobody is Primary.
    nodes.stop(&[1]).await.unwrap();
    nodes.start_with(1, &["--force-bootstrap", &furthest]).unwrap();
    waits(&nodes, 1, &[&furthest, "slot 2"]).await;
    nodes.stop(&[1]).await.unwrap();
    let own = nodes.volume_id(1).unwrap();
    nodes.start_with(1, &["--force-bootstrap", &own]).unwrap();
    synced(&nodes, &[1, 3]).await;
    nodes.start(2).unwrap();
    synced(&nodes, &[1, 2, 3]).await;
    rows.are_on(&nodes, &[1, 2, 3]).await;

    // Slot 1 on another host, where its volume is empty, while nobody runs: it does not begin a second database.
    nodes.stop(&[1, 2, 3]).await.unwrap();
    nodes.lose(1).unwrap();
    nodes.start(1).unwrap();
    waits(&nodes, 1, &["this volume is empty", &own]).await;
    nodes.stop(&[1]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_by_mariabackup_and_again_after_it_has_left() {
    let mut nodes = Nodes::new("mariabackup").unwrap();
    let mut rows = Acknowledged::default();
    nodes.start(1).unwrap();
    synced(&nodes, &[1]).await;
    nodes.sql(1, "CREATE TABLE site.record (id INT PRIMARY KEY) ENGINE=InnoDB").unwrap();
    rows.write(&nodes, 1, 1);
    nodes.start(2).unwrap();
    wait_until("a state transfer", PATIENCE, async || nodes.log(2).contains("SST started on joiner")).await;
    // The donor goes on, and neither of the two is unwell meanwhile.
    rows.write(&nodes, 1, 2);
    for slot in [1, 2] {
        assert!(nodes.verb(slot, "healthcheck").unwrap().status.success());
    }
    synced(&nodes, &[1, 2]).await;
    rows.are_on(&nodes, &[1, 2]).await;

    // What node 2 has is not what the group has: it leaves, and mariadbd stays. It comes back with all of the others' data.
    let mut root = nodes.session(2).unwrap();
    root.args(["-e", "SET SESSION wsrep_on = OFF; DELETE FROM site.record WHERE id = 2"]);
    assert!(root.status().unwrap().success());
    nodes.sql(1, "UPDATE site.record SET id = 3 WHERE id = 2").unwrap();
    rows.0 = BTreeSet::from([1, 3]);
    wait_until("it is started again", PATIENCE, async || nodes.log(2).contains("has left its group")).await;
    synced(&nodes, &[1, 2]).await;
    rows.are_on(&nodes, &[1, 2]).await;
}
