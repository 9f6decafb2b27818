//! While mariadbd runs: what it says is noted, those who join are let in, and its end is this program's end.

use std::collections::BTreeMap;
use std::time::Duration;

use common::config::Secret;
use tokio::time::Instant;

use crate::agent::Admission;
use crate::decide::Decision;
use crate::facts::{Data, Member, Phase, RecordedState, View};
use crate::grastate::Grastate;
use crate::mariadbd::Running;
use crate::node::Node;
use crate::sql::{Asker, Observation};

/// How a mariadbd that was started came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// In order, because this program is to end.
    Stopped,
    /// By itself; with the exit code for the orchestrator.
    Died(u8),
    /// Stopped, because others go on without it, or because it is in no group any more.
    GaveWay,
}

/// What is kept while one mariadbd runs.
#[derive(Debug)]
struct Vigil {
    asker: Asker,
    /// It has been Primary and ready.
    arrived: bool,
    /// Since when it has been without a majority.
    lost: Option<Instant>,
    /// Since when it has been in no group at all.
    outside: Option<Instant>,
    /// When each volume that is let in was, and in which view.
    admitted: BTreeMap<Member, (Instant, i64)>,
    last_peers: Option<Instant>,
    /// The memory has changed and is not on the volume yet.
    unsaved: bool,
    /// The last record, so that nothing is written twice.
    recorded: Option<View>,
}

const TICK: Duration = Duration::from_millis(500);
/// How often the peers are asked while all is well.
const PEERS: Duration = Duration::from_secs(5);
/// A volume that was let in and is neither a member nor heard cannot come in any more without asking again.
const FORGET: Duration = Duration::from_mins(10);
/// What Galera calls `Disconnected` it does not mend by itself. It is so for a moment while mariadbd ends.
const OUTSIDE: Duration = Duration::from_secs(5);
/// Others that stop too have said so by then.
const COMPANY: Duration = Duration::from_millis(1500);

impl Vigil {
    /// It has been in no group for too long: after an error that is fatal to Galera and not to mariadbd.
    fn is_outside(&mut self, observation: Option<&Observation>) -> bool {
        match observation {
            Some(observation) if observation.is_disconnected() => {
                self.outside.get_or_insert_with(Instant::now).elapsed() >= OUTSIDE
            }
            Some(_) => {
                self.outside = None;
                false
            }
            // Too busy to say anything else.
            None => false,
        }
    }
}

