//! What the kernel lets one process have.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the number of open files to what is permitted: a request takes two in each service, and the usual
/// 1024 are a limit for programs that use select(2), which none here does.
pub fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_permitted() {
        raise_open_files();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
