//! Layers the sources over each other by turning the lower ones into clap defaults.
//!
//! Clap already ranks a flag over an environment variable over a default, so a value from the file
//! (or from `PREFIX_KEY_FILE`) becomes the default of its option. Before that it is parsed alone,
//! so that an error can name the place it stands in.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, Parser};

use super::secret::HIDDEN;
use super::{ConfigError, Secret, file};
use crate::rules::Source;

/// A parsed schema together with where each of its values came from.
#[derive(Debug)]
pub struct Loaded<T> {
    pub options: T,
    /// The same as a TOML file that `--config` accepts, each key with its source: what `check` prints.
    pub rendered: String,
    /// Each option's value as `rendered` has it, by key.
    pub values: BTreeMap<String, String>,
    /// The file that was read, if there is one.
    pub file: Option<ConfigFile>,
}

/// A configuration file as it was read.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    pub path: PathBuf,
    pub text: String,
}

impl ConfigFile {
    /// For what is read from it besides options.
    pub fn source(&self) -> Source<'_> {
        Source { name: self.path.to_str().unwrap_or("the configuration file"), text: &self.text }
    }
}

#[derive(Debug)]
struct Resolved {
    key: String,
    values: Vec<String>,
    many: bool,
    switch: bool,
    secret: bool,
    source: &'static str,
}

/// Parses `args` (the program's name first), the process environment and the file that `--config`
/// names into `T`. Environment variables start with `env_prefix` and an underscore.
pub fn load<T: Parser>(
    env_prefix: &str,
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<Loaded<T>, ConfigError> {
    load_beside(env_prefix, args, &[])
}

/// [`load`] for a file that holds tables named in `beside`, which are no options: whoever wants them reads them
/// from [`Loaded::file`].
pub fn load_beside<T: Parser>(
    env_prefix: &str,
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    beside: &[&str],
) -> Result<Loaded<T>, ConfigError> {
    load_with(env_prefix, args, beside, &|name| std::env::var_os(name))
}

type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

fn load_with<T: Parser>(
    env_prefix: &str,
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    beside: &[&str],
    env: Environment<'_>,
) -> Result<Loaded<T>, ConfigError> {
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    let plain = T::command();
    let mut command = plain.clone();
    let mut sources: Vec<(clap::Id, &'static str)> = Vec::new();

    let file = config_path(&plain, &args, env_prefix, env)
        .map(|(path, named_by)| read_file(path, &named_by))
        .transpose()?;
    if let Some(ConfigFile { path, text }) = &file {
        for entry in file::parse(path, text, beside)? {
            let arg = option_named(&plain, &entry.key).ok_or_else(|| unknown_key(&plain, path, &entry))?;
            let place = format!("{}:{}", path.display(), entry.line);
            try_alone(&plain, arg, &entry.values, &place)?;
            let id = arg.get_id().clone();
            sources.push((id.clone(), "file"));
            command = command.mut_arg(id, |arg| arg.default_values(entry.values));
        }
    }

    for arg in plain.get_arguments().filter(|arg| is_option(arg)) {
        let variable = variable_of(env_prefix, arg);
        let file_variable = format!("{variable}_FILE");
        let value = match (env(&variable), env(&file_variable)) {
            (Some(_), Some(_)) => return Err(ConfigError::Ambiguous { variable }),
            (Some(value), None) => (value, variable),
            (None, Some(path)) => (read_secret(&path, &file_variable)?, file_variable),
            (None, None) => continue,
        };
        let values = split(arg, &value.0);
        try_alone(&plain, arg, &values, &value.1)?;
        command = command.mut_arg(arg.get_id().clone(), |arg| arg.default_values(values));
        sources.push((arg.get_id().clone(), "environment"));
    }
    // For --help only: the values are in place already.
    command = command.mut_args(|arg| {
        let hidden = is_secret(&arg);
        let arg = arg.hide_default_value(hidden);
        if is_option(&arg) && !arg.is_hide_set() {
            let note = format!("[env: {}]", variable_of(env_prefix, &arg));
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            arg.help(format!("{help} {note}"))
        } else {
            arg
        }
    });

    let mut matches = command.try_get_matches_from(args)?;
    let resolved = resolve(&plain, &matches, &sources);
    let rendered = render(&resolved);
    let values = resolved.iter().map(|option| (option.key.clone(), option.value())).collect();
    let options = T::from_arg_matches_mut(&mut matches)?;
    Ok(Loaded { options, rendered, values, file })
}

fn render(resolved: &[Resolved]) -> String {
    let mut out = String::new();
    for option in resolved {
        // A file does not name another, and what is not shown is not a value.
        let comment = if option.key == "config" || option.secret { "# " } else { "" };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{comment}{} = {}  # {}", option.key, option.value(), option.source);
    }
    out
}

impl Resolved {
    /// As TOML.
    fn value(&self) -> String {
        if self.secret {
            return format!("{HIDDEN:?}");
        }
        let quote = |value: &String| if self.switch { value.clone() } else { format!("{value:?}") };
        let quoted: Vec<String> = self.values.iter().map(quote).collect();
        if self.many { format!("[{}]", quoted.join(", ")) } else { quoted.join("") }
    }
}

fn resolve(plain: &Command, matches: &ArgMatches, sources: &[(clap::Id, &'static str)]) -> Vec<Resolved> {
    let mut resolved = Vec::new();
    for arg in plain.get_arguments().filter(|arg| is_option(arg)) {
        let id = arg.get_id().as_str();
        let Ok(Some(raw)) = matches.try_get_raw(id) else { continue };
        let values = raw.map(|value| value.to_string_lossy().into_owned()).collect();
        // The environment wins over the file, and comes after it in the list.
        let layered = sources.iter().rev().find(|(set, _)| set.as_str() == id).map(|(_, source)| *source);
        let source = match matches.value_source(id) {
            Some(ValueSource::CommandLine) => "flag",
            _ => layered.unwrap_or("default"),
        };
        let switch = matches!(arg.get_action(), ArgAction::SetTrue);
        let secret = is_secret(arg);
        resolved.push(Resolved { key: key_of(arg), values, many: takes_many(arg), switch, secret, source });
    }
    resolved
}

/// The configuration file, before the flags as a whole are looked at: it decides their defaults.
fn config_path(
    plain: &Command,
    args: &[OsString],
    env_prefix: &str,
    env: Environment<'_>,
) -> Option<(PathBuf, String)> {
    plain.get_arguments().find(|arg| arg.get_id() == "config")?;
    let mut flags = args.iter().skip(1);
    while let Some(flag) = flags.next() {
        match flag.to_str() {
            Some("--") => break,
            Some("--config") => return flags.next().map(|path| (path.into(), "--config".into())),
            Some(flag) if flag.starts_with("--config=") => {
                return Some((flag["--config=".len()..].into(), "--config".into()));
            }
            _ => {}
        }
    }
    let variable = format!("{env_prefix}_CONFIG");
    env(&variable).map(|path| (path.into(), variable))
}

fn read_file(path: PathBuf, named_by: &str) -> Result<ConfigFile, ConfigError> {
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(ConfigFile { path, text }),
        Err(cause) => Err(ConfigError::Unreadable { path, named_by: named_by.to_owned(), cause }),
    }
}

fn read_secret(path: &OsStr, variable: &str) -> Result<OsString, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|cause| ConfigError::Unreadable {
        path: path.into(),
        named_by: variable.to_owned(),
        cause,
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).into())
}

/// Parses one option's values with nothing else on the command line.
fn try_alone(plain: &Command, arg: &Arg, values: &[String], place: &str) -> Result<(), ConfigError> {
    let bad = |value: &str, message: String| ConfigError::BadValue {
        place: place.to_owned(),
        key: key_of(arg),
        value: if is_secret(arg) { HIDDEN.to_owned() } else { value.to_owned() },
        message,
    };
    if !takes_many(arg) && values.len() != 1 {
        return Err(bad(&values.join(", "), format!("expected one value, found {}", values.len())));
    }
    for value in values {
        if matches!(arg.get_action(), ArgAction::SetTrue) {
            if value != "true" && value != "false" {
                return Err(bad(value, "expected true or false".into()));
            }
            continue;
        }
        let flag = format!("--{}={value}", key_of(arg));
        if let Err(error) = plain.clone().try_get_matches_from([plain.get_name(), &flag]) {
            return Err(bad(value, explain(&error)));
        }
    }
    Ok(())
}

/// The value parser's own words, or the list of accepted values.
fn explain(error: &clap::Error) -> String {
    if let Some(cause) = std::error::Error::source(error) {
        return cause.to_string();
    }
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if !values.is_empty() => {
            format!("expected one of {}", values.join(", "))
        }
        _ => error.kind().to_string(),
    }
}

