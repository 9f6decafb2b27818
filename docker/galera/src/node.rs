//! The life of a node, from top to bottom.
//!
//! 1. Open the volume, and answer as an agent from then on.
//! 2. Look at what is on the volume; recover its position if it was not stopped in order.
//! 3. Ask the peers and the records, and decide, until there is something to do ([`crate::decide`]).
//! 4. Start mariadbd, and watch it until it or this program ends (`watch.rs`).
//! 5. Stop in order, and write down where.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use common::shutdown::Shutdown;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::agent::{self, Admission, Board, Report};
use crate::config::{Config, Options};
use crate::decide::{Decision, Evidence, Force, Records, Situation, decide};
use crate::durable;
use crate::facts::{
    ClusterId, Data, Facts, Forced, Founding, Lineage, Member, Phase, Position, RecordedState, View,
    VolumeRecord,
};
use crate::grastate::{self, Grastate};
use crate::mariadbd::{Programs, Start, node_name};
use crate::peers::{Peers, Round};
use crate::reap::Children;
use crate::records::Folder;
use crate::volume::{Found, Memory, Volume};
use crate::watch::Outcome;

/// Everything a node has.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) volume: Volume,
    pub(crate) memory: Memory,
    pub(crate) data: Data,
    pub(crate) phase: Phase,
    pub(crate) board: Board,
    pub(crate) admissions: mpsc::Receiver<Admission>,
    pub(crate) peers: Peers,
    pub(crate) records: Folder,
    pub(crate) programs: Programs,
    pub(crate) shutdown: Shutdown,
    address: Option<IpAddr>,
    /// What was last said in the log, and when.
    said: Option<(String, Instant)>,
}

/// How mariadbd is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Plan {
    start: Start,
    position: Option<Position>,
}

/// What comes after deciding.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Next {
    Start(Plan),
    /// What is on the volume may have changed.
    LookAgain,
    End,
}

/// Between two rounds of questions.
const ROUND: Duration = Duration::from_secs(1);
/// How often the same reason is said again.
const REPEAT: Duration = Duration::from_secs(30);
/// How often a volume that does not tell its position is looked at again.
const LOOK_AGAIN: Duration = Duration::from_mins(1);
/// A first initialisation or the recovery of a large database, during which nothing else is done.
const LONG_WORK: Duration = Duration::from_hours(6);

/// Where the agent of this container is asked.
pub fn agent_address(options: &Options) -> SocketAddr {
    let bind = options.node.bind;
    let ip = if bind.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { bind };
    SocketAddr::new(ip, options.server.agent_port)
}

/// Runs until the node has stopped; the exit code says whether in order.
pub async fn run(config: Config) -> anyhow::Result<u8> {
    let shutdown = Shutdown::on_signals(config.node.stop_timeout.get(), Duration::ZERO)?;
    let children = Children::default();
    children.collect_orphans()?;
    let volume = Volume::open(&config.node.data_dir)?;
    let memory = volume.memory()?;
    let programs = Programs::new(&volume, &config.server.run_as, children)?;

    let member = Member { volume: volume.id.clone(), slot: config.node.slot };
    let facts = Facts {
        volume: volume.id.clone(),
        slot: member.slot,
        phase: Phase::Starting,
        data: Data::Empty,
        lineage: memory.lineage.clone(),
        view: memory.view.clone(),
    };
    let name = node_name(&config.node.node_name, &member);
    let board =
        Board::new(Report { facts, name, group: None, waiting: None, server: None, heard: Vec::new() });
    let listen = SocketAddr::new(config.node.bind, config.server.agent_port);
    let listener =
        TcpListener::bind(listen).await.with_context(|| format!("agent-port: cannot listen on {listen}"))?;
    let (sender, admissions) = mpsc::channel(16);
    tokio::spawn(agent::serve(listener, board.clone(), sender));
    tracing::info!(volume = %volume.id, slot = member.slot, agent = %listen, "galera-node is up");

    let mut node = Node {
        peers: Peers::new(&config, &volume.id, &shutdown)?,
        records: Folder::new(config.records.clone()),
        address: config.node.address,
        data: Data::Empty,
        phase: Phase::Starting,
        said: None,
        config,
        volume,
        memory,
        board,
        admissions,
        programs,
        shutdown: shutdown.clone(),
    };
    let code = node.live().await;
    shutdown.drain();
    code
}

