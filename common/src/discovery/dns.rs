use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;

use super::Lookup;

#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    #[error("cannot use the system's resolver configuration (/etc/resolv.conf): {0}")]
    System(String),
    #[error("{0}")]
    Failed(String),
    #[error("no answer in time")]
    TimedOut,
}

/// The system's DNS servers, or one that was named.
#[derive(Debug)]
pub struct Dns(TokioResolver);

impl Dns {
    pub fn new(server: Option<SocketAddr>, timeout: Duration) -> Result<Self, DnsError> {
        let system = |error: hickory_resolver::net::NetError| DnsError::System(error.to_string());
        let mut builder = match server {
            Some(server) => {
                let mut udp = ConnectionConfig::udp();
                udp.port = server.port();
                let mut tcp = ConnectionConfig::tcp();
                tcp.port = server.port();
                let server = NameServerConfig::new(server.ip(), true, vec![udp, tcp]);
                let config = ResolverConfig::from_name_servers(vec![server]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
            None => TokioResolver::builder_tokio().map_err(system)?,
        };
        let options = builder.options_mut();
        // Whoever asks has an interval of his own: a cached answer would only be old.
        options.cache_size = 0;
        options.timeout = timeout / 2;
        options.attempts = 2;
        options.ip_strategy = LookupIpStrategy::Ipv4thenIpv6;
        builder.build().map(Self).map_err(system)
    }
}

impl Lookup for Dns {
    fn lookup<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, DnsError>> + Send + 'a>> {
        Box::pin(async move {
            let answer = self.0.lookup_ip(host).await.map_err(|error| DnsError::Failed(error.to_string()))?;
            Ok(answer.iter().collect())
        })
    }
}
