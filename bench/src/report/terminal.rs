//! The table that is shown when a scenario has ended.

use std::fmt::Write as _;

use super::{FIGURES, Figure, Line, Results};

pub(crate) fn print(results: &Results) {
    println!("{}", table(results));
}

fn table(results: &Results) -> String {
    let figures: Vec<&Figure> = FIGURES
        .iter()
        .filter(|figure| results.entries.iter().any(|line| line.spread(figure.name).is_some()))
        .collect();
    let mut rows = vec![
        std::iter::once(String::new())
            .chain(figures.iter().map(|figure| figure.title.to_owned()))
            .chain(["CPU vs ours".to_owned()])
            .collect::<Vec<_>>(),
    ];
    for line in &results.entries {
        let mut row = vec![line.label()];
        row.extend(figures.iter().map(|figure| cell(line, figure)));
        row.push(ratio(results, line));
        rows.push(row);
    }
    let mut text = aligned(&rows);
    for line in &results.entries {
        if let Some(error) = &line.error {
            // All of it was said when it happened.
            let _ = writeln!(text, "  {}: {}", line.label(), error.lines().next().unwrap_or_default());
        }
    }
    text
}

fn cell(line: &Line, figure: &Figure) -> String {
    let digits = figure.digits;
    match line.spread(figure.name) {
        Some(spread) if line.rounds.len() > 1 && matches!(figure.name, "rps" | "cpu_us") => {
            format!("{:.digits$} ({:.digits$}–{:.digits$})", spread.median, spread.min, spread.max)
        }
        Some(spread) => format!("{:.digits$}", spread.median),
        None => "–".to_owned(),
    }
}

fn ratio(results: &Results, line: &Line) -> String {
    let ours = results.ours(&line.variant).filter(|ours| !std::ptr::eq(*ours, line));
    match ours.and_then(|ours| line.over(ours, "cpu_us")) {
        Some(spread) => format!("×{:.2} ({:.2}–{:.2})", spread.median, spread.min, spread.max),
        None => String::new(),
    }
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        text.push_str("  ");
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let padding = " ".repeat(width - cell.chars().count() + 2);
            // Names stand left, figures right.
            if column == 0 {
                text.push_str(cell);
                text.push_str(&padding);
            } else {
                text.push_str(&padding);
                text.push_str(cell);
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [["", "µs"], ["edge-cache", "1.0"], ["Varnish", "10.0"]];
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect();
        assert_eq!(aligned(&rows), "                  µs\n  edge-cache     1.0\n  Varnish       10.0\n");
    }
}
