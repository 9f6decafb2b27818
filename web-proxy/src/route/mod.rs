//! Which file or script answers a request.
//!
//! 1. [`path`]: the path, decoded and free of everything that could lead outside.
//! 2. [`Docroot::map`]: what of it is there; a small file may be in memory ([`FileCache`]).
//! 3. [`crate::rules`]: what is denied, redirected or altered, before anything else.
//! 4. A directory is answered by its index file, or by a redirect to its slash.
//! 5. A file is sent, a script is run; what is neither goes to the front controller.

pub mod path;

use std::io;
use std::sync::Arc;

use common::rules::Subject;
use http::{HeaderValue, StatusCode};

use self::path::{UrlPath, split};
use crate::config::FrontController;
use crate::docroot::{Docroot, Followed, Found, MapError, Mapped, Wait, is_script};
use crate::request::Received;
use crate::rules::edits::fill;
use crate::rules::{Decision, MappedTo, Orders, Rules};
use crate::static_files::READ_TIMEOUT;
use crate::static_files::file_cache::{FileCache, Found as Known, Look, Opened, Source};

/// What routing needs to know of the site.
#[derive(Debug)]
pub struct Router {
    pub docroot: Arc<Followed>,
    /// Small files that need not be looked up each time.
    pub files: Arc<FileCache>,
    pub rules: Arc<Rules>,
    /// Names of index files, the first that exists counts.
    pub index: Vec<String>,
    pub front_controller: FrontController,
}

/// What answers a request, and what the rules want of it whatever that is.
#[derive(Debug)]
pub struct Routed<'r> {
    pub orders: Orders<'r>,
    pub route: Result<Route, RouteError>,
}

/// What answers a request.
#[derive(Debug)]
pub enum Route {
    File(Box<StaticFile>),
    Script(Script),
    Redirect(Redirect),
}

/// A file to send.
#[derive(Debug)]
pub struct StaticFile {
    pub path: UrlPath,
    pub source: Source,
    /// Where it was found.
    pub docroot: Arc<Docroot>,
    /// What a rule says of it, whatever its name says.
    pub media_type: Option<HeaderValue>,
    pub coding: Option<HeaderValue>,
}

/// A script to run.
#[derive(Debug, Clone)]
pub struct Script {
    /// Where it was found.
    pub docroot: Arc<Docroot>,
    /// The script's own path below the docroot: SCRIPT_NAME.
    pub name: Vec<u8>,
    /// The rest of the request's path.
    pub path_info: Vec<u8>,
    /// What a rule puts in front of the query.
    pub query: Option<Box<str>>,
    /// It is run to make, on the disk, what was asked for.
    pub on_demand: bool,
}

#[derive(Debug)]
pub struct Redirect {
    pub status: StatusCode,
    pub location: String,
}

/// Why nothing answers a request.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    #[error("denied by the rule {rule}")]
    Denied { rule: Box<str>, status: StatusCode },
    #[error("a directory without an index")]
    NoIndex,
    #[error("no such file, and no front controller")]
    NotFound,
    #[error("{0}")]
    Map(#[from] MapError),
}

/// Where the walk along a path has ended: after its first `end` bytes.
struct Place {
    end: usize,
    what: What,
}

enum What {
    File(Source),
    Script,
    Directory,
    Nothing,
}

