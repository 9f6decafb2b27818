//! Header fields, media types, codings, expiry, and the environment.

use std::time::Duration;

use http::header::{CONTENT_ENCODING, HeaderName, HeaderValue, VARY};

use super::scope::Scope;
use super::{Verdict, covered, not};
use crate::htaccess::InForce;
use crate::htaccess::in_force::There;
use crate::htaccess::parse::Directive;

/// mod_headers on responses.
pub(super) fn header(directive: &Directive, scope: &Scope<'_>, in_force: &InForce<'_>) -> Verdict {
    let is_condition = |arg: &&String| ["always", "onsuccess"].iter().any(|it| it.eq_ignore_ascii_case(arg));
    let mut args = directive.args.iter().skip_while(is_condition).map(String::as_str);
    let action = args.next().unwrap_or_default().to_ascii_lowercase();
    let (name, value) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
    let value = if action == "unset" { "" } else { value };
    let Ok(field) = HeaderName::from_bytes(name.as_bytes()) else { return not("no name of a header field") };
    let conditional = directive.args.iter().any(|arg| arg.starts_with("env=") || arg.starts_with("expr="));
    let text = value.replace("%%", "%");
    // A rule that denies ends the evaluation, and the page for it is ours.
    let is_open = |path: &String| in_force.fate(path, There::File).denied_by().is_none();
    let paths: Vec<String> = scope.paths().into_iter().filter(is_open).collect();
    match action.as_str() {
        _ if conditional => not(format!(
            "a rule with matchers for its condition: set-response-headers = {{ {name} = {text:?} }}"
        )),
        "unset" => {
            let sent = HeaderValue::from_static("sent");
            let left = |path: &String| in_force.fate(path, There::File).field(&field, Some(&sent));
            if !paths.is_empty() && paths.iter().all(|path| left(path).as_ref() != Some(&sent)) {
                return covered("what a rule says of the field counts alone");
            }
            not(format!("remove-response-headers = {name:?}"))
        }
        "set" | "setifempty" | "add" | "append" | "merge" => {
            let is_coded = |path: &String| in_force.fate(path, There::File).coding().is_some();
            if (field == CONTENT_ENCODING || field == VARY) && !paths.is_empty() && paths.iter().all(is_coded)
            {
                return covered("what a rule says of how such files are compressed");
            }
            let is_set = |path: &String| {
                let value = in_force.fate(path, There::File).field(&field, None);
                value.is_some_and(|value| value.as_bytes() == text.as_bytes())
            };
            if !scope.is_unclear && !paths.is_empty() && paths.iter().all(is_set) {
                return covered("set-response-headers of a rule");
            }
            not(format!("set-response-headers = {{ {name} = {text:?} }}"))
        }
        _ => not(format!(
            "what a rule says of a field replaces it: set-response-headers = {{ {name} = \"…\" }}"
        )),
    }
}

/// mod_headers on requests.
pub(super) fn request_header(directive: &Directive) -> Verdict {
    let args: Vec<&String> = directive.args.iter().filter(|arg| *arg != "early").collect();
    let arg = |at: usize| args.get(at).map_or("", |arg| arg.as_str());
    let parameter = format!("HTTP_{}", arg(1).to_ascii_uppercase().replace('-', "_"));
    match arg(0).to_ascii_lowercase().as_str() {
        "unset" if arg(1).eq_ignore_ascii_case("proxy") => covered("no request's Proxy field reaches PHP"),
        "unset" => not(format!("remove-params = {parameter:?}")),
        "set" | "setifempty" | "add" | "append" => {
            not(format!("set-params = {{ {parameter} = {:?} }}", arg(2)))
        }
        _ => not("set-params and remove-params of a rule"),
    }
}

/// mod_env and mod_setenvif.
pub(super) fn environment(directive: &Directive) -> Verdict {
    let text = directive.args.join(" ");
    // As Debian's configuration for PHP-FPM has it, and many an .htaccess.
    if text.to_ascii_uppercase().contains("HTTP_AUTHORIZATION") {
        return covered("Authorization always reaches PHP");
    }
    if directive.is("BrowserMatch") || directive.is("BrowserMatchNoCase") {
        return Verdict::Irrelevant { why: "browsers whose connections need it are gone" };
    }
    match (directive.arg(0), directive.arg(1)) {
        (name, value) if directive.is("SetEnv") => not(format!("set-params = {{ {name} = {value:?} }}")),
        (name, _) if directive.is("UnsetEnv") => not(format!("remove-params = {name:?}")),
        _ => not("a rule with matchers and set-params"),
    }
}

