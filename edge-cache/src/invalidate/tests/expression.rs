use proptest::prelude::*;

use super::*;
use crate::invalidate::Subject;
use crate::invalidate::expression::{Expression, Field};

fn subject() -> Arc<Stored> {
    let index = TagIndex::default();
    let fields = [("content-type", "image/png"), ("x-a", "one"), ("x-a", "two")];
    let tags = index.tags(&names(&["node:1", "list"]));
    response("https://www.example.org:8443/news/1.html?page=2", &HeaderMap::new(), &fields, tags, "")
}

#[test]
fn conditions() {
    let stored = subject();
    let cases = [
        ("host == www.example.org", true),
        ("host == www.example.org:8443", true),
        ("host == WWW.Example.org", true),
        ("host == *.example.org", true),
        ("host == example.org", false),
        ("host == www.example.org:80", false),
        ("host ~ EXAMPLE", true),
        ("host ~ ^example", false),
        ("host != a.example", true),
        ("path == /news/1.html", true),
        ("path == /news/*", true),
        ("path == *.html", true),
        ("path == *.html?page=2", true),
        ("path == *.html?page=3", false),
        ("path ~ ^/news/", true),
        ("path ~ page", false),
        ("path !~ page", true),
        ("url == /news/1.html", false),
        ("url == /news/1.html?page=2", true),
        ("url ~ page=2$", true),
        ("req.url ~ ^/news/ && req.http.host == www.example.org", true),
        ("req.url ~ ^/news/ && req.http.host == other.example", false),
        ("status == 200", true),
        ("status != 2*", false),
        ("obj.status ~ ^4", false),
        ("header.content-type == image/*", true),
        ("header.Content-Type == image/PNG", false),
        ("obj.http.content-type ~ (?i)PNG", true),
        ("header.x-a == two", true),
        ("header.x-a != two", false),
        ("header.x-a !~ three", true),
        ("header.absent == *", false),
        ("header.absent != *", true),
        ("header.absent ~ .", false),
        ("header.absent !~ .", true),
        ("tag == node:1", true),
        ("tag == node:10", false),
        ("tag == node:*", true),
        ("tag != list", false),
        ("obj.http.cache-tags ~ ^node:1$", true),
        ("header.Surrogate-Key == node:2", false),
        ("  host==www.example.org&&path~^/news/  ", true),
        (r#"path ~ "^/news/\d\.html$""#, true),
        (r#"header.content-type == "image/png""#, true),
        (r#"header.x-a == "t\"wo""#, false),
    ];
    for (text, expected) in cases {
        let expression = Expression::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(expression.matches(Subject::of(&stored)), expected, "{text}");
        assert_eq!(Expression::parse(&expression.to_string()), Ok(expression), "{text}");
    }
}

#[test]
fn errors_name_the_place_and_what_is_accepted() {
    let cases = [
        ("", 1, "found the end, expected host, path, url, status, tag or header.NAME"),
        ("hosts == a", 1, "found \"hosts\", expected host, path"),
        ("header. == a", 1, "found \"header.\", expected host"),
        ("host = a", 6, "found \"=\", expected == or !="),
        ("host", 5, "found the end, expected == or !="),
        ("host ==", 8, "found the end, expected a value"),
        ("host == && path == /", 9, "found \"&&\", expected a value"),
        (
            "host == a || path == /",
            11,
            "found \"||\", expected && or the end (for \"or\", send one ban for each)",
        ),
        ("host == \"a", 11, "found the end, expected a double quote"),
        ("host == a && ", 14, "found the end, expected host"),
        ("path == \u{e9} && url ~ (", 20, "the regular expression \"(\" cannot be used: unclosed group"),
        ("path ~ (a{900}){900}", 8, "it is too large"),
    ];
    for (text, at, why) in cases {
        let error = Expression::parse(text).unwrap_err();
        assert_eq!(error.at, at, "{text}: {error}");
        assert!(error.to_string().contains(why), "{text}: {error}");
    }
    let many = vec!["host == a"; 33].join(" && ");
    assert!(Expression::parse(&many).unwrap_err().to_string().contains("more than 32"));
}

#[test]
fn what_is_everything_and_what_covers_a_key() {
    for (text, is_everything) in [
        ("host == *", true),
        ("path == /*", true),
        ("path == * && url == /*", true),
        ("path == /* && host == a", false),
        ("path == /", false),
        ("path == \"\"", false),
        ("header.a == *", false),
        ("host != *", false),
        ("path ~ .*", false),
    ] {
        assert_eq!(Expression::parse(text).unwrap().is_everything(), is_everything, "{text}");
    }
    let key = key("http://a.example/x?y");
    for (text, covers) in [
        ("host == a.example", true),
        ("host == a.example && url ~ ^/x", true),
        ("host == b.example", false),
        ("host == a.example && status == 200", false),
        ("tag != a", false),
    ] {
        assert_eq!(Expression::parse(text).unwrap().covers(&key), covers, "{text}");
    }
}

#[test]
fn a_glob_is_cheap() {
    let long = format!("http://a/{}", "a".repeat(10_000));
    let stored = response(&long, &HeaderMap::new(), &[], TagIndex::default().tags(&[]), "");
    let glob = Expression::of_value(Field::Path, &format!("{}b", "*a".repeat(200))).unwrap();
    assert!(!glob.matches(Subject::of(&stored)));
    for (pattern, path, expected) in [
        ("/a", "a", true),
        ("/a", "ab", false),
        ("/a*", "a", true),
        ("/a*", "a/b", true),
        ("*", "", true),
        ("/*/b", "a/a/b", true),
        ("/*/b", "a/a/c", false),
        ("*a*b*", "xxaxxbxx", true),
        ("*a*b*", "xxbxxaxx", false),
        ("", "a", false),
    ] {
        let glob = Expression::of_value(Field::Path, pattern).unwrap();
        assert_eq!(glob.covers(&key(&format!("http://x/{path}"))), expected, "{pattern} {path}");
    }
}

proptest! {
    #[test]
    fn any_text_is_an_expression_or_an_error(text in "\\PC{0,80}") {
        let _ = Expression::parse(&text);
    }

    #[test]
    fn nearly_right_texts_too(words in prop::collection::vec(
        prop::sample::select(vec!["host", "path", "header.a", "tag", "==", "!=", "~", "!~", "&&", "\"", "\\\"", "a", "(", "*", "\u{e9}"]),
        0..20,
    ), joint in prop::sample::select(vec!["", " "])) {
        let text = words.join(joint);
        match Expression::parse(&text) {
            Ok(expression) => prop_assert!(!expression.to_string().is_empty()),
            Err(error) => prop_assert!(error.at <= text.chars().count() + 1),
        }
    }
}
