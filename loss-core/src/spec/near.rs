//! What was meant by a name that does not exist.

use super::describe::key;
use super::words::{SETTINGS, Word, WordsFor, find, words};

/// Bytes of the longest name that is compared with others: none is half as long, and what a
/// comparison takes grows with the square of the length.
const LONGEST: usize = 128;

/// What to say of an unknown name.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Meant {
    /// The nearest name that exists.
    pub(super) nearest: Option<String>,
    /// What to write instead, as the rest of a sentence.
    pub(super) instead: Option<String>,
}

impl Meant {
    fn advice(word: &Word) -> Self {
        Self { nearest: None, instead: Some(word.advice()) }
    }
}

/// Of the name of a term: a word of others, several names in one, or a slip of the hand.
pub(super) fn term(name: &str, known: &[&str]) -> Meant {
    if name.len() > LONGEST {
        return Meant::default();
    }
    let words = words(WordsFor::Terms);
    let full = key(name);
    let short = full.strip_suffix("loss").filter(|short| !short.is_empty()).unwrap_or(&full);
    if let Some(word) = find(words, &full, &[]).or_else(|| find(words, short, &[])) {
        return Meant::advice(word);
    }
    if let Some(instead) = together(short, known, words) {
        return Meant { nearest: None, instead: Some(instead) };
    }
    slip(short, known, words)
}

/// Of the name of an option of a term, or of a setting of the loss.
pub(super) fn option(of: &str, name: &str, known: &[&str]) -> Meant {
    if name.len() > LONGEST {
        return Meant::default();
    }
    let words = if of == "with" { SETTINGS } else { words(WordsFor::Options) };
    let here: Vec<Word> = words.iter().filter(|word| word.with.is_empty() || known.contains(&word.with)).copied().collect();
    let key = key(name);
    match find(&here, &key, known) {
        // `grow` is a weight, and not what other libraries have.
        Some(word) if of != "grow" => Meant::advice(word),
        _ if of == "grow" => slip(&key, known, &[]),
        _ => slip(&key, known, &here),
    }
}

/// The nearest name, known here or to others.
///
/// At most a third of the letters may differ and never half of them, and of a word of others one
/// in ten beside the first. A name that has another inside with letters to spare means more than
/// that: `dice_x2` is not `dice`.
fn slip(name: &str, known: &[&str], words: &[Word]) -> Meant {
    let letters = name.chars().count();
    let near = |candidate: &str, most: fn(usize) -> usize| {
        let candidate = key(candidate);
        // Names are not nearer than their lengths.
        if letters.abs_diff(candidate.chars().count()) > most(candidate.len()) {
            return None;
        }
        let distance = strsim::damerau_levenshtein(name, &candidate);
        let (long, short) = (name.len().max(candidate.len()), candidate.len());
        let more = name.len() > short + 1 && (name.starts_with(&candidate) || name.ends_with(&candidate));
        (distance <= most(short) && 2 * distance < long && !more).then_some(distance)
    };
    let names = known.iter().filter_map(|&name| Some((near(name, |letters| letters.div_ceil(3))?, 0, name, None)));
    let others = words.iter().flat_map(|word| word.names.iter().map(move |&name| (name, word)));
    let others = others.filter_map(|(name, word)| Some((near(name, |letters| 1 + letters / 10)?, 1, name, Some(word))));
    match names.chain(others).min_by_key(|(distance, kind, name, _)| (*distance, *kind, *name)) {
        Some((.., Some(word))) => Meant::advice(word),
        Some((.., name, None)) => Meant { nearest: Some(name.to_owned()), instead: None },
        None => Meant::default(),
    }
}

/// Several names written as one: `focal_jaccard` is `focal + jaccard`.
fn together(name: &str, known: &[&str], words: &[Word]) -> Option<String> {
    let parts = parts(name, known, words)?;
    if parts.len() < 2 {
        return None;
    }
    if let Some(Part::Missing(remark)) = parts.iter().find(|part| matches!(part, Part::Missing(_))) {
        return Some((*remark).to_owned());
    }
    let mut texts: Vec<&str> =
        parts.iter().filter_map(|part| if let Part::Text(text) = part { Some(*text) } else { None }).collect();
    const SIGMOID: &str = " with activation=sigmoid";
    let sigmoid = texts.iter().any(|text| text.ends_with(SIGMOID));
    texts.iter_mut().for_each(|text| *text = text.strip_suffix(SIGMOID).unwrap_or(text));
    Some(format!("write `{}{}`", texts.join(" + "), if sigmoid { SIGMOID } else { "" }))
}

#[derive(Clone, Copy)]
enum Part<'a> {
    /// A loss in the place of a name.
    Text(&'a str),
    /// What is said of one that does not exist.
    Missing(&'a str),
    /// What stands between names.
    And,
}

/// A name cut into names, the fewest and longest there are; `None` where letters are left over.
fn parts<'a>(name: &str, known: &[&'a str], words: &'a [Word]) -> Option<Vec<Part<'a>>> {
    let mut pieces: Vec<(String, Part<'a>)> = known.iter().map(|&name| (key(name), Part::Text(name))).collect();
    for word in words {
        let part = if word.write.is_empty() { Part::Missing(word.remark) } else { Part::Text(word.write) };
        pieces.extend(word.names.iter().map(|name| (key(name), part)));
    }
    pieces.extend(["and", "plus", "with", "loss"].map(|between| (between.to_owned(), Part::And)));
    // The best cut of every beginning of the name.
    let mut best: Vec<Option<Vec<Part<'a>>>> = vec![None; name.len() + 1];
    best[0] = Some(Vec::new());
    for end in 1..=name.len() {
        for (piece, part) in &pieces {
            let Some(start) = end.checked_sub(piece.len()) else { continue };
            if !name.is_char_boundary(start) || name.get(start..end) != Some(piece) {
                continue;
            }
            let Some(mut cut) = best[start].clone() else { continue };
            cut.push(*part);
            if best[end].as_ref().is_none_or(|known| cut.len() < known.len()) {
                best[end] = Some(cut);
            }
        }
    }
    let cut = best.pop().flatten()?;
    Some(cut.into_iter().filter(|part| !matches!(part, Part::And)).collect())
}
