//! What a service says about itself on its admin listener.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, ensure};

use crate::client;

/// The samples of one scrape.
#[derive(Debug, Clone)]
pub struct Metrics {
    samples: Vec<Sample>,
    /// Each family's type by its name.
    types: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    /// Fetches `/metrics`.
    pub async fn fetch(admin: SocketAddr) -> anyhow::Result<Self> {
        let response = client::get(admin, "/metrics", &[]).await?;
        ensure!(response.status == 200, "/metrics answers {}", response.status);
        Self::parse(&response.text())
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let samples = lines.map(|line| Sample::parse(line).with_context(|| format!("the sample {line}")));
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        Ok(Self {
            samples: samples.collect::<anyhow::Result<_>>()?,
            types: types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect(),
        })
    }

    /// The sum of the samples with this name that have all these labels; `None` if there is none.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut matching = self.samples.iter().filter(|sample| sample.matches(name, labels)).peekable();
        matching.peek()?;
        Some(matching.map(|sample| sample.value).sum())
    }

    /// As [`get`](Self::get), 0 if there is none: a counter that has not counted yet.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.get(name, labels).unwrap_or(0.0)
    }

    /// Every metric whose name begins with `prefix`, as `name_total{label,label} counter`.
    pub fn described(&self, prefix: &str) -> BTreeSet<String> {
        let families = self.types.iter().filter(|(name, _)| name.starts_with(prefix));
        families
            .map(|(name, kind)| {
                let (of_samples, name) = match kind.as_str() {
                    "counter" => (format!("{name}_total"), format!("{name}_total")),
                    "histogram" => (format!("{name}_bucket"), name.clone()),
                    _ => (name.clone(), name.clone()),
                };
                let samples = self.samples.iter().filter(|sample| sample.name == of_samples);
                let labels: BTreeSet<&str> = samples
                    .flat_map(|sample| sample.labels.iter().map(|(key, _)| key.as_str()))
                    .filter(|key| *key != "le")
                    .collect();
                describe(&name, labels, kind)
            })
            .collect()
    }

    /// The same from the table in docs/observing.md: `| \`name{label,label}\` | type | meaning |`.
    pub fn documented(prefix: &str) -> anyhow::Result<BTreeSet<String>> {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/observing.md");
        let text = std::fs::read_to_string(&page).with_context(|| page.display().to_string())?;
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        let rows = rows.filter(|(name, _)| name.starts_with(prefix));
        let described = rows.map(|(name, rest)| {
            let (name, labels) = name.split_once('{').unwrap_or((name, ""));
            let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty());
            describe(name, labels.collect(), rest.split(" |").next().unwrap_or_default())
        });
        Ok(described.collect())
    }

    /// The names of all samples, for a message.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.samples.iter().map(|sample| sample.name.as_str()).collect();
        names.dedup();
        names
    }
}

fn describe(name: &str, labels: BTreeSet<&str>, kind: &str) -> String {
    let labels = labels.into_iter().collect::<Vec<_>>().join(",");
    if labels.is_empty() { format!("{name} {kind}") } else { format!("{name}{{{labels}}} {kind}") }
}

impl Sample {
    fn parse(line: &str) -> anyhow::Result<Self> {
        let (name, mut rest) = match line.find(['{', ' ']) {
            Some(at) => line.split_at(at),
            None => anyhow::bail!("no value"),
        };
        let mut labels = Vec::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            while let Some((key, after)) = rest.split_once("=\"") {
                let (value, after) = label_value(after).context("an open label value")?;
                labels.push((key.trim_start_matches(',').to_owned(), value));
                rest = after;
                if let Some(after) = rest.strip_prefix('}') {
                    rest = after;
                    break;
                }
            }
            rest = rest.strip_prefix('}').unwrap_or(rest);
        }
        // A timestamp or an exemplar may follow.
        let value = rest.split_whitespace().next().context("no value")?;
        Ok(Self { name: name.to_owned(), labels, value: value.parse()? })
    }

    fn matches(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        let has = |(key, value): &(&str, &str)| self.labels.iter().any(|(k, v)| k == key && v == value);
        self.name == name && labels.iter().all(has)
    }
}

/// An escaped value up to its closing quote, and what follows that.
fn label_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            _ => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn parses() {
        let metrics = Metrics::parse(
            "# HELP a b\n# TYPE a counter\na_total{x=\"1\",y=\"a \\\"} b\"} 2\na_total{x=\"2\"} 3\nb 1.5\nc{} 7\n# EOF\n",
        )
        .unwrap();
        assert_eq!(metrics.get("a_total", &[]), Some(5.0));
        assert_eq!(metrics.get("a_total", &[("x", "1"), ("y", "a \"} b")]), Some(2.0));
        assert_eq!(metrics.get("a_total", &[("x", "3")]), None);
        assert_eq!(metrics.get("b", &[]), Some(1.5));
        assert_eq!(metrics.get("c", &[]), Some(7.0));
        assert_eq!(metrics.described("a"), BTreeSet::from(["a_total{x,y} counter".to_owned()]));
    }
}
