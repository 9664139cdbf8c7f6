//! The dry run as a page: what a campaign would do, how long it takes, what stands in the way; with approve and start
//! under it, which carry the digest of what is shown.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::told::{Told, accounts};
use super::{May, id_of, named};
use crate::api::problem::Answer;
use crate::console::chart::Chart;
use crate::console::form::KEY_FIELD;
use crate::console::gate::Visitor;
use crate::console::plain::plain;
use crate::console::reader::Reader;
use crate::console::{Shared, words};
use crate::domain::campaign::CampaignId;
use crate::domain::campaign::cohort::{BlockerEffect, BlockerKind, BlockersOfKind};
use crate::domain::campaign::dry_run::{ASSUMED_PER_SECOND, DryRun};
use crate::domain::campaign::rate::duration;
use crate::domain::refusal::Refusal;

/// More days than these are added up.
const DAYS_SHOWN: usize = 31;

struct Blockers {
    kind: String,
    effect: &'static str,
    stops: bool,
    accounts: String,
    examples: Vec<(String, String)>,
    more: Option<String>,
}

impl Blockers {
    fn of(of_kind: BlockersOfKind, zone: Tz, reader: Reader) -> Self {
        let more = of_kind.accounts - i64::try_from(of_kind.examples.len()).unwrap_or(0);
        Self {
            kind: words::capital(kind(of_kind.kind)),
            effect: match of_kind.effect {
                BlockerEffect::Stops => "this stops the campaign",
                BlockerEffect::LeavesOut => "left out, the rest goes on",
                BlockerEffect::Warns => "disconnected all the same",
            },
            stops: of_kind.effect == BlockerEffect::Stops,
            accounts: accounts(of_kind.accounts, reader),
            examples: of_kind
                .examples
                .into_iter()
                .map(|one| (one.account_number, plain(&one.detail, zone, reader)))
                .collect(),
            more: (more > 0).then(|| reader.count(more)),
        }
    }
}

fn kind(kind: BlockerKind) -> &'static str {
    match kind {
        BlockerKind::UnknownAccount => "unknown",
        BlockerKind::AlreadyDisconnected => "disconnected already",
        BlockerKind::OpenEvent => "with an open event",
        BlockerKind::UndecidedFamily => "with children that somebody has to decide about",
        BlockerKind::NoRecipient => "with nobody who gets the final invoice",
        BlockerKind::DatePassed => "with a date that has passed",
    }
}

