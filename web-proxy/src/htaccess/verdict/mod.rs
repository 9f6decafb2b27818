//! A directive against what is in force.
//!
//! 1. [`Scope`]: which names, in which directory, and whether the sections around it count at all.
//! 2. [`access`]: what is denied, and what must not run. The rules are asked with such names.
//! 3. [`fields`]: header fields, types, codings, expiry.
//! 4. [`rewrite`]: mod_rewrite's conditions and rules, mod_alias, the front controller.
//! 5. What is left: options of Apache that do not arise here, and what nobody here knows.

mod access;
mod fields;
mod rewrite;
mod scope;

use std::path::Path;

use http::StatusCode;

use self::scope::Scope;
use super::InForce;
use super::parse::Directive;

/// What becomes of a directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A rule or an option does it.
    Covered { by: String },
    /// Nothing here does it.
    NotCovered { advice: String },
    /// It asks for nothing that could be different here.
    Irrelevant { why: &'static str },
}

/// Every directive with its verdict; the conditions of a RewriteRule share that of their rule.
pub(super) fn all<'d>(
    directives: &'d [Directive],
    directory: &Path,
    names: &[String],
    in_force: &InForce<'_>,
) -> Vec<(&'d Directive, Verdict)> {
    let mut verdicts = Vec::with_capacity(directives.len());
    let mut conditions: Vec<&Directive> = Vec::new();
    for directive in directives {
        if directive.is("RewriteCond") {
            conditions.push(directive);
            continue;
        }
        let scope = Scope::of(directive, directory, names);
        let verdict = if directive.is("RewriteRule") {
            rewrite::rule(directive, &std::mem::take(&mut conditions), &scope, in_force)
        } else {
            one(directive, directives, &scope, in_force)
        };
        verdicts.push((directive, verdict));
    }
    verdicts
}

fn one(directive: &Directive, all: &[Directive], scope: &Scope<'_>, in_force: &InForce<'_>) -> Verdict {
    if let Some(why) = scope.idle {
        return Verdict::Irrelevant { why };
    }
    let name = directive.name.to_ascii_lowercase();
    let verdict = match name.as_str() {
        "order" | "allow" | "deny" | "require" | "satisfy" => {
            access::require(directive, all, scope, in_force)
        }
        "sethandler" | "addhandler" | "removehandler" => access::handler(directive, scope, in_force),
        "php_flag" | "php_value" | "php_admin_flag" | "php_admin_value" => {
            access::php(directive, scope, in_force)
        }
        "authtype" | "authname" | "authuserfile" | "authgroupfile" | "authbasicprovider" => {
            not("there is no password check here: let the application do it, or what stands in front")
        }
        "header" => fields::header(directive, scope, in_force),
        "requestheader" => fields::request_header(directive),
        "expiresactive" => {
            Verdict::Irrelevant { why: "files get what a rule's `expires` says, scripts never" }
        }
        "expiresdefault" | "expiresbytype" => fields::expires(directive, scope, in_force),
        "addtype" | "forcetype" | "defaulttype" => fields::media_type(directive, scope, in_force),
        "addencoding" => fields::encoding(directive, scope, in_force),
        "addcharset" | "adddefaultcharset" => fields::charset(directive),
        "rewriteengine" if directive.arg(0).eq_ignore_ascii_case("on") => {
            Verdict::Irrelevant { why: "it only says that the rules below count" }
        }
        "rewriteengine" => not("a rule with `serve = true` ends the evaluation for a path"),
        "rewritebase" | "rewriteoptions" => Verdict::Irrelevant { why: "paths of rules are always whole" },
        "fallbackresource" => rewrite::front_controller(directive.arg(0), scope, in_force),
        "redirect" | "redirectmatch" | "redirectpermanent" | "redirecttemp" => rewrite::alias(directive),
        "directoryindex" => index(directive, in_force),
        "options" => options(directive),
        "setenv" | "setenvif" | "setenvifnocase" | "passenv" | "unsetenv" | "browsermatch"
        | "browsermatchnocase" => fields::environment(directive),
        "errordocument" => error_document(directive, in_force),
        "limitrequestbody" => not("`--max-body` is the largest body of a request, for the whole site"),
        "acceptpathinfo" => Verdict::Irrelevant { why: "scripts have a PATH_INFO and files have none" },
        "fileetag" => Verdict::Irrelevant { why: "entity tags are made of time and size, never of an inode" },
        "addoutputfilterbytype" | "addoutputfilter" | "setoutputfilter" => output_filter(directive, in_force),
        "deflatecompressionlevel" | "deflatebuffersize" | "deflatewindowsize" | "deflatememlevel" => {
            Verdict::Irrelevant { why: "how hard to compress is not a matter of configuration here" }
        }
        "serversignature"
        | "indexignore"
        | "indexoptions"
        | "headername"
        | "readmename"
        | "addicon"
        | "adddescription"
        | "languagepriority"
        | "forcelanguagepriority" => {
            Verdict::Irrelevant { why: "there are no listings, no signatures and no negotiation here" }
        }
        "directoryslash" if directive.arg(0).eq_ignore_ascii_case("on") => {
            Verdict::Irrelevant { why: "a directory is always redirected to its slash" }
        }
        _ => not("nothing here does it: see docs/from-htaccess.md"),
    };
    match (verdict, scope.unknown) {
        // Whatever does it would do it always.
        (Verdict::NotCovered { advice }, Some(section)) => {
            not(format!("only within <{section}>, whose condition is a rule's matchers here; {advice}"))
        }
        (Verdict::Covered { by }, Some(section)) if section.starts_with("limit") => {
            Verdict::Covered { by: format!("{by}, for all methods") }
        }
        (verdict, _) => verdict,
    }
}

