//! `results/index.html`: all results as one page that needs nothing else.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::svg::{bars, grouped, latencies};
use super::targets::{Outcome, number, outcomes};
use super::{FIGURES, Figure, Line, Results};

pub(crate) fn write(folder: &Path, all: &[Results]) -> anyhow::Result<()> {
    fs::write(folder.join("index.html"), page(all))?;
    Ok(())
}

fn page(all: &[Results]) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Enjambre beside its peers</title>\n<style>\n{}</style>\n<h1>Enjambre beside its peers</h1>\n",
        include_str!("page.css")
    );
    about(&mut html, all);
    targets(&mut html, &outcomes(all));
    for results in all {
        section(&mut html, results);
    }
    html
}

fn about(html: &mut String, all: &[Results]) {
    let Some(last) = all.iter().max_by(|a, b| a.date.cmp(&b.date)) else { return };
    let machine = &last.machine;
    let _ = writeln!(
        html,
        "<p>Measured until {} on {} with {} cores and {} GiB, Linux {}, {}. Load by {}; PHP {}; Enjambre at commit {}. Each \
         server has one core and its load the other; contestants are measured in turn, {} times {} s each.</p>",
        last.date,
        escaped(&machine.cpu),
        machine.cores,
        machine.memory_gib,
        escaped(&machine.kernel),
        escaped(&machine.system),
        escaped(&machine.wrk),
        escaped(&machine.php),
        escaped(&machine.commit),
        last.rounds,
        last.seconds
    );
    html.push_str(
        "<p class=\"dim\">Bars are medians, whiskers the least and the greatest of the rounds. Latency is that of a closed loop at \
         full load: who is slow is asked less often, so it says how long requests wait in a saturated server, not what a \
         visitor of a quiet one sees (● p50, ▮ p99, ○ p99.9). The floor writes a canned response and does nothing else; what \
         it costs is the kernel. Everything goes over loopback, and on two cores the load generator and the origin share one.</p>\n",
    );
}

fn targets(html: &mut String, outcomes: &[Outcome]) {
    html.push_str(
        "<section><h2>Numbers to reach</h2><div class=\"scroll\"><table><tr><th>Number</th><th>Scenario</th><th>Target</th>\
         <th>Measured</th><th></th></tr>\n",
    );
    for outcome in outcomes {
        let measured = outcome.measured.map_or_else(
            || "–".to_owned(),
            |spread| {
                format!(
                    "{} <span class=\"spread\">{}–{}</span>",
                    number(spread.median),
                    number(spread.min),
                    number(spread.max)
                )
            },
        );
        let verdict = match outcome.reached {
            Some(true) => "<span class=\"good\">reached</span>",
            Some(false) => "<span class=\"bad\">not reached</span>",
            None => "not measured",
        };
        let _ = writeln!(
            html,
            "<tr><td class=\"wrap\">{}</td><td><a href=\"#{1}\">{1}</a></td><td>{2}</td><td>{measured}</td><td>{verdict}</td></tr>",
            outcome.what, outcome.scenario, outcome.bound
        );
    }
    html.push_str("</table></div></section>\n");
}