#[derive(Template)]
#[template(path = "campaign_dry_run.html")]
struct DryRunPart {
    id: i64,
    name: String,
    title: &'static str,
    is_begun: bool,
    pairs: Vec<(&'static str, String)>,
    terms: Vec<(&'static str, String)>,
    charts: Vec<Chart>,
    blockers: Vec<Blockers>,
    can_start: bool,
    may: May,
    to_disconnect: String,
    digest: String,
    /// What has changed since it was shown.
    changes: Vec<String>,
    error: Option<String>,
    form_key: String,
    key_field: &'static str,
}

pub async fn show(State(console): State<Shared>, visitor: Visitor, Path(id): Path<String>) -> Answer<Response> {
    shown(&console, &visitor, id_of(&id)?, None).await
}

/// The page as things are now, and what was refused of what it showed before.
pub async fn shown(console: &Shared, visitor: &Visitor, id: CampaignId, refused: Option<&Refusal>) -> Answer<Response> {
    let settings = console.store.settings().await?;
    let campaign = console.store.campaign(id).await.map_err(words::problem)?;
    let dry_run = console.store.dry_run(id).await.map_err(words::problem)?;
    let (reader, zone) = (visitor.asked.reader, settings.company_zone);
    let told = Told { campaign: &campaign, reader };
    let at = |at: Option<DateTime<Utc>>| match at {
        Some(at) => reader.moment_in(at, zone).shown,
        None if dry_run.to_disconnect == 0 => "never: there is nobody to disconnect".into(),
        None => "not within ten years, by its window and holidays".into(),
    };
    let takes = match campaign.terms.per_minute {
        _ if dry_run.to_disconnect == 0 => "no time".into(),
        Some(n) => format!("about {}, at {} a minute", duration(dry_run.seconds), reader.count(n.into())),
        None => format!("about {}, if {ASSUMED_PER_SECOND} go in a second", duration(dry_run.seconds)),
    };
    let mut pairs = vec![
        ("Accounts", reader.count(dry_run.accounts)),
        ("To disconnect", reader.count(dry_run.to_disconnect)),
        ("Left out", reader.count(dry_run.left_out)),
        ("Final invoices", format!("{} over {}", reader.count(dry_run.invoices), reader.sums(&dry_run.final_invoices))),
        ("Nothing to invoice", reader.count(dry_run.nothing_to_invoice)),
        ("Addresses", format!("{} released", reader.count(dry_run.addresses_released))),
        ("Takes", takes),
        ("Begins", at(dry_run.begins_at)),
        ("Ends", at(dry_run.ends_at)),
    ];
    for (count, what) in
        [(dry_run.children_kept, "Children that stay"), (dry_run.children_unlinked, "Children unlinked")]
    {
        if count > 0 {
            pairs.push((what, reader.count(count)));
        }
    }
    let (changes, error) = match refused {
        Some(Refusal::StaleDryRun { changes, .. }) => {
            (changes.iter().map(|one| plain(one, zone, reader)).collect(), None)
        }
        Some(refusal) => (Vec::new(), Some(plain(&words::refusal(refusal), zone, reader))),
        None => (Vec::new(), None),
    };
    let status = match (changes.is_empty(), &error) {
        (false, _) => StatusCode::CONFLICT,
        (true, Some(_)) => StatusCode::UNPROCESSABLE_ENTITY,
        (true, None) => StatusCode::OK,
    };
    let part = DryRunPart {
        id: id.0,
        name: campaign.name.clone(),
        title: if campaign.started_at.is_some() {
            "What it was to do when it was started"
        } else {
            "What it would do if it were started now; nothing is changed"
        },
        is_begun: campaign.state.is_begun(),
        pairs,
        terms: told.terms(),
        charts: charts(&dry_run, reader),
        can_start: dry_run.can_start,
        may: May::of(&campaign, visitor),
        to_disconnect: accounts(dry_run.to_disconnect, reader),
        digest: dry_run.digest,
        blockers: dry_run.blockers.into_iter().map(|of_kind| Blockers::of(of_kind, zone, reader)).collect(),
        changes,
        error,
        form_key: visitor.form_key()?,
        key_field: KEY_FIELD,
    };
    let view = visitor.view(&format!("Dry run of campaign {}", named(&campaign)), &part)?;
    Ok((status, view).into_response())
}

fn charts(dry_run: &DryRun, reader: Reader) -> Vec<Chart> {
    let bar = |label: String, count: i64| (label, count, reader.count(count));
    let mut days: Vec<_> =
        dry_run.days.iter().take(DAYS_SHOWN).map(|day| bar(reader.date(day.day), day.accounts)).collect();
    let later: i64 = dry_run.days.iter().skip(DAYS_SHOWN).map(|day| day.accounts).sum();
    if later > 0 {
        days.push(bar("later".into(), later));
    }
    let amounts = dry_run.amounts.iter();
    let amounts = amounts.map(|band| bar(format!("up to {}", reader.money(band.up_to)), band.invoices)).collect();
    let blockers = dry_run.blockers.iter().map(|of| bar(words::capital(kind(of.kind)), of.accounts)).collect();
    [
        Chart::of("by-day", format!("Accounts by day ({})", dry_run.zone), "Day", "Accounts", days),
        Chart::of("by-amount", "Final invoices by amount".into(), "Amount", "Invoices", amounts),
        Chart::of("by-blocker", "What stands in the way, by kind".into(), "Kind", "Accounts", blockers),
    ]
    .into_iter()
    .flatten()
    .collect()
}
