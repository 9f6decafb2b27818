//! The little of a `composer.json` that matters before PHP runs.

use std::path::Path;

use serde::Deserialize;

use super::Requirements;

pub(super) struct Composer {
    pub(super) name: Option<String>,
    pub(super) preset: Option<String>,
    pub(super) requirements: Requirements,
}

/// A mirror of the file; what else it says is Composer's business.
#[derive(Deserialize)]
struct File {
    name: Option<String>,
    #[serde(default)]
    require: std::collections::BTreeMap<String, String>,
    /// PHP's JSON encoder writes an empty map as `[]`.
    #[serde(default)]
    extra: serde_json::Value,
}

/// None when there is no such file, or none that can be understood: it is only asked for hints.
pub(super) fn read(path: &Path) -> Option<Composer> {
    let text = std::fs::read_to_string(path).ok()?;
    let file: File = match serde_json::from_str(&text) {
        Ok(file) => file,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "not understood");
            return None;
        }
    };
    let extensions = file.require.keys().filter_map(|name| name.strip_prefix("ext-")).map(str::to_owned);
    Some(Composer {
        requirements: Requirements {
            php: file.require.get("php").and_then(|constraint| least(constraint)),
            extensions: extensions.collect(),
            ..Requirements::default()
        },
        preset: file.extra.pointer("/enjambre/preset").and_then(|preset| preset.as_str()).map(str::to_owned),
        name: file.name,
    })
}

/// The lower bound of a constraint that has a single plain one: `>=8.1.0`, `^8.2`, `~8.2.3`.
fn least(constraint: &str) -> Option<String> {
    let constraint = constraint.trim();
    let version = ["^", "~", ">="].iter().find_map(|operator| constraint.strip_prefix(operator))?.trim();
    version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.').then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::least;

    #[test]
    fn lower_bounds() {
        let cases = [
            (">=8.1.0", Some("8.1.0")),
            ("^8.2", Some("8.2")),
            ("~8.2.3", Some("8.2.3")),
            (">= 8.2", Some("8.2")),
            (">=7.4 <9", None),
            ("^7.4 || ^8.0", None),
            ("*", None),
        ];
        for (constraint, version) in cases {
            assert_eq!(least(constraint).as_deref(), version, "{constraint}");
        }
    }
}
