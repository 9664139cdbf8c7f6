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
