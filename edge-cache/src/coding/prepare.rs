use bytes::Bytes;
use common::http::coding::{Encoder, is_compressible};
use http::StatusCode;
use http::header::{CONTENT_RANGE, CONTENT_TYPE};

use super::Decoder;
use crate::policy::coding::Coding;
use crate::store::{Content, Head, OF_THE_CODING};

/// What compressible bodies are kept as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Compression {
    /// One copy with gzip; who does not accept that gets it undone.
    #[default]
    Gzip,
    /// One copy with brotli: smaller, but only browsers over HTTPS accept it, and everybody else's copy is undone.
    Br,
    /// As they come: the origin compresses, and `Vary: Accept-Encoding` makes variants.
    Off,
}

/// Below this compression does not pay for its fields.
const LEAST: u64 = 1024;
/// A body that grows beyond this factor is not worth measuring: it stays as it is.
const MOST_GROWTH: u64 = 1000;
const GZIP_LEVEL: u32 = 6;
const BROTLI_QUALITY: u32 = 5;
const BROTLI_WINDOW: u32 = 20;

impl Compression {
    /// What the origin is asked for; `None`: what the client accepts.
    pub const fn asked_of_origin(self) -> Option<&'static str> {
        match self {
            Self::Gzip => Some("gzip"),
            Self::Br => Some("br, gzip;q=0.5"),
            Self::Off => None,
        }
    }
}

/// Makes a received body ready to be stored. Takes a while: not for an async thread. `head` loses its claim to be
/// changed on its way if its body turns out to be damaged.
pub fn prepare(head: &mut Head, chunks: Vec<Bytes>, compression: Compression) -> Content {
    let length = chunks.iter().map(|chunk| chunk.len() as u64).sum();
    let as_it_is =
        |chunks, identity_length| Content { chunks, coding: head.coding, identity_length, coded_here: false };
    match head.coding {
        Coding::Identity if is_worth_it(head, length, compression) => {
            match compress(&chunks, compression) {
                // A saving of less than a tenth is not worth what it costs to undo.
                Some(coded) if (coded.len() as u64) < length - length / 10 => Content {
                    chunks: vec![coded],
                    coding: if compression == Compression::Br { Coding::Brotli } else { Coding::Gzip },
                    identity_length: length,
                    coded_here: true,
                },
                _ => as_it_is(chunks, length),
            }
        }
        Coding::Gzip | Coding::Brotli if head.may_transform => {
            let identity_length = measure(head.coding, &chunks, length);
            let content = as_it_is(chunks, identity_length.unwrap_or(length));
            head.may_transform = identity_length.is_some();
            content
        }
        _ => as_it_is(chunks, length),
    }
}

/// Whether [`prepare`] has anything to do for this head, so that most bodies need no other thread.
pub fn is_needed(head: &Head, length: u64, compression: Compression) -> bool {
    match head.coding {
        Coding::Identity => is_worth_it(head, length, compression),
        Coding::Gzip | Coding::Brotli => head.may_transform,
        Coding::Other => false,
    }
}

fn is_worth_it(head: &Head, length: u64, compression: Compression) -> bool {
    let fields = head.fields();
    compression != Compression::Off
        && head.may_transform
        && head.status == StatusCode::OK
        && length >= LEAST
        && fields.get(&CONTENT_TYPE).is_some_and(is_compressible)
        && fields.get(&CONTENT_RANGE).is_none()
        && OF_THE_CODING.iter().all(|name| fields.get(name).is_none())
}

fn compress(chunks: &[Bytes], compression: Compression) -> Option<Bytes> {
    let mut encoder = match compression {
        Compression::Off => return None,
        Compression::Gzip => Encoder::gzip(GZIP_LEVEL),
        Compression::Br => Encoder::brotli(BROTLI_QUALITY, BROTLI_WINDOW),
    };
    chunks.iter().try_for_each(|chunk| encoder.push(chunk)).ok()?;
    encoder.finish().ok()
}

/// The length of a body without its coding; `None` if it is damaged or out of all proportion.
fn measure(coding: Coding, chunks: &[Bytes], length: u64) -> Option<u64> {
    let mut decoder = Decoder::new(coding)?;
    let mut total = 0;
    for chunk in chunks {
        let mut chunk = chunk.clone();
        while let Some(plain) = decoder.next(&mut chunk).ok()? {
            total += plain.len() as u64;
            if total > length.saturating_mul(MOST_GROWTH) {
                return None;
            }
        }
    }
    decoder.finish().ok().map(|()| total)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::time::SystemTime;

    use http::HeaderMap;

    use super::*;
    use crate::policy::cache_control::CacheControl;
    use crate::policy::freshness::Freshness;

    fn head(fields: &[(&'static str, &str)]) -> Head {
        let headers: HeaderMap =
            fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let directives = CacheControl::of(&headers);
        let now = SystemTime::now();
        let freshness = Freshness::of(StatusCode::OK, &headers, &directives, now, now);
        Head::new(StatusCode::OK, headers, &directives, freshness, &HeaderMap::new(), true)
    }

    type Case<'a> = (&'a [(&'static str, &'a str)], &'a Bytes, Coding);

    #[test]
    fn what_is_compressed() {
        let text = Bytes::from("hello ".repeat(1000));
        let noise = Bytes::from((0..6000).map(|_| fastrand::u8(..)).collect::<Vec<u8>>());
        let short = Bytes::from_static(b"hello hello hello");
        let html = ("content-type", "text/html; charset=utf-8");
        let cases: [Case<'_>; 9] = [
            (&[html], &text, Coding::Gzip),
            (&[("content-type", "image/svg+xml")], &text, Coding::Gzip),
            (&[("content-type", "Application/JSON")], &text, Coding::Gzip),
            (&[html], &short, Coding::Identity),
            (&[html], &noise, Coding::Identity),
            (&[("content-type", "image/png")], &text, Coding::Identity),
            (&[], &text, Coding::Identity),
            (&[html, ("cache-control", "max-age=1, no-transform")], &text, Coding::Identity),
            (&[html, ("repr-digest", "sha-256=:AAAA:")], &text, Coding::Identity),
        ];
        for (fields, body, expected) in cases {
            let mut head = head(fields);
            let content = prepare(&mut head, vec![body.clone()], Compression::Gzip);
            assert_eq!(
                (content.coding, content.coded_here),
                (expected, expected != Coding::Identity),
                "{fields:?}"
            );
            assert_eq!(content.identity_length, body.len() as u64);
        }
        let content = prepare(&mut head(&[html]), vec![text.clone()], Compression::Br);
        assert_eq!(
            (content.coding, measure(Coding::Brotli, &content.chunks, 100)),
            (Coding::Brotli, Some(6000))
        );
        assert_eq!(prepare(&mut head(&[html]), vec![text], Compression::Off).coding, Coding::Identity);
    }

    #[test]
    fn what_came_compressed_is_measured() {
        let coded = compress(&[Bytes::from("hello ".repeat(1000))], Compression::Gzip).unwrap();
        let mut whole = head(&[("content-encoding", "gzip")]);
        let content = prepare(&mut whole, vec![coded.clone()], Compression::Gzip);
        assert_eq!(
            (content.coding, content.coded_here, content.identity_length),
            (Coding::Gzip, false, 6000)
        );
        assert!(whole.may_transform);
        let mut damaged = head(&[("content-encoding", "gzip")]);
        prepare(&mut damaged, vec![coded.slice(..20)], Compression::Gzip);
        assert!(!damaged.may_transform, "it is passed on as it came, and to those only who accept it");
    }
}
