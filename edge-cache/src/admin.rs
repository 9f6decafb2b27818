//! The cache's own admin pages: `/status`.

use std::sync::Arc;

use bytes::Bytes;
use common::admin::{PageFuture, Pages, json};
use http::{Method, Request, StatusCode};

use crate::cache::Cache;

#[derive(Debug)]
pub struct CachePages(pub Arc<Cache>);

impl Pages for CachePages {
    fn name(&self) -> &'static str {
        "edge-cache"
    }

    /// A cache without an origin can still serve what it holds, but is no place to send new requests to.
    fn ready(&self) -> Result<(), String> {
        if self.0.origin.endpoints() == 0 {
            return Err("the origin's name has no address yet".into());
        }
        Ok(())
    }

    fn routes(&self) -> &'static [(&'static str, &'static str)] {
        &[("/status", "what the cache holds and does, as JSON")]
    }

    fn page<'a>(&'a self, request: &'a Request<Bytes>) -> PageFuture<'a> {
        let page = (request.method() == Method::GET && request.uri().path() == "/status").then(|| {
            let Cache { store, config, flights, origin, .. } = &*self.0;
            let body = format!(
                "{{\"objects\":{},\"bytes\":{},\"limit\":{},\"fetches\":{},\"origin_endpoints\":{}}}\n",
                store.objects(),
                store.bytes(),
                config.memory,
                flights.len(),
                origin.endpoints(),
            );
            json(StatusCode::OK, body)
        });
        Box::pin(std::future::ready(page))
    }
}
