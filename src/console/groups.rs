//! The groups that a form offers: a list where there are few, hints beside a text field where there are many.

use std::sync::Arc;

use super::reader::Reader;
use super::{Shared, words};
use crate::api::problem::Answer;
use crate::store::Page;

/// How many a list has; beyond, one types and is offered what begins so.
const LISTED_MAX: usize = 50;

/// How many are offered at most, the first by name. Any other can be typed.
const OFFERED_MAX: u32 = 500;

#[derive(Default)]
pub struct Groups {
    pub is_list: bool,
    pub offered: Vec<Offered>,
    /// What was typed, or chosen.
    pub chosen: String,
}

pub struct Offered {
    pub name: String,
    /// How many accounts are in it.
    pub accounts: String,
    pub is_chosen: bool,
}

impl Groups {
    pub async fn offered(console: &Shared, chosen: &str, reader: Reader) -> Answer<Self> {
        let page = Page { after: None, limit: OFFERED_MAX };
        let store = Arc::clone(&console.store);
        let found = async move { Ok(store.groups(&page).await?.items) };
        let groups = console.groups.or_find(found).await.map_err(words::problem)?;
        let is_list = groups.len() <= LISTED_MAX;
        let mut offered: Vec<_> = groups
            .iter()
            .map(|group| Offered {
                is_chosen: group.name == chosen,
                accounts: reader.count(group.accounts),
                name: group.name.clone(),
            })
            .collect();
        // One from a link, that nobody is in: the list says what it is filtered by all the same.
        if !chosen.is_empty() && !offered.iter().any(|group| group.is_chosen) && is_list {
            offered.push(Offered { name: chosen.into(), accounts: reader.count(0), is_chosen: true });
        }
        Ok(Self { is_list, offered, chosen: chosen.into() })
    }
}
