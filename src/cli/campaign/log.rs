//! `campaign log`: who did what with a campaign.

use std::collections::VecDeque;

use clap::Args;

use super::super::page::{NumberedPageArgs, note_more};
use super::super::session::{CliError, Exit, Session};
use super::super::table::{Column, indented, instant, table};
use super::super::values;
use crate::domain::campaign::CampaignId;
use crate::domain::campaign::log::Entry;
use crate::store::{PAGE_MAX, Page};

/// Show what was done with a campaign, oldest first: when, what, by whom
#[derive(Debug, Args)]
#[command(after_help = "\
What became of its accounts is in theirs: `disconnectd log NUMBER`, and `disconnectd campaign report`.

Example:
  disconnectd campaign log 7")]
pub struct LogArgs {
    /// The number of the campaign
    #[arg(value_name = "ID", value_parser = values::campaign_id)]
    campaign: CampaignId,
    #[command(flatten)]
    page: NumberedPageArgs,
}

pub async fn run(args: LogArgs, session: &Session) -> Result<Exit, CliError> {
    let page = session.store.campaign_log(args.campaign, &args.page.page()).await?;
    session.answer(&page, || {
        if page.items.is_empty() {
            format!("Nothing more stands in the log of campaign {}.", args.campaign)
        } else {
            listed(&page.items, session.screen.width)
        }
    })?;
    note_more(&session.screen, &page);
    Ok(Exit::Done)
}

fn listed<'e>(entries: impl IntoIterator<Item = &'e Entry>, width: Option<u16>) -> String {
    let columns = [Column::Firm("AT (UTC)"), Column::Firm("WHAT"), Column::Left("MESSAGE"), Column::Left("BY")];
    let rows = entries.into_iter().map(|entry| {
        [
            instant(&entry.at),
            entry.kind.as_str().to_owned(),
            entry.message.clone(),
            format!("{} ({})", entry.actor, entry.source),
        ]
    });
    table(width, &columns, rows)
}

/// What a campaign's sheet shows of it; the log has all.
const LAST: usize = 5;

/// The last entries, under a title.
pub async fn history(campaign: CampaignId, session: &Session) -> Result<String, CliError> {
    let mut last: VecDeque<Entry> = VecDeque::new();
    let mut is_all = true;
    let mut page = Page { after: None, limit: PAGE_MAX };
    // A campaign's log has as many entries as people have done things with it: one page, all but always.
    loop {
        let entries = session.store.campaign_log(campaign, &page).await?;
        last.extend(entries.items);
        while last.len() > LAST {
            last.pop_front();
            is_all = false;
        }
        let Some(cursor) = entries.next_cursor else { break };
        page.after = Some(cursor);
    }
    let all =
        if is_all { String::new() } else { format!(", the last {LAST}; disconnectd campaign log {campaign} has all") };
    let width = session.screen.width.map(|width| width.saturating_sub(INDENT));
    Ok(format!("History{all}:\n{}", indented(&listed(&last, width))))
}

/// What [`indented`] takes of a line.
const INDENT: u16 = 2;
