//! `campaign`: many disconnects made, looked at, run, paused and reported on as one.

mod commands;
mod create;
mod dry_run;
mod log;
mod problems;
mod report;
mod show;
mod sink;
mod template;
mod terms;
mod watch;

use std::path::Path;

use clap::Subcommand;

use super::session::{CliError, Exit, Session};
use super::values;
use crate::domain::campaign::{CampaignId, Command};
use crate::domain::token::Role;

#[derive(Debug, Subcommand)]
#[command(after_help = "\
The usual way:
  disconnectd campaign create --name leavers --accounts leavers.csv --children keep
  disconnectd campaign dry-run 1        what it would do; it changes nothing
  disconnectd campaign start 1          `disconnectd serve` does the disconnects
  disconnectd campaign watch 1
  disconnectd campaign report 1 --output leavers-report.csv

More accounts than the setting campaign_approval_over (`disconnectd settings show`) take somebody else's approval \
before the start: disconnectd campaign approve. An approval is for the accounts and the terms; that the figures are those \
that were seen, `campaign start --digest` sees to.")]
pub enum CampaignCommand {
    Create(Box<create::CreateArgs>),
    Change(Box<create::ChangeArgs>),
    DryRun(dry_run::DryRunArgs),
    Approve(commands::ApproveArgs),
    Start(commands::StartArgs),
    /// Let nothing more of a campaign begin; what had begun is finished when this answers
    #[command(after_help = "\
It answers with exact numbers. What was in the queue is taken back; nothing is lost, and `campaign resume` goes on.

Example:
  disconnectd campaign pause 7 --reason 'calls come in'")]
    Pause {
        /// The number of the campaign
        #[arg(value_name = "ID", value_parser = values::campaign_id)]
        campaign: CampaignId,
        /// Why, for whoever looks at it
        #[arg(long, value_name = "TEXT", value_parser = values::text, allow_hyphen_values = true)]
        reason: Option<String>,
    },
    /// Let a paused campaign go on
    #[command(after_help = "\
Failures so far do not count for the next pause. One that paused for its canary goes on with all of its accounts.")]
    Resume {
        /// The number of the campaign
        #[arg(value_name = "ID", value_parser = values::campaign_id)]
        campaign: CampaignId,
    },
    Abort(commands::AbortArgs),
    /// Try again what has failed of a campaign
    #[command(after_help = "\
Its failed events are due again at once; a campaign that was complete runs again until they have ended.")]
    Retry {
        /// The number of the campaign
        #[arg(value_name = "ID", value_parser = values::campaign_id)]
        campaign: CampaignId,
    },
    /// Show one campaign: how far it is, what it came to, its terms
    Show {
        /// The number of the campaign
        #[arg(value_name = "ID", value_parser = values::campaign_id)]
        campaign: CampaignId,
    },
    Log(log::LogArgs),
    Watch(watch::WatchArgs),
    Report(report::ReportArgs),
    List(show::ListArgs),
    /// Campaigns that recur: a template makes one at each tick of a cron expression
    #[command(subcommand)]
    Template(template::TemplateCommand),
}

impl CampaignCommand {
    /// What the owner of the token must be for it.
    #[must_use]
    pub fn role(&self) -> Role {
        match self {
            Self::DryRun(_) | Self::Show { .. } | Self::Log(_) | Self::Watch(_) | Self::Report(_) | Self::List(_) => {
                Role::Viewer
            }
            Self::Approve(_) => Role::Approver,
            Self::Create(_)
            | Self::Change(_)
            | Self::Start(_)
            | Self::Pause { .. }
            | Self::Resume { .. }
            | Self::Abort(_)
            | Self::Retry { .. } => Role::Operator,
            Self::Template(command) => command.role(),
        }
    }

    /// Whether it approves something, which is somebody's in person.
    #[must_use]
    pub fn is_approval(&self) -> bool {
        matches!(self, Self::Approve(_) | Self::Template(template::TemplateCommand::Approve { .. }))
    }
}

pub async fn run(command: CampaignCommand, session: &Session) -> Result<Exit, CliError> {
    match command {
        CampaignCommand::Create(args) => create::create(*args, session).await,
        CampaignCommand::Change(args) => create::change(*args, session).await,
        CampaignCommand::DryRun(args) => dry_run::run(args, session).await,
        CampaignCommand::Approve(args) => commands::approve(args, session).await,
        CampaignCommand::Start(args) => commands::start(args, session).await,
        CampaignCommand::Pause { campaign, reason } => {
            commands::command(campaign, &Command::Pause { note: reason }, session).await
        }
        CampaignCommand::Resume { campaign } => commands::command(campaign, &Command::Resume, session).await,
        CampaignCommand::Abort(args) => commands::abort(args, session).await,
        CampaignCommand::Retry { campaign } => commands::command(campaign, &Command::Retry, session).await,
        CampaignCommand::Show { campaign } => show::show(campaign, session).await,
        CampaignCommand::Log(args) => log::run(args, session).await,
        CampaignCommand::Watch(args) => watch::run(args, session).await,
        CampaignCommand::Report(args) => report::run(args, session).await,
        CampaignCommand::List(args) => show::list(args, session).await,
        CampaignCommand::Template(command) => template::run(command, session).await,
    }
}

/// Standard output, where a file is asked for.
fn is_standard_output(path: &Path) -> bool {
    path.as_os_str() == "-"
}

#[cfg(test)]
mod tests;
