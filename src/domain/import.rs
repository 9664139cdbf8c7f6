//! Import: what becomes of one row. An upsert that is never a way around (DESIGN 2, rule 10).
//!
//! A row that asks for something forbidden is a [`Problem`], and an import with a problem changes nothing at all. A row
//! that merely repeats what was true before a disconnect or an unlink asks for nothing: it is left alone with a note,
//! so that yesterday's file can be imported again.

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use utoipa::ToSchema;

use super::account::{AccountId, AccountNumber, Contact, LogKind, Status};
use super::invoice::{DebitId, InvoiceNumber};
use super::money::{Currency, Money};
use super::refusal::instant;

/// The columns of an accounts file, in any order.
pub const ACCOUNT_COLUMNS: [&str; 10] =
    ["number", "name", "status", "parent_number", "currency", "zone", "address", "email", "mailing_address", "groups"];

/// The columns of a debits file, in any order.
pub const DEBIT_COLUMNS: [&str; 6] = ["account_number", "reference", "description", "amount", "tax", "charged_on"];

/// How many problems and how many notes a report lists; further ones are counted. It bounds the memory.
pub const LISTED_MAX: usize = 10_000;

/// What is wrong with one line of a file, or worth knowing about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ImportProblem)]
pub struct Problem {
    /// From 1, the header included.
    pub line: u64,
    /// Empty where it is about the whole line.
    pub column: &'static str,
    pub message: String,
}

impl Problem {
    #[must_use]
    pub fn new(line: u64, column: &'static str, message: impl Into<String>) -> Self {
        Self { line, column, message: message.into() }
    }

    #[must_use]
    pub fn duplicate(line: u64, column: &'static str, key: &str, first_line: u64) -> Self {
        Self::new(line, column, format!("`{key}` stands in line {first_line} already"))
    }

    #[must_use]
    pub fn unknown_parent(line: u64, parent: &str) -> Self {
        Self::new(
            line,
            "parent_number",
            format!("there is no account {parent}, neither in this file nor in the database"),
        )
    }

    #[must_use]
    pub fn parent_disconnected(line: u64, parent: &str) -> Self {
        Self::new(line, "parent_number", format!("account {parent} is disconnected, no account can be put under it"))
    }

    #[must_use]
    pub fn parent_cycle(line: u64, number: &str) -> Self {
        Self::new(line, "parent_number", format!("account {number} would be its own ancestor"))
    }
}

/// What an import did, or would have done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ImportReport {
    pub rows: u64,
    pub created: u64,
    pub updated: u64,
    pub unchanged: u64,
    /// Whether it was written: no problem, and no dry run.
    pub applied: bool,
    pub problems: Vec<Problem>,
    pub problems_not_listed: u64,
    pub notes: Vec<Problem>,
    pub notes_not_listed: u64,
}

impl ImportReport {
    pub fn add_problem(&mut self, problem: Problem) {
        if self.problems.len() < LISTED_MAX {
            self.problems.push(problem);
        } else {
            self.problems_not_listed += 1;
        }
    }

    pub fn add_note(&mut self, note: Problem) {
        if self.notes.len() < LISTED_MAX {
            self.notes.push(note);
        } else {
            self.notes_not_listed += 1;
        }
    }

    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// Counts what was decided about one row, and keeps what is to be said about it.
    pub fn count<W>(&mut self, decision: Decision<W>, is_new: impl Fn(&W) -> bool) -> Option<W> {
        self.rows += 1;
        decision.notes.into_iter().for_each(|note| self.add_note(note));
        if !decision.problems.is_empty() {
            decision.problems.into_iter().for_each(|problem| self.add_problem(problem));
            return None;
        }
        match &decision.write {
            None => self.unchanged += 1,
            Some(write) if is_new(write) => self.created += 1,
            Some(_) => self.updated += 1,
        }
        decision.write
    }
}

/// What is decided about one row. With a problem there is nothing to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<W> {
    pub write: Option<W>,
    pub problems: Vec<Problem>,
    pub notes: Vec<Problem>,
}