impl Node {
    pub(crate) async fn watch(&mut self, server: &mut Running) -> anyhow::Result<Outcome> {
        let password: &Secret = &self.config.database.root_password;
        let mut vigil = Vigil {
            asker: Asker::new(&self.programs.socket(), password),
            arrived: false,
            lost: None,
            outside: None,
            admitted: BTreeMap::new(),
            last_peers: None,
            unsaved: false,
            recorded: None,
        };
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let shutdown = self.shutdown.clone();
        loop {
            tokio::select! {
                status = server.ended() => {
                    let status = status?;
                    tracing::error!(%status, "mariadbd has ended by itself");
                    self.conclude().await;
                    // Also after an orderly end, such as SHUTDOWN: the orchestrator is to start it again.
                    let code = status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0);
                    return Ok(Outcome::Died(code.unwrap_or(1)));
                }
                () = shutdown.draining() => {
                    self.linger(&mut vigil).await;
                    self.stop(server, &mut vigil).await?;
                    return Ok(Outcome::Stopped);
                }
                Some(admission) = self.admissions.recv() => self.admit(&mut vigil, admission).await,
                _ = ticks.tick() => {
                    if self.tick(&mut vigil).await {
                        self.stop(server, &mut vigil).await?;
                        return Ok(Outcome::GaveWay);
                    }
                }
            }
        }
    }

    /// True when this node is to give way.
    async fn tick(&mut self, vigil: &mut Vigil) -> bool {
        let observed = vigil.asker.observe().await;
        if let Err(error) = &observed {
            tracing::debug!(error, "mariadbd does not answer");
        }
        let observation = observed.ok();
        self.note(vigil, observation.as_ref()).await;
        if vigil.is_outside(observation.as_ref()) {
            tracing::warn!(
                "this node has left its group, and Galera does not come back by itself: starting again"
            );
            return true;
        }
        if vigil.last_peers.is_none_or(|at| at.elapsed() >= PEERS) {
            vigil.last_peers = Some(Instant::now());
            self.hear(vigil).await;
        }
        let lost = vigil.lost.filter(|lost| lost.elapsed() >= self.config.node.majority_patience.get());
        match lost {
            Some(lost) => self.without_majority(vigil, lost).await,
            None => false,
        }
    }

    async fn note(&mut self, vigil: &mut Vigil, observation: Option<&Observation>) {
        let server = observation.map(|observation| observation.server.clone());
        self.board.post(|report| report.server = server);
        let Some(observation) = observation else {
            // It is starting, receives a state, or is too busy to answer: what was so stays so.
            self.post(self.phase);
            return;
        };
        let primary = observation.is_primary();
        if primary && observation.server.ready && !vigil.arrived {
            vigil.arrived = true;
            tracing::info!(state = observation.server.local_state, "this node is Primary and ready");
            self.board.post(|report| report.waiting = None);
        }
        if vigil.arrived {
            if let Some(position) = observation.position.clone() {
                self.data = Data::At { position, last_to_leave: false };
            }
            match (primary, vigil.lost) {
                (true, Some(_)) => {
                    tracing::info!("the majority is back");
                    self.board.post(|report| report.waiting = None);
                    vigil.lost = None;
                }
                (false, None) => {
                    tracing::warn!(
                        status = observation.server.cluster_status,
                        "this node has lost its majority"
                    );
                    vigil.lost = Some(Instant::now());
                }
                _ => {}
            }
            self.post(Phase::Running { primary, synced: primary && observation.is_synced() });
        } else {
            self.post(self.phase);
        }
        if let Some(view) = &observation.view {
            self.keep_view(vigil, view).await;
        }
    }

    /// Remembers a view, on the volume first.
    async fn keep_view(&mut self, vigil: &mut Vigil, seen: &View) {
        let mut view = View { epoch: self.memory.lineage.epoch(), ..seen.clone() };
        // A view from before it was let in may still have its earlier life in it.
        vigil.admitted.retain(|member, (_, since)| view.seqno <= *since || !view.members.contains(member));
        view.admitted = vigil.admitted.keys().cloned().collect();
        if self.memory.view.as_ref() != Some(&view) {
            self.memory.view = Some(view.clone());
            vigil.unsaved = true;
            let members: Vec<String> = view.members.iter().map(ToString::to_string).collect();
            tracing::info!(seqno = view.seqno, members = members.join(", "), "view");
        }
        if vigil.unsaved {
            // A disk that is full must not end a database that runs; it is tried again.
            match self.remember().await {
                Ok(()) => vigil.unsaved = false,
                Err(error) => self.say("warning", &format!("the view cannot be written down: {error:#}")),
            }
            self.post(self.phase);
        }
        if vigil.recorded.as_ref() != Some(&view) {
            vigil.recorded = Some(view);
            self.record_later(RecordedState::Running);
        }
    }

    async fn remember(&self) -> anyhow::Result<()> {
        let (volume, memory) = (self.volume.clone(), self.memory.clone());
        Ok(tokio::task::spawn_blocking(move || volume.remember(&memory)).await??)
    }

    /// Beside the database, which does not wait for a shared disk.
    fn record_later(&self, state: RecordedState) {
        let (records, record) = (self.records.clone(), self.record(state));
        tokio::spawn(async move {
            if let Err(error) = records.write(&record).await {
                tracing::warn!(%error, "this volume's record cannot be written");
            }
        });
    }

    /// Writes down that a volume may become a member, in the view that the group has now.
    async fn admit(&mut self, vigil: &mut Vigil, admission: Admission) {
        let Admission { member, answer } = admission;
        let admitted = self.let_in(vigil, &member).await;
        match &admitted {
            Ok(()) => tracing::info!(%member, "let in"),
            Err(why) => tracing::warn!(%member, why, "not let in"),
        }
        // Whoever has given up asks again.
        let _ = answer.send(admitted.is_ok());
    }

    async fn let_in(&mut self, vigil: &mut Vigil, member: &Member) -> Result<(), String> {
        if !self.facts().is_primary() {
            return Err("this node is not Primary".to_owned());
        }
        let latest = vigil.asker.observe_latest().await?.view.ok_or("this node does not see a view")?;
        vigil.admitted.insert(member.clone(), (Instant::now(), latest.seqno));
        self.keep_view(vigil, &latest).await;
        if vigil.unsaved {
            return Err("the view cannot be written down".to_owned());
        }
        Ok(())
    }

    /// What the others say while all is well: who does not join after all, and what was forced.
    async fn hear(&mut self, vigil: &mut Vigil) {
        let round = self.peers.round().await;
        let facts = round.facts();
        let idle = |member: &Member, since: &Instant| {
            let heard = facts.iter().find(|facts| facts.volume == member.volume);
            match heard {
                Some(facts) => facts.phase != Phase::Joining && since.elapsed() > PEERS * 2,
                None => since.elapsed() > FORGET,
            }
        };
        vigil.admitted.retain(|member, (since, _)| !idle(member, since));
        let mine = self.memory.view.as_ref();
        let ours = facts.iter().filter(|peer| {
            peer.is_primary()
                && mine.is_some_and(|view| view.members.contains(&peer.member()))
                && peer.view.as_ref().is_some_and(|view| view.members.contains(&self.member()))
        });
        let longest = ours.map(|peer| &peer.lineage).max_by_key(|lineage| lineage.epoch());
        if let Some(lineage) = longest
            && lineage.epoch() > self.memory.lineage.epoch()
            && lineage.descends_from(&self.memory.lineage)
        {
            self.memory.lineage = lineage.clone();
            vigil.unsaved = true;
        }
    }

    /// Galera has had its time to find the majority again. True when this node is to give way.
    async fn without_majority(&mut self, vigil: &mut Vigil, since: Instant) -> bool {
        let (decision, _) = self.ask(since).await;
        match decision {
            Decision::Bootstrap(evidence) => {
                tracing::warn!(why = %evidence, "nobody has a majority, and this node has come furthest: pc.bootstrap");
                if let Err(error) = vigil.asker.bootstrap().await {
                    tracing::error!(error, "pc.bootstrap failed");
                }
                false
            }
            Decision::Join { primary, .. }
                if since.elapsed() >= self.config.node.majority_patience.get() * 2 =>
            {
                tracing::warn!(%primary, "another component is Primary and this one does not find it: starting again");
                true
            }
            Decision::Wait(crate::decide::Waiting::Winner { member, .. }) => {
                let runs = self.is_running(&member).await;
                if !runs {
                    tracing::warn!(%member, "nobody has a majority, and another has come further: giving way");
                }
                !runs
            }
            Decision::Wait(waiting) => {
                self.say("without a majority", &waiting.to_string());
                false
            }
            Decision::Refuse(refusal) => {
                self.say("without a majority", &refusal.to_string());
                false
            }
            Decision::Join { .. } | Decision::Found => false,
        }
    }

    /// A winner that runs takes this node along when it becomes Primary.
    async fn is_running(&mut self, member: &Member) -> bool {
        let facts = self.peers.round().await.facts();
        facts.iter().any(|peer| peer.volume == member.volume && matches!(peer.phase, Phase::Running { .. }))
    }

    /// The lowest slot is the last to leave when all stop at once: it is the one that is there again when the
    /// stack is deployed anew with one replica.
    async fn linger(&mut self, vigil: &mut Vigil) {
        self.post(Phase::Stopping);
        let members = self.memory.view.as_ref().map_or(0, |view| view.members.len());
        if members < 2 || !vigil.arrived {
            return;
        }
        let began = Instant::now();
        let shutdown = self.shutdown.clone();
        while began.elapsed() < self.config.node.linger.get() {
            let facts = self.peers.round().await.facts();
            self.post(Phase::Stopping);
            let me = self.member();
            let rank = |member: &Member| (member.slot, member.volume.clone());
            let company =
                facts.iter().any(|peer| peer.phase == Phase::Stopping && rank(&peer.member()) > rank(&me));
            if !company && began.elapsed() >= COMPANY {
                return;
            }
            tokio::select! {
                // A second signal: now.
                () = shutdown.terminated() => return,
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    async fn stop(&mut self, server: &mut Running, vigil: &mut Vigil) -> anyhow::Result<()> {
        // The view at the end, which may be younger than the last tick.
        if let Ok(observation) = vigil.asker.observe().await
            && let Some(view) = &observation.view
        {
            self.keep_view(vigil, view).await;
        }
        self.post(Phase::Stopping);
        let patience = self.config.node.stop_timeout.get();
        self.board.expect_silence(patience * 2);
        let status = server.stop(patience).await?;
        tracing::info!(%status, "mariadbd has stopped");
        self.conclude().await;
        Ok(())
    }

    /// Writes down where an orderly end has left the volume.
    async fn conclude(&mut self) {
        let state = Grastate::read(&self.volume.data());
        let Some(position) = state.as_ref().and_then(Grastate::position) else {
            tracing::warn!("mariadbd has not ended in order: its position is found at the next start");
            return;
        };
        let last_to_leave = state.is_some_and(|state| state.safe_to_bootstrap);
        tracing::info!(%position, last_to_leave, "stopped in order");
        self.data = Data::At { position, last_to_leave };
        self.post(Phase::Stopped);
        self.save(RecordedState::Stopped).await;
    }
}
