//! Tables in a document, between marks.

use std::fs;
use std::path::Path;

/// Puts a text between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`.
pub(crate) fn between(document: &str, name: &str, text: &str) -> Result<String, String> {
    let (begin, end) = (format!("<!-- bench:{name} -->\n"), format!("<!-- /bench:{name} -->"));
    let missing = |mark: &str| format!("the mark {} is missing", mark.trim_end());
    let (before, rest) = document.split_once(&begin).ok_or_else(|| missing(&begin))?;
    let (_, after) = rest.split_once(&end).ok_or_else(|| missing(&end))?;
    Ok(format!("{before}{begin}{text}{end}{after}"))
}

/// Replaces tables in a file; the others stay.
pub(crate) fn rewrite(path: &Path, tables: &[(String, String)]) -> Result<(), String> {
    let named = |error: String| format!("{}: {error}", path.display());
    let document = fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
    let replace = |document: String, (name, text): &(String, String)| between(&document, name, text);
    let document = tables.iter().try_fold(document, replace).map_err(named)?;
    fs::write(path, document).map_err(|error| named(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let document = "a\n<!-- bench:ce -->\nold\n<!-- /bench:ce -->\nb\n<!-- bench:main -->\nstays\n<!-- /bench:main -->\n";
        let new = between(document, "ce", "new\n").unwrap();
        assert_eq!(new, document.replace("old", "new"));
        assert_eq!(between(document, "types", "").unwrap_err(), "the mark <!-- bench:types --> is missing");
        let open = "<!-- bench:ce -->\nold\n";
        assert_eq!(between(open, "ce", "").unwrap_err(), "the mark <!-- /bench:ce --> is missing");
    }

    #[test]
    fn a_document_without_marks_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("benchmarks.md");
        fs::write(&path, "no marks").unwrap();
        let error = rewrite(&path, &[("ce".to_owned(), "x".to_owned())]).unwrap_err();
        assert!(error.contains("benchmarks.md") && error.contains("bench:ce"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "no marks");
    }

    #[test]
    fn the_projects_document_has_every_mark() {
        use clap::ValueEnum;
        let document = fs::read_to_string(crate::python::workspace().join("docs/benchmarks.md")).unwrap();
        for section in crate::results::Section::value_variants() {
            between(&document, &section.name(), "").unwrap();
        }
    }
}
