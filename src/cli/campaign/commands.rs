//! `campaign approve`, `start`, `pause`, `resume`, `abort` and `retry`: what a person does with a campaign.

use clap::Args;

use super::super::session::{CliError, Exit, Session};
use super::super::values;
use super::dry_run::{LOOKING, Page};
use super::show::{accounts, in_short, named, number};
use crate::domain::campaign::{CampaignId, Command, State};
use crate::domain::refusal::Refusal;
use crate::store::campaigns::Commanded;

/// What is said yes to.
#[derive(Debug, Args)]
struct ConfirmArgs {
    /// Only if nothing has changed since the dry run with this digest
    #[arg(long, value_name = "DIGEST", allow_hyphen_values = true)]
    digest: Option<String>,
    /// Don't ask
    #[arg(long)]
    yes: bool,
}

/// Approve a campaign that somebody else made, as a dry run shows it now
#[derive(Debug, Args)]
#[command(after_help = "\
It takes a token with the role approver in DISCONNECTD_TOKEN, of somebody who had no part in making the campaign. On a \
terminal it shows the dry run and asks. An approval is for the accounts and the terms, and any change of these makes it \
void; what the accounts owe may move until the start, which --digest binds to what was seen.

Example:
  DISCONNECTD_TOKEN=$(cat my.token) disconnectd campaign approve 7")]
pub struct ApproveArgs {
    /// The number of the campaign
    #[arg(value_name = "ID", value_parser = values::campaign_id)]
    campaign: CampaignId,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

/// Start a campaign: from here on `disconnectd serve` does its disconnects
#[derive(Debug, Args)]
#[command(after_help = "\
On a terminal it shows the dry run and asks; where nobody is there to answer, it starts. With --digest it starts only \
what that dry run showed, to the cent; without, also where the figures have moved since somebody approved it.

Examples:
  disconnectd campaign start 7
  disconnectd campaign start 7 --digest \"$(disconnectd --json campaign dry-run 7 | jq -r .digest)\"")]
