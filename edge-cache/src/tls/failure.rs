use std::io;

use tokio_rustls::rustls::{AlertDescription, Error as RustlsError, PeerIncompatible};

use super::opening::NotTls;

/// Why a handshake came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It took too long.
    Timeout,
    /// The client went away.
    Gone,
    /// HTTP without TLS.
    Http,
    /// Something else that is not TLS, or is not well formed.
    NotTls,
    /// The client offers neither TLS 1.2 nor 1.3.
    Version,
    /// Nothing in common: cipher suites, groups, signature schemes, or ALPN.
    NothingInCommon,
    /// There is no certificate, or none that the client can use.
    NoCertificate,
    /// The client does not believe our certificate.
    CertificateRefused,
    /// The client has sent another alert.
    Alert,
    /// The client does not keep to the protocol.
    Misbehaved,
}

impl Failure {
    pub const ALL: [Self; 10] = [
        Self::Timeout,
        Self::Gone,
        Self::Http,
        Self::NotTls,
        Self::Version,
        Self::NothingInCommon,
        Self::NoCertificate,
        Self::CertificateRefused,
        Self::Alert,
        Self::Misbehaved,
    ];

    /// A label for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Gone => "gone",
            Self::Http => "http",
            Self::NotTls => "not-tls",
            Self::Version => "version",
            Self::NothingInCommon => "nothing-in-common",
            Self::NoCertificate => "no-certificate",
            Self::CertificateRefused => "certificate-refused",
            Self::Alert => "alert",
            Self::Misbehaved => "misbehaved",
        }
    }

    pub fn of(error: &io::Error) -> Self {
        let Some(cause) = error.get_ref() else { return Self::Gone };
        if let Some(not_tls) = cause.downcast_ref::<NotTls>() {
            return match not_tls {
                NotTls::Http => Self::Http,
                NotTls::Other => Self::NotTls,
            };
        }
        cause.downcast_ref::<RustlsError>().map_or(Self::Gone, of_rustls)
    }
}

fn of_rustls(error: &RustlsError) -> Failure {
    match error {
        RustlsError::AlertReceived(alert) => of_alert(*alert),
        RustlsError::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired
            // Clients before TLS 1.2 have no such extension, and are asked for it first.
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
        ) => Failure::Version,
        RustlsError::PeerIncompatible(_) | RustlsError::NoApplicationProtocol => Failure::NothingInCommon,
        // What rustls says when nobody has a certificate for the client.
        RustlsError::General(_) => Failure::NoCertificate,
        RustlsError::InvalidMessage(_) | RustlsError::InappropriateMessage { .. } => Failure::NotTls,
        _ => Failure::Misbehaved,
    }
}

const fn of_alert(alert: AlertDescription) -> Failure {
    match alert {
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA => Failure::CertificateRefused,
        AlertDescription::ProtocolVersion => Failure::Version,
        AlertDescription::CloseNotify | AlertDescription::UserCanceled => Failure::Gone,
        _ => Failure::Alert,
    }
}
