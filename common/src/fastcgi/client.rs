//! The side that sends requests: a web server, a balancer, a probe.

use bytes::{Bytes, BytesMut};

use super::io::ReadSize;
use super::message::{BeginRequest, EndRequest, Role, decode_unknown_type};
use super::{Outbound, Params, ParamsDecoder, ProtocolError, Record, RecordType};

/// Writes one request. Holds no state but the request's id: it may be copied into a task that writes
/// while another reads with a [`ResponseDecoder`].
#[derive(Debug, Clone, Copy)]
pub struct RequestEncoder {
    id: u16,
}

/// Reads the answers on one connection that carries one request at a time.
///
/// Read into [`buffer`](Self::buffer), then take events with [`next_event`](Self::next_event) until there
/// is none; at the end of file call [`eof`](Self::eof). [`io::response`](super::io::response) does this.
#[derive(Debug)]
pub struct ResponseDecoder {
    id: u16,
    inbound: BytesMut,
    read_size: ReadSize,
    /// END_REQUEST has come, or no request was begun.
    ended: bool,
    stdout: u64,
    /// Something has come since the request began.
    heard: bool,
}

/// What an application says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseEvent {
    /// A piece of the CGI response: headers, an empty line, body. Never empty.
    Stdout(Bytes),
    /// The end of STDOUT; PHP-FPM leaves it out and goes straight to the end of the request.
    StdoutEnd,
    /// A piece of the log; not an error by itself. Never empty.
    Stderr(Bytes),
    /// The request is over and the response complete.
    End(EndRequest),
    /// The answer to [`RequestEncoder::get_values`].
    Values(Params),
    /// The application does not know this type of management record.
    UnknownType(u8),
}

/// The most bytes in the answer to GET_VALUES, which has three names.
const MAX_VALUES: usize = 4096;

impl RequestEncoder {
    /// For a request with this id, from 1 on. 1 is the customary id where a connection carries one
    /// request at a time.
    pub const fn new(id: u16) -> Self {
        Self { id }
    }

    /// BEGIN_REQUEST and all of PARAMS.
    pub fn begin(self, out: &mut Outbound, role: Role, keep_conn: bool, params: &Params) {
        let begin = BeginRequest { role, keep_conn }.encode();
        out.record(RecordType::BeginRequest, self.id, Bytes::copy_from_slice(&begin));
        params.encode(RecordType::Params, self.id, out);
        out.record(RecordType::Params, self.id, Bytes::new());
    }

    /// A piece of the request body, in as many records as it takes. An empty piece is nothing.
    pub fn stdin(self, out: &mut Outbound, chunk: Bytes) {
        if !chunk.is_empty() {
            out.record(RecordType::Stdin, self.id, chunk);
        }
    }

    /// The end of the request body, also where there is none.
    pub fn stdin_end(self, out: &mut Outbound) {
        out.record(RecordType::Stdin, self.id, Bytes::new());
    }

    /// Asks the application to give the request up; it still answers with END_REQUEST (section 5.4).
    /// PHP-FPM reads it only while it waits for a body: closing the connection says more.
    pub fn abort(self, out: &mut Outbound) {
        out.record(RecordType::AbortRequest, self.id, Bytes::new());
    }

    /// Asks for the application's limits (section 4.1): see [`message::MAX_CONNS`](super::message::MAX_CONNS).
    pub fn get_values(out: &mut Outbound, names: &[&'static str]) {
        let params: Params = names.iter().map(|name| (*name, Bytes::new())).collect();
        params.encode(RecordType::GetValues, 0, out);
    }
}

impl ResponseDecoder {
    /// For the request with this id, which was or will be begun.
    pub fn new(id: u16) -> Self {
        Self {
            id,
            inbound: BytesMut::new(),
            read_size: ReadSize::new(),
            ended: false,
            stdout: 0,
            heard: false,
        }
    }

    /// For a connection on which only GET_VALUES was asked.
    pub fn management() -> Self {
        Self { ended: true, ..Self::new(0) }
    }

    /// Makes ready for another request on the same connection; the one before must have ended.
    pub fn next_request(&mut self, id: u16) {
        *self = Self { inbound: std::mem::take(&mut self.inbound), ..Self::new(id) };
    }

    /// Where bytes from the connection go.
    pub const fn buffer(&mut self) -> &mut BytesMut {
        &mut self.inbound
    }

    pub(super) const fn inbound(&mut self) -> (&mut BytesMut, &mut ReadSize) {
        (&mut self.inbound, &mut self.read_size)
    }

    /// END_REQUEST has come and nothing is left over: the connection may carry another request.
    pub fn is_reusable(&self) -> bool {
        self.ended && self.inbound.is_empty()
    }

    /// The next event; `None` until more bytes are in the buffer.
    pub fn next_event(&mut self) -> Result<Option<ResponseEvent>, ProtocolError> {
        while let Some(record) = Record::decode(&mut self.inbound)? {
            self.heard = true;
            if let Some(event) = self.interpret(record)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// The connection has come to its end: right after END_REQUEST, premature anywhere else.
    pub fn eof(&self) -> Result<(), ProtocolError> {
        if !self.inbound.is_empty() && self.ended {
            return Err(ProtocolError::TruncatedRecord);
        }
        if self.ended {
            return Ok(());
        }
        let silent = !self.heard && self.inbound.is_empty();
        Err(ProtocolError::PrematureEof { stdout: self.stdout, silent })
    }

    fn interpret(&mut self, record: Record) -> Result<Option<ResponseEvent>, ProtocolError> {
        let Record { kind, request_id, content } = record;
        let unexpected = |why| Err(ProtocolError::Unexpected { kind, request_id, why });
        if request_id == 0 {
            return match kind {
                RecordType::GetValuesResult => {
                    let mut values = ParamsDecoder::new(MAX_VALUES);
                    values.push(content)?;
                    Ok(Some(ResponseEvent::Values(values.finish()?)))
                }
                RecordType::UnknownType => {
                    Ok(Some(ResponseEvent::UnknownType(decode_unknown_type(&content)?)))
                }
                _ => unexpected("is no management record"),
            };
        }
        if request_id != self.id {
            return unexpected("which was not begun");
        }
        if self.ended {
            return unexpected("came after its end");
        }
        match kind {
            RecordType::Stdout if content.is_empty() => Ok(Some(ResponseEvent::StdoutEnd)),
            RecordType::Stdout => {
                self.stdout += content.len() as u64;
                Ok(Some(ResponseEvent::Stdout(content)))
            }
            RecordType::Stderr if content.is_empty() => Ok(None),
            RecordType::Stderr => Ok(Some(ResponseEvent::Stderr(content))),
            RecordType::EndRequest => {
                self.ended = true;
                Ok(Some(ResponseEvent::End(EndRequest::decode(&content)?)))
            }
            _ => unexpected("is not an application's to send"),
        }
    }
}
