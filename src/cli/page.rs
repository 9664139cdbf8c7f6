//! Lists are answered page by page.

use clap::Args;

use super::plain::plain;
use super::screen::Screen;
use crate::store::{Page, Paged};

#[derive(Debug, Args)]
pub struct PageArgs {
    /// How many to answer, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Go on behind this cursor, the `next_cursor` of the page before
    #[arg(long, value_name = "CURSOR", allow_hyphen_values = true)]
    pub after: Option<String>,
}

impl PageArgs {
    #[must_use]
    pub fn page(self) -> Page {
        Page { after: self.after, limit: self.limit }
    }
}

/// The same for a list whose cursors are numbers.
#[derive(Debug, Args)]
pub struct NumberedPageArgs {
    /// How many to answer, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Go on behind this cursor, the `next_cursor` of the page before
    #[arg(long, value_name = "CURSOR", value_parser = cursor, allow_hyphen_values = true)]
    pub after: Option<u64>,
}

impl NumberedPageArgs {
    #[must_use]
    pub fn page(self) -> Page {
        Page { after: self.after.map(|after| after.to_string()), limit: self.limit }
    }
}

/// What fits an id of the database.
fn cursor(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(cursor) if i64::try_from(cursor).is_ok() => Ok(cursor),
        _ => Err("it is not a `next_cursor` of this list; those are numbers".into()),
    }
}

/// Says how to go on, where there is more.
pub fn note_more<T>(screen: &Screen, page: &Paged<T>) {
    if let (Some(cursor), false) = (&page.next_cursor, screen.json) {
        screen.note(&format!("there is more: the same with --after {} goes on", quoted(cursor)));
    }
}

/// As a shell takes it.
fn quoted(text: &str) -> String {
    let bare = |c: char| c.is_alphanumeric() || "-_.:/@+,".contains(c);
    let text = plain(text);
    if !text.is_empty() && text.chars().all(bare) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
