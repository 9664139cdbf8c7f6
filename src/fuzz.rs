//! What reads whatever anybody may send, as plain functions of bytes. Each must come to an end without a panic, and where
//! something was read, what is checked of it must hold. `tests/fuzz` keeps a corpus for each and runs them over it and over
//! what is like it.

use std::collections::BTreeSet;
use std::io::Cursor;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use chrono_tz::Tz;

use crate::api;
use crate::domain::account::AccountNumber;
use crate::domain::calendar::Cron;
use crate::domain::calendar::{When, parse_zone};
use crate::domain::dispositions::Choice;
use crate::domain::filter::{Candidate, Filter};
use crate::domain::message;
use crate::domain::money::{Currency, Money};
use crate::domain::window::Window;
use crate::import::{ImportError, Source, account_rows, debit_rows, member_rows};
use crate::store::Rows;

/// Takes whatever it is given.
pub type Target = fn(&[u8]);

/// Each by the name of its corpus.
pub const TARGETS: [(&str, Target); 9] = [
    ("accounts_csv", accounts_csv),
    ("api_json", api_json),
    ("cron", cron),
    ("date", date),
    ("debits_csv", debits_csv),
    ("filter", filter),
    ("members_csv", members_csv),
    ("message", message),
    ("window", window),
];

fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).unwrap_or_default()
}

/// Reads all rows of a file, as an import does.
fn drained<T: Send + 'static>(opened: impl Future<Output = Result<Rows<T>, ImportError>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        let Ok(mut rows) = opened.await else { return };
        while rows.recv().await.is_some() {}
    });
}

fn source(bytes: &[u8]) -> Source {
    Source::new("fuzz", Cursor::new(bytes.to_vec()))
}

pub fn accounts_csv(bytes: &[u8]) {
    drained(account_rows(source(bytes)));
}

pub fn debits_csv(bytes: &[u8]) {
    drained(debit_rows(source(bytes)));
}

pub fn members_csv(bytes: &[u8]) {
    drained(member_rows(source(bytes)));
}

pub fn api_json(bytes: &[u8]) {
    api::read_bodies(bytes);
}

/// # Panics
/// What was read is written otherwise: a bug.
pub fn message(bytes: &[u8]) {
    if let Ok(order) = message::parse("installation", bytes) {
        let again = message::parse("installation", &message::write("installation", order));
        assert_eq!(again.ok(), Some(order));
    }
}

/// A date, and the other short texts that people write.
///
/// # Panics
/// Two readings of it come to different instants: a bug.
pub fn date(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(when) = When::parse(text) {
        for zone in [Tz::UTC, Tz::America__New_York, Tz::Australia__Lord_Howe, Tz::Pacific__Apia] {
            let resolve = || when.resolve(zone, NaiveTime::MIN, noon());
            assert_eq!(resolve().0, resolve().0);
        }
    }
    let _ = (parse_zone(text), AccountNumber::parse(text), Choice::parse(text));
    for currency in ["USD", "JPY", "KWD"].into_iter().filter_map(|code| Currency::parse(code).ok()) {
        let _ = Money::parse(text, currency);
    }
}

/// # Panics
/// Something fires before the instant that it was asked from: a bug.
pub fn cron(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for cron in [Cron::parse(text), Cron::parse_user(text)].into_iter().flatten() {
        assert!(cron.next_after(noon()).is_none_or(|at| at > noon()));
        assert!(cron.next_after_in(noon(), Tz::America__New_York).is_none_or(|at| at > noon()));
    }
}

/// # Panics
/// What it says of an account is not what it decides, or its text reads otherwise: a bug.
pub fn filter(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(filter) = Filter::parse(text) else { return };
    let again = Filter::parse(filter.text());
    let (Ok(number), Ok(currency), Some(today)) =
        (AccountNumber::parse("1001"), Currency::parse("USD"), NaiveDate::from_ymd_opt(2026, 11, 28))
    else {
        return;
    };
    let candidate = Candidate {
        number: &number,
        name: "Ada Miller",
        status: "Active",
        groups: &["tower-3".to_owned()],
        parent: None,
        zone: Tz::America__New_York,
        currency,
        balance: 14_062,
        oldest_debit: Some(today),
        address: Some("12 Elm Street"),
        today,
    };
    let matches = filter.matches(&candidate);
    assert_eq!(filter.why_not(&candidate).is_none(), matches);
    assert_eq!(again.map(|again| again.matches(&candidate)), Ok(matches));
}

/// # Panics
/// Its text reads otherwise: a bug.
pub fn window(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(Some(window)) = Window::parse(text, Tz::UTC, &BTreeSet::new()) {
        let again = Window::parse(&window.text(), Tz::Europe__Berlin, &BTreeSet::new());
        assert_eq!(again.ok().flatten().map(|again| again.text()), Some(window.text()));
        let opens = window.next_open(noon());
        assert!(opens.is_none_or(|at| at >= noon() && window.is_open(at)));
        let _ = window.closes_at(noon());
    }
}
