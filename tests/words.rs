//! The tables of words in docs/peers.md are those of the code.

use segloss::spec::{Word, WordsFor, words};

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn row(word: &Word, of: WordsFor) -> String {
    let names: Vec<String> = word.names.iter().map(|name| code(name)).collect();
    let with = if word.with.is_empty() { "any".to_owned() } else { code(word.with) };
    let here = if word.write.is_empty() { "none".to_owned() } else { code(word.write) };
    let columns = match of {
        WordsFor::Terms => vec![names.join(", "), here, word.remark.to_owned()],
        WordsFor::Options => vec![names.join(", "), with, here, word.remark.to_owned()],
    };
    format!("| {} |", columns.join(" | "))
}

#[test]
fn the_documents_have_all_words() {
    let text = include_str!("../docs/peers.md");
    let after = text.split("\n## Words\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let written: Vec<&str> = after.lines().filter(|line| line.starts_with("| `")).collect();
    let both = [WordsFor::Terms, WordsFor::Options];
    let wanted: Vec<String> = both.iter().flat_map(|&of| words(of).iter().map(move |word| row(word, of))).collect();
    assert_eq!(written, wanted);
}
