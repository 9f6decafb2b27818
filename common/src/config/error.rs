use std::path::PathBuf;
use std::process::ExitCode;

/// Why a configuration cannot be used. `Display` is the sentence an operator reads.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A flag that does not parse, or `--help` and `--version`, which clap reports the same way.
    #[error("{0}")]
    Flags(#[from] clap::Error),
    #[error("cannot read {}, the file that {named_by} names: {cause}", path.display())]
    Unreadable { path: PathBuf, named_by: String, cause: std::io::Error },
    #[error("{}:{line}: not valid TOML: {message}", path.display())]
    Syntax { path: PathBuf, line: usize, message: String },
    #[error("{}:{line}: unknown key `{key}`{}; the keys are: {known}", path.display(), hint(suggestion.as_deref()))]
    UnknownKey { path: PathBuf, line: usize, key: String, suggestion: Option<String>, known: String },
    #[error("{place}: {key} = {value:?}: {message}")]
    BadValue { place: String, key: String, value: String, message: String },
    #[error("both {variable} and {variable}_FILE are set: keep one")]
    Ambiguous { variable: String },
    #[error(transparent)]
    Rule(#[from] crate::rules::RuleError),
    /// A value that parses but cannot work with the others.
    #[error("{0}")]
    Conflict(String),
}

fn hint(suggestion: Option<&str>) -> String {
    suggestion.map(|key| format!(" (did you mean `{key}`?)")).unwrap_or_default()
}

impl ConfigError {
    /// Says what is wrong on standard error and gives the exit code: 2, or 0 after `--help`.
    pub fn report(&self, program: &str) -> ExitCode {
        match self {
            Self::Flags(error) => {
                // Nothing is left to do when even the terminal is gone.
                let _ = error.print();
                ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
            }
            other => {
                eprintln!("{program}: {other}");
                ExitCode::from(2)
            }
        }
    }
}