fn unknown_key(plain: &Command, path: &Path, entry: &file::Entry) -> ConfigError {
    let keys: Vec<String> =
        plain.get_arguments().filter(|arg| is_option(arg) && arg.get_id() != "config").map(key_of).collect();
    let suggestion = closest(&entry.key, keys.iter().map(String::as_str)).map(str::to_owned);
    ConfigError::UnknownKey {
        path: path.to_owned(),
        line: entry.line,
        key: entry.key.clone(),
        suggestion,
        known: keys.join(", "),
    }
}

/// What was probably meant by `key`.
pub(crate) fn closest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let nearest = known.map(|known| (distance(known, key), known)).min();
    nearest.filter(|(distance, _)| *distance <= 3).map(|(_, known)| known)
}

/// Levenshtein's edit distance, for "did you mean".
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let substitute = row[j] + usize::from(a != *b);
            next.push(substitute.min(row[j + 1] + 1).min(next[j] + 1));
        }
        row = next;
    }
    row[right.len()]
}

fn option_named<'a>(plain: &'a Command, key: &str) -> Option<&'a Arg> {
    plain.get_arguments().find(|arg| is_option(arg) && arg.get_id() != "config" && key_of(arg) == key)
}

fn is_option(arg: &Arg) -> bool {
    // What `check` is to print is no setting of the service.
    arg.get_long().is_some() && !matches!(arg.get_id().as_str(), "help" | "version" | "print_rules")
}

fn key_of(arg: &Arg) -> String {
    arg.get_long().unwrap_or_default().to_owned()
}

fn takes_many(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

fn is_secret(arg: &Arg) -> bool {
    arg.get_value_parser().type_id() == TypeId::of::<Secret>()
}

fn variable_of(prefix: &str, arg: &Arg) -> String {
    format!("{prefix}_{}", key_of(arg).replace('-', "_").to_uppercase())
}

fn split(arg: &Arg, value: &OsStr) -> Vec<String> {
    let text = value.to_string_lossy();
    if takes_many(arg) {
        text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
    } else {
        vec![text.into_owned()]
    }
}

#[cfg(test)]
mod tests;
