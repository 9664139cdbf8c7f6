//! `campaign show` and `campaign list`, and how people read a campaign.

use clap::Args;

use super::super::page::{NumberedPageArgs, note_more};
use super::super::plain::plain;
use super::super::session::{CliError, Exit, Session};
use super::super::table::{Column, grouped, instant, sheet, table};
use super::super::values;
use super::{log, terms};
use crate::domain::campaign::dry_run::sums;
use crate::domain::campaign::template::TemplateId;
use crate::domain::campaign::{CampaignId, CampaignView, Counts, State};
use crate::store::campaigns::CampaignFilter;

/// List campaigns, newest first
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  disconnectd campaign list --state paused
  disconnectd campaign list --search leavers
  disconnectd --json campaign list | jq '.items[] | [.id, .name, .counts.failed]'")]
pub struct ListArgs {
    /// In this state: draft, `awaiting_approval`, running, paused, completed or aborted
    #[arg(long, value_name = "STATE", value_parser = values::campaign_state)]
    state: Option<State>,
    /// In the name, whatever the case
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    search: Option<String>,
    /// Made by this template
    #[arg(long, value_name = "ID", value_parser = values::template_id)]
    template: Option<TemplateId>,
    #[command(flatten)]
    page: NumberedPageArgs,
}

pub async fn show(campaign: CampaignId, session: &Session) -> Result<Exit, CliError> {
    let campaign = session.store.campaign(campaign).await?;
    let history = if session.screen.json { String::new() } else { log::history(campaign.id, session).await? };
    session.answer(&campaign, || {
        format!("{}\n{history}\n{}", sheet_of(&campaign, session.screen.width), next_steps(&campaign))
    })?;
    if campaign.state == State::Running {
        session.note_unserved().await;
    }
    Ok(Exit::Done)
}

pub async fn list(args: ListArgs, session: &Session) -> Result<Exit, CliError> {
    if let Some(template) = args.template {
        // One that has made none is not one that does not exist.
        session.store.template(template).await?;
    }
    let filter = CampaignFilter { state: args.state, search: args.search, template: args.template };
    let is_filtered = filter != CampaignFilter::default() || args.page.after.is_some();
    let page = session.store.campaigns(&filter, &args.page.page()).await?;
    session.answer(&page, || match (page.items.is_empty(), is_filtered) {
        (true, true) => "No campaign matches; see them all: disconnectd campaign list".into(),
        (true, false) => {
            "There are no campaigns yet; make one: disconnectd campaign create --name NAME --accounts FILE".into()
        }
        (false, _) => listed(&page.items, session.screen.width),
    })?;
    note_more(&session.screen, &page);
    Ok(Exit::Done)
}

/// Narrower than this, a list has fewer columns, so that its rows are not wrapped.
pub const WIDE: u16 = 110;

fn listed(campaigns: &[CampaignView], width: Option<u16>) -> String {
    let is_narrow = width.is_some_and(|width| width < WIDE);
    let mut columns = vec![
        Column::Right("CAMPAIGN"),
        Column::Left("NAME"),
        Column::Left("STATE"),
        Column::Right("ACCOUNTS"),
        Column::Right("DONE"),
        Column::Right("FAILED"),
    ];
    columns.extend(if is_narrow {
        vec![Column::Firm("MADE ON")]
    } else {
        vec![Column::Right("INVOICED"), Column::Firm("MADE (UTC)"), Column::Left("BY")]
    });
    let rows = campaigns.iter().map(|campaign| {
        let Counts { accounts, failed, .. } = campaign.counts;
        let nothing = String::new;
        let mut row = vec![
            campaign.id.to_string(),
            campaign.name.clone(),
            state_name(campaign.state).to_owned(),
            number(accounts),
            if campaign.state.is_begun() { number(campaign.counts.done()) } else { nothing() },
            if failed > 0 { number(failed) } else { nothing() },
        ];
        if is_narrow {
            row.push(campaign.created_at.date_naive().to_string());
        } else {
            row.push(if campaign.totals.invoices > 0 { sums(&campaign.totals.invoiced) } else { nothing() });
            row.extend([instant(&campaign.created_at), campaign.created_by.clone()]);
        }
        row
    });
    table(width, &columns, rows)
}

/// `awaiting approval`.
#[must_use]
pub fn state_name(state: State) -> &'static str {
    match state {
        State::AwaitingApproval => "awaiting approval",
        state => state.as_str(),
    }
}

/// A count for people: `1,869`.
#[must_use]
pub fn number(count: i64) -> String {
    match u64::try_from(count) {
        Ok(count) => grouped(count),
        Err(_) => count.to_string(),
    }
}

/// `1 account`, `1,869 accounts`.
#[must_use]
pub fn accounts(count: i64) -> String {
    format!("{} account{}", number(count), if count == 1 { "" } else { "s" })
}

