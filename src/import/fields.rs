//! Reads the fields of a record, each by itself, and names what is wrong by line and column.

use crate::domain::account::{AccountNumber, Contact};
use crate::domain::calendar::{When, parse_date, parse_zone};
use crate::domain::campaign::cohort::{COLUMNS as MEMBER_COLUMNS, MemberRow};
use crate::domain::import::{ACCOUNT_COLUMNS, AccountRow, DEBIT_COLUMNS, DebitRow, Problem};
use crate::domain::money::Currency;
use crate::domain::text::{TEXT_MAX, parse_text};

use super::records::Record;

/// How many characters an amount has at most; the largest that fits has 20.
const AMOUNT_MAX: usize = 40;

pub const NOT_UTF8: &str = "this is not UTF-8; save the file as CSV in UTF-8";

/// A kind of file.
pub trait Row: Sized {
    const COLUMNS: &'static [&'static str];
    /// Those of them that the header may leave out: their fields are blank then.
    const OPTIONAL: &'static [&'static str] = &[];
    /// Other titles of columns, each with the column.
    const ALIASES: &'static [(&'static str, &'static str)] = &[];

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
    /// `order`: where each column stands, if it is in the header.
    ///
    /// # Errors
    /// It has more or fewer fields than the header.
    pub fn of(record: &Record<'r>, columns: &'static [&'static str], order: &[Option<usize>]) -> Result<Self, Problem> {
        let fields: Vec<&[u8]> = record.fields().collect();
        let titles = order.iter().flatten().count();
        if fields.len() != titles {
            let message = format!(
                "this row has {} fields, the header has {titles}; is it cut short, or a quote or comma amiss?",
                fields.len()
            );
            return Err(Problem::new(record.line, "", message));
        }
        // The header has each column once, so each place in `order` is one of these fields.
        let text = |at: &Option<usize>| match at {
            Some(at) => std::str::from_utf8(fields[*at]).ok().map(str::trim),
            None => Some(""),
        };
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

    /// Texts that people wrote have lines, and spreadsheets keep them.
    fn lines(&mut self, column: &'static str) -> Option<String> {
        let text = self.text_with(column, |c| c == '\n' || c == '\r' || !c.is_control())?;
        Some(text.replace("\r\n", "\n").replace('\r', "\n"))
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
        text: Option<&str>,
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
        let mailing_address = fields.lines("mailing_address");
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

impl Row for MemberRow {
    const COLUMNS: &'static [&'static str] = &MEMBER_COLUMNS;
    const OPTIONAL: &'static [&'static str] = &["date", "reason"];
    const ALIASES: &'static [(&'static str, &'static str)] = &[("number", "account_number")];

    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let account = fields.required("account_number");
        let account = fields.parsed("account_number", account, AccountNumber::parse);
        let on = fields.optional("date");
        let on = fields.parsed("date", on, When::parse);
        let reason = fields.lines("reason");
        let reason = fields.parsed("reason", reason.as_deref(), parse_text);
        Some(Self { line: fields.line, account: account?, on, reason })
    }
}

/// Read as money once the account's currency is known.
fn amount_text(text: &str) -> Result<String, String> {
    if text.chars().count() > AMOUNT_MAX {
        return Err(format!("this has more than {AMOUNT_MAX} characters, which no amount has"));
    }
    Ok(text.to_owned())
}
