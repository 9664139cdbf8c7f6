//! Families: who is whose parent. Links and unlinks are a person's choice; a disconnect never makes them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use utoipa::ToSchema;

use super::account::{AccountNumber, Contact};
use super::event::OpenEvent;
use super::refusal::Refusal;

/// The relatives of one account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Family {
    pub parent: Option<Relative>,
    /// By number, those that are disconnected too.
    pub children: Vec<Relative>,
    /// What is below the children that are connected, however deep. By number.
    pub descendants: Vec<Relative>,
}

impl Family {
    /// The children of one of its members (or of the account itself) that are connected.
    pub fn connected_children_of<'f>(&'f self, parent: &'f AccountNumber) -> impl Iterator<Item = &'f Relative> {
        let is_child = move |one: &&Relative| one.parent_number.as_ref() == Some(parent);
        self.children.iter().chain(&self.descendants).filter(is_child).filter(|child| child.disconnected_at.is_none())
    }

    /// The same for whoever asks about many of them: one look at the family, however large it is.
    #[must_use]
    pub fn connected(&self) -> ConnectedChildren<'_> {
        let mut by_parent: HashMap<&AccountNumber, Vec<&Relative>> = HashMap::new();
        let connected = self.children.iter().chain(&self.descendants).filter(|one| one.disconnected_at.is_none());
        for (parent, child) in connected.filter_map(|child| Some((child.parent_number.as_ref()?, child))) {
            by_parent.entry(parent).or_default().push(child);
        }
        ConnectedChildren(by_parent)
    }
}

/// The connected children of each member of a family.
pub struct ConnectedChildren<'f>(HashMap<&'f AccountNumber, Vec<&'f Relative>>);

impl<'f> ConnectedChildren<'f> {
    /// By number.
    #[must_use]
    pub fn of(&self, parent: &AccountNumber) -> &[&'f Relative] {
        self.0.get(parent).map_or(&[], Vec::as_slice)
    }
}

/// The children of one account in numbers: what is shown of them where they may be thousands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChildCounts {
    pub all: i64,
    pub connected: i64,
    /// Of the connected ones, without a contact of their own: nobody gets their invoices once their parent is gone.
    pub without_contact: i64,
    /// With an event that is to come.
    pub with_open_event: i64,
}

/// One relative as an overview shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Relative {
    pub number: AccountNumber,
    pub name: String,
    pub status: String,
    pub disconnected_at: Option<DateTime<Utc>>,
    pub contact: Contact,
    pub parent_number: Option<AccountNumber>,
    #[schema(value_type = Option<String>)]
    pub zone: Option<Tz>,
    pub open_event: Option<OpenEvent>,
}

/// An account and its line of ancestors, read under the lock of the whole tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeFacts {
    pub child: AccountNumber,
    pub child_disconnected_at: Option<DateTime<Utc>>,
    pub child_contact: Contact,
    /// Its parent now.
    pub parent: Option<AccountNumber>,
}

/// The parent that an account is to be put under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewParent {
    pub number: AccountNumber,
    pub disconnected_at: Option<DateTime<Utc>>,
    /// Its own parent, that one's parent, and so on up.
    pub ancestors: Vec<AccountNumber>,
}

/// Whether `child` may be put under `parent`. `false` where it is there already.
///
/// # Errors
/// A cycle, a link to itself, or one of the two is disconnected.
pub fn link(child: &TreeFacts, parent: &NewParent) -> Result<bool, Refusal> {
    if child.child == parent.number {
        return Err(Refusal::SelfLink { child: child.child.clone() });
    }
    if parent.ancestors.contains(&child.child) {
        return Err(Refusal::LinkCycle { child: child.child.clone(), parent: parent.number.clone() });
    }
    refuse_disconnected(&child.child, child.child_disconnected_at)?;
    if child.parent.as_ref() == Some(&parent.number) {
        return Ok(false);
    }
    refuse_disconnected(&parent.number, parent.disconnected_at)?;
    Ok(true)
}

/// Whether `child` may be unlinked from its parent, which it answers.
///
/// # Errors
/// It has no parent, is disconnected, or nobody would get its invoices.
pub fn unlink(child: &TreeFacts) -> Result<AccountNumber, Refusal> {
    let parent = child.parent.clone().ok_or_else(|| Refusal::NotLinked { child: child.child.clone() })?;
    refuse_disconnected(&child.child, child.child_disconnected_at)?;
    if child.child_contact.is_empty() {
        return Err(Refusal::UnlinkWithoutContact { child: child.child.clone(), parent });
    }
    Ok(parent)
}

fn refuse_disconnected(account: &AccountNumber, at: Option<DateTime<Utc>>) -> Result<(), Refusal> {
    match at {
        Some(disconnected_at) => Err(Refusal::Disconnected { account: account.clone(), disconnected_at }),
        None => Ok(()),
    }
}
