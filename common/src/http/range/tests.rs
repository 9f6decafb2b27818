#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::collection::vec;
use proptest::prelude::*;

use super::multipart::Step;
use super::*;

fn asked(text: &str, length: u64) -> ByteRange {
    let mut headers = HeaderMap::new();
    headers.insert(RANGE, text.parse().unwrap());
    of(&headers, length)
}

fn part(start: u64, end: u64) -> ByteRange {
    ByteRange::Part { start, end }
}

fn parts(all: &[(u64, u64)]) -> ByteRange {
    ByteRange::Parts(all.iter().map(|&(start, end)| Part { start, end }).collect())
}

#[test]
fn ranges_of_ten_bytes() {
    use ByteRange::{Unsatisfiable, Whole};
    let cases = [
        ("bytes=0-0", part(0, 1)),
        ("bytes=2-5", part(2, 6)),
        ("bytes=5-", part(5, 10)),
        ("bytes=-3", part(7, 10)),
        ("bytes=-99", part(0, 10)),
        ("bytes=9-99999999999999999999", part(9, 10)),
        ("Bytes = 1-1", part(1, 2)),
        ("bytes=10-", Unsatisfiable),
        ("bytes=-0", Unsatisfiable),
        ("bytes=5-2", Whole),
        ("bytes=a-b", Whole),
        ("bytes=-", Whole),
        ("bytes=+1-2", Whole),
        ("bytes=1 -2", Whole),
        ("lines=0-1", Whole),
        ("0-1", Whole),
        ("bytes=", Whole),
        ("bytes=,", Whole),
    ];
    for (text, expected) in cases {
        assert_eq!(asked(text, 10), expected, "{text}");
    }
    assert_eq!(asked("bytes=0-", 0), Unsatisfiable);
    assert_eq!(asked("bytes=-5", 0), Whole, "the last bytes of nothing are all of it");
    assert_eq!(content_range(Some((2, 6)), 10), "bytes 2-5/10");
    assert_eq!(content_range(None, 10), "bytes */10");
}

#[test]
fn several_ranges_of_a_thousand_bytes() {
    use ByteRange::{Unsatisfiable, Whole};
    let cases = [
        ("bytes=0-1,5-6", parts(&[(0, 2), (5, 7)])),
        ("bytes=0-1 ,\t 5-6", parts(&[(0, 2), (5, 7)])),
        ("bytes=,0-1,,5-6,", parts(&[(0, 2), (5, 7)])),
        ("bytes=-1,0-0", parts(&[(999, 1000), (0, 1)])),
        ("bytes=500-,0-499", parts(&[(500, 1000), (0, 500)])),
        // What cannot be satisfied is left out (section 15.3.7).
        ("bytes=0-1,1000-2000,5-6", parts(&[(0, 2), (5, 7)])),
        ("bytes=0-1,1000-", part(0, 2)),
        ("bytes=-0,1000-", Unsatisfiable),
        // One that is wrong makes the set wrong.
        ("bytes=0-1,x", Whole),
        ("bytes=0-1,6-5", Whole),
        ("bytes=0-1;5-6", Whole),
        // In order, neighbours become one.
        ("bytes=0-1,2-3", part(0, 4)),
        ("bytes=0-5,2-9,20-30", parts(&[(0, 10), (20, 31)])),
        ("bytes=0-9,2-3,4-5", part(0, 10)),
        ("bytes=0-,-1", part(0, 1000)),
        // Out of order they stay as they were asked for.
        ("bytes=2-3,0-1", parts(&[(2, 4), (0, 2)])),
        ("bytes=5-9,0-6", parts(&[(5, 10), (0, 7)])),
        // A byte three times.
        ("bytes=0-9,0-9", part(0, 10)),
        ("bytes=0-9,0-9,0-9", Whole),
        ("bytes=5-9,0-6,6-7", Whole),
        // More than all of it.
        ("bytes=500-,0-999", Whole),
        ("bytes=500-999,0-500", Whole),
        // Crumbs: in order, and in any.
        ("bytes=0-0,10-10,20-20,30-30,40-40", parts(&[(0, 1), (10, 11), (20, 21), (30, 31), (40, 41)])),
        ("bytes=0-0,10-10,20-20,40-40,30-30", Whole),
        ("bytes=0-0,10-10,40-40,30-30", parts(&[(0, 1), (10, 11), (40, 41), (30, 31)])),
    ];
    for (text, expected) in cases {
        assert_eq!(asked(text, 1000), expected, "{text}");
    }
}

#[test]
fn more_ranges_than_are_served() {
    let set = |count: u64| {
        let all: Vec<String> = (0..count).map(|at| format!("{}-{}", at * 10, at * 10 + 1)).collect();
        format!("bytes={}", all.join(","))
    };
    assert!(matches!(asked(&set(16), 10_000), ByteRange::Parts(parts) if parts.len() == 16));
    assert_eq!(asked(&set(17), 10_000), ByteRange::Whole);
    // Those that cannot be satisfied count too: reading them is work.
    assert_eq!(asked(&set(17), 5), ByteRange::Whole);
    // The request of CVE-2011-3192.
    let killer: Vec<String> = (0..1300).map(|last| format!("5-{last}")).collect();
    assert_eq!(asked(&format!("bytes=0-,{}", killer.join(",")), 100_000), ByteRange::Whole);
}

