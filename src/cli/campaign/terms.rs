//! The terms of a campaign: as arguments, and as people read them.

use clap::Args;

use super::super::session::CliError;
use super::super::table::grouped;
use super::super::values;
use crate::domain::calendar::{When, parse_zone};
use crate::domain::campaign::Terms;
use crate::domain::campaign::terms::{NO_ZONE, TermsAsked, Trouble, parse_children};
use crate::domain::dispositions::Disposition;
use crate::domain::window::Hours;

/// What holds for all of a campaign's accounts.
#[derive(Debug, Args)]
pub struct TermsArgs {
    /// Why, for the accounts' logs; a row of the list may have its own; none for no reason
    #[arg(long, value_name = "TEXT", value_parser = values::text, allow_hyphen_values = true)]
    reason: Option<String>,
    /// What becomes of connected children that are not in it themselves: keep, unlink or disconnect; none: to be decided
    #[arg(long, value_name = "CHOICE", value_parser = children)]
    children: Option<String>,
    /// At most so many disconnects a minute
    #[arg(long, value_name = "N")]
    per_minute: Option<u32>,
    /// Pause after so many of the first accounts, for somebody to look at them
    #[arg(long, value_name = "K")]
    canary: Option<u32>,
    /// When it may disconnect: "mon-fri 09:00-17:00 America/Denver", or always; unless said, as the settings say
    #[arg(long, value_name = "TEXT", value_parser = window)]
    window: Option<String>,
    /// Pause when more than this share of what was tried has failed; unless said, as the settings say
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=100))]
    pause_percent: Option<u32>,
}

/// When its accounts are due.
#[derive(Debug, Args)]
pub struct DateArgs {
    /// When accounts without a date of their own are due: 2026-12-01, 2026-12-01T09:00, RFC 3339, or now (at the start)
    #[arg(long, value_name = "WHEN", value_parser = on)]
    on: Option<String>,
    /// The IANA zone that dates are read in; each account's, unless said (or none), else the company's
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    zone: Option<String>,
    /// Dates in the past are meant
    #[arg(long)]
    pub late: bool,
}

/// What takes away a reason, or a decision about children.
const NONE: &str = "none";

impl TermsArgs {
    /// Whether nothing is asked for, not even to take something away.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.asked(None).is_empty() && !is_none(self.reason.as_ref()) && !is_none(self.children.as_ref())
    }

    /// What [`TermsAsked`] has no words for.
    pub fn take_away(&self, terms: &mut Terms) {
        if is_none(self.reason.as_ref()) {
            terms.reason = None;
        }
        if is_none(self.children.as_ref()) {
            terms.children = None;
        }
    }

    #[must_use]
    pub fn asked(&self, dates: Option<&DateArgs>) -> TermsAsked {
        TermsAsked {
            reason: self.reason.clone().filter(|reason| reason != NONE),
            on: dates.and_then(|dates| dates.on.clone()),
            zone: dates.and_then(|dates| dates.zone.clone()),
            children: self.children.clone().filter(|children| children != NONE),
            per_minute: self.per_minute,
            canary: self.canary,
            window: self.window.clone(),
            pause_percent: self.pause_percent,
        }
    }
}

fn is_none(text: Option<&String>) -> bool {
    text.is_some_and(|text| text == NONE)
}

fn children(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text == NONE { Ok(text.to_owned()) } else { parse_children(text).map(|choice| choice.to_string()) }
}

/// Kept as they were given, since they are read once more beside the settings.
fn on(text: &str) -> Result<String, String> {
    When::parse(text).map(|_| text.to_owned())
}

fn zone(text: &str) -> Result<String, String> {
    if text.trim() == NO_ZONE { Ok(NO_ZONE.to_owned()) } else { parse_zone(text).map(|_| text.to_owned()) }
}

fn window(text: &str) -> Result<String, String> {
    Hours::parse(text).map(|_| text.to_owned())
}

pub fn usage((field, message): Trouble) -> CliError {
    CliError::Usage(format!("--{}: {message}", field.replace('_', "-")))
}

/// For a sheet.
#[must_use]
pub fn pairs(terms: &Terms, has_dates: bool) -> Vec<(&'static str, String)> {
    let mut pairs = vec![("Reason", terms.reason.clone().unwrap_or_else(|| "none given".into()))];
    if has_dates {
        let on = terms.on.clone().unwrap_or_else(|| "when it starts".into());
        let zone = terms.on_zone.map(|zone| format!(" in {}", zone.name())).unwrap_or_default();
        pairs.push(("Due", format!("{on}{zone}, unless a row has its own date")));
    }
    let children = match terms.children {
        None => "nobody decided about those that are not in it",
        Some(Disposition::Keep) => "keep: those that are not in it stay",
        Some(Disposition::Unlink) => "unlink: those that are not in it are taken from their parent",
        Some(Disposition::Disconnect) => "disconnect: they are in it, too",
    };
    pairs.push(("Children", children.into()));
    let pace =
        terms.per_minute.map_or("as fast as it goes".into(), |n| format!("at most {} a minute", grouped(n.into())));
    pairs.push(("Pace", pace));
    if let Some(canary) = terms.canary {
        pairs.push(("Canary", format!("pauses after the first {}", grouped(canary.into()))));
    }
    pairs.push(("Window", terms.window.clone().unwrap_or_else(|| "always".into())));
    if !terms.holidays.is_empty() {
        pairs.push(("Not on", terms.holidays.clone()));
    }
    let percent = terms.pause_percent;
    let pauses = if percent >= 100 {
        "not by itself".into()
    } else {
        format!("by itself when more than {percent} % of what it tried has failed")
    };
    pairs.push(("Pauses", pauses));
    pairs
}
