//! The cache's own admin pages: `GET /status`, `GET /explain` and `POST /purge`.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use common::admin::{Page, PageFuture, Pages, json, text};
use http::header::ACCEPT;
use http::{Method, Request, StatusCode};

use crate::cache::Cache;
use crate::explain::{self, Explanation};
use crate::invalidate::{self, Command};

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
        &[
            ("/status", "what the cache holds and does, as JSON"),
            (
                "/explain",
                "?url=https://host/path[&method=…][&header=Name:+value…]: what would happen, and why",
            ),
            (
                "/purge",
                "POST {\"url\": …}, {\"tags\": […]}, {\"host\", \"path\", \"header\", \"expression\"} or {\"everything\": true}",
            ),
        ]
    }

    fn page<'a>(&'a self, request: &'a Request<Bytes>) -> PageFuture<'a> {
        Box::pin(async move {
            match (request.method(), request.uri().path()) {
                (&Method::GET, "/status") => Some(json(StatusCode::OK, self.status())),
                (&Method::GET, "/explain") => Some(self.explain(request)),
                (&Method::POST, "/purge") => Some(self.purge(request.body()).await),
                _ => None,
            }
        })
    }
}

impl CachePages {
    fn status(&self) -> String {
        let Cache { store, live, flights, origin, tags, .. } = &*self.0;
        let status = serde_json::json!({
            "objects": store.objects(),
            "bytes": store.bytes(),
            "limit": live.load().config.memory,
            "tags": tags.len(),
            "fetches": flights.len(),
            "origin_endpoints": origin.endpoints(),
        });
        format!("{status}\n")
    }

    /// Sentences for who prefers text, otherwise JSON.
    fn explain(&self, request: &Request<Bytes>) -> Page {
        let accept = request.headers().get(ACCEPT).map(|accept| accept.as_bytes().to_ascii_lowercase());
        let wants_text = accept.is_some_and(|accept| accept.starts_with(b"text/"));
        match explain::explain(&self.0, request.uri().query().unwrap_or_default(), SystemTime::now()) {
            Ok(Explanation { words, .. }) if wants_text => text(StatusCode::OK, words.join("\n") + "\n"),
            Ok(Explanation { words, mut json }) => {
                json["words"] = words.into();
                common::admin::json(StatusCode::OK, format!("{json:#}\n"))
            }
            Err(error) if wants_text => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
            Err(error) => {
                let error = serde_json::json!({ "error": error.to_string() });
                json(StatusCode::BAD_REQUEST, format!("{error}\n"))
            }
        }
    }

    async fn purge(&self, body: &[u8]) -> Page {
        match Command::of_json(body, &self.0.live.load_full()) {
            Ok(command) => match invalidate::carry_out(&self.0, command).await {
                Ok(count) => json(StatusCode::OK, format!("{{\"invalidated\":{count}}}\n")),
                Err(error) => {
                    let error = serde_json::json!({ "error": error.to_string() });
                    json(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n"))
                }
            },
            Err(error) => {
                self.0.metrics.purges.refused("malformed");
                let error = serde_json::json!({ "error": error.to_string() });
                json(StatusCode::BAD_REQUEST, format!("{error}\n"))
            }
        }
    }
}