#[test]
fn two_fields_are_the_whole() {
    let mut headers = HeaderMap::new();
    assert_eq!(of(&headers, 10), ByteRange::Whole);
    headers.append(RANGE, HeaderValue::from_static("bytes=2-5"));
    assert_eq!(of(&headers, 10), part(2, 6));
    headers.append(RANGE, HeaderValue::from_static("bytes=2-5"));
    assert_eq!(of(&headers, 10), ByteRange::Whole);
}

#[test]
fn a_multipart_body() {
    let content = b"0123456789";
    let kind = HeaderValue::from_static("text/plain");
    let all = [Part { start: 7, end: 10 }, Part { start: 0, end: 1 }];
    let body = Multipart::new(&all, 10, Some(&kind));
    let length = body.length();
    let content_type = body.content_type();
    let boundary = content_type.to_str().unwrap().strip_prefix("multipart/byteranges; boundary=").unwrap();
    assert_eq!(boundary.len(), 32);
    let sent: Vec<u8> = body
        .flat_map(|step| match step {
            Step::Text(text) => text.to_vec(),
            Step::Content(part) => content[part.start as usize..part.end as usize].to_vec(),
        })
        .collect();
    let expected = format!(
        "--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 7-9/10\r\n\r\n789\r\n\
         --{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-0/10\r\n\r\n0\r\n\
         --{boundary}--\r\n"
    );
    assert_eq!(String::from_utf8(sent).unwrap(), expected);
    assert_eq!(length, expected.len() as u64);
    let untyped = Multipart::new(&all, 10, None);
    let Some(Step::Text(head)) = untyped.into_iter().next() else { panic!("no head") };
    assert!(head.ends_with(b"\r\nContent-Range: bytes 7-9/10\r\n\r\n"), "{head:?}");
    assert!(!head.windows(12).any(|window| window == b"Content-Type"));
}

/// One range as an oracle sees it: which of the positions it asks for.
#[derive(Debug, Clone)]
enum Spec {
    FromTo(u64, u64),
    From(u64),
    Last(u64),
    Wrong(&'static str),
}

impl Spec {
    fn text(&self) -> String {
        match self {
            Self::FromTo(first, last) => format!("{first}-{last}"),
            Self::From(first) => format!("{first}-"),
            Self::Last(count) => format!("-{count}"),
            Self::Wrong(text) => (*text).to_owned(),
        }
    }

    fn is_wrong(&self, length: u64) -> bool {
        match self {
            Self::FromTo(first, last) => first > last,
            Self::From(_) => false,
            Self::Last(count) => length == 0 && *count > 0,
            Self::Wrong(_) => true,
        }
    }

    fn asks_for(&self, at: u64, length: u64) -> bool {
        match self {
            Self::FromTo(first, last) => *first <= at && at <= *last,
            Self::From(first) => *first <= at,
            Self::Last(count) => at + count >= length,
            Self::Wrong(_) => false,
        }
    }
}

fn specs() -> impl Strategy<Value = Vec<Spec>> {
    let spec = prop_oneof![
        20 => (0..70_u64, 0..12_u64).prop_map(|(first, more)| Spec::FromTo(first, first + more)),
        2 => (0..70_u64, 0..70_u64).prop_map(|(first, last)| Spec::FromTo(first, last)),
        2 => (0..70_u64).prop_map(Spec::From),
        2 => (0..70_u64).prop_map(Spec::Last),
        1 => prop_oneof![Just("x"), Just("1-2-3"), Just("-"), Just("1 - 2")].prop_map(Spec::Wrong),
    ];
    prop_oneof![vec(spec.clone(), 1..5), vec(spec, 1..20)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    /// Against an oracle that looks at every byte by itself.
    #[test]
    fn every_byte_that_is_asked_for_and_no_other(specs in specs(), length in 0..64_u64) {
        let text: Vec<String> = specs.iter().map(Spec::text).collect();
        let planned = asked(&format!("bytes={}", text.join(", ")), length);
        let times = |at| specs.iter().filter(|spec| spec.asks_for(at, length)).count();
        let wanted: Vec<u64> = (0..length).filter(|at| times(*at) > 0).collect();
        let ignored = specs.len() > MAX_RANGES
            || specs.iter().any(|spec| spec.is_wrong(length))
            || (0..length).any(|at| times(at) > 2);
        let sent = match &planned {
            ByteRange::Whole => {
                // Of what is left, only crumbs and sums are reasons: neither is there with all in order.
                let begins = specs.iter().filter_map(|spec| (0..length).find(|at| spec.asks_for(*at, length)));
                let in_order = begins.collect::<Vec<_>>().is_sorted();
                prop_assert!(ignored || !in_order, "{specs:?} of {length}");
                return Ok(());
            }
            ByteRange::Unsatisfiable => Vec::new(),
            ByteRange::Part { start, end } => vec![Part { start: *start, end: *end }],
            ByteRange::Parts(parts) => {
                prop_assert!(parts.len() > 1);
                parts.to_vec()
            }
        };
        prop_assert!(!ignored, "{planned:?}");
        let total: u64 = sent.iter().map(|part| part.length()).sum();
        prop_assert!(total <= length);
        prop_assert!(sent.iter().all(|part| part.start < part.end && part.end <= length));
        let mut covered: Vec<u64> = sent.iter().flat_map(|part| part.start..part.end).collect();
        covered.sort_unstable();
        covered.dedup();
        prop_assert_eq!(covered, wanted);
        // The first byte of each part is where one of the ranges begins, in the order they came in.
        let mut begins = specs.iter().filter_map(|spec| (0..length).find(|at| spec.asks_for(*at, length)));
        for part in &sent {
            prop_assert!(begins.any(|begin| begin == part.start), "{:?} in {:?}", sent, specs);
        }
    }
}
