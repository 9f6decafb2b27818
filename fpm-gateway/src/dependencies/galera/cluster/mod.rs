//! What is thought of all nodes together. Pure: their states and the time in, a decision out.
//!
//! 1. **Component**: nodes of one Primary component belong together. Two Primary components are two databases:
//!    an alarm, and only nodes of one of them are used.
//! 2. **Writer**: of the best nodes the one with the lowest `wsrep_local_index`, so that gateways that never
//!    talk agree. A writer that works is kept when a lower index appears, since every change costs certification
//!    conflicts. But not for ever: gateways that started at different times would never agree again. Once the
//!    same better node has been there for the hold time without a break, it takes over.
//! 3. **Readers**: all nodes that are as good, in the order of the configuration.

use std::time::Duration;

use common::net::Endpoint;
use tokio::time::Instant;

use super::node::{Node, Rank, State};
use super::observation::Wsrep;

/// A node as the decision sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub endpoint: Endpoint,
    pub state: State,
    /// The Primary component of which it is a member, as it says.
    pub membership: Option<Membership>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Membership {
    pub state_uuid: String,
    pub conf_id: u64,
    pub size: u64,
    pub index: u64,
}

/// What follows from the nodes' states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub availability: Availability,
    pub writer: Option<Endpoint>,
    pub readers: Vec<Endpoint>,
    pub alarms: Vec<Alarm>,
}

/// Whether PHP finds its database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Availability {
    /// Not every node has been asked yet, or none is known: no reason to refuse anything.
    Unknown,
    Available,
    Lost(Loss),
}

/// Why no node can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Loss {
    /// Nodes answer, and none is a member of a Primary component.
    NoPrimary,
    /// There may be a Primary component, and none of the nodes that answer takes statements.
    NotReady,
    /// No node answers.
    Unreachable,
}

/// What an operator must know, whether or not the site works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alarm {
    /// Two Primary components: two databases that go different ways.
    SplitBrain,
    /// No node of the cluster is usable.
    Lost,
    /// A node does not let us in, so its state is not known.
    Denied,
    /// A server without Galera among nodes of a cluster: it has other data, and is not used.
    Stranger,
    /// Every node that is usable is read-only.
    NoWriter,
}

/// What is remembered from one decision to the next.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    writer: Option<Endpoint>,
    /// A node that would be the better writer, and since when.
    challenger: Option<(Endpoint, Instant)>,
    /// Since when members of one cluster have had different views of it.
    diverged: Option<Instant>,
    /// A node has been a member of a cluster.
    clustered: bool,
    /// Every node has been asked: before, the writer is the best of those that were heard, and not kept.
    settled: bool,
}

/// Views differ for a moment whenever a node comes or goes.
const VIEWS_SETTLE: Duration = Duration::from_secs(10);

impl Availability {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Available => "available",
            Self::Lost(loss) => loss.as_str(),
        }
    }
}

impl Loss {
    pub const ALL: [Self; 3] = [Self::NoPrimary, Self::NotReady, Self::Unreachable];

    /// Its place in the list, from 1.
    pub fn code(self) -> u8 {
        Self::ALL
            .iter()
            .position(|loss| *loss == self)
            .and_then(|place| u8::try_from(place + 1).ok())
            .unwrap_or(0)
    }

    pub fn from_code(code: u8) -> Option<Self> {
        usize::from(code).checked_sub(1).and_then(|place| Self::ALL.get(place)).copied()
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoPrimary => "no_primary",
            Self::NotReady => "not_ready",
            Self::Unreachable => "unreachable",
        }
    }
}

impl Alarm {
    pub const ALL: [Self; 5] = [Self::SplitBrain, Self::Lost, Self::Denied, Self::Stranger, Self::NoWriter];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SplitBrain => "split_brain",
            Self::Lost => "lost",
            Self::Denied => "denied",
            Self::Stranger => "stranger",
            Self::NoWriter => "no_writer",
        }
    }
}

impl View {
    pub(super) fn of(endpoint: &Endpoint, node: &Node) -> Self {
        let membership = node.wsrep().filter(|wsrep| wsrep.primary).map(Membership::of);
        Self { endpoint: endpoint.clone(), state: node.state(), membership }
    }
}

impl Membership {
    fn of(wsrep: &Wsrep) -> Self {
        Self {
            state_uuid: wsrep.state_uuid.clone(),
            conf_id: wsrep.conf_id,
            size: wsrep.cluster_size,
            index: wsrep.local_index.unwrap_or(u64::MAX),
        }
    }

    const fn view(&self) -> (u64, u64) {
        (self.conf_id, self.size)
    }
}

/// Decides anew; `views` in the order of the configuration.
pub(super) fn decide(views: &[View], memory: &mut Memory, now: Instant, hold: Duration) -> Decision {
    let (component, split) = component(views, memory, now);
    memory.clustered |= component.is_some();
    let is_stranger = |view: &View| memory.clustered && view.state == State::Standalone;
    let strangers = views.iter().any(is_stranger);
    let usable: Vec<&View> = views
        .iter()
        .filter(|view| view.state.rank() > Rank::None && !is_stranger(view))
        .filter(|view| match (&component, &view.membership) {
            (Some(component), Some(membership)) => component.has(membership),
            // A server without Galera, or one that is not known.
            _ => true,
        })
        .collect();
    let best = usable.iter().map(|view| view.state.rank()).max();
    let writer = best.and_then(|best| writer(&usable, best, memory, now, hold));
    let availability = availability(views, best);
    memory.writer.clone_from(&writer);
    memory.settled |= views.iter().all(|view| view.state != State::Unknown);
    let on = |alarm: &Alarm| match alarm {
        Alarm::SplitBrain => split,
        Alarm::Lost => matches!(availability, Availability::Lost(_)),
        Alarm::Denied => views.iter().any(|view| view.state == State::Denied),
        Alarm::Stranger => strangers,
        Alarm::NoWriter => best == Some(Rank::ReadOnly),
    };
    let alarms = Alarm::ALL.into_iter().filter(on).collect();
    Decision { availability, writer, readers: readers(&usable), alarms }
}

