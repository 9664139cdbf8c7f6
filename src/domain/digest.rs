//! What an overview showed, as the digest that a confirmation carries back (DESIGN 2, rule 8).
//!
//! A digest is not a hash alone: it holds what was shown, without personal data (amounts, account numbers and
//! fingerprints of texts), so that whoever refuses it can say what has changed, and nothing has to be kept for that.

use std::collections::{BTreeMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, NaiveTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::account::{AccountNumber, Contact};
use super::event::{EventId, OpenEvent};
use super::family::{Family, Relative};
use super::invoice::{Debit, InvoiceDraft};
use super::money::{Currency, Money};
use super::plan::Snapshot;
use super::refusal::instant;

/// What stands before a digest, so that a later form of it can be told apart.
const FORM: &str = "1.";

/// How long a digest is at most, in bytes, so that it fits a header behind any proxy. Where debits and children would
/// make it longer they are not listed: then it only knows that they have changed.
const LENGTH_MAX: usize = 3_000;

/// How many of one kind are listed at most.
const LISTED_MAX: usize = 40;

/// How many changes of one kind are told one by one.
const TOLD_MAX: usize = 5;

/// The first 48 bits of a SHA-256.
type Fingerprint = u64;

/// What an overview showed of an account, as far as it is agreed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    #[serde(rename = "n")]
    account: AccountNumber,
    #[serde(rename = "w")]
    name: Fingerprint,
    #[serde(rename = "s")]
    status: String,
    /// The status after; none where something blocks.
    #[serde(rename = "t")]
    target: Option<String>,
    #[serde(rename = "x")]
    is_disconnected: bool,
    #[serde(rename = "c")]
    currency: String,
    #[serde(rename = "d")]
    debits: ShownDebits,
    #[serde(rename = "a")]
    address: Option<Fingerprint>,
    /// Who gets the final invoice, and where.
    #[serde(rename = "r")]
    recipient: Option<(AccountNumber, Fingerprint)>,
    #[serde(rename = "p")]
    parent: Option<(AccountNumber, bool)>,
    #[serde(rename = "k")]
    children: ShownChildren,
    /// Below those, however deep.
    #[serde(rename = "b")]
    below: ShownChildren,
    /// The open event, and when it is due, in microseconds.
    #[serde(rename = "o")]
    open: Option<(EventId, i64)>,
    /// The zone and the time of day that a date alone means; none for what is executed.
    #[serde(rename = "z")]
    dates: Option<Fingerprint>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShownDebits {
    #[serde(rename = "q")]
    count: usize,
    /// Minor units, taxes included. None where they are more than an invoice can hold.
    #[serde(rename = "m")]
    total: Option<i64>,
    /// Everything of every debit.
    #[serde(rename = "f")]
    all: Fingerprint,
    /// By id: what it comes to, and everything of it.
    #[serde(rename = "l")]
    listed: Vec<(i64, i64, Fingerprint)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShownChildren {
    #[serde(rename = "q")]
    count: usize,
    #[serde(rename = "f")]
    all: Fingerprint,
    #[serde(rename = "l")]
    listed: Vec<ShownChild>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShownChild {
    #[serde(rename = "n")]
    number: AccountNumber,
    #[serde(rename = "p")]
    parent: Option<AccountNumber>,
    #[serde(rename = "x")]
    is_disconnected: bool,
    #[serde(rename = "r")]
    contact: Option<Fingerprint>,
    #[serde(rename = "o")]
    open: Option<(EventId, i64)>,
}

/// What of an event's confirmation is shown beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Agreed {
    pub status: String,
    pub status_after: Option<String>,
    /// What the final invoice was to come to; null where there was nothing to invoice.
    pub final_invoice: Option<Money>,
    pub debits: usize,
}

impl Shown {
    /// What is true of an account now. `open` is its open event.
    #[must_use]
    pub fn of(snapshot: &Snapshot, open: Option<&OpenEvent>) -> Self {
        let Family { parent, children, descendants } = &snapshot.family;
        let shown = Self {
            account: snapshot.number.clone(),
            name: fingerprint(&[&snapshot.name]),
            status: snapshot.status.name.clone(),
            target: snapshot.target.as_ref().ok().map(|status| status.name.clone()),
            is_disconnected: snapshot.disconnected_at.is_some(),
            currency: snapshot.currency.code().to_owned(),
            debits: ShownDebits::of(&snapshot.debits, snapshot.currency),
            address: snapshot.assignment.as_ref().map(|assignment| fingerprint(&[&assignment.address])),
            recipient: snapshot.recipient().map(|(number, contact)| (number.clone(), of_contact(contact))),
            parent: parent.as_ref().map(|parent| (parent.number.clone(), parent.disconnected_at.is_some())),
            children: ShownChildren::of(children.iter()),
            below: ShownChildren::of(descendants.iter()),
            open: open.map(|open| (open.id, open.due_at.timestamp_micros())),
            dates: None,
        };
        shown.bounded()
    }

    /// With how a date is read for the account.
    #[must_use]
    pub fn with_dates(self, zone: Tz, cutoff_time: NaiveTime) -> Self {
        Self { dates: Some(fingerprint(&[zone.name(), &cutoff_time.to_string()])), ..self }
    }

    fn bounded(mut self) -> Self {
        for step in 0..3 {
            // Four letters for three bytes.
            if self.json().len() <= LENGTH_MAX / 4 * 3 - FORM.len() {
                break;
            }
            match step {
                0 => self.below.listed.clear(),
                1 => self.children.listed.clear(),
                _ => self.debits.listed.clear(),
            }
        }
        self
    }

    fn json(&self) -> Vec<u8> {
        // A struct of texts and numbers: it can't fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// As text of letters, digits, `-`, `_` and one `.`: for an argument, a header, a form.
    #[must_use]
    pub fn digest(&self) -> String {
        format!("{FORM}{}", URL_SAFE_NO_PAD.encode(self.json()))
    }

    /// What a digest holds; `None` for what no overview gave out.
    #[must_use]
    pub fn read(digest: &str) -> Option<Self> {
        let json = URL_SAFE_NO_PAD.decode(digest.trim().strip_prefix(FORM)?).ok()?;
        serde_json::from_slice(&json).ok()
    }

    #[must_use]
    pub fn agreed(&self) -> Option<Agreed> {
        let currency = Currency::parse(&self.currency).ok()?;
        Some(Agreed {
            status: self.status.clone(),
            status_after: self.target.clone(),
            final_invoice: self.debits.total.filter(|_| self.debits.count > 0).map(|it| Money::new(it, currency)),
            debits: self.debits.count,
        })
    }

    /// The account that was shown.
    #[must_use]
    pub fn account(&self) -> &AccountNumber {
        &self.account
    }

    /// What has changed since this was shown, in sentences; empty where nothing has. `now` is what is shown now, of
    /// `snapshot` and the open event.
    #[must_use]
    pub fn changes(&self, now: &Self, snapshot: &Snapshot, open: Option<&OpenEvent>) -> Vec<String> {
        if self == now {
            return Vec::new();
        }
        let mut changes = self.changes_of_the_account(now, snapshot);
        changes.extend(self.children.changes(&now.children, true));
        changes.extend(self.below.changes(&now.below, true));
        changes.extend(self.change_of_plan(now, open));
        if self.dates != now.dates {
            changes.push("a date is read in another zone, or means another time of day, now".into());
        }
        if changes.is_empty() {
            changes.push("what was shown has changed".into());
        }
        changes
    }

    /// What has changed when the event is executed that was confirmed with this. The children's own plans are not in
    /// it, nor that the parent went first: they were confirmed with it. Nor is what is below the children.
    #[must_use]
    pub fn changes_until_execution(&self, snapshot: &Snapshot) -> Vec<String> {
        let mut snapshot = snapshot.clone();
        if let (Some((then, false)), Some(parent)) = (&self.parent, &mut snapshot.family.parent)
            && *then == parent.number
        {
            parent.disconnected_at = None;
        }
        let now = Self::of(&snapshot, None);
        let mut changes = self.changes_of_the_account(&now, &snapshot);
        changes.extend(self.children.changes(&now.children, false));
        changes
    }

    /// The same without these children, who leave the family with the confirmation.
    #[must_use]
    pub fn without_children(snapshot: &Snapshot, leaving: &HashSet<&AccountNumber>) -> Self {
        let mut snapshot = snapshot.clone();
        snapshot.family.children.retain(|child| !leaving.contains(&child.number));
        Self::of(&snapshot, None)
    }

    fn changes_of_the_account(&self, now: &Self, snapshot: &Snapshot) -> Vec<String> {
        let mut changes = Vec::new();
        if let (false, Some(at)) = (self.is_disconnected, snapshot.disconnected_at) {
            changes.push(format!("the account has been disconnected since {}", instant(&at)));
        }
        if self.status != now.status {
            changes.push(format!("the status was {} and is {} now", self.status, now.status));
        }
        if self.target != now.target {
            changes.push(match &now.target {
                Some(target) => format!("a disconnect leads to the status {target} now"),
                None => "the disconnect status can't be used any more".into(),
            });
        }
        if self.name != now.name {
            changes.push(format!("the name is {} now", snapshot.name));
        }
        if self.currency != now.currency {
            changes.push(format!("the currency was {} and is {} now", self.currency, now.currency));
        }
        changes.extend(self.debits.changes(&now.debits, snapshot));
        if self.address != now.address {
            changes.push(match &snapshot.assignment {
                Some(assignment) => format!("the address is {} now", assignment.address),
                None => "the address was released".into(),
            });
        }
        if self.recipient != now.recipient {
            changes.push(match snapshot.recipient() {
                None => "nobody gets the final invoice any more".into(),
                Some((number, contact)) if *number == snapshot.number => {
                    format!("the final invoice goes to {} now", contact.ways())
                }
                Some((number, contact)) => format!("the final invoice goes to {} of {number} now", contact.ways()),
            });
        }
        if self.parent != now.parent {
            changes.push(match (&self.parent, &now.parent) {
                (Some((then, _)), Some((now, true))) if then == now => format!("its parent {now} was disconnected"),
                (_, Some((now, _))) => format!("its parent is {now} now"),
                (_, None) => "it has no parent any more".into(),
            });
        }
        changes
    }

    fn change_of_plan(&self, now: &Self, open: Option<&OpenEvent>) -> Option<String> {
        if self.open == now.open {
            return None;
        }
        Some(match (self.open, open) {
            (Some((then, _)), Some(open)) if then == open.id => {
                format!("event {then} is due at {} now", instant(&open.due_at))
            }
            (_, Some(open)) => {
                format!("event {} is {} for {} now", open.id, open.state.as_str(), instant(&open.due_at))
            }
            (Some((then, _)), None) => format!("event {then} is not open any more"),
            (None, None) => return None,
        })
    }
}

impl ShownDebits {
    fn of(debits: &[Debit], currency: Currency) -> Self {
        let mut all: Vec<(i64, i64, Fingerprint)> = debits
            .iter()
            .map(|debit| {
                let (amount, tax) = (debit.amount.to_string(), debit.tax.to_string());
                let whole = fingerprint(&[&debit.description, &amount, &tax, &debit.charged_on.to_string()]);
                (debit.id.0, debit.amount.saturating_add(debit.tax), whole)
            })
            .collect();
        all.sort_unstable();
        let whole: Vec<String> = all.iter().map(|(id, _, whole)| format!("{id}:{whole}")).collect();
        Self {
            count: debits.len(),
            total: InvoiceDraft::of(debits, currency).ok().map(|draft| draft.map_or(0, |draft| draft.total)),
            all: fingerprint(&whole.iter().map(String::as_str).collect::<Vec<_>>()),
            listed: if all.len() <= LISTED_MAX { all } else { Vec::new() },
        }
    }

    fn changes(&self, now: &Self, snapshot: &Snapshot) -> Vec<String> {
        let mut changes = Vec::new();
        if self.all == now.all && self.count == now.count {
            return changes;
        }
        let money = |minor: i64| Money::new(minor, snapshot.currency).amount();
        let are_listed = |debits: &Self| debits.listed.len() == debits.count;
        if are_listed(self) && are_listed(now) {
            let before: BTreeMap<_, _> = self.listed.iter().map(|(id, total, all)| (*id, (*total, *all))).collect();
            let after: BTreeMap<_, _> = now.listed.iter().map(|(id, total, all)| (*id, (*total, *all))).collect();
            for (id, (total, all)) in &after {
                match before.get(id) {
                    None => changes.push(format!("a debit of {} was added", money(*total))),
                    Some((then, _)) if then != total => {
                        changes.push(format!("a debit of {} is {} now", money(*then), money(*total)));
                    }
                    Some((_, then)) if then != all => {
                        changes.push(format!("a debit of {} is described otherwise", money(*total)));
                    }
                    Some(_) => {}
                }
            }
            for (_, (total, _)) in before.iter().filter(|(id, _)| !after.contains_key(id)) {
                changes.push(format!("a debit of {} is not uninvoiced any more", money(*total)));
            }
            cut(&mut changes, "debits have changed");
        } else {
            changes.push(format!("there were {} uninvoiced debits and are {} now", self.count, now.count));
        }
        if self.total != now.total {
            changes.push(match now.total {
                Some(_) if now.count == 0 => "there is nothing to invoice now".into(),
                Some(total) => format!("the final invoice is now {}", money(total)),
                None => "the debits are more than an invoice can hold".into(),
            });
        }
        changes
    }
}

impl ShownChildren {
    fn of<'r>(children: impl Iterator<Item = &'r Relative>) -> Self {
        let mut all: Vec<ShownChild> = children
            .map(|child| ShownChild {
                number: child.number.clone(),
                parent: child.parent_number.clone(),
                is_disconnected: child.disconnected_at.is_some(),
                contact: (!child.contact.is_empty()).then(|| of_contact(&child.contact)),
                open: child.open_event.as_ref().map(|open| (open.id, open.due_at.timestamp_micros())),
            })
            .collect();
        all.sort_unstable_by(|one, other| one.number.cmp(&other.number));
        let whole: Vec<String> = all.iter().map(|child| serde_json::to_string(child).unwrap_or_default()).collect();
        Self {
            count: all.len(),
            all: fingerprint(&whole.iter().map(String::as_str).collect::<Vec<_>>()),
            listed: if all.len() <= LISTED_MAX { all } else { Vec::new() },
        }
    }

    /// Who came, who left, whose contact changed; and where `with_plans` what became of them and of their own plans.
    fn changes(&self, now: &Self, with_plans: bool) -> Vec<String> {
        let mut changes = Vec::new();
        if self.all == now.all && self.count == now.count {
            return changes;
        }
        if self.listed.len() != self.count || now.listed.len() != now.count {
            if with_plans || self.count != now.count {
                changes.push(format!("the family has changed: it had {} below and has {} now", self.count, now.count));
            }
            return changes;
        }
        let before: BTreeMap<_, _> = self.listed.iter().map(|child| (&child.number, child)).collect();
        let after: BTreeMap<_, _> = now.listed.iter().map(|child| (&child.number, child)).collect();
        for (number, child) in &after {
            let Some(then) = before.get(number) else {
                changes.push(format!("child {number} was linked"));
                continue;
            };
            if then.parent != child.parent {
                changes.push(format!("child {number} was moved in the family"));
            }
            if then.contact != child.contact {
                changes.push(match child.contact {
                    None => format!("child {number} has no contact any more"),
                    Some(_) => format!("child {number} has another contact now"),
                });
            }
            if with_plans && then.is_disconnected != child.is_disconnected {
                changes.push(format!("child {number} was disconnected"));
            } else if with_plans && then.open != child.open {
                changes.push(match (then.open, child.open) {
                    (Some((then, _)), None) => format!("event {then} of child {number} is not open any more"),
                    (_, Some((open, due))) => {
                        let due = DateTime::from_timestamp_micros(due).map(|due: DateTime<Utc>| instant(&due));
                        format!("child {number} has event {open}, due at {}", due.unwrap_or_default())
                    }
                    (None, None) => continue,
                });
            }
        }
        for number in before.keys().filter(|number| !after.contains_key(**number)) {
            changes.push(format!("child {number} was unlinked"));
        }
        cut(&mut changes, "children have changed");
        changes
    }
}

/// More than [`TOLD_MAX`] are counted.
fn cut(changes: &mut Vec<String>, what: &str) {
    let more = changes.len().saturating_sub(TOLD_MAX);
    if more > 0 {
        changes.truncate(TOLD_MAX);
        changes.push(format!("{more} more {what}"));
    }
}

fn of_contact(contact: &Contact) -> Fingerprint {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    fingerprint(&[&text(&contact.email), &text(&contact.mailing_address)])
}

/// Of all parts, each set apart from the next.
fn fingerprint(parts: &[&str]) -> Fingerprint {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().take(6).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::account::Status;
    use crate::domain::address::{Assignment, AssignmentId};
    use crate::domain::event::State;
    use crate::domain::invoice::DebitId;
    use crate::domain::sample::{child, number, snapshot};

    fn debit(id: i64, amount: i64) -> Debit {
        Debit {
            id: DebitId(id),
            description: format!("charge {id}"),
            amount,
            tax: 0,
            charged_on: NaiveDate::from_ymd_opt(2026, 11, 1).unwrap(),
        }
    }

    fn family() -> Snapshot {
        let mut snapshot = snapshot("1001");
        snapshot.debits = vec![debit(1, 5000), debit(2, 3625)];
        snapshot.contact.email = Some("ada@example.com".into());
        snapshot.assignment =
            Some(Assignment { id: AssignmentId(1), address: "12 Elm Street".into(), from: DateTime::UNIX_EPOCH });
        snapshot.family.children = vec![child("1002", "1001"), child("1003", "1001")];
        snapshot.family.descendants = vec![child("1004", "1003")];
        snapshot
    }

    fn open(id: i64) -> OpenEvent {
        OpenEvent { id: EventId(id), state: State::Scheduled, due_at: DateTime::UNIX_EPOCH, lane: 0, made_with: None }
    }

    fn changes(change: impl FnOnce(&mut Snapshot)) -> Vec<String> {
        let before = family();
        let mut after = family();
        change(&mut after);
        let shown = Shown::read(&Shown::of(&before, None).digest()).unwrap();
        shown.changes(&Shown::of(&after, None), &after, None)
    }

    #[test]
    fn what_has_not_changed_is_agreed_to() {
        let shown = Shown::of(&family(), Some(&open(7)));
        assert_eq!(Shown::read(&shown.digest()), Some(shown.clone()));
        assert_eq!(shown.changes(&shown.clone(), &family(), Some(&open(7))), Vec::<String>::new());
        let digest = shown.digest();
        assert!(digest.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)), "{digest}");
        assert!(digest.len() < 1_000, "{}: {digest}", digest.len());
    }

    /// It may stand in logs and headers.
    #[test]
    fn a_digest_holds_no_personal_data() {
        let json = serde_json::to_string(&Shown::of(&family(), None)).unwrap();
        for personal in ["ada@example.com", "12 Elm Street", "Customer", "charge"] {
            assert!(!json.contains(personal), "{personal}: {json}");
        }
    }

    #[test]
    fn rule_8_whatever_moved_is_told() {
        let told = changes(|it| it.debits.push(debit(3, 1250)));
        assert_eq!(told, ["a debit of 12.50 was added", "the final invoice is now 98.75"]);
        let told = changes(|it| it.debits[0].amount = 6000);
        assert_eq!(told, ["a debit of 50.00 is 60.00 now", "the final invoice is now 96.25"]);
        let told = changes(|it| it.debits.clear());
        assert_eq!(told[2], "there is nothing to invoice now");
        assert_eq!(changes(|it| it.debits[0].description = "x".into()), ["a debit of 50.00 is described otherwise"]);
        let moved = |change: fn(&mut Snapshot), words: &str| {
            let told = changes(change);
            assert!(told.len() == 1 && told[0].contains(words), "{words}: {told:?}");
        };
        moved(|it| it.status.name = "Lead".into(), "the status was Active and is Lead now");
        moved(|it| it.name = "Bo".into(), "the name is Bo now");
        moved(|it| it.target = Ok(Status { name: "Gone".into(), activates_account: false }), "Gone now");
        moved(|it| it.assignment = None, "the address was released");
        moved(|it| it.assignment.as_mut().unwrap().address = "5 Oak".into(), "the address is 5 Oak now");
        moved(|it| it.contact.email = None, "nobody gets the final invoice");
        moved(|it| it.contact.email = Some("x@y.z".into()), "goes to x@y.z now");
        moved(|it| it.family.parent = Some(child("1", "0")), "its parent is 1 now");
        moved(|it| it.family.children[0].contact.email = None, "child 1002 has no contact any more");
        moved(|it| it.family.children.push(child("1005", "1001")), "child 1005 was linked");
        moved(|it| drop(it.family.children.pop()), "child 1003 was unlinked");
        moved(|it| it.family.children[0].open_event = Some(open(4)), "child 1002 has event 4, due at 1970");
        moved(|it| it.family.children[1].disconnected_at = Some(DateTime::UNIX_EPOCH), "child 1003 was disconnected");
        moved(|it| it.family.descendants.clear(), "child 1004 was unlinked");
        let shown = Shown::of(&family(), None);
        let planned = Shown::of(&family(), Some(&open(7)));
        let told = shown.changes(&planned, &family(), Some(&open(7)));
        assert_eq!(told, ["event 7 is scheduled for 1970-01-01T00:00:00Z now"]);
        let [here, there] = [Tz::UTC, Tz::Asia__Tokyo].map(|zone| shown.clone().with_dates(zone, NaiveTime::MIN));
        assert!(here.changes(&there, &family(), None)[0].contains("another zone"));
    }

    #[test]
    fn at_the_execution_the_plans_that_were_confirmed_with_it_are_no_change() {
        let shown = Shown::without_children(&family(), &HashSet::new());
        let mut then = family();
        then.family.children[0].disconnected_at = Some(DateTime::UNIX_EPOCH);
        then.family.children[1].open_event = Some(open(4));
        then.family.descendants.clear(); // a worker does not read them
        then.contact.email = None;
        then.family.parent = Some(child("1", "0"));
        let with_parent = Shown::of(&then, None);
        then.family.parent.as_mut().unwrap().disconnected_at = Some(DateTime::UNIX_EPOCH);
        assert_eq!(with_parent.changes_until_execution(&then), Vec::<String>::new(), "its parent went first");
        then.family.parent = None;
        then.contact.email = Some("ada@example.com".into());
        assert_eq!(shown.changes_until_execution(&then), Vec::<String>::new());
        then.family.children.pop();
        then.debits.push(debit(3, 1250));
        let told = shown.changes_until_execution(&then);
        let wanted = ["a debit of 12.50 was added", "the final invoice is now 98.75", "child 1003 was unlinked"];
        assert_eq!(told, wanted);
        let leaves = Shown::without_children(&family(), &HashSet::from([&number("1003")]));
        then.debits.pop();
        assert_eq!(leaves.changes_until_execution(&then), Vec::<String>::new());
    }

    #[test]
    fn a_big_account_has_a_digest_that_fits_a_header() {
        for many in [1, 10, 39, 40, 41, 1_000] {
            let long = "N".repeat(AccountNumber::LENGTH_MAX - 6);
            let mut big = family();
            big.debits = (0..many).map(|id| debit(id, 100)).collect();
            big.family.children = (0..many).map(|n| child(&format!("{long}{n}"), "1001")).collect();
            big.family.descendants = (0..many).map(|n| child(&format!("{long}-{n}"), &format!("{long}{n}"))).collect();
            let shown = Shown::of(&big, Some(&open(i64::MAX))).with_dates(Tz::UTC, NaiveTime::MIN);
            assert!(shown.digest().len() <= LENGTH_MAX + 100, "{many}: {}", shown.digest().len());
            assert_eq!(Shown::read(&shown.digest()).as_ref(), Some(&shown));
            let mut moved = big.clone();
            moved.debits[0].amount = 101;
            moved.family.children[0].contact.email = None;
            moved.family.descendants[0].contact.email = None;
            let now = Shown::of(&moved, Some(&open(i64::MAX))).with_dates(Tz::UTC, NaiveTime::MIN);
            let told = shown.changes(&now, &moved, Some(&open(i64::MAX)));
            assert!(told.len() >= 4, "{many}: {told:?}");
        }
    }

    #[test]
    fn what_is_no_digest_is_none() {
        for text in ["", "1.", "1.e30", "2.e30", "hello", "1.!!!", &format!("1.{}", "A".repeat(5_000))] {
            assert_eq!(Shown::read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in ".{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Shown::read(&text);
            let _ = Shown::read(&format!("1.{}", URL_SAFE_NO_PAD.encode(bytes)));
        }
    }
}
