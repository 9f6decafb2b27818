//! A file as a response.
//!
//! 1. [`guard`]: files that are never sent, and methods that a file does not have.
//! 2. [`content_type`]: what it is, by its name.
//! 3. [`file_cache`]: whether it is in memory, or will be.
//! 4. [`siblings`]: whether a form of it that was compressed beforehand is sent in its place.
//! 5. [`Validators`]: what names this state of what is sent.
//! 6. [`negotiate`]: the request's conditions and range against them, a pure decision.
//! 7. Head and body ([`FileBody`], [`FileParts`]); the first piece is read before the head is given away.

mod coding;
mod content_type;
mod file_body;
pub mod file_cache;
mod file_parts;
mod guard;
mod immutable;
mod negotiate;
mod pieces;
pub mod prepared;
mod settings;
mod siblings;
mod validators;

use std::fs::Metadata;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::http::coding::{Accepted, is_compressible};
use common::http::range::{ByteRange, Multipart, content_range};
use http::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    EXPIRES, HeaderName, HeaderValue, LAST_MODIFIED, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Method, Response, StatusCode};

pub use coding::{Coding, preferred};
use content_type::Kind;
pub use content_type::{OwnType, Types};
pub use file_body::{FileBody, FileBodyError, READ_TIMEOUT, SendError};
use file_body::{Readable, Stored, Version};
pub use file_cache::FileCache;
use file_cache::{Content, Kept, Opened, Outcome, Source, Wanted};
pub use file_parts::FileParts;
pub use guard::Guard;
pub(crate) use guard::is_source;
use negotiate::Decision;
pub use settings::{FileOptions, Immutable, Settings};
pub use validators::Validators;

use crate::docroot::{Docroot, Wait};
use crate::respond::Body;
use crate::route::StaticFile;
use crate::route::path::UrlPath;

/// The methods that a file has.
pub const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
pub const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const ACCEPT_ENCODING: HeaderValue = HeaderValue::from_static("Accept-Encoding");
/// Header fields of a response, about.
const FIELDS: usize = 12;
const YEAR: Duration = Duration::from_hours(365 * 24);

/// Why a file is not sent.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Guard(#[from] Guard),
    /// Nothing of it is sent yet.
    #[error(transparent)]
    Body(#[from] FileBodyError),
}

/// What is sent: the file itself, or another one in its place.
struct Representation {
    content: Readable,
    version: Version,
    length: u64,
    kind: Kind,
    validators: Validators,
    last_modified: HeaderValue,
    /// The Content-Length of all of it, where that is prepared.
    content_length: Option<HeaderValue>,
}

/// A file on its way.
#[derive(Debug)]
pub struct Served {
    pub response: Response<Body>,
    /// What is to be counted of a file that was opened, once it is sent.
    pub outcome: Option<Outcome>,
}

