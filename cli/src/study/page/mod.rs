//! The page of a study: the answer first, then each condition with what it is made of.

mod answer;
mod cases;
mod forest;
mod sizes;

use std::path::Path;

use segloss_study::Verdict;

use self::forest::{Twig, forest};
use super::analysis::{Analysis, Compared, DICE, HD95, METRICS, MISSED, OFF, OfCondition, OfLoss, SIZE};
use super::plan::Plan;
use super::record::{Epoch, Record, Role};
use crate::curves::Ink;
use crate::error::CliError;
use crate::output;
use crate::page::svg::{Axis, Chart, number, sample};
use crate::page::{CHARTS, escape, facts, page};

const STYLE: &str = include_str!("page.css");

/// Writes it.
pub(super) fn write(path: &Path, plan: &Plan, analysis: &Analysis, records: &[Record], out: &Path) -> Result<(), CliError> {
    let mut body = vec![answer::answer(analysis)];
    for condition in &analysis.conditions {
        body.push(of_condition(analysis, condition, records));
        if let Some(planned) = plan.conditions.iter().find(|planned| planned.name == condition.name) {
            body.push(cases::section(plan, planned, records, out)?);
        }
    }
    body.push(how(plan, analysis));
    output::write_file(path, page("Which loss?", &[CHARTS, STYLE].concat(), &body).as_bytes())
}

/// What is better or worse by so little that it does not matter is neither.
fn class(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Better { within_margin: false, .. } => "better",
        Verdict::Worse { within_margin: false, .. } => "worse",
        _ => "",
    }
}

fn compared<'a>(condition: &'a OfCondition, metric: &str) -> &'a [Compared] {
    let place = METRICS.iter().position(|other| *other == metric);
    place.and_then(|place| condition.comparisons.get(place)).map_or(&[], Vec::as_slice)
}

fn of_condition(analysis: &Analysis, condition: &OfCondition, records: &[Record]) -> String {
    let OfCondition { name, asked, classes, shares, images: [train, test], losses, .. } = condition;
    let shares: Vec<String> =
        classes.iter().zip(shares).map(|(class, share)| format!("{class} {} %", number(100.0 * share))).collect();
    let options: Vec<String> = asked.iter().map(|(option, value)| format!("--{option} {value}").trim().to_owned()).collect();
    let images = format!("{train} to learn from, {test} to be judged by");
    let mut html = format!("<h2>{}</h2>\n", escape(name));
    html.push_str(&facts([
        ("region sizes", shares.join(", ").as_str()),
        ("images", images.as_str()),
        ("training", options.join(" ").as_str()),
    ]));
    let dice = compared(condition, DICE);
    if !dice.is_empty() {
        let margin = dice.first().and_then(|compared| compared.numbers.metric.margin);
        html.push_str("<div class=\"charts\">\n");
        let title = format!("Dice less that of {}: to the right is better", analysis.reference);
        html.push_str(&forest(&title, &twigs(dice), margin, "difference of Dice, with its 95 % interval"));
        let title = format!("Size off, less that of {}: to the left is better", analysis.reference);
        html.push_str(&forest(&title, &twigs(compared(condition, OFF)), None, "difference of |predicted − true| ÷ true size"));
        html.push_str("</div>\n<ul>\n");
        for compared in dice {
            let (loss, words) = (escape(&compared.numbers.loss), escape(&compared.words));
            html.push_str(&format!(
                "<li class=\"{}\"><strong>{loss}</strong>: {words}</li>\n",
                class(&compared.numbers.verdict)
            ));
        }
        html.push_str("</ul>\n");
    }
    html.push_str(&table(losses));
    html.push_str(&legend(losses));
    html.push_str("<div class=\"charts\">\n");
    html.push_str(&sizes::chart(condition, records));
    html.push_str(&courses(condition, records));
    html.push_str("</div>\n");
    html.push_str(&details(condition));
    html
}

fn twigs(compared: &[Compared]) -> Vec<Twig<'_>> {
    let twig = |compared: &'_ Compared| {
        let numbers = &compared.numbers;
        (numbers.mean_difference, numbers.interval, class(&numbers.verdict))
    };
    compared
        .iter()
        .map(|one| {
            let (difference, interval, class) = twig(one);
            Twig { name: &one.numbers.loss, difference, interval, class }
        })
        .collect()
}

