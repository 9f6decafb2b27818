//! The service's own admin pages: `/status`.

use std::sync::Arc;

use bytes::Bytes;
use common::admin::{PageFuture, Pages, json};
use http::{Method, Request, StatusCode};

use crate::site::Site;

#[derive(Debug)]
pub struct ProxyPages(pub Arc<Site>);

impl Pages for ProxyPages {
    fn name(&self) -> &'static str {
        "web-proxy"
    }

    fn ready(&self) -> Result<(), String> {
        if self.0.upstream.endpoints() == 0 {
            return Err("the application's name has no address yet".into());
        }
        Ok(())
    }

    fn routes(&self) -> &'static [(&'static str, &'static str)] {
        &[("/status", "what the service does, as JSON")]
    }

    fn page<'a>(&'a self, request: &'a Request<Bytes>) -> PageFuture<'a> {
        let page = (request.method() == Method::GET && request.uri().path() == "/status").then(|| {
            let Site { metrics, upstream, .. } = &*self.0;
            let body = format!(
                "{{\"connections\":{},\"requests_in_flight\":{},\"fastcgi_in_flight\":{},\"fastcgi_endpoints\":{}}}\n",
                metrics.connections.get(),
                metrics.in_flight.get(),
                metrics.fastcgi_in_flight.get(),
                upstream.endpoints(),
            );
            json(StatusCode::OK, body)
        });
        Box::pin(std::future::ready(page))
    }
}
