//! Which accounts a campaign is for: the expression of `--where`.
//!
//! Conditions joined by `and`, `or` and `not`, in any case, with parentheses; `and` binds tighter than `or`. Each is a
//! field, an operator and a value:
//!
//! | field | operators | what it compares |
//! |---|---|---|
//! | `status`, `zone`, `currency` | `=` `!=` `in` `not in` | exactly; the zone is the account's own or else the company's |
//! | `parent` | the same | the parent's number, or `none` |
//! | `group` | the same | whether one of its groups is among the values, or whether it has `none` |
//! | `number`, `name`, `address` | the same, `~` `!~` | exactly, or whether it contains a text, whatever the case; an address may be `none` |
//! | `balance` | `=` `!=` `<` `<=` `>` `>=` | uninvoiced debits with their taxes, in the account's currency; with a currency behind the number no account of another one matches |
//! | `oldest_debit` | the same | the date of the oldest uninvoiced debit; without one nothing matches, not even `!=` |
//! | `debit_age` | the same | the whole days from that date to today; likewise |
//!
//! A value is a bare word, or stands in `"` or `'`, where a doubled quote means one. `none` in quotes is a value like
//! any other. `not` turns round whatever is behind it: `not debit_age > 90` holds for an account without a debit.

mod amount;
pub mod compose;
mod evaluate;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;

use chrono::NaiveDate;
use chrono_tz::Tz;
use serde::{Serialize, Serializer};

use self::amount::Amount;
use super::account::AccountNumber;
use super::money::Currency;

/// In bytes. Longer ones are lists of accounts, and those have a file of their own (`--accounts`).
pub const TEXT_MAX: usize = 4_096;

/// How many parentheses and `not`s may stand around a condition. What walks the expression takes some stack for each.
pub const NESTING_MAX: usize = 32;

/// An expression that was read, with the text that it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    expression: Expression,
    text: String,
}

/// What an expression is asked about: an account as it is now.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    pub number: &'a AccountNumber,
    pub name: &'a str,
    pub status: &'a str,
    pub groups: &'a [String],
    pub parent: Option<&'a AccountNumber>,
    /// Its own, or else the company's.
    pub zone: Tz,
    pub currency: Currency,
    /// The sum of its uninvoiced debits with their taxes, in minor units of its currency.
    pub balance: i64,
    /// When the oldest of its uninvoiced debits was charged; none without such a debit.
    pub oldest_debit: Option<NaiveDate>,
    /// Where it is served now.
    pub address: Option<&'a str>,
    /// The date in the company's zone.
    pub today: NaiveDate,
}

impl Filter {
    /// # Errors
    /// A sentence: where it can't be read, what is there, what is expected, and which fields there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        parse::parse(text).map(|expression| Self { expression, text: text.to_owned() })
    }

    /// As it was given, without blanks around it. It can be parsed again.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    #[must_use]
    pub fn matches(&self, candidate: &Candidate<'_>) -> bool {
        self.expression.holds(candidate)
    }

    /// Why the account does not match: a short sentence with the conditions that do not hold and what it has instead.
    /// None where it matches.
    #[must_use]
    pub fn why_not(&self, candidate: &Candidate<'_>) -> Option<String> {
        self.expression.why_not(candidate)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// `All` and `Any` have two or more in them.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Expression {
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Not(Box<Expression>),
    Is(Condition),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Number(OneOf<AccountNumber>),
    NumberHas(Contains),
    Name(OneOf<String>),
    NameHas(Contains),
    Status(OneOf<String>),
    /// None: it is in no group.
    Group(OneOf<Option<String>>),
    /// None: it has no parent.
    Parent(OneOf<Option<AccountNumber>>),
    Zone(OneOf<Tz>),
    Currency(OneOf<Currency>),
    /// None: it has no address.
    Address(OneOf<Option<String>>),
    AddressHas(Contains),
    /// Where a currency is given, an account of another does not match, whatever the comparison.
    Balance(Comparison, Amount, Option<Currency>),
    OldestDebit(Comparison, NaiveDate),
    /// In days.
    DebitAge(Comparison, i64),
}

/// `=` and `in`, or where `negated` `!=` and `not in`. At least one value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct OneOf<T> {
    negated: bool,
    values: Vec<T>,
}

/// `~`, or where `negated` `!~`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Contains {
    negated: bool,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

impl Comparison {
    const ALL: [Self; 6] = [Self::Equal, Self::NotEqual, Self::Less, Self::AtMost, Self::Greater, Self::AtLeast];

    fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Number,
    Name,
    Status,
    Group,
    Parent,
    Zone,
    Currency,
    Balance,
    OldestDebit,
    DebitAge,
    Address,
}

