//! What the kernel lets one process have.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the number of open files to what is permitted: each request through the whole chain takes six, and
/// the usual 1024 are a limit for programs that use select(2), which none here does.
pub fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
