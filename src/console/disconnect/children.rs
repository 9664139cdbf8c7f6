//! What the window asks about the children: each has its choice; where there are many, one choice is for all of them but
//! those that are found and chosen one by one.

use url::form_urlencoded::byte_serialize;

use super::filled::{CHILD, Filled, ON};
use crate::console::reader::Reader;
use crate::domain::account::AccountNumber;
use crate::domain::family::Relative;
use crate::domain::text::{folded, searched};

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
    /// The same wherever it stands in the list: whoever is at it stays at it.
    pub id: String,
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
            id: format!("child-{}", byte_serialize(child.number.as_str().as_bytes()).collect::<String>()),
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
    /// How many can't be unlinked, as a sentence.
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
        let find = folded(&filled.find);
        let is_looking = !find.is_empty() || filled.without_contact;
        let is_found = |one: &Relative| {
            is_looking
                && searched(one.number.as_str(), &one.name).contains(&find)
                && (one.contact.is_empty() || !filled.without_contact)
        };
        // Whose choice is made is shown whatever is looked for, or it would be lost with the next look; in the place that
        // it has among the others. So is one whose choice was taken back just now.
        let (mut found, mut shown) = (0, Vec::new());
        for one in asked {
            let is_chosen = !filled.choice(&one.number).is_empty();
            found += usize::from(!is_chosen && is_found(one));
            if is_chosen || filled.has_shown(&one.number) || is_found(one) && found <= FOUND_MAX {
                shown.push(child(one));
            }
        }
        let without_contact = asked.iter().filter(|child| child.contact.is_empty()).count();
        let many = Many {
            count: count(asked.len()),
            without_contact: match without_contact {
                0 => None,
                1 => Some("1 has no contact of its own, so it can't be unlinked.".into()),
                n => Some(format!("{} have no contact of their own, so they can't be unlinked.", count(n))),
            },
            found: is_looking.then(|| match found {
                0 => "No other child is like that.".into(),
                1 => "One child is found.".into(),
                n if n > FOUND_MAX => {
                    format!("{} children are found; these are the first {FOUND_MAX}. Look more closely.", count(n))
                }
                n => format!("{} children are found.", count(n)),
            }),
        };
        Self { shown, many: Some(many) }
    }
}
