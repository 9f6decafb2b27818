#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod command;
mod epochs;
mod expression;
mod index;
mod model;
mod race;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};

use super::{Epochs, Scope, TagIndex, Tags, View};
use crate::fetch::Flights;
use crate::key::CacheKey;
use crate::policy::cache_control::CacheControl;
use crate::policy::coding::Coding;
use crate::policy::freshness::{Freshness, Source};
use crate::store::{Content, Head, Store, Stored};

/// All that invalidations have to do with, without a network.
#[derive(Debug)]
struct Parts {
    store: Store,
    flights: Arc<Flights>,
    tags: TagIndex,
    epochs: Epochs,
}

impl Parts {
    fn new() -> Self {
        Self {
            store: Store::new(1 << 30),
            flights: Arc::default(),
            tags: TagIndex::default(),
            epochs: Epochs::default(),
        }
    }

    fn view(&self) -> View<'_> {
        View { store: &self.store, flights: &self.flights, tags: &self.tags, epochs: &self.epochs }
    }
}

fn key(url: &str) -> CacheKey {
    CacheKey::of_url(url).unwrap()
}

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), value.parse().unwrap());
    }
    headers
}

/// A response that is fresh for an hour, as `request` selects it.
fn response(
    url: &str,
    request: &HeaderMap,
    fields: &[(&'static str, &str)],
    tags: Tags,
    body: &str,
) -> Arc<Stored> {
    let fields = headers(fields);
    let now = SystemTime::now();
    let freshness = Freshness {
        lifetime: Duration::from_hours(1),
        source: Source::MaxAge,
        initial_age: Duration::ZERO,
        received: now,
    };
    let status = if url.contains("gone") { StatusCode::GONE } else { StatusCode::OK };
    let head = Head::new(status, fields.clone(), &CacheControl::of(&fields), freshness, request, false);
    let content = Content {
        chunks: vec![Bytes::copy_from_slice(body.as_bytes())],
        coding: Coding::Identity,
        identity_length: body.len() as u64,
        coded_here: false,
    };
    Arc::new(Stored::new(key(url), &head, tags, &content))
}

fn body(stored: &Arc<Stored>) -> u64 {
    String::from_utf8(stored.body(&stored.share()).first.to_vec()).unwrap().parse().unwrap()
}

/// Variants of a URL that the store takes.
const MAX_VARIANTS: usize = 32;

fn names(tags: &[&str]) -> Vec<Box<str>> {
    let mut names: Vec<Box<str>> = tags.iter().map(|tag| (*tag).into()).collect();
    names.sort_unstable();
    names.dedup();
    names
}