/// One row of an accounts file, each field read by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    pub line: u64,
    pub number: AccountNumber,
    pub name: String,
    pub status: String,
    pub parent: Option<AccountNumber>,
    /// Without one: as it is, for a new account the company's.
    pub currency: Option<Currency>,
    pub zone: Option<Tz>,
    pub address: Option<String>,
    pub contact: Contact,
    /// Sorted, each once.
    pub groups: Vec<String>,
}

/// What the database knows of the account that a row names, read under its lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingAccount {
    pub id: AccountId,
    pub name: String,
    pub status: String,
    pub parent: Option<AccountNumber>,
    pub currency: Currency,
    pub zone: Option<Tz>,
    pub address: Option<String>,
    pub contact: Contact,
    /// Sorted, each once.
    pub groups: Vec<String>,
    pub has_debits: bool,
    pub disconnected: Option<BeforeDisconnect>,
    /// The parent that a person unlinked it from, until a person links it to that one again.
    pub unlinked_from: Option<AccountNumber>,
}

/// What was true of an account until it was disconnected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeforeDisconnect {
    pub disconnected_at: DateTime<Utc>,
    pub status: String,
    pub address: Option<String>,
}

/// What all rows are decided with.
#[derive(Debug, Clone)]
pub struct AccountContext {
    pub company_currency: Currency,
    pub statuses: Vec<Status>,
}