fn section(html: &mut String, results: &Results) {
    let badge = match results.lost_to() {
        Some(better) if better.is_empty() => "<span class=\"badge good\">ahead</span>".to_owned(),
        Some(better) => format!("<span class=\"badge bad\">lost to {}</span>", escaped(&better.join("; "))),
        None => "<span class=\"badge bad\">not measured</span>".to_owned(),
    };
    let primary = results.primary();
    let _ = writeln!(
        html,
        "<section id=\"{0}\"><h2>{1} {badge}</h2><p>{2} <span class=\"dim\">Decided by {3}. {4}, {5} × {6} s{7}.</span></p><div class=\"plots\">",
        results.scenario,
        escaped(&results.title),
        escaped(&results.what),
        primary.title,
        results.date,
        results.rounds,
        results.seconds,
        if results.extra.is_empty() {
            String::new()
        } else {
            format!("; with {}", escaped(&results.extra.join(", ")))
        }
    );
    let second = ["rps", "connection_kib", "refused", "origin_requests"]
        .into_iter()
        .filter(|name| *name != primary.name);
    let others = second.filter_map(|name| FIGURES.iter().find(|figure| figure.name == name));
    for figure in std::iter::once(primary).chain(others) {
        if let Some(svg) = bars(results, figure) {
            let better = if figure.higher_is_better { "more is better" } else { "less is better" };
            let better =
                if figure.name == "refused" { "refused at once instead of kept waiting" } else { better };
            let _ = writeln!(html, "<div><h3>{} ({better})</h3>{svg}</div>", figure.title);
        }
    }
    if let Some(svg) = latencies(results) {
        let _ = writeln!(html, "<div><h3>Latency: ● p50, ▮ p99, ○ p99.9</h3>{svg}</div>");
    }
    html.push_str("</div>\n");
    table(html, results);
    html.push_str("</section>\n");
}

fn table(html: &mut String, results: &Results) {
    let figures: Vec<&Figure> = FIGURES
        .iter()
        .filter(|figure| results.entries.iter().any(|line| line.spread(figure.name).is_some()))
        .collect();
    html.push_str("<div class=\"scroll\"><table><tr><th></th><th>version</th>");
    for figure in &figures {
        let _ = write!(html, "<th>{}</th>", figure.title);
    }
    html.push_str("<th>CPU as a multiple of ours</th></tr>\n");
    for line in &results.entries {
        let own = if line.ours { " class=\"own\"" } else { "" };
        let _ =
            write!(html, "<tr{own}><td>{}</td><td>{}</td>", escaped(&line.label()), escaped(&line.version));
        if let Some(error) = &line.error {
            let _ = writeln!(
                html,
                "<td class=\"wrap bad\" colspan=\"{}\">taken out: {}</td></tr>",
                figures.len() + 1,
                escaped(error.lines().next().unwrap_or_default())
            );
            continue;
        }
        for figure in &figures {
            let _ = write!(html, "<td>{}</td>", cell(line, figure));
        }
        let ours = results.ours(&line.variant).filter(|_| !line.ours);
        let ratio = ours.and_then(|ours| line.over(ours, "cpu_us")).map_or_else(String::new, |ratio| {
            format!("{:.2} <span class=\"spread\">{:.2}–{:.2}</span>", ratio.median, ratio.min, ratio.max)
        });
        let _ = writeln!(html, "<td>{ratio}</td></tr>");
    }
    html.push_str("</table></div>\n");
}

fn cell(line: &Line, figure: &Figure) -> String {
    let Some(spread) = line.spread(figure.name) else { return "–".to_owned() };
    let median = grouped(spread.median, figure.digits);
    if line.rounds.len() > 1
        && matches!(figure.name, "rps" | "cpu_us" | "goodput" | "connection_kib" | "mib_per_cpu_s")
    {
        let (min, max) = (grouped(spread.min, figure.digits), grouped(spread.max, figure.digits));
        return format!("{median} <span class=\"spread\">{min}–{max}</span>");
    }
    median
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::tests::results;
    use super::*;

    #[test]
    fn a_scenario_that_is_lost_says_so() {
        let html = page(&[
            results("hit-1k", &[("edge-cache", true, 10.0), ("nginx", false, 9.0)]),
            results("hit-16k", &[("edge-cache", true, 10.0), ("nginx", false, 19.0)]),
        ]);
        assert_eq!((html.matches(">lost to nginx<").count(), html.matches(">ahead<").count()), (1, 1));
        assert!(html.contains("What &lt;happens&gt;.") && !html.contains("<happens>"));
        assert!(!html.contains("http://") && !html.contains("https://"), "it needs nothing from elsewhere");
    }
}