/// The losses with the ink of their lines.
fn legend(losses: &[OfLoss]) -> String {
    let item = |(place, loss): (usize, &OfLoss)| format!("<li>{}{}</li>\n", sample(Ink::of(place)), escape(&loss.loss));
    let items: String = losses.iter().enumerate().map(item).collect();
    format!("<ul class=\"legend\">\n{items}</ul>\n")
}

/// Means with their intervals.
fn table(losses: &[OfLoss]) -> String {
    let heads = ["loss", "Dice", "size error", "HD95", "missed", "preferred size as probability", "as decisions", "rate"];
    let heads: String = heads.iter().map(|head| format!("<th scope=\"col\">{head}</th>")).collect();
    let row = |loss: &OfLoss| {
        let number = |metric: &str, scale: f64, digits: usize, unit: &str| {
            let Some(found) = loss.mean(metric) else { return "–".to_owned() };
            let Some(value) = found.mean else { return "–".to_owned() };
            let sign =
                if metric == SIZE { format!("{:+.digits$}", scale * value) } else { format!("{:.digits$}", scale * value) };
            let range = found.interval.map_or_else(String::new, |[low, high]| {
                format!(" <span class=\"quiet\">({:.digits$} to {:.digits$})</span>", scale * low, scale * high)
            });
            format!("{sign}{unit}{range}").replace('-', "−").replace("class=\"quiet−", "class=\"quiet-")
        };
        let sizes = |of: fn(&super::analysis::PreferredMean) -> Option<f64>| {
            let all: Vec<String> = loss
                .preferred
                .iter()
                .map(|size| {
                    of(size).map_or_else(|| size.others.first().cloned().unwrap_or("–".into()), |v| format!("{v:.2} ×"))
                })
                .collect();
            all.join(", ")
        };
        let cells = [
            number(DICE, 1.0, 3, ""),
            number(SIZE, 100.0, 1, " %"),
            number(HD95, 1.0, 2, ""),
            number(MISSED, 100.0, 1, " %"),
            sizes(|size| size.predicted),
            sizes(|size| size.decided),
            loss.rate.map_or("–".into(), |rate| rate.to_string()),
        ];
        let cells: String = cells.iter().map(|cell| format!("<td class=\"number\">{cell}</td>")).collect();
        format!("<tr><th scope=\"row\">{}</th>{cells}</tr>\n", escape(&loss.loss))
    };
    let rows: String = losses.iter().map(row).collect();
    format!("<div class=\"wide\"><table>\n<tr>{heads}</tr>\n{rows}</table></div>\n")
}

/// Means over seeds, epoch by epoch.
fn courses(condition: &OfCondition, records: &[Record]) -> String {
    let chart = |title: &str, of: &dyn Fn(&Epoch) -> Option<f64>, level: f64| {
        let lines: Vec<Vec<(f64, f64)>> = condition.losses.iter().map(|loss| course(condition, loss, records, of)).collect();
        let points = || lines.iter().flatten();
        // What is many times too large or small would leave no room for the rest.
        let within = points().map(|(_, y)| y.clamp(level - 2.5, level + 2.5));
        let (x, y) = (Axis::over(points().map(|(x, _)| *x), &[1.0]), Axis::over(within, &[level]));
        let below: Vec<(f64, String)> = x.ticks().into_iter().map(|tick| (tick, number(tick))).collect();
        let mut chart = Chart::new(x, y, "epoch", &below, &number);
        chart.level("zero", level);
        for (place, (line, loss)) in lines.iter().zip(&condition.losses).enumerate() {
            chart.line(Ink::of(place), &loss.loss, line, &[]);
        }
        chart.figure(title)
    };
    let first = |values: &[Option<f64>]| {
        let known: Vec<f64> = values.iter().copied().flatten().collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    };
    [
        chart(
            "Dice over the training, of all pixels of 16 test images, of large ones their middle",
            &|epoch| first(&epoch.dice),
            0.0,
        ),
        chart("Predicted ÷ true size there", &|epoch| first(&epoch.size), 1.0),
    ]
    .concat()
}