/// The response to a request for `file`, which may be kept for as long as `expires` says, or why it is not sent. Where
/// nobody waits, it is [`FileBodyError::NotCached`] for want of waiting, and the future is ready at once.
pub async fn serve(
    settings: &Settings,
    cache: &FileCache,
    method: &Method,
    request: &HeaderMap,
    file: StaticFile,
    expires: Option<Duration>,
    wait: Wait,
) -> Result<Served, ServeError> {
    guard::check(method, file.name())?;
    if method == Method::OPTIONS {
        let response = response(StatusCode::NO_CONTENT, [(ALLOW, METHODS)], Body::empty());
        return Ok(Served { response, outcome: None });
    }
    let now = SystemTime::now();
    let kind = kind_of(&file, &settings.types);
    let lifetime = lifetime(settings.immutable, expires, file.name());
    let has_forms = match &file.source {
        Source::Kept(kept) if file.media_type.is_none() && file.coding.is_none() => kept.has_forms(settings),
        _ => {
            !settings.precompressed.is_empty()
                && kind.coding.is_none()
                && is_compressible(kind.media_type.as_bytes())
        }
    };
    // What a rule says to be compressed is one of two forms, under a name of its own.
    let varies = has_forms || file.coding.is_some();
    let wanted = if has_forms { preferred(Accepted::of(request), &settings.precompressed) } else { vec![] };
    let StaticFile { path, source, docroot, .. } = file;
    let (source, outcome) = match source {
        Source::Opened(opened) => {
            let wanted = Wanted { has_forms, is_read: method != Method::HEAD, now, wait };
            cache.settle(settings, &docroot, &path, opened, wanted).await?
        }
        kept @ Source::Kept(_) => (kept, None),
    };
    let place = (&docroot, &path);
    let representation = match source {
        Source::Kept(kept) => choose_kept(place, &kept, kind, wanted, now, wait).await?,
        Source::Opened(opened) => choose(place, opened, kind, wanted, now, wait).await?,
    };

    let length = representation.length;
    let decision = negotiate::negotiate(method, request, &representation.validators, length);
    let (etag, last_modified) =
        (representation.validators.etag.clone(), representation.last_modified.clone());
    let mut response = match decision {
        Decision::PreconditionFailed => response(StatusCode::PRECONDITION_FAILED, [], Body::empty()),
        Decision::Send(ByteRange::Unsatisfiable) => {
            let range = [(CONTENT_RANGE, content_range(None, length))];
            response(StatusCode::RANGE_NOT_SATISFIABLE, range, Body::empty())
        }
        Decision::NotModified => response(StatusCode::NOT_MODIFIED, [], Body::empty()),
        Decision::Send(ByteRange::Part { start, end }) => {
            let mut part = representation.bytes(method, StatusCode::PARTIAL_CONTENT, start, end);
            part.headers_mut().insert(CONTENT_RANGE, content_range(Some((start, end)), length));
            part
        }
        // Parts of an encoded file would need the coding where a client takes it for that of the multipart body.
        Decision::Send(ByteRange::Parts(parts)) if representation.kind.coding.is_none() => {
            let multipart = Multipart::new(&parts, length, Some(&representation.kind.media_type));
            let fields = [
                (CONTENT_TYPE, multipart.content_type()),
                (CONTENT_LENGTH, HeaderValue::from(multipart.length())),
            ];
            let body = FileParts::new(representation.content, representation.version, multipart);
            response(StatusCode::PARTIAL_CONTENT, fields, Body::parts(body))
        }
        Decision::Send(ByteRange::Whole | ByteRange::Parts(_)) => {
            representation.bytes(method, StatusCode::OK, 0, length)
        }
    };
    response.body_mut().prime(wait).await?;
    let headers = response.headers_mut();
    if varies {
        headers.insert(VARY, ACCEPT_ENCODING);
    }
    if !matches!(response.status(), StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE) {
        let headers = response.headers_mut();
        headers.insert(LAST_MODIFIED, last_modified);
        headers.insert(ETAG, etag);
        describe(&mut response, lifetime, now);
    }
    Ok(Served { response, outcome })
}

/// By its name, unless a rule has said otherwise.
fn kind_of(file: &StaticFile, types: &Types) -> Kind {
    let mut kind = match &file.source {
        Source::Kept(kept) => kept.kind.clone(),
        Source::Opened(_) => types.of(file.path.as_bytes()),
    };
    if let Some(media_type) = &file.media_type {
        kind.media_type.clone_from(media_type);
    }
    if file.coding.is_some() {
        kind.coding.clone_from(&file.coding);
    }
    kind
}

/// The best of the `wanted` forms that there is, or the file itself.
async fn choose(
    (docroot, path): (&Arc<Docroot>, &UrlPath),
    opened: Box<Opened>,
    kind: Kind,
    wanted: Vec<Coding>,
    now: SystemTime,
    wait: Wait,
) -> Result<Representation, FileBodyError> {
    let Opened { file, metadata, .. } = *opened;
    let form = if wanted.is_empty() {
        None
    } else {
        siblings::find(docroot, path, siblings::Times::of(&metadata), wanted, wait).await?
    };
    if let Some(form) = form {
        return Ok(Representation::coded(docroot, form, kind, now));
    }
    let file = Stored::of(docroot, file, &metadata);
    Ok(Representation::opened(file, &metadata, None, kind, now))
}

