//! Small pieces of the sentences in diagnostics.

/// The longest piece of a document that a sentence quotes.
const LONGEST: usize = 60;

/// A piece of a document in backticks, escaped and cut to a readable length.
pub(crate) fn quoted(text: &str) -> String {
    let shown: String = text
        .chars()
        .take(LONGEST)
        .flat_map(char::escape_debug)
        .collect();
    // `escape_debug` is for string literals: within backticks quotes are just quotes.
    let shown = shown.replace("\\\"", "\"").replace("\\'", "'");
    match text.chars().nth(LONGEST) {
        Some(_) => format!("`{shown}…`"),
        None => format!("`{shown}`"),
    }
}

/// `a`, `a or b`, `a, b or c`, each in backticks.
pub(crate) fn either(words: &[&str]) -> String {
    listed(words, "or")
}

/// The same with another word before the last.
pub(crate) fn listed(words: &[&str], conjunction: &str) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} {conjunction} {last}", rest.join(", ")),
    }
}

/// The known word that was most likely meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            (
                strsim::jaro_winkler(&word, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(score, _)| *score >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// ``did you mean `word`?``
pub(crate) fn did_you_mean(word: &str) -> String {
    format!("did you mean `{word}`?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_word_and_nonsense_finds_none() {
        let known = ["destinations", "destinationsFrom", "gateway", "gateways"];
        assert_eq!(nearest("destination", known), Some("destinations"));
        assert_eq!(nearest("Gatway", known), Some("gateway"));
        assert_eq!(nearest("xyz", known), None);
    }

    #[test]
    fn quotes_are_short_and_hold_no_control_characters() {
        assert_eq!(quoted("a\n\"b\""), "`a\\n\"b\"`");
        assert!(quoted(&"x".repeat(1 << 20)).len() < 80);
    }
}