fn course(condition: &OfCondition, loss: &OfLoss, records: &[Record], of: &dyn Fn(&Epoch) -> Option<f64>) -> Vec<(f64, f64)> {
    let runs = || records.iter().filter(|r| r.role == Role::Test && r.condition == condition.name && r.loss == loss.loss);
    let epochs = runs().map(|record| record.curve.len()).max().unwrap_or(0);
    let mean = |i: usize| {
        let values: Vec<f64> = runs().filter_map(|record| of(record.curve.get(i)?)).collect();
        (!values.is_empty()).then(|| (i as f64 + 1.0, values.iter().sum::<f64>() / values.len() as f64))
    };
    (0..epochs).filter_map(mean).collect()
}

/// Every comparison by every metric.
fn details(condition: &OfCondition) -> String {
    let mut rows = String::new();
    for (metric, compared) in METRICS.iter().zip(&condition.comparisons) {
        for Compared { numbers, words } in compared {
            let p = |p: f64| if p < 1e-4 { "&lt; 0.0001".to_owned() } else { format!("{p:.4}") };
            let cells = [numbers.seeds.to_string(), numbers.images.to_string(), p(numbers.wilcoxon.p), p(numbers.p_holm)];
            let cells: String = cells.iter().map(|cell| format!("<td class=\"number\">{cell}</td>")).collect();
            let (loss, words) = (escape(&numbers.loss), escape(words));
            rows.push_str(&format!("<tr><th scope=\"row\">{metric}: {loss}</th><td>{words}</td>{cells}</tr>\n"));
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "<details><summary>Every comparison, with its test</summary>\n<div class=\"wide\"><table>\n<tr><th></th><th>verdict</th>\
         <th>seeds</th><th>images</th><th>p, Wilcoxon</th><th>p, after Holm</th></tr>\n{rows}</table></div></details>\n"
    )
}

/// How to read it, and what it was made with.
fn how(plan: &Plan, analysis: &Analysis) -> String {
    let mut tried = String::new();
    for condition in &analysis.conditions {
        for loss in condition.losses.iter().filter(|loss| !loss.tried.is_empty()) {
            let all: Vec<String> = loss
                .tried
                .iter()
                .map(|(rate, dice, _)| format!("{rate}: {}", dice.map_or("–".into(), |d| format!("{d:.3}"))))
                .collect();
            let (name, text) = (escape(&condition.name), escape(&loss.loss));
            tried.push_str(&format!("<tr><th scope=\"row\">{name}, {text}</th><td>{}</td></tr>\n", all.join("; ")));
        }
    }
    format!(
        "<h2>How to read this</h2>\n\
         <p>Each loss trained the same network on the same images {} times, with other first weights, batches and, where images \
         are made up, other images. A seed is the same for all losses, so that they are compared in pairs. Test images chose \
         nothing.</p>\n\
         <p><strong>Dice</strong> is 2 × the pixels that are both true and predicted ÷ (true + predicted pixels), mean over images; \
         a region that is missed counts 0. <strong>Size error</strong> is (predicted − true) ÷ true pixels: below 0 regions come out \
         too small. <strong>HD95</strong> is the 95th percentile of the distances between the surfaces, in pixels or millimetres; \
         where a region is missed or there is none, the image’s diagonal. <strong>Missed</strong> is the share of images whose region \
         was not found at all. <strong>Preferred size</strong> is the multiple of the true size at which the loss would be least on \
         what its own networks predict, as probability and as decided pixels.</p>\n\
         <p>An <strong>interval</strong> is where the mean would lie in 95 % of such studies, over other seeds and images. “Better” \
         and “worse” need an interval that leaves out 0 and a Wilcoxon test over images, corrected by Holm for the number of \
         losses. Differences below {} of Dice are taken not to matter.</p>\n\
         <details><summary>Learning rates that were tried, with their Dice on images that are not tested</summary>\n\
         <div class=\"wide\"><table>\n{tried}</table></div></details>\n\
         <p>Every number behind this page is in <code>results.csv</code> (each image) and <code>analysis.json</code> beside it.</p>\n",
        plan.seeds, plan.margin
    )
}
