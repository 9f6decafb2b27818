//! Meaning: the contents of fixed size (section 8), and the names that GET_VALUES asks for (section 4.1).

use super::{ProtocolError, RecordType};

/// What the application is asked to be (section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    Responder,
    Authorizer,
    Filter,
    Unknown(u16),
}

/// How a request ended, as the protocol sees it (section 5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProtocolStatus {
    RequestComplete,
    /// The application takes one request at a time on a connection.
    CantMultiplex,
    /// The application has run out of some resource.
    Overloaded,
    UnknownRole,
    Unknown(u8),
}

/// The content of BEGIN_REQUEST (section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BeginRequest {
    pub role: Role,
    /// The application leaves the connection open after END_REQUEST.
    pub keep_conn: bool,
}

/// The content of END_REQUEST (section 5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndRequest {
    /// The exit status of the program; always 0 from PHP.
    pub app_status: u32,
    pub protocol_status: ProtocolStatus,
}

/// The most connections that the application accepts.
pub const MAX_CONNS: &str = "FCGI_MAX_CONNS";
/// The most requests that the application works on at a time.
pub const MAX_REQS: &str = "FCGI_MAX_REQS";
/// `1` if one connection carries several requests at a time, else `0`.
pub const MPXS_CONNS: &str = "FCGI_MPXS_CONNS";

const KEEP_CONN: u8 = 1;

impl Role {
    const fn from_u16(code: u16) -> Self {
        match code {
            1 => Self::Responder,
            2 => Self::Authorizer,
            3 => Self::Filter,
            other => Self::Unknown(other),
        }
    }

    const fn to_u16(self) -> u16 {
        match self {
            Self::Responder => 1,
            Self::Authorizer => 2,
            Self::Filter => 3,
            Self::Unknown(other) => other,
        }
    }
}

impl ProtocolStatus {
    const fn from_u8(code: u8) -> Self {
        match code {
            0 => Self::RequestComplete,
            1 => Self::CantMultiplex,
            2 => Self::Overloaded,
            3 => Self::UnknownRole,
            other => Self::Unknown(other),
        }
    }

    const fn to_u8(self) -> u8 {
        match self {
            Self::RequestComplete => 0,
            Self::CantMultiplex => 1,
            Self::Overloaded => 2,
            Self::UnknownRole => 3,
            Self::Unknown(other) => other,
        }
    }
}

impl BeginRequest {
    pub const fn encode(self) -> [u8; 8] {
        let [role_high, role_low] = self.role.to_u16().to_be_bytes();
        let flags = if self.keep_conn { KEEP_CONN } else { 0 };
        [role_high, role_low, flags, 0, 0, 0, 0, 0]
    }

    pub fn decode(content: &[u8]) -> Result<Self, ProtocolError> {
        let &[role_high, role_low, flags, ..] = fixed(RecordType::BeginRequest, content)?;
        let role = Role::from_u16(u16::from_be_bytes([role_high, role_low]));
        Ok(Self { role, keep_conn: flags & KEEP_CONN != 0 })
    }
}

impl EndRequest {
    /// A request that ran to its end.
    pub const COMPLETE: Self = Self { app_status: 0, protocol_status: ProtocolStatus::RequestComplete };

    pub const fn encode(self) -> [u8; 8] {
        let [a, b, c, d] = self.app_status.to_be_bytes();
        [a, b, c, d, self.protocol_status.to_u8(), 0, 0, 0]
    }

    pub fn decode(content: &[u8]) -> Result<Self, ProtocolError> {
        let &[a, b, c, d, status, ..] = fixed(RecordType::EndRequest, content)?;
        let protocol_status = ProtocolStatus::from_u8(status);
        Ok(Self { app_status: u32::from_be_bytes([a, b, c, d]), protocol_status })
    }
}

/// The content of UNKNOWN_TYPE: the type that was not understood (section 4.2).
pub(super) const fn encode_unknown_type(kind: u8) -> [u8; 8] {
    [kind, 0, 0, 0, 0, 0, 0, 0]
}

pub(super) fn decode_unknown_type(content: &[u8]) -> Result<u8, ProtocolError> {
    fixed(RecordType::UnknownType, content).map(|bytes| bytes[0])
}

fn fixed(kind: RecordType, content: &[u8]) -> Result<&[u8; 8], ProtocolError> {
    content.try_into().map_err(|_| ProtocolError::Length { kind, length: content.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_survive() {
        for role in [Role::Responder, Role::Authorizer, Role::Filter, Role::Unknown(700)] {
            for keep_conn in [false, true] {
                let begin = BeginRequest { role, keep_conn };
                assert_eq!(BeginRequest::decode(&begin.encode()), Ok(begin));
            }
        }
        for code in 0..=255 {
            let end = EndRequest { app_status: 0x0102_0304, protocol_status: ProtocolStatus::from_u8(code) };
            assert_eq!(end.encode()[4], code);
            assert_eq!(EndRequest::decode(&end.encode()), Ok(end));
        }
        let wrong = ProtocolError::Length { kind: RecordType::EndRequest, length: 7 };
        assert_eq!(EndRequest::decode(&[0; 7]), Err(wrong));
    }
}
