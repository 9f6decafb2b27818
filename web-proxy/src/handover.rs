//! Files that the application hands over: X-Accel-Redirect (nginx) and X-Sendfile (Apache, lighttpd).
//!
//! The application has decided who may have the file and leaves the sending to us: conditions, ranges, and a client that
//! is slow. X-Accel-Redirect names a path in an internal location (`--internal`), which no client can ask for;
//! X-Sendfile names a file, in the folder of an internal location or in the docroot. Header fields of the application
//! stay, but for those that describe the file's bytes.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderName, HeaderValue, LAST_MODIFIED, VARY,
};
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt as _;

use crate::docroot::{Docroot, Followed, Found, MapError, Mapped, Wait};
use crate::request::Received;
use crate::respond::Body;
use crate::route::path::{PathError, UrlPath, encoded};
use crate::route::{Script, StaticFile, map};
use crate::site::Site;
use crate::static_files::file_cache::{Look, Opened, Source};
use crate::static_files::{self, FileBodyError, Guard, ServeError};

pub const X_ACCEL_REDIRECT: HeaderName = HeaderName::from_static("x-accel-redirect");
pub const X_SENDFILE: HeaderName = HeaderName::from_static("x-sendfile");

/// `/PREFIX/=/FOLDER`, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Internal {
    /// Begins and ends with a slash.
    pub prefix: String,
    /// As the application names it, too.
    pub folder: PathBuf,
}

/// An internal location held open.
#[derive(Debug)]
pub struct Location {
    prefix: Vec<u8>,
    folder: PathBuf,
    pub files: Arc<Followed>,
}

/// Why a file that the application has named is not sent.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    #[error("X-Accel-Redirect names {0:?}, which begins with no --internal location's prefix")]
    NoLocation(HeaderValue),
    #[error("X-Sendfile names {0:?}, which is neither in an --internal location's folder nor in the docroot")]
    NoFolder(HeaderValue),
    #[error("{field} names {value:?}, which holds {cause}")]
    Path { field: HeaderName, value: HeaderValue, cause: PathError },
    #[error("the application has named {0:?}, which is no file")]
    Missing(HeaderValue),
    #[error("the application has named {value:?}: {cause}")]
    Map { value: HeaderValue, cause: MapError },
    #[error("the application has named {value:?}: {cause}")]
    Unreadable { value: HeaderValue, cause: FileBodyError },
    #[error("the application has named {0:?}, which is a script")]
    Script(HeaderValue),
}

impl FromStr for Internal {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected /PREFIX/=/FOLDER, such as /private/=/srv/private";
        let (prefix, folder) = text.split_once('=').ok_or(expected)?;
        let plain = UrlPath::parse(prefix).is_ok_and(|path| path.as_bytes() == prefix.as_bytes());
        if !plain || !prefix.ends_with('/') || prefix == "/" || !folder.starts_with('/') {
            return Err(expected.into());
        }
        Ok(Self { prefix: prefix.to_owned(), folder: PathBuf::from(folder) })
    }
}

impl Location {
    pub fn open(internal: &Internal, follow_symlinks: bool) -> std::io::Result<Self> {
        let files = Arc::new(Followed::open(&internal.folder, follow_symlinks)?);
        Ok(Self { prefix: internal.prefix.clone().into_bytes(), folder: internal.folder.clone(), files })
    }
}

