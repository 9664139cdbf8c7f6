//! An account's first tab: what it is, what is not invoiced yet, what is to come.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use chrono_tz::Tz;

use super::{Head, TabAsked, number_of, path_of};
use crate::api::problem::Answer;
use crate::console::gate::Visitor;
use crate::console::reader::{Moment, Reader};
use crate::console::{Shared, words};
use crate::domain::account::AccountNumber;
use crate::domain::event::{EventId, EventView, Outcome, State as EventState};
use crate::domain::family::ChildCounts;
use crate::domain::glance::Glance;

struct Line {
    description: String,
    charged_on: String,
    total: String,
}

#[derive(Template)]
#[template(path = "account.html")]
struct OverviewPart {
    head: Head,
    zone: &'static str,
    address: Option<String>,
    email: Option<String>,
    mailing_address: Option<String>,
    groups: String,
    parent: Option<(AccountNumber, String)>,
    /// How many, and how they are.
    children: Option<(String, String)>,
    lines: Vec<Line>,
    uninvoiced: String,
    open_event: Option<(i64, Moment, &'static str)>,
    warnings: Vec<String>,
}

pub async fn show(
    State(console): State<Shared>,
    visitor: Visitor,
    Path(number): Path<String>,
    Query(asked): Query<TabAsked>,
) -> Answer<Response> {
    let glance = Glance::of(console.store.glance_facts(&number_of(&number)?).await.map_err(words::problem)?);
    let (reader, account, zone) = (visitor.asked.reader, &glance.account, glance.zone);
    let mut head = Head::of(account, zone, &visitor, "overview");
    if let Some(event) = asked.done {
        head.notice = console
            .store
            .event(EventId(event))
            .await
            .ok()
            .and_then(|event| (event.account_number == account.number).then(|| notice(&event, zone, reader)));
    }
    let lines = glance.final_invoice.iter().flat_map(|invoice| &invoice.lines);
    let part = OverviewPart {
        zone: zone.name(),
        address: account.address.clone(),
        email: account.contact.email.clone(),
        mailing_address: account.contact.mailing_address.clone(),
        groups: account.groups.join(", "),
        parent: account.parent_number.as_ref().map(|parent| (parent.clone(), path_of(parent))),
        children: children(glance.children, reader),
        lines: lines
            .map(|line| Line {
                description: line.description.clone(),
                charged_on: reader.date(line.charged_on),
                total: reader.money(line.total),
            })
            .collect(),
        uninvoiced: reader.money(account.uninvoiced),
        open_event: glance
            .open_event
            .as_ref()
            .map(|event| (event.id.0, reader.moment_in(event.due_at, zone), event.state.as_str())),
        warnings: warnings(&glance, reader),
        head,
    };
    visitor.view(&part.head.title(), &part)
}

/// `10,000`, and `9,998 connected, 3 with an open event`.
fn children(counts: ChildCounts, reader: Reader) -> Option<(String, String)> {
    let mut how = vec![format!("{} connected", reader.count(counts.connected))];
    if counts.with_open_event > 0 {
        how.push(format!("{} with an open event", reader.count(counts.with_open_event)));
    }
    (counts.all > 0).then(|| (reader.count(counts.all), how.join(", ")))
}

/// What to know of an account that is connected.
fn warnings(glance: &Glance, reader: Reader) -> Vec<String> {
    let (account, mut warnings) = (&glance.account, Vec::new());
    if account.disconnected_at.is_some() {
        return warnings;
    }
    let number = &account.number;
    match glance.children.without_contact {
        0 => {}
        1 => warnings.push(format!(
            "Once {number} is gone nobody gets the invoices of one of its children: it has no contact of its own."
        )),
        n => warnings.push(format!(
            "Once {number} is gone nobody gets the invoices of {} of its children: they have no contact of their own.",
            reader.count(n)
        )),
    }
    if let Some(parent) = glance.parent.as_ref().filter(|parent| parent.disconnected_at.is_some()) {
        warnings.push(format!("Its parent {} is disconnected.", parent.number));
    }
    if glance.final_invoice.is_some() && glance.recipient.is_none() {
        warnings.push(
            "Nobody gets its invoices: neither it nor a connected parent has an email or a mailing address.".into(),
        );
    }
    warnings
}

/// What came of an event that was asked for, in a sentence.
fn notice(event: &EventView, zone: Tz, reader: Reader) -> String {
    let account = &event.account_number;
    match (event.state, event.outcome) {
        (EventState::Completed, Some(Outcome::Disconnected)) => match &event.final_invoice {
            Some(invoice) => format!(
                "Account {account} is disconnected. Its final invoice is {}, over {}.",
                invoice.number,
                reader.money(invoice.total)
            ),
            None => format!("Account {account} is disconnected. There was nothing to invoice."),
        },
        (EventState::Completed, _) => format!("Account {account} was disconnected already."),
        (EventState::Scheduled, _) if event.planned.planned_for.is_some() => {
            format!("Account {account} will be disconnected at {}.", reader.moment_in(event.due_at, zone).shown)
        }
        (EventState::Scheduled | EventState::Queued, _) => {
            format!("The disconnect of account {account} is under way. Load this page again to see how it ended.")
        }
        (EventState::Failed, _) => format!("The disconnect of account {account} failed. Events tells why."),
        (EventState::Cancelled, _) => format!("The disconnect of account {account} was cancelled."),
    }
}