fn not(advice: impl Into<String>) -> Verdict {
    Verdict::NotCovered { advice: advice.into() }
}

fn covered(by: impl Into<String>) -> Verdict {
    Verdict::Covered { by: by.into() }
}

/// The rules of this name, each once.
fn rules<'r>(names: impl IntoIterator<Item = &'r str>) -> String {
    let mut unique: Vec<&str> = names.into_iter().collect();
    unique.sort_unstable();
    unique.dedup();
    unique.join(", ")
}

fn index(directive: &Directive, in_force: &InForce<'_>) -> Verdict {
    let known = in_force.index();
    let wanted: Vec<&str> = directive.args.iter().map(String::as_str).collect();
    // More names at the end of ours change nothing where theirs are found first.
    if known.iter().map(String::as_str).take(wanted.len()).eq(wanted.iter().copied()) {
        return covered("index");
    }
    not(format!("`--index {}`, for the whole site", wanted.join(",")))
}

fn options(directive: &Directive) -> Verdict {
    let mut foreign = Vec::new();
    for option in &directive.args {
        let (on, name) = match option.strip_prefix('-') {
            Some(name) => (false, name),
            None => (true, option.strip_prefix('+').unwrap_or(option)),
        };
        let harmless = ["FollowSymLinks", "SymLinksIfOwnerMatch", "None"];
        if on && !harmless.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            foreign.push(name);
        }
    }
    if foreign.is_empty() {
        return Verdict::Irrelevant {
            why: "there are no listings, CGI programs, includes and negotiation; links within the docroot are followed",
        };
    }
    not(format!("{}: there is no such thing here", foreign.join(", ")))
}

fn error_document(directive: &Directive, in_force: &InForce<'_>) -> Verdict {
    if directive.arg(1).eq_ignore_ascii_case("default") {
        return Verdict::Irrelevant { why: "the built-in page is the default here too" };
    }
    let status = directive.arg(0);
    match StatusCode::from_bytes(status.as_bytes()) {
        Ok(known) if in_force.has_page(known) => covered("error-pages"),
        Ok(_) => not(format!(
            "a page {status}.html in the folder of `--error-pages`; what the application answers is left as it is"
        )),
        Err(_) => not("no status"),
    }
}

fn output_filter(directive: &Directive, in_force: &InForce<'_>) -> Verdict {
    let filters = directive.arg(0).to_ascii_lowercase();
    if !filters.split(';').all(|filter| ["deflate", "brotli_compress"].contains(&filter)) {
        return not("there is no such filter here");
    }
    if in_force.compresses() {
        return covered("compress");
    }
    not("`--compress br,gzip`, unless edge-cache stands in front, which compresses by itself")
}
