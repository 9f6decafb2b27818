//! The table in README.md, between two markers.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};

use super::{FLOOR, Results};

const BEGIN: &str = "<!-- bench:begin -->";
const END: &str = "<!-- bench:end -->";

/// Puts the table of all results between the markers.
pub(crate) fn update(path: &Path, all: &[Results]) -> anyhow::Result<()> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    fs::write(path, replaced(&text, &block(all)?)?)?;
    Ok(())
}

fn replaced(text: &str, block: &str) -> anyhow::Result<String> {
    let (before, rest) = text.split_once(BEGIN).with_context(|| format!("there is no {BEGIN}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("there is no {END} behind {BEGIN}"))?;
    Ok(format!("{before}{BEGIN}\n{block}{END}{after}"))
}

fn block(all: &[Results]) -> anyhow::Result<String> {
    let last = all.iter().max_by(|a, b| a.date.cmp(&b.date)).context("there are no results")?;
    ensure!(
        all.iter().all(|results| results.machine.cpu == last.machine.cpu),
        "results of different machines"
    );
    let machine = &last.machine;
    let mut text = format!(
        "Measured {} on {} ({} cores, Linux {}), a server on one core and the load on the other; the median of {} rounds. Of \
         CPU time per request and waiting less is better, of pages served more.\n\n",
        last.date, machine.cpu, machine.cores, machine.kernel, last.rounds
    );
    let mut peers: Vec<&str> = Vec::new();
    for line in
        all.iter().flat_map(|results| &results.entries).filter(|line| !line.ours && line.name != FLOOR)
    {
        if !peers.contains(&line.name.as_str()) {
            peers.push(&line.name);
        }
    }
    let heads: Vec<&str> =
        ["", "", "Enjambre"].into_iter().chain(peers.iter().copied()).chain([FLOOR]).collect();
    let _ = writeln!(text, "| {} |", heads.join(" | "));
    let _ = writeln!(text, "|---|---|{}", "---:|".repeat(heads.len() - 2));
    for results in all {
        row(&mut text, results, &peers);
    }
    Ok(text)
}

fn row(text: &mut String, results: &Results, peers: &[&str]) {
    let figure = results.primary();
    let mut variants: Vec<&str> = Vec::new();
    for line in &results.entries {
        if !variants.contains(&line.variant.as_str()) {
            variants.push(&line.variant);
        }
    }
    for variant in variants {
        let cell = |line: Option<&super::Line>| match line.and_then(|line| line.spread(figure.name)) {
            Some(spread) => format!("{:.*}", figure.digits.min(1), spread.median),
            None => String::new(),
        };
        let ours = results.ours(variant);
        let ahead = ours.and_then(|line| line.spread(figure.name)).is_some_and(|ours| {
            let others = results
                .entries
                .iter()
                .filter(|line| !line.ours && line.name != FLOOR && line.variant == variant);
            let mut others = others.filter_map(|line| line.spread(figure.name));
            !others.any(|other| figure.better(other.median, ours.median))
        });
        let own = if ahead { format!("**{}**", cell(ours)) } else { cell(ours) };
        let title =
            if variant.is_empty() { results.title.clone() } else { format!("{}: {variant}", results.title) };
        let mut cells = vec![title, figure.title.to_owned(), own];
        cells.extend(peers.iter().map(|peer| cell(results.line(peer, variant))));
        cells.push(cell(results.line(FLOOR, variant)));
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::super::tests::results;
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let text = "a\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nb\n";
        let new = replaced(text, "new\n").unwrap();
        assert_eq!(new, "a\n<!-- bench:begin -->\nnew\n<!-- bench:end -->\nb\n");
        assert_eq!(replaced(&new, "new\n").unwrap(), new);
        assert!(replaced("a\n<!-- bench:end -->\n<!-- bench:begin -->\n", "").is_err());
        assert!(replaced("nothing", "").is_err());
    }

    #[test]
    fn the_winner_is_bold_only_if_it_is_ours() {
        let text = block(&[
            results("hit-1k", &[("edge-cache", true, 10.0), ("nginx", false, 12.0), ("floor", false, 5.0)]),
            results("static-1k", &[("web-proxy", true, 13.0), ("nginx", false, 12.0)]),
        ])
        .unwrap();
        assert!(text.contains("| Title | CPU µs/request | **10.0** | 12.0 | 5.0 |"), "{text}");
        assert!(text.contains("| Title | CPU µs/request | 13.0 | 12.0 |  |"), "{text}");
        assert!(block(&[]).is_err());
    }
}
