use std::fmt;

use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};
use bytes::{Buf as _, Bytes};
use flate2::{Decompress, FlushDecompress, Status};

use crate::policy::coding::Coding;

/// Undoes a coding piece by piece. What comes out at once is bounded, however well the input was compressed.
pub struct Decoder {
    kind: Kind,
    /// A member has ended; what follows may be another one (RFC 1952, section 2.2).
    ended: bool,
    started: bool,
}

enum Kind {
    Gzip(Decompress),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
}

/// The bytes are not what their Content-Encoding says, or they end early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body does not follow its content coding")]
pub struct Undecodable;

/// Bytes that come out at once.
const OUT: usize = 32 << 10;
/// The greatest window that gzip knows.
const WINDOW_BITS: u8 = 15;

impl Decoder {
    /// `None` for codings that cannot be undone, or need not be.
    pub fn new(coding: Coding) -> Option<Self> {
        let kind = match coding {
            Coding::Gzip => Kind::Gzip(Decompress::new_gzip(WINDOW_BITS)),
            Coding::Brotli => {
                let alloc = StandardAlloc::default();
                Kind::Brotli(Box::new(BrotliState::new_strict(alloc, alloc, alloc)))
            }
            Coding::Identity | Coding::Other => return None,
        };
        Some(Self { kind, ended: false, started: false })
    }

    /// Takes from `input` and gives what that became, at most [`OUT`] bytes; `None` when it wants more input.
    pub fn next(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, Undecodable> {
        let mut out = vec![0; OUT];
        loop {
            if input.is_empty() && !self.may_hold_output() {
                return Ok(None);
            }
            let (consumed, produced) = self.step(input, &mut out)?;
            input.advance(consumed);
            if produced > 0 {
                out.truncate(produced);
                return Ok(Some(out.into()));
            }
            if consumed == 0 {
                return if input.is_empty() { Ok(None) } else { Err(Undecodable) };
            }
        }
    }

    /// To be asked at the end of the input: whether the body is whole.
    pub const fn finish(&self) -> Result<(), Undecodable> {
        if self.ended { Ok(()) } else { Err(Undecodable) }
    }

    const fn may_hold_output(&self) -> bool {
        self.started && !self.ended
    }

    fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<(usize, usize), Undecodable> {
        self.started = true;
        match &mut self.kind {
            Kind::Gzip(state) => {
                if self.ended && !input.is_empty() {
                    *state = Decompress::new_gzip(WINDOW_BITS);
                    self.ended = false;
                }
                let before = (state.total_in(), state.total_out());
                let status = state.decompress(input, out, FlushDecompress::None).map_err(|_| Undecodable)?;
                self.ended = status == Status::StreamEnd;
                Ok(((state.total_in() - before.0) as usize, (state.total_out() - before.1) as usize))
            }
            Kind::Brotli(state) => {
                if self.ended {
                    return if input.is_empty() { Ok((0, 0)) } else { Err(Undecodable) };
                }
                let (mut available_in, mut consumed) = (input.len(), 0);
                let (mut available_out, mut produced, mut total) = (out.len(), 0, 0);
                let result = BrotliDecompressStream(
                    &mut available_in,
                    &mut consumed,
                    input,
                    &mut available_out,
                    &mut produced,
                    out,
                    &mut total,
                    state,
                );
                match result {
                    BrotliResult::ResultFailure => return Err(Undecodable),
                    BrotliResult::ResultSuccess => self.ended = true,
                    BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
                }
                Ok((consumed, produced))
            }
        }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let coding = match self.kind {
            Kind::Gzip(_) => Coding::Gzip,
            Kind::Brotli(_) => Coding::Brotli,
        };
        f.debug_struct("Decoder").field("coding", &coding).field("ended", &self.ended).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn brotli(plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        brotli::CompressorWriter::new(&mut out, 4096, 5, 22).write_all(plain).unwrap();
        out
    }

    fn decode(coding: Coding, coded: &[u8], piece: usize) -> Result<Vec<u8>, Undecodable> {
        let mut decoder = Decoder::new(coding).unwrap();
        let mut out = Vec::new();
        for piece in coded.chunks(piece.max(1)) {
            let mut piece = Bytes::copy_from_slice(piece);
            while let Some(plain) = decoder.next(&mut piece)? {
                assert!(!plain.is_empty() && plain.len() <= OUT);
                out.extend_from_slice(&plain);
            }
        }
        decoder.finish().map(|()| out)
    }

    #[test]
    fn what_is_damaged_is_found_out() {
        let plain = b"hello ".repeat(1000);
        for (coding, coded) in [(Coding::Gzip, gzip(&plain)), (Coding::Brotli, brotli(&plain))] {
            assert_eq!(decode(coding, &coded, 7).unwrap(), plain);
            assert_eq!(
                decode(coding, &coded[..coded.len() - 1], 7),
                Err(Undecodable),
                "{coding:?} cut short"
            );
            assert_eq!(decode(coding, b"plain text", 7), Err(Undecodable), "{coding:?} not coded at all");
            assert_eq!(decode(coding, b"", 7), Err(Undecodable), "{coding:?} empty");
        }
        let mut wrong = gzip(&plain);
        let at = wrong.len() - 8;
        wrong[at] ^= 1;
        assert_eq!(decode(Coding::Gzip, &wrong, 100), Err(Undecodable), "its checksum does not hold");
        assert_eq!(decode(Coding::Brotli, &[brotli(&plain), vec![0]].concat(), 100), Err(Undecodable));
    }

    #[test]
    fn members_follow_each_other() {
        let coded = [gzip(b"one"), gzip(b""), gzip(b"two")].concat();
        for piece in [1, 5, 1000] {
            assert_eq!(decode(Coding::Gzip, &coded, piece).unwrap(), b"onetwo");
        }
    }

    #[test]
    fn much_from_little_comes_in_pieces() {
        let plain = vec![0; 3 << 20];
        assert_eq!(decode(Coding::Gzip, &gzip(&plain), 1 << 20).unwrap(), plain);
        assert_eq!(decode(Coding::Brotli, &brotli(&plain), 1 << 20).unwrap(), plain);
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(plain in proptest::collection::vec(any::<u8>(), 0..3000), piece in 1_usize..200) {
            prop_assert_eq!(&decode(Coding::Gzip, &gzip(&plain), piece).unwrap(), &plain);
            prop_assert_eq!(&decode(Coding::Brotli, &brotli(&plain), piece).unwrap(), &plain);
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(coded in proptest::collection::vec(any::<u8>(), 0..300), piece in 1_usize..50) {
            let _ = decode(Coding::Gzip, &coded, piece);
            let _ = decode(Coding::Brotli, &coded, piece);
        }
    }
}
