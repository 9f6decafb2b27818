//! Which file or script answers a request.
//!
//! 1. [`path`]: the path, decoded and free of everything that could lead outside.
//! 2. [`Docroot::map`]: what of it is there.
//! 3. [`rules`]: what is denied, redirected or altered, before anything else.
//! 4. A directory is answered by its index file, or by a redirect to its slash.
//! 5. A file is sent, a script is run; what is neither goes to the front controller.

pub mod path;
pub mod rules;

use std::fs::{File, Metadata};
use std::sync::Arc;

use self::path::UrlPath;
use self::rules::{Action, MappedTo, Subject};
use crate::docroot::{Docroot, Found, MapError, Mapped, Wait, is_script};
use crate::route::rules::Profile;

/// What routing needs to know of the site.
#[derive(Debug)]
pub struct Router {
    pub docroot: Arc<Docroot>,
    pub profile: Profile,
    /// Names of index files, the first that exists counts.
    pub index: Vec<String>,
    pub front_controller: Option<UrlPath>,
}

/// What answers a request.
#[derive(Debug)]
pub enum Route {
    File(StaticFile),
    Script(Script),
    /// 301 to this path, or whole target if it has its query already.
    Redirect(String),
}

/// A file to send.
#[derive(Debug)]
pub struct StaticFile {
    pub path: UrlPath,
    pub file: File,
    pub metadata: Metadata,
}

/// A script to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The script's own path below the docroot: SCRIPT_NAME.
    pub name: Vec<u8>,
    /// The rest of the request's path.
    pub path_info: Vec<u8>,
    /// What a rule puts in front of the query.
    pub query: Option<&'static str>,
}

/// Why nothing answers a request.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    #[error("denied by the rule {0}")]
    Denied(&'static str),
    #[error("a directory without an index")]
    NoIndex,
    #[error("no such file, and no front controller")]
    NotFound,
    #[error("{0}")]
    Map(#[from] MapError),
}

impl Router {
    pub async fn route(&self, path: &UrlPath) -> Result<Route, RouteError> {
        let mapped = self.map(path).await?;
        let query = match self.apply_rules(path, &mapped)? {
            Applied::Redirect(route) => return Ok(route),
            Applied::Query(query) => query,
        };
        match mapped.found {
            Found::File(file, metadata) => classify(path, mapped.end, file, metadata, query),
            Found::Directory if path.has_trailing_slash() => self.index(path).await,
            Found::Directory => Ok(Route::Redirect(format!("{}/", path.encoded()))),
            Found::Nothing => self.front_controller().await,
        }
    }

    /// The first index file there is; the rules count for it as if it had been asked for itself.
    async fn index(&self, directory: &UrlPath) -> Result<Route, RouteError> {
        for name in &self.index {
            let path = directory.entry(name);
            let mapped = self.map(&path).await?;
            if matches!(mapped.found, Found::File(..)) {
                let query = match self.apply_rules(&path, &mapped)? {
                    Applied::Redirect(route) => return Ok(route),
                    Applied::Query(query) => query,
                };
                let Found::File(file, metadata) = mapped.found else { continue };
                return classify(&path, mapped.end, file, metadata, query);
            }
        }
        Err(RouteError::NoIndex)
    }

    async fn front_controller(&self) -> Result<Route, RouteError> {
        let Some(path) = &self.front_controller else { return Err(RouteError::NotFound) };
        match self.map(path).await? {
            Mapped { end, found: Found::File(file, metadata) } if end == path.trimmed_len() => {
                classify(path, end, file, metadata, None)
            }
            _ => Err(RouteError::NotFound),
        }
    }

    fn apply_rules(&self, path: &UrlPath, mapped: &Mapped) -> Result<Applied, RouteError> {
        let bytes = path.as_bytes();
        let (_, name) = split(&bytes[..mapped.end]);
        let mapped = match mapped.found {
            Found::File(..) => MappedTo::File(name),
            Found::Directory => MappedTo::Directory,
            Found::Nothing => MappedTo::Nothing(name),
        };
        let Some((rule, action)) = self.profile.rules.first(Subject { path: bytes, mapped }) else {
            return Ok(Applied::Query(None));
        };
        tracing::debug!(rule, ?action, "a rule decides");
        match action {
            Action::Deny => Err(RouteError::Denied(rule)),
            Action::NotFound => Err(RouteError::NotFound),
            Action::Query(query) => Ok(Applied::Query(Some(query))),
            Action::Redirect(template) => {
                let (directory, name) = split(bytes);
                // No text of a request is looked at twice: an encoded path has no braces.
                let target = template
                    .replace("{directory}", &path::encoded(directory))
                    .replace("{name}", &path::encoded(name));
                Ok(Applied::Redirect(Route::Redirect(target)))
            }
        }
    }

    /// Without leaving this thread if the kernel knows the answer.
    async fn map(&self, path: &UrlPath) -> Result<Mapped, MapError> {
        match self.docroot.map(path, Wait::Never) {
            Err(MapError::NotCached) => {}
            known => return known,
        }
        let (docroot, path) = (Arc::clone(&self.docroot), path.clone());
        tokio::task::spawn_blocking(move || docroot.map(&path, Wait::Allowed))
            .await
            .unwrap_or_else(|error| Err(MapError::Io(std::io::Error::other(error))))
    }
}

/// What the rules leave to do.
enum Applied {
    Redirect(Route),
    Query(Option<&'static str>),
}

fn classify(
    path: &UrlPath,
    end: usize,
    file: File,
    metadata: Metadata,
    query: Option<&'static str>,
) -> Result<Route, RouteError> {
    let (name, path_info) = path.as_bytes().split_at(end);
    if is_script(path.below(end)) {
        return Ok(Route::Script(Script { name: name.to_vec(), path_info: path_info.to_vec(), query }));
    }
    // Only scripts have a PATH_INFO.
    if !path_info.is_empty() {
        return Err(RouteError::NotFound);
    }
    Ok(Route::File(StaticFile { path: path.clone(), file, metadata }))
}

/// The path up to its last slash, and the name behind it.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memrchr(b'/', path) {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

impl StaticFile {
    /// The last segment.
    pub fn name(&self) -> &[u8] {
        split(self.path.as_bytes()).1
    }
}

#[cfg(test)]
mod tests;
