//! The report as a page: no scripts, nothing loaded from elsewhere.

use super::{Cell, Failure, HALVINGS, Numbers, Report, Standing, Summary, counted, halvings, short};
use crate::Dtype;
use crate::agreement::{Pair, Place};

const STYLE: &str = include_str!("page.css");

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let title = format!("Conformance of segloss {}", escape(&report.origin.segloss));
    let body = [
        header(report, &title),
        backends(report),
        heat_map(report),
        worst(report),
        pairs(report),
        standing(report),
        failures(report),
        known(report),
        footer(report),
    ];
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{}</main>\n</body>\n</html>\n",
        body.concat()
    )
}

fn header(report: &Report, title: &str) -> String {
    let (class, mark) = if report.agrees() { ("good", "✓") } else { ("bad", "✗") };
    let verdict = escape(&report.verdict());
    let worst = report.backends.iter().rev().filter_map(|b| Some((b, b.worst.as_ref()?)));
    let worst = worst.max_by(|(_, a), (_, b)| a.measured.times.total_cmp(&b.measured.times)).map(|(backend, worst)| {
        let (times, place) = (short(worst.measured.times), escape(&worst.to_string()));
        format!("<p>The worst number is {times} times what is allowed: {place}, on {}.</p>\n", escape(&backend.backend))
    });
    format!(
        "<h1>{title}</h1>\n<p class=\"verdict {class}\">{mark} {verdict}</p>\n{}{}",
        worst.unwrap_or_default(),
        selected(report)
    )
}

/// What was left out, if anything was.
fn selected(report: &Report) -> String {
    let selection = &report.selection;
    let mut only = Vec::new();
    if let Some(text) = &selection.loss {
        only.push(format!("losses with <code>{}</code>", escape(text)));
    }
    if !selection.dtypes.is_empty() {
        only.push(selection.dtypes.iter().map(Dtype::to_string).collect::<Vec<_>>().join(", "));
    }
    if selection.quick {
        only.push("without the case of 10⁸ numbers".to_owned());
    }
    if only.is_empty() { String::new() } else { format!("<p>A part of the suite: {}.</p>\n", only.join("; ")) }
}

fn backends(report: &Report) -> String {
    let row = |Summary { backend, versions, declared, ran, failed, known, .. }: &Summary| {
        let failed = if *failed > 0 { format!("<b class=\"wrong\">✗ {failed}</b>") } else { "0".to_owned() };
        let [ran, declared, known] = [ran, declared, known].map(usize::to_string);
        vec![head(backend), escape(versions), ran, declared, failed, known]
    };
    let headings = ["backend", "built on", "tests run", "of", "failed", "known to fail"];
    section("Backends", "", &table(&headings, 2, report.backends.iter().map(row)))
}

fn heat_map(report: &Report) -> String {
    let columns: Vec<(&Summary, Vec<Dtype>)> =
        report.backends.iter().map(|backend| (backend, backend.dtypes.iter().map(|of| of.dtype).collect())).collect();
    let mut losses: Vec<&str> = report.cells.iter().map(|cell| cell.loss.as_str()).collect();
    // A large case may come after all others, with a loss of its own.
    let mut seen = std::collections::HashSet::new();
    losses.retain(|loss| seen.insert(*loss));

    let group = |(backend, dtypes): &(&Summary, Vec<Dtype>)| {
        format!("<th class=\"first\" scope=\"colgroup\" colspan=\"{}\">{}</th>", dtypes.len().max(1), escape(&backend.backend))
    };
    let groups: String = columns.iter().map(group).collect();
    let each = |(_, dtypes): &(&Summary, Vec<Dtype>)| {
        let heading = |(i, dtype): (usize, &Dtype)| format!("<th{} scope=\"col\">{dtype}</th>", first(i));
        dtypes.iter().enumerate().map(heading).collect::<String>()
    };
    let dtypes: String = columns.iter().map(each).collect();
    let mut rows = String::new();
    for loss in losses {
        rows.push_str(&format!("<tr><th scope=\"row\"><code>{}</code></th>", escape(loss)));
        for (backend, dtypes) in &columns {
            for (i, dtype) in dtypes.iter().enumerate() {
                let is = |cell: &&Cell| cell.loss == loss && cell.backend == backend.backend && cell.dtype == *dtype;
                rows.push_str(&heat(i, report.cells.iter().find(is)));
            }
        }
        rows.push_str("</tr>\n");
    }
    let about = "The worst error of each loss, over all situations, in units of what is allowed: at 1 an error is at the tolerance. \
                 Each colour is a factor of two. Under the pointer a cell tells where it was measured. Half precision is never far \
                 from 1: a stored gradient is rounded once, and little more is allowed.";
    let map = format!(
        "{}<div class=\"wide\"><table class=\"heat\">\n<thead>\n<tr><th scope=\"col\" rowspan=\"2\">loss</th>{groups}</tr>\n\
         <tr>{dtypes}</tr>\n</thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n",
        legend(!report.known.is_empty())
    );
    section("Error of every loss", about, &map)
}

