use std::io;
use std::time::Duration;

use common::fastcgi::{ProtocolStatus, ReadError};
use common::net::Endpoint;

use super::{HeadError, RequestBodyError};

/// Why there is no response from the application, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum FastCgiError {
    #[error("the application's name has no address yet")]
    NoEndpoint,
    #[error("cannot connect to {endpoint}: {cause}")]
    Unreachable { endpoint: Endpoint, cause: io::Error },
    /// END_REQUEST with FCGI_OVERLOADED.
    #[error("the application is overloaded")]
    Overloaded,
    #[error("nothing from the application for {0:?}")]
    TimedOut(Duration),
    #[error("the connection to the application broke off: {cause}")]
    Broken {
        /// Before the application had sent a byte.
        silent: bool,
        cause: ReadError,
    },
    #[error("the application does not serve this: {0:?}")]
    Refused(ProtocolStatus),
    #[error("the application's response has {0}")]
    Head(#[from] HeadError),
    #[error("a body of another length than its Content-Length, {0}")]
    Length(u64),
    #[error(transparent)]
    RequestBody(#[from] RequestBodyError),
    /// The client has gone: there is nobody to tell.
    #[error("the client went away")]
    Abandoned,
    #[error("the service is ending")]
    Ending,
}

impl FastCgiError {
    /// A label for metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NoEndpoint => "no-endpoint",
            Self::Unreachable { .. } => "unreachable",
            Self::Overloaded => "overloaded",
            Self::TimedOut(_) => "timeout",
            Self::Broken { .. } => "broken",
            Self::Refused(_) => "refused",
            Self::Head(_) => "bad-head",
            Self::Length(_) => "length",
            Self::RequestBody(_) => "request-body",
            Self::Abandoned => "abandoned",
            Self::Ending => "ending",
        }
    }

    pub const fn is_silent(&self) -> bool {
        matches!(self, Self::Broken { silent: true, .. })
    }
}
