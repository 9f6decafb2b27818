//! The side that answers requests: an application, or a balancer towards the web server.

use bytes::{Bytes, BytesMut};

use super::io::ReadSize;
use super::message::{BeginRequest, EndRequest, encode_unknown_type};
use super::{Outbound, Params, ParamsDecoder, ProtocolError, Record, RecordType};

/// Reads the requests of one connection, several at a time where the peer multiplexes them.
///
/// Read into [`buffer`](Self::buffer), then take events with [`next_event`](Self::next_event) until there
/// is none; at the end of file call [`eof`](Self::eof). [`io::request`](super::io::request) does this.
/// When END_REQUEST has been written for a request, call [`ended`](Self::ended).
#[derive(Debug)]
pub struct RequestDecoder {
    inbound: BytesMut,
    read_size: ReadSize,
    /// Few at a time: mostly one.
    requests: Vec<(u16, Reading)>,
    limits: Limits,
}

/// What one connection may ask of us.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests at the same time; further ones give [`RequestEvent::Overloaded`].
    pub requests: usize,
    /// Bytes of one request's parameters, each pair counted with 64 bytes of overhead.
    pub params: usize,
}

impl Default for Limits {
    /// 128 requests, and 1 MiB of parameters each.
    fn default() -> Self {
        Self { requests: 128, params: 1 << 20 }
    }
}

/// What a web server says. `id` names the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestEvent {
    /// A request has begun; its parameters follow. One with a role that is not served is answered with
    /// [`ResponseEncoder::end`] and `UnknownRole`.
    Begin { id: u16, begin: BeginRequest },
    /// All parameters.
    Params { id: u16, params: Params },
    /// A piece of the body, never empty.
    Stdin { id: u16, chunk: Bytes },
    /// The body is complete.
    StdinEnd { id: u16 },
    /// The web server has lost interest; END_REQUEST is still due.
    Abort { id: u16 },
    /// One request too many: answer END_REQUEST with `Overloaded`. Its other records are ignored.
    Overloaded { id: u16 },
    /// The values of these names are asked for: answer with [`values`].
    GetValues(Params),
    /// A management record that nobody knows: answer with [`ResponseEncoder::unknown_type`].
    UnknownType(u8),
}

/// How far a request has been read.
#[derive(Debug)]
enum Reading {
    Params(ParamsDecoder),
    Stdin,
    /// All of it.
    Whole,
}

/// Names in GET_VALUES are three; this leaves room for names that we do not know.
const MAX_VALUES: usize = 4096;

impl RequestDecoder {
    pub fn new(limits: Limits) -> Self {
        Self { inbound: BytesMut::new(), read_size: ReadSize::new(), requests: Vec::new(), limits }
    }

    /// Where bytes from the connection go.
    pub const fn buffer(&mut self) -> &mut BytesMut {
        &mut self.inbound
    }

    pub(super) const fn inbound(&mut self) -> (&mut BytesMut, &mut ReadSize) {
        (&mut self.inbound, &mut self.read_size)
    }

    /// The requests that have begun and not ended.
    pub fn open(&self) -> usize {
        self.requests.len()
    }

    /// END_REQUEST was written for this request: what still comes for it is ignored, and its id may be
    /// used again (section 3.3, "request id management").
    pub fn ended(&mut self, id: u16) {
        self.requests.retain(|(other, _)| *other != id);
    }

