//! Whether an account matches, and what it has instead where it does not.

use std::cmp::Ordering;

use super::{Candidate, Comparison, Condition, Contains, Expression, Field, OneOf};
use crate::domain::money::Money;
use crate::domain::text::folded;

/// How many conditions that do not hold a sentence names. More would be read by nobody.
const NAMED_MAX: usize = 3;

/// How many characters of one expression or value a sentence shows.
const SHOWN_MAX: usize = 120;

impl Expression {
    pub(super) fn holds(&self, candidate: &Candidate<'_>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(candidate)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(candidate)),
            Self::Not(part) => !part.holds(candidate),
            Self::Is(condition) => condition.holds(candidate),
        }
    }

    pub(super) fn why_not(&self, candidate: &Candidate<'_>) -> Option<String> {
        let mut failing = Vec::new();
        self.collect_failing(candidate, &mut failing);
        let sentences: Vec<String> = failing
            .into_iter()
            .map(|part| {
                let mut fields = Vec::new();
                part.collect_fields(&mut fields);
                let values: Vec<String> = fields.into_iter().map(|field| has(candidate, field)).collect();
                format!("{} no longer holds: {}", shown(&part.to_string()), values.join(", "))
            })
            .collect();
        (!sentences.is_empty()).then(|| sentences.join("; "))
    }

    /// The parts that had to hold and do not: of an `and` each that fails, else the whole.
    fn collect_failing<'e>(&'e self, candidate: &Candidate<'_>, failing: &mut Vec<&'e Self>) {
        match self {
            Self::All(parts) => {
                for part in parts {
                    part.collect_failing(candidate, failing);
                }
            }
            other if failing.len() < NAMED_MAX && !other.holds(candidate) => failing.push(other),
            _ => {}
        }
    }

    /// Each once, in the order in which they are named.
    fn collect_fields(&self, fields: &mut Vec<Field>) {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                for part in parts {
                    part.collect_fields(fields);
                }
            }
            Self::Not(part) => part.collect_fields(fields),
            Self::Is(condition) if fields.contains(&condition.field()) => {}
            Self::Is(condition) => fields.push(condition.field()),
        }
    }
}

impl Condition {
    fn holds(&self, candidate: &Candidate<'_>) -> bool {
        let Candidate { number, name, status, groups, parent, zone, currency, balance, address, .. } = *candidate;
        match self {
            Self::Number(numbers) => numbers.admits(|one| one == number),
            Self::Name(names) => names.admits(|one| one == name),
            Self::NumberHas(contains) => contains.admits(Some(number.as_str())),
            Self::NameHas(contains) => contains.admits(Some(name)),
            Self::Status(statuses) => statuses.admits(|one| one == status),
            Self::Group(names) => {
                names.admits(|one| one.as_ref().map_or(groups.is_empty(), |one| groups.contains(one)))
            }
            Self::Parent(parents) => parents.admits(|one| one.as_ref() == parent),
            Self::Zone(zones) => zones.admits(|one| *one == zone),
            Self::Currency(currencies) => currencies.admits(|one| *one == currency),
            Self::Address(addresses) => addresses.admits(|one| one.as_deref() == address),
            Self::AddressHas(contains) => contains.admits(address),
            Self::Balance(comparison, amount, only) => {
                only.is_none_or(|only| only == currency) && comparison.admits(amount.compare(balance, currency))
            }
            Self::OldestDebit(comparison, date) => {
                candidate.oldest_debit.is_some_and(|oldest| comparison.admits(oldest.cmp(date)))
            }
            Self::DebitAge(comparison, days) => {
                debit_age(candidate).is_some_and(|age| comparison.admits(age.cmp(days)))
            }
        }
    }
}

impl<T> OneOf<T> {
    fn admits(&self, is: impl Fn(&T) -> bool) -> bool {
        self.values.iter().any(is) != self.negated
    }
}

impl Contains {
    fn admits(&self, text: Option<&str>) -> bool {
        text.is_some_and(|text| folded(text).contains(&folded(&self.text))) != self.negated
    }
}

impl Comparison {
    /// `order` is that of what the account has to what was asked for.
    fn admits(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::AtMost => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::AtLeast => order.is_ge(),
        }
    }
}

/// In whole days; below zero for one that is charged at a date to come.
fn debit_age(candidate: &Candidate<'_>) -> Option<i64> {
    candidate.oldest_debit.map(|oldest| (candidate.today - oldest).num_days())
}

fn has(candidate: &Candidate<'_>, field: Field) -> String {
    let missing = |what: &str| format!("there is no {what}");
    match field {
        Field::Number => format!("the number is {}", candidate.number),
        Field::Name => format!("the name is {}", shown(candidate.name)),
        Field::Status => format!("the status is {}", candidate.status),
        Field::Group => match candidate.groups {
            [] => missing("group"),
            [one] => format!("the group is {}", shown(one)),
            several => format!("the groups are {}", shown(&several.join(", "))),
        },
        Field::Parent => candidate.parent.map_or_else(|| missing("parent"), |parent| format!("the parent is {parent}")),
        Field::Zone => format!("the zone is {}", candidate.zone.name()),
        Field::Currency => format!("the currency is {}", candidate.currency),
        Field::Balance => format!("the balance is {}", Money::new(candidate.balance, candidate.currency)),
        Field::OldestDebit => candidate
            .oldest_debit
            .map_or_else(|| missing("uninvoiced debit"), |date| format!("the oldest debit is of {date}")),
        Field::DebitAge => match debit_age(candidate) {
            None => missing("uninvoiced debit"),
            Some(1) => "the oldest debit is 1 day old".into(),
            Some(days) => format!("the oldest debit is {days} days old"),
        },
        Field::Address => {
            candidate.address.map_or_else(|| missing("address"), |address| format!("the address is {}", shown(address)))
        }
    }
}

/// In one line, cut where it is long.
pub(super) fn shown(text: &str) -> String {
    let line: String = text.chars().take(SHOWN_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(SHOWN_MAX).is_some() { format!("{line}…") } else { line }
}
