use std::error::Error;
use std::io;

use http::StatusCode;

/// What is wrong with the bytes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Violation {
    #[error("the first line is not METHOD TARGET HTTP/1.1, with one space between each")]
    RequestLine,
    #[error("the first line is not HTTP/1.1 STATUS REASON")]
    StatusLine,
    #[error("the version of HTTP is neither 1.1 nor 1.0")]
    Version,
    #[error("the target holds a character that must be percent-encoded")]
    Target,
    #[error("the target is too long")]
    TargetTooLong,
    #[error("a line does not end with CR and LF")]
    LineEnd,
    #[error("a header field is folded over two lines")]
    Folding,
    #[error("a header field's name is empty, no token, or not followed by a colon at once")]
    FieldName,
    #[error("a header field's value holds a control character")]
    FieldValue,
    /// RFC 9113, section 8.2.1: over HTTP/1.1 it is no part of the value.
    #[error("a header field's value begins or ends with white space")]
    Padding,
    #[error("the header fields are too long")]
    HeadTooLong,
    #[error("there are too many header fields")]
    TooManyFields,
    #[error("Content-Length is not one decimal number")]
    ContentLength,
    #[error("the only Transfer-Encoding that is understood is one chunked")]
    TransferEncoding,
    #[error("Content-Length and Transfer-Encoding exclude each other")]
    LengthAndCoding,
    #[error("a chunk's size is not a hexadecimal number, or is too large")]
    ChunkSize,
    #[error("a chunk's extensions are too long or hold a control character")]
    ChunkExtension,
    #[error("a chunk is longer than its size says")]
    ChunkEnd,
    #[error("the trailer section is not well formed or too long")]
    Trailer,
    #[error("something came that was not asked for")]
    Unasked,
    #[error("the head did not arrive in time")]
    Slow,
}

impl Violation {
    /// A label for metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RequestLine => "request-line",
            Self::StatusLine => "status-line",
            Self::Version => "version",
            Self::Target => "target",
            Self::TargetTooLong => "target-too-long",
            Self::LineEnd => "line-end",
            Self::Folding => "folding",
            Self::FieldName => "field-name",
            Self::FieldValue => "field-value",
            Self::Padding => "padding",
            Self::HeadTooLong => "head-too-long",
            Self::TooManyFields => "too-many-fields",
            Self::ContentLength => "content-length",
            Self::TransferEncoding => "transfer-encoding",
            Self::LengthAndCoding => "length-and-coding",
            Self::ChunkSize => "chunk-size",
            Self::ChunkExtension => "chunk-extension",
            Self::ChunkEnd => "chunk-end",
            Self::Trailer => "trailer",
            Self::Unasked => "unasked",
            Self::Slow => "slow-head",
        }
    }

    /// What a client is answered that has sent it.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLong | Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// The violation that an error has come of.
pub fn violation_in(error: &(dyn Error + 'static)) -> Option<Violation> {
    let mut next = Some(error);
    while let Some(error) = next {
        // An io::Error does not name what it wraps as its source, but that one's source.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let wrapped = wrapped.and_then(|wrapped| wrapped.downcast_ref::<Violation>());
        if let Some(violation) = error.downcast_ref::<Violation>().or(wrapped) {
            return Some(*violation);
        }
        next = error.source();
    }
    None
}

impl From<Violation> for io::Error {
    fn from(violation: Violation) -> Self {
        Self::new(io::ErrorKind::InvalidData, violation)
    }
}