impl Node {
    async fn live(&mut self) -> anyhow::Result<u8> {
        loop {
            let Some(address) = self.find_address().await else { return Ok(0) };
            self.programs.configure(&self.config, address, &self.member())?;
            if !self.look().await? {
                return Ok(0);
            }
            let plan = match self.plan().await? {
                Next::Start(plan) => plan,
                Next::LookAgain => continue,
                Next::End => return Ok(0),
            };
            let mut server = self.programs.start(&plan.start, plan.position.as_ref())?;
            match self.watch(&mut server).await? {
                Outcome::Stopped => return Ok(0),
                Outcome::Died(code) => return Ok(code),
                // Back to the beginning: another component goes on without this one.
                Outcome::GaveWay => {}
            }
        }
    }

    pub(crate) fn member(&self) -> Member {
        Member { volume: self.volume.id.clone(), slot: self.config.node.slot }
    }

    pub(crate) fn facts(&self) -> Facts {
        Facts {
            volume: self.volume.id.clone(),
            slot: self.config.node.slot,
            phase: self.phase,
            data: self.data.clone(),
            lineage: self.memory.lineage.clone(),
            view: self.memory.view.clone(),
        }
    }

    /// Tells the agent what is so now.
    pub(crate) fn post(&mut self, phase: Phase) {
        self.phase = phase;
        let (facts, heard) = (self.facts(), self.peers.heard());
        self.board.post(|report| {
            report.facts = facts;
            report.heard = heard;
        });
    }

    /// In a Swarm a container is in the DNS only once it is healthy, which the agent makes it.
    async fn find_address(&mut self) -> Option<IpAddr> {
        while self.address.is_none() {
            self.address = self.peers.own_address();
            if self.address.is_none() {
                self.say("waiting", "no peer's name has an address yet, not even this node's own; is the container healthy? (or set address)");
                if !self.pause().await {
                    return None;
                }
            }
        }
        let address = self.address?;
        let group = SocketAddr::new(address, self.config.server.group_port);
        self.board.post(|report| report.group = Some(group));
        Some(address)
    }

    /// What is on the volume. False when this program is to end.
    async fn look(&mut self) -> anyhow::Result<bool> {
        self.post(Phase::Starting);
        self.data = match self.volume.look()? {
            Found::Known(data) => data,
            Found::Crashed => {
                tracing::info!("the database was not stopped in order: recovering its position");
                self.board.expect_silence(LONG_WORK);
                let recovered = tokio::select! {
                    recovered = self.programs.recover() => recovered,
                    () = self.shutdown.draining() => return Ok(false),
                };
                self.recovered(recovered)
            }
        };
        match &self.data {
            Data::At { position, last_to_leave } => {
                tracing::info!(%position, last_to_leave, "this volume has data");
            }
            data => tracing::info!(?data, "this volume has no database to start from"),
        }
        Ok(true)
    }

    fn recovered(&self, recovered: anyhow::Result<Option<Position>>) -> Data {
        let noted = Grastate::read(&self.volume.data()).and_then(|state| state.cluster);
        let at = |position| Data::At { position, last_to_leave: false };
        match recovered {
            Ok(Some(position)) => at(position),
            Ok(None) => match (&self.memory.view, noted) {
                // It ended between its first start and its first commit.
                (Some(view), Some(cluster)) if view.seqno == 0 && view.cluster == cluster => {
                    at(Position { cluster, seqno: 0 })
                }
                _ => Data::Unknown("the database was never part of a cluster".to_owned()),
            },
            Err(error) => Data::Unknown(format!("{error:#}")),
        }
    }

    /// Asks and decides until there is something to start.
    async fn plan(&mut self) -> anyhow::Result<Next> {
        let began = Instant::now();
        loop {
            self.post(Phase::Deciding);
            let (decision, round) = self.ask(began).await;
            match decision {
                Decision::Join { primary, whole } => {
                    if let Some(plan) = self.join(&round, &primary, whole).await? {
                        return Ok(Next::Start(plan));
                    }
                }
                Decision::Found => {
                    self.found().await?;
                    if self.shutdown.is_draining() {
                        return Ok(Next::End);
                    }
                    continue;
                }
                Decision::Bootstrap(evidence) => {
                    // Said before it is done, and asked again: of two who decide at once none is to be overlooked.
                    self.post(Phase::Bootstrapping);
                    if let (Decision::Bootstrap(_), _) = self.ask(began).await {
                        return self.bootstrap(evidence).await.map(Next::Start);
                    }
                }
                Decision::Wait(waiting) => {
                    let force = if waiting.can_be_forced() { self.how_to_force() } else { String::new() };
                    self.say("waiting", &format!("{waiting}{force}"));
                }
                Decision::Refuse(refusal) => {
                    let force = if refusal.can_be_forced() { self.how_to_force() } else { String::new() };
                    self.say("refusing", &format!("{refusal}{force}"));
                }
            }
            // What kept the position from being recovered, such as a full disk, may be over.
            if matches!(self.data, Data::Unknown(_)) && began.elapsed() >= LOOK_AGAIN {
                return Ok(Next::LookAgain);
            }
            if !self.pause().await {
                return Ok(Next::End);
            }
        }
    }

