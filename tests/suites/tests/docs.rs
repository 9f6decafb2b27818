//! The documentation speaks of flags, files, headings and defaults that exist.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use suites::service::{binary, root};

const SERVICES: [&str; 3] = ["edge-cache", "web-proxy", "fpm-gateway"];

/// Flags of every program that are no options of a service.
const GENERAL: [&str; 3] = ["help", "version", "config"];

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = without_code(&fs::read_to_string(&page).unwrap());
        for target in links(&text) {
            if !target.contains("://") && !target.starts_with("mailto:") && !leads_somewhere(&page, &target) {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert_eq!(broken, [""; 0]);
}

#[test]
fn flags_exist() {
    let mut known: BTreeSet<String> = BTreeSet::new();
    for name in SERVICES.into_iter().chain(["solo", "galera-node"]) {
        known.extend(options(&help(name)).into_keys());
    }
    for name in ["bench", "replay"] {
        known.extend(words_with_dashes(&help(name)));
    }
    for script in ["up", "test", "docker/build"] {
        let output = Command::new(root().join(script)).arg("--help").output().unwrap();
        known.extend(words_with_dashes(&String::from_utf8(output.stdout).unwrap()));
        known.extend(["help".to_owned(), "list".to_owned()]);
    }
    let mut unknown = Vec::new();
    for page in pages() {
        for code in code(&fs::read_to_string(&page).unwrap()) {
            let first = command_of(&code);
            if !is_foreign(first) {
                let flags = words_with_dashes(&code).into_iter().filter(|flag| !known.contains(flag));
                unknown.extend(flags.map(|flag| format!("{}: --{flag} in {code}", page.display())));
            }
        }
    }
    assert_eq!(unknown, [""; 0]);
}

/// Every option is in docs/configuration.md with its default, and every option there exists.
#[test]
fn the_reference_is_complete() {
    let text = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let shared = table(&text, "## Options of every service");
    let mut problems = Vec::new();
    for name in SERVICES {
        let own = table(&text, &format!("## {name}"));
        let real = options(&help(name));
        for (key, default) in &real {
            let documented = own.get(key).or_else(|| shared.get(key));
            match (documented, default) {
                _ if GENERAL.contains(&key.as_str()) => {}
                (None, _) => problems.push(format!("{name}: {key} is not documented")),
                (Some(Some(said)), Some(default)) if said != default => {
                    problems.push(format!("{name}: the default of {key} is {default}, not {said}"));
                }
                _ => {}
            }
        }
        for key in own.keys().filter(|key| !real.contains_key(*key)) {
            problems.push(format!("{name}: there is no option {key}"));
        }
        // Some are not of every service after all, but of several.
        for key in shared.keys().filter(|key| !real.contains_key(*key)) {
            problems.push(format!("{name}: there is no option {key}, which every service is said to have"));
        }
    }
    assert_eq!(problems, [""; 0]);
}

/// The same for the entrypoint of the galera image, in its own page.
#[test]
fn the_options_of_galera_node_are_complete() {
    let text = fs::read_to_string(root().join("docs/galera.md")).unwrap();
    let (documented, real) = (table(&text, "## Options"), options(&help("galera-node")));
    let mut problems = Vec::new();
    for (key, default) in real.iter().filter(|(key, _)| !GENERAL.contains(&key.as_str())) {
        match (documented.get(key), default) {
            (None, _) => problems.push(format!("{key} is not documented")),
            (Some(Some(said)), Some(default)) if said != default => {
                problems.push(format!("the default of {key} is {default}, not {said}"));
            }
            _ => {}
        }
    }
    problems.extend(
        documented.keys().filter(|key| !real.contains_key(*key)).map(|key| format!("there is no {key}")),
    );
    assert_eq!(problems, [""; 0]);
}

fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for folder in
        ["", "docs", "edge-cache", "web-proxy", "fpm-gateway", "solo", "common", "site", "bench", "compose"]
    {
        let entries = fs::read_dir(root().join(folder)).into_iter().flatten().flatten();
        pages.extend(
            entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "md")),
        );
    }
    assert!(pages.len() > 2);
    pages.sort();
    pages
}

