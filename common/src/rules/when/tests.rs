#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use http::{HeaderMap, Request};

use super::*;
use crate::rules::{Source, decoded_path};

fn when(matchers: &str) -> Result<When, RuleError> {
    let text = format!("[[rule]]\nname = \"x\"\n{matchers}\n");
    let read = |table: &Table<'_>| {
        table.get("name");
        let when = When::read(table)?;
        table.finish()?;
        Ok(when)
    };
    Ok(Source { name: "edge.toml", text: &text }.each("rule", read)?.remove(0))
}

fn fits(matchers: &str, request: &str) -> bool {
    let mut lines = request.split('|');
    let (method, target) = lines.next().unwrap().split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    let method = Request::builder().method(method).body(()).unwrap().method().clone();
    when(matchers).unwrap().fits(&Subject {
        method: &method,
        scheme: "http",
        host: "www.example.org",
        path: &decoded_path(path),
        query,
        headers: &headers,
        client: "10.1.2.3".parse().unwrap(),
    })
}

#[test]
fn every_matcher() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("", &["GET /", "POST /x?y"], &[]),
        ("method = \"GET\"", &["GET /"], &["HEAD /", "get /"]),
        ("method = [\"GET\", \"HEAD\"]", &["GET /", "HEAD /"], &["POST /"]),
        ("scheme = \"http\"", &["GET /"], &[]),
        ("scheme = \"https\"", &[], &["GET /"]),
        ("host = \"*.Example.org\"", &["GET /"], &[]),
        ("host = [\"example.org\", \"~^www\\\\.\"]", &["GET /"], &[]),
        ("host = \"example.org\"", &[], &["GET /"]),
        ("client = \"10.0.0.0/8\"", &["GET /"], &[]),
        ("client = [\"10.1.2.4\", \"::1\"]", &[], &["GET /"]),
        ("path = \"/admin/**\"", &["GET /admin/", "GET /%61dmin/x", "GET //x/..//admin/y"], &["GET /admin"]),
        ("path = [\"/a\", '~^/user/\\d+$']", &["GET /a", "GET /user/12"], &["GET /user/x", "GET /A"]),
        ("extension = [\"css\", \"js\"]", &["GET /a.css", "GET /b/a.min.JS"], &["GET /css", "GET /a.css/x"]),
        ("query = \"page\"", &["GET /?page", "GET /?a&page=1", "GET /?p%61ge"], &["GET /", "GET /?pages=1"]),
        ("query = [\"utm_*\"]", &["GET /?utm_source=x"], &["GET /?utm"]),
        ("query = { page = \"*\" }", &["GET /?page=", "GET /?page=a/b"], &["GET /?a=page"]),
        (
            "query = { page = \"1*\", preview = [\"true\", \"1\"] }",
            &["GET /?preview=1&page=12", "GET /?page=2&page=1&preview=true"],
            &["GET /?page=1", "GET /?page=1&preview=0"],
        ),
        ("query = { page = false }", &["GET /", "GET /?a"], &["GET /?page"]),
        ("query = { page = true }", &["GET /?page"], &["GET /"]),
        ("query = { q = \"a b\" }", &["GET /?q=a+b", "GET /?q=a%20b"], &["GET /?q=a%2Bb"]),
        (
            "header = { \"X-Requested-With\" = \"XMLHttpRequest\" }",
            &[
                "GET /|x-requested-with: XMLHttpRequest",
                "GET /|x-requested-with: a|x-requested-with: XMLHttpRequest",
            ],
            &["GET /", "GET /|x-requested-with: xmlhttprequest"],
        ),
        ("header = { X-A = false }", &["GET /"], &["GET /|x-a: "]),
        ("header = { X-A = \"\" }", &["GET /|x-a: "], &["GET /", "GET /|x-a: b"]),
        ("header = [\"X-A\", \"X-B\"]", &["GET /|x-b: 1"], &["GET /|x-c: 1"]),
        ("header = { X-A = true, X-B = true }", &["GET /|x-a: 1|x-b: 1"], &["GET /|x-b: 1"]),
        ("cookie = [\"SESS*\"]", &["GET /|cookie: a=1; SESS1=x"], &["GET /", "GET /|cookie: a=SESS1"]),
        ("cookie = { lang = \"de\" }", &["GET /|cookie: lang=de"], &["GET /|cookie: lang=en"]),
        ("cookie = { \"SESS*\" = false }", &["GET /|cookie: a=1"], &["GET /|cookie: SESS1=1"]),
        (
            "path = \"/a/**\"\nunless = { path = \"/a/b/**\", method = \"GET\" }",
            &["GET /a/c", "POST /a/b/c"],
            &["GET /a/b/c", "GET /c"],
        ),
        ("unless = [{ path = \"/a\" }, { query = \"b\" }]", &["GET /"], &["GET /a", "GET /?b", "GET /a?b"]),
        ("method = \"GET\"\npath = \"/a\"", &["GET /a"], &["GET /b", "POST /a"]),
    ];
    for (matchers, yes, no) in cases {
        for request in *yes {
            assert!(fits(matchers, request), "{matchers} {request}");
        }
        for request in *no {
            assert!(!fits(matchers, request), "{matchers} {request}");
        }
    }
}

