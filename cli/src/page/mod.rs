//! What the command's pages share: one file each, no scripts, nothing loaded from elsewhere, light
//! and dark as the reader has it.

mod chart;
pub(crate) mod svg;

pub(crate) use self::chart::chart;

/// The rules that charts need in a page.
pub(crate) const CHARTS: &str = include_str!("chart.css");

const STYLE: &str = include_str!("page.css");

/// The whole page: its title as text, its own rules after the common ones, and its body as markup.
pub(crate) fn page(title: &str, style: &str, body: &[String]) -> String {
    let (title, body) = (escape(title), body.concat());
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <title>{title}</title>\n<style>\n{STYLE}{style}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{body}\
         <footer>segloss {}</footer>\n</main>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// Text as it stands in markup and in attributes.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Facts with their names; those without text are left out.
pub(crate) fn facts<'a>(facts: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let row = |(name, fact): (&str, &str)| format!("<tr><th scope=\"row\">{name}</th><td>{}</td></tr>\n", escape(fact));
    let rows: String = facts.into_iter().filter(|(_, fact)| !fact.is_empty()).map(row).collect();
    format!("<table class=\"facts\">\n{rows}</table>\n")
}

/// Lines of text under a heading; nothing where there are none.
pub(crate) fn list(heading: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let items: String = lines.iter().map(|line| format!("<li>{}</li>\n", escape(line))).collect();
    format!("<h2>{heading}</h2>\n<ul>\n{items}</ul>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_is_no_markup() {
        let html = page("a <b>", "", &[facts([("name", "<script>"), ("empty", "")]), list("Notes", &["\"&\"".into()])]);
        for part in ["<title>a &lt;b&gt;</title>", "<td>&lt;script&gt;</td>", "<li>&quot;&amp;&quot;</li>"] {
            assert!(html.contains(part), "{html}");
        }
        assert!(!html.contains("empty") && list("Notes", &[]).is_empty());
    }
}
