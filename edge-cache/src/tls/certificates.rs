use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_rustls::rustls::sign::CertifiedKey;

/// A chain with its key.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The file that it was read from.
    pub file: PathBuf,
    /// DNS names in lower case, `*.example.org` among them.
    pub names: Vec<String>,
    /// When it expires, in seconds since 1970.
    pub not_after: i64,
    pub key: Arc<CertifiedKey>,
}

/// All certificates by the names that they are for.
#[derive(Debug, Default)]
pub struct Certificates {
    all: Vec<Certificate>,
    exact: HashMap<String, Vec<usize>>,
    /// By what stands behind `*.`.
    wildcard: HashMap<String, Vec<usize>>,
}

/// How long a certificate is to be valid yet for there to be no warning.
const SOON: Duration = Duration::from_hours(7 * 24);

impl Certificates {
    /// The first is the default.
    pub fn new(all: Vec<Certificate>) -> Self {
        let (mut exact, mut wildcard) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        for (at, certificate) in all.iter().enumerate() {
            for name in &certificate.names {
                match name.strip_prefix("*.") {
                    Some(parent) => wildcard.entry(parent.to_owned()).or_default().push(at),
                    None => exact.entry(name.clone()).or_default().push(at),
                }
            }
        }
        Self { all, exact, wildcard }
    }

    /// The one for a client that asks for `name`: the name itself, then a wildcard in the place of its first label
    /// (RFC 9525, section 6.3), then the first of all. Of several, the first that the client can use, so that a name
    /// may have an ECDSA and an RSA certificate.
    pub fn choose(
        &self,
        name: Option<&str>,
        is_usable: impl Fn(&Certificate) -> bool,
    ) -> Option<&Certificate> {
        let name = name.map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        let parent = name.as_deref().and_then(|name| name.split_once('.')).map(|(_, parent)| parent);
        let exact = name.as_deref().and_then(|name| self.exact.get(name));
        let wildcard = parent.and_then(|parent| self.wildcard.get(parent));
        let named = exact.into_iter().chain(wildcard).flatten().filter_map(|at| self.all.get(*at));
        named.chain(&self.all).find(|certificate| is_usable(certificate))
    }

    pub fn all(&self) -> &[Certificate] {
        &self.all
    }

    /// Nothing has changed from `others`.
    pub fn are_those_of(&self, others: &Self) -> bool {
        let same = |(one, other): (&Certificate, &Certificate)| {
            one.file == other.file && one.key.cert == other.key.cert
        };
        self.all.len() == others.all.len() && self.all.iter().zip(&others.all).all(same)
    }

    /// Says what an operator may want to do something about.
    pub fn warn(&self, now: SystemTime) {
        if self.all.is_empty() {
            tracing::warn!("there is no certificate yet: every TLS handshake fails until there is one");
        }
        for Certificate { file, names, not_after, .. } in &self.all {
            let file = file.display();
            match validity(*not_after, now) {
                Validity::Expired => {
                    tracing::warn!(%file, names = names.join(" "), "the certificate has expired");
                }
                Validity::Soon(left) => {
                    tracing::warn!(%file, names = names.join(" "), days = left.as_secs() / 86_400, "the certificate expires soon");
                }
                Validity::Valid => {}
            }
            if names.is_empty() {
                tracing::warn!(%file, "the certificate has no DNS name (subjectAltName): browsers refuse it");
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Validity {
    Valid,
    /// So much is left.
    Soon(Duration),
    Expired,
}

pub(super) fn validity(not_after: i64, now: SystemTime) -> Validity {
    let until = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(not_after).unwrap_or(0));
    match until.duration_since(now) {
        Err(_) => Validity::Expired,
        Ok(left) if left < SOON => Validity::Soon(left),
        Ok(_) => Validity::Valid,
    }
}