/// An account as it is to be written, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountWrite {
    pub line: u64,
    /// `None`: a new account.
    pub id: Option<AccountId>,
    pub number: AccountNumber,
    pub name: String,
    pub status: String,
    pub currency: Currency,
    pub zone: Option<Tz>,
    pub contact: Contact,
    pub address: AddressWrite,
    pub parent: ParentWrite,
    /// `None`: as they are.
    pub groups: Option<Vec<String>>,
    pub log: (LogKind, String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressWrite {
    Keep,
    /// The open assignment, if there is one, ends.
    Release,
    /// The open assignment, if there is one, ends; a new one to this address begins.
    Assign(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParentWrite {
    Keep,
    Clear,
    /// Under this account, which may come later in the file. The store resolves it at the end, and looks for cycles.
    Put(AccountNumber),
}

/// Decides one row of an accounts file. `first_line` is the earlier line of this file with the same number.
#[must_use]
pub fn decide_account(
    row: AccountRow,
    existing: Option<&ExistingAccount>,
    first_line: Option<u64>,
    context: &AccountContext,
) -> Decision<AccountWrite> {
    let mut problems = Vec::new();
    let mut notes = Vec::new();
    if let Some(first) = first_line {
        problems.push(Problem::duplicate(row.line, "number", row.number.as_str(), first));
        return Decision { write: None, problems, notes };
    }
    if !context.statuses.iter().any(|status| status.name == row.status) {
        let message = format!("there is no status `{}`; `disconnectd statuses add` makes one", row.status);
        problems.push(Problem::new(row.line, "status", message));
    }
    if row.parent.as_ref() == Some(&row.number) {
        problems.push(Problem::new(
            row.line,
            "parent_number",
            format!("account {} can't be its own parent", row.number),
        ));
    }
    let Some(existing) = existing else {
        let write = new_account(row, context);
        return Decision { write: problems.is_empty().then_some(write), problems, notes };
    };

    let mut write = AccountWrite {
        line: row.line,
        id: Some(existing.id),
        number: row.number.clone(),
        name: row.name.clone(),
        status: row.status.clone(),
        currency: row.currency.unwrap_or(existing.currency),
        zone: row.zone,
        contact: row.contact.clone(),
        address: address_write(existing, &row),
        parent: parent_write(existing, &row),
        groups: (row.groups != existing.groups).then(|| row.groups.clone()),
        log: (LogKind::Changed, String::new()),
    };
    if let Some(before) = &existing.disconnected {
        keep_disconnected(&mut write, &row, existing, before, &mut problems, &mut notes);
    } else {
        keep_unlinked(&mut write, &row, existing, &mut problems, &mut notes);
    }
    if let (ParentWrite::Clear, Some(parent), true) = (&write.parent, &existing.parent, write.contact.is_empty()) {
        let message = format!(
            "account {} has neither an email nor a mailing address, so nobody would get its invoices after it is \
             unlinked from {parent}",
            row.number
        );
        problems.push(Problem::new(row.line, "parent_number", message));
    }
    if write.currency != existing.currency && existing.has_debits {
        let message = format!("account {} has debits in {}, its currency can't change", row.number, existing.currency);
        problems.push(Problem::new(row.line, "currency", message));
    }
    let changes = changes(&write, existing);
    if changes.is_empty() || !problems.is_empty() {
        return Decision { write: None, problems, notes };
    }
    write.log.1 = format!("changed by import: {}", changes.join(", "));
    Decision { write: Some(write), problems, notes }
}

fn new_account(row: AccountRow, context: &AccountContext) -> AccountWrite {
    AccountWrite {
        line: row.line,
        id: None,
        log: (LogKind::Created, format!("created by import with status {}", row.status)),
        number: row.number,
        name: row.name,
        status: row.status,
        currency: row.currency.unwrap_or(context.company_currency),
        zone: row.zone,
        contact: row.contact,
        address: row.address.map_or(AddressWrite::Keep, AddressWrite::Assign),
        parent: row.parent.map_or(ParentWrite::Keep, ParentWrite::Put),
        groups: (!row.groups.is_empty()).then_some(row.groups),
    }
}

fn address_write(existing: &ExistingAccount, row: &AccountRow) -> AddressWrite {
    match &row.address {
        address if *address == existing.address => AddressWrite::Keep,
        Some(address) => AddressWrite::Assign(address.clone()),
        None => AddressWrite::Release,
    }
}

fn parent_write(existing: &ExistingAccount, row: &AccountRow) -> ParentWrite {
    match &row.parent {
        parent if *parent == existing.parent => ParentWrite::Keep,
        Some(parent) => ParentWrite::Put(parent.clone()),
        None => ParentWrite::Clear,
    }
}

/// Rule 10: the status, the address and the parent of a disconnected account stay.
fn keep_disconnected(
    write: &mut AccountWrite,
    row: &AccountRow,
    existing: &ExistingAccount,
    before: &BeforeDisconnect,
    problems: &mut Vec<Problem>,
    notes: &mut Vec<Problem>,
) {
    let since = instant(&before.disconnected_at);
    let mut keep = |column: &'static str, changed: bool, repeats: bool| {
        if changed && repeats {
            let message = format!("left alone: account {} has been disconnected since {since}", row.number);
            notes.push(Problem::new(row.line, column, message));
        } else if changed {
            let message =
                format!("account {} has been disconnected since {since}; its {column} can't change", row.number);
            problems.push(Problem::new(row.line, column, message));
        }
    };
    keep("status", row.status != existing.status, row.status == before.status);
    keep("address", row.address != existing.address, row.address == before.address);
    keep("parent_number", row.parent != existing.parent, false);
    write.status.clone_from(&existing.status);
    write.address = AddressWrite::Keep;
    write.parent = ParentWrite::Keep;
}

/// Rule 10: a child that a person unlinked is not linked again.
fn keep_unlinked(
    write: &mut AccountWrite,
    row: &AccountRow,
    existing: &ExistingAccount,
    problems: &mut Vec<Problem>,
    notes: &mut Vec<Problem>,
) {
    let (Some(from), Some(parent)) = (&existing.unlinked_from, &row.parent) else { return };
    if existing.parent.as_ref() == Some(parent) || (existing.parent.is_some() && parent != from) {
        return;
    }
    if parent == from {
        let message = format!("left alone: account {} was unlinked from {from}", row.number);
        notes.push(Problem::new(row.line, "parent_number", message));
    } else {
        let message = format!(
            "account {} was unlinked from {from} by a person; `disconnectd accounts link` puts it under {parent}",
            row.number
        );
        problems.push(Problem::new(row.line, "parent_number", message));
    }
    write.parent = ParentWrite::Keep;
}

/// What is different, in words for the log.
fn changes(write: &AccountWrite, existing: &ExistingAccount) -> Vec<String> {
    let mut changes = Vec::new();
    let mut change = |what: &str, before: &str, after: &str| {
        if before != after {
            let shown = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
            changes.push(format!("{what} {} -> {}", shown(before), shown(after)));
        }
    };
    let zone = |zone: Option<Tz>| zone.map_or("", |zone| zone.name());
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    change("name", &existing.name, &write.name);
    change("status", &existing.status, &write.status);
    change("currency", existing.currency.code(), write.currency.code());
    change("zone", zone(existing.zone), zone(write.zone));
    change("email", &text(&existing.contact.email), &text(&write.contact.email));
    change("mailing address", &text(&existing.contact.mailing_address), &text(&write.contact.mailing_address));
    match &write.address {
        AddressWrite::Keep => {}
        AddressWrite::Release => change("address", &text(&existing.address), ""),
        AddressWrite::Assign(address) => change("address", &text(&existing.address), address),
    }
    let parent = existing.parent.as_ref().map_or("", AccountNumber::as_str);
    match &write.parent {
        ParentWrite::Keep => {}
        ParentWrite::Clear => change("parent", parent, ""),
        ParentWrite::Put(number) => change("parent", parent, number.as_str()),
    }
    if let Some(groups) = &write.groups {
        change("groups", &existing.groups.join(";"), &groups.join(";"));
    }
    changes
}

/// One row of a debits file. The amounts are read once the account's currency is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebitRow {
    pub line: u64,
    pub account: AccountNumber,
    pub reference: String,
    pub description: String,
    pub amount: String,
    /// Empty: none.
    pub tax: String,
    pub charged_on: NaiveDate,
}

/// The account of a debit, read under its lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebitAccount {
    pub id: AccountId,
    pub currency: Currency,
    pub disconnected_at: Option<DateTime<Utc>>,
}

