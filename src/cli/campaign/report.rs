//! `campaign report`: what became of each account, streamed.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use tokio::sync::mpsc;

use super::super::screen::Screen;
use super::super::session::{CliError, Exit, Session};
use super::super::table::count;
use super::super::values;
use super::dry_run::CHUNKS_AHEAD;
use super::is_standard_output;
use super::show::{named, number};
use crate::domain::campaign::report::ReportRow;
use crate::domain::campaign::{CampaignId, CampaignView};
use crate::export::{Format, ReportWriter, Summary};

/// Write what became of each account of a campaign, and how it adds up to what was agreed to
#[derive(Debug, Args)]
#[command(after_help = "\
The CSV has the columns account_number,outcome,event_id,due_at,ended_at,invoice_number,amount,currency,expected,\
attempts,failures,error,reason. Outcomes: disconnected, already_disconnected, no_longer_eligible, failed, cancelled, \
left_out, and while it is under way scheduled, queued and waiting. A sentence on standard error says how it adds up. \
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
    let Some((rows, summary)) = write(&campaign, sink, format, session).await? else { return Ok(Exit::Done) };
    if let Some(path) = &output {
        let written = Written { file: path.display().to_string(), rows, summary: &summary };
        session.answer(&written, || {
            format!("{} of campaign {} are in {}.", count(rows, "row"), named(&campaign), written.file)
        })?;
    }
    if !session.screen.json {
        session.screen.note(&summary.sentence);
        let counts = &campaign.counts;
        let open = counts.accounts - counts.done();
        if !campaign.state.is_over() && open > 0 {
            let state = super::show::state_name(campaign.state);
            session.screen.note(&format!(
                "campaign {} is {state}: {} of its accounts are still to come",
                campaign.id,
                number(open)
            ));
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

/// Rows as they are read, into the sink. `None` where its reader has gone away.
async fn write(
    campaign: &CampaignView,
    mut sink: Sink<'_>,
    format: Format,
    session: &Session,
) -> Result<Option<(u64, Summary)>, CliError> {
    let mut chunk = Vec::new();
    let mut writer = ReportWriter::begin(format, campaign, &mut chunk).map_err(|error| sink.broken(&error))?;
    let (sender, mut receiver) = mpsc::channel::<Vec<ReportRow>>(CHUNKS_AHEAD);
    let reading = session.store.report(campaign.id, sender);
    let writing = async {
        let mut written = 0_u64;
        let mut is_read = sink.write(&chunk)?;
        while is_read && let Some(rows) = receiver.recv().await {
            chunk.clear();
            writer.rows(&rows, &mut chunk).map_err(|error| sink.broken(&error))?;
            is_read = sink.write(&chunk)?;
            written += rows.len() as u64;
        }
        // So that the store does not wait for somebody who takes more.
        drop(receiver);
        Ok::<_, CliError>(is_read.then_some(written))
    };
    let (read, written) = tokio::join!(reading, writing);
    read?;
    let Some(rows) = written? else { return Ok(None) };
    chunk.clear();
    let summary = writer.end(&mut chunk).map_err(|error| sink.broken(&error))?;
    let is_read = sink.write(&chunk)?;
    sink.end()?;
    Ok(is_read.then_some((rows, summary)))
}

/// Where rows go: a file, or standard output.
pub(super) struct Sink<'s> {
    file: Option<(PathBuf, io::BufWriter<File>)>,
    format: Format,
    screen: &'s Screen,
}

impl<'s> Sink<'s> {
    pub(super) fn open(path: Option<&Path>, format: Format, screen: &'s Screen) -> Result<Self, CliError> {
        let path = path.filter(|path| path.as_os_str() != "-");
        let file = path.map(|path| match File::create(path) {
            Ok(file) => Ok((path.to_owned(), io::BufWriter::new(file))),
            Err(error) => Err(CliError::Failed(format!("{} can't be written: {error}", path.display()))),
        });
        Ok(Self { file: file.transpose()?, format, screen })
    }

    /// `false` where its reader has gone away.
    pub(super) fn write(&mut self, chunk: &[u8]) -> Result<bool, CliError> {
        if let Some((_, file)) = &mut self.file {
            let written = file.write_all(chunk);
            return self.told(written);
        }
        // What is written here is text, cut at the ends of rows.
        let text = String::from_utf8_lossy(chunk);
        match self.format {
            Format::Csv => self.screen.stream(&text),
            Format::Json => self.screen.stream_json(&text),
        }
    }

    pub(super) fn end(mut self) -> Result<(), CliError> {
        let flushed = self.file.as_mut().map_or(Ok(()), |(_, file)| file.flush());
        self.told(flushed).map(|_| ())
    }

    fn told(&self, written: io::Result<()>) -> Result<bool, CliError> {
        match written {
            Ok(()) => Ok(true),
            // A pipe with a name.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(self.broken(&error)),
        }
    }

    pub(super) fn broken(&self, error: &io::Error) -> CliError {
        let name = self.file.as_ref().map_or("the answer".into(), |(path, _)| path.display().to_string());
        CliError::Failed(format!("{name} could not be written to its end: {error}"))
    }
}
