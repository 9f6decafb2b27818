//! What a rule wants of a response, and of the parameters that the application gets.

use std::fmt::Write as _;
use std::time::Duration;

use common::fastcgi::Params;
use common::rules::{Place, Template};
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::config::FrontController;
use crate::request::Received;
use crate::route::path;

#[derive(Debug, Default)]
pub struct Edits {
    pub expires: Option<Duration>,
    pub media_type: Option<HeaderValue>,
    pub coding: Option<HeaderValue>,
    pub query: Option<Box<str>>,
    pub lazy: Option<bool>,
    pub front_controller: Option<FrontController>,
    pub remove_params: Vec<Box<str>>,
    pub set_params: Vec<(Box<str>, Template)>,
    pub remove_headers: Vec<HeaderName>,
    pub set_headers: Vec<(HeaderName, HeaderValue)>,
}

/// What texts of rules may name.
pub(super) const PLACES: [Place; 9] = [
    Place::Scheme,
    Place::Host,
    Place::Path,
    Place::Query,
    Place::QueryPart,
    Place::Target,
    Place::Client,
    Place::Directory,
    Place::Name,
];

impl Edits {
    pub(super) fn is_empty(&self) -> bool {
        let Self {
            expires,
            media_type,
            coding,
            query,
            lazy,
            front_controller,
            remove_params,
            set_params,
            remove_headers,
            set_headers,
        } = self;
        expires.is_none()
            && media_type.is_none()
            && coding.is_none()
            && query.is_none()
            && lazy.is_none()
            && front_controller.is_none()
            && remove_params.is_empty()
            && set_params.is_empty()
            && remove_headers.is_empty()
            && set_headers.is_empty()
    }

    /// Also of our own pages (Apache's `Header always`).
    pub fn of_response(&self, headers: &mut HeaderMap) {
        for name in &self.remove_headers {
            headers.remove(name);
        }
        for (name, value) in &self.set_headers {
            headers.insert(name, value.clone());
        }
    }

    pub fn of_params(&self, params: &mut Params, request: &Received) {
        for name in &self.remove_params {
            params.remove(name.as_bytes());
        }
        for (name, template) in &self.set_params {
            params.remove(name.as_bytes());
            params.push(name.as_bytes().to_vec(), template.render(fill(request)));
        }
    }
}

/// Fills a template's places from the request: paths decoded once and encoded again.
pub fn fill(request: &Received) -> impl FnMut(Place, &mut String) -> std::fmt::Result + '_ {
    let (directory, name) = path::split(request.path.as_bytes());
    move |place, out| match place {
        Place::Scheme => out.write_str(request.client.scheme.as_str()),
        Place::Host => out.write_str(&request.host_name()),
        Place::Path => out.write_str(&request.path.encoded()),
        Place::Query => out.write_str(request.uri.query().unwrap_or_default()),
        Place::QueryPart => request.uri.query().map_or(Ok(()), |query| write!(out, "?{query}")),
        Place::Target => {
            out.write_str(&request.path.encoded())?;
            request.uri.query().map_or(Ok(()), |query| write!(out, "?{query}"))
        }
        Place::Client => write!(out, "{}", request.client.ip),
        Place::Directory => out.write_str(&path::encoded(directory)),
        Place::Name => out.write_str(&path::encoded(name)),
    }
}
