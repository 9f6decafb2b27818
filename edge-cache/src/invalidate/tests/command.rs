use common::http::forwarded::Scheme;
use common::listener::Peer;
use common::shutdown::Shutdown;
use http::Request;

use super::*;
use crate::invalidate::{Command, CommandError};
use crate::live::Live;
use crate::request::{Normalised, normalise};

fn live(preset: &str) -> Arc<Live> {
    let config = crate::Config::from_flags(["--preset", preset]).unwrap();
    Arc::new(Live::new(config, &Shutdown::new(Duration::ZERO), None).unwrap())
}

fn request(method: &str, target: &str, fields: &[(&'static str, &str)]) -> Normalised {
    request_under(&live("none"), method, target, fields)
}

fn request_under(
    live: &Arc<Live>,
    method: &str,
    target: &str,
    fields: &[(&'static str, &str)],
) -> Normalised {
    let mut request = Request::builder().method(method).uri(target).header("host", "a.example");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let peer = Peer::Tcp { client: "10.0.0.1:1".parse().unwrap(), local: "10.0.0.2:80".parse().unwrap() };
    let (head, ()) = request.body(()).unwrap().into_parts();
    normalise(head, &peer, Scheme::Http, Arc::clone(live)).unwrap()
}

/// Every form of a request with its JSON, and what both mean.
#[test]
fn requests_and_their_json() {
    type Case =
        (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str, &'static str);
    let cases: &[Case] = &[
        ("PURGE", "/x?y", &[], r#"{"url":"http://a.example/x?y"}"#, "hard purge of http://a.example/x?y"),
        (
            "PURGE",
            "http://A.example:80/x",
            &[],
            r#"{"url":"http://A.example:80/x"}"#,
            "hard purge of http://a.example/x",
        ),
        (
            "BAN",
            "/x",
            &[("x-purge-mode", "Soft")],
            r#"{"url":"https://a.example/x","soft":true}"#,
            "soft purge of http://a.example/x",
        ),
        (
            "PURGE",
            "/x",
            &[("fastly-soft-purge", "1")],
            r#"{"url":"http://a.example/x","soft":true}"#,
            "soft purge of http://a.example/x",
        ),
        (
            "PURGE",
            "/x/*",
            &[],
            r#"{"url":"http://a.example/x/*"}"#,
            "hard purge of what has host == a.example && path == /x/*",
        ),
        (
            "BAN",
            "/x/*",
            &[],
            r#"{"host":"a.example","path":"/x/*"}"#,
            "hard purge of what has host == a.example && path == /x/*",
        ),
        (
            "PURGE",
            "/x/.*",
            &[("x-purge-method", "regex")],
            r#"{"expression":"host == a.example && url ~ /x/.*"}"#,
            "hard purge of what has host == a.example && url ~ /x/.*",
        ),
        (
            "PURGE",
            "/x",
            &[("x-purge-method", "default")],
            r#"{"url":"http://a.example/x"}"#,
            "hard purge of http://a.example/x",
        ),
        (
            "BAN",
            "/",
            &[("cache-tags", "b a"), ("xkey", "a")],
            r#"{"tags":["a","b","a"]}"#,
            "hard purge of tags a b",
        ),
        ("BAN", "/tags", &[("surrogate-key", "b|a,c")], r#"{"tags":"a|b c"}"#, "hard purge of tags a b c"),
        ("PURGE", "/x", &[("cache-tag", "a")], r#"{"tags":"a"}"#, "hard purge of tags a"),
        (
            "BAN",
            "/",
            &[("cache-tags", "a"), ("x-ban-host", "b.example")],
            r#"{"tags":["a"],"host":"b.example"}"#,
            "hard purge of tags a where host == b.example",
        ),
        (
            "BAN",
            "/",
            &[("cache-tags", "a"), ("x-ban-path", "*")],
            r#"{"tags":["a"],"path":"*"}"#,
            "hard purge of tags a",
        ),
        (
            "BAN",
            "/",
            &[
                ("x-ban-host", "*.Example"),
                ("x-ban-path", "~^/news/"),
                ("x-ban-header", "Content-Type: image/*"),
            ],
            r#"{"host":"*.Example","path":"~^/news/","header":{"content-type":"image/*"}}"#,
            "hard purge of what has host == *.example && path ~ ^/news/ && header.content-type == image/*",
        ),
        (
            "BAN",
            "/",
            &[("x-ban-expression", "req.http.host == A.example && req.url ~ ^/n"), ("x-purge-mode", "soft")],
            r#"{"expression":"host == a.example && url ~ ^/n","soft":true}"#,
            "soft purge of what has host == a.example && url ~ ^/n",
        ),
        ("BAN", "/", &[("x-ban-path", "/*")], r#"{"path":"*"}"#, "hard purge of everything"),
        (
            "BAN",
            "/site",
            &[("x-purge-mode", "soft")],
            r#"{"everything":true,"soft":true}"#,
            "soft purge of everything",
        ),
        (
            "PURGE",
            "/*",
            &[],
            r#"{"url":"https://a.example/*"}"#,
            "hard purge of what has host == a.example && path == /*",
        ),
    ];
    for (method, target, fields, json, expected) in cases {
        let of_request = Command::of_request(&request(method, target, fields)).unwrap();
        assert_eq!(of_request.to_string(), *expected, "{method} {target} {fields:?}");
        assert_eq!(Command::of_json(json.as_bytes(), &live("none")).unwrap(), of_request, "{json}");
    }
}

#[test]
fn a_url_is_purged_for_both_schemes() {
    let command = Command::of_request(&request("PURGE", "/", &[])).unwrap();
    assert_eq!(command.scope, Scope::Url(vec![key("http://a.example/"), key("https://a.example/")]));
}

#[test]
fn drupal_purges_everything_by_the_path_of_the_site() {
    let command = |preset| {
        Command::of_request(&request_under(&live(preset), "PURGE", "/site", &[])).unwrap().to_string()
    };
    assert_eq!(command("drupal"), "hard purge of everything");
    assert_eq!(command("none"), "hard purge of http://a.example/site", "a page of that name");
}

#[test]
fn many_tags_are_logged_briefly() {
    let tags: Vec<String> = (10..500).map(|number| format!("node:{number}")).collect();
    let command = Command::of_request(&request("BAN", "/", &[("cache-tags", &tags.join(" "))])).unwrap();
    assert!(matches!(&command.scope, Scope::Tags(all) if all.len() == 490));
    assert!(command.to_string().ends_with("node:106 node:107 node:108 and 480 more"), "{command}");
}

#[test]
fn errors_say_what_is_accepted() {
    type Case = (&'static str, &'static [(&'static str, &'static str)], &'static str);
    let cases: &[Case] = &[
        ("BAN /", &[], "a BAN needs tags (Cache-Tags: a b) or conditions (X-Ban-Path"),
        ("BAN /tags", &[], "a BAN needs tags"),
        ("BAN /", &[("cache-tags", " , ")], "the list of tags is empty"),
        ("BAN /", &[("cache-tags", ""), ("x-ban-host", "a")], "the list of tags is empty"),
        ("PURGE /x", &[("x-ban-path", "/x")], "x-ban-path belongs to BAN"),
        ("PURGE /x", &[("x-purge-mode", "gentle")], "X-Purge-Mode is \"gentle\": expected hard or soft"),
        ("PURGE /x", &[("fastly-soft-purge", "yes")], "Fastly-Soft-Purge is \"yes\": expected 1 or 0"),
        (
            "PURGE /x",
            &[("x-purge-method", "glob")],
            "X-Purge-Method is \"glob\": expected regex, exact or default",
        ),
        (
            "PURGE /(",
            &[("x-purge-method", "regex")],
            "X-Purge-Method: regex: the regular expression \"/(\" cannot",
        ),
        (
            "BAN /",
            &[("x-ban-path", "~[")],
            "x-ban-path: the regular expression \"[\" cannot be used: unclosed",
        ),
        (
            "BAN /",
            &[("x-ban-header", "content-type")],
            "x-ban-header is \"content-type: \": expected NAME: VALUE",
        ),
        ("BAN /", &[("x-ban-header", "a b: c")], "x-ban-header is \"a b: c\": expected NAME: VALUE"),
        (
            "BAN /",
            &[("x-ban-expression", "host == a && pth == /")],
            "x-ban-expression: at character 14 of the expression: found \"pth\", expected host, path, url",
        ),
    ];
    for (line, fields, expected) in cases {
        let (method, target) = line.split_once(' ').unwrap();
        let error = Command::of_request(&request(method, target, fields)).unwrap_err();
        assert!(error.to_string().contains(expected), "{line} {fields:?}: {error}");
    }
    let cases = [
        ("", "EOF"),
        ("{}", "it names nothing"),
        (r#"{"soft":true}"#, "it names nothing"),
        (r#"{"everything":false}"#, "it names nothing"),
        (r#"{"tag":"x"}"#, "unknown field `tag`"),
        (r#"{"tags":[]}"#, "the list of tags is empty"),
        (r#"{"tags":[],"host":"a"}"#, "the list of tags is empty"),
        (r#"{"url":"nonsense"}"#, "\"nonsense\" is no http:// or https:// URL"),
        (r#"{"url":"http://a/","tags":["a"]}"#, "\"url\" and \"everything\" stand alone"),
        (r#"{"everything":true,"host":"a"}"#, "\"url\" and \"everything\" stand alone"),
        (r#"{"expression":"host"}"#, "expression: at character 5"),
        (r#"{"header":{"content-type":"~("}}"#, "header: the regular expression"),
        (r#"{"header":["content-type"]}"#, "invalid type"),
    ];
    for (json, expected) in cases {
        let error = Command::of_json(json.as_bytes(), &live("none")).unwrap_err();
        assert!(matches!(error, CommandError::Json(_)));
        let error = error.to_string();
        assert!(error.contains(expected), "{json}: {error}");
        assert!(error.contains("expected JSON such as"), "{error}");
    }
}