pub struct StartArgs {
    /// The number of the campaign
    #[arg(value_name = "ID", value_parser = values::campaign_id)]
    campaign: CampaignId,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

/// End a campaign for good: what had not begun never will
#[derive(Debug, Args)]
#[command(after_help = "\
What is disconnected stays disconnected; what had not begun never will. On a terminal it asks.

Example:
  disconnectd campaign abort 7 --reason 'wrong list'")]
pub struct AbortArgs {
    /// The number of the campaign
    #[arg(value_name = "ID", value_parser = values::campaign_id)]
    campaign: CampaignId,
    /// Why, for whoever looks at it
    #[arg(long, value_name = "TEXT", value_parser = values::text, allow_hyphen_values = true)]
    reason: Option<String>,
    /// Don't ask
    #[arg(long)]
    yes: bool,
}

pub async fn approve(args: ApproveArgs, session: &Session) -> Result<Exit, CliError> {
    let ApproveArgs { campaign, confirm } = args;
    let digest = agree(campaign, confirm, "Approve", session).await?;
    let approving = session.store.approve_campaign(campaign, digest.as_deref(), &session.actor);
    let approved = session.screen.patiently(LOOKING, approving).await?;
    session.answer(&approved, || {
        format!(
            "Campaign {} is approved by {}: {}. Start it: disconnectd campaign start {campaign}",
            named(&approved),
            session.actor.name,
            accounts(approved.counts.accounts)
        )
    })?;
    Ok(Exit::Done)
}

pub async fn start(args: StartArgs, session: &Session) -> Result<Exit, CliError> {
    let StartArgs { campaign, confirm } = args;
    let digest = agree(campaign, confirm, "Start", session).await?;
    let starting = session.store.start_campaign(campaign, digest.as_deref(), &session.actor);
    // What it looks at once more, a person has seen already.
    let started = session.screen.patiently("starting it", starting).await?;
    answer(&started, &Command::Start, session).await
}

/// On a terminal shows the dry run and asks. Answers the digest that is said yes to. What can't be started is not asked
/// about: the rule says why. Whether somebody may approve it, such as what they made themselves, is looked at after a yes.
async fn agree(
    campaign: CampaignId,
    confirm: ConfirmArgs,
    verb: &str,
    session: &Session,
) -> Result<Option<String>, CliError> {
    if confirm.yes || !session.screen.can_ask() {
        return Ok(confirm.digest);
    }
    let page = Page::of(campaign, session).await?;
    if page.campaign.state.is_begun() {
        return Ok(confirm.digest);
    }
    session.screen.note(&page.rendered(session.screen.width));
    let shown = Some(page.dry_run.digest.clone());
    if confirm.digest.is_some() && confirm.digest != shown {
        return Ok(confirm.digest);
    }
    if !page.dry_run.can_start {
        // Should it be possible a moment later, nobody has said yes to that.
        return Ok(shown);
    }
    if verb == "Start" && page.dry_run.needs_approval && !page.dry_run.is_approved {
        let (accounts, limit) = (page.dry_run.accounts, page.approval_over);
        return Err(Refusal::CampaignNotApproved { campaign, accounts, limit }.into());
    }
    let question =
        format!("{verb} campaign {}: disconnect {}?", named(&page.campaign), accounts(page.dry_run.to_disconnect));
    if session.screen.confirm(&question).await? {
        Ok(shown)
    } else {
        Err(CliError::refused("not_confirmed", "nothing was done: the answer was no"))
    }
}

pub async fn abort(args: AbortArgs, session: &Session) -> Result<Exit, CliError> {
    let AbortArgs { campaign, reason, yes } = args;
    if !yes && session.screen.can_ask() {
        let view = session.store.campaign(campaign).await?;
        if !view.state.is_over() {
            let left = number(view.counts.accounts - view.counts.done());
            let question = format!("Abort campaign {} for good? {left} of its accounts will not begin.", named(&view));
            if !session.screen.confirm(&question).await? {
                return Err(CliError::refused("not_confirmed", "nothing was done: the answer was no"));
            }
        }
    }
    command(campaign, &Command::Abort { note: reason }, session).await
}

pub async fn command(campaign: CampaignId, command: &Command, session: &Session) -> Result<Exit, CliError> {
    let commanded = session.store.command_campaign(campaign, command, &session.actor).await?;
    answer(&commanded, command, session).await
}

async fn answer(commanded: &Commanded, command: &Command, session: &Session) -> Result<Exit, CliError> {
    session.answer(commanded, || sentence(commanded, command))?;
    // An aborted one has events to be cancelled, as a running one has some to be done.
    let has_open = commanded.campaign.counts.scheduled > 0;
    if commanded.campaign.state == State::Running || (commanded.campaign.state == State::Aborted && has_open) {
        session.note_unserved().await;
    }
    Ok(Exit::Done)
}

fn sentence(Commanded { campaign, events }: &Commanded, command: &Command) -> String {
    let (id, name, counts) = (campaign.id, named(campaign), &campaign.counts);
    let so_far = in_short(campaign);
    let disconnected = number(counts.disconnected);
    let left = number(counts.accounts - counts.done());
    match command {
        Command::Start | Command::Resume => format!(
            "Campaign {name} is {}: {}, {so_far}. Watch it: disconnectd campaign watch {id}",
            campaign.state.as_str(),
            accounts(counts.accounts)
        ),
        Command::Pause { .. } => format!(
            "Campaign {name} is paused: {disconnected} disconnected, {} taken back from the queue, {left} left ({so_far}). Nothing of it \
             begins before `disconnectd campaign resume {id}`.",
            number(*events)
        ),
        Command::Abort { .. } => {
            let cancelled = if *events > 0 {
                format!(" {} of their events are being cancelled; nothing of them will begin.", number(*events))
            } else {
                String::new()
            };
            format!(
                "Campaign {name} is aborted: {disconnected} disconnected, {left} will not begin ({so_far}).{cancelled}"
            )
        }
        Command::Retry if *events == 0 => format!(
            "Nothing of campaign {name} is tried again: each account that failed has another open event by now \
             ({so_far}). Look at them: disconnectd events list --campaign {id} --state failed"
        ),
        Command::Retry => {
            let (paused, next) = match campaign.state {
                State::Paused => (", once it is resumed", "Resume it: disconnectd campaign resume"),
                _ => ("", "Watch it: disconnectd campaign watch"),
            };
            let (again, be) = (accounts(*events), if *events == 1 { "is" } else { "are" });
            let state = campaign.state.as_str();
            format!("Campaign {name} is {state}: {again} {be} tried again{paused} ({so_far}). {next} {id}")
        }
    }
}
