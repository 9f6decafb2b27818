//! A file as a response.
//!
//! 1. [`guard`]: files that are never sent, and methods that a file does not have.
//! 2. [`content_type`]: what it is, by its name.
//! 3. [`siblings`]: whether a form of it that was compressed beforehand is sent in its place.
//! 4. [`Validators`]: what names this state of what is sent.
//! 5. [`negotiate`]: the request's conditions and range against them, a pure decision.
//! 6. Head and body ([`FileBody`], [`FileParts`]); the first piece is read before the head is given away.

mod coding;
mod content_type;
mod file_body;
mod file_parts;
mod guard;
mod immutable;
mod negotiate;
mod settings;
mod siblings;
mod validators;

use std::fs::{File, Metadata};
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
pub use file_body::{FileBody, FileBodyError, READ_TIMEOUT};
pub use file_parts::FileParts;
pub use guard::Guard;
pub(crate) use guard::is_source;
use negotiate::Decision;
pub use settings::{FileOptions, Immutable, Settings};
pub use validators::Validators;

use crate::respond::Body;
use crate::route::StaticFile;

/// The methods that a file has.
pub const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
pub const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const ACCEPT_ENCODING: HeaderValue = HeaderValue::from_static("Accept-Encoding");
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
    file: File,
    metadata: Metadata,
    kind: Kind,
    validators: Validators,
}

/// The response to a request for `file`, which may be kept for as long as `expires` says, or why it is not sent.
pub async fn serve(
    settings: &Settings,
    method: &Method,
    request: &HeaderMap,
    file: StaticFile,
    expires: Option<Duration>,
) -> Result<Response<Body>, ServeError> {
    guard::check(method, file.name())?;
    if method == Method::OPTIONS {
        return Ok(response(StatusCode::NO_CONTENT, [(ALLOW, METHODS)], Body::empty()));
    }
    let now = SystemTime::now();
    let kind = kind_of(&file, &settings.types);
    let lifetime = lifetime(settings.immutable, expires, file.name());
    let has_forms = !settings.precompressed.is_empty()
        && kind.coding.is_none()
        && is_compressible(kind.media_type.as_bytes());
    // What a rule says to be compressed is one of two forms, under a name of its own.
    let varies = has_forms || file.coding.is_some();
    let wanted = if has_forms { preferred(Accepted::of(request), &settings.precompressed) } else { vec![] };
    let representation = choose(file, kind, wanted, now).await;

    let length = representation.metadata.len();
    let decision = negotiate::negotiate(method, request, &representation.validators, length);
    let validators = representation.validators.clone();
    let mut response = match decision {
        Decision::PreconditionFailed => response(StatusCode::PRECONDITION_FAILED, [], Body::empty()),
        Decision::Send(ByteRange::Unsatisfiable) => {
            let range = [(CONTENT_RANGE, content_range(None, length))];
            response(StatusCode::RANGE_NOT_SATISFIABLE, range, Body::empty())
        }
        Decision::NotModified => response(StatusCode::NOT_MODIFIED, [], Body::empty()),
        Decision::Send(ByteRange::Part { start, end }) => {
            let mut part = representation.bytes(method, StatusCode::PARTIAL_CONTENT, start, end).await?;
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
            let mut body = FileParts::new(representation.file, &representation.metadata, multipart);
            body.prime().await?;
            response(StatusCode::PARTIAL_CONTENT, fields, Body::parts(body))
        }
        Decision::Send(ByteRange::Whole | ByteRange::Parts(_)) => {
            representation.bytes(method, StatusCode::OK, 0, length).await?
        }
    };
    let headers = response.headers_mut();
    if varies {
        headers.insert(VARY, ACCEPT_ENCODING);
    }
    if !matches!(response.status(), StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE) {
        describe(&mut response, validators, lifetime, now);
    }
    Ok(response)
}

/// By its name, unless a rule has said otherwise.
fn kind_of(file: &StaticFile, types: &Types) -> Kind {
    let mut kind = types.of(file.path.as_bytes());
    if let Some(media_type) = &file.media_type {
        kind.media_type.clone_from(media_type);
    }
    if file.coding.is_some() {
        kind.coding.clone_from(&file.coding);
    }
    kind
}

/// The best of the `wanted` forms that there is, or the file itself.
async fn choose(file: StaticFile, mut kind: Kind, wanted: Vec<Coding>, now: SystemTime) -> Representation {
    let StaticFile { path, file, metadata, docroot, .. } = file;
    let form =
        if wanted.is_empty() { None } else { siblings::find(&docroot, &path, &metadata, wanted).await };
    let (file, metadata, coding) = match form {
        Some(form) => (form.file, form.metadata, Some(form.coding)),
        None => (file, metadata, None),
    };
    kind.coding = coding.map(Coding::field).or(kind.coding);
    let validators = Validators::of(&metadata, coding, now);
    Representation { file, metadata, kind, validators }
}

impl Representation {
    /// Its bytes from `start` up to, without, `end`, with what describes them; a 304 leaves that out
    /// (RFC 9110, section 15.4.5).
    async fn bytes(
        self,
        method: &Method,
        status: StatusCode,
        start: u64,
        end: u64,
    ) -> Result<Response<Body>, FileBodyError> {
        let body = if *method == Method::HEAD {
            Body::empty()
        } else {
            let mut body = FileBody::new(self.file, &self.metadata, start, end);
            body.prime().await?;
            Body::file(body)
        };
        let fields = [(CONTENT_TYPE, self.kind.media_type), (CONTENT_LENGTH, (end - start).into())];
        let coding = self.kind.coding.map(|coding| (CONTENT_ENCODING, coding));
        Ok(response(status, fields.into_iter().chain(coding), body))
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

fn describe(response: &mut Response<Body>, validators: Validators, lifetime: Lifetime, now: SystemTime) {
    let headers = response.headers_mut();
    headers.insert(LAST_MODIFIED, http_date(validators.modified));
    headers.insert(ETAG, validators.etag);
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
    response.headers_mut().extend(fields);
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    response
}

fn http_date(time: SystemTime) -> HeaderValue {
    HeaderValue::from_str(&httpdate::fmt_http_date(time))
        .unwrap_or_else(|_| HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}