/// What became of its accounts so far, without what there is none of: `118 disconnected, 2 failed`. They add up to all.
#[must_use]
pub fn in_short(campaign: &CampaignView) -> String {
    let counts = &campaign.counts;
    let is_aborted = campaign.state == State::Aborted;
    let retrying = if counts.retrying > 0 {
        format!(" ({} of these failed and are tried again)", number(counts.retrying))
    } else {
        String::new()
    };
    let open = counts.scheduled + counts.queued;
    let parts = [
        (counts.disconnected, "disconnected".to_owned()),
        (counts.already_disconnected, "already disconnected".into()),
        (counts.no_longer_eligible, "no longer eligible".into()),
        (counts.failed, "failed".into()),
        (counts.cancelled, "cancelled".into()),
        (counts.left_out, "left out".into()),
        (open, if is_aborted { "being cancelled".into() } else { format!("to come{retrying}") }),
        (counts.waiting, if is_aborted { "never begun" } else { "not events yet" }.into()),
    ];
    let parts: Vec<_> = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", number(count)))
        .collect();
    if parts.is_empty() { "nothing yet".into() } else { parts.join(", ") }
}

/// Everything of it, and its terms.
#[must_use]
pub fn sheet_of(campaign: &CampaignView, width: Option<u16>) -> String {
    let CampaignView { counts, totals, .. } = campaign;
    let mut pairs = vec![("Campaign", campaign.id.to_string()), ("Name", campaign.name.clone())];
    let note = campaign.pause_note.as_ref().filter(|_| matches!(campaign.state, State::Paused | State::Aborted));
    let note = note.map(|note| format!(": {note}")).unwrap_or_default();
    pairs.push(("State", format!("{}{note}", state_name(campaign.state))));
    pairs.push(("Accounts", number(counts.accounts)));
    if campaign.state.is_begun() {
        pairs.push(("So far", in_short(campaign)));
        if counts.queued > 0 {
            pairs.push(("In the queue", number(counts.queued)));
        }
        let invoices = match totals.invoices {
            0 if campaign.state.is_over() => "none".into(),
            0 => "none yet".into(),
            n => format!("{} over {}", number(n), sums(&totals.invoiced)),
        };
        pairs.push(("Final invoices", invoices));
        if let Some(agreed) = &campaign.agreed {
            let due = format!("{} over {}", number(agreed.invoices), sums(&agreed.final_invoices));
            pairs.push(("Agreed to", due));
        }
        pairs.push(("Addresses", format!("{} released", number(totals.addresses_released))));
    }
    let from = campaign.filter.as_ref().map_or("a list".into(), |filter| format!("what matches {filter}"));
    pairs.push(("Made from", from));
    pairs.extend(terms::pairs(&campaign.terms, true));
    let approval = match (&campaign.approved_by, &campaign.approved_at) {
        (Some(by), Some(at)) => format!("given by {by} at {} UTC", instant(at)),
        _ if campaign.needs_approval && !campaign.state.is_begun() => "needed, by somebody else than its maker".into(),
        _ if campaign.needs_approval => "needed".into(),
        _ => "not needed".into(),
    };
    pairs.push(("Approval", approval));
    pairs.push(("Made", format!("by {} at {} UTC", campaign.created_by, instant(&campaign.created_at))));
    if let Some(template) = campaign.template_id {
        let tick = campaign.tick_at.as_ref().map(|at| format!(" for {} UTC", instant(at))).unwrap_or_default();
        pairs.push(("Template", format!("{template}{tick}")));
    }
    if let Some(at) = &campaign.started_at {
        let by = campaign.started_by.as_ref().map(|by| format!("by {by} ")).unwrap_or_default();
        pairs.push(("Started", format!("{by}at {} UTC", instant(at))));
    }
    if let Some(at) = &campaign.ended_at {
        pairs.push(("Ended", format!("{} UTC", instant(at))));
    }
    sheet(width, &pairs) + "\n"
}

/// What to do next with it, as commands.
#[must_use]
pub fn next_steps(campaign: &CampaignView) -> String {
    let id = campaign.id;
    let command = |verb: &str, what: &str| format!("  disconnectd campaign {:<14}  {what}", format!("{verb} {id}"));
    let mut steps = Vec::new();
    match campaign.state {
        State::Draft => {
            steps.push(command("dry-run", "what it would do; it changes nothing"));
            steps.push(command("start", "then do it"));
        }
        State::AwaitingApproval => {
            steps.push(command("dry-run", "what it would do; it changes nothing"));
            steps.push(command("approve", "by somebody else than its maker, with the role approver"));
            steps.push(command("start", "then do it"));
        }
        State::Running => {
            steps.push(command("watch", "how it goes on"));
            steps.push(command("pause", "let nothing more begin"));
        }
        State::Paused => {
            steps.push(command("resume", "go on"));
            steps.push(command("abort", "or end it for good"));
        }
        State::Completed | State::Aborted => {
            if campaign.counts.failed > 0 && campaign.state == State::Completed {
                steps.push(command("retry", "try again what failed"));
            }
            steps.push(command("report", "what became of each account"));
        }
    }
    format!("Next:\n{}", steps.join("\n"))
}

/// `7 (leavers)`, for sentences.
#[must_use]
pub fn named(campaign: &CampaignView) -> String {
    format!("{} ({})", campaign.id, plain(&campaign.name))
}