/// A Primary component, as its members see it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Component {
    state_uuid: String,
    /// Only when members of one cluster have had different views for long.
    view: Option<(u64, u64)>,
}

impl Component {
    fn of(membership: &Membership, by_view: bool) -> Self {
        Self { state_uuid: membership.state_uuid.clone(), view: by_view.then(|| membership.view()) }
    }

    fn has(&self, membership: &Membership) -> bool {
        self.state_uuid == membership.state_uuid && self.view.is_none_or(|view| view == membership.view())
    }
}

/// The component to be used, and whether there is another one.
fn component(views: &[View], memory: &mut Memory, now: Instant) -> (Option<Component>, bool) {
    let members = || views.iter().filter_map(|view| Some((view, view.membership.as_ref()?)));
    let differ = members().zip(members().skip(1)).any(|((_, one), (_, other))| one.view() != other.view());
    memory.diverged = differ.then(|| memory.diverged.unwrap_or(now));
    let by_view = memory.diverged.is_some_and(|since| now.saturating_duration_since(since) >= VIEWS_SETTLE);

    let mut components: Vec<Component> = Vec::new();
    for (_, membership) in members() {
        let component = Component::of(membership, by_view);
        if !components.contains(&component) {
            components.push(component);
        }
    }
    // More nodes than there are members: two components that count alike.
    let crowded = members().any(|(_, membership)| {
        let same = members().filter(|(_, other)| {
            other.state_uuid == membership.state_uuid && other.view() == membership.view()
        });
        same.count() as u64 > membership.size
    });
    let split = components.len() > 1 || crowded;
    // That of the writer; then the largest; then one that every gateway chooses alike.
    let preferred = components.into_iter().max_by_key(|component| {
        let of_it = || members().filter(|(_, membership)| component.has(membership));
        let usable = of_it().filter(|(view, _)| view.state.rank() > Rank::None).count();
        let has_writer = of_it().any(|(view, _)| {
            view.state.rank() > Rank::None && memory.writer.as_ref() == Some(&view.endpoint)
        });
        (
            has_writer,
            usable,
            of_it().count(),
            std::cmp::Reverse((component.state_uuid.clone(), component.view)),
        )
    });
    (preferred, split)
}

/// The writer among the nodes of the best rank.
fn writer(
    usable: &[&View],
    best: Rank,
    memory: &mut Memory,
    now: Instant,
    hold: Duration,
) -> Option<Endpoint> {
    let candidates = || usable.iter().enumerate().filter(|(_, view)| view.state.rank() == best);
    let (_, preferred) = candidates().min_by_key(|(position, view)| {
        let index = view.membership.as_ref().map_or(u64::MAX, |membership| membership.index);
        (index, *position)
    })?;
    let current = candidates().find(|(_, view)| memory.writer.as_ref() == Some(&view.endpoint));
    let Some((_, current)) = current.filter(|_| memory.settled) else {
        memory.challenger = None;
        return Some(preferred.endpoint.clone());
    };
    if current.endpoint == preferred.endpoint {
        memory.challenger = None;
        return Some(current.endpoint.clone());
    }
    let since = match memory.challenger.take() {
        Some((challenger, since)) if challenger == preferred.endpoint => since,
        _ => now,
    };
    if now.saturating_duration_since(since) >= hold {
        return Some(preferred.endpoint.clone());
    }
    memory.challenger = Some((preferred.endpoint.clone(), since));
    Some(current.endpoint.clone())
}

/// All that are best or only read; if there is none, whoever is left.
fn readers(usable: &[&View]) -> Vec<Endpoint> {
    let of = |ranks: &[Rank]| -> Vec<Endpoint> {
        let good = usable.iter().filter(|view| ranks.contains(&view.state.rank()));
        good.map(|view| view.endpoint.clone()).collect()
    };
    let tiers: [&[Rank]; 3] = [&[Rank::Best, Rank::ReadOnly], &[Rank::LastResort], &[Rank::Denied]];
    tiers.into_iter().map(of).find(|readers| !readers.is_empty()).unwrap_or_default()
}

fn availability(views: &[View], best: Option<Rank>) -> Availability {
    let any = |state: State| views.iter().any(|view| view.state == state);
    if best.is_some() {
        Availability::Available
    } else if views.is_empty() || any(State::Unknown) {
        Availability::Unknown
    } else if any(State::NotReady) || any(State::RejectsQueries) || any(State::Joining) {
        Availability::Lost(Loss::NotReady)
    } else if any(State::NotPrimary) || any(State::Standalone) {
        Availability::Lost(Loss::NoPrimary)
    } else {
        Availability::Lost(Loss::Unreachable)
    }
}

#[cfg(test)]
mod tests;
