use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error as RustlsError, InconsistentKeys};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::{Certificate, Certificates, Sources};

/// Why a certificate cannot be used, with the file that it is about.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("cannot read {}: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    #[error("{} is not PEM: {cause}", path.display())]
    NotPem { path: PathBuf, cause: pem::Error },
    #[error("{} holds no certificate: expected -----BEGIN CERTIFICATE-----", path.display())]
    NoCertificate { path: PathBuf },
    #[error("{}: the certificate cannot be understood: {message}", path.display())]
    BadCertificate { path: PathBuf, message: String },
    #[error(
        "{} holds no private key: expected it in this file, in {}, or in the one that tls-key names",
        path.display(), beside.display()
    )]
    NoKey { path: PathBuf, beside: PathBuf },
    #[error("{} holds no private key: expected -----BEGIN PRIVATE KEY-----", path.display())]
    EmptyKey { path: PathBuf },
    #[error(
        "the private key in {} is encrypted, and nobody is there to give its passphrase: `openssl pkey` writes it \
         without one", path.display()
    )]
    EncryptedKey { path: PathBuf },
    #[error("the private key in {} cannot be used: {cause}", path.display())]
    BadKey { path: PathBuf, cause: RustlsError },
    #[error(
        "the private key in {} is not that of the first certificate in {}, which has to be the server's own",
        key.display(), certificate.display()
    )]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error("{} is a folder: tls-key names a file, and keys of a folder's certificates are in it", path.display())]
    KeyForFolder { path: PathBuf },
}

/// What tells one state of the files from another without reading them.
pub type Fingerprint = Vec<(PathBuf, SystemTime, u64, u64)>;

impl CertificateError {
    /// It is about a file that `tls-key` names.
    pub fn is_of_key(&self, sources: &Sources) -> bool {
        let path = match self {
            Self::Unreadable { path, .. }
            | Self::NotPem { path, .. }
            | Self::EmptyKey { path }
            | Self::EncryptedKey { path }
            | Self::BadKey { path, .. }
            | Self::KeyForFolder { path } => path,
            Self::Mismatch { key, .. } => key,
            Self::NoCertificate { .. } | Self::BadCertificate { .. } | Self::NoKey { .. } => return false,
        };
        sources.keys.contains(path) || matches!(self, Self::KeyForFolder { .. })
    }
}

/// Reads all of them. Blocks, as files do.
pub fn load(sources: &Sources) -> Result<Certificates, CertificateError> {
    let mut all: Vec<Certificate> = Vec::new();
    for (number, path) in sources.certificates.iter().enumerate() {
        let key = sources.keys.get(number);
        if !metadata(path)?.is_dir() {
            all.push(certificate(path, key)?);
        } else if key.is_some() {
            return Err(CertificateError::KeyForFolder { path: path.clone() });
        } else {
            for file in folder(path)? {
                // One that stands first, as the default, may be in the folder too.
                if !all.iter().any(|known| known.file == file) {
                    all.push(certificate(&file, None)?);
                }
            }
        }
    }
    Ok(Certificates::new(all))
}

/// Of all files that [`load`] may look at. Blocks.
pub fn fingerprint(sources: &Sources) -> Fingerprint {
    let mut files = Vec::new();
    for path in &sources.certificates {
        match folder(path) {
            Ok(found) => files.extend(found),
            Err(_) => files.push(path.clone()),
        }
    }
    let beside: Vec<PathBuf> = files.iter().map(|file| file.with_extension("key")).collect();
    let all = files.into_iter().chain(beside).chain(sources.keys.iter().cloned());
    all.filter_map(|path| {
        use std::os::unix::fs::MetadataExt as _;
        let found = std::fs::metadata(&path).ok()?;
        Some((path, found.modified().ok()?, found.len(), found.ino()))
    })
    .collect()
}

