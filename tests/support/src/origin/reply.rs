use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;

use crate::gate::Gate;

/// What the origin does with one request.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    reason: String,
    headers: Vec<(String, String)>,
    body: Body,
    /// Passed before the first byte of the head.
    before_head: Option<Gate>,
    /// Passed between the head and the body.
    before_body: Option<Gate>,
    script: Option<Vec<Step>>,
}

/// One thing done on the wire.
#[derive(Debug, Clone)]
pub enum Step {
    Bytes(Bytes),
    /// Goes on when the gate is open.
    Pass(Gate),
    /// For a slow origin; for anything that a test waits for, use a gate.
    Pause(Duration),
    /// FIN, without the rest.
    Close,
    /// RST.
    Reset,
}

#[derive(Debug, Clone)]
enum Body {
    Sized(Bytes),
    /// Content-Length says the first, the second is sent, then the connection closes.
    Cut(u64, Bytes),
    Chunked(Vec<Bytes>),
    /// Chunks without the last one, then the connection closes.
    CutChunked(Vec<Bytes>),
    UntilClose(Bytes),
}

impl Reply {
    pub fn new(status: u16) -> Self {
        Self {
            status,
            reason: reason(status).to_owned(),
            headers: Vec::new(),
            body: Body::Sized(Bytes::new()),
            before_head: None,
            before_body: None,
            script: None,
        }
    }

    /// 200 with this body.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self::new(200).body(body)
    }

    /// These steps and nothing else; the connection stays open unless they say otherwise.
    pub fn script(steps: impl Into<Vec<Step>>) -> Self {
        Self { script: Some(steps.into()), ..Self::new(200) }
    }

    /// Closes the connection without a byte of an answer.
    pub fn hang_up() -> Self {
        Self::script([Step::Close])
    }

    /// Resets the connection without a byte of an answer.
    pub fn reset() -> Self {
        Self::script([Step::Reset])
    }

    /// Exactly these bytes, then the end of the connection.
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self::script([Step::Bytes(bytes.into()), Step::Close])
    }

    /// Adds a field; the reply's own framing fields are added to these.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// With Content-Length.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Body::Sized(body.into());
        self
    }

    #[must_use]
    pub fn chunked(mut self, chunks: impl IntoIterator<Item = impl Into<Bytes>>) -> Self {
        self.body = Body::Chunked(chunks.into_iter().map(Into::into).collect());
        self
    }

    /// Chunks that never end: the connection closes after them.
    #[must_use]
    pub fn cut_chunked(mut self, chunks: impl IntoIterator<Item = impl Into<Bytes>>) -> Self {
        self.body = Body::CutChunked(chunks.into_iter().map(Into::into).collect());
        self
    }

    /// Announces `length` bytes, sends `body` and closes.
    #[must_use]
    pub fn cut(mut self, length: u64, body: impl Into<Bytes>) -> Self {
        self.body = Body::Cut(length, body.into());
        self
    }

    /// A body that ends with the connection.
    #[must_use]
    pub fn until_close(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Body::UntilClose(body.into());
        self
    }

    /// Holds the whole answer until the gate opens.
    #[must_use]
    pub fn held_by(mut self, gate: &Gate) -> Self {
        self.before_head = Some(gate.clone());
        self
    }

    /// Sends the head and holds the body until the gate opens; chunks wait each for it.
    #[must_use]
    pub fn body_held_by(mut self, gate: &Gate) -> Self {
        self.before_body = Some(gate.clone());
        self
    }

    pub(super) fn into_steps(self, method: &str) -> Vec<Step> {
        if let Some(script) = self.script {
            return script;
        }
        let mut steps = Vec::new();
        steps.extend(self.before_head.map(Step::Pass));
        // RFC 9110 section 8.6: no length in a 1xx or 204; a 304's would be its representation's.
        let bodiless = (100..200).contains(&self.status) || matches!(self.status, 204 | 304);
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, self.reason);
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if !bodiless {
            head.push_str(&self.body.framing());
        }
        head.push_str("\r\n");
        steps.push(Step::Bytes(head.into()));
        if !bodiless && method != "HEAD" {
            self.body.push_steps(self.before_body.as_ref(), &mut steps);
        }
        steps
    }
}

impl Body {
    fn framing(&self) -> String {
        match self {
            Self::Sized(body) => format!("Content-Length: {}\r\n", body.len()),
            Self::Cut(length, _) => format!("Content-Length: {length}\r\n"),
            Self::Chunked(_) | Self::CutChunked(_) => "Transfer-Encoding: chunked\r\n".to_owned(),
            Self::UntilClose(_) => "Connection: close\r\n".to_owned(),
        }
    }

    fn push_steps(self, gate: Option<&Gate>, steps: &mut Vec<Step>) {
        let hold = || gate.cloned().map(Step::Pass);
        match self {
            Self::Sized(body) => {
                steps.extend(hold());
                steps.push(Step::Bytes(body));
            }
            Self::Cut(_, body) | Self::UntilClose(body) => {
                steps.extend(hold());
                steps.extend([Step::Bytes(body), Step::Close]);
            }
            Self::Chunked(chunks) => {
                push_chunks(chunks, hold, steps);
                steps.push(Step::Bytes(Bytes::from_static(b"0\r\n\r\n")));
            }
            Self::CutChunked(chunks) => {
                push_chunks(chunks, hold, steps);
                steps.push(Step::Close);
            }
        }
    }
}

fn push_chunks(chunks: Vec<Bytes>, hold: impl Fn() -> Option<Step>, steps: &mut Vec<Step>) {
    for chunk in chunks {
        steps.extend(hold());
        let mut framed = format!("{:x}\r\n", chunk.len()).into_bytes();
        framed.extend_from_slice(&chunk);
        framed.extend_from_slice(b"\r\n");
        steps.push(Step::Bytes(framed.into()));
    }
}

fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Whatever")
}