/// The same of a file in memory.
async fn choose_kept(
    (docroot, path): (&Arc<Docroot>, &UrlPath),
    kept: &Kept,
    mut kind: Kind,
    wanted: Vec<Coding>,
    now: SystemTime,
    wait: Wait,
) -> Result<Representation, FileBodyError> {
    // Nobody has looked for them, since only a rule makes this a type that has forms.
    if kept.forms.is_none()
        && !wanted.is_empty()
        && let Some(form) = siblings::find(docroot, path, kept.plain.times(), wanted.clone(), wait).await?
    {
        return Ok(Representation::coded(docroot, form, kind, now));
    }
    let form = kept.best(&wanted);
    if let Some(coding) = form.and_then(|form| kept.coding(form)) {
        kind.coding = Some(coding.field());
    }
    Ok(Representation::kept(kept.content(form), kind))
}

impl From<siblings::NotCached> for FileBodyError {
    fn from(_: siblings::NotCached) -> Self {
        Self::NotCached
    }
}

impl Representation {
    fn opened(
        file: Stored,
        metadata: &Metadata,
        coding: Option<Coding>,
        kind: Kind,
        now: SystemTime,
    ) -> Self {
        let validators = Validators::of(metadata, coding, now);
        Self {
            content: Readable::File(Arc::new(file)),
            version: Version::of(metadata),
            length: metadata.len(),
            kind,
            last_modified: http_date(validators.modified),
            validators,
            content_length: None,
        }
    }

    fn coded(docroot: &Docroot, form: siblings::Form, mut kind: Kind, now: SystemTime) -> Self {
        kind.coding = Some(form.coding.field());
        let file = Stored::of(docroot, form.file, &form.metadata);
        Self::opened(file, &form.metadata, Some(form.coding), kind, now)
    }

    fn kept(content: &Content, kind: Kind) -> Self {
        Self {
            content: content.readable.clone(),
            version: content.version,
            length: content.length,
            kind,
            validators: content.validators.clone(),
            last_modified: content.last_modified.clone(),
            content_length: Some(content.announced.clone()),
        }
    }

    /// Its bytes from `start` up to, without, `end`, with what describes them; a 304 leaves that out
    /// (RFC 9110, section 15.4.5).
    fn bytes(self, method: &Method, status: StatusCode, start: u64, end: u64) -> Response<Body> {
        let body = match self.content {
            _ if *method == Method::HEAD => Body::empty(),
            // A range is one of this length.
            Readable::Kept(bytes, _) => Body::page(bytes.slice(start as usize..end as usize)),
            content @ Readable::File(_) => Body::file(FileBody::new(content, self.version, start, end)),
        };
        let length = match self.content_length {
            Some(whole) if end - start == self.length => whole,
            _ => (end - start).into(),
        };
        let fields = [(CONTENT_TYPE, self.kind.media_type), (CONTENT_LENGTH, length)];
        let coding = self.kind.coding.map(|coding| (CONTENT_ENCODING, coding));
        response(status, fields.into_iter().chain(coding), body)
    }
}

/// How long a browser may keep a file, and whether it need not even ask when its reader reloads the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lifetime {
    expires: Option<Duration>,
    immutable: bool,
}

fn lifetime(immutable: Immutable, expires: Option<Duration>, name: &[u8]) -> Lifetime {
    match (immutable, expires) {
        (Immutable::On, _) if immutable::is_hashed(name) => {
            Lifetime { expires: Some(expires.unwrap_or(YEAR).max(YEAR)), immutable: true }
        }
        (Immutable::Auto, Some(lifetime)) if lifetime >= YEAR && immutable::is_hashed(name) => {
            Lifetime { expires, immutable: true }
        }
        _ => Lifetime { expires, immutable: false },
    }
}

fn describe(response: &mut Response<Body>, lifetime: Lifetime, now: SystemTime) {
    let headers = response.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(expires) = lifetime.expires {
        let immutable = if lifetime.immutable { ", immutable" } else { "" };
        if let Ok(value) = HeaderValue::from_str(&format!("max-age={}{immutable}", expires.as_secs())) {
            headers.insert(CACHE_CONTROL, value);
        }
        headers.insert(EXPIRES, http_date(now + expires));
    }
}

fn response(
    status: StatusCode,
    fields: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    body: Body,
) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    // Room for what describes the file, for what rules add and for the connection's own.
    response.headers_mut().reserve(FIELDS);
    response.headers_mut().extend(fields);
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    response
}

fn http_date(time: SystemTime) -> HeaderValue {
    HeaderValue::from_str(&httpdate::fmt_http_date(time))
        .unwrap_or_else(|_| HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}
