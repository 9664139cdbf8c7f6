//! Reads the fields of a record, each by itself, and names what is wrong by line and column.

use crate::domain::account::{AccountNumber, Contact};
use crate::domain::calendar::{parse_date, parse_zone};
use crate::domain::import::{ACCOUNT_COLUMNS, AccountRow, DEBIT_COLUMNS, DebitRow, Problem};
use crate::domain::money::Currency;
use crate::domain::text::TEXT_MAX;

use super::records::Record;

/// How many characters an amount has at most; the largest that fits has 20.
const AMOUNT_MAX: usize = 40;

pub const NOT_UTF8: &str = "this is not UTF-8; save the file as CSV in UTF-8";

/// A kind of file.
pub trait Row: Sized {
    const COLUMNS: &'static [&'static str];

    /// Looks at every field. `None` where one is amiss, or the problems say so.
    fn read(fields: &mut Fields<'_>) -> Option<Self>;
}

/// The fields of one record.
pub struct Fields<'r> {
    line: u64,
    columns: &'static [&'static str],
    /// Trimmed, in the order of the columns; `None` where it is not UTF-8.
    texts: Vec<Option<&'r str>>,
    pub problems: Vec<Problem>,
}

impl<'r> Fields<'r> {
    /// # Errors
    /// It has more or fewer fields than the header.
    pub fn of(record: &Record<'r>, columns: &'static [&'static str], order: &[usize]) -> Result<Self, Problem> {
        let fields: Vec<&[u8]> = record.fields().collect();
        if fields.len() != columns.len() {
            let message = format!(
                "this row has {} fields, the header has {}; is it cut short, or a quote or comma amiss?",
                fields.len(),
                columns.len()
            );
            return Err(Problem::new(record.line, "", message));
        }
        // The header has each column once, so each place in `order` is one of these fields.
        let text = |at: &usize| std::str::from_utf8(fields[*at]).ok().map(str::trim);
        Ok(Self { line: record.line, columns, texts: order.iter().map(text).collect(), problems: Vec::new() })
    }

    fn problem(&mut self, column: &'static str, message: impl Into<String>) {
        self.problems.push(Problem::new(self.line, column, message));
    }

    /// The text of a field; `None` where it is blank or amiss.
    fn text_with(&mut self, column: &'static str, is_allowed: impl Fn(char) -> bool) -> Option<&'r str> {
        let at = self.columns.iter().position(|c| *c == column)?;
        let Some(text) = self.texts[at] else {
            self.problem(column, NOT_UTF8);
            return None;
        };
        if text.chars().nth(TEXT_MAX).is_some() {
            self.problem(column, format!("this has more than {TEXT_MAX} characters"));
            return None;
        }
        if let Some(c) = text.chars().find(|c| !is_allowed(*c)) {
            let what = if c == '\n' || c == '\r' { "a line break" } else { "a control character" };
            self.problem(column, format!("this has {what} in it ({})", c.escape_default()));
            return None;
        }
        Some(text).filter(|text| !text.is_empty())
    }

    fn optional(&mut self, column: &'static str) -> Option<&'r str> {
        self.text_with(column, |c| !c.is_control())
    }

    fn required(&mut self, column: &'static str) -> Option<&'r str> {
        let before = self.problems.len();
        let text = self.optional(column);
        if text.is_none() && self.problems.len() == before {
            self.problem(column, "this is missing");
        }
        text
    }

    fn parsed<T>(
        &mut self,
        column: &'static str,
        text: Option<&'r str>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match parse(text?) {
            Ok(value) => Some(value),
            Err(message) => {
                self.problem(column, message);
                None
            }
        }
    }
}

impl Row for AccountRow {
    const COLUMNS: &'static [&'static str] = &ACCOUNT_COLUMNS;

    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let number = fields.required("number");
        let number = fields.parsed("number", number, AccountNumber::parse);
        let name = fields.required("name").map(str::to_owned);
        let status = fields.required("status").map(str::to_owned);
        let parent = fields.optional("parent_number");
        let parent = fields.parsed("parent_number", parent, AccountNumber::parse);
        let currency = fields.optional("currency");
        let currency = fields.parsed("currency", currency, Currency::parse);
        let zone = fields.optional("zone");
        let zone = fields.parsed("zone", zone, parse_zone);
        let address = fields.optional("address").map(str::to_owned);
        let email = fields.optional("email").map(str::to_owned);
        // Letters have lines, and spreadsheets keep them.
        let mailing_address = fields.text_with("mailing_address", |c| c == '\n' || c == '\r' || !c.is_control());
        let mailing_address = mailing_address.map(|text| text.replace("\r\n", "\n").replace('\r', "\n"));
        let groups = fields.optional("groups").map(groups).unwrap_or_default();
        let contact = Contact { email, mailing_address };
        Some(Self {
            line: fields.line,
            number: number?,
            name: name?,
            status: status?,
            parent,
            currency,
            zone,
            address,
            contact,
            groups,
        })
    }
}

/// Sorted, each once.
fn groups(text: &str) -> Vec<String> {
    let mut groups: Vec<_> = text.split(';').map(str::trim).filter(|g| !g.is_empty()).map(str::to_owned).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

impl Row for DebitRow {
    const COLUMNS: &'static [&'static str] = &DEBIT_COLUMNS;

    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let account = fields.required("account_number");
        let account = fields.parsed("account_number", account, AccountNumber::parse);
        let reference = fields.required("reference").map(str::to_owned);
        let description = fields.required("description").map(str::to_owned);
        let amount = fields.required("amount");
        let amount = fields.parsed("amount", amount, amount_text);
        let tax = fields.optional("tax");
        let tax = fields.parsed("tax", tax, amount_text);
        let charged_on = fields.required("charged_on");
        let charged_on = fields.parsed("charged_on", charged_on, parse_date);
        Some(Self {
            line: fields.line,
            account: account?,
            reference: reference?,
            description: description?,
            amount: amount?,
            tax: tax.unwrap_or_default(),
            charged_on: charged_on?,
        })
    }
}

/// Read as money once the account's currency is known.
fn amount_text(text: &str) -> Result<String, String> {
    if text.chars().count() > AMOUNT_MAX {
        return Err(format!("this has more than {AMOUNT_MAX} characters, which no amount has"));
    }
    Ok(text.to_owned())
}
