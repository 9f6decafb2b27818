//! A status as JSON, or as a page where a browser asks for it.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Page, html, json};

/// Answers with `status` as JSON, or as HTML where `Accept` names that.
pub fn status_page(request: &Request<Bytes>, title: &str, status: &impl Serialize) -> Page {
    // Numbers, texts and lists of them always make JSON.
    if wants_html(request.headers()) {
        let value = serde_json::to_value(status).unwrap_or_default();
        return html(StatusCode::OK, readable(title, &value));
    }
    let mut body = serde_json::to_vec_pretty(status).unwrap_or_default();
    body.push(b'\n');
    json(StatusCode::OK, body)
}

/// Browsers name it first; programs that take anything get JSON.
fn wants_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|range| {
        range.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/html"))
    })
}

/// Objects are sections, lists of objects are tables.
fn readable(title: &str, value: &Value) -> String {
    let mut out = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <meta http-equiv=refresh content=5><title>{title}</title><style>{STYLE}</style><h1>{title}</h1>\n",
        title = Escaped(title),
    );
    section(&mut out, value, 2);
    out
}

const STYLE: &str = ":root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:2em}\
    h1{font-size:1.5em}h2{font-size:1.2em;margin-top:1.5em}h3,h4,h5,h6{font-size:1em}\
    table{border-collapse:collapse;margin:.5em 0}\
    th,td{text-align:left;vertical-align:top;padding:.15em 1.2em .15em 0;border-bottom:1px solid #8884}\
    th{font-weight:600}td{font-variant-numeric:tabular-nums}";

const LEADING: [&str; 5] = ["endpoint", "node", "server", "lane", "state"];

/// Headings below it have this level.
fn section(out: &mut String, value: &Value, level: usize) {
    let Value::Object(fields) = value else {
        return write(out, format_args!("<p>{}</p>\n", Cell(value)));
    };
    let (nested, plain): (Vec<_>, Vec<_>) = fields.iter().partition(|(_, value)| is_nested(value));
    if !plain.is_empty() {
        out.push_str("<table>");
        for (name, value) in plain {
            write(out, format_args!("<tr><th>{}</th><td>{}</td></tr>", Words(name), Cell(value)));
        }
        out.push_str("</table>\n");
    }
    for (name, value) in nested {
        let level = level.min(6);
        write(out, format_args!("<h{level}>{}</h{level}>\n", Words(name)));
        match value {
            Value::Array(rows) => table(out, rows),
            value => section(out, value, level + 1),
        }
    }
}

fn table(out: &mut String, rows: &[Value]) {
    let mut columns: Vec<&String> = Vec::new();
    // They come in the order of the alphabet: what a row is about goes first.
    for name in rows.iter().filter_map(Value::as_object).flat_map(Map::keys) {
        if !columns.contains(&name) {
            columns.push(name);
        }
    }
    columns.sort_by_key(|name| LEADING.iter().position(|leading| leading == name).unwrap_or(LEADING.len()));
    out.push_str("<table><tr>");
    for name in &columns {
        write(out, format_args!("<th>{}</th>", Words(name)));
    }
    out.push_str("</tr>\n");
    for row in rows {
        out.push_str("<tr>");
        for name in &columns {
            write(out, format_args!("<td>{}</td>", Cell(row.get(name.as_str()).unwrap_or(&Value::Null))));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table>\n");
}

fn is_nested(value: &Value) -> bool {
    match value {
        Value::Object(_) => true,
        Value::Array(values) => values.iter().any(Value::is_object),
        _ => false,
    }
}

fn write(out: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(what);
}

/// A value within a cell.
struct Cell<'a>(&'a Value);

impl std::fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Value::Null => f.write_str("–"),
            Value::Bool(yes) => f.write_str(if *yes { "yes" } else { "no" }),
            Value::String(text) => Escaped(text).fmt(f),
            Value::Number(number) => number.fmt(f),
            Value::Array(values) if values.is_empty() => f.write_str("none"),
            Value::Array(values) => {
                for (place, value) in values.iter().enumerate() {
                    if place > 0 {
                        f.write_str(", ")?;
                    }
                    Cell(value).fmt(f)?;
                }
                Ok(())
            }
            Value::Object(_) => Escaped(&self.0.to_string()).fmt(f),
        }
    }
}

/// A key as words.
struct Words<'a>(&'a str);

impl std::fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Escaped(&self.0.replace('_', " ")).fmt(f)
    }
}

/// Text that means nothing to a browser.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn browsers_get_a_page() {
        for (accept, html) in [
            ("text/html,application/xhtml+xml,*/*;q=0.8", true),
            ("TEXT/HTML;q=0.9", true),
            ("*/*", false),
            ("application/json", false),
            ("", false),
        ] {
            let request = Request::builder().header("accept", accept).body(Bytes::new()).unwrap_or_default();
            let page = status_page(&request, "t", &json!({"a": 1}));
            let kind = page.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            assert_eq!(kind.is_some_and(|kind| kind.starts_with("text/html")), html, "{accept}");
        }
    }

    #[test]
    fn objects_are_sections_and_lists_tables() {
        let page = readable(
            "<gateway>",
            &json!({
                "in_flight": 3,
                "galera": {
                    "writer": null,
                    "alarms": [],
                    "readers": ["a", "b"],
                    "nodes": [{"a": 1, "node": "a", "usable": true}, {"node": "<b>", "trouble": "x & y"}],
                },
            }),
        );
        for part in [
            "<h1>&lt;gateway&gt;</h1>",
            "<tr><th>in flight</th><td>3</td></tr>",
            "<h2>galera</h2>\n<table>",
            "<th>writer</th><td>–</td>",
            "<th>alarms</th><td>none</td>",
            "<th>readers</th><td>a, b</td>",
            "<h3>nodes</h3>\n<table><tr><th>node</th><th>a</th><th>usable</th><th>trouble</th></tr>\n",
            "<tr><td>a</td><td>1</td><td>yes</td><td>–</td></tr>\n<tr><td>&lt;b&gt;</td><td>–</td><td>–</td><td>x &amp; y</td></tr>",
        ] {
            assert!(page.contains(part), "{part}\nin {page}");
        }
    }
}
