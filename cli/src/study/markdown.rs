//! The tables of a study as Markdown, to be pasted where it is reported.

use segloss_study::{Shortage, Verdict};

use super::analysis::{Analysis, DICE, HD95, MISSED, OfCondition, OfLoss, SIZE};

/// A table for each condition, under a line that says what it is of.
pub(crate) fn markdown(analysis: &Analysis) -> String {
    let parts: Vec<String> = analysis.conditions.iter().map(|condition| of_condition(analysis, condition)).collect();
    parts.join("\n")
}

fn of_condition(analysis: &Analysis, condition: &OfCondition) -> String {
    let OfCondition { name, losses, order, comparisons, .. } = condition;
    let reference = &analysis.reference;
    // Many classes make a long line.
    let what = condition.what().replacen("; ", if condition.classes.len() > 1 { ";\n" } else { "; " }, 1);
    let mut lines = vec![
        format!("**{name}**: {what}"),
        String::new(),
        format!("| loss | rate | seeds | Dice | size error | HD95 | missed | preferred size | Dice beside `{reference}` |"),
        "|---|---|---|---|---|---|---|---|---|".into(),
    ];
    for loss in losses {
        let compared = comparisons.first().and_then(|all| all.iter().find(|compared| compared.numbers.loss == loss.loss));
        let beside = compared.map_or_else(String::new, |compared| {
            let numbers = &compared.numbers;
            let difference = numbers.mean_difference.map_or("–".into(), |mean| minus(format!("{mean:+.3}")));
            format!("{difference}{}: {}", range(numbers.interval, 1.0, 3), verdict(&numbers.verdict, numbers.metric.margin))
        });
        lines.push(row(loss, &beside));
    }
    if let Some(order) = order {
        lines.push(String::new());
        let order = minus(format!("{order:+.2}"));
        lines.push(format!("Rank correlation, over losses, of size error and preferred size: {order}"));
    }
    if condition.classes.len() > 1 {
        lines.extend(by_class(condition));
    }
    lines.join("\n") + "\n"
}

/// Dice of all test pixels of each class: the mean over seeds, and the least and the greatest.
fn by_class(condition: &OfCondition) -> Vec<String> {
    let mut lines = vec![
        String::new(),
        format!("| Dice of all pixels | {} |", condition.classes.join(" | ")),
        format!("|---|{}", "---|".repeat(condition.classes.len())),
    ];
    for loss in &condition.losses {
        let cells = loss.pooled.iter().map(|seeds| {
            let mean = seeds.iter().sum::<f64>() / seeds.len() as f64;
            let [least, greatest] = [f64::min, f64::max].map(|of| seeds.iter().copied().reduce(of).unwrap_or(mean));
            if seeds.is_empty() { "–".into() } else { format!("{mean:.2} ({least:.2} to {greatest:.2})") }
        });
        lines.push(format!("| {} | {} |", name(loss), cells.collect::<Vec<String>>().join(" | ")));
    }
    lines
}

/// A loss as a cell of a table.
fn name(loss: &OfLoss) -> String {
    format!("`{}`", loss.loss.replace('|', "\\|"))
}

/// A number with the sign for print; losses keep the one that is read.
fn minus(number: String) -> String {
    number.replace('-', "−")
}

fn row(loss: &OfLoss, beside: &str) -> String {
    let value = |metric: &str| loss.mean(metric).and_then(|mean| mean.mean);
    let interval = |metric: &str| loss.mean(metric).and_then(|mean| mean.interval);
    let number = |value: Option<f64>, digits: usize| value.map_or("–".into(), |value| minus(format!("{value:.digits$}")));
    let percent = |value: Option<f64>| value.map_or("–".into(), |value| minus(format!("{:+.1} %", 100.0 * value)));
    let preferred: Vec<String> = loss
        .preferred
        .iter()
        .map(|size| match (size.decided, size.others.first()) {
            (None, Some(other)) => other.clone(),
            (decided, _) => number(decided, 2),
        })
        .collect();
    let cells = [
        name(loss),
        loss.rate.map_or("–".into(), |rate| rate.to_string()),
        loss.runs.to_string(),
        format!("{}{}", number(value(DICE), 3), range(interval(DICE), 1.0, 3)),
        format!("{}{}", percent(value(SIZE)), range(interval(SIZE), 100.0, 1)),
        number(value(HD95), 1),
        percent(value(MISSED)).trim_start_matches('+').to_owned(),
        preferred.join(", "),
        beside.to_owned(),
    ];
    format!("| {} |", cells.join(" | "))
}

fn range(interval: Option<[f64; 2]>, scale: f64, digits: usize) -> String {
    interval.map_or_else(String::new, |ends| {
        let [low, high] = ends.map(|end| minus(format!("{:.digits$}", scale * end)));
        format!(" ({low} to {high})")
    })
}

/// A verdict in few words.
fn verdict(verdict: &Verdict, margin: Option<f64>) -> String {
    let little = |within_margin: bool| if within_margin { ", by too little to matter" } else { "" };
    match verdict {
        Verdict::Better { within_margin, .. } => format!("better{}", little(*within_margin)),
        Verdict::Worse { within_margin, .. } => format!("worse{}", little(*within_margin)),
        Verdict::Larger { .. } => "larger".into(),
        Verdict::Smaller { .. } => "smaller".into(),
        Verdict::NoLargerThan { difference, .. } => format!("no difference above {}", margin.unwrap_or(*difference)),
        Verdict::NotEnough(Shortage::Runs { power, wanted, .. }) if power >= wanted => "neither found nor ruled out".into(),
        Verdict::NotEnough(Shortage::Runs { seeds: Some(seeds), .. }) => format!("{seeds} seeds would tell"),
        Verdict::Failures { .. } => "not comparable, runs failed".into(),
        _ => "not enough to tell".into(),
    }
}
