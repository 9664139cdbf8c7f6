//! An account as the domain's tests find it.

use chrono::DateTime;

use super::account::{AccountNumber, AccountView, Contact, Status};
use super::calendar::Planned;
use super::event::{Attempt, EventId, EventView, State};
use super::family::{Family, Relative};
use super::money::{Currency, Money};
use super::overview::OverviewFacts;
use super::plan::Snapshot;
use super::settings::Settings;

pub fn number(text: &str) -> AccountNumber {
    AccountNumber::parse(text).unwrap()
}

fn inactive() -> Status {
    Status { name: "Inactive".into(), activates_account: false }
}

pub fn facts(account: &str) -> OverviewFacts {
    OverviewFacts {
        account: AccountView {
            number: number(account),
            name: format!("Customer {account}"),
            status: "Active".into(),
            disconnected_at: None,
            parent_number: None,
            children: 0,
            address: None,
            currency: Currency::USD,
            zone: None,
            contact: Contact::default(),
            groups: Vec::new(),
            uninvoiced: Money::new(0, Currency::USD),
            open_event: None,
        },
        snapshot: snapshot(account),
        open_event: None,
        settings: Settings::default(),
        statuses: vec![inactive()],
        now: DateTime::UNIX_EPOCH,
    }
}

pub fn snapshot(account: &str) -> Snapshot {
    Snapshot {
        number: number(account),
        name: format!("Customer {account}"),
        contact: Contact::default(),
        family: Family::default(),
        status: Status { name: "Active".into(), activates_account: true },
        disconnected_at: None,
        currency: Currency::USD,
        debits: Vec::new(),
        assignment: None,
        standing: None,
        target: Ok(inactive()),
    }
}

pub fn child(account: &str, parent: &str) -> Relative {
    Relative {
        number: number(account),
        name: format!("Customer {account}"),
        status: "Active".into(),
        disconnected_at: None,
        contact: Contact { email: Some(format!("{account}@example.com")), mailing_address: None },
        parent_number: Some(number(parent)),
        zone: None,
        open_event: None,
    }
}

pub fn event(id: i64, account: &str) -> EventView {
    EventView {
        id: EventId(id),
        account_number: number(account),
        state: State::Scheduled,
        outcome: None,
        due_at: DateTime::UNIX_EPOCH,
        planned: Planned::default(),
        next_at: None,
        attempt: Attempt(0),
        failures: 0,
        failures_max: 1,
        last_error: None,
        reason: None,
        requested_by: "clerk".into(),
        requested_from: "cli".into(),
        campaign_id: None,
        lane: 0,
        final_invoice: None,
        created_at: DateTime::UNIX_EPOCH,
        ended_at: None,
        agreed: None,
        changed_since: Vec::new(),
        parent_event_id: None,
        children: Vec::new(),
        to_decide: Vec::new(),
    }
}
