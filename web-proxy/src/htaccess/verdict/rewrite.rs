//! mod_rewrite and mod_alias.

use std::path::Path;

use common::rules::Text;

use super::scope::{Scope, as_text};
use super::{Verdict, covered, not, rules};
use crate::docroot::is_script;
use crate::htaccess::InForce;
use crate::htaccess::in_force::There;
use crate::htaccess::parse::Directive;
use crate::htaccess::samples;

/// A RewriteRule with its RewriteConds.
pub(super) fn rule(
    directive: &Directive,
    conditions: &[&Directive],
    scope: &Scope<'_>,
    in_force: &InForce<'_>,
) -> Verdict {
    if let Some(why) = scope.idle {
        return Verdict::Irrelevant { why };
    }
    let (pattern, target) = (directive.arg(0), directive.arg(1));
    let flags = flags(directive.arg(2));
    let has = |names: &[&str]| flags.iter().any(|(name, _)| names.contains(&name.as_str()));
    if has(&["f", "forbidden", "g", "gone"]) {
        return forbidden(pattern, conditions, &flags, scope, in_force);
    }
    if target == "-" {
        return unchanged(pattern, &flags, scope, in_force);
    }
    if has(&["p", "proxy"]) {
        return not("this proxy sends nothing to other servers: do it in edge-cache, with a rule's `origin`");
    }
    if has(&["r", "redirect"]) || target.contains("://") {
        return redirect(target, &flags, conditions, in_force);
    }
    let tests: Vec<&str> = conditions.iter().map(|condition| condition.arg(0)).collect();
    // Drupal: aggregates that lie compressed beside themselves.
    if Path::new(target).extension().is_some_and(|extension| extension == "gz")
        && tests.contains(&r"%{REQUEST_FILENAME}\.gz")
    {
        return if in_force.sends_gzip() { covered("precompressed") } else { not("`--precompressed gzip`") };
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if !query.is_empty() {
        let fate = in_force.fate(&absolute(scope, path), There::File);
        // Drupal's installer is told so that clean URLs work.
        if fate.query() == Some(query) {
            return covered("add-query of a rule");
        }
        return not(format!(
            "path = {:?}, add-query = {query:?}, or front-controller",
            absolute(scope, path)
        ));
    }
    let missing_alone = conditions.iter().filter(|condition| condition.arg(0) == "%{REQUEST_FILENAME}");
    let missing_alone =
        missing_alone.filter(|condition| matches!(condition.arg(1), "!-f" | "!-d")).count() == 2;
    if is_script(Path::new(path)) && missing_alone {
        return for_what_is_missing(path, conditions, scope, in_force);
    }
    not("a rule with `redirect`, or with `front-controller` where a script answers what is not there")
}

/// `-`: the path stays, and the flags do something.
fn unchanged(
    pattern: &str,
    flags: &[(String, String)],
    scope: &Scope<'_>,
    in_force: &InForce<'_>,
) -> Verdict {
    let mut by = Vec::new();
    for (name, value) in flags {
        match name.as_str() {
            "e" | "env" => {
                let variable = value.split(':').next().unwrap_or_default().trim_start_matches('!');
                match variable {
                    "HTTP_AUTHORIZATION" => by.push("Authorization always reaches PHP"),
                    // Of Drupal's own file: one is for a redirect that it has commented out, two for mod_deflate
                    // and mod_brotli.
                    "protossl" | "no-gzip" | "no-brotli" => {}
                    other => return not(format!("set-params = {{ {other} = \"…\" }}")),
                }
            }
            "t" | "type" => {
                let paths: Vec<String> = names(pattern).iter().map(|name| absolute(scope, name)).collect();
                let wanted = value.to_ascii_lowercase();
                let same = |path: &String| in_force.fate(path, There::File).media_type() == wanted;
                if paths.is_empty() || !paths.iter().all(same) {
                    return not(format!("type = {value:?} of a rule"));
                }
                by.push("type of a rule");
            }
            "l" | "last" | "end" | "nc" | "nocase" | "qsa" | "ns" | "nosubreq" => {}
            other => return not(format!("the flag {other} has no counterpart")),
        }
    }
    if by.is_empty() { Verdict::Irrelevant { why: "it changes nothing" } } else { covered(rules(by)) }
}

/// Whether the rules deny what the expression fits. Conditions only make it fewer.
fn forbidden(
    pattern: &str,
    conditions: &[&Directive],
    flags: &[(String, String)],
    scope: &Scope<'_>,
    in_force: &InForce<'_>,
) -> Verdict {
    // A rule of ours that denies more is a rule that covers it; but only the path is asked for here.
    let by_path =
        |condition: &&Directive| ["%{REQUEST_URI}", "%{REQUEST_FILENAME}"].contains(&condition.arg(0));
    if !conditions.iter().all(by_path) {
        return not(
            "a rule with matchers for its conditions (query, header, client, method), and deny = true",
        );
    }
    let pattern = pattern.strip_prefix('!').map_or(pattern, |_| "");
    let ignores_case = flags.iter().any(|(name, _)| matches!(name.as_str(), "nc" | "nocase"));
    let mut made = names(pattern);
    if ignores_case {
        made.extend(made.clone().iter().map(|name| name.to_ascii_uppercase()));
    }
    // What cannot be read excepts nothing: then more has to be denied.
    let excepted: Vec<Text> = conditions
        .iter()
        .filter_map(|condition| Text::plain(&format!("~{}", condition.arg(1).strip_prefix('!')?)).ok())
        .collect();
    let mut by = Vec::new();
    let mut asked = false;
    for name in made {
        let path = absolute(scope, &name);
        if excepted.iter().any(|excepted| excepted.matches(path.as_bytes())) {
            continue;
        }
        asked = true;
        // What runs stands in front of its PATH_INFO.
        let fate = match path.split_once(".php/") {
            Some((script, rest)) => in_force.fate_of_script(&format!("{script}.php"), &format!("/{rest}")),
            None => in_force.fate(&path, There::File),
        };
        let Some(rule) = fate.denied_by() else {
            let text = pattern_of_paths(pattern, scope).unwrap_or_else(|| path.clone());
            return not(format!("{path} would be answered; write path = {text:?}, deny = true"));
        };
        by.push(rule);
    }
    if asked {
        covered(rules(by))
    } else {
        not("its expression is not understood here; path = \"…\", deny = true")
    }
}

fn redirect(
    target: &str,
    flags: &[(String, String)],
    conditions: &[&Directive],
    in_force: &InForce<'_>,
) -> Verdict {
    // Drupal's scripts that have moved.
    if target == "%1/core/%2" {
        let moved = in_force.fate("/x/install.php", There::Nothing).redirected();
        if let Some((rule, _, location)) = moved
            && location == "/x/core/install.php"
        {
            return covered(rule);
        }
    }
    let status = flags.iter().find(|(name, _)| matches!(name.as_str(), "r" | "redirect"));
    let status = status.map_or("302", |(_, value)| match value.as_str() {
        "" | "temp" => "302",
        "permanent" => "301",
        "seeother" => "303",
        other => other,
    });
    let tests = conditions.iter().map(|condition| condition.arg(0)).collect::<Vec<_>>().join(" ");
    let hint = if tests.contains("HTTPS") || tests.contains("SERVER_PORT") {
        "scheme = \"http\", redirect = \"https://{host}{target}\""
    } else if tests.contains("HTTP_HOST") {
        "host = \"…\", redirect = \"https://www.example.org{target}\""
    } else {
        "path = \"…\", redirect = \"…{?query}\""
    };
    not(format!("{hint}, redirect-status = {status}"))
}

/// The front controller.
fn for_what_is_missing(
    path: &str,
    conditions: &[&Directive],
    scope: &Scope<'_>,
    in_force: &InForce<'_>,
) -> Verdict {
    for condition in conditions {
        match (condition.arg(0), condition.arg(1)) {
            ("%{REQUEST_FILENAME}", "!-f" | "!-d" | "!-l") => {}
            ("%{REQUEST_URI}", excepted) if excepted.starts_with("!=") => {
                let excepted = &excepted[2..];
                if in_force.fate(excepted, There::Nothing).denied_by().is_none() {
                    return not(format!("path = {excepted:?}, found = \"nothing\", deny = 404"));
                }
            }
            _ => return not("front-controller of a rule, with matchers for its conditions"),
        }
    }
    front_controller(path, scope, in_force)
}

pub(super) fn front_controller(path: &str, scope: &Scope<'_>, in_force: &InForce<'_>) -> Verdict {
    if path.eq_ignore_ascii_case("disabled") {
        return match in_force.front_controller(&scope.directory) {
            None => covered("front-controller"),
            Some(_) => not(format!("path = \"{}/**\", front-controller = \"none\"", scope.directory)),
        };
    }
    let wanted = absolute(scope, path);
    if in_force.front_controller(&scope.directory).as_deref() == Some(wanted.as_str()) {
        return covered("front-controller");
    }
    match scope.directory.as_str() {
        "" => not(format!("`--front-controller {wanted}`")),
        directory => not(format!("path = \"{directory}/**\", front-controller = {wanted:?}")),
    }
}

/// mod_alias.
pub(super) fn alias(directive: &Directive) -> Verdict {
    let mut args = directive.args.iter().map(String::as_str).peekable();
    let status = match args.peek().map(|arg| arg.to_ascii_lowercase()).as_deref() {
        Some("permanent" | "301") => args.next().map(|_| "301"),
        Some("temp" | "302") => args.next().map(|_| "302"),
        Some("seeother" | "303") => args.next().map(|_| "303"),
        Some("gone" | "410") => {
            args.next();
            return not(format!("path = {:?}, deny = 410", args.next().unwrap_or_default()));
        }
        _ if directive.is("RedirectPermanent") => Some("301"),
        _ => Some("302"),
    };
    let (from, to) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
    let status = status.unwrap_or("302");
    if directive.is("RedirectMatch") {
        return not(format!("path = \"~{from}\", redirect = {to:?}, redirect-status = {status}"));
    }
    not(format!("path = {from:?}, redirect = \"{to}{{?query}}\", redirect-status = {status}"))
}

/// Paths below the directory of the .htaccess that the expression of a RewriteRule fits.
fn names(pattern: &str) -> Vec<String> {
    samples::of_expression(pattern).unwrap_or_default()
}

/// The expression of a RewriteRule, which begins behind the directory, as a rule's `path` takes it.
fn pattern_of_paths(pattern: &str, scope: &Scope<'_>) -> Option<String> {
    let directory = &scope.directory;
    match pattern.strip_prefix('^') {
        // Each of several beginnings would need it.
        _ if pattern.contains("|^") => None,
        Some(rest) if rest.contains('|') => as_text(&format!("^{directory}/(?:{rest})")),
        Some(rest) => as_text(&format!("^{directory}/{rest}")),
        None if directory.is_empty() => as_text(pattern),
        None => None,
    }
}

fn absolute(scope: &Scope<'_>, path: &str) -> String {
    match path.strip_prefix('/') {
        Some(_) => path.to_owned(),
        None => format!("{}/{path}", scope.directory),
    }
}

/// `[L,R=301,E=a:b]`: names in lower case, and values.
fn flags(text: &str) -> Vec<(String, String)> {
    let inner = text.trim_start_matches('[').trim_end_matches(']');
    inner
        .split(',')
        .map(|flag| flag.split_once('=').unwrap_or((flag, "")))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .filter(|(name, _)| !name.is_empty())
        .collect()
}
