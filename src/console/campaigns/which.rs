//! Which accounts a campaign is of: a file, a list of numbers, or a filter, which can be made from fields.

use std::io::Cursor;

use tokio::sync::mpsc;

use super::filled::{Errors, Filled};
use crate::console::form::Form;
use crate::domain::account::AccountNumber;
use crate::domain::campaign::cohort::MemberRow;
use crate::domain::filter::Filter;
use crate::domain::filter::compose::{Picked, PickedFamily};
use crate::domain::import::Problem as RowProblem;
use crate::import::{self, Source};
use crate::store::campaigns::Cohort;
use crate::store::{CHUNK_ROWS, Rows};

/// What was picked to make a filter of.
pub fn picked(form: &Form) -> Picked {
    let text = |name| form.get(name).unwrap_or_default().to_owned();
    Picked {
        status: text("pick_status"),
        group: text("pick_group"),
        family: match form.get("pick_family") {
            Some("alone") => PickedFamily::Alone,
            Some("child") => PickedFamily::Child,
            _ => PickedFamily::Any,
        },
        parent: text("pick_parent"),
        balance_over: text("pick_balance_over"),
        debit_age_over: text("pick_debit_age_over"),
        name_has: text("pick_name_has"),
        address_has: text("pick_address_has"),
        currency: text("pick_currency"),
        zone: text("pick_zone"),
        search: String::new(),
    }
}

/// Whether it says anything of accounts.
pub fn is_said(filled: &Filled, form: &Form) -> bool {
    form.file().is_some() || !filled.numbers.is_empty() || !filled.filter.is_empty()
}

/// Who is in it: one of the three ways.
pub async fn cohort(filled: &Filled, form: &Form) -> Result<(Option<Filter>, Cohort), Errors> {
    match (form.file(), filled.numbers.as_str(), filled.filter.as_str()) {
        (None, "", "") => Err(Errors::at("cohort", "Say which accounts: a file, a list of numbers, or a filter.")),
        (None, "", text) => {
            let filter = Filter::parse(text).map_err(|error| Errors::at("where", error))?;
            Ok((Some(filter.clone()), Cohort::Filter(filter)))
        }
        (None, list, "") => Ok((None, Cohort::Rows(listed(list).await?))),
        (Some(file), "", "") => {
            let rows = import::member_rows(Source::new("The file", file)).await;
            Ok((None, Cohort::Rows(rows.map_err(|error| Errors::at("file", error.to_string()))?)))
        }
        _ => Err(Errors::at("cohort", "Say it in one way: a file, or a list of numbers, or a filter.")),
    }
}

/// A pasted list: a number in each line, or a table with the header of a file.
async fn listed(list: &str) -> Result<Rows<MemberRow>, Errors> {
    let first = list.lines().next().unwrap_or_default();
    if first.split([',', ';']).any(|column| column.trim() == "account_number") {
        let rows = import::member_rows(Source::new("The list", Cursor::new(list.to_owned()))).await;
        return rows.map_err(|error| Errors::at("numbers", error.to_string()));
    }
    let lines = (1..).zip(list.lines()).filter(|(_, line)| !line.trim().is_empty());
    let rows = lines.map(|(line, number)| match AccountNumber::parse(number) {
        Ok(account) => Ok(MemberRow { line, account, on: None, reason: None }),
        Err(error) => Err(RowProblem::new(line, "account_number", error)),
    });
    let rows: Vec<_> = rows.collect();
    let (sender, receiver) = mpsc::channel(rows.len().div_ceil(CHUNK_ROWS).max(1));
    let mut rest = rows.into_iter().peekable();
    while rest.peek().is_some() {
        // There is room for all of them.
        let _ = sender.try_send(rest.by_ref().take(CHUNK_ROWS).collect());
    }
    Ok(receiver)
}
