//! What was measured, as a page.

use segloss::Preference;

use super::input::Source;
use super::measure::{Bias, Class, OfLoss, Wish};
use super::picture::row;
use super::text::{MEANING, called, index, percent, preferred, ratio, verb};
use super::verdict::{Verdict, change};
use crate::curves::Ink;
use crate::page::svg::sample;
use crate::page::{self as frame, CHARTS, chart, escape};
use crate::table::decimal;

const STYLE: &str = include_str!("page.css");

/// The whole page.
pub(super) fn page(source: &Source, bias: &Bias) -> String {
    let computed = format!("by ndarray in f64, {}", bias.activation);
    let facts = source.facts.iter().map(|(name, fact)| (*name, fact.as_str()));
    let notes: Vec<String> = source.told.iter().cloned().chain(bias.notes.iter().map(ToString::to_string)).collect();
    let body = [
        frame::facts(facts.chain([("computed", computed.as_str())])),
        short(bias),
        sizes(bias),
        preferences(bias),
        curves(bias),
        frame::list("Notes", &notes),
    ];
    frame::page("Which size each loss wants", &[CHARTS, STYLE].concat(), &body)
}

/// The class with its index and its name, at the start of a sentence or a heading.
fn heading(class: &Class, bias: &Bias) -> String {
    let index = if index(bias) == "channel" { "Channel" } else { "Class" };
    escape(&format!("{index} {}", called(class)))
}

/// Numbers as they are set in a page.
fn set(text: &str) -> String {
    escape(text).replace(" x", " ×").replace('-', "−").replace(" %", "\u{a0}%")
}