/// The file in the place of `response` if that names one. What the application sends as a body is read and dropped.
pub async fn take(
    site: &Site,
    request: &Received,
    script: &Script,
    mut response: Response<Body>,
) -> Result<Response<Body>, HandoverError> {
    let headers = response.headers_mut();
    let (accel, sendfile) = (headers.remove(X_ACCEL_REDIRECT), headers.remove(X_SENDFILE));
    let Some((field, value)) =
        accel.map(|value| (X_ACCEL_REDIRECT, value)).or_else(|| Some((X_SENDFILE, sendfile?)))
    else {
        return Ok(response);
    };
    // An error page with a file's name in its head is still an error page.
    if response.status() != StatusCode::OK {
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    drain(site, body);
    let (files, path) = if field == X_ACCEL_REDIRECT {
        in_location(&site.internal, &value)?
    } else {
        in_folder(site, script, &value)?
    };
    // A POST may end in a download: its conditions and ranges would mean the resource, not this file.
    let (method, conditions) = match request.method {
        Method::GET | Method::HEAD => (&request.method, &request.headers),
        _ => (&Method::GET, &HeaderMap::new()),
    };
    let mut again = true;
    loop {
        let file = found(&files, &path, &value).await?;
        let (settings, cache, wait) = (&site.config.files, &site.router.files, Wait::Allowed);
        match static_files::serve(settings, cache, method, conditions, file, None, wait).await {
            // Its source is of no cache: there is nothing to count.
            Ok(sent) => return Ok(joined(head.headers, sent.response)),
            Err(ServeError::Guard(Guard::Source | Guard::Method)) => {
                return Err(HandoverError::Script(value));
            }
            // Replaced, written to or gone since it was found.
            Err(ServeError::Body(_)) if again => again = false,
            Err(ServeError::Body(cause)) => return Err(HandoverError::Unreadable { value, cause }),
        }
    }
}

async fn found(
    files: &Arc<Docroot>,
    path: &UrlPath,
    value: &HeaderValue,
) -> Result<StaticFile, HandoverError> {
    let mapped = map(files, path, Wait::Allowed).await;
    let mapped = mapped.map_err(|cause| HandoverError::Map { value: value.clone(), cause })?;
    match mapped {
        Mapped { found: Found::File(file, metadata), end } if end == path.as_bytes().len() => {
            let (path, docroot) = (path.clone(), Arc::clone(files));
            // Not kept in memory: beside the application's work reading it costs little.
            let source = Source::Opened(Box::new(Opened { file, metadata, look: Look::default() }));
            Ok(StaticFile { path, source, docroot, media_type: None, coding: None })
        }
        _ => Err(HandoverError::Missing(value.clone())),
    }
}

/// What a path in an X-Accel-Redirect field leads to.
fn in_location(
    locations: &[Location],
    value: &HeaderValue,
) -> Result<(Arc<Docroot>, UrlPath), HandoverError> {
    let error = |cause| HandoverError::Path { field: X_ACCEL_REDIRECT, value: value.clone(), cause };
    let text = String::from_utf8_lossy(value.as_bytes());
    let target = text.split('?').next().unwrap_or_default();
    let path = match UrlPath::parse(target) {
        // Frameworks that do not encode what they write there.
        Err(PathError::Encoding) => UrlPath::parse(&target.replace('%', "%25")),
        parsed => parsed,
    };
    let path = path.map_err(error)?;
    let fitting = locations.iter().filter(|location| path.as_bytes().starts_with(&location.prefix));
    let location = fitting.max_by_key(|location| location.prefix.len());
    let location = location.ok_or_else(|| HandoverError::NoLocation(value.clone()))?;
    let rest = &path.as_bytes()[location.prefix.len() - 1..];
    Ok((location.files.current(), UrlPath::parse(&encoded(rest)).map_err(error)?))
}

/// What a file's own path in an X-Sendfile field leads to.
fn in_folder(
    site: &Site,
    script: &Script,
    value: &HeaderValue,
) -> Result<(Arc<Docroot>, UrlPath), HandoverError> {
    let error = |cause| HandoverError::Path { field: X_SENDFILE, value: value.clone(), cause };
    let named = Path::new(std::ffi::OsStr::from_bytes(value.as_bytes()));
    let docroot = (site.place.root(&script.docroot), Arc::clone(&script.docroot));
    let folders = site.internal.iter().map(|location| (location.folder.as_path(), location.files.current()));
    let within = folders.chain([docroot]).filter_map(|(folder, files)| {
        let rest = named.strip_prefix(folder).ok()?;
        Some((folder.as_os_str().len(), rest, files))
    });
    let (_, rest, files) =
        within.max_by_key(|(length, ..)| *length).ok_or_else(|| HandoverError::NoFolder(value.clone()))?;
    let path = UrlPath::parse(&format!("/{}", encoded(rest.as_os_str().as_bytes()))).map_err(error)?;
    Ok((files, path))
}

/// What the application has said, and of the file's bytes what the file says.
fn joined(mut headers: HeaderMap, mut sent: Response<Body>) -> Response<Body> {
    let said = headers.remove(CONTENT_TYPE);
    for name in [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE, ACCEPT_RANGES, ETAG, LAST_MODIFIED] {
        headers.remove(name);
    }
    // Its Vary and the file's both count.
    if let Some(value) = sent.headers_mut().remove(VARY) {
        headers.append(VARY, value);
    }
    for (name, value) in sent.headers() {
        headers.insert(name, value.clone());
    }
    let is_multipart =
        headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"multipart/byteranges"));
    if let Some(said) = said.filter(|said| !is_multipart && is_meant(said))
        && headers.contains_key(CONTENT_TYPE)
    {
        headers.insert(CONTENT_TYPE, said);
    }
    *sent.headers_mut() = headers;
    sent
}

