use super::Violation;
use super::head::is_token_byte;

/// The framing of a chunked body (RFC 9112, section 7.1), in as many pieces as it comes.
#[derive(Debug, Default)]
pub struct Chunks {
    state: State,
    /// Bytes of all extensions so far.
    extensions: usize,
    /// Bytes of the trailer section so far.
    trailers: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size {
        digits: u8,
        value: u64,
    },
    /// Blanks before an extension's semicolon.
    Blank(u64),
    Extension(u64),
    /// The LF after the size and the extensions.
    SizeEnd(u64),
    Data(u64),
    DataCr,
    DataLf,
    /// The beginning of a line of the trailer section.
    Line,
    Name,
    Value,
    LineEnd,
    /// The LF that ends the body.
    End,
    Done,
}

/// More than any size that a `u64` counts has no meaning, and leading zeros have no use.
const MAX_DIGITS: u8 = 15;
/// Nobody has a use for extensions; each costs time for nothing (CVE-2023-39326).
const MAX_EXTENSIONS: usize = 4 << 10;
const MAX_TRAILERS: usize = 8 << 10;

impl Default for State {
    fn default() -> Self {
        Self::Size { digits: 0, value: 0 }
    }
}

impl Chunks {
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The number of bytes that belong to the body. Fewer than there are when it ends among them, or when what
    /// follows them violates its framing.
    pub fn advance(&mut self, bytes: &[u8]) -> (usize, Result<(), Violation>) {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if let State::Data(left) = self.state {
                let taken = left.min((bytes.len() - at) as u64);
                at += taken as usize;
                self.state = if left == taken { State::DataCr } else { State::Data(left - taken) };
                continue;
            }
            if self.state == State::Done {
                break;
            }
            match self.step(*byte) {
                Ok(state) => self.state = state,
                Err(violation) => return (at, Err(violation)),
            }
            at += 1;
        }
        (at, Ok(()))
    }

    #[allow(clippy::match_same_arms, reason = "one state after the other, in the order of the grammar")]
    fn step(&mut self, byte: u8) -> Result<State, Violation> {
        Ok(match (self.state, byte) {
            (State::Size { digits, value }, _) if byte.is_ascii_hexdigit() && digits < MAX_DIGITS => {
                let digit = (byte as char).to_digit(16).unwrap_or_default();
                State::Size { digits: digits + 1, value: value << 4 | u64::from(digit) }
            }
            (State::Size { digits: 1.., value }, b'\r') => State::SizeEnd(value),
            (State::Size { digits: 1.., value } | State::Blank(value), b';') => State::Extension(value),
            (State::Size { digits: 1.., value } | State::Blank(value), b' ' | b'\t') => {
                self.extension()?;
                State::Blank(value)
            }
            (State::Size { .. } | State::Blank(_), _) => return Err(Violation::ChunkSize),

            (State::Extension(value), b'\r') => State::SizeEnd(value),
            (State::Extension(value), b'\t' | 0x20..=0x7e | 0x80..) => {
                self.extension()?;
                State::Extension(value)
            }
            (State::Extension(_), _) => return Err(Violation::ChunkExtension),

            (State::SizeEnd(0), b'\n') => State::Line,
            (State::SizeEnd(value), b'\n') => State::Data(value),
            (State::SizeEnd(_), _) => return Err(Violation::LineEnd),

            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::default(),
            (State::DataCr | State::DataLf, _) => return Err(Violation::ChunkEnd),

            (State::Line, b'\r') => State::End,
            (State::Line | State::Name, _) if is_token_byte(byte) => {
                self.trailer()?;
                State::Name
            }
            (State::Name, b':') => State::Value,
            (State::Value, b'\r') => State::LineEnd,
            (State::Value, b'\t' | 0x20..=0x7e | 0x80..) => {
                self.trailer()?;
                State::Value
            }
            (State::LineEnd, b'\n') => State::Line,
            (State::End, b'\n') => State::Done,
            (State::LineEnd | State::End, _) => return Err(Violation::LineEnd),
            (State::Line | State::Name | State::Value, _) => return Err(Violation::Trailer),

            // Neither asks for a step.
            (state @ (State::Data(_) | State::Done), _) => state,
        })
    }

    fn extension(&mut self) -> Result<(), Violation> {
        self.extensions += 1;
        if self.extensions > MAX_EXTENSIONS { Err(Violation::ChunkExtension) } else { Ok(()) }
    }

    fn trailer(&mut self) -> Result<(), Violation> {
        self.trailers += 1;
        if self.trailers > MAX_TRAILERS { Err(Violation::Trailer) } else { Ok(()) }
    }
}
