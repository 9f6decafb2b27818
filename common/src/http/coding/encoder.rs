use std::fmt;
use std::io::{self, Write as _};

use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Compresses piece by piece.
pub struct Encoder(Kind);

enum Kind {
    Gzip(Box<GzEncoder<Vec<u8>>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
}

/// How much input brotli's writer takes at once.
const BUFFER: usize = 4096;

impl Encoder {
    /// `level` is from 1 to 9.
    pub fn gzip(level: u32) -> Self {
        Self(Kind::Gzip(Box::new(GzEncoder::new(Vec::new(), Compression::new(level)))))
    }

    /// `quality` is from 0 to 11, `window` the base-2 logarithm of how far back it looks: from 10 to 24.
    pub fn brotli(quality: u32, window: u32) -> Self {
        Self(Kind::Brotli(Box::new(CompressorWriter::new(Vec::new(), BUFFER, quality, window))))
    }

    pub fn push(&mut self, piece: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            Kind::Gzip(encoder) => encoder.write_all(piece),
            Kind::Brotli(encoder) => encoder.write_all(piece),
        }
    }

    /// Makes all that was pushed come out, at the cost of a few bytes.
    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Kind::Gzip(encoder) => encoder.flush(),
            Kind::Brotli(encoder) => encoder.flush(),
        }
    }

    /// What has come out since it was last asked.
    pub fn take(&mut self) -> Bytes {
        let out = match &mut self.0 {
            Kind::Gzip(encoder) => encoder.get_mut(),
            Kind::Brotli(encoder) => encoder.get_mut(),
        };
        std::mem::take(out).into()
    }

    /// What still comes out, with the end.
    pub fn finish(self) -> io::Result<Bytes> {
        match self.0 {
            Kind::Gzip(encoder) => encoder.finish().map(Bytes::from),
            Kind::Brotli(encoder) => Ok(encoder.into_inner().into()),
        }
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Gzip(_) => "Encoder(gzip)",
            Kind::Brotli(_) => "Encoder(br)",
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    fn both() -> [(&'static str, Encoder); 2] {
        [("gzip", Encoder::gzip(6)), ("br", Encoder::brotli(4, 18))]
    }

    fn decoded(coding: &str, coded: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        match coding {
            "gzip" => flate2::read::MultiGzDecoder::new(coded).read_to_end(&mut plain)?,
            _ => brotli::Decompressor::new(coded, BUFFER).read_to_end(&mut plain)?,
        };
        Ok(plain)
    }

    /// As much as can be read of what is not at its end.
    fn readable(coding: &str, coded: &[u8]) -> Vec<u8> {
        let mut plain = vec![0; 1 << 16];
        let read = match coding {
            "gzip" => flate2::read::GzDecoder::new(coded).read(&mut plain).unwrap(),
            _ => brotli::Decompressor::new(coded, BUFFER).read(&mut plain).unwrap(),
        };
        plain.truncate(read);
        plain
    }

    #[test]
    fn what_is_flushed_can_be_read_before_the_end() {
        for (coding, mut encoder) in both() {
            let mut coded = Vec::new();
            for expected in ["<p>one", "<p>one<p>one"] {
                encoder.push(b"<p>one").unwrap();
                encoder.flush().unwrap();
                coded.extend_from_slice(&encoder.take());
                assert_eq!(readable(coding, &coded), expected.as_bytes(), "{coding}");
            }
            coded.extend_from_slice(&encoder.finish().unwrap());
            assert_eq!(decoded(coding, &coded).unwrap(), b"<p>one<p>one", "{coding}");
        }
    }

    proptest! {
        #[test]
        fn any_pieces_come_back(
            pieces in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..9000), any::<bool>()), 0..12)
        ) {
            for (coding, mut encoder) in both() {
                let (mut plain, mut coded) = (Vec::new(), Vec::new());
                for (piece, flush) in &pieces {
                    plain.extend_from_slice(piece);
                    encoder.push(piece).unwrap();
                    if *flush {
                        encoder.flush().unwrap();
                    }
                    coded.extend_from_slice(&encoder.take());
                }
                coded.extend_from_slice(&encoder.finish().unwrap());
                prop_assert_eq!(decoded(coding, &coded).unwrap(), plain, "{}", coding);
            }
        }
    }
}
