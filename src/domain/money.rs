//! Money: whole minor units of an ISO 4217 currency, never a float.

use std::fmt;

use serde::de::Error as _;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::{Object, ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// An ISO 4217 currency, by its code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(iso_currency::Currency);

impl Currency {
    pub const USD: Self = Self(iso_currency::Currency::USD);

    /// # Errors
    /// A sentence that says what a currency is.
    pub fn parse(code: &str) -> Result<Self, String> {
        let code = code.trim();
        iso_currency::Currency::from_code(code)
            .filter(|currency| currency.exponent().is_some())
            .map(Self)
            .ok_or_else(|| format!("`{code}` is not an ISO 4217 currency code, such as USD or EUR"))
    }

    #[must_use]
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// How many decimals the minor unit has: 2 for USD, 0 for JPY, 3 for KWD.
    #[must_use]
    pub fn decimals(self) -> u32 {
        self.0.exponent().unwrap_or(2).into()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl PartialSchema for Currency {
    fn schema() -> RefOr<Schema> {
        let code = Object::builder().schema_type(Type::String).pattern(Some("^[A-Z]{3}$"));
        code.description(Some("An ISO 4217 currency code.")).examples(["USD"]).into()
    }
}

impl ToSchema for Currency {}

/// An amount of money. Shown and sent as `{"amount":"120.50","currency":"USD"}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    /// In minor units: cents of a dollar.
    pub minor: i64,
    pub currency: Currency,
}

impl Money {
    #[must_use]
    pub fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Reads `120.5` as 120.50 in `currency`.
    ///
    /// # Errors
    /// A sentence: not a number, negative, too many decimals, or too large.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, String> {
        let text = text.trim();
        let not_a_number = || format!("`{text}` is not an amount; write it like 120.50");
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if text.starts_with('-') {
            return Err(format!("`{text}` is negative; a debit is a charge of zero or more"));
        }
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || text.ends_with('.') {
            return Err(not_a_number());
        }
        let decimals = currency.decimals() as usize;
        if fraction.len() > decimals {
            return Err(format!("`{text}` has too many decimals; {currency} has {decimals}"));
        }
        let too_large = |_| format!("`{text}` is too large");
        format!("{whole}{fraction:0<decimals$}").parse().map(|minor| Self { minor, currency }).map_err(too_large)
    }

    /// The amount alone, with the currency's decimals: `120.50`.
    #[must_use]
    pub fn amount(self) -> String {
        let decimals = self.currency.decimals() as usize;
        let sign = if self.minor < 0 { "-" } else { "" };
        let digits = format!("{:0>width$}", self.minor.unsigned_abs(), width = decimals + 1);
        let (whole, fraction) = digits.split_at(digits.len() - decimals);
        if decimals == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
    }
}

impl fmt::Display for Money {
    /// For people: `139,130.85 USD`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = self.amount();
        let (whole, fraction) = amount.split_once('.').unwrap_or((&amount, ""));
        let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
        let mut grouped = String::new();
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        let point = if fraction.is_empty() { "" } else { "." };
        f.pad(&format!("{sign}{grouped}{point}{fraction} {}", self.currency))
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut money = serializer.serialize_struct("Money", 2)?;
        money.serialize_field("amount", &self.amount())?;
        money.serialize_field("currency", &self.currency)?;
        money.end()
    }
}

/// As it is written; an amount that was stored is never negative.
impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Plain {
            amount: String,
            currency: String,
        }
        let Plain { amount, currency } = Plain::deserialize(deserializer)?;
        let currency = Currency::parse(&currency).map_err(D::Error::custom)?;
        Self::parse(&amount, currency).map_err(D::Error::custom)
    }
}

impl PartialSchema for Money {
    fn schema() -> RefOr<Schema> {
        let amount = Object::builder().schema_type(Type::String).pattern(Some(r"^-?\d+(\.\d+)?$"));
        ObjectBuilder::new()
            .description(Some("An amount of money, with the decimals of its currency."))
            .property("amount", amount.examples(["120.50"]))
            .required("amount")
            .property("currency", Currency::schema())
            .required("currency")
            .into()
    }
}

impl ToSchema for Money {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn usd(text: &str) -> Result<i64, String> {
        Money::parse(text, Currency::USD).map(|money| money.minor)
    }

    #[test]
    fn amounts_are_read_in_the_minor_unit_of_their_currency() {
        assert_eq!(usd("120.5"), Ok(12050));
        assert_eq!(usd(" 0.05 "), Ok(5));
        assert_eq!(usd("7"), Ok(700));
        assert_eq!(Money::parse("7", Currency::parse("JPY").unwrap()).unwrap().minor, 7);
        assert_eq!(Money::parse("7.125", Currency::parse("KWD").unwrap()).unwrap().minor, 7125);
    }

    #[test]
    fn what_is_not_an_amount_is_refused_with_a_sentence() {
        for (text, part) in [
            ("1.005", "too many decimals"),
            ("-1", "negative"),
            ("", "not an amount"),
            (".5", "not an amount"),
            ("5.", "not an amount"),
            ("1,000", "not an amount"),
            ("1e3", "not an amount"),
            ("+1", "not an amount"),
            ("NaN", "not an amount"),
            ("92233720368547758.08", "too large"),
        ] {
            let error = usd(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn unknown_currencies_and_those_without_a_minor_unit_are_refused() {
        assert!(Currency::parse("XYZ").is_err());
        assert!(Currency::parse("usd").is_err());
        assert!(Currency::parse("XAU").is_err());
    }

    #[test]
    fn money_is_shown_grouped_and_sent_plain() {
        let money = Money::new(13_913_085, Currency::USD);
        assert_eq!(money.to_string(), "139,130.85 USD");
        assert_eq!(serde_json::to_string(&money).unwrap(), r#"{"amount":"139130.85","currency":"USD"}"#);
        assert_eq!(Money::new(-5, Currency::USD).to_string(), "-0.05 USD");
        assert_eq!(Money::new(1000, Currency::parse("JPY").unwrap()).to_string(), "1,000 JPY");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(minor in 0..=i64::MAX) {
            prop_assert_eq!(usd(&Money::new(minor, Currency::USD).amount()), Ok(minor));
        }
    }
}
