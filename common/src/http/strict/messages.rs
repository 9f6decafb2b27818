use super::Violation;
use super::chunks::Chunks;
use super::head::{Framing, Kind, Limits, Scanner};

/// Where a client's requests begin and end.
#[derive(Debug)]
pub struct Messages {
    state: State,
    limits: Limits,
    /// Heads that were complete so far.
    heads: u64,
}

#[derive(Debug)]
enum State {
    Head(Scanner),
    Length(u64),
    Chunked(Chunks),
    /// After a head that asks for an upgrade: what follows is HTTP or not.
    Undecided,
    /// Another protocol.
    Tunnel,
}

impl Messages {
    pub fn new(limits: Limits) -> Self {
        Self { state: State::Head(Scanner::new(Kind::Request, limits)), limits, heads: 0 }
    }

    pub const fn heads(&self) -> u64 {
        self.heads
    }

    /// Waits for [`decide`](Self::decide).
    pub const fn is_undecided(&self) -> bool {
        matches!(self.state, State::Undecided)
    }

    pub const fn is_tunnel(&self) -> bool {
        matches!(self.state, State::Tunnel)
    }

    /// Between two messages, or within a head.
    pub const fn is_at_head(&self) -> bool {
        matches!(self.state, State::Head(_))
    }

    /// Part of a body is still to come.
    pub const fn is_within_body(&self) -> bool {
        matches!(self.state, State::Length(_) | State::Chunked(_))
    }

    /// Whether the upgrade took place that was asked for.
    pub fn decide(&mut self, is_tunnel: bool) {
        self.state = if is_tunnel { State::Tunnel } else { self.head() };
    }

    /// The number of bytes that are in order and complete: the rest is the beginning of a head, waits for a decision,
    /// or violates the framing. A head's bytes are given again from its beginning.
    pub fn advance(&mut self, bytes: &[u8]) -> (usize, Result<(), Violation>) {
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            match &mut self.state {
                State::Head(scanner) => match scanner.advance(rest) {
                    Ok(Some((length, framing))) => {
                        at += length;
                        self.heads += 1;
                        self.state = self.after(framing);
                    }
                    Ok(None) => return (at, Ok(())),
                    Err(violation) => return (at, Err(violation)),
                },
                State::Length(left) => {
                    let taken = (*left).min(rest.len() as u64);
                    *left -= taken;
                    at += taken as usize;
                    if *left > 0 {
                        return (at, Ok(()));
                    }
                    self.state = self.head();
                }
                State::Chunked(chunks) => {
                    let (taken, result) = chunks.advance(rest);
                    at += taken;
                    if result.is_err() || !chunks.is_done() {
                        return (at, result);
                    }
                    self.state = self.head();
                }
                State::Undecided => return (at, Ok(())),
                State::Tunnel => return (bytes.len(), Ok(())),
            }
            if at == bytes.len() {
                return (at, Ok(()));
            }
        }
    }

    fn head(&self) -> State {
        State::Head(Scanner::new(Kind::Request, self.limits))
    }

    fn after(&self, framing: Framing) -> State {
        match framing.length {
            _ if framing.is_chunked => State::Chunked(Chunks::default()),
            Some(length @ 1..) => State::Length(length),
            // An upgrade with a body would begin after it (RFC 9110, section 7.8): nobody does that.
            _ if framing.wants_upgrade => State::Undecided,
            _ => self.head(),
        }
    }
}