impl Router {
    /// Where nobody waits, it is [`MapError::NotCached`] for want of waiting, and the future is ready at once.
    pub async fn route(&self, request: &Received, wait: Wait) -> Routed<'_> {
        let mut orders = Orders::default();
        // One docroot for all of a request, whatever happens to the link to it.
        let docroot = self.docroot.current();
        let route = self.find(&docroot, request, &mut orders, wait).await;
        Routed { orders, route }
    }

    async fn find<'r>(
        &'r self,
        docroot: &Arc<Docroot>,
        request: &Received,
        orders: &mut Orders<'r>,
        wait: Wait,
    ) -> Result<Route, RouteError> {
        let path = &request.path;
        let place = self.look(docroot, path, wait).await?;
        if let Some(redirect) = self.apply_rules(request, path, &place, orders)? {
            return Ok(Route::Redirect(redirect));
        }
        match place.what {
            What::File(source) => file(docroot, path, place.end, source, orders),
            What::Script => Ok(Route::Script(script(docroot, path, place.end, orders))),
            What::Directory if path.has_trailing_slash() => self.index(docroot, request, orders, wait).await,
            What::Directory => Ok(Route::Redirect(Redirect::to_slash(request))),
            What::Nothing => self.front_controller(docroot, orders, wait).await,
        }
    }

    /// What is at `path`, in memory or on the disk.
    async fn look(&self, docroot: &Arc<Docroot>, path: &UrlPath, wait: Wait) -> Result<Place, MapError> {
        let whole = path.trimmed_len();
        // What ends in a slash is never sent, and what has a script's name neither.
        let may_be_sent = whole == path.as_bytes().len() && !is_script(path.below(whole));
        let kept = if may_be_sent { self.files.find(docroot, path) } else { Err(Look::default()) };
        let look = match kept {
            Ok(kept) => return Ok(Place { end: whole, what: What::File(Source::Kept(kept)) }),
            Err(look) => look,
        };
        let placed = match self.files.place(docroot, path) {
            Ok(Known::Script) => return Ok(Place { end: whole, what: What::Script }),
            Ok(Known::Directory) => return Ok(Place { end: whole, what: What::Directory }),
            Err(look) => look,
        };
        let Mapped { end, found } = map(docroot, path, wait).await?;
        let keep = |known| {
            if end == whole {
                self.files.is_there(docroot, path, &placed, known);
            }
        };
        let what = match found {
            Found::File(..) if is_script(path.below(end)) => {
                keep(Known::Script);
                What::Script
            }
            Found::File(file, metadata) => {
                What::File(Source::Opened(Box::new(Opened { file, metadata, look })))
            }
            Found::Directory => {
                self.files.gone(docroot, path, &look);
                keep(Known::Directory);
                What::Directory
            }
            Found::Nothing => {
                self.files.gone(docroot, path, &look);
                What::Nothing
            }
        };
        Ok(Place { end, what })
    }

    /// The first index file there is; the rules count for it as if it had been asked for itself, too.
    async fn index<'r>(
        &'r self,
        docroot: &Arc<Docroot>,
        request: &Received,
        orders: &mut Orders<'r>,
        wait: Wait,
    ) -> Result<Route, RouteError> {
        for name in &self.index {
            let path = request.path.entry(name);
            let place = self.look(docroot, &path, wait).await?;
            if matches!(place.what, What::Directory | What::Nothing) {
                continue;
            }
            if let Some(redirect) = self.apply_rules(request, &path, &place, orders)? {
                return Ok(Route::Redirect(redirect));
            }
            match place.what {
                What::File(source) => return file(docroot, &path, place.end, source, orders),
                What::Script => return Ok(Route::Script(script(docroot, &path, place.end, orders))),
                What::Directory | What::Nothing => {}
            }
        }
        Err(RouteError::NoIndex)
    }

    async fn front_controller(
        &self,
        docroot: &Arc<Docroot>,
        orders: &Orders<'_>,
        wait: Wait,
    ) -> Result<Route, RouteError> {
        let named = orders.front_controller().unwrap_or(&self.front_controller);
        let FrontController(Some(path)) = named else { return Err(RouteError::NotFound) };
        match self.look(docroot, path, wait).await? {
            Place { end, .. } if end != path.trimmed_len() => Err(RouteError::NotFound),
            Place { end, what: What::File(source) } => file(docroot, path, end, source, orders),
            Place { end, what: What::Script } => {
                let script = script(docroot, path, end, orders);
                Ok(Route::Script(Script { on_demand: orders.is_lazy(), ..script }))
            }
            _ => Err(RouteError::NotFound),
        }
    }

    /// `path` is what is mapped: the request's own, or an index file's.
    fn apply_rules<'r>(
        &'r self,
        request: &Received,
        path: &UrlPath,
        place: &Place,
        orders: &mut Orders<'r>,
    ) -> Result<Option<Redirect>, RouteError> {
        let bytes = path.as_bytes();
        let (_, name) = split(&bytes[..place.end]);
        let mapped = match place.what {
            What::File(_) | What::Script => MappedTo::File(name),
            What::Directory => MappedTo::Directory,
            What::Nothing => MappedTo::Nothing(name),
        };
        let subject = Subject {
            method: &request.method,
            scheme: request.client.scheme.as_str(),
            host: &request.host_name(),
            path: bytes,
            query: request.uri.query().unwrap_or_default(),
            headers: &request.headers,
            client: request.client.ip,
        };
        let decided = match &place.what {
            What::File(Source::Kept(kept)) => {
                self.rules.apply_to_known(&subject, mapped, kept.rules(), orders)
            }
            _ => self.rules.apply(&subject, mapped, orders),
        };
        let Some((rule, decision)) = decided else { return Ok(None) };
        if !matches!(decision, Decision::Serve) {
            tracing::debug!(rule = &*rule.name, ?decision, "a rule decides");
        }
        match decision {
            Decision::Serve => Ok(None),
            Decision::Deny(status) => Err(RouteError::Denied { rule: rule.name.clone(), status: *status }),
            Decision::Redirect(status, template) => {
                Ok(Some(Redirect { status: *status, location: template.location(fill(request)) }))
            }
        }
    }
}

