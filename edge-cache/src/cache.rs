//! What all requests share.

use std::sync::Arc;

use arc_swap::ArcSwap;
use common::http::access_log::AccessLog;
use common::shutdown::Shutdown;

use crate::fetch::fill::Budget;
use crate::fetch::{Flights, Origin};
use crate::invalidate::{Epochs, TagIndex, View};
use crate::live::Live;
use crate::metrics::Metrics;
use crate::store::Store;

#[derive(Debug)]
pub struct Cache {
    /// Loaded once a request, and carried with it.
    pub live: ArcSwap<Live>,
    pub store: Arc<Store>,
    pub flights: Arc<Flights>,
    pub tags: TagIndex,
    pub epochs: Epochs,
    pub origin: Origin,
    /// Bytes of bodies on their way into the store.
    pub budget: Arc<Budget>,
    pub metrics: Metrics,
    pub access_log: AccessLog,
    pub shutdown: Shutdown,
}

impl Cache {
    /// What invalidations have to do with.
    pub fn view(&self) -> View<'_> {
        View { store: &self.store, flights: &self.flights, tags: &self.tags, epochs: &self.epochs }
    }
}