/// A folder's certificates by name: `*.pem` and `*.crt`, without what is hidden.
fn folder(path: &Path) -> Result<Vec<PathBuf>, CertificateError> {
    let unreadable = |cause| CertificateError::Unreadable { path: path.to_owned(), cause };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let file = entry.path();
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let is_named_so = file.extension().is_some_and(|ending| ending == "pem" || ending == "crt");
        // Followed: a mounted secret is often a link. What cannot be followed is an error where it is read.
        if is_named_so && !is_hidden && !file.is_dir() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// A chain with its key: in the file that was named for it, in the same file, or beside it as NAME.key.
fn certificate(path: &Path, key: Option<&PathBuf>) -> Result<Certificate, CertificateError> {
    let text = read(path)?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|cause| CertificateError::NotPem { path: path.to_owned(), cause })?;
    let Some(first) = chain.first() else {
        return Err(CertificateError::NoCertificate { path: path.to_owned() });
    };
    let (names, not_after) = understand(first)
        .map_err(|message| CertificateError::BadCertificate { path: path.to_owned(), message })?;
    let (key_path, key) = match key {
        Some(file) => match private_key(&read(file)?, file)? {
            Some(key) => (file.clone(), key),
            None => return Err(CertificateError::EmptyKey { path: file.clone() }),
        },
        None => match private_key(&text, path)? {
            Some(key) => (path.to_owned(), key),
            None => key_beside(path)?,
        },
    };
    let key = CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| match error {
        RustlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            CertificateError::Mismatch { certificate: path.to_owned(), key: key_path }
        }
        cause => CertificateError::BadKey { path: key_path, cause },
    })?;
    Ok(Certificate { file: path.to_owned(), names, not_after, key: Arc::new(key) })
}

fn key_beside(path: &Path) -> Result<(PathBuf, PrivateKeyDer<'static>), CertificateError> {
    let beside = path.with_extension("key");
    if !beside.exists() {
        return Err(CertificateError::NoKey { path: path.to_owned(), beside });
    }
    match private_key(&read(&beside)?, &beside)? {
        Some(key) => Ok((beside, key)),
        None => Err(CertificateError::EmptyKey { path: beside }),
    }
}

fn private_key(text: &[u8], path: &Path) -> Result<Option<PrivateKeyDer<'static>>, CertificateError> {
    match PrivateKeyDer::from_pem_slice(text) {
        // As PKCS#8 and as OpenSSL once wrote it.
        Ok(_) | Err(pem::Error::NoItemsFound)
            if has(text, b"BEGIN ENCRYPTED PRIVATE KEY") || has(text, b"Proc-Type: 4,ENCRYPTED") =>
        {
            Err(CertificateError::EncryptedKey { path: path.to_owned() })
        }
        Ok(key) => Ok(Some(key)),
        Err(pem::Error::NoItemsFound) => Ok(None),
        Err(_) if has(text, b"Proc-Type: 4,ENCRYPTED") => {
            Err(CertificateError::EncryptedKey { path: path.to_owned() })
        }
        Err(cause) => Err(CertificateError::NotPem { path: path.to_owned(), cause }),
    }
}

fn has(text: &[u8], what: &[u8]) -> bool {
    memchr::memmem::find(text, what).is_some()
}

/// The names that a certificate is for, in lower case, and the second in which it expires. A common name counts for
/// nothing any more (RFC 9110, section 4.3.4).
fn understand(certificate: &CertificateDer<'_>) -> Result<(Vec<String>, i64), String> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    let alternatives = certificate.subject_alternative_name().map_err(|error| error.to_string())?;
    let names = alternatives.map(|names| {
        let dns = names.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        dns.collect()
    });
    Ok((names.unwrap_or_default(), certificate.validity().not_after.timestamp()))
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    std::fs::read(path).map_err(|cause| CertificateError::Unreadable { path: path.to_owned(), cause })
}

fn metadata(path: &Path) -> Result<std::fs::Metadata, CertificateError> {
    std::fs::metadata(path).map_err(|cause| CertificateError::Unreadable { path: path.to_owned(), cause })
}
