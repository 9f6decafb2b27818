//! The body of the fuzz target, on texts that resemble rules: a smoke test without cargo-fuzz.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../../tests/fuzz/fuzz_targets/web.rs"]
mod web;

use proptest::collection::vec;
use proptest::prelude::*;

fn pieces(pieces: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    vec(prop::sample::select(pieces), 0..most).prop_map(|pieces| pieces.concat())
}

const RULES: &[&str] = &[
    "[[rule]]\nname = \"a\"\n",
    "[[rule]]\nname = \"b\"\n",
    "[[rule]]\nname = \"c\"\n",
    "method = \"GET\"\n",
    "host = \"*.example\"\n",
    "path = \"/a/**\"\n",
    "path = \"~^/a(.*)b\"\n",
    "query = { d = \"*\" }\n",
    "header = { Cookie = \"*f*\" }\n",
    "cookie = { f = \"g\" }\n",
    "client = \"192.0.2.0/24\"\n",
    "file = \"*.php\"\n",
    "file = [\"~^a\", \"b*\"]\n",
    "found = \"nothing\"\n",
    "found = [\"file\", \"directory\"]\n",
    "serve = true\n",
    "deny = 404\n",
    "deny = true\n",
    "redirect = \"/x{path}{{\"\n",
    "redirect = \"{directory}/{name}\"\n",
    "redirect-status = 301\n",
    "expires = \"1y\"\n",
    "expires = \"5m\"\n",
    "type = \"text/css\"\n",
    "encoding = \"gzip\"\n",
    "add-query = \"a=b\"\n",
    "lazy = true\n",
    "front-controller = \"/x.php\"\n",
    "front-controller = \"none\"\n",
    "set-params = { X = \"{path}\" }\n",
    "remove-params = \"HTTP_*\"\n",
    "set-response-headers = { X-B = \"c\" }\n",
    "remove-response-headers = [\"x-b\"]\n",
    "override = true\n",
    "nonsense = 1\n",
    "=",
    "[",
    "\n",
];

const TARGET: &[&str] = &[
    "a", "b", "/", ".", "..", "%2e", "%41", ".php", ".css", "~", "%ff", "\u{e9}", ";", "?", "&", "=", "d=e",
];

fn request() -> impl Strategy<Value = String> {
    let method = prop::sample::select(vec!["GET", "POST", "HEAD", "BREW", ""]);
    let fields = pieces(&["\nCookie: f=g", "\nCookie: f", "\nHost: a.example", "\nX: y"], 3);
    (method, pieces(TARGET, 8), fields)
        .prop_map(|(method, target, fields)| format!("{method} /{target}{fields}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rules(lines in pieces(RULES, 14), request in request()) {
        web::rules(format!("{lines}\0{request}").as_bytes());
    }

    #[test]
    fn noise(data in vec(any::<u8>(), 0..400)) {
        web::rules(&data);
    }
}
