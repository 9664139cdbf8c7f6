//! `campaign dry-run`: what a campaign would do, as a page, and all that stands in its way, as CSV.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use clap::Args;

use super::super::plain::plain;
use super::super::session::{CliError, Exit, Session};
use super::super::table::{Column, count, instant, sheet, table};
use super::super::values;
use super::show::{accounts, named, number};
use super::sink::{Sink, written};
use super::{is_standard_output, terms};
use crate::domain::campaign::cohort::{BlockerEffect, BlockerKind, BlockersOfKind};
use crate::domain::campaign::dry_run::{ASSUMED_PER_SECOND, DryRun, sums};
use crate::domain::campaign::rate::duration;
use crate::domain::campaign::{CampaignId, CampaignView, State};
use crate::domain::money::Money;
use crate::export::{BlockerWriter, Format};

/// Show what a campaign would do if it were started now; it changes nothing
#[derive(Debug, Args)]
#[command(after_help = "\
The blockers as CSV have the columns account_number,kind,effect,detail. Kinds: undecided_family stops the campaign; \
unknown_account, already_disconnected and open_event leave the account out; no_recipient and date_passed are to be \
known.

The digest stands for all that is shown but times: `campaign start 7 --digest D` starts only what was seen.

Examples:
  disconnectd campaign dry-run 7
  disconnectd campaign dry-run 7 --blockers blockers.csv
  disconnectd --json campaign dry-run 7 | jq -r .digest")]
pub struct DryRunArgs {
    /// The number of the campaign
    #[arg(value_name = "ID", value_parser = values::campaign_id)]
    campaign: CampaignId,
    /// Write all that stands in the way to this CSV file, or - for standard output
    #[arg(long, value_name = "FILE")]
    blockers: Option<PathBuf>,
}

pub async fn run(args: DryRunArgs, session: &Session) -> Result<Exit, CliError> {
    let takes_output = args.blockers.as_ref().is_some_and(|path| is_standard_output(path));
    if takes_output && session.screen.json {
        return Err(CliError::Usage("--json and --blockers - can't both have standard output; name a file".into()));
    }
    let page = Page::of(args.campaign, session).await?;
    if takes_output {
        session.screen.note(&page.rendered(session.screen.width));
    } else {
        session.answer(&page.dry_run, || page.rendered(session.screen.width))?;
    }
    if let Some(path) = args.blockers {
        let written = blockers(args.campaign, &path, session);
        let written = if takes_output { written.await? } else { session.screen.patiently(LOOKING, written).await? };
        if !takes_output {
            let are = if written == 1 { "is" } else { "are" };
            session.screen.note(&format!("{} {are} in {}", count(written, "blocker"), path.display()));
        }
    }
    Ok(Exit::Done)
}

/// What a large campaign takes some time for.
pub(super) const LOOKING: &str = "looking at all of its accounts";

/// Answers how many there are; what the reader of standard output did not take, is none.
async fn blockers(campaign: CampaignId, path: &Path, session: &Session) -> Result<u64, CliError> {
    let sink = Sink::open(Some(path), Format::Csv, &session.screen)?;
    let begin = |out: &mut dyn io::Write| BlockerWriter::begin(Format::Csv, campaign, out);
    let written = written(sink, begin, |rows| session.store.blockers(campaign, rows)).await?;
    Ok(written.map_or(0, |(blockers, ())| blockers))
}

/// All that a person sees of a dry run.
pub(super) struct Page {
    pub(super) campaign: CampaignView,
    pub(super) dry_run: DryRun,
    company_zone: Tz,
    pub(super) approval_over: u32,
}

impl Page {
    pub(super) async fn of(campaign: CampaignId, session: &Session) -> Result<Self, CliError> {
        let settings = session.store.settings().await?;
        let view = session.store.campaign(campaign).await?;
        let dry_run = session.screen.patiently(LOOKING, session.store.dry_run(campaign)).await?;
        Ok(Self::from(view, dry_run, settings.company_zone, settings.campaign_approval_over))
    }

    pub(super) fn from(campaign: CampaignView, dry_run: DryRun, company_zone: Tz, approval_over: u32) -> Self {
        Self { campaign, dry_run, company_zone, approval_over }
    }

    pub(super) fn rendered(&self, width: Option<u16>) -> String {
        let Self { campaign, dry_run, .. } = self;
        let title = match &campaign.started_at {
            Some(at) => {
                format!("What campaign {} was to do when it was started, at {} UTC", named(campaign), instant(at))
            }
            None => format!("What campaign {} would do if it were started now; nothing is changed", named(campaign)),
        };
        let mut text = format!("{title}\n\n{}\n", sheet(width, &self.pairs()));
        if dry_run.days.len() > 1 {
            text.push_str(&days(dry_run));
        }
        if !dry_run.blockers.is_empty() {
            let _ = write!(text, "\nWhat stands in the way:\n\n{}", blocker_lines(&dry_run.blockers));
        }
        if campaign.started_at.is_none() {
            let _ = write!(text, "\n{}", self.next());
        }
        text
    }

