//! A filter for whoever does not write one: made from fields, and from the filter of a list.

use super::{Comparison, Condition, Contains, Expression, Filter, OneOf, TEXT_MAX, amount::Amount};
use crate::domain::account::{AccountFilter, AccountNumber};
use crate::domain::calendar::parse_zone;
use crate::domain::money::Currency;

/// What is picked; all of it must hold. What is empty is not asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picked {
    pub status: String,
    pub group: String,
    pub family: PickedFamily,
    /// The children of this account.
    pub parent: String,
    /// In the account's currency, taxes included.
    pub balance_over: String,
    /// The oldest uninvoiced debit, in days.
    pub debit_age_over: String,
    pub name_has: String,
    pub address_has: String,
    pub currency: String,
    pub zone: String,
    /// In the number, the name or the address.
    pub search: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PickedFamily {
    #[default]
    Any,
    /// Without a parent.
    Alone,
    /// With one.
    Child,
}

/// The field by its name in [`Picked`], and a sentence.
pub type Trouble = (&'static str, String);

impl Picked {
    /// What a list is filtered by, as far as a campaign can be: it takes connected accounts without an open event.
    #[must_use]
    pub fn of_list(filter: &AccountFilter) -> Option<Self> {
        if filter.disconnected == Some(true) || filter.open_event == Some(true) {
            return None;
        }
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let parent = filter.parent.as_ref().map(ToString::to_string).unwrap_or_default();
        Some(Self {
            status: text(&filter.status),
            group: text(&filter.group),
            search: text(&filter.search),
            parent,
            ..Self::default()
        })
    }

    /// The expression that `--where` takes; `before`, and what is picked. Empty where there is neither.
    ///
    /// # Errors
    /// The first field that can't be used, or that it becomes too long (`where`).
    pub fn added_to(&self, before: &str) -> Result<String, Trouble> {
        let picked = self.conditions()?;
        let text = match (before.trim(), picked.as_slice()) {
            (before, []) => before.to_owned(),
            ("", picked) => written(picked),
            (before, picked) => {
                let is_one_or_all = Filter::parse(before).is_ok_and(|it| !matches!(it.expression, Expression::Any(_)));
                let before = if is_one_or_all { before.to_owned() } else { format!("({before})") };
                format!("{before} and {}", written(picked))
            }
        };
        if text.len() > TEXT_MAX {
            return Err(("where", format!("The filter would have more than {TEXT_MAX} bytes; upload a list instead.")));
        }
        Ok(text)
    }

    fn conditions(&self) -> Result<Vec<Expression>, Trouble> {
        let mut conditions = Vec::new();
        if !self.search.is_empty() {
            let contains = || Contains { negated: false, text: self.search.clone() };
            let places =
                [Condition::NumberHas(contains()), Condition::NameHas(contains()), Condition::AddressHas(contains())];
            conditions.push(Expression::Any(places.map(Expression::Is).into()));
        }
        let mut is = |condition| conditions.push(Expression::Is(condition));
        if !self.status.is_empty() {
            is(Condition::Status(one(self.status.clone())));
        }
        if !self.group.is_empty() {
            is(Condition::Group(one(Some(self.group.clone()))));
        }
        match self.family {
            PickedFamily::Any => {}
            PickedFamily::Alone => is(Condition::Parent(one(None))),
            PickedFamily::Child => is(Condition::Parent(OneOf { negated: true, values: vec![None] })),
        }
        if !self.parent.is_empty() {
            is(Condition::Parent(one(Some(AccountNumber::parse(&self.parent).map_err(of("parent"))?))));
        }
        if !self.balance_over.is_empty() {
            let amount = Amount::parse(&self.balance_over).map_err(of("balance_over"))?;
            is(Condition::Balance(Comparison::Greater, amount, None));
        }
        if !self.debit_age_over.is_empty() {
            let days = self.debit_age_over.parse::<i32>();
            let days =
                days.map_err(|_| ("debit_age_over", format!("`{}` is no number of days", self.debit_age_over)))?;
            is(Condition::DebitAge(Comparison::Greater, days.into()));
        }
        if !self.name_has.is_empty() {
            is(Condition::NameHas(Contains { negated: false, text: self.name_has.clone() }));
        }
        if !self.address_has.is_empty() {
            is(Condition::AddressHas(Contains { negated: false, text: self.address_has.clone() }));
        }
        if !self.currency.is_empty() {
            is(Condition::Currency(one(Currency::parse(&self.currency).map_err(of("currency"))?)));
        }
        if !self.zone.is_empty() {
            is(Condition::Zone(one(parse_zone(&self.zone).map_err(of("zone"))?)));
        }
        Ok(conditions)
    }
}

fn one<T>(value: T) -> OneOf<T> {
    OneOf { negated: false, values: vec![value] }
}

fn of(field: &'static str) -> impl Fn(String) -> Trouble {
    move |error| (field, error)
}

/// All of them must hold.
fn written(conditions: &[Expression]) -> String {
    match conditions {
        [one] => one.to_string(),
        several => Expression::All(several.to_vec()).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(picked: &Picked, before: &str) -> String {
        let text = picked.added_to(before).unwrap();
        if !text.is_empty() {
            assert_eq!(Filter::parse(&text).unwrap().expression.to_string(), text, "it is read again as it is written");
        }
        text
    }

    #[test]
    fn what_is_picked_must_hold_together() {
        let picked = Picked {
            status: "Past due".into(),
            group: "tower-1".into(),
            balance_over: "50".into(),
            debit_age_over: "90".into(),
            ..Picked::default()
        };
        assert_eq!(added(&picked, ""), "status = \"Past due\" and group = tower-1 and balance > 50 and debit_age > 90");
        assert_eq!(added(&Picked::default(), ""), "");
        let all = Picked {
            family: PickedFamily::Child,
            parent: "none".into(),
            name_has: "say \"hi\" or".into(),
            address_has: "Elm".into(),
            currency: "USD".into(),
            zone: "Asia/Tokyo".into(),
            ..Picked::default()
        };
        assert_eq!(
            added(&all, ""),
            "parent != none and parent = \"none\" and name ~ \"say \"\"hi\"\" or\" and address ~ Elm and currency = USD \
             and zone = Asia/Tokyo"
        );
        let alone = Picked { family: PickedFamily::Alone, ..Picked::default() };
        assert_eq!(added(&alone, ""), "parent = none");
    }

    #[test]
    fn it_is_added_to_what_is_there() {
        let fiber = Picked { group: "fiber".into(), ..Picked::default() };
        assert_eq!(added(&fiber, "balance > 50"), "balance > 50 and group = fiber");
        assert_eq!(added(&fiber, "balance > 50 or group = x"), "(balance > 50 or group = x) and group = fiber");
        assert_eq!(added(&Picked::default(), "balance > 50"), "balance > 50");
        // What can't be read stays as it was typed, for whoever typed it.
        assert_eq!(fiber.added_to("balance >").unwrap(), "(balance >) and group = fiber");
        assert_eq!(fiber.added_to(&"x".repeat(TEXT_MAX)).unwrap_err().0, "where");
    }

    #[test]
    fn what_can_not_be_used_is_named_by_its_field() {
        let none = Picked::default;
        for (field, picked) in [
            ("parent", Picked { parent: "x".repeat(65), ..none() }),
            ("balance_over", Picked { balance_over: "much".into(), ..none() }),
            ("debit_age_over", Picked { debit_age_over: "1.5".into(), ..none() }),
            ("currency", Picked { currency: "dollars".into(), ..none() }),
            ("zone", Picked { zone: "Mars".into(), ..none() }),
        ] {
            assert_eq!(picked.added_to("").unwrap_err().0, field);
        }
    }

    #[test]
    fn a_list_of_accounts_that_a_campaign_can_take_becomes_a_filter() {
        let list = |filter: AccountFilter| Picked::of_list(&filter).map(|picked| added(&picked, ""));
        let filter = AccountFilter {
            search: Some("elm street".into()),
            status: Some("Active".into()),
            group: Some("none".into()),
            disconnected: Some(false),
            ..AccountFilter::default()
        };
        assert_eq!(
            list(filter).unwrap(),
            "(number ~ \"elm street\" or name ~ \"elm street\" or address ~ \"elm street\") and status = Active and \
             group = \"none\""
        );
        assert_eq!(list(AccountFilter::default()).unwrap(), "");
        assert_eq!(list(AccountFilter { disconnected: Some(true), ..AccountFilter::default() }), None);
        assert_eq!(list(AccountFilter { open_event: Some(true), ..AccountFilter::default() }), None);
    }
}
