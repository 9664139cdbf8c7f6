//! Who reads a page: dates and money are shown in the order that they are used to, by their browser's languages.

use chrono::{DateTime, Locale, NaiveDate, Utc};
use chrono_tz::Tz;
use pure_rust_locales::locale_match;

use crate::domain::money::Money;

/// How many languages of a browser are looked at.
const LANGUAGES_MAX: usize = 10;

#[derive(Debug, Clone, Copy)]
pub struct Reader {
    locale: Locale,
}

/// An instant as it is shown: for programs in UTC, for people in a zone that is named.
#[derive(Debug, Clone)]
pub struct Moment {
    pub iso: String,
    pub shown: String,
}

impl Reader {
    /// By an `Accept-Language`; the first language that is known counts.
    pub fn of(languages: Option<&str>) -> Self {
        let mut wanted: Vec<(&str, f32)> = languages
            .unwrap_or_default()
            .split(',')
            .take(LANGUAGES_MAX)
            .map(|one| {
                let (tag, weight) = one.split_once(";q=").unwrap_or((one, "1"));
                (tag.trim(), weight.trim().parse().unwrap_or(0.0))
            })
            .filter(|(_, weight)| *weight > 0.0)
            .collect();
        // Stable: of the same weight, the first.
        wanted.sort_by(|one, other| other.1.total_cmp(&one.1));
        let locale = wanted.into_iter().find_map(|(tag, _)| locale_of(tag)).unwrap_or(Locale::en_US);
        Self { locale }
    }

    pub fn date(self, date: NaiveDate) -> String {
        date.format_localized("%x", self.locale).to_string()
    }

    /// `December 2026`.
    pub fn month(self, month: NaiveDate) -> String {
        month.format_localized("%B %Y", self.locale).to_string()
    }

    /// In a zone that the page names elsewhere, such as in the head of a column.
    pub fn moment(self, at: DateTime<Utc>, zone: Tz) -> Moment {
        Moment { iso: iso(at), shown: at.with_timezone(&zone).format_localized("%x %H:%M", self.locale).to_string() }
    }

    /// With the zone spelled out.
    pub fn moment_in(self, at: DateTime<Utc>, zone: Tz) -> Moment {
        let Moment { iso, shown } = self.moment(at, zone);
        if zone == Tz::UTC {
            return Moment { iso, shown: format!("{shown} UTC") };
        }
        let offset = at.with_timezone(&zone).format("%:z").to_string();
        Moment { iso, shown: format!("{shown} {} (UTC{offset})", zone.name()) }
    }

    /// In a zone, and in UTC where that is another one.
    pub fn moment_in_both(self, at: DateTime<Utc>, zone: Tz) -> Moment {
        let Moment { iso, shown } = self.moment_in(at, zone);
        if zone == Tz::UTC {
            return Moment { iso, shown };
        }
        Moment { iso, shown: format!("{shown}, or {}", self.moment_in(at, Tz::UTC).shown) }
    }

    /// One for each currency; nothing where there is none.
    pub fn sums(self, sums: &[Money]) -> String {
        let shown: Vec<_> = sums.iter().map(|sum| self.money(*sum)).collect();
        if shown.is_empty() { "nothing".into() } else { shown.join(" + ") }
    }

    /// How many there are of something.
    pub fn count(self, count: i64) -> String {
        let locale = self.locale;
        grouped(&count.max(0).to_string(), locale_match!(locale => LC_NUMERIC::THOUSANDS_SEP))
    }

    /// With the currency by its code, on the side where the reader's own stands.
    pub fn money(self, money: Money) -> String {
        let locale = self.locale;
        let point = locale_match!(locale => LC_MONETARY::MON_DECIMAL_POINT);
        let separator = locale_match!(locale => LC_MONETARY::MON_THOUSANDS_SEP);
        let is_first = locale_match!(locale => LC_MONETARY::P_CS_PRECEDES) == 1;
        let point = if point.is_empty() { "." } else { point };
        let amount = money.amount();
        let (whole, decimals) = amount.split_once('.').map_or((amount.as_str(), None), |(w, d)| (w, Some(d)));
        let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("\u{2212}", digits));
        let mut shown = format!("{sign}{}", grouped(digits, separator));
        if let Some(decimals) = decimals {
            shown.push_str(point);
            shown.push_str(decimals);
        }
        // A space that does not break.
        if is_first {
            format!("{}\u{a0}{shown}", money.currency.code())
        } else {
            format!("{shown}\u{a0}{}", money.currency.code())
        }
    }
}

/// Digits in groups of three.
fn grouped(digits: &str, separator: &str) -> String {
    let mut shown = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            shown.push_str(separator);
        }
        shown.push(digit);
    }
    shown
}

fn iso(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// `de-CH` as it is; `de` alone as it is mostly spoken.
fn locale_of(tag: &str) -> Option<Locale> {
    let name = tag.replace('-', "_");
    if let Ok(locale) = Locale::try_from(name.as_str()) {
        return Some(locale);
    }
    let language = name.split('_').next()?.to_ascii_lowercase();
    let country = match language.as_str() {
        "en" => "US".to_owned(),
        "cs" => "CZ".to_owned(),
        "da" => "DK".to_owned(),
        "el" => "GR".to_owned(),
        "ja" => "JP".to_owned(),
        "ko" => "KR".to_owned(),
        "nb" => "NO".to_owned(),
        "sv" => "SE".to_owned(),
        "uk" => "UA".to_owned(),
        "zh" => "CN".to_owned(),
        other => other.to_ascii_uppercase(),
    };
    Locale::try_from(format!("{language}_{country}").as_str()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Currency;

    #[test]
    fn dates_and_money_are_in_the_readers_order() {
        let date = NaiveDate::from_ymd_opt(2026, 12, 1).unwrap();
        let money = Money::new(123_456_750, Currency::USD);
        let shown = |languages| {
            let reader = Reader::of(languages);
            (reader.date(date), reader.money(money).replace('\u{a0}', " "))
        };
        let american = ("12/01/2026".to_owned(), "USD 1,234,567.50".to_owned());
        assert_eq!(shown(None), american);
        assert_eq!(shown(Some("xx, *;q=0.1, en-US;q=0.5")), american);
        assert_eq!(shown(Some("de-DE,de;q=0.9")), ("01.12.2026".into(), "1.234.567,50 USD".into()));
        assert_eq!(shown(Some("de")).0, "01.12.2026");
        assert_eq!(shown(Some("en-GB")).0, "01/12/26".to_owned());
    }

    #[test]
    fn an_instant_names_its_zone() {
        let at = "2026-12-01T05:00:00Z".parse().unwrap();
        let moment = Reader::of(None).moment_in(at, Tz::America__New_York);
        assert_eq!(moment.iso, "2026-12-01T05:00:00Z");
        assert_eq!(moment.shown, "12/01/2026 00:00 America/New_York (UTC-05:00)");
    }
}
