//! `settings`: show and set.

use clap::{Args, Subcommand};

use super::session::{CliError, Exit, Session};
use super::table::{Column, table};
use crate::domain::settings::{SettingKey, Settings};

#[derive(Debug, Subcommand)]
pub enum SettingsCommand {
    /// Show all settings
    Show,
    Set(SetArgs),
}

/// Change one setting
#[derive(Debug, Args)]
#[command(after_help = "\
Settings:
  disconnect_status       the account status that a disconnect leads to; it must not activate accounts
  company_zone            the IANA zone that dates are read in for accounts without one, such as America/Chicago
  cutoff_time             the time of day that a date alone means, such as 17:30
  currency                the ISO 4217 code for imported accounts that name none
  campaign_approval_over  a campaign of more accounts needs the approval of someone else, such as 5000
  campaign_window         when campaigns may disconnect: \"mon-fri 09:00-17:00; sat 22:00-02:00\", with a zone at the end
                          if it is not the company's, or always
  campaign_holidays       dates on which no campaign disconnects, unless its window is always:
                          \"2026-12-25 2027-01-01\", or \"\" for none
  campaign_pause_percent  a campaign pauses itself when more than this share of what it tried has failed, such as 10

Example:
  disconnectd settings set cutoff_time 17:30")]
pub struct SetArgs {
    /// One of those below
    #[arg(value_name = "KEY", value_parser = SettingKey::parse)]
    key: SettingKey,
    /// What it is to be
    #[arg(value_name = "VALUE")]
    value: String,
}

pub async fn run(command: SettingsCommand, session: &Session) -> Result<Exit, CliError> {
    let settings = match command {
        SettingsCommand::Show => session.store.settings().await?,
        SettingsCommand::Set(SetArgs { key, value }) => {
            Settings::default().set(key, &value).map_err(CliError::Usage)?;
            session.store.change_setting(key, &value).await?
        }
    };
    session.answer(&settings, || {
        let columns = [Column::Firm("SETTING"), Column::Left("VALUE"), Column::Left("MEANING")];
        let rows = SettingKey::ALL.map(|key| [key.as_str().to_owned(), settings.value(key), meaning(key).to_owned()]);
        table(session.screen.width, &columns, rows)
    })?;
    Ok(Exit::Done)
}

fn meaning(key: SettingKey) -> &'static str {
    match key {
        SettingKey::DisconnectStatus => "the status that a disconnect leads to",
        SettingKey::CompanyZone => "where dates are read, unless the account has a zone",
        SettingKey::CutoffTime => "the time of day that a date alone means",
        SettingKey::Currency => "for imported accounts that name none",
        SettingKey::CampaignApprovalOver => "a campaign of more accounts needs someone else's approval",
        SettingKey::CampaignWindow => "when campaigns may disconnect",
        SettingKey::CampaignHolidays => "dates on which no campaign disconnects, unless its window is `always`",
        SettingKey::CampaignPausePercent => "a campaign pauses when more than this share failed",
    }
}
