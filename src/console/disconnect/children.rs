//! What the window asks about the children: each has its choice; where there are many, one choice is for all of them but
//! those that are found and chosen one by one.

use super::filled::{CHILD, Filled, ON};
use crate::console::reader::Reader;
use crate::domain::account::AccountNumber;
use crate::domain::family::Relative;

/// How many children are asked about one by one.
const ONE_BY_ONE_MAX: usize = 100;

/// How many of those that were looked for are shown.
const FOUND_MAX: usize = 50;

pub struct Child {
    pub number: AccountNumber,
    pub name: String,
    pub status: String,
    pub has_contact: bool,
    /// The one above, where that is not the account itself.
    pub parent: Option<AccountNumber>,
    pub field: String,
    pub choice: String,
    /// Of its own date.
    pub date_field: String,
    pub date: String,
}

impl Child {
    fn of(child: &Relative, account: &AccountNumber, filled: &Filled) -> Self {
        Self {
            number: child.number.clone(),
            name: child.name.clone(),
            status: child.status.clone(),
            has_contact: !child.contact.is_empty(),
            parent: child.parent_number.clone().filter(|parent| parent != account),
            field: format!("{CHILD}{}", child.number),
            choice: filled.choice(&child.number).to_owned(),
            date_field: format!("{ON}{}", child.number),
            date: filled.date(&child.number).to_owned(),
        }
    }
}

/// Those that are asked about, as far as they are shown.
#[derive(Default)]
pub struct Children {
    pub shown: Vec<Child>,
    /// How many there are, where they are too many to be shown one by one.
    pub many: Option<Many>,
}

pub struct Many {
    pub count: String,
    /// Those that can't be unlinked.
    pub without_contact: Option<String>,
    /// What was found of what was looked for.
    pub found: Option<String>,
}

impl Children {
    pub fn of(asked: &[&Relative], account: &AccountNumber, filled: &Filled, reader: Reader) -> Self {
        let child = |child: &&Relative| Child::of(child, account, filled);
        if asked.len() <= ONE_BY_ONE_MAX {
            return Self { shown: asked.iter().map(child).collect(), many: None };
        }
        let count = |count: usize| reader.count(i64::try_from(count).unwrap_or(i64::MAX));
        let find = filled.find.to_lowercase();
        let is_found = |one: &Relative| {
            !find.is_empty() && [one.number.as_str(), &one.name].iter().any(|text| text.to_lowercase().contains(&find))
        };
        // Whose choice is made is shown whatever is looked for, or it would be lost with the next look.
        let (chosen, others): (Vec<&Relative>, Vec<&Relative>) =
            asked.iter().copied().partition(|child| !filled.choice(&child.number).is_empty());
        let found: Vec<_> = others.into_iter().filter(|child| is_found(child)).collect();
        let without_contact = asked.iter().filter(|child| child.contact.is_empty()).count();
        let many = Many {
            count: count(asked.len()),
            without_contact: (without_contact > 0).then(|| count(without_contact)),
            found: (!find.is_empty()).then(|| match found.len() {
                0 => "No other child is like that.".into(),
                1 => "One child is found.".into(),
                n if n > FOUND_MAX => {
                    format!("{} children are found; these are the first {FOUND_MAX}. Look more closely.", count(n))
                }
                n => format!("{} children are found.", count(n)),
            }),
        };
        let shown = chosen.iter().chain(found.iter().take(FOUND_MAX)).map(child).collect();
        Self { shown, many: Some(many) }
    }
}
