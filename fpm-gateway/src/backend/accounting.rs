//! How it is known that a worker of a replica is free again. Pure.
//!
//! END_REQUEST is not the moment: a script may work on after `fastcgi_finish_request()`. With KEEP_CONN PHP-FPM's worker
//! reads on when it is done, so that its answer to GET_VALUES is. An application that never answers GET_VALUES would be
//! waited for in vain.
//!
//! One that has answered is asked in advance, together with the request: its answer then often comes with the end of the
//! response. Of one that has only closed the connection so far it is not known whether it reads the question, and bytes
//! that nobody has read make a close a reset, which may destroy the response.

/// What a replica was seen to do with GET_VALUES after END_REQUEST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accounting {
    /// Asked, and not heard so often in a row.
    Unknown { unanswered: u32 },
    /// It answers, or closes, when its worker is free. `answers`: it has answered.
    Exact { answers: bool },
    /// It does not answer: END_REQUEST has to do, and each connection is closed with it.
    PerConnection,
}

/// How the question after a response came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// GET_VALUES_RESULT: the worker is free.
    Answer,
    /// The end of the connection: likewise.
    Closed,
    /// Neither, for as long as we wait for one that is not known to answer.
    Nothing,
}

/// Who was silent so often, and never answered, does not know the question.
const UNANSWERED: u32 = 3;

impl Accounting {
    pub const NEW: Self = Self::Unknown { unanswered: 0 };

    #[must_use]
    pub const fn after(self, heard: Heard) -> Self {
        match (self, heard) {
            (Self::PerConnection, _) => Self::PerConnection,
            (_, Heard::Answer) => Self::Exact { answers: true },
            (Self::Unknown { .. }, Heard::Closed) => Self::Exact { answers: false },
            (exact @ Self::Exact { .. }, Heard::Closed | Heard::Nothing) => exact,
            (Self::Unknown { unanswered }, Heard::Nothing) if unanswered + 1 >= UNANSWERED => {
                Self::PerConnection
            }
            (Self::Unknown { unanswered }, Heard::Nothing) => Self::Unknown { unanswered: unanswered + 1 },
        }
    }

    /// Whether connections are kept beyond END_REQUEST to ask.
    pub const fn asks(self) -> bool {
        !matches!(self, Self::PerConnection)
    }

    /// Whether it may be asked together with the request.
    pub const fn asks_in_advance(self) -> bool {
        matches!(self, Self::Exact { answers: true })
    }

    pub const fn is_exact(self) -> bool {
        matches!(self, Self::Exact { .. })
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown { .. } => "unknown",
            Self::Exact { .. } => "exact",
            Self::PerConnection => "per-connection",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Heard::{Answer, Closed, Nothing};

    #[test]
    fn table() {
        let (closes, answers) = (Accounting::Exact { answers: false }, Accounting::Exact { answers: true });
        let table: [(&[Heard], Accounting); 9] = [
            (&[Answer], answers),
            (&[Closed], closes),
            (&[Closed, Closed], closes),
            (&[Closed, Answer, Closed], answers),
            (&[Nothing, Nothing], Accounting::Unknown { unanswered: 2 }),
            (&[Nothing, Nothing, Nothing, Answer, Closed], Accounting::PerConnection),
            (&[Nothing, Nothing, Closed], closes),
            // One that has answered before is only busy for long.
            (&[Answer, Nothing, Nothing, Nothing, Nothing], answers),
            (&[Closed, Nothing, Nothing, Nothing, Nothing], closes),
        ];
        for (heard, expected) in table {
            let accounting = heard.iter().fold(Accounting::NEW, |known, heard| known.after(*heard));
            assert_eq!(accounting, expected, "{heard:?}");
            assert_eq!(accounting.asks_in_advance(), expected == answers, "{heard:?}");
        }
    }
}