#[test]
fn errors_say_where_they_stand_and_what_is_accepted() {
    let cases = [
        (
            "methd = \"GET\"",
            "edge.toml:3: rule \"x\": unknown key `methd` (did you mean `method`?); the keys are: ",
        ),
        ("method = \"get\"", "edge.toml:3: rule \"x\": method = \"get\": expected a method in capitals"),
        ("method = []", "edge.toml:3: rule \"x\": method = []: expected a string or a list of strings"),
        ("\nscheme = \"ftp\"", "edge.toml:4: rule \"x\": scheme = \"ftp\": expected \"http\" or \"https\""),
        ("path = \"{a\"", "edge.toml:3: rule \"x\": path = \"{a\": a brace without its partner"),
        ("path = '~(a'", "unclosed group"),
        ("path = 7", "edge.toml:3: rule \"x\": path = 7: expected a string"),
        ("extension = \".css\"", "extension = \".css\": expected what stands behind a name's last dot"),
        ("client = \"here\"", "client = \"here\": expected networks"),
        ("header = { \"a b\" = \"x\" }", "\"a b\" is no field name"),
        ("query = { a = 1 }", "query.a = 1: expected a string"),
        ("unless = {}", "unless = {  }: expected at least one matcher"),
        ("unless = { pth = \"/\" }", "unknown key `unless.pth` (did you mean `path`?)"),
    ];
    for (matchers, expected) in cases {
        let error = when(matchers).unwrap_err().to_string();
        assert!(error.contains(expected), "{matchers} gave {error}");
    }
}

#[test]
fn what_is_not_in_the_key_is_known() {
    for (matchers, expected) in [
        ("path = \"/a\"\nquery = \"a\"\nhost = \"b\"\nmethod = \"GET\"", false),
        ("cookie = \"a\"", true),
        ("header = \"a\"", true),
        ("client = \"::1\"", true),
        ("unless = { cookie = \"a\" }", true),
    ] {
        assert_eq!(when(matchers).unwrap().looks_beyond_the_key(), expected, "{matchers}");
    }
}

#[test]
fn what_looks_at_the_path_alone_is_known() {
    for (matchers, expected) in [
        ("", true),
        ("path = [\"/a\", \"~b\"]\nextension = \"css\"", true),
        ("path = \"/a\"\nunless = { path = \"/b\" }", true),
        ("path = \"/a\"\nmethod = \"GET\"", false),
        ("path = \"/a\"\nscheme = \"https\"", false),
        ("path = \"/a\"\nhost = \"b\"", false),
        ("path = \"/a\"\nquery = \"b\"", false),
        ("path = \"/a\"\nheader = \"b\"", false),
        ("path = \"/a\"\ncookie = \"b\"", false),
        ("path = \"/a\"\nclient = \"::1\"", false),
        ("path = \"/a\"\nunless = [{ path = \"/b\" }, { query = \"b\" }]", false),
    ] {
        assert_eq!(when(matchers).unwrap().looks_at_the_path_alone(), expected, "{matchers}");
    }
}
