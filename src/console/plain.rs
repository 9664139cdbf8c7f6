//! What the program says elsewhere too (a log, a command line), as a page says it: without commands that nobody can type
//! there, and with instants in the page's zone.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::reader::Reader;

/// Both of it.
pub fn plain(text: &str, zone: Tz, reader: Reader) -> String {
    in_zone(&without_commands(text), zone, reader)
}

/// Drops what tells of a command: a remark in parentheses, or a part behind a semicolon. It begins with the command, as no
/// name of an account does. A text that is nothing else stays.
pub fn without_commands(text: &str) -> String {
    let is_option =
        |part: &str| part.strip_prefix("--").is_some_and(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
    let is_told = |part: &str| part.starts_with("`disconnectd ") || is_option(part.strip_prefix('`').unwrap_or(part));
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('(') {
        if let Some((_, after)) = behind.split_once(')').filter(|(remark, _)| is_told(remark)) {
            kept.push_str(before.trim_end());
            rest = after;
        } else {
            kept.push_str(before);
            kept.push('(');
            rest = behind;
        }
    }
    kept.push_str(rest);
    let parts: Vec<_> = kept.split("; ").filter(|part| !part.starts_with("`disconnectd ")).collect();
    if parts.is_empty() { text.to_owned() } else { parts.join("; ") }
}

/// The length of `2026-12-01T05:00:00Z`.
const INSTANT: usize = 20;

/// Instants as the page shows them.
fn in_zone(text: &str, zone: Tz, reader: Reader) -> String {
    let mut told = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let instant = rest.get(..INSTANT).filter(|it| first.is_ascii_digit() && it.ends_with('Z'));
        if let Some(at) = instant.and_then(|it| it.parse::<DateTime<Utc>>().ok()) {
            told.push_str(&reader.moment_in(at, zone).shown);
            rest = &rest[INSTANT..];
        } else {
            told.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::words;
    use crate::domain::account::AccountNumber;
    use crate::domain::refusal::Refusal;

    fn number(text: &str) -> AccountNumber {
        AccountNumber::parse(text).unwrap()
    }

    #[test]
    fn commands_are_none_of_a_page() {
        for (text, told) in [
            ("there is no token 7; `disconnectd tokens list` shows them", "there is no token 7"),
            (
                "it has changed: a; b; look at it again (`disconnectd campaign dry-run 7`)",
                "it has changed: a; b; look at it again",
            ),
            ("say keep or unlink for all (--children ...): 2 (Bo)", "say keep or unlink for all: 2 (Bo)"),
            (
                "nobody gets it: no (known) way; `disconnectd accounts contact` adds one",
                "nobody gets it: no (known) way",
            ),
            (
                "it has more than 4 bytes; name them in a file instead (`--accounts`)",
                "it has more than 4 bytes; name them in a file instead",
            ),
            ("2026-01-01 is in the past; say if it is meant (--late)", "2026-01-01 is in the past; say if it is meant"),
            ("Ada (Miller) has none", "Ada (Miller) has none"),
            ("say keep for all (--children ...): 2 (Bo--Lee)", "say keep for all: 2 (Bo--Lee)"),
            ("`balance > (--)` is no filter", "`balance > (--)` is no filter"),
            ("it is open (still", "it is open (still"),
            ("`disconnectd doctor` says more", "`disconnectd doctor` says more"),
        ] {
            assert_eq!(without_commands(text), told);
        }
    }

    #[test]
    fn instants_are_in_the_zone_of_the_page() {
        let told = |text: &str| plain(text, Tz::America__New_York, Reader::of(None));
        assert_eq!(
            told("event 7 is scheduled for 2026-12-01T05:00:00Z already"),
            "event 7 is scheduled for 12/01/2026 00:00 America/New_York (UTC-05:00) already"
        );
        for same in ["2026-12-01", "\u{e4} 2026-13-01T05:00:00Z", "from 12 to 14", "2026-12-01T05:00:0"] {
            assert_eq!(told(same), same);
        }
    }

    #[test]
    fn no_refusal_tells_of_a_command() {
        for refusal in [
            Refusal::DisconnectStatusMissing { name: "Gone".into() },
            Refusal::NotLinked { child: number("1") },
            Refusal::UnlinkWithoutContact { child: number("1"), parent: number("2") },
            Refusal::NothingToDecide { event: crate::domain::event::EventId(7), is_in_question: true },
            Refusal::UnknownUser { name: "ada".into() },
            Refusal::UserDisabled { name: "ada".into() },
            Refusal::UnknownToken { token: crate::domain::token::TokenId(7) },
            Refusal::NobodyLeft { campaign: crate::domain::campaign::CampaignId(7) },
            Refusal::EmptyCohort { why: "the list is empty".into() },
        ] {
            let told = words::refusal(&refusal);
            assert!(!told.contains("disconnectd") && told.ends_with('.'), "{told}");
        }
    }
}
