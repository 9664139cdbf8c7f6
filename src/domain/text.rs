//! Texts as people give them, on any face: what a file may hold, an argument and a field may.

/// How many characters a text has at most.
pub const TEXT_MAX: usize = 1_000;

/// How many characters the name of a status or a token has at most.
pub const NAME_MAX: usize = 64;

/// Free text: a reason, an address.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn parse_text(text: &str) -> Result<String, String> {
    if text.chars().count() > TEXT_MAX {
        return Err(format!("it has more than {TEXT_MAX} characters"));
    }
    let text = text.trim();
    if text.is_empty() {
        return Err("it is empty".into());
    }
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return Err("it has control characters".into());
    }
    Ok(text.to_owned())
}

/// A name that is shown in lists.
///
/// # Errors
/// A sentence that says what a name is.
pub fn parse_name(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() || text.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
        return Err(format!("a name has 1 to {NAME_MAX} characters, none of them a control character"));
    }
    Ok(name.to_owned())
}

/// What two texts have in common that differ in the case of letters alone. Letter by letter, so that a part of a text
/// folds as it does in the whole.
#[must_use]
pub fn folded(text: &str) -> String {
    // At the end of a word a sigma has another form.
    text.chars().flat_map(char::to_lowercase).map(|c| if c == 'ς' { 'σ' } else { c }).collect()
}

/// What is searched in for an account, beside its address. No text that is searched for has a line break.
#[must_use]
pub fn searched(number: &str, name: &str) -> String {
    folded(&format!("{number}\n{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_folds_as_it_does_in_the_whole() {
        for (whole, part) in [("Özdemir", "öz"), ("ΟΔΟΣ 7", "οδος"), ("İzmir", "İZ"), ("A-1", "a-1")] {
            assert!(folded(whole).contains(&folded(part)), "{whole} {part}");
        }
        assert_eq!(searched("Ä-1", "Österreich"), "ä-1\nösterreich");
    }
}
