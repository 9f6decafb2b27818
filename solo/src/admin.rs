//! The admin page of the PHP-FPM child: `/php/status`.

use std::sync::Arc;

use bytes::Bytes;
use common::admin::{PageFuture, Pages, json};
use common::telemetry::Registry;
use http::{Method, Request, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::sync::watch;

use crate::php::State;

#[derive(Debug, Clone)]
pub struct PhpPages(watch::Receiver<State>);

impl PhpPages {
    pub fn new(state: watch::Receiver<State>, registry: &mut Registry) -> Arc<Self> {
        let pages = Self(state);
        registry.register_collector(Box::new(pages.clone()));
        Arc::new(pages)
    }

    fn state(&self) -> State {
        *self.0.borrow()
    }
}

impl Pages for PhpPages {
    fn name(&self) -> &'static str {
        "php"
    }

    /// The edge cache answers without it, so this is for the gateway to say.
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn routes(&self) -> &'static [(&'static str, &'static str)] {
        &[("/status", "PHP-FPM's master process and how often it was started, as JSON")]
    }

    fn page<'a>(&'a self, request: &'a Request<Bytes>) -> PageFuture<'a> {
        let page = (request.method() == Method::GET && request.uri().path() == "/status").then(|| {
            let State { master, starts } = self.state();
            let master = master.map_or_else(|| "null".to_owned(), |pid| pid.to_string());
            json(StatusCode::OK, format!("{{\"master\":{master},\"starts\":{starts}}}\n"))
        });
        Box::pin(std::future::ready(page))
    }
}

impl Collector for PhpPages {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let State { master, starts } = self.state();
        let starts = ConstCounter::new(starts);
        let metric =
            encoder.encode_descriptor("solo_php_starts", "Starts of PHP-FPM", None, starts.metric_type())?;
        starts.encode(metric)?;
        let up = ConstGauge::new(i64::from(master.is_some()));
        let metric = encoder.encode_descriptor(
            "solo_php_up",
            "Whether PHP-FPM's master runs",
            None,
            up.metric_type(),
        )?;
        up.encode(metric)
    }
}