/// mod_expires.
pub(super) fn expires(directive: &Directive, scope: &Scope<'_>, in_force: &InForce<'_>) -> Verdict {
    let by_type = directive.is("ExpiresByType");
    let text = directive.arg(usize::from(by_type));
    let extensions: Vec<String> = if by_type {
        let media_type = directive.arg(0).to_ascii_lowercase();
        let all = mime_guess::get_mime_extensions_str(&media_type).unwrap_or_default();
        all.iter()
            .filter(|extension| {
                in_force.fate(&format!("/x.{extension}"), There::File).media_type() == media_type
            })
            .map(ToString::to_string)
            .collect()
    } else {
        vec!["txt".into(), "css".into(), "jpg".into()]
    };
    let Some(wanted) = lifetime(text) else {
        return not(
            "`expires` of a rule counts from the request; what counts from the file's change does not exist",
        );
    };
    let paths = match &scope.names {
        Some(_) => scope.paths(),
        None => extensions.iter().map(|extension| format!("{}/x.{extension}", scope.directory)).collect(),
    };
    let same = |path: &String| in_force.fate(path, There::File).expires() == Some(wanted);
    if !paths.is_empty() && paths.iter().all(same) {
        return covered("expires of a rule");
    }
    let expires = format!("expires = \"{}s\", after = the preset's expires", wanted.as_secs());
    if by_type {
        return not(format!("extension = {extensions:?}, {expires}"));
    }
    not(format!("found = \"file\", {expires}"))
}

/// `access plus 1 year 2 days`, `now plus …`, or `A3600`.
fn lifetime(text: &str) -> Option<Duration> {
    if let Some(seconds) = text.strip_prefix('A') {
        return seconds.parse().ok().map(Duration::from_secs);
    }
    let mut words = text.split_whitespace();
    if !matches!(words.next()?, "access" | "now") {
        return None;
    }
    let mut total = 0_u64;
    let mut words = words.skip_while(|word| *word == "plus");
    while let Some(count) = words.next() {
        let unit = match words.next()?.trim_end_matches('s') {
            "year" => 365 * 86_400,
            "month" => 30 * 86_400,
            "week" => 7 * 86_400,
            "day" => 86_400,
            "hour" => 3_600,
            "minute" => 60,
            "second" => 1,
            _ => return None,
        };
        total = total.checked_add(count.parse::<u64>().ok()?.checked_mul(unit)?)?;
    }
    Some(Duration::from_secs(total))
}

/// mod_mime's types.
pub(super) fn media_type(directive: &Directive, scope: &Scope<'_>, in_force: &InForce<'_>) -> Verdict {
    let wanted = directive.arg(0).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let extensions: Vec<&str> =
        directive.args.iter().skip(1).map(|extension| extension.trim_start_matches('.')).collect();
    let paths = if directive.is("AddType") {
        extensions.iter().map(|extension| format!("{}/x.{extension}", scope.directory)).collect()
    } else {
        scope.paths()
    };
    if wanted.contains("httpd-php") {
        return if extensions == ["php"] { covered("fastcgi") } else { not("only .php files run") };
    }
    if !paths.is_empty() && paths.iter().all(|path| in_force.fate(path, There::File).media_type() == wanted) {
        return covered("the types of files");
    }
    if directive.is("AddType") {
        let types: Vec<String> = extensions.iter().map(|extension| format!("{extension}={wanted}")).collect();
        return not(format!(
            "`--types {}`, or extension = {extensions:?}, type = {wanted:?}",
            types.join(",")
        ));
    }
    not(format!("type = {wanted:?} of a rule"))
}

pub(super) fn encoding(directive: &Directive, scope: &Scope<'_>, in_force: &InForce<'_>) -> Verdict {
    let wanted = directive.arg(0).trim_start_matches("x-");
    let extensions: Vec<&str> =
        directive.args.iter().skip(1).map(|extension| extension.trim_start_matches('.')).collect();
    let is_so = |extension: &&str| {
        let coding = in_force.fate(&format!("{}/x.{extension}", scope.directory), There::File).coding();
        coding.is_some_and(|coding| coding.as_bytes() == wanted.as_bytes())
    };
    if !extensions.is_empty() && extensions.iter().all(is_so) {
        return covered("the types of files");
    }
    not(format!("extension = {extensions:?}, encoding = {wanted:?}"))
}

pub(super) fn charset(directive: &Directive) -> Verdict {
    if directive.arg(0).eq_ignore_ascii_case("utf-8") {
        return covered("text is sent as UTF-8");
    }
    not(format!("type = \"text/html; charset={}\" of a rule", directive.arg(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes() {
        let cases = [
            ("access plus 1 year", Some(31_536_000)),
            ("access plus 1 month 2 days", Some(32 * 86_400)),
            ("now plus 90 minutes", Some(5_400)),
            ("access 3 hours", Some(10_800)),
            ("A60", Some(60)),
            ("M60", None),
            ("modification plus 1 day", None),
            ("access plus one day", None),
            ("access plus 1 fortnight", None),
            ("access plus 99999999999999999999 days", None),
            ("access plus 9999999999999999 years", None),
        ];
        for (text, expected) in cases {
            assert_eq!(lifetime(text).map(|lifetime| lifetime.as_secs()), expected, "{text}");
        }
    }
}
