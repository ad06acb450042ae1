//! What came out, condition by condition, and every loss beside every other.

use segloss_study::Verdict;

use super::super::analysis::{Analysis, DICE, OfCondition};
use super::class;
use crate::page::escape;

/// What came out, without a formula.
pub(super) fn answer(analysis: &Analysis) -> String {
    let [all, there] = analysis.runs;
    let mut html = String::new();
    if there < all {
        html.push_str(&format!("<p class=\"bad\">{there} of {all} runs are there; what follows may change.</p>\n"));
    }
    html.push_str("<ul>\n");
    for condition in &analysis.conditions {
        html.push_str(&format!(
            "<li><strong>{}</strong>: {}</li>\n",
            escape(&condition.name),
            escape(&said(analysis, condition))
        ));
    }
    html.push_str("</ul>\n");
    if analysis.conditions.len() > 1 {
        html.push_str(&overview(analysis));
    }
    html
}

/// Whether two losses differ by less than matters.
fn little(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::NoLargerThan { .. } | Verdict::Better { .. } | Verdict::Worse { .. })
}

/// One condition in a sentence.
fn said(analysis: &Analysis, condition: &OfCondition) -> String {
    let compared = condition.comparisons.first().map_or(&[][..], Vec::as_slice);
    let names = |wanted: fn(&Verdict) -> bool| -> Vec<String> {
        let chosen = compared.iter().filter(|compared| wanted(&compared.numbers.verdict));
        chosen
            .map(|compared| {
                let by = compared.numbers.mean_difference.map_or_else(String::new, |by| format!(" ({by:+.3})"));
                format!("{}{}", compared.numbers.loss, by.replace('-', "−"))
            })
            .collect()
    };
    let reference = &analysis.reference;
    let mut parts = Vec::new();
    let mut say = |names: Vec<String>, text: &str| {
        if !names.is_empty() {
            parts.push(format!("{text} {}", names.join(", ")));
        }
    };
    say(names(|verdict| class(verdict) == "better"), &format!("better than {reference} by Dice:"));
    say(names(|verdict| class(verdict) == "worse"), &format!("worse than {reference}:"));
    say(names(|verdict| class(verdict).is_empty() && little(verdict)), "no difference that matters:");
    say(names(|verdict| matches!(verdict, Verdict::NotEnough(_))), "not enough runs to tell:");
    say(names(|verdict| matches!(verdict, Verdict::Failures { .. })), "not comparable, because runs failed:");
    if parts.is_empty() { format!("nothing to compare with {reference}") } else { parts.join("; ") }
}

/// Dice of every loss in every condition.
fn overview(analysis: &Analysis) -> String {
    let mut losses: Vec<&str> = Vec::new();
    for loss in analysis.conditions.iter().flat_map(|condition| &condition.losses) {
        if !losses.contains(&loss.loss.as_str()) {
            losses.push(&loss.loss);
        }
    }
    let heads: String = analysis.conditions.iter().map(|c| format!("<th scope=\"col\">{}</th>", escape(&c.name))).collect();
    let row = |loss: &&str| {
        let cell = |condition: &OfCondition| {
            let mean = condition.losses.iter().find(|other| other.loss == **loss).and_then(|other| other.mean(DICE)?.mean);
            let compared = condition.comparisons.first().and_then(|all| all.iter().find(|c| c.numbers.loss == **loss));
            let class = compared.map_or("", |compared| class(&compared.numbers.verdict));
            let mark = match class {
                "better" => " ▲",
                "worse" => " ▼",
                _ => "",
            };
            let text = mean.map_or("–".into(), |mean| format!("{mean:.3}{mark}"));
            format!("<td class=\"number {class}\">{text}</td>")
        };
        let cells: String = analysis.conditions.iter().map(cell).collect();
        format!("<tr><th scope=\"row\">{}</th>{cells}</tr>\n", escape(loss))
    };
    let rows: String = losses.iter().map(row).collect();
    format!(
        "<h2>Dice of every loss</h2>\n<p>Means over test images and seeds. ▲ better than {0}, ▼ worse; without a mark no \
         difference that matters was shown.</p>\n<div class=\"wide\"><table>\n<tr><th></th>{heads}</tr>\n{rows}</table></div>\n",
        escape(&analysis.reference)
    )
}
