//! Reading a campaign's terms from what somebody asks for and what the settings say where nothing is asked.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::Terms;
use crate::domain::calendar::{When, parse_zone};
use crate::domain::dispositions::Disposition;
use crate::domain::pace::Pace;
use crate::domain::refusal::Refusal;
use crate::domain::settings::Settings;
use crate::domain::text::parse_text;
use crate::domain::window::{Window, holidays_text};

/// The terms as a person or a program gives them. What is not given is what the settings say, or stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TermsAsked {
    /// Why, for the accounts' logs.
    pub reason: Option<String>,
    /// The date for accounts without one of their own, such as `2026-12-01`; `now`: when the campaign starts.
    pub on: Option<String>,
    /// The IANA zone that dates are read in; [`NO_ZONE`]: each account's, else the company's.
    pub zone: Option<String>,
    /// What becomes of connected children that are not in it themselves: `keep`, `unlink` or `disconnect`.
    pub children: Option<String>,
    /// At most so many a minute. In a change, 0 takes the limit away.
    pub per_minute: Option<u32>,
    /// After so many of the first accounts it pauses by itself. In a change, 0 takes that away.
    pub canary: Option<u32>,
    /// When it may disconnect; `always`: at any time, whatever the settings say.
    pub window: Option<String>,
    /// It pauses by itself when more than this share of what it tried has failed, in percent.
    pub pause_percent: Option<u32>,
}

/// In place of a zone: dates are read in each account's.
pub const NO_ZONE: &str = "none";

