//! The bodies of the fuzz targets for header fields, on texts that resemble them: a smoke test without cargo-fuzz.
#![allow(clippy::panic, reason = "a test fails by panicking")]

#[path = "../../tests/fuzz/fuzz_targets/fields.rs"]
mod fields;

use proptest::collection::vec;
use proptest::prelude::*;

fn pieces(pieces: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    vec(prop::sample::select(pieces), 0..most).prop_map(|pieces| pieces.concat())
}

const DIRECTIVES: &[&str] = &[
    "max-age",
    "s-maxage",
    "Max-Age",
    "no-store",
    "NO-STORE",
    "no-cache",
    "private",
    "public",
    "must-revalidate",
    "must-understand",
    "immutable",
    "stale-while-revalidate",
    "foo",
    "=",
    "=60",
    "=0",
    "=-1",
    "=\"60\"",
    "=1.5",
    "=99999999999999999999",
    "=?0",
    "=\"set-cookie, x\"",
    "\"",
    "\\",
    ",",
    ", ",
    " ,\t",
    ";a=1",
    " ",
    "'",
    "\0",
    "&",
    "(1 2)",
    "é",
    "max-age=1,max-age=2",
];

const DATES: &[&str] = &[
    "Sun",
    "SUNDAY",
    "Thu, ",
    "Sunday, ",
    "06",
    " ",
    "  ",
    "6",
    "Nov",
    "nov ",
    "-",
    "1994",
    "94",
    "2050 ",
    "08:49:37",
    "23:59:60",
    "24:00:00",
    " GMT",
    " gmt",
    " UTC",
    "29 Feb 2023",
    "0",
    "7200",
    "-1",
    ",",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
];

const LISTS: &[&str] = &[
    "de",
    "EN",
    "en-GB",
    "*",
    ",",
    ", ",
    ";q=0.5",
    ";q=1",
    "; Q=1.000",
    ";q=2",
    ";q=",
    ";",
    "=",
    "\"a\"",
    "\"a b\"",
    "\"",
    "\\",
    "(",
    ")",
    "token",
    "1",
    "bytes 0-4/10",
    "bytes 4-9/10",
    "bytes */9",
    "bytes 0-0/*",
    "-",
    "/",
    "\0",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cache_control(which in any::<u8>(), text in pieces(DIRECTIVES, 16)) {
        fields::cache_control(&[&[which], text.as_bytes()].concat());
    }

    #[test]
    fn others(date in pieces(DATES, 8), lists in pieces(LISTS, 20)) {
        fields::fields(format!("{date}\0{lists}").as_bytes());
    }

    #[test]
    fn noise(data in vec(any::<u8>(), 0..200)) {
        fields::cache_control(&data);
        fields::fields(&data);
    }
}
