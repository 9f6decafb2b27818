//! What is known of database and cache, for `/status` and the metrics.

use std::sync::Arc;

use common::net::Endpoint;
use common::telemetry::Registry;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use serde::Serialize;
use tokio::time::Instant;

use super::Dependencies;
use super::galera::{Alarm, Availability, Galera, Loss, Node};
use super::memcached::{self, Memcached, Server};

/// The sections of `/status`; what is not configured is left out.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Why requests are answered 503 at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shedding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub galera: Option<GaleraStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memcached: Option<MemcachedStatus>,
}

#[derive(Debug, Serialize)]
pub struct GaleraStatus {
    availability: &'static str,
    writer: Option<String>,
    readers: Vec<String>,
    alarms: Vec<&'static str>,
    nodes: Vec<NodeStatus>,
}

#[derive(Debug, Serialize)]
struct NodeStatus {
    node: String,
    state: &'static str,
    /// How long it has been in this state.
    for_seconds: u64,
    /// Why it did not answer when it was last asked.
    trouble: Option<String>,
    local_index: Option<u64>,
    cluster_size: Option<u64>,
    cluster_state_uuid: Option<String>,
    cluster_conf_id: Option<u64>,
    receive_queue: Option<u64>,
    receive_queue_average: Option<f64>,
    flow_control_paused: f64,
    read_only: Option<bool>,
}

#[derive(Debug, Serialize)]
pub struct MemcachedStatus {
    /// What PHP is told.
    list: Vec<String>,
    up: usize,
    expected: usize,
    /// Percent of the workers that may be busy.
    workers_percent: u8,
    servers: Vec<ServerStatus>,
}

#[derive(Debug, Serialize)]
struct ServerStatus {
    server: String,
    state: &'static str,
    for_seconds: u64,
    trouble: Option<String>,
    version: Option<String>,
    uptime_seconds: Option<u64>,
    connections: Option<u64>,
    max_connections: Option<u64>,
    /// Of the last minute.
    hit_ratio: Option<f64>,
    evictions_per_second: f64,
    bytes: Option<u64>,
    limit_bytes: Option<u64>,
}

impl Dependencies {
    pub fn status(&self) -> Status {
        Status {
            shedding: self.shedding.loss().map(Loss::as_str),
            galera: self.galera.as_deref().map(GaleraStatus::of),
            memcached: self.memcached.as_deref().map(MemcachedStatus::of),
        }
    }

    /// Adds the metrics of what is configured.
    pub fn register(self: &Arc<Self>, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("fpm_gateway");
        let probes = self.shedding.probes.clone();
        registry.register("shedding_probes", "Requests let through while there is no database", probes);
        if let Some(galera) = &self.galera {
            let changes = galera.writer_changes.clone();
            registry.register("galera_writer_changes", "Times that another writer was chosen", changes);
        }
        registry.register_collector(Box::new(DependencyMetrics(Arc::clone(self))));
    }
}

impl GaleraStatus {
    fn of(galera: &Galera) -> Self {
        let (nodes, decision) = galera.snapshot();
        let now = Instant::now();
        Self {
            availability: decision.availability.as_str(),
            writer: decision.writer.as_ref().map(ToString::to_string),
            readers: decision.readers.iter().map(ToString::to_string).collect(),
            alarms: decision.alarms.iter().map(|alarm| alarm.as_str()).collect(),
            nodes: nodes.iter().map(|(endpoint, node)| NodeStatus::of(endpoint, node, now)).collect(),
        }
    }
}

impl NodeStatus {
    fn of(endpoint: &Endpoint, node: &Node, now: Instant) -> Self {
        let wsrep = node.wsrep();
        Self {
            node: endpoint.to_string(),
            state: node.state().as_str(),
            for_seconds: node.age(now).as_secs(),
            trouble: node.trouble().map(str::to_owned),
            local_index: wsrep.and_then(|wsrep| wsrep.local_index),
            cluster_size: wsrep.map(|wsrep| wsrep.cluster_size),
            cluster_state_uuid: wsrep.map(|wsrep| wsrep.state_uuid.clone()),
            cluster_conf_id: wsrep.map(|wsrep| wsrep.conf_id),
            receive_queue: wsrep.map(|wsrep| wsrep.recv_queue),
            receive_queue_average: wsrep.map(|wsrep| wsrep.recv_queue_avg_milli as f64 / 1000.0),
            flow_control_paused: node.paused(),
            read_only: node.said().map(|said| said.read_only),
        }
    }
}

impl MemcachedStatus {
    fn of(memcached: &Memcached) -> Self {
        let (servers, decision) = memcached.snapshot();
        let now = Instant::now();
        Self {
            list: decision.servers.iter().map(ToString::to_string).collect(),
            up: decision.up,
            expected: decision.expected,
            workers_percent: *memcached.cap().borrow(),
            servers: servers
                .iter()
                .map(|(endpoint, server)| ServerStatus::of(endpoint, server, now))
                .collect(),
        }
    }
}