/// Marks where a backend's columns begin.
fn first(i: usize) -> &'static str {
    if i == 0 { " class=\"first\"" } else { "" }
}

fn heat(i: usize, cell: Option<&Cell>) -> String {
    let edge = if i == 0 { "first " } else { "" };
    let Some(cell) = cell else { return format!("<td class=\"{edge}none\">·</td>") };
    let text = cell.worst.as_ref().map_or_else(String::new, |worst| short(worst.measured.times));
    let (class, text) = if cell.failed > 0 {
        ("over".to_owned(), format!("✗ {text}"))
    } else if cell.known > 0 {
        ("known".to_owned(), format!("† {text}"))
    } else {
        (heat_class(cell.worst.as_ref().map(|worst| worst.measured.times)), text)
    };
    format!("<td class=\"{edge}{class}\" title=\"{}\">{}</td>", escape(&tooltip(cell)), text.trim_end())
}

fn heat_class(times: Option<f64>) -> String {
    match times {
        None => "none".to_owned(),
        Some(0.0) => "exact".to_owned(),
        Some(times) => halvings(times).map_or_else(|| "over".to_owned(), |halvings| format!("h{halvings}")),
    }
}

fn tooltip(cell: &Cell) -> String {
    let mut lines = vec![format!("{} on {}, {}", cell.loss, cell.backend, cell.dtype)];
    if let Some(Place { about, measured }) = &cell.worst {
        let (what, times, error) = (&measured.what, measured.times, measured.error);
        lines.push(format!("worst: {what} in {}", about.situation));
        lines.push(format!("{times:.3} of what is allowed, {error:.1e} of the scale"));
    }
    lines.push(counted(cell.cases, "case", "cases"));
    if cell.failed > 0 {
        lines.push(format!("{} failed", cell.failed));
    }
    if cell.known > 0 {
        lines.push(format!("{} failed as the ledger says", cell.known));
    }
    lines.join("\n")
}

fn legend(known: bool) -> String {
    let entry = |class: &str, text: &str| format!("<li><span class=\"{class}\"></span>{text}</li>");
    let step = |i: usize| match i {
        0 => entry("h0", "≤ 1"),
        HALVINGS => entry(&format!("h{i}"), &format!("≤ 1/{}", 1u32 << i)),
        _ => entry(&format!("h{i}"), &format!("1/{}", 1u32 << i)),
    };
    let steps: String = (0..=HALVINGS).rev().map(step).collect();
    let known = if known { entry("known", "† known") } else { String::new() };
    format!("<ul class=\"legend\">{}{steps}{}{known}</ul>\n", entry("exact", "exact"), entry("over", "✗ over"))
}

/// The cells that say where a number was measured, what it was, and how far off.
fn place(place: Option<&Place>) -> [String; 5] {
    let Some(Place { about, measured }) = place else { return std::array::from_fn(|_| String::new()) };
    let times = short(measured.times);
    let times = if measured.over() { format!("<b class=\"wrong\">✗ {times}</b>") } else { times };
    let case = format!("<code>{}</code> {}", escape(&about.loss), escape(&about.situation));
    [case, about.dtype.to_string(), escape(&measured.what), times, format!("{:.1e}", measured.error)]
}

fn worst(report: &Report) -> String {
    let mut rows = Vec::new();
    for summary in &report.backends {
        for of in &summary.dtypes {
            rows.push([vec![head(&summary.backend)], place(of.worst.as_ref()).into()].concat());
        }
    }
    let headings = ["backend", "worst case", "type", "number", "of the tolerance", "of the scale"];
    section("Worst of each backend and type", "", &table(&headings, 4, rows))
}

fn pairs(report: &Report) -> String {
    if report.pairs.is_empty() {
        return String::new();
    }
    let row = |pair: &Pair| {
        let apart = match pair.disagreements.len() {
            0 => "0".to_owned(),
            apart => format!("<b class=\"wrong\">✗ {apart}</b>"),
        };
        [vec![head(&pair.to_string())], place(pair.worst.as_ref()).into(), vec![pair.cases.to_string(), apart]].concat()
    };
    let headings =
        ["backends", "farthest apart in", "type", "number", "of what is allowed", "of the scale", "cases", "too far apart"];
    let about = "Two backends may differ by twice the tolerance.";
    section("Backends among themselves", about, &table(&headings, 4, report.pairs.iter().map(row)))
}

