//! Whether a replica may be used. Pure.

/// What was seen of a replica, by traffic or by a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// A worker answered a probe.
    Alive,
    /// A worker finished a request: as good as an answer for a replica in use, but it may have been
    /// connected before the replica went away.
    Served,
    /// It cannot be connected to.
    Unreachable,
    /// It was connected to and hung up on a probe, or did not answer it though nobody we know of kept it busy.
    Unanswered,
    /// Nothing can be said: it may only be busy, and busy is not dead.
    Unknown,
}

/// Open while a replica is out of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breaker {
    Closed {
        /// Probes in a row without an answer.
        unanswered: u32,
    },
    Open,
}

/// So many probes without an answer take a replica out of use. One may meet a worker that others keep busy.
const UNANSWERED: u32 = 3;

impl Breaker {
    pub const CLOSED: Self = Self::Closed { unanswered: 0 };

    #[must_use]
    pub const fn after(self, sign: Sign) -> Self {
        match (self, sign) {
            (_, Sign::Unreachable) => Self::Open,
            (_, Sign::Alive) | (Self::Closed { .. }, Sign::Served) => Self::CLOSED,
            (Self::Closed { unanswered }, Sign::Unanswered) if unanswered + 1 >= UNANSWERED => Self::Open,
            (Self::Closed { unanswered }, Sign::Unanswered) => Self::Closed { unanswered: unanswered + 1 },
            (Self::Open, Sign::Served | Sign::Unanswered) | (_, Sign::Unknown) => self,
        }
    }

    pub const fn is_closed(self) -> bool {
        matches!(self, Self::Closed { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Sign::{Alive, Served, Unanswered, Unknown, Unreachable};

    #[test]
    fn table() {
        let table: [(&str, &[Sign], bool); 9] = [
            ("one refusal is enough", &[Unreachable], false),
            ("a probe that is answered brings it back", &[Unreachable, Unreachable, Alive], true),
            ("an old request that ends does not", &[Unreachable, Served], false),
            ("nor does a connection without an answer", &[Unreachable, Unanswered], false),
            ("silence is not believed at once", &[Unanswered, Unanswered], true),
            ("but in the end", &[Unanswered, Unanswered, Unanswered], false),
            ("traffic breaks the silence", &[Unanswered, Unanswered, Served, Unanswered], true),
            ("busy is not dead", &[Unknown, Unknown, Unknown, Unknown, Unknown], true),
            ("nor alive", &[Unanswered, Unanswered, Unknown, Unanswered], false),
        ];
        for (name, signs, closed) in table {
            let breaker = signs.iter().fold(Breaker::CLOSED, |breaker, sign| breaker.after(*sign));
            assert_eq!(breaker.is_closed(), closed, "{name}");
        }
    }
}
