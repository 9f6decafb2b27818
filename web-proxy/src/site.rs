//! What all requests share.

use std::sync::Arc;

use common::http::access_log::AccessLog;
use common::shutdown::Shutdown;

use crate::config::Config;
use crate::crowd::Crowd;
use crate::fastcgi::{BodyLimits, Place, Upstream};
use crate::handover::Location;
use crate::metrics::Metrics;
use crate::on_demand::Flights;
use crate::route::Router;

#[derive(Debug)]
pub struct Site {
    pub config: Config,
    pub crowd: Crowd,
    pub router: Router,
    pub body_limits: BodyLimits,
    pub place: Place,
    pub upstream: Upstream,
    /// Where files are that only the application may name.
    pub internal: Vec<Location>,
    /// Scripts that are making files.
    pub flights: Flights,
    pub metrics: Arc<Metrics>,
    pub access_log: AccessLog,
    pub shutdown: Shutdown,
}
