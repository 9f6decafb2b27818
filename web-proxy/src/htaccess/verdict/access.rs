//! Who may have what, and what must not run.

use std::path::Path;

use super::scope::Scope;
use super::{Verdict, covered, not, rules};
use crate::docroot::is_script;
use crate::htaccess::InForce;
use crate::htaccess::in_force::There;
use crate::htaccess::parse::Directive;

/// mod_authz_core, and what mod_access_compat keeps of the time before it.
pub(super) fn require(
    directive: &Directive,
    all: &[Directive],
    scope: &Scope<'_>,
    in_force: &InForce<'_>,
) -> Verdict {
    let words: Vec<String> = directive.args.iter().map(|arg| arg.to_ascii_lowercase()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let name = directive.name.to_ascii_lowercase();
    match (name.as_str(), &words[..]) {
        ("require", ["all", "denied"]) | ("deny", ["from", "all"]) => denial(scope, in_force),
        // Who is named by no Allow is denied.
        ("order", ["allow,deny"]) if !has_sibling(directive, all, "allow") => denial(scope, in_force),
        ("order", _) => Verdict::Irrelevant { why: "it orders the directives beside it" },
        ("require", ["all", "granted"]) | ("allow", ["from", "all"]) => permission(scope, in_force),
        ("require", ["ip" | "host" | "local" | "not", ..]) | ("allow" | "deny", ["from", ..]) => not(
            format!("name = \"…\", {}, unless = {{ client = \"10.0.0.0/8\" }}, deny = true", about(scope)),
        ),
        ("satisfy", ["all"]) => Verdict::Irrelevant { why: "it is the default" },
        _ => not("there is no password check here: let the application do it, or what stands in front"),
    }
}

fn has_sibling(directive: &Directive, all: &[Directive], name: &str) -> bool {
    all.iter().any(|other| other.is(name) && other.within == directive.within)
}

/// Whether the rules deny all that the directive denies.
fn denial(scope: &Scope<'_>, in_force: &InForce<'_>) -> Verdict {
    let paths = scope.paths();
    let fates: Vec<_> =
        paths.iter().map(|path| (path, in_force.fate(path, There::File).denied_by())).collect();
    let open: Vec<&str> =
        fates.iter().filter(|(_, by)| by.is_none()).map(|(path, _)| path.as_str()).take(3).collect();
    if scope.is_unclear || paths.is_empty() {
        return not(format!("its expression is not understood here; {}, deny = true", about(scope)));
    }
    if open.is_empty() {
        return covered(rules(fates.iter().filter_map(|(_, by)| *by)));
    }
    not(format!("{} would be sent; write {}, deny = true", open.join(" and "), about(scope)))
}

/// Whether a rule denies what the directive opens.
fn permission(scope: &Scope<'_>, in_force: &InForce<'_>) -> Verdict {
    if scope.names.is_none() && scope.directory.is_empty() {
        return Verdict::Irrelevant { why: "nobody is denied without a rule" };
    }
    let denied = scope.paths().into_iter().find_map(|path| {
        let by = in_force.fate(&path, There::File).denied_by()?.to_owned();
        Some((path, by))
    });
    match denied {
        None => Verdict::Irrelevant { why: "nothing denies it" },
        Some((path, by)) => {
            not(format!("{by} denies {path}; write {}, serve = true, before = \"{by}\"", about(scope)))
        }
    }
}

/// SetHandler and its like: to run something, or to run nothing.
pub(super) fn handler(directive: &Directive, scope: &Scope<'_>, in_force: &InForce<'_>) -> Verdict {
    let handler = directive.arg(0).to_ascii_lowercase();
    let runs_php = handler.starts_with("proxy:") || handler.contains("httpd-php");
    if directive.is("RemoveHandler") {
        return if directive.args.iter().any(|extension| is_php(extension)) {
            no_execution(scope, in_force)
        } else {
            Verdict::Irrelevant { why: "only .php has a handler here" }
        };
    }
    if runs_php {
        let others = directive.args.iter().skip(1).any(|extension| !is_php(extension));
        return if others { not("only .php files run") } else { covered("fastcgi") };
    }
    if directive.is("AddHandler") {
        return match handler.as_str() {
            // Sites are told to send scripts to a handler that nobody configured, or to CGI without ExecCGI.
            "cgi-script" | "default-handler" | "text/plain"
                if directive.args.iter().any(|arg| is_php(arg)) =>
            {
                no_execution(scope, in_force)
            }
            _ => not("there is no such handler: only .php files run"),
        };
    }
    match handler.as_str() {
        "server-status" | "server-info" | "cgi-script" | "type-map" | "imap-file" | "send-as-is" => {
            not("there is no such handler here")
        }
        _ => no_execution(scope, in_force),
    }
}

fn is_php(extension: &str) -> bool {
    extension.trim_start_matches('.').eq_ignore_ascii_case("php")
}

/// Settings of PHP within Apache.
pub(super) fn php(directive: &Directive, scope: &Scope<'_>, in_force: &InForce<'_>) -> Verdict {
    let off = ["off", "0", "false"].iter().any(|off| directive.arg(1).eq_ignore_ascii_case(off));
    if directive.arg(0).eq_ignore_ascii_case("engine") && off {
        return no_execution(scope, in_force);
    }
    if scope.of_mod_php {
        return Verdict::Irrelevant {
            why: "it counts for PHP within Apache; PHP-FPM has php.ini and .user.ini",
        };
    }
    not("a setting of PHP: write it into php.ini, a .user.ini, or php_value[…] of PHP-FPM's pool")
}

/// Whether no script runs in the directory and below it.
fn no_execution(scope: &Scope<'_>, in_force: &InForce<'_>) -> Verdict {
    let named = scope.names.as_ref().filter(|names| names.iter().any(|name| is_script(Path::new(name))));
    if scope.names.is_some() && named.is_none() {
        return Verdict::Irrelevant { why: "only .php files run" };
    }
    let directory = &scope.directory;
    let scripts = ["x.php", "x/x.php", "index.php", "core/x.php", "x/core/x.php"]
        .into_iter()
        .map(|name| format!("{directory}/{name}"));
    let present = scope.present.iter().filter(|name| is_script(Path::new(name)));
    let scripts: Vec<String> = scripts.chain(present.map(|name| format!("{directory}/{name}"))).collect();
    let mut by = Vec::new();
    for script in &scripts {
        let plain = in_force.fate(script, There::File).denied_by();
        let (Some(rule), Some(_)) = (plain, in_force.fate_of_script(script, "/x").denied_by()) else {
            let path = if directory.is_empty() { "/**" } else { directory };
            return not(format!(
                "{script} would run; write path = [\"{path}/**.php\", \"{path}/**.php/**\"], found = \"file\", \
                 deny = true"
            ));
        };
        by.push(rule);
    }
    covered(rules(by))
}

/// The matcher for what the directive is about, as a rule says it.
fn about(scope: &Scope<'_>) -> String {
    let directory = &scope.directory;
    let path = if directory.is_empty() { String::new() } else { format!("path = \"{directory}/**\", ") };
    match (&scope.pattern, &scope.names) {
        (Some(pattern), _) => format!("{path}file = {pattern:?}"),
        (None, Some(names)) => {
            let some: Vec<String> = names.iter().take(4).map(|name| format!("{name:?}")).collect();
            let more = if names.len() > 4 { ", …" } else { "" };
            format!("{path}file = [{}{more}]", some.join(", "))
        }
        (None, None) => format!("path = \"{directory}/**\""),
    }
}
