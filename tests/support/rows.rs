//! Rows of accounts and debits files, as they come from the parser.

use chrono::NaiveDate;
use disconnectd::domain::account::{AccountNumber, Contact};
use disconnectd::domain::import::{AccountRow, DebitRow, Problem};
use disconnectd::domain::money::Currency;
use disconnectd::store::{CHUNK_ROWS, Rows};
use tokio::sync::mpsc;

pub fn number(text: &str) -> AccountNumber {
    AccountNumber::parse(text).unwrap()
}

#[derive(Debug, Clone)]
pub struct Account(pub AccountRow);

/// An active account, and no more.
pub fn account(text: &str) -> Account {
    Account(AccountRow {
        line: 0,
        number: number(text),
        name: format!("Customer {text}"),
        status: "Active".into(),
        parent: None,
        currency: None,
        zone: None,
        address: None,
        contact: Contact::default(),
        groups: Vec::new(),
    })
}

impl Account {
    pub fn name(mut self, name: &str) -> Self {
        self.0.name = name.into();
        self
    }

    pub fn status(mut self, status: &str) -> Self {
        self.0.status = status.into();
        self
    }

    pub fn parent(mut self, parent: &str) -> Self {
        self.0.parent = Some(number(parent));
        self
    }

    pub fn currency(mut self, code: &str) -> Self {
        self.0.currency = Some(Currency::parse(code).unwrap());
        self
    }

    pub fn zone(mut self, zone: &str) -> Self {
        self.0.zone = Some(zone.parse().unwrap());
        self
    }

    pub fn address(mut self, address: &str) -> Self {
        self.0.address = Some(address.into());
        self
    }

    pub fn email(mut self, email: &str) -> Self {
        self.0.contact.email = Some(email.into());
        self
    }

    /// Sorted, each once.
    pub fn groups(mut self, groups: &[&str]) -> Self {
        self.0.groups = groups.iter().map(|&group| group.into()).collect();
        self
    }
}

#[derive(Debug, Clone)]
pub struct Debit(pub DebitRow);

/// A charge without tax, from the first of November.
pub fn debit(account: &str, reference: &str, amount: &str) -> Debit {
    Debit(DebitRow {
        line: 0,
        account: number(account),
        reference: reference.into(),
        description: format!("Charge {reference}"),
        amount: amount.into(),
        tax: String::new(),
        charged_on: NaiveDate::from_ymd_opt(2026, 11, 1).unwrap(),
    })
}

impl Debit {
    pub fn tax(mut self, tax: &str) -> Self {
        self.0.tax = tax.into();
        self
    }

    pub fn on(mut self, date: &str) -> Self {
        self.0.charged_on = date.parse().unwrap();
        self
    }
}

/// A row that knows where it stands in its file.
pub trait Row: Send + 'static {
    type Parsed: Send + 'static;
    fn at_line(self, line: u64) -> Self::Parsed;
}

impl Row for Account {
    type Parsed = AccountRow;
    fn at_line(self, line: u64) -> AccountRow {
        AccountRow { line, ..self.0 }
    }
}

impl Row for Debit {
    type Parsed = DebitRow;
    fn at_line(self, line: u64) -> DebitRow {
        DebitRow { line, ..self.0 }
    }
}

/// The channel of a file with these rows, under a header in line 1.
pub fn file<R: Row>(rows: impl IntoIterator<Item = R>) -> Rows<R::Parsed> {
    let lines = rows.into_iter().zip(2..).map(|(row, line)| Ok(row.at_line(line))).collect();
    channel(lines)
}

/// The channel of a file whose lines were read or could not be.
pub fn channel<T: Send + 'static>(lines: Vec<Result<T, Problem>>) -> Rows<T> {
    let (sender, rows) = mpsc::channel(lines.len() / CHUNK_ROWS + 1);
    let mut lines = lines.into_iter();
    loop {
        let chunk: Vec<_> = lines.by_ref().take(CHUNK_ROWS).collect();
        if chunk.is_empty() {
            return rows;
        }
        sender.try_send(chunk).unwrap();
    }
}