impl ServerStatus {
    fn of(endpoint: &Endpoint, server: &Server, now: Instant) -> Self {
        let stats = server.stats();
        Self {
            server: endpoint.to_string(),
            state: server.state().as_str(),
            for_seconds: server.age(now).as_secs(),
            trouble: server.trouble().map(str::to_owned),
            version: stats.map(|stats| stats.version.clone()),
            uptime_seconds: stats.map(|stats| stats.uptime),
            connections: stats.map(|stats| stats.curr_connections),
            max_connections: stats.map(|stats| stats.max_connections),
            hit_ratio: server.hit_ratio(),
            evictions_per_second: server.evictions_per_second(),
            bytes: stats.map(|stats| stats.bytes),
            limit_bytes: stats.map(|stats| stats.limit_bytes),
        }
    }
}

/// Nodes and servers, read when they are asked for.
#[derive(Debug)]
struct DependencyMetrics(Arc<Dependencies>);

type OfNode<'a> = &'a dyn Fn(&Endpoint, &Node) -> f64;
type OfServer = fn(&Server) -> f64;
type Encoded = Result<(), std::fmt::Error>;

impl Collector for DependencyMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Encoded {
        let lost = i64::from(self.0.shedding.loss().is_some());
        gauge(&mut encoder, "shedding", "1 while requests are refused since there is no database", lost)?;
        if let Some(galera) = &self.0.galera {
            encode_galera(galera, &mut encoder)?;
        }
        if let Some(memcached) = &self.0.memcached {
            encode_memcached(memcached, &mut encoder)?;
        }
        Ok(())
    }
}

fn encode_galera(galera: &Galera, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    let (nodes, decision) = galera.snapshot();
    let available = i64::from(decision.availability == Availability::Available);
    gauge(encoder, "galera_available", "1 while a node takes statements", available)?;

    let mut family =
        encoder.encode_descriptor("galera_alarm", "1 while it is on", None, MetricType::Gauge)?;
    for alarm in Alarm::ALL {
        let on = i64::from(decision.alarms.contains(&alarm));
        ConstGauge::new(on).encode(family.encode_family(&[("alarm", alarm.as_str())])?)?;
    }
    let mut family = encoder.encode_descriptor(
        "galera_node_state",
        "1 for the state of the node",
        None,
        MetricType::Gauge,
    )?;
    for (endpoint, node) in &nodes {
        let labels = [("node", endpoint.to_string()), ("state", node.state().as_str().to_owned())];
        ConstGauge::new(1_i64).encode(family.encode_family(&labels)?)?;
    }
    let is_writer = |endpoint: &Endpoint| decision.writer.as_ref() == Some(endpoint);
    let values: [(&str, &str, OfNode<'_>); 3] = [
        ("galera_writer", "1 for the node to which PHP writes", &|endpoint, _| {
            f64::from(u8::from(is_writer(endpoint)))
        }),
        ("galera_receive_queue", "Write sets that wait to be applied", &|_, node| {
            node.wsrep().map_or(0.0, |wsrep| wsrep.recv_queue as f64)
        }),
        ("galera_flow_control_paused", "Part of the time that replication was held back", &|_, node| {
            node.paused()
        }),
    ];
    for (name, help, value) in values {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (endpoint, node) in &nodes {
            let labels = [("node", endpoint.to_string())];
            ConstGauge::new(value(endpoint, node)).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn encode_memcached(memcached: &Memcached, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    let (servers, _) = memcached.snapshot();
    let cap = f64::from(*memcached.cap().borrow()) / 100.0;
    gauge(encoder, "memcached_workers_share", "Part of the workers that may be busy", cap)?;
    let values: [(&str, &str, OfServer); 4] = [
        ("memcached_up", "1 while the server answers", |server| {
            f64::from(u8::from(server.state() == memcached::State::Up))
        }),
        ("memcached_connections", "Connections open", |server| {
            server.stats().map_or(0.0, |stats| stats.curr_connections as f64)
        }),
        ("memcached_bytes", "Bytes stored", |server| server.stats().map_or(0.0, |stats| stats.bytes as f64)),
        ("memcached_hit_ratio", "Of the last minute", |server| server.hit_ratio().unwrap_or(f64::NAN)),
    ];
    for (name, help, value) in values {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (endpoint, server) in &servers {
            let labels = [("server", endpoint.to_string())];
            ConstGauge::new(value(server)).encode(family.encode_family(&labels)?)?;
        }
    }
    let mut family = encoder.encode_descriptor(
        "memcached_evictions",
        "As the server counts them",
        None,
        MetricType::Counter,
    )?;
    for (endpoint, server) in &servers {
        let labels = [("server", endpoint.to_string())];
        let evictions = server.stats().map_or(0, |stats| stats.evictions);
        ConstCounter::new(evictions).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn gauge<N>(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: N) -> Encoded
where
    ConstGauge<N>: prometheus_client::encoding::EncodeMetric,
{
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}
