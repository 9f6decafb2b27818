//! What a request runs under: the configuration in force when it came, with what belongs to it.
//!
//! A request takes it once and keeps it to its end, so that a reload never shows it two configurations.

use std::sync::Arc;

use common::discovery::{DnsError, discover};
use common::shutdown::Shutdown;
use http::uri::PathAndQuery;

use crate::config::Config;
use crate::fetch::Origin;
use crate::key::CacheKey;
use crate::request::target;

#[derive(Debug)]
pub struct Live {
    pub config: Config,
    /// Those that rules name, in the order of [`Rules::origins`](crate::rules::Rules::origins).
    origins: Vec<Arc<Origin>>,
}

impl Live {
    /// Follows the addresses of the origins that rules name. Those of `before` are kept with their connections.
    pub fn new(config: Config, shutdown: &Shutdown, before: Option<&Self>) -> Result<Self, DnsError> {
        let kept = |targets| {
            let before = before?;
            let at = before.config.rules.origins().iter().position(|known| known == targets)?;
            before.origins.get(at).map(Arc::clone)
        };
        let origins = config.rules.origins().iter().map(|targets| match kept(targets) {
            Some(origin) => Ok(origin),
            None => Ok(Arc::new(Origin::new(discover(targets.clone(), &config.discovery, shutdown)?))),
        });
        let origins = origins.collect::<Result<_, DnsError>>()?;
        Ok(Self { config, origins })
    }

    /// With another configuration that names the same origins.
    #[must_use]
    pub fn with(&self, config: Config) -> Self {
        Self { config, origins: self.origins.clone() }
    }

    /// The origin that a rule has chosen.
    pub fn origin(&self, chosen: Option<usize>) -> Option<&Arc<Origin>> {
        self.origins.get(chosen?)
    }

    /// The key under which a plain GET for this URL is stored: what invalidations by URL look for.
    pub fn key_of(&self, url: &CacheKey) -> CacheKey {
        let target = url.host_and_target().1.parse::<PathAndQuery>().ok();
        match target.and_then(|target| target::canonical(&target, &self.config.query).ok()) {
            Some(target) => self.config.rules.key_of(&url.with_target(target.as_str())),
            None => url.clone(),
        }
    }
}