    /// The next event; `None` until more bytes are in the buffer.
    pub fn next_event(&mut self) -> Result<Option<RequestEvent>, ProtocolError> {
        while let Some(record) = Record::decode(&mut self.inbound)? {
            if let Some(event) = self.interpret(record)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// The connection has come to its end: right between requests, premature inside one.
    pub fn eof(&self) -> Result<(), ProtocolError> {
        if !self.inbound.is_empty() {
            return Err(ProtocolError::TruncatedRecord);
        }
        if self.requests.is_empty() {
            return Ok(());
        }
        Err(ProtocolError::PrematureEof { stdout: 0, silent: false })
    }

    fn reading(&mut self, id: u16) -> Option<&mut Reading> {
        self.requests.iter_mut().find(|(other, _)| *other == id).map(|(_, reading)| reading)
    }

    fn interpret(&mut self, record: Record) -> Result<Option<RequestEvent>, ProtocolError> {
        let Record { kind, request_id: id, content } = record;
        if id == 0 {
            return manage(kind, content).map(Some);
        }
        let unexpected = |why| ProtocolError::Unexpected { kind, request_id: id, why };
        if kind == RecordType::BeginRequest {
            let begin = BeginRequest::decode(&content)?;
            if self.reading(id).is_some() {
                return Err(unexpected("which has begun already"));
            }
            if self.requests.len() >= self.limits.requests {
                return Ok(Some(RequestEvent::Overloaded { id }));
            }
            self.requests.push((id, Reading::Params(ParamsDecoder::new(self.limits.params))));
            return Ok(Some(RequestEvent::Begin { id, begin }));
        }
        // "The application ignores records for inactive request ids" (section 3.3).
        let Some(reading) = self.reading(id) else { return Ok(None) };
        match (kind, reading) {
            (RecordType::Params, Reading::Params(decoder)) if !content.is_empty() => {
                decoder.push(content)?;
                Ok(None)
            }
            (RecordType::Params, reading @ Reading::Params(_)) => {
                let Reading::Params(decoder) = std::mem::replace(reading, Reading::Stdin) else {
                    return Ok(None);
                };
                Ok(Some(RequestEvent::Params { id, params: decoder.finish()? }))
            }
            (RecordType::Stdin, Reading::Stdin) if !content.is_empty() => {
                Ok(Some(RequestEvent::Stdin { id, chunk: content }))
            }
            (RecordType::Stdin, reading @ Reading::Stdin) => {
                *reading = Reading::Whole;
                Ok(Some(RequestEvent::StdinEnd { id }))
            }
            (RecordType::AbortRequest, _) => Ok(Some(RequestEvent::Abort { id })),
            // The second stream of a Filter, a role that nobody here serves.
            (RecordType::Data, _) => Ok(None),
            // A second end of a stream says nothing new; the `fastcgi-client` crate sends two for no body.
            (RecordType::Params, _) | (RecordType::Stdin, Reading::Whole) if content.is_empty() => Ok(None),
            (RecordType::Params, _) => Err(unexpected("came after the end of its parameters")),
            (RecordType::Stdin, Reading::Params(_)) => Err(unexpected("came before its parameters")),
            (RecordType::Stdin, Reading::Whole) => Err(unexpected("came after the end of its body")),
            _ => Err(unexpected("is not a web server's to send")),
        }
    }
}

fn manage(kind: RecordType, content: Bytes) -> Result<RequestEvent, ProtocolError> {
    if kind != RecordType::GetValues {
        return Ok(RequestEvent::UnknownType(kind.to_u8()));
    }
    let mut names = ParamsDecoder::new(MAX_VALUES);
    names.push(content)?;
    Ok(RequestEvent::GetValues(names.finish()?))
}

/// Writes one response. Holds no state but the request's id.
#[derive(Debug, Clone, Copy)]
pub struct ResponseEncoder {
    id: u16,
}

impl ResponseEncoder {
    pub const fn new(id: u16) -> Self {
        Self { id }
    }

    /// A piece of the CGI response, in as many records as it takes. An empty piece is nothing.
    pub fn stdout(self, out: &mut Outbound, chunk: Bytes) {
        if !chunk.is_empty() {
            out.record(RecordType::Stdout, self.id, chunk);
        }
    }

    /// The end of STDOUT.
    pub fn stdout_end(self, out: &mut Outbound) {
        out.record(RecordType::Stdout, self.id, Bytes::new());
    }

    /// A piece of the log. An empty piece is nothing.
    pub fn stderr(self, out: &mut Outbound, chunk: Bytes) {
        if !chunk.is_empty() {
            out.record(RecordType::Stderr, self.id, chunk);
        }
    }

    /// END_REQUEST; the decoder is to be told with [`RequestDecoder::ended`].
    pub fn end(self, out: &mut Outbound, end: EndRequest) {
        out.record(RecordType::EndRequest, self.id, Bytes::copy_from_slice(&end.encode()));
    }

    /// The answer to a management record of a type that we do not know (section 4.2).
    pub fn unknown_type(out: &mut Outbound, kind: u8) {
        out.record(RecordType::UnknownType, 0, Bytes::copy_from_slice(&encode_unknown_type(kind)));
    }
}

/// Answers GET_VALUES: of the names that were asked for, those that `known` has. Others are left out
/// (section 4.1).
pub fn values(out: &mut Outbound, asked: &Params, known: &[(&'static str, String)]) {
    let answer: Params = known
        .iter()
        .filter(|(name, _)| asked.get(name).is_some())
        .map(|(name, value)| (*name, value.clone()))
        .collect();
    if answer.is_empty() {
        out.record(RecordType::GetValuesResult, 0, Bytes::new());
    } else {
        answer.encode(RecordType::GetValuesResult, 0, out);
    }
}