/// PHP says `text/html` of everything that a script says nothing of; of a file that a visitor has uploaded that would be
/// a page of ours.
fn is_meant(said: &HeaderValue) -> bool {
    !said.as_bytes().to_ascii_lowercase().starts_with(b"text/html")
}

/// Reads what there is, so that the application can go on with what it does after its output.
fn drain(site: &Site, mut body: Body) {
    let longest = site.config.fastcgi_timeout;
    site.shutdown.spawn(async move {
        let reading = async {
            let mut left = MOST;
            while let Some(Ok(frame)) = body.frame().await {
                let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, bytes::Bytes::len)) else {
                    return;
                };
                left = rest;
            }
        };
        // Whichever comes first: there is nothing to report.
        let _ = tokio::time::timeout(longest.max(Duration::from_secs(1)), reading).await;
    });
}

/// What is read of a body that nobody gets.
const MOST: usize = 1 << 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn locations_as_they_are_written() {
        let internal: Internal = "/private/=/srv/private".parse().unwrap();
        assert_eq!(
            (internal.prefix.as_str(), internal.folder.as_path()),
            ("/private/", Path::new("/srv/private"))
        );
        for bad in [
            "",
            "/private/",
            "/private=/srv",
            "private/=/srv",
            "/=/srv",
            "/a/../b/=/srv",
            "/a/=srv",
            "/a//=/srv",
        ] {
            assert!(bad.parse::<Internal>().unwrap_err().contains("/PREFIX/=/FOLDER"), "{bad}");
        }
    }

    #[test]
    fn paths_of_locations() {
        let folder = tempfile::tempdir().unwrap();
        let open = |prefix: &str| {
            let internal = Internal { prefix: prefix.into(), folder: folder.path().into() };
            Location::open(&internal, false).unwrap()
        };
        let locations = [open("/a/"), open("/a/b/")];
        let path = |value: &'static str| match in_location(&locations, &HeaderValue::from_static(value)) {
            Ok((files, path)) => {
                let which =
                    locations.iter().position(|location| Arc::ptr_eq(&location.files.current(), &files));
                format!("{} {}", which.unwrap(), String::from_utf8_lossy(path.as_bytes()))
            }
            Err(error) => error.to_string(),
        };
        let cases = [
            ("/a/x.pdf", "0 /x.pdf"),
            ("/a/b/x.pdf?download", "1 /x.pdf"),
            ("/a/b%20c.pdf", "0 /b c.pdf"),
            ("/a/100% sure.pdf", "0 /100% sure.pdf"),
            ("/a/../a/b/c", "1 /c"),
            (
                "/a/../x",
                "X-Accel-Redirect names \"/a/../x\", which begins with no --internal location's prefix",
            ),
            ("/a", "X-Accel-Redirect names \"/a\", which begins with no --internal location's prefix"),
            (
                "/a/../../x",
                "x-accel-redirect names \"/a/../../x\", which holds more .. than segments before them",
            ),
            ("a/x", "x-accel-redirect names \"a/x\", which holds the target is no path"),
        ];
        for (value, expected) in cases {
            assert_eq!(path(value), expected, "{value}");
        }
    }
}
