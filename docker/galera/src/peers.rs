//! The other nodes: where they are, and what their agents say.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use common::config::HumanDuration;
use common::discovery::{DiscoveryOptions, Endpoints, discover};
use common::net::Endpoint;
use common::shutdown::Shutdown;
use futures_util::future::join_all;
use tokio::sync::watch;

use crate::agent::{self, Heard, Report};
use crate::config::Config;
use crate::durable;
use crate::facts::{Facts, VolumeId};

#[derive(Debug)]
pub(crate) struct Peers {
    endpoints: watch::Receiver<Endpoints>,
    me: VolumeId,
    configured: bool,
    /// What was heard last from each volume, for whoever asks who is missing.
    heard: Vec<Heard>,
}

/// One round of questions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Round {
    pub(crate) reports: Vec<(SocketAddr, Report)>,
    /// Listed, and not answering.
    pub(crate) silent: Vec<String>,
}

const PATIENCE: Duration = Duration::from_millis(1500);
const ADMISSION_PATIENCE: Duration = Duration::from_secs(5);

impl Peers {
    pub(crate) fn new(config: &Config, me: &VolumeId, shutdown: &Shutdown) -> anyhow::Result<Self> {
        let interval = HumanDuration::new(Duration::from_secs(1));
        let options = DiscoveryOptions { dns_interval: interval, dns_server: config.node.dns_server };
        let endpoints = discover(config.peers.clone(), &options, shutdown)?;
        Ok(Self { endpoints, me: me.clone(), configured: !config.peers.is_empty(), heard: Vec::new() })
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        let endpoints = self.endpoints.borrow();
        let tcp = endpoints.iter().filter_map(|endpoint| match endpoint {
            Endpoint::Tcp(address) => Some(*address),
            Endpoint::Unix(_) => None,
        });
        tcp.collect()
    }

    /// This node's address on the data network. `None` while nothing is known of that network.
    pub(crate) fn own_address(&self) -> Option<IpAddr> {
        let listed = self.addresses();
        // An address of this machine is reached from itself.
        let own = listed.iter().find(|address| source_towards(**address) == Some(address.ip()));
        if let Some(own) = own {
            return Some(own.ip());
        }
        if let Some(towards) = listed.iter().find_map(|address| source_towards(*address)) {
            return Some(towards);
        }
        if self.configured {
            return None;
        }
        // Alone: whatever leads out, else the loopback.
        let out = source_towards(SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 9)));
        Some(out.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)))
    }

    /// Asks everybody at once.
    pub(crate) async fn round(&mut self) -> Round {
        let asked =
            self.addresses().into_iter().map(async |address| (address, agent::ask(address, PATIENCE).await));
        let mut round = Round::default();
        for (address, answer) in join_all(asked).await {
            match answer {
                Ok(report) if report.facts.volume == self.me => {}
                Ok(report) => {
                    self.note(address, &report);
                    round.reports.push((address, report));
                }
                Err(error) => {
                    tracing::debug!(%address, %error, "a peer does not answer");
                    round.silent.push(address.to_string());
                }
            }
        }
        round
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.clone()
    }

    fn note(&mut self, address: SocketAddr, report: &Report) {
        self.heard.retain(|heard| heard.volume != report.facts.volume);
        let Facts { volume, slot, .. } = report.facts.clone();
        self.heard.insert(0, Heard { address, volume, slot, at: durable::now() });
        self.heard.truncate(16);
    }
}

impl Round {
    pub(crate) fn facts(&self) -> Vec<Facts> {
        self.reports.iter().map(|(_, report)| report.facts.clone()).collect()
    }

    /// Asks every member of the Primary component to let this volume in. An error says who does not.
    pub(crate) async fn ask_admission(
        &self,
        primary: &VolumeId,
        me: &crate::facts::Member,
    ) -> Result<(), String> {
        let by_volume =
            |volume: &VolumeId| self.reports.iter().find(|(_, report)| report.facts.volume == *volume);
        let view = by_volume(primary).and_then(|(_, report)| report.facts.view.clone());
        let members = view.into_iter().flat_map(|view| view.members);
        for member in members.filter(|member| member.volume != me.volume) {
            // One that is gone leaves the view within seconds; one that joins itself cannot acknowledge anything yet.
            let Some((address, report)) = by_volume(&member.volume) else {
                return Err(format!("{member} is in the Primary view and does not answer"));
            };
            if report.facts.is_primary() {
                let asked = agent::ask_admission(*address, me, ADMISSION_PATIENCE).await;
                asked.map_err(|error| format!("{member} does not let this volume in: {error}"))?;
            }
        }
        Ok(())
    }

    /// Where Galera is reached on those who are there, members of the Primary component first.
    pub(crate) fn group_addresses(&self) -> Vec<SocketAddr> {
        let mut all: Vec<_> = self
            .reports
            .iter()
            .filter_map(|(_, report)| Some((!report.facts.is_primary(), report.group?)))
            .collect();
        all.sort_unstable();
        all.into_iter().map(|(_, address)| address).collect()
    }
}

/// The address that a packet to there would carry; nothing is sent.
fn source_towards(address: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0; 8], 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(address).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_this_machine_is_reached_from_itself() {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 4570));
        assert_eq!(source_towards(loopback), Some(loopback.ip()));
    }
}
