//! Heads that are prepared: of a kept file as a whole, in each of its forms, with its bytes or as a 304.
//!
//! 1. [`Choice::of`]: which of these a request gets, by the functions that the ordinary way asks, too.
//! 2. [`Choice::head`]: the one that was made for a request before, if it was in this second (since a head says when the file
//!    expires), and if the same rules have fitted. Nothing else of a request is in a head.
//! 3. Otherwise the ordinary way makes the response, whose head is kept for the next ([`Choice::keep`]).

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use common::http::coding::Accepted;
use common::http::direct::HeadText;
use common::http::range::ByteRange;
use futures_util::FutureExt as _;
use http::{HeaderMap, Method, StatusCode};

use super::file_body::Readable;
use super::file_cache::{Kept, Source};
use super::negotiate::{Decision, negotiate};
use super::{FileBody, Settings, preferred};
use crate::docroot::Wait;
use crate::respond::Body;
use crate::route::StaticFile;
use crate::rules::Orders;

/// A response's head, as it is sent but for its date and its body's length.
#[derive(Debug)]
pub struct Prepared {
    /// In which it was made, since 1970.
    second: u64,
    /// The rules that have fitted, by their addresses.
    rules: Box<[usize]>,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: HeadText,
}

/// All of one file.
#[derive(Debug)]
pub(super) struct Heads(Box<[ArcSwapOption<Prepared>]>);

/// What a request gets: a whole form, or that it has it.
#[derive(Debug)]
pub struct Choice {
    kept: Arc<Kept>,
    /// Among the file's forms; `None` for the plain one.
    form: Option<usize>,
    is_not_modified: bool,
}

impl Heads {
    /// None yet, of a file with so many forms beside the plain one.
    pub(super) fn new(forms: usize) -> Self {
        Self((0..2 * (forms + 1)).map(|_| ArcSwapOption::empty()).collect())
    }
}

impl Choice {
    /// Of a request whose header fields are `request`; `None` where a head is not among those that are prepared.
    pub fn of(settings: &Settings, method: &Method, request: &HeaderMap, file: &StaticFile) -> Option<Self> {
        let Source::Kept(kept) = &file.source else { return None };
        if *method != Method::GET || file.media_type.is_some() || file.coding.is_some() {
            return None;
        }
        let form = match &kept.forms {
            // They count, and nobody has looked for them.
            None if kept.has_forms(settings) => return None,
            Some(forms) if kept.has_forms(settings) && !forms.is_empty() => {
                kept.best(&preferred(Accepted::of(request), &settings.precompressed))
            }
            _ => None,
        };
        let content = kept.content(form);
        let is_not_modified = match negotiate(method, request, &content.validators, content.length) {
            Decision::Send(ByteRange::Whole) => false,
            Decision::NotModified => true,
            _ => return None,
        };
        Some(Self { kept: Arc::clone(kept), form, is_not_modified })
    }

    fn place(&self) -> Option<&ArcSwapOption<Prepared>> {
        self.kept.heads.0.get(2 * self.form.map_or(0, |form| form + 1) + usize::from(self.is_not_modified))
    }

    pub fn head(&self, second: u64, orders: &Orders<'_>) -> Option<Arc<Prepared>> {
        let head = self.place()?.load();
        let head = head.as_ref()?;
        (head.second == second && orders.are(&head.rules)).then(|| Arc::clone(head))
    }

    /// What goes with the head; `None` where it would have to be waited for.
    pub fn body(&self) -> Option<Body> {
        if self.is_not_modified {
            return Some(Body::empty());
        }
        let content = self.kept.content(self.form);
        match &content.readable {
            Readable::Kept(bytes, _) => Some(Body::page(bytes.clone())),
            file @ Readable::File(_) => {
                let mut body = FileBody::new(file.clone(), content.version, 0, content.length);
                body.prime(Wait::Never).now_or_never()?.ok()?;
                Some(Body::file(body))
            }
        }
    }

    /// The head of a response that the ordinary way has made in this second of what was chosen.
    pub fn keep(&self, second: u64, orders: &Orders<'_>, status: StatusCode, headers: &HeaderMap) {
        let expected = if self.is_not_modified { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
        if status == expected
            && let Some(place) = self.place()
        {
            let (headers, text) = (headers.clone(), HeadText::of(status, headers));
            let prepared = Prepared { second, rules: orders.addresses().collect(), status, headers, text };
            place.store(Some(Arc::new(prepared)));
        }
    }
}
