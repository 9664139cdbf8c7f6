//! The sample customers, and what is made of each: an account, debits, a family.

use chrono::NaiveDate;

use crate::domain::account::{AccountNumber, Contact};
use crate::domain::import::{AccountRow, DebitRow};
use crate::domain::money::{Currency, Money};

const FILE: &str = include_str!("telco-customer-churn.csv");

/// The file says months of tenure and no dates, so all charges are of these two days.
const BEFORE: NaiveDate = date(2026, 9, 30);
const NOW: NaiveDate = date(2026, 10, 31);

const STREETS: [&str; 12] =
    ["Alder", "Birch", "Cedar", "Dogwood", "Elm", "Fir", "Hawthorn", "Juniper", "Laurel", "Maple", "Oak", "Spruce"];

/// The group of those who leave: a campaign finds them by it.
pub const LEAVES: &str = "churn: yes";

/// One row of the file.
#[derive(Debug, Clone)]
pub struct Customer {
    /// In the file, the header included.
    line: u64,
    pub number: AccountNumber,
    pub parent: Option<AccountNumber>,
    address: String,
    /// On a family's child without paperless billing there is none: its parent gets the invoices.
    contact: Contact,
    groups: Vec<String>,
    /// In cents.
    monthly: i64,
    total: i64,
    pub leaves: bool,
}

/// All customers, in the file's order.
///
/// Families: a customer with a partner and dependents is the parent of the next customer in the file, where that one
/// has neither. A child lives at its parent's address.
#[must_use]
pub fn read() -> Vec<Customer> {
    let mut reader = csv::Reader::from_reader(FILE.as_bytes());
    let columns = Columns::of(reader.headers().unwrap_or(&csv::StringRecord::new()));
    let mut customers: Vec<Customer> = Vec::new();
    let mut head: Option<(AccountNumber, String)> = None;
    for (i, record) in reader.records().enumerate() {
        // The file is part of the program; a test reads all of it.
        let Ok(record) = record else { continue };
        let text = |column: usize| record.get(column).unwrap_or_default();
        let Ok(number) = AccountNumber::parse(text(columns.number)) else { continue };
        let alone = text(columns.partner) == "No" && text(columns.dependents) == "No";
        let parent = head.take().filter(|_| alone);
        let address = match &parent {
            Some((_, address)) => address.clone(),
            None => format!("{} {} Street, Sacramento, CA", 100 + i / STREETS.len(), STREETS[i % STREETS.len()]),
        };
        let contact = if text(columns.paperless) == "Yes" {
            Contact { email: Some(format!("{}@example.com", number.as_str().to_lowercase())), mailing_address: None }
        } else {
            Contact { email: None, mailing_address: parent.is_none().then(|| address.clone()) }
        };
        let cents = |column| Money::parse(text(column), Currency::USD).map_or(0, |money| money.minor);
        let mut groups = vec![
            format!("contract: {}", text(columns.contract).to_lowercase()),
            format!("internet: {}", text(columns.internet).to_lowercase()),
        ];
        let leaves = text(columns.churn) == "Yes";
        if leaves {
            groups.push(LEAVES.into());
        }
        groups.sort();
        if text(columns.partner) == "Yes" && text(columns.dependents) == "Yes" {
            head = Some((number.clone(), address.clone()));
        }
        customers.push(Customer {
            line: i as u64 + 2,
            number,
            parent: parent.map(|(number, _)| number),
            address,
            contact,
            groups,
            monthly: cents(columns.monthly),
            // Blank for those who have just begun.
            total: cents(columns.total),
            leaves,
        });
    }
    customers
}

impl Customer {
    #[must_use]
    pub fn account_row(&self) -> AccountRow {
        AccountRow {
            line: self.line,
            number: self.number.clone(),
            name: format!("Customer {}", self.number),
            status: "Active".into(),
            parent: self.parent.clone(),
            currency: Some(Currency::USD),
            zone: None,
            address: Some(self.address.clone()),
            contact: self.contact.clone(),
            groups: self.groups.clone(),
        }
    }

    /// What was charged before this month; nothing for those who have just begun.
    #[must_use]
    pub fn debit_before(&self) -> Option<DebitRow> {
        let before = self.total - self.monthly;
        (before > 0).then(|| self.debit("before", "Charges until September", before, BEFORE))
    }

    #[must_use]
    pub fn debit_now(&self) -> DebitRow {
        self.debit("2026-10", "Monthly charges, October", self.monthly, NOW)
    }

    fn debit(&self, reference: &str, description: &str, cents: i64, charged_on: NaiveDate) -> DebitRow {
        DebitRow {
            line: self.line,
            account: self.number.clone(),
            reference: reference.into(),
            description: description.into(),
            amount: Money::new(cents, Currency::USD).amount(),
            tax: String::new(),
            charged_on,
        }
    }
}

/// Where the columns are that are read.
struct Columns {
    number: usize,
    partner: usize,
    dependents: usize,
    contract: usize,
    internet: usize,
    paperless: usize,
    monthly: usize,
    total: usize,
    churn: usize,
}

impl Columns {
    fn of(header: &csv::StringRecord) -> Self {
        let column = |name| header.iter().position(|column| column == name).unwrap_or(usize::MAX);
        Self {
            number: column("customerID"),
            partner: column("Partner"),
            dependents: column("Dependents"),
            contract: column("Contract"),
            internet: column("InternetService"),
            paperless: column("PaperlessBilling"),
            monthly: column("MonthlyCharges"),
            total: column("TotalCharges"),
            churn: column("Churn"),
        }
    }
}

const fn date(year: i32, month: u32, day: u32) -> NaiveDate {
    match NaiveDate::from_ymd_opt(year, month, day) {
        Some(date) => date,
        None => NaiveDate::MIN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_what_its_publisher_says() {
        let customers = read();
        assert_eq!(customers.len(), 7043);
        assert_eq!(customers.iter().filter(|customer| customer.leaves).count(), 1869);
        assert_eq!(customers.iter().filter(|customer| customer.total == 0).count(), 11);
        let owed: i64 = customers.iter().filter(|customer| customer.leaves).map(|customer| customer.monthly).sum();
        assert_eq!(Money::new(owed, Currency::USD).to_string(), "139,130.85 USD");
    }

    #[test]
    fn families_are_one_level_deep_and_every_child_has_someone_who_gets_its_invoices() {
        let customers = read();
        let mut children = 0;
        for (i, customer) in customers.iter().enumerate() {
            if let Some(parent) = &customer.parent {
                children += 1;
                assert_eq!(*parent, customers[i - 1].number);
                assert!(customers[i - 1].parent.is_none());
                assert!(!customers[i - 1].contact.is_empty());
            } else {
                assert!(!customer.contact.is_empty());
            }
        }
        assert_eq!(children, 797);
    }
}
