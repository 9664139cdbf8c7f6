//! The company's settings: what a disconnect leads to, and how dates and money are read.

use chrono::NaiveTime;
use chrono_tz::Tz;
use serde::Serialize;
use utoipa::ToSchema;

use super::account::Status;
use super::calendar;
use super::money::Currency;
use super::refusal::Refusal;

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
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            disconnect_status: "Inactive".into(),
            company_zone: Tz::UTC,
            cutoff_time: NaiveTime::MIN,
            currency: Currency::USD,
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
}

impl SettingKey {
    pub const ALL: [Self; 4] = [Self::DisconnectStatus, Self::CompanyZone, Self::CutoffTime, Self::Currency];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DisconnectStatus => "disconnect_status",
            Self::CompanyZone => "company_zone",
            Self::CutoffTime => "cutoff_time",
            Self::Currency => "currency",
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
        }
        Ok(())
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
