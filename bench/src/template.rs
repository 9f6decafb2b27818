//! Peers' configurations with places to fill in, `@NAME@`.

use anyhow::{bail, ensure};

/// Fills every place; one without a value is an error, a value without a place is not.
pub(crate) fn fill(text: &str, values: &[(&str, String)]) -> anyhow::Result<String> {
    let mut filled = text.to_owned();
    for (name, value) in values {
        filled = filled.replace(&format!("@{name}@"), value);
    }
    match left_over(&filled) {
        Some(name) => bail!("@{name}@ has no value"),
        None => Ok(filled),
    }
}

/// One argument a line; empty lines and comments are none.
pub(crate) fn arguments(text: &str) -> anyhow::Result<Vec<String>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let arguments: Vec<String> = lines.map(str::to_owned).collect();
    ensure!(!arguments.is_empty(), "no arguments");
    Ok(arguments)
}

fn left_over(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(begin) = rest.find('@') {
        rest = &rest[begin + 1..];
        let end = rest.find(|letter: char| !letter.is_ascii_uppercase() && letter != '_')?;
        if end > 0 && rest[end..].starts_with('@') {
            return Some(&rest[..end]);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn every_place_is_filled() {
        let values = [("PORT", "80".to_owned()), ("UNUSED", String::new())];
        assert_eq!(fill("listen @PORT@; mail a@b.c", &values).unwrap(), "listen 80; mail a@b.c");
        assert_eq!(fill("@PORT@ @FOLDER@", &values).unwrap_err().to_string(), "@FOLDER@ has no value");
    }

    #[test]
    fn arguments_are_lines() {
        assert_eq!(arguments("# why\n-a\n\n x=1 \n").unwrap(), ["-a", "x=1"]);
        assert!(arguments("# nothing\n").is_err());
    }
}
