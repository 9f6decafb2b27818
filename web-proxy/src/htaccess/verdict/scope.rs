use std::path::Path;

use common::rules::Text;

use crate::htaccess::parse::{Directive, Section};
use crate::htaccess::samples;

/// What a directive is about.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    /// The directory of the .htaccess, with a slash in front and none behind; empty for the docroot.
    pub(super) directory: String,
    /// Names of files in it that it is about; `None`: all of them.
    pub(super) names: Option<Vec<String>>,
    /// The same as a rule's `file` says it, where it can.
    pub(super) pattern: Option<String>,
    /// Files that are in the directory.
    pub(super) present: &'a [String],
    /// Why it does not count, whatever it says.
    pub(super) idle: Option<&'static str>,
    /// A section around it whose condition cannot be judged.
    pub(super) unknown: Option<&'a str>,
    /// It stands in `<IfModule mod_php…>`.
    pub(super) of_mod_php: bool,
    /// An expression around it that is not understood.
    pub(super) is_unclear: bool,
}

impl<'a> Scope<'a> {
    pub(super) fn of(directive: &'a Directive, directory: &Path, present: &'a [String]) -> Self {
        let directory = match directory.to_str() {
            Some("") | None => String::new(),
            Some(below) => format!("/{below}"),
        };
        let mut scope = Self {
            directory,
            names: None,
            pattern: None,
            present,
            idle: None,
            unknown: None,
            of_mod_php: false,
            is_unclear: false,
        };
        for section in &directive.within {
            scope.enter(section);
        }
        scope
    }

    fn enter(&mut self, section: &'a Section) {
        let first = section.args.first().map_or("", String::as_str);
        match section.name.as_str() {
            "ifmodule" => self.module(first),
            "filesmatch" => self.only_matching(first),
            "files" if first == "~" => self.only_matching(section.args.get(1).map_or("", String::as_str)),
            // All of them.
            "files" if first == "*" => {}
            "files" => {
                self.names = Some(samples::of_wildcards(first));
                // Its brackets and ours are not the same.
                self.pattern = Some(first.to_owned()).filter(|text| !text.contains(['[', '{']));
            }
            other => self.unknown = Some(other),
        }
    }

    fn only_matching(&mut self, expression: &str) {
        match samples::of_expression(expression) {
            Some(names) => self.names = Some(names),
            None => self.is_unclear = true,
        }
        self.pattern = as_text(expression);
    }

    /// Apache is taken to have all modules but PHP's: it runs in PHP-FPM.
    fn module(&mut self, condition: &str) {
        let (without, name) = match condition.strip_prefix('!') {
            Some(name) => (true, name),
            None => (false, condition),
        };
        let name = name.strip_prefix("mod_").unwrap_or(name);
        let is_php = name.strip_prefix("php").is_some_and(|rest| {
            let rest = rest.trim_end_matches("_module").trim_end_matches(".c");
            rest.bytes().all(|byte| byte.is_ascii_digit())
        });
        match (is_php, without) {
            (true, false) => self.of_mod_php = true,
            (false, true) => self.idle = Some("it counts for an Apache without that module"),
            (true, true) | (false, false) => {}
        }
    }

    /// Paths that it is about, of files: here and in a directory below.
    pub(super) fn paths(&self) -> Vec<String> {
        let directory = &self.directory;
        let some = ["x", "x.txt", "x.html", "x.jpg", "x.pdf"].map(str::to_owned);
        let made: Vec<String> = self
            .names
            .clone()
            .unwrap_or_else(|| some.into_iter().chain(self.present.iter().cloned()).collect());
        // A name is a segment: what an expression has beyond that is of no file.
        let named: Vec<&String> =
            made.iter().filter(|name| !name.is_empty() && !name.contains('/')).collect();
        let here = named.iter().map(|name| format!("{directory}/{name}"));
        here.chain(named.iter().map(|name| format!("{directory}/x/{name}"))).collect()
    }
}

/// An expression as a rule takes it; `None` for what only Apache's library knows.
pub(super) fn as_text(expression: &str) -> Option<String> {
    let text = format!("~{expression}");
    Text::plain(&text).is_ok().then_some(text)
}
