//! The company's settings: what a disconnect leads to, and how dates and money are read.

use std::collections::BTreeSet;

use chrono::{NaiveDate, NaiveTime};
use chrono_tz::Tz;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::account::Status;
use super::calendar;
use super::money::Currency;
use super::refusal::Refusal;
use super::window::{Hours, Window, holidays_text, parse_holidays};

/// All settings. Each has a key of the same name, for the command line and the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Settings {
    /// The status that a disconnect leads to. It must not activate accounts.
    pub disconnect_status: String,
    /// Where dates are read for accounts without a zone of their own.
    #[schema(value_type = String)]
    pub company_zone: Tz,
    /// The time of day that a date alone means.
    #[serde(serialize_with = "calendar::serialize_time")]
    #[schema(value_type = String, example = "17:30")]
    pub cutoff_time: NaiveTime,
    /// For imported accounts that name none.
    pub currency: Currency,
    /// A campaign of more accounts needs the approval of someone else.
    pub campaign_approval_over: u32,
    /// When campaigns may disconnect that name no hours of their own, in the company's zone unless it ends with
    /// another; `always` for no limit.
    #[serde(serialize_with = "serialize_hours")]
    #[schema(value_type = String, example = "mon-fri 09:00-17:00; sat 22:00-02:00 America/New_York")]
    pub campaign_window: Option<Hours>,
    /// Dates on which no campaign disconnects, unless its window is `always`.
    pub campaign_holidays: BTreeSet<NaiveDate>,
    /// A campaign pauses itself when more than this share of the accounts that it tried has failed.
    #[schema(minimum = 1, maximum = 100)]
    pub campaign_pause_percent: u8,
}

#[expect(clippy::ref_option, reason = "serde hands a field over like this")]
fn serialize_hours<S: Serializer>(hours: &Option<Hours>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hours_text(hours.as_ref()))
}

fn hours_text(hours: Option<&Hours>) -> String {
    hours.map_or_else(|| "always".to_owned(), Hours::text)
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            disconnect_status: "Inactive".into(),
            company_zone: Tz::UTC,
            cutoff_time: NaiveTime::MIN,
            currency: Currency::USD,
            campaign_approval_over: 5_000,
            campaign_window: None,
            campaign_holidays: BTreeSet::new(),
            campaign_pause_percent: 10,
        }
    }
}

/// One setting by its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingKey {
    DisconnectStatus,
    CompanyZone,
    CutoffTime,
    Currency,
    CampaignApprovalOver,
    CampaignWindow,
    CampaignHolidays,
    CampaignPausePercent,
}

impl SettingKey {
    pub const ALL: [Self; 8] = [
        Self::DisconnectStatus,
        Self::CompanyZone,
        Self::CutoffTime,
        Self::Currency,
        Self::CampaignApprovalOver,
        Self::CampaignWindow,
        Self::CampaignHolidays,
        Self::CampaignPausePercent,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DisconnectStatus => "disconnect_status",
            Self::CompanyZone => "company_zone",
            Self::CutoffTime => "cutoff_time",
            Self::Currency => "currency",
            Self::CampaignApprovalOver => "campaign_approval_over",
            Self::CampaignWindow => "campaign_window",
            Self::CampaignHolidays => "campaign_holidays",
            Self::CampaignPausePercent => "campaign_pause_percent",
        }
    }

    /// # Errors
    /// A sentence that names the keys there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|key| key.as_str() == text).ok_or_else(|| {
            let keys: Vec<_> = Self::ALL.into_iter().map(Self::as_str).collect();
            format!("there is no setting `{text}`; there are {}", keys.join(", "))
        })
    }
}

impl Settings {
    /// The value of one setting, as it is stored and shown.
    #[must_use]
    pub fn value(&self, key: SettingKey) -> String {
        match key {
            SettingKey::DisconnectStatus => self.disconnect_status.clone(),
            SettingKey::CompanyZone => self.company_zone.name().to_owned(),
            SettingKey::CutoffTime => self.cutoff_time.format("%H:%M").to_string(),
            SettingKey::Currency => self.currency.code().to_owned(),
            SettingKey::CampaignApprovalOver => self.campaign_approval_over.to_string(),
            SettingKey::CampaignWindow => hours_text(self.campaign_window.as_ref()),
            SettingKey::CampaignHolidays => holidays_text(&self.campaign_holidays),
            SettingKey::CampaignPausePercent => self.campaign_pause_percent.to_string(),
        }
    }

    /// Takes one value as a person wrote it or the database holds it. The statuses are looked at elsewhere:
    /// [`Settings::target`].
    ///
    /// # Errors
    /// A sentence that says what the setting takes.
    pub fn set(&mut self, key: SettingKey, value: &str) -> Result<(), String> {
        match key {
            SettingKey::DisconnectStatus => value.trim().clone_into(&mut self.disconnect_status),
            SettingKey::CompanyZone => self.company_zone = calendar::parse_zone(value)?,
            SettingKey::CutoffTime => self.cutoff_time = calendar::parse_time(value)?,
            SettingKey::Currency => self.currency = Currency::parse(value)?,
            SettingKey::CampaignApprovalOver => {
                let not_a_number = |_| format!("`{value}` is not a number of accounts, such as 5000");
                self.campaign_approval_over = value.trim().parse().map_err(not_a_number)?;
            }
            SettingKey::CampaignWindow => self.campaign_window = Hours::parse(value)?,
            SettingKey::CampaignHolidays => self.campaign_holidays = parse_holidays(value)?,
            SettingKey::CampaignPausePercent => {
                let percent = value.trim().parse().ok().filter(|percent| (1..=100).contains(percent));
                self.campaign_pause_percent =
                    percent.ok_or_else(|| format!("`{value}` is not a share in percent, from 1 to 100"))?;
            }
        }
        Ok(())
    }