/// What is wrong with the terms: the field by its name in [`TermsAsked`], and a sentence.
pub type Trouble = (&'static str, String);

impl TermsAsked {
    /// The terms of a new campaign.
    ///
    /// # Errors
    /// The first field that can't be used.
    pub fn read(&self, settings: &Settings) -> Result<Terms, Trouble> {
        if self.per_minute == Some(0) {
            return Err(("per_minute", "0 a minute never ends; leave it out for as fast as it goes".into()));
        }
        if self.canary == Some(0) {
            return Err(("canary", "a canary has 1 account or more; leave it out for none".into()));
        }
        let mut terms = Terms { pause_percent: settings.campaign_pause_percent, ..Terms::default() };
        set_window(&mut terms, settings.window().as_ref());
        self.apply(terms, settings)
    }

    /// The terms of a campaign that is changed: what is not given stays as it is. `cohort`: whether it gets a new one.
    ///
    /// # Errors
    /// The first field that can't be used.
    pub fn change(&self, terms: &Terms, cohort: bool, settings: &Settings) -> Result<Terms, Trouble> {
        let dates = [("on", self.on.is_some()), ("zone", self.zone.is_some())];
        if let Some((field, _)) = dates.into_iter().find(|(_, given)| *given && !cohort) {
            let message = "dates are frozen with the accounts; give the list or the filter once more with it";
            return Err((field, message.into()));
        }
        self.apply(terms.clone(), settings)
    }

    /// The terms of a campaign that is changed, as a form has all of them at once: what is empty there is as in a new
    /// campaign. `cohort`: whether it gets a new one.
    ///
    /// # Errors
    /// The first field that can't be used.
    pub fn instead_of(&self, before: &Terms, cohort: bool, settings: &Settings) -> Result<Terms, Trouble> {
        let mut terms = self.read(settings)?;
        let dates = [("on", terms.on != before.on), ("zone", terms.on_zone != before.on_zone)];
        if let Some((field, _)) = dates.into_iter().find(|(_, changed)| *changed && !cohort) {
            return Err((field, "dates are frozen with the accounts; say once more which accounts".into()));
        }
        if terms.window == before.window {
            terms.holidays.clone_from(&before.holidays);
        }
        Ok(terms)
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn apply(&self, mut terms: Terms, settings: &Settings) -> Result<Terms, Trouble> {
        if let Some(reason) = &self.reason {
            terms.reason = Some(parse_text(reason).map_err(of("reason"))?);
        }
        if let Some(on) = &self.on {
            let on = on.trim();
            let is_now = When::parse(on).map_err(of("on"))? == When::Now;
            terms.on = (!is_now).then(|| on.to_owned());
        }
        if let Some(zone) = &self.zone {
            let is_none = zone.trim() == NO_ZONE;
            terms.on_zone = (!is_none).then(|| parse_zone(zone)).transpose().map_err(of("zone"))?;
        }
        if let Some(children) = &self.children {
            terms.children = Some(parse_children(children).map_err(of("children"))?);
        }
        if let Some(per_minute) = self.per_minute {
            let pace = (per_minute > 0).then(|| Pace::per_minute(per_minute)).transpose();
            terms.per_minute = pace.map_err(of("per_minute"))?.map(Pace::a_minute);
        }
        if let Some(canary) = self.canary {
            terms.canary = (canary > 0).then_some(canary);
        }
        if let Some(window) = &self.window {
            let window = Window::parse(window, settings.company_zone, &settings.campaign_holidays);
            set_window(&mut terms, window.map_err(of("window"))?.as_ref());
        }
        if let Some(percent) = self.pause_percent {
            let of_hundred = u8::try_from(percent).ok().filter(|percent| (1..=100).contains(percent));
            let message = || ("pause_percent", format!("{percent} is not a share in percent, from 1 to 100"));
            terms.pause_percent = of_hundred.ok_or_else(message)?;
        }
        Ok(terms)
    }
}

impl Terms {
    /// Refuses a date that has passed wherever an account may be, so that not each account of a long list is a bad row.
    ///
    /// # Errors
    /// It has passed, and that is not said to be meant.
    pub fn admit_date(&self, late: bool, settings: &Settings, now: DateTime<Utc>) -> Result<(), Refusal> {
        let Some(on) = self.on.as_deref().and_then(|on| When::parse(on).ok()) else { return Ok(()) };
        let due_at = |zone| on.resolve(zone, settings.cutoff_time, now).0;
        // Where the clocks are last.
        if late || due_at(self.on_zone.unwrap_or(Tz::Etc__GMTPlus12)) >= now {
            return Ok(());
        }
        Err(Refusal::PastDate { due_at: due_at(self.on_zone.unwrap_or(settings.company_zone)), now })
    }
}

fn of(field: &'static str) -> impl Fn(String) -> Trouble {
    move |message| (field, message)
}

fn set_window(terms: &mut Terms, window: Option<&Window>) {
    terms.window = window.map(Window::text);
    terms.holidays = window.map(|window| holidays_text(window.holidays())).unwrap_or_default();
}

/// # Errors
/// A sentence that names the choices.
pub fn parse_children(text: &str) -> Result<Disposition, String> {
    let text = text.trim();
    Disposition::parse(text).ok_or_else(|| format!("`{text}` is none of keep, unlink and disconnect"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::settings::SettingKey;

    fn settings(values: &[(SettingKey, &str)]) -> Settings {
        let mut settings = Settings::default();
        for (key, value) in values {
            settings.set(*key, value).unwrap();
        }
        settings
    }

    #[expect(clippy::unnecessary_wraps, reason = "each field has one")]
    fn given(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn what_is_not_given_is_what_the_settings_say() {
        let terms = TermsAsked::default().read(&Settings::default()).unwrap();
        assert_eq!(terms, Terms { pause_percent: 10, ..Terms::default() });

        let settings = settings(&[
            (SettingKey::CompanyZone, "Asia/Tokyo"),
            (SettingKey::CampaignWindow, "mon-fri 09:00-17:00"),
            (SettingKey::CampaignHolidays, "2026-12-25"),
            (SettingKey::CampaignPausePercent, "25"),
        ]);
        let terms = TermsAsked::default().read(&settings).unwrap();
        assert_eq!(terms.window.as_deref(), Some("mon-fri 09:00-17:00 Asia/Tokyo"));
        assert_eq!((terms.holidays.as_str(), terms.pause_percent), ("2026-12-25", 25));

        let own = TermsAsked { window: given("sat 10:00-12:00"), pause_percent: Some(1), ..TermsAsked::default() };
        let terms = own.read(&settings).unwrap();
        assert_eq!(terms.window.as_deref(), Some("sat 10:00-12:00 Asia/Tokyo"));
        assert_eq!((terms.holidays.as_str(), terms.pause_percent), ("2026-12-25", 1), "holidays are the company's");

        let always = TermsAsked { window: given("always"), ..TermsAsked::default() }.read(&settings).unwrap();
        assert_eq!((always.window, always.holidays.as_str()), (None, ""));
    }

    #[test]
    fn what_is_given_is_kept() {
        let asked = TermsAsked {
            reason: given(" moved "),
            on: given("2026-12-01"),
            zone: given("America/Denver"),
            children: given("unlink"),
            per_minute: Some(600),
            canary: Some(10),
            ..TermsAsked::default()
        };
        let terms = asked.read(&Settings::default()).unwrap();
        assert_eq!(terms.reason.as_deref(), Some("moved"));
        assert_eq!((terms.on.as_deref(), terms.on_zone), (Some("2026-12-01"), Some(Tz::America__Denver)));
        assert_eq!(terms.children, Some(Disposition::Unlink));
        assert_eq!((terms.per_minute, terms.canary), (Some(600), Some(10)));
        let now = TermsAsked { on: given("now"), ..TermsAsked::default() };
        assert_eq!(now.read(&Settings::default()).unwrap().on, None, "it is due when the campaign starts");
    }

    #[test]
    fn what_can_not_be_used_is_named_by_its_field() {
        let none = TermsAsked::default;
        for (field, asked) in [
            ("reason", TermsAsked { reason: given(" "), ..none() }),
            ("on", TermsAsked { on: given("tomorrow"), ..none() }),
            ("zone", TermsAsked { zone: given("Mars"), ..none() }),
            ("children", TermsAsked { children: given("adopt"), ..none() }),
            ("per_minute", TermsAsked { per_minute: Some(0), ..none() }),
            ("per_minute", TermsAsked { per_minute: Some(u32::MAX), ..none() }),
            ("canary", TermsAsked { canary: Some(0), ..none() }),
            ("window", TermsAsked { window: given("in the night"), ..none() }),
            ("pause_percent", TermsAsked { pause_percent: Some(0), ..none() }),
            ("pause_percent", TermsAsked { pause_percent: Some(256), ..none() }),
        ] {
            assert_eq!(asked.read(&Settings::default()).unwrap_err().0, field);
        }
    }

    #[test]
    fn a_change_leaves_what_is_not_given_and_takes_away_what_is_nothing() {
        let had = Terms {
            reason: given("moved"),
            per_minute: Some(600),
            canary: Some(10),
            window: given("mon 09:00-17:00 UTC"),
            holidays: "2026-12-25".into(),
            pause_percent: 5,
            ..Terms::default()
        };
        let change = |asked: TermsAsked| asked.change(&had, false, &Settings::default());
        assert_eq!(change(TermsAsked::default()).unwrap(), had);
        let nothing =
            TermsAsked { per_minute: Some(0), canary: Some(0), window: given("always"), ..TermsAsked::default() };
        let left = Terms { reason: given("moved"), pause_percent: 5, ..Terms::default() };
        assert_eq!(change(nothing).unwrap(), left);
    }

    #[test]
    fn dates_change_with_the_accounts_alone() {
        let in_denver = Terms { on_zone: Some(Tz::America__Denver), ..Terms::default() };
        let no_zone = TermsAsked { zone: given(NO_ZONE), ..TermsAsked::default() };
        assert_eq!(no_zone.change(&in_denver, true, &Settings::default()).unwrap(), Terms::default());
        let asked = TermsAsked { on: given("2026-12-01"), ..TermsAsked::default() };
        let change = |cohort| asked.change(&Terms::default(), cohort, &Settings::default());
        assert_eq!(change(false).unwrap_err().0, "on");
        assert_eq!(change(true).unwrap().on.as_deref(), Some("2026-12-01"));
    }

    #[test]
    fn a_form_has_all_terms_at_once() {
        let had = Terms {
            reason: given("moved"),
            on: given("2026-12-01"),
            per_minute: Some(600),
            canary: Some(10),
            window: given("mon 09:00-17:00 UTC"),
            holidays: "2026-12-25".into(),
            pause_percent: 5,
            ..Terms::default()
        };
        let same = TermsAsked {
            reason: given("moved"),
            on: given("2026-12-01"),
            per_minute: Some(600),
            canary: Some(10),
            window: given("mon 09:00-17:00 UTC"),
            pause_percent: Some(5),
            ..TermsAsked::default()
        };
        let settings = Settings::default();
        assert_eq!(same.instead_of(&had, false, &settings).unwrap(), had, "the holidays too, as they were");
        let emptied = TermsAsked { on: given("2026-12-01"), ..TermsAsked::default() };
        let new = Terms { on: given("2026-12-01"), pause_percent: 10, ..Terms::default() };
        assert_eq!(emptied.instead_of(&had, false, &settings).unwrap(), new);
        assert_eq!(TermsAsked::default().instead_of(&had, false, &settings).unwrap_err().0, "on");
        assert_eq!(TermsAsked::default().instead_of(&had, true, &settings).unwrap().on, None);
        let elsewhere = TermsAsked { zone: given("Asia/Tokyo"), ..emptied };
        assert_eq!(elsewhere.instead_of(&had, false, &settings).unwrap_err().0, "zone");
    }

    #[test]
    fn a_date_that_has_passed_everywhere_is_refused_unless_it_is_meant() {
        let now = "2026-12-02T11:00:00Z".parse().unwrap();
        let admit = |on: &str, zone, late| {
            let terms = Terms { on: given(on), on_zone: zone, ..Terms::default() };
            terms.admit_date(late, &Settings::default(), now).is_ok()
        };
        assert!(!admit("2026-12-01", None, false));
        assert!(admit("2026-12-01", None, true));
        assert!(admit("2026-12-02", None, false), "it has not begun yet where the clocks are last");
        assert!(!admit("2026-12-02", Some(Tz::UTC), false));
        assert!(admit("2026-12-03", Some(Tz::UTC), false));
    }
}