fn standing(report: &Report) -> String {
    let divisor = |i: usize| if i == 0 { "tolerance".to_owned() } else { format!("/ {}", 1u32 << i) };
    let divisors: Vec<String> = (0..=HALVINGS).map(divisor).collect();
    let headings: Vec<&str> =
        ["backend", "type", "numbers", "cases"].into_iter().chain(divisors.iter().map(String::as_str)).collect();
    let row = |Standing { backend, dtype, numbers, cases, passing }: &Standing| {
        let numbers = match numbers {
            Numbers::All => "all",
            Numbers::Values => "values",
            Numbers::Gradient => "gradient",
        };
        let cells = vec![head(backend), dtype.to_string(), numbers.to_owned(), cases.to_string()];
        let passing = passing.iter().map(|count| if count == cases { format!("<b>{count}</b>") } else { count.to_string() });
        cells.into_iter().chain(passing).collect::<Vec<_>>()
    };
    let about = "Cases that still pass as every tolerance is halved, and halved again. Where all do, the number is bold.";
    section("Where the backends stand", about, &table(&headings, 3, report.standing.iter().map(row)))
}

fn failures(report: &Report) -> String {
    let mut text = String::new();
    if report.agrees() {
        text.push_str("<p>None.</p>\n");
    }
    if !report.failures.is_empty() {
        text.push_str(&list(report.failures.iter().map(entry)));
    }
    if report.disagreements() > 0 {
        let entries = |pair: &Pair| {
            let name = pair.to_string();
            pair.disagreements.iter().map(|d| (name.clone(), d.test.clone(), d.message.clone())).collect::<Vec<_>>()
        };
        text.push_str("<h3>Too far apart</h3>\n");
        text.push_str(&list(report.pairs.iter().flat_map(entries)));
    }
    section("Failures", "", &text)
}

fn known(report: &Report) -> String {
    if report.known.is_empty() {
        return String::new();
    }
    section("Known differences", "Tests that fail as a ledger says.", &list(report.known.iter().map(entry)))
}

fn entry(Failure { backend, test, message }: &Failure) -> (String, String, String) {
    (backend.clone(), test.clone(), message.clone())
}

fn footer(report: &Report) -> String {
    let origin = &report.origin;
    let made = [origin.rustc.as_deref(), origin.profile.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(", ");
    let made = if made.is_empty() { made } else { format!(", built with {}", escape(&made)) };
    let processors = origin.processors.map_or_else(String::new, |n| format!(", {}", counted(n, "processor", "processors")));
    let (os, architecture) = (escape(&origin.os), escape(&origin.architecture));
    let (version, date, seconds) = (escape(&origin.segloss), escape(&origin.date), origin.seconds);
    format!(
        "<footer>\n<p>segloss {version}{made}. {os} on {architecture}{processors}. {date}, in {seconds:.0} s.</p>\n\
         <p>Errors are relative to scales that the oracle computes with its answer; tolerances are derived in \
         <code>docs/numerics.md</code>.</p>\n</footer>\n"
    )
}

fn section(title: &str, about: &str, content: &str) -> String {
    let about = if about.is_empty() { String::new() } else { format!("<p>{about}</p>\n") };
    format!("<section>\n<h2>{title}</h2>\n{about}{content}</section>\n")
}

/// A table of cells that are markup already; a row's first so many cells are text, the others
/// numbers.
fn table(headings: &[&str], text: usize, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let class = |column: usize| if column < text { "" } else { " class=\"number\"" };
    let heading = |(column, heading): (usize, &&str)| format!("<th scope=\"col\"{}>{heading}</th>", class(column));
    let headings: String = headings.iter().enumerate().map(heading).collect();
    let cell = |(column, cell): (usize, String)| format!("<td{}>{cell}</td>", class(column));
    let row = |row: Vec<String>| format!("<tr>{}</tr>\n", row.into_iter().enumerate().map(cell).collect::<String>());
    let rows: String = rows.into_iter().map(row).collect();
    format!("<div class=\"wide\"><table>\n<thead><tr>{headings}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n")
}

/// Backend, test, and what is said of it.
fn list(entries: impl Iterator<Item = (String, String, String)>) -> String {
    let item = |(backend, test, message): (String, String, String)| {
        format!("<li>{} <code>{}</code><br>{}</li>\n", head(&backend), escape(&test), escape(&message))
    };
    let items: String = entries.map(item).collect();
    format!("<ul class=\"failures\">\n{items}</ul>\n")
}

fn head(text: &str) -> String {
    format!("<strong>{}</strong>", escape(text))
}

/// Text as it stands in markup and in attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' => escaped.push_str("&#10;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}