    /// When campaigns may disconnect that name no hours of their own: the hours in their zone or the company's, without
    /// the holidays. Holidays alone leave whole days. None: always.
    #[must_use]
    pub fn window(&self) -> Option<Window> {
        let hours = match &self.campaign_window {
            None if self.campaign_holidays.is_empty() => return None,
            None => Hours::whole_days(),
            Some(hours) => hours.clone(),
        };
        Some(Window::new(hours, self.company_zone, self.campaign_holidays.clone()))
    }

    /// The status that a disconnect leads to, looked up among those that there are. Checked when the setting is
    /// changed, and again by each disconnect.
    ///
    /// # Errors
    /// It is missing, or it activates accounts.
    pub fn target<'s>(&self, statuses: &'s [Status]) -> Result<&'s Status, Refusal> {
        let name = &self.disconnect_status;
        match statuses.iter().find(|status| status.name == *name) {
            None => Err(Refusal::DisconnectStatusMissing { name: name.clone() }),
            Some(status) if status.activates_account => Err(Refusal::DisconnectStatusActivates { name: name.clone() }),
            Some(status) => Ok(status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(values: &[(SettingKey, &str)]) -> Settings {
        let mut settings = Settings::default();
        for (key, value) in values {
            settings.set(*key, value).unwrap_or_else(|error| panic!("{error}"));
        }
        settings
    }

    #[test]
    fn each_value_is_read_as_it_is_shown() {
        let changed = with(&[
            (SettingKey::CampaignWindow, "mon-fri 9:00-17:00 Europe/Berlin"),
            (SettingKey::CampaignHolidays, "2026-12-25,2027-01-01"),
            (SettingKey::CampaignApprovalOver, " 0 "),
            (SettingKey::CampaignPausePercent, "100"),
        ]);
        for settings in [Settings::default(), changed] {
            for key in SettingKey::ALL {
                assert_eq!(SettingKey::parse(key.as_str()), Ok(key));
                let mut again = settings.clone();
                again.set(key, &settings.value(key)).unwrap();
                assert_eq!(again, settings, "{}", key.as_str());
            }
        }
    }

    #[test]
    fn a_window_and_holidays_are_taken_away_by_an_empty_text() {
        let (window, holidays) = (SettingKey::CampaignWindow, SettingKey::CampaignHolidays);
        let settings = with(&[(window, "mon 09:00-17:00"), (holidays, "2026-12-25"), (window, ""), (holidays, "")]);
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn what_a_setting_does_not_take_is_refused_and_changes_nothing() {
        for (key, value) in [
            (SettingKey::CampaignApprovalOver, "many"),
            (SettingKey::CampaignApprovalOver, "-1"),
            (SettingKey::CampaignApprovalOver, "4294967296"),
            (SettingKey::CampaignWindow, "mon"),
            (SettingKey::CampaignHolidays, "christmas"),
            (SettingKey::CampaignPausePercent, "0"),
            (SettingKey::CampaignPausePercent, "101"),
            (SettingKey::CampaignPausePercent, "10%"),
        ] {
            let mut settings = Settings::default();
            let error = settings.set(key, value).expect_err(value);
            assert!(error.contains(&format!("`{value}`")), "{error}");
            assert_eq!(settings, Settings::default());
        }
    }

    #[test]
    fn the_window_is_read_in_the_companys_zone_unless_it_names_one() {
        let text = |values: &[(SettingKey, &str)]| with(values).window().map(|window| window.text());
        let zone = (SettingKey::CompanyZone, "Asia/Tokyo");
        assert_eq!(text(&[zone]), None);
        assert_eq!(
            text(&[(SettingKey::CampaignWindow, "mon 09:00-17:00"), zone]).as_deref(),
            Some("mon 09:00-17:00 Asia/Tokyo")
        );
        assert_eq!(
            text(&[zone, (SettingKey::CampaignWindow, "mon 09:00-17:00 UTC")]).as_deref(),
            Some("mon 09:00-17:00 UTC")
        );
    }

    #[test]
    fn holidays_count_without_hours() {
        let window = with(&[(SettingKey::CampaignHolidays, "2026-12-25")]).window().unwrap();
        assert!(!window.is_open("2026-12-25T12:00:00Z".parse().unwrap()));
        assert!(window.is_open("2026-12-26T00:00:00Z".parse().unwrap()));
    }

    #[test]
    fn settings_are_sent_as_people_write_them() {
        let sent = serde_json::to_value(with(&[(SettingKey::CampaignHolidays, "2026-12-25")])).unwrap();
        assert_eq!(sent["campaign_window"], "always");
        assert_eq!(sent["campaign_holidays"], serde_json::json!(["2026-12-25"]));
        assert_eq!(sent["campaign_approval_over"], 5_000);
        assert_eq!(sent["campaign_pause_percent"], 10);
    }
}
