//! `campaign report`: what became of each account, streamed.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::super::session::{CliError, Exit, Session};
use super::super::table::count;
use super::super::values;
use super::is_standard_output;
use super::show::{accounts, named};
use super::sink::{Sink, written};
use crate::domain::campaign::CampaignId;
use crate::export::{Format, ReportWriter, Summary};

/// Write what became of each account of a campaign, and how it adds up to what was agreed to
#[derive(Debug, Args)]
#[command(after_help = "\
The CSV has the columns account_number,outcome,event_id,due_at,ended_at,invoice_number,amount,currency,expected,\
attempts,failures,error,reason. Outcomes: disconnected, already_disconnected, no_longer_eligible, failed, cancelled, \
left_out, and while it is under way scheduled, queued and waiting. Accounts that an aborted campaign had not come to \
stay waiting for ever: they never became events. A sentence on standard error says how it adds up. \
An error or a reason that a spreadsheet would take for a formula has an apostrophe in front.

Examples:
  disconnectd campaign report 7 > report.csv
  disconnectd campaign report 7 --format json | jq .summary
  disconnectd campaign report 7 --output report.csv")]
pub struct ReportArgs {
    /// The number of the campaign
    #[arg(value_name = "ID", value_parser = values::campaign_id)]
    campaign: CampaignId,
    /// csv or json; csv, unless --json
    #[arg(long, value_name = "FORMAT", value_parser = Format::parse)]
    format: Option<Format>,
    /// The file to write, over one that there is; standard output, unless said
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub async fn run(args: ReportArgs, session: &Session) -> Result<Exit, CliError> {
    let output = args.output.filter(|path| !is_standard_output(path));
    let format = args.format.unwrap_or(if session.screen.json { Format::Json } else { Format::Csv });
    if session.screen.json && output.is_none() && format == Format::Csv {
        return Err(CliError::Usage(
            "--json and --format csv can't both have standard output; --output names a file".into(),
        ));
    }
    let campaign = session.store.campaign(args.campaign).await?;
    let sink = Sink::open(output.as_deref(), format, &session.screen)?;
    let writing = written(
        sink,
        |out| ReportWriter::begin(format, &campaign, out),
        |rows| session.store.report(campaign.id, rows),
    );
    let written = match &output {
        Some(_) => session.screen.patiently("writing what became of its accounts", writing).await?,
        // A bar would get in between.
        None => writing.await?,
    };
    let Some((rows, summary)) = written else { return Ok(Exit::Done) };
    if let Some(path) = &output {
        let written = Written { file: path.display().to_string(), rows, summary: &summary };
        session.answer(&written, || {
            let are = if rows == 1 { "is" } else { "are" };
            format!("{} of campaign {} {are} in {}.", count(rows, "row"), named(&campaign), written.file)
        })?;
    }
    if !session.screen.json {
        session.screen.note(&summary.sentence);
        let counts = &campaign.counts;
        let open = counts.accounts - counts.done();
        if !campaign.state.is_over() && open > 0 {
            let (id, state) = (campaign.id, campaign.state.in_words());
            let are = if open == 1 { "is" } else { "are" };
            session.screen.note(&format!("campaign {id} {state}: {} {are} still to come", accounts(open)));
        }
    }
    Ok(Exit::Done)
}

/// What a program is told when the report goes into a file.
#[derive(Serialize)]
struct Written<'a> {
    file: String,
    rows: u64,
    summary: &'a Summary,
}
