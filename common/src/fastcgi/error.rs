use super::RecordType;

/// What a peer did against FastCGI; the connection cannot be used further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Only version 1 exists.
    #[error("FastCGI version {0}")]
    Version(u8),
    #[error("{kind:?} record of {length} bytes")]
    Length { kind: RecordType, length: usize },
    #[error("{kind:?} record for request {request_id} {why}")]
    Unexpected { kind: RecordType, request_id: u16, why: &'static str },
    /// PARAMS (or GET_VALUES) ended inside a name–value pair.
    #[error("parameters end inside a pair")]
    TruncatedPair,
    #[error("parameters of more than {limit} bytes")]
    ParamsTooLarge { limit: usize },
    /// The stream ended before END_REQUEST: the response is not complete, however it looks.
    #[error("end of file after {stdout} bytes of output and before the end of the request")]
    PrematureEof {
        /// Bytes of STDOUT that had come by then.
        stdout: u64,
        /// Not a single byte of an answer had come: nothing may have run.
        silent: bool,
    },
    /// The peer closed in the middle of a record.
    #[error("end of file inside a record")]
    TruncatedRecord,
}
