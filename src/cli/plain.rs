//! Text that others wrote, made harmless for a terminal: what would move the cursor, change colours or turn the
//! direction of writing is shown as its code instead.

use std::borrow::Cow;
use std::fmt::Write as _;

/// One line: a line break is shown as its code, too.
#[must_use]
pub fn plain(text: &str) -> Cow<'_, str> {
    escaped(text, acts_on_terminal, |c, out| out.extend(c.escape_default()))
}

/// Many lines: breaks stay.
#[must_use]
pub fn plain_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && acts_on_terminal(c), |c, out| out.extend(c.escape_default()))
}

/// The text of a JSON document. It stays the same document: such characters stand inside of strings only.
#[must_use]
pub fn plain_json(text: &str) -> Cow<'_, str> {
    escaped(
        text,
        |c| c != '\n' && acts_on_terminal(c),
        |c, out| {
            let _ = write!(out, "\\u{:04x}", u32::from(c)); // a String takes everything
        },
    )
}

/// C0 and C1 controls, line and paragraph separators, and what overrides the direction of writing.
fn acts_on_terminal(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escaped(text: &str, acts: impl Fn(char) -> bool, escape: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(&acts) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if acts(c) {
            escape(c, &mut out);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_shown_as_its_code() {
        assert_eq!(plain("Łódź 東京 \u{1b}[2J\r\n\u{9b}0m\u{202e}"), "Łódź 東京 \\u{1b}[2J\\r\\n\\u{9b}0m\\u{202e}");
        assert_eq!(plain_lines("a\n\tb\u{7}"), "a\n\\tb\\u{7}");
    }

    #[test]
    fn json_stays_the_same_document() {
        let text = "C1 \u{9b}0m, bidi \u{2066}, delete \u{7f}, escape \u{1b}";
        let written = serde_json::to_string_pretty(&[text]).unwrap();
        let shown = plain_json(&written);
        assert!(!shown.chars().any(|c| c != '\n' && acts_on_terminal(c)));
        assert_eq!(serde_json::from_str::<Vec<String>>(&shown).unwrap(), [text]);
    }
}
