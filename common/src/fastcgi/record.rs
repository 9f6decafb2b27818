//! Bytes: the record, FastCGI's only frame (section 3.3).

use bytes::{Buf as _, Bytes, BytesMut};

use super::ProtocolError;

/// What a record carries (section 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordType {
    BeginRequest,
    AbortRequest,
    EndRequest,
    Params,
    Stdin,
    Stdout,
    Stderr,
    Data,
    GetValues,
    GetValuesResult,
    UnknownType,
    /// A type that the specification does not know.
    Unknown(u8),
}

/// The eight bytes before the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub kind: RecordType,
    /// 0 for management records.
    pub request_id: u16,
    pub content_length: u16,
    pub padding_length: u8,
}

/// A record without its padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub kind: RecordType,
    /// 0 for management records.
    pub request_id: u16,
    pub content: Bytes,
}

/// The most content that a record can announce.
pub const MAX_CONTENT: usize = 65_535;

/// The most content that we put into a record: a multiple of 8 that needs no padding. PHP-FPM refuses
/// PARAMS records whose content and padding together exceed 65535 bytes.
pub const MAX_SENT: usize = 65_528;

const VERSION: u8 = 1;

impl RecordType {
    pub const fn from_u8(byte: u8) -> Self {
        match byte {
            1 => Self::BeginRequest,
            2 => Self::AbortRequest,
            3 => Self::EndRequest,
            4 => Self::Params,
            5 => Self::Stdin,
            6 => Self::Stdout,
            7 => Self::Stderr,
            8 => Self::Data,
            9 => Self::GetValues,
            10 => Self::GetValuesResult,
            11 => Self::UnknownType,
            other => Self::Unknown(other),
        }
    }

    pub const fn to_u8(self) -> u8 {
        match self {
            Self::BeginRequest => 1,
            Self::AbortRequest => 2,
            Self::EndRequest => 3,
            Self::Params => 4,
            Self::Stdin => 5,
            Self::Stdout => 6,
            Self::Stderr => 7,
            Self::Data => 8,
            Self::GetValues => 9,
            Self::GetValuesResult => 10,
            Self::UnknownType => 11,
            Self::Unknown(other) => other,
        }
    }
}

impl Header {
    pub const LEN: usize = 8;

    /// For a record that we send: padded to a multiple of 8 (section 3.3). `length` is at most [`MAX_SENT`].
    pub(super) const fn padded(kind: RecordType, request_id: u16, length: usize) -> Self {
        debug_assert!(length <= MAX_SENT, "the caller cuts content into records");
        Self {
            kind,
            request_id,
            content_length: length as u16,
            padding_length: (length.wrapping_neg() & 7) as u8,
        }
    }

    pub const fn encode(self) -> [u8; Self::LEN] {
        let [id_high, id_low] = self.request_id.to_be_bytes();
        let [length_high, length_low] = self.content_length.to_be_bytes();
        [VERSION, self.kind.to_u8(), id_high, id_low, length_high, length_low, self.padding_length, 0]
    }

    pub const fn decode(bytes: [u8; Self::LEN]) -> Result<Self, ProtocolError> {
        let [version, kind, id_high, id_low, length_high, length_low, padding_length, _reserved] = bytes;
        if version != VERSION {
            return Err(ProtocolError::Version(version));
        }
        Ok(Self {
            kind: RecordType::from_u8(kind),
            request_id: u16::from_be_bytes([id_high, id_low]),
            content_length: u16::from_be_bytes([length_high, length_low]),
            padding_length,
        })
    }

    /// Header, content and padding.
    pub(super) const fn record_len(self) -> usize {
        Self::LEN + self.content_length as usize + self.padding_length as usize
    }
}

impl Record {
    /// Takes the next record from the front of `buffer`; `None` until it is there as a whole.
    /// The content shares the buffer's memory.
    pub fn decode(buffer: &mut BytesMut) -> Result<Option<Self>, ProtocolError> {
        let Some(header) = buffer.first_chunk() else { return Ok(None) };
        let header = Header::decode(*header)?;
        if buffer.len() < header.record_len() {
            return Ok(None);
        }
        buffer.advance(Header::LEN);
        let content = buffer.split_to(header.content_length.into()).freeze();
        buffer.advance(header.padding_length.into());
        Ok(Some(Self { kind: header.kind, request_id: header.request_id, content }))
    }

    /// How many more bytes the record at the front of `buffer` needs, at least 1.
    pub(super) fn missing(buffer: &BytesMut) -> usize {
        let needed = match buffer.first_chunk().map(|bytes| Header::decode(*bytes)) {
            Some(Ok(header)) => header.record_len(),
            _ => Header::LEN,
        };
        needed.saturating_sub(buffer.len()).max(1)
    }
}