    /// One round of questions, and what follows from it.
    pub(crate) async fn ask(&mut self, began: Instant) -> (Decision, Round) {
        let (round, records) = tokio::join!(self.peers.round(), self.records.read());
        if let Records::Unreadable(why) = &records {
            tracing::warn!(why, "the records cannot be read");
        }
        let (me, peers) = (self.facts(), round.facts());
        let force = self.force();
        let decision = decide(&Situation {
            me: &me,
            peers: &peers,
            silent: &round.silent,
            records: &records,
            settled: began.elapsed() >= self.config.node.settle.get(),
            force: force.as_ref(),
        });
        (decision, round)
    }

    /// The order to force, unless it was carried out before.
    fn force(&self) -> Option<Force> {
        let used = self.memory.forced.contains(&self.config.node.force_bootstrap);
        self.config.force.clone().filter(|_| !used)
    }

    fn how_to_force(&self) -> String {
        match &self.data {
            Data::At { position, .. } => {
                let used = self.memory.forced.contains(&self.volume.id.0);
                let volume = if used { String::new() } else { format!("{} or ", self.volume.id) };
                format!(
                    ". To go on without them, and lose what only they have: GALERA_FORCE_BOOTSTRAP={volume}{position} \
                     on the node that has come furthest (this one is at {position})"
                )
            }
            _ => String::new(),
        }
    }

    async fn join(
        &mut self,
        round: &Round,
        primary: &crate::facts::VolumeId,
        whole: bool,
    ) -> anyhow::Result<Option<Plan>> {
        // Before the others let it in, so that they never see it let in and doing nothing.
        self.post(Phase::Joining);
        if let Err(why) = round.ask_admission(primary, &self.member()).await {
            self.say("waiting", &why);
            return Ok(None);
        }
        let data = self.volume.data();
        // The group is known; views of the past are not to be restored beside it.
        remove(&data.join("gvwstate.dat"))?;
        if whole {
            // Without it Galera asks for the whole state.
            remove(&data.join(grastate::NAME))?;
        }
        self.programs.prepare_folders()?;
        self.save(RecordedState::Running).await;
        let position = if whole { None } else { self.facts().position().cloned() };
        tracing::info!(%primary, whole, "joining");
        Ok(Some(Plan { start: Start::Join(round.group_addresses()), position }))
    }

    /// Makes a new database, as one that was stopped in order at the beginning of its history.
    async fn found(&mut self) -> anyhow::Result<()> {
        self.post(Phase::Founding);
        self.board.expect_silence(LONG_WORK);
        self.volume.wipe()?;
        self.volume.begin()?;
        let founding =
            Founding { volume: self.volume.id.clone(), slot: self.config.node.slot, at: durable::now() };
        match self.records.found(&founding).await {
            Ok(true) => {}
            // This volume's own, from an attempt that was cut off, or what an operator gives up.
            Ok(false) if self.is_founder().await || self.force().is_some() => {}
            Ok(false) => return Ok(self.volume.finished()?),
            Err(error) => {
                self.say("waiting", &format!("the founding cannot be recorded: {error}"));
                self.volume.finished()?;
                self.pause().await;
                return Ok(());
            }
        }
        tracing::info!("making a new database");
        let shutdown = self.shutdown.clone();
        tokio::select! {
            installed = self.programs.install(&self.config) => installed?,
            // The next start begins again.
            () = shutdown.draining() => return Ok(()),
        }
        let position = Position { cluster: new_cluster(), seqno: 0 };
        self.write_grastate(&position)?;
        self.memory = Memory { view: Some(self.alone(&position)), ..Memory::default() };
        self.volume.remember(&self.memory)?;
        self.data = Data::At { position, last_to_leave: true };
        self.save(RecordedState::Stopped).await;
        self.volume.finished()?;
        Ok(())
    }