impl Field {
    const ALL: [Self; 11] = [
        Self::Number,
        Self::Name,
        Self::Status,
        Self::Group,
        Self::Parent,
        Self::Zone,
        Self::Currency,
        Self::Balance,
        Self::OldestDebit,
        Self::DebitAge,
        Self::Address,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Name => "name",
            Self::Status => "status",
            Self::Group => "group",
            Self::Parent => "parent",
            Self::Zone => "zone",
            Self::Currency => "currency",
            Self::Balance => "balance",
            Self::OldestDebit => "oldest_debit",
            Self::DebitAge => "debit_age",
            Self::Address => "address",
        }
    }
}

impl Condition {
    fn field(&self) -> Field {
        match self {
            Self::Number(_) | Self::NumberHas(_) => Field::Number,
            Self::Name(_) | Self::NameHas(_) => Field::Name,
            Self::Status(_) => Field::Status,
            Self::Group(_) => Field::Group,
            Self::Parent(_) => Field::Parent,
            Self::Zone(_) => Field::Zone,
            Self::Currency(_) => Field::Currency,
            Self::Address(_) | Self::AddressHas(_) => Field::Address,
            Self::Balance(..) => Field::Balance,
            Self::OldestDebit(..) => Field::OldestDebit,
            Self::DebitAge(..) => Field::DebitAge,
        }
    }
}

/// A value of such a name needs quotes.
const KEYWORDS: [&str; 4] = ["and", "or", "not", "in"];

/// Without quotes: what the account does not have.
const NONE: &str = "none";

/// Whether it may stand in a word without quotes.
fn is_bare(c: char) -> bool {
    !c.is_whitespace() && !matches!(c, '"' | '\'' | '(' | ')' | ',' | '=' | '!' | '<' | '>' | '~')
}

/// What is written here is read as the same expression again.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, parts: &[Self], word: &str| {
            for (i, part) in parts.iter().enumerate() {
                if i > 0 {
                    write!(f, " {word} ")?;
                }
                match (self, part) {
                    (Self::Any(_), Self::Any(_)) | (Self::All(_), Self::Any(_) | Self::All(_)) => {
                        write!(f, "({part})")?;
                    }
                    _ => write!(f, "{part}")?,
                }
            }
            Ok(())
        };
        match self {
            Self::All(parts) => joined(f, parts, "and"),
            Self::Any(parts) => joined(f, parts, "or"),
            Self::Not(part) if matches!(**part, Self::All(_) | Self::Any(_)) => write!(f, "not ({part})"),
            Self::Not(part) => write!(f, "not {part}"),
            Self::Is(condition) => condition.fmt(f),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = self.field().as_str();
        match self {
            Self::Number(numbers) => numbers.write(f, field, |number| quoted(number.as_str())),
            Self::Name(texts) | Self::Status(texts) => texts.write(f, field, |text| quoted(text)),
            Self::Group(texts) | Self::Address(texts) => texts.write(f, field, |text| quoted_or_none(text.as_deref())),
            Self::Parent(numbers) => {
                numbers.write(f, field, |number| quoted_or_none(number.as_ref().map(AccountNumber::as_str)))
            }
            Self::Zone(zones) => zones.write(f, field, |zone| quoted(zone.name())),
            Self::Currency(currencies) => currencies.write(f, field, |currency| quoted(currency.code())),
            Self::NumberHas(contains) | Self::NameHas(contains) | Self::AddressHas(contains) => {
                let operator = if contains.negated { "!~" } else { "~" };
                write!(f, "{field} {operator} {}", quoted(&contains.text))
            }
            Self::Balance(comparison, amount, None) => write!(f, "{field} {} {amount}", comparison.as_str()),
            Self::Balance(comparison, amount, Some(currency)) => {
                write!(f, "{field} {} {amount} {currency}", comparison.as_str())
            }
            Self::OldestDebit(comparison, date) => write!(f, "{field} {} {date}", comparison.as_str()),
            Self::DebitAge(comparison, days) => write!(f, "{field} {} {days}", comparison.as_str()),
        }
    }
}

impl<T> OneOf<T> {
    fn write(&self, f: &mut fmt::Formatter<'_>, field: &str, value: impl Fn(&T) -> String) -> fmt::Result {
        let (equal, among) = if self.negated { ("!=", "not in") } else { ("=", "in") };
        match self.values.as_slice() {
            [one] => write!(f, "{field} {equal} {}", value(one)),
            several => {
                let values: Vec<String> = several.iter().map(value).collect();
                write!(f, "{field} {among} ({})", values.join(", "))
            }
        }
    }
}

fn quoted(text: &str) -> String {
    let keyword = KEYWORDS.iter().chain(&[NONE]).any(|keyword| text.eq_ignore_ascii_case(keyword));
    if !keyword && !text.is_empty() && text.chars().all(is_bare) {
        text.to_owned()
    } else {
        format!("\"{}\"", text.replace('"', "\"\""))
    }
}

fn quoted_or_none(text: Option<&str>) -> String {
    text.map_or_else(|| NONE.to_owned(), quoted)
}
