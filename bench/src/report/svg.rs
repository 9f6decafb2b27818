//! Plots as inline SVG: bars with the spread of their rounds, and latencies on a scale of powers of ten.

use std::fmt::Write as _;

use super::{Figure, Line, Results};

const WIDTH: f64 = 640.0;
/// Where bars begin; names stand before it.
const LEFT: f64 = 190.0;
/// Where the longest bar ends; figures stand behind it.
const RIGHT: f64 = 540.0;
const ROW: f64 = 26.0;

/// One bar for each line that has the figure; `None` if no line has it.
pub(super) fn bars(results: &Results, figure: &Figure) -> Option<String> {
    let rows: Vec<(&Line, crate::statistics::Spread)> =
        results.entries.iter().filter_map(|line| Some((line, line.spread(figure.name)?))).collect();
    let longest = rows.iter().map(|(_, spread)| spread.max).reduce(f64::max)?.max(f64::MIN_POSITIVE);
    let scale = |value: f64| LEFT + (RIGHT - LEFT) * (value / longest).clamp(0.0, 1.0);
    let mut svg = open(rows.len(), figure.title);
    for (place, (line, spread)) in rows.iter().enumerate() {
        let top = ROW * place as f64;
        let (middle, end) = (top + ROW / 2.0, scale(spread.median));
        name(&mut svg, line, middle);
        let _ = write!(
            svg,
            "<rect class=\"{}\" x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"2\"/>",
            class(line),
            top + 4.0,
            (end - LEFT).max(1.0),
            ROW - 8.0
        );
        if spread.max > spread.min {
            whisker(&mut svg, scale(spread.min), scale(spread.max), middle);
        }
        let behind = scale(spread.max).max(end) + 8.0;
        let _ = write!(
            svg,
            "<text x=\"{behind:.1}\" y=\"{middle:.1}\" dominant-baseline=\"central\">{}</text>",
            grouped(spread.median, figure.digits.min(if spread.median < 10.0 { 2 } else { 1 }))
        );
    }
    svg.push_str("</svg>");
    Some(svg)
}

/// Dots for p50, p99 and p99.9 of each line; `None` if no line has them.
pub(super) fn latencies(results: &Results) -> Option<String> {
    let of = |line: &Line| {
        let value = |figure| line.spread(figure).map(|spread| spread.median.max(0.01));
        Some([value("p50_ms")?, value("p99_ms")?, value("p999_ms")?])
    };
    let rows: Vec<(&Line, [f64; 3])> =
        results.entries.iter().filter_map(|line| Some((line, of(line)?))).collect();
    let least = rows.iter().map(|(_, values)| values[0]).reduce(f64::min)?.log10().floor();
    let most = rows.iter().map(|(_, values)| values[2]).reduce(f64::max)?.log10().ceil().max(least + 1.0);
    let scale = |value: f64| {
        LEFT + (WIDTH - 30.0 - LEFT) * ((value.log10() - least) / (most - least)).clamp(0.0, 1.0)
    };
    let mut svg = open(rows.len() + 1, "latency");
    let bottom = ROW * rows.len() as f64;
    let mut power = least;
    while power <= most {
        let (value, place) = (10_f64.powf(power), scale(10_f64.powf(power)));
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{place:.1}\" x2=\"{place:.1}\" y1=\"0\" y2=\"{bottom}\"/>\
             <text class=\"axis\" x=\"{place:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{} ms</text>",
            bottom + 17.0,
            grouped(value, usize::from(value < 1.0) + usize::from(value < 0.1))
        );
        power += 1.0;
    }
    for (place, (line, values)) in rows.iter().enumerate() {
        let middle = ROW * place as f64 + ROW / 2.0;
        name(&mut svg, line, middle);
        let [p50, p99, p999] = values.map(scale);
        let _ = write!(
            svg,
            "<line class=\"range {0}\" x1=\"{p50:.1}\" x2=\"{p999:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>\
             <circle class=\"{0}\" cx=\"{p50:.1}\" cy=\"{middle}\" r=\"5\"/>\
             <rect class=\"{0}\" x=\"{1:.1}\" y=\"{2}\" width=\"4\" height=\"14\"/>\
             <circle class=\"hollow {0}\" cx=\"{p999:.1}\" cy=\"{middle}\" r=\"4\"/>",
            class(line),
            p99 - 2.0,
            middle - 7.0
        );
    }
    svg.push_str("</svg>");
    Some(svg)
}

fn open(rows: usize, title: &str) -> String {
    let height = ROW * rows as f64;
    format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">")
}

fn name(svg: &mut String, line: &Line, middle: f64) {
    let weight = if line.ours { " class=\"own\"" } else { "" };
    let x = LEFT - 10.0;
    let _ = write!(
        svg,
        "<text{weight} x=\"{x}\" y=\"{middle:.1}\" text-anchor=\"end\" dominant-baseline=\"central\">{}</text>",
        line.label()
    );
}

fn whisker(svg: &mut String, from: f64, to: f64, middle: f64) {
    let (above, below) = (middle - 4.0, middle + 4.0);
    let _ = write!(
        svg,
        "<path class=\"whisker\" d=\"M{from:.1} {above}V{below}M{from:.1} {middle}H{to:.1}M{to:.1} {above}V{below}\"/>"
    );
}

fn class(line: &Line) -> &'static str {
    match (line.ours, line.name.as_str()) {
        (true, _) => "ours",
        (_, super::FLOOR) => "floor",
        _ => "peer",
    }
}

/// A number with commas between thousands.
pub(crate) fn grouped(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, part) = text.split_once('.').map_or((text.as_str(), ""), |(whole, part)| (whole, part));
    let mut result = String::new();
    for (place, digit) in whole.chars().enumerate() {
        let left = whole.len() - place;
        if place > 0 && left.is_multiple_of(3) && !result.ends_with('-') {
            result.push(',');
        }
        result.push(digit);
    }
    if !part.is_empty() {
        result.push('.');
        result.push_str(part);
    }
    result
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::super::FIGURES;
    use super::super::tests::results;
    use super::*;

    #[test]
    fn thousands() {
        for (value, digits, text) in [
            (0.0, 0, "0"),
            (999.0, 0, "999"),
            (1000.0, 0, "1,000"),
            (1_234_567.89, 1, "1,234,567.9"),
            (-1000.0, 0, "-1,000"),
        ] {
            assert_eq!(grouped(value, digits), text);
        }
    }

    #[test]
    fn a_bar_for_each_who_has_the_figure() {
        let results = results("hit-1k", &[("edge-cache", true, 10.0), ("nginx", false, 20.0)]);
        let figure = FIGURES.iter().find(|figure| figure.name == "cpu_us").unwrap();
        let svg = bars(&results, figure).unwrap();
        assert!(svg.contains("width=\"350.0\"") && svg.contains("width=\"175.0\""), "{svg}");
        assert_eq!(latencies(&results), None);
    }
}