/// What each loss would do to each region, in sentences.
fn short(bias: &Bias) -> String {
    let mut html = String::from(
        "<h2>In short</h2>\n<p>How many pixels each loss would give to a region, if nothing but its size could change on these \
         predictions, beside how many it truly has:</p>\n",
    );
    for (i, class) in bias.classes.iter().enumerate() {
        let Verdict { smaller, larger, right, others } = Verdict::of(bias, i);
        let code = |name: &str| format!("<code>{}</code>", escape(name));
        let changes = |all: &[(f64, &str)]| {
            let one = |(ratio, name): &(f64, &str)| format!("{} ({})", code(name), set(&change(*ratio)));
            all.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        let mut lines = Vec::new();
        if class.target == 0.0 {
            lines.push("There is no true pixel of it.".to_owned());
        }
        for (all, way) in [(&smaller, "smaller"), (&larger, "larger")] {
            if !all.is_empty() {
                lines.push(format!("<b>{way}</b> than it is with {}", changes(all)));
            }
        }
        if !right.is_empty() {
            let names: Vec<String> = right.into_iter().map(code).collect();
            lines.push(format!("{}, with {}", set(&Verdict::right_within()), names.join(", ")));
        }
        lines.extend(others.iter().map(|other| escape(other)));
        let items: String = lines.iter().map(|line| format!("<li>{line}</li>\n")).collect();
        html.push_str(&format!("<h3>{}</h3>\n<ul class=\"short\">\n{items}</ul>\n", heading(class, bias)));
    }
    html
}

/// The regions as they are.
fn sizes(bias: &Bias) -> String {
    let row = |class: &Class| {
        let both = |share: f64| {
            let ratio = set(&ratio(class, share));
            format!("<td class=\"number\">{}</td><td class=\"number times\">{ratio}</td>", set(&percent(share)))
        };
        let truth = format!("<td class=\"number\">{}</td>", set(&percent(class.target)));
        let cells = [truth, both(class.predicted), both(class.decided)].concat();
        format!("<tr><th scope=\"row\">{}</th>{cells}</tr>\n", heading(class, bias))
    };
    let rows: String = bias.classes.iter().map(row).collect();
    format!(
        "<h2>Sizes now</h2>\n<p>Shares of the pixels that count. <i>Probability</i> is the mean of the probabilities that the \
         class gets, <i>decisions</i> are the pixels that it wins; × says how many times the true size.</p>\n\
         <div class=\"wide\"><table>\n<thead><tr><th></th><th scope=\"col\" class=\"number\">true</th>\
         <th scope=\"col\" class=\"number\">probability</th><td></td><th scope=\"col\" class=\"number\">decisions</th><td></td>\
         </tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}

/// Each loss on each class.
fn preferences(bias: &Bias) -> String {
    let groups = bias
        .classes
        .iter()
        .map(|class| format!("<th class=\"first\" scope=\"colgroup\" colspan=\"3\">{}</th>", heading(class, bias)));
    let columns =
        "<th class=\"first\" scope=\"col\">probability</th><th scope=\"col\">decisions</th><th scope=\"col\">pressure</th>";
    let row = |(i, loss): (usize, &OfLoss)| {
        let cells: String = loss.classes.iter().zip(&bias.classes).map(|(wish, class)| cells(wish, class)).collect();
        let name = escape(&loss.loss);
        format!("<tr><th scope=\"row\"><span>{}<code>{name}</code></span></th>{cells}</tr>\n", sample(Ink::of(i)))
    };
    let rows: String = bias.losses.iter().enumerate().map(row).collect();
    format!(
        "<h2>What each loss prefers</h2>\n<p>The size at which the loss is least, in true sizes; and its pressure now: ▼ a step \
         of gradient descent shrinks the region, ▲ it grows it.</p>\n{KEY}<div class=\"wide\"><table class=\"prefers\">\n<thead>\n\
         <tr><th rowspan=\"2\">loss</th>{}</tr>\n<tr>{}</tr>\n</thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n<p>{MEANING}</p>\n",
        groups.collect::<String>(),
        columns.repeat(bias.classes.len())
    )
}

const KEY: &str = "<ul class=\"key\"><li class=\"s3\">half or less</li><li class=\"s2\">¾ or less</li><li class=\"s1\">smaller</li>\
                   <li>true size</li><li class=\"l1\">larger</li><li class=\"l2\">4/3 or more</li><li class=\"l3\">twice or more</li></ul>\n";

fn cells(wish: &Wish, class: &Class) -> String {
    let [probability, decisions] = preferred(wish, class);
    let tints = [wish.predicted_ratio, wish.decided_ratio].map(|ratio| tint(&wish.preference, ratio));
    let pressure = match verb(wish) {
        "shrinks" => format!("{} ▼", decimal(wish.pressure)),
        "grows" => format!("{} ▲", decimal(wish.pressure)),
        _ => decimal(0.0),
    };
    format!(
        "<td class=\"first number {}\">{}</td><td class=\"number {}\">{}</td><td class=\"number\">{}</td>",
        tints[0],
        set(&probability),
        tints[1],
        set(&decisions),
        set(&pressure)
    )
}

/// How far a size is from the true one.
fn tint(preference: &Preference, ratio: Option<f64>) -> &'static str {
    let ratio = match preference {
        Preference::Nothing => 0.0,
        Preference::Everything => f64::INFINITY,
        _ => ratio.unwrap_or(1.0),
    };
    match ratio {
        r if r <= 0.5 => "s3",
        r if r <= 0.75 => "s2",
        r if r < 0.98 => "s1",
        r if r >= 2.0 => "l3",
        r if r >= 4.0 / 3.0 => "l2",
        r if r > 1.02 => "l1",
        _ => "",
    }
}

/// Loss and pressure along the shift.
fn curves(bias: &Bias) -> String {
    let names: Vec<&str> = bias.losses.iter().map(|loss| loss.loss.as_str()).collect();
    let item = |(i, name): (usize, &&str)| format!("<li>{}<code>{}</code></li>", sample(Ink::of(i)), escape(name));
    let legend: String = names.iter().enumerate().map(item).collect();
    let mut html = format!(
        "<h2>Along the size</h2>\n<p>All logits of the class shifted by one number, from a region that is too small to one that \
         is too large. Dots: where a loss is least, and its pressure 0. Upright: the true size.</p>\n\
         <ul class=\"legend\">{legend}</ul>\n"
    );
    let index = if index(bias) == "channel" { "Channel" } else { "Class" };
    for (i, class) in bias.classes.iter().enumerate() {
        let charts: String = row(bias, i, class, index).iter().map(|panel| chart(panel, &names)).collect();
        html.push_str(&format!("<div class=\"charts\">\n{charts}</div>\n"));
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tints_say_how_far_from_the_truth() {
        let of = |ratio| tint(&Preference::Indifferent, Some(ratio));
        assert_eq!([0.5, 0.7, 0.97, 1.0, 1.03, 1.4, 2.0].map(of), ["s3", "s2", "s1", "", "l1", "l2", "l3"]);
        let unmeasured = [Preference::Nothing, Preference::Everything, Preference::Extremes];
        assert_eq!(unmeasured.map(|preference| tint(&preference, None)), ["s3", "l3", ""]);
    }
}