/// The debit with the same account and reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingDebit {
    pub id: DebitId,
    pub description: String,
    pub amount: i64,
    pub tax: i64,
    pub charged_on: NaiveDate,
    pub invoice: Option<InvoiceNumber>,
}

/// A debit as it is to be written, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebitWrite {
    /// `None`: a new debit.
    pub id: Option<DebitId>,
    pub account: AccountId,
    pub reference: String,
    pub description: String,
    pub amount: i64,
    pub tax: i64,
    pub charged_on: NaiveDate,
}

/// Decides one row of a debits file. `first_line` is the earlier line of this file with the same account and reference.
#[must_use]
pub fn decide_debit(
    row: DebitRow,
    account: Option<&DebitAccount>,
    existing: Option<&ExistingDebit>,
    first_line: Option<u64>,
) -> Decision<DebitWrite> {
    let refuse = |column, message: String| Decision {
        write: None,
        problems: vec![Problem::new(row.line, column, message)],
        notes: vec![],
    };
    let Some(account) = account else {
        return refuse("account_number", format!("there is no account {}; import it first", row.account));
    };
    if let Some(first) = first_line {
        let problems = vec![Problem::duplicate(row.line, "reference", &row.reference, first)];
        return Decision { write: None, problems, notes: vec![] };
    }
    let amount = match Money::parse(&row.amount, account.currency) {
        Ok(amount) => amount.minor,
        Err(error) => return refuse("amount", error),
    };
    let tax = match row.tax.as_str() {
        "" => 0,
        tax => match Money::parse(tax, account.currency) {
            Ok(tax) => tax.minor,
            Err(error) => return refuse("tax", error),
        },
    };
    if amount.checked_add(tax).is_none() {
        return refuse("amount", format!("`{}` with its tax is too large", row.amount));
    }
    let unchanged = existing.is_some_and(|debit| {
        debit.description == row.description
            && (debit.amount, debit.tax, debit.charged_on) == (amount, tax, row.charged_on)
    });
    if unchanged {
        return Decision { write: None, problems: vec![], notes: vec![] };
    }
    if let Some(invoice) = existing.and_then(|debit| debit.invoice) {
        return refuse("reference", format!("debit `{}` stands on invoice {invoice} and can't change", row.reference));
    }
    if let Some(at) = account.disconnected_at {
        let message =
            format!("account {} has been disconnected since {}; a debit for it is refused", row.account, instant(&at));
        return refuse("account_number", message);
    }
    let write = DebitWrite {
        id: existing.map(|debit| debit.id),
        account: account.id,
        reference: row.reference,
        description: row.description,
        amount,
        tax,
        charged_on: row.charged_on,
    };
    Decision { write: Some(write), problems: vec![], notes: vec![] }
}
