//! The bodies of the fuzz targets, on texts that resemble targets and rules: a smoke test without cargo-fuzz.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../../tests/fuzz/fuzz_targets/edge.rs"]
mod edge;

use proptest::collection::vec;
use proptest::prelude::*;

fn pieces(pieces: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    vec(prop::sample::select(pieces), 0..most).prop_map(|pieces| pieces.concat())
}

const TARGET: &[&str] = &[
    "/", "//", "/.", "/..", ".", "..", "%2e", "%2E", "%2f", "%2F", "%", "%4", "%41", "%zz", "%25", "%c3%a9",
    "\u{e9}", "a", "B", "~", "%7e", "?", "&", "=", "+", "%20", "%26", "[", "]", "%5B", "[]", "a=", "b=1",
    "utm_a=1", "gclid", "a.b", "a_b", "\"", "{", "|", ";", ":", "@", "*", "\\", "%5c", "%00", "#",
];

const RULES: &[&str] = &[
    "[[rule]]\nname = \"a\"\n",
    "[[rule]]\nname = \"b\"\n",
    "[[rule]]\nname = \"ajax\"\n",
    "pass = true\n",
    "lookup = true\n",
    "deny = 404\n",
    "redirect = \"/x{target}{{\"\n",
    "ttl = \"5m\"\n",
    "override = true\n",
    "grace = \"1h\"\n",
    "set-cookie = \"strip\"\n",
    "status = [404, \"5xx\"]\n",
    "response-header = { Content-Type = \"*\" }\n",
    "strip-params = [\"b\", \"@tracking\"]\n",
    "keep-params = \"b*\"\n",
    "keep-cookies = \"~^d$\"\n",
    "strip-cookies = \"*\"\n",
    "set-request-headers = { X-A = \"{host}{query}\" }\n",
    "set-response-headers = { X-B = \"{\" }\n",
    "remove-request-headers = [\"cookie\"]\n",
    "origin = \"dns://b:80\"\n",
    "path = [\"/a/**\", '~^/\\d']\n",
    "path = \"**\"\n",
    "query = { b = \"c\", x = false }\n",
    "cookie = [\"d\"]\n",
    "header = { Cookie = true }\n",
    "unless = { method = \"POST\" }\n",
    "unless = [{ host = \"*.example\" }, { query = \"x\" }]\n",
    "extension = \"css\"\n",
    "client = \"192.0.2.0/24\"\n",
    "enabled = false\n",
    "before = \"ajax\"\n",
    "after = \"a\"\n",
    "= [\n",
    "unknown = 1\n",
];

fn request() -> impl Strategy<Value = String> {
    (prop::sample::select(vec!["GET", "HEAD", "POST", "get"]), pieces(TARGET, 12), vec("[ -~]{0,30}", 0..3))
        .prop_map(|(method, target, cookies)| {
            let fields: Vec<String> = cookies.iter().map(|value| format!("\ncookie: {value}")).collect();
            format!("{method} /{target}{}", fields.concat())
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn target(first in any::<u8>(), text in pieces(TARGET, 24)) {
        edge::target(&[&[first], b"/", text.as_bytes()].concat());
    }

    #[test]
    fn rules(lines in pieces(RULES, 14), request in request()) {
        edge::rules(format!("{lines}\0{request}").as_bytes());
    }

    #[test]
    fn noise(data in vec(any::<u8>(), 0..400)) {
        edge::target(&data);
        edge::rules(&data);
    }
}