/// What of `path` is in `docroot`, without leaving this thread if the kernel knows the answer.
pub async fn map(docroot: &Arc<Docroot>, path: &UrlPath, wait: Wait) -> Result<Mapped, MapError> {
    match docroot.map(path, Wait::Never) {
        Err(MapError::NotCached) if wait == Wait::Allowed => {}
        known => return known,
    }
    let (docroot, path) = (Arc::clone(docroot), path.clone());
    let looking = tokio::task::spawn_blocking(move || docroot.map(&path, Wait::Allowed));
    match tokio::time::timeout(READ_TIMEOUT, looking).await {
        Ok(Ok(mapped)) => mapped,
        Ok(Err(error)) => Err(MapError::Io(io::Error::other(error))),
        Err(_) => Err(MapError::Io(io::ErrorKind::TimedOut.into())),
    }
}

/// The first `end` bytes of `path` are the script's.
fn script(docroot: &Arc<Docroot>, path: &UrlPath, end: usize, orders: &Orders<'_>) -> Script {
    let (name, path_info) = path.as_bytes().split_at(end);
    let query = orders.query().map(Box::from);
    let (docroot, name, path_info) = (Arc::clone(docroot), name.to_vec(), path_info.to_vec());
    Script { docroot, name, path_info, query, on_demand: false }
}

/// The first `end` bytes of `path` are the file's.
fn file(
    docroot: &Arc<Docroot>,
    path: &UrlPath,
    end: usize,
    source: Source,
    orders: &Orders<'_>,
) -> Result<Route, RouteError> {
    // Only scripts have a PATH_INFO.
    if end < path.as_bytes().len() {
        return Err(RouteError::NotFound);
    }
    let (media_type, coding) = (orders.media_type().cloned(), orders.coding().cloned());
    let (path, docroot) = (path.clone(), Arc::clone(docroot));
    Ok(Route::File(Box::new(StaticFile { path, source, docroot, media_type, coding })))
}

impl Redirect {
    /// Of a directory to its slash, with the query.
    fn to_slash(request: &Received) -> Self {
        let query = request.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let location = format!("{}/{query}", request.path.encoded());
        Self { status: StatusCode::MOVED_PERMANENTLY, location }
    }
}

impl StaticFile {
    /// Whether the file system was not asked.
    pub const fn is_kept(&self) -> bool {
        matches!(self.source, Source::Kept(_))
    }

    /// The last segment.
    pub fn name(&self) -> &[u8] {
        split(self.path.as_bytes()).1
    }
}

#[cfg(test)]
mod tests;