    fn pairs(&self) -> Vec<(&'static str, String)> {
        let Self { campaign, dry_run, .. } = self;
        let mut pairs = vec![("Accounts", number(dry_run.accounts)), ("To disconnect", number(dry_run.to_disconnect))];
        if dry_run.left_out > 0 {
            pairs.push(("Left out", number(dry_run.left_out)));
        }
        let children = [(dry_run.children_kept, "stay"), (dry_run.children_unlinked, "are taken from their parent")];
        let children: Vec<_> =
            children.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", number(*n))).collect();
        if !children.is_empty() {
            pairs.push(("Children", children.join(", ")));
        }
        let invoices = match dry_run.invoices {
            0 => "none".into(),
            n if dry_run.final_invoices.len() == 1 => format!("{}, over {}", number(n), sums(&dry_run.final_invoices)),
            n => format!("{}, over\n{}", number(n), aligned(&dry_run.final_invoices)),
        };
        pairs.push(("Final invoices", invoices));
        if dry_run.nothing_to_invoice > 0 {
            pairs.push(("Without one", format!("{}, with nothing to invoice", number(dry_run.nothing_to_invoice))));
        }
        pairs.push(("Addresses", format!("{} released", number(dry_run.addresses_released))));
        let takes = match campaign.terms.per_minute {
            _ if dry_run.to_disconnect == 0 => "no time".into(),
            Some(n) => format!("about {}, at {} a minute", duration(dry_run.seconds), number(n.into())),
            None => format!("about {}, if {ASSUMED_PER_SECOND} go in a second", duration(dry_run.seconds)),
        };
        pairs.push(("Takes", takes));
        let at = |at: &Option<DateTime<Utc>>| match at {
            Some(at) => self.local(at),
            None if dry_run.to_disconnect == 0 => "never: there is nobody to disconnect".into(),
            None => "not within ten years, by its window and holidays".into(),
        };
        pairs.push(("Begins", at(&dry_run.begins_at)));
        pairs.push(("Ends", at(&dry_run.ends_at)));
        let shown = ["Pace", "Canary", "Window", "Not on", "Pauses"];
        pairs.extend(terms::pairs(&campaign.terms, true).into_iter().filter(|(name, _)| shown.contains(name)));
        let approval = if dry_run.is_approved {
            let by = campaign.approved_by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
            format!("given{by}")
        } else if dry_run.needs_approval {
            format!("needed: more than {}", accounts(self.approval_over.into()))
        } else {
            "not needed".into()
        };
        pairs.push(("Approval", approval));
        pairs.push(("Digest", dry_run.digest.clone()));
        pairs
    }

    /// In the company's zone, and in UTC where that is another.
    fn local(&self, at: &DateTime<Utc>) -> String {
        let utc = format!("{} UTC", instant(at));
        if self.company_zone == Tz::UTC {
            return utc;
        }
        let local = at.with_timezone(&self.company_zone).format("%Y-%m-%d %H:%M:%S");
        format!("{local} {} ({utc})", self.company_zone.name())
    }

    fn next(&self) -> String {
        let Self { campaign: CampaignView { id, state, .. }, dry_run, .. } = self;
        if *state == State::Aborted {
            return "It was aborted, so it can't be started.\n".into();
        }
        if dry_run.to_disconnect == 0 {
            return format!(
                "It can't be started, since there is nobody to disconnect. Give it other accounts:\n  \
                            disconnectd campaign change {id} --accounts FILE\n"
            );
        }
        if !dry_run.can_start {
            return format!(
                "It can't be started before somebody has decided about these children:\n  disconnectd campaign change \
                 {id} --children keep|unlink|disconnect\n"
            );
        }
        if dry_run.needs_approval && !dry_run.is_approved {
            return format!(
                "Next, by somebody else than its maker, with the role approver:\n  disconnectd campaign approve {id}\n"
            );
        }
        format!("Next:\n  disconnectd campaign start {id}\n")
    }
}

/// One below the other, the currencies too.
fn aligned(sums: &[Money]) -> String {
    let texts: Vec<_> = sums.iter().map(ToString::to_string).collect();
    let width = texts.iter().map(String::len).max().unwrap_or(0);
    texts.iter().map(|text| format!("{text:>width$}")).collect::<Vec<_>>().join("\n")
}

/// More than these are added up.
const DAYS_SHOWN: usize = 14;

fn days(dry_run: &DryRun) -> String {
    let mut rows: Vec<_> =
        dry_run.days.iter().take(DAYS_SHOWN).map(|day| [day.day.to_string(), number(day.accounts)]).collect();
    let later: i64 = dry_run.days.iter().skip(DAYS_SHOWN).map(|day| day.accounts).sum();
    if later > 0 {
        rows.push(["later".into(), number(later)]);
    }
    let columns = [Column::Firm("DUE ON"), Column::Right("ACCOUNTS")];
    format!("\nBy day, in {}:\n\n{}\n", plain(&dry_run.zone), table(None, &columns, rows))
}

fn blocker_lines(blockers: &[BlockersOfKind]) -> String {
    let mut text = String::new();
    for of_kind in blockers {
        let effect = match of_kind.effect {
            BlockerEffect::Stops => "this stops the campaign",
            BlockerEffect::LeavesOut => "left out, the rest goes on",
            BlockerEffect::Warns => "disconnected all the same",
        };
        // A String takes everything.
        let _ = writeln!(text, "  {}: {} ({effect})", accounts(of_kind.accounts), kind(of_kind.kind));
        for example in &of_kind.examples {
            let _ = writeln!(text, "    {}  {}", plain(&example.account_number), plain(&example.detail));
        }
        let more = of_kind.accounts - i64::try_from(of_kind.examples.len()).unwrap_or(0);
        if more > 0 {
            let _ = writeln!(text, "    and {} more; --blockers FILE lists them all", number(more));
        }
    }
    text
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