/// The targets of `[text](target)`.
fn links(text: &str) -> Vec<String> {
    let starts = text.match_indices("](").map(|(at, _)| at + 2);
    starts.filter_map(|at| text[at..].split_once(')')).map(|(target, _)| target.to_owned()).collect()
}

fn leads_somewhere(page: &Path, target: &str) -> bool {
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let file = if path.is_empty() { page.to_owned() } else { page.parent().unwrap().join(path) };
    let Some(anchor) = anchor else { return file.exists() };
    fs::read_to_string(file).is_ok_and(|text| headings(&text).any(|heading| heading == anchor))
}

/// The anchors of a page's headings, as code forges make them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter(|line| line.starts_with('#')).map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

/// Text without its code blocks and spans, where brackets mean something else.
fn without_code(text: &str) -> String {
    let mut open = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            open = !open;
        } else if !open {
            lines.push(line.split('`').step_by(2).collect::<Vec<_>>().join("`"));
        }
    }
    lines.join("\n")
}

/// The lines of code blocks, and code spans.
fn code(text: &str) -> Vec<String> {
    let mut open = false;
    let mut code = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            open = !open;
        } else if open {
            code.push(line.trim().to_owned());
        } else {
            code.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    code
}

/// The program of a line: `docker` of `$ docker ps`, `# docker ps` and `node1# docker ps`.
fn command_of(code: &str) -> &str {
    let mut words = code.split_whitespace();
    let prompt = |word: &&str| *word == "$" || word.ends_with('#');
    words.find(|word| !prompt(word)).unwrap_or_default()
}

/// A command that is not ours, whose flags are not ours to know.
fn is_foreign(command: &str) -> bool {
    const COMMANDS: &[&str] = &[
        "apt",
        "apt-get",
        "callgrind_annotate",
        "cargo",
        "certbot",
        "composer",
        "curl",
        "docker",
        "docker-compose",
        "drush",
        "drush/drush",
        "git",
        "gluster",
        "mariadb",
        "npm",
        "php",
        "rustup",
        "sudo",
        "systemctl",
        "tar",
        "varnishadm",
        "vendor/bin/drush",
        "wp",
        "wrk",
    ];
    COMMANDS.contains(&command)
}

/// `memory` of `--memory=1GiB`.
fn words_with_dashes(text: &str) -> Vec<String> {
    let words = text.split(|c: char| c.is_whitespace() || "`\"'()[]|,=".contains(c));
    let flags = words.filter_map(|word| word.strip_prefix("--"));
    let plain = |flag: &&str| {
        flag.starts_with(|c: char| c.is_ascii_lowercase())
            && flag.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    flags.map(|flag| flag.trim_end_matches(['.', ':', ';'])).filter(plain).map(str::to_owned).collect()
}

fn help(name: &str) -> String {
    let output = Command::new(binary(name).unwrap()).arg("--help").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The options that a help text lists, with their defaults.
fn options(help: &str) -> BTreeMap<String, Option<String>> {
    let mut options = BTreeMap::new();
    let mut last = None;
    for line in help.lines() {
        let words = line.trim_start();
        if words.starts_with("--") || (words.starts_with('-') && words[2..].starts_with(", --")) {
            let name = words_with_dashes(&words.replace("...", "")).into_iter().next().unwrap();
            options.insert(name.clone(), None);
            last = Some(name);
        }
        if let (Some(name), Some((_, default))) = (&last, line.split_once("[default: ")) {
            options.insert(name.clone(), Some(default.split(']').next().unwrap().to_owned()));
        }
    }
    options
}

/// The keys of the table under a heading, each with its default where the cell is nothing but that.
fn table(text: &str, heading: &str) -> BTreeMap<String, Option<String>> {
    let section = text.lines().skip_while(|line| *line != heading).skip(1);
    let rows = section.take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let spans = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let keys = spans(cells[1]);
        let nothing_else = keys.len() == 1 && cells[2].starts_with('`') && cells[2].ends_with('`');
        let default = spans(cells[2]).pop().filter(|_| nothing_else && spans(cells[2]).len() == 1);
        keys.into_iter().map(move |key| (key, default.clone()))
    })
    .collect()
}