    async fn is_founder(&self) -> bool {
        let Records::Read(ledger) = self.records.read().await else { return false };
        ledger.founding.is_some_and(|founding| founding.volume == self.volume.id)
    }

    async fn bootstrap(&mut self, evidence: Evidence) -> anyhow::Result<Plan> {
        let position = self.facts().position().cloned().context("a bootstrap without a position")?;
        if evidence == Evidence::Forced {
            tracing::warn!(%position, "bootstrapping by force: what other volumes have beyond this is given up");
            let forced = Forced { by: self.volume.id.clone(), seqno: position.seqno };
            let Lineage(mut lineage) = self.memory.lineage.clone();
            lineage.push(forced);
            self.memory.lineage = Lineage(lineage);
            self.memory.forced.push(self.config.node.force_bootstrap.clone());
        } else {
            tracing::info!(%position, why = %evidence, "bootstrapping");
        }
        self.memory.view = Some(self.alone(&position));
        self.volume.remember(&self.memory)?;
        self.save(RecordedState::Running).await;
        remove(&self.volume.data().join("gvwstate.dat"))?;
        self.write_grastate(&position)?;
        self.programs.prepare_folders()?;
        self.post(Phase::Bootstrapping);
        Ok(Plan { start: Start::First, position: Some(position) })
    }

    fn write_grastate(&self, position: &Position) -> anyhow::Result<()> {
        grastate::allow_bootstrap(&self.volume.data(), position)?;
        Ok(self.programs.own(&self.volume.data().join(grastate::NAME))?)
    }

    fn alone(&self, position: &Position) -> View {
        View {
            cluster: position.cluster.clone(),
            epoch: self.memory.lineage.epoch(),
            seqno: position.seqno,
            members: [self.member()].into(),
            admitted: std::collections::BTreeSet::new(),
        }
    }

    /// What the records are to say of this volume now.
    pub(crate) fn record(&self, state: RecordedState) -> VolumeRecord {
        VolumeRecord {
            volume: self.volume.id.clone(),
            slot: self.config.node.slot,
            state,
            position: self.facts().position().cloned(),
            lineage: self.memory.lineage.clone(),
            view: self.memory.view.clone(),
            at: durable::now(),
        }
    }

    /// The database does not wait for the shared folder: what is recorded there only ever helps.
    pub(crate) async fn save(&self, state: RecordedState) {
        if let Err(error) = self.records.write(&self.record(state)).await {
            tracing::warn!(%error, ?state, "this volume's record cannot be written");
        }
    }

    /// Says why nothing happens: at once when the reason changes, and every so often.
    pub(crate) fn say(&mut self, what: &str, why: &str) {
        let text = format!("{what}: {why}");
        // Seconds and positions that move on are no other reason.
        let same = |said: &str| {
            said.chars().filter(|c| !c.is_ascii_digit()).eq(text.chars().filter(|c| !c.is_ascii_digit()))
        };
        let again = self.said.as_ref().is_none_or(|(said, at)| !same(said) || at.elapsed() >= REPEAT);
        if again {
            tracing::warn!("{text}");
            self.said = Some((text.clone(), Instant::now()));
        }
        self.board.post(|report| report.waiting = Some(text));
    }

    /// Until the next round. False when this program is to end.
    async fn pause(&mut self) -> bool {
        let end = Instant::now() + ROUND;
        loop {
            tokio::select! {
                () = self.shutdown.draining() => return false,
                () = tokio::time::sleep_until(end) => return true,
                Some(admission) = self.admissions.recv() => {
                    // Nobody is let in where there is no cluster. Whoever has given up does not hear it.
                    let _ = admission.answer.send(false);
                }
            }
        }
    }
}

fn new_cluster() -> ClusterId {
    // A version 4 UUID.
    let (high, low) = (fastrand::u64(..), fastrand::u64(..));
    let version = (high & !0xf000) | 0x4000;
    let variant = (low & !(3 << 62)) | (2 << 62);
    let hex = format!("{version:016x}{variant:016x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    ClusterId([part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-"))
}

fn remove(path: &std::path::Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_cluster_has_a_uuid() {
        let cluster = new_cluster();
        assert!(format!("{cluster}:0").parse::<Position>().is_ok());
        assert_eq!(cluster.0.as_bytes().get(14), Some(&b'4'));
    }
}
