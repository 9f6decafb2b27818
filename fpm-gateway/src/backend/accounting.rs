//! How it is known that a worker of a replica is free again. Pure.
//!
//! END_REQUEST is not the moment: a script may work on after `fastcgi_finish_request()`. With KEEP_CONN PHP-FPM's worker
//! reads on when it is done, so that its answer to GET_VALUES is. An application that never answers GET_VALUES would be
//! waited for in vain.

/// What a replica was seen to do with GET_VALUES after END_REQUEST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accounting {
    /// Asked, and not heard so often in a row.
    Unknown { unanswered: u32 },
    /// It answers, or closes, when its worker is free.
    Exact,
    /// It does not answer: END_REQUEST has to do, and each connection is closed with it.
    PerConnection,
}

/// How the question after a response came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// GET_VALUES_RESULT, or the end of the connection.
    Free,
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
            (Self::Unknown { .. } | Self::Exact, Heard::Free) | (Self::Exact, Heard::Nothing) => Self::Exact,
            (Self::Unknown { unanswered }, Heard::Nothing) if unanswered + 1 >= UNANSWERED => {
                Self::PerConnection
            }
            (Self::Unknown { unanswered }, Heard::Nothing) => Self::Unknown { unanswered: unanswered + 1 },
            (Self::PerConnection, _) => Self::PerConnection,
        }
    }

    /// Whether connections are kept beyond END_REQUEST to ask.
    pub const fn asks(self) -> bool {
        !matches!(self, Self::PerConnection)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown { .. } => "unknown",
            Self::Exact => "exact",
            Self::PerConnection => "per-connection",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Heard::{Free, Nothing};

    #[test]
    fn table() {
        let table: [(&[Heard], Accounting); 5] = [
            (&[Free], Accounting::Exact),
            (&[Nothing, Nothing], Accounting::Unknown { unanswered: 2 }),
            (&[Nothing, Nothing, Nothing, Free], Accounting::PerConnection),
            (&[Nothing, Nothing, Free], Accounting::Exact),
            // One that has answered before is only busy for long.
            (&[Free, Nothing, Nothing, Nothing, Nothing], Accounting::Exact),
        ];
        for (heard, expected) in table {
            let accounting = heard.iter().fold(Accounting::NEW, |known, heard| known.after(*heard));
            assert_eq!(accounting, expected, "{heard:?}");
        }
    }
}
