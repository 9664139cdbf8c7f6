//! Accounts: the list, and each with its tabs.

pub mod overview;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono_tz::Tz;
use serde::Deserialize;
use url::form_urlencoded;

use super::Shared;
use super::gate::Visitor;
use super::groups::Groups;
use super::lists::{self, numbered_page_after, page_after, some};
use super::plain::plain;
use super::reader::{Moment, Reader};
use super::words;
use crate::api::problem::{Answer, Problem};
use crate::domain::account::{AccountFilter, AccountNumber, AccountOrder, AccountView};
use crate::domain::event::EventView;
use crate::domain::filter::compose::Picked;
use crate::domain::invoice::InvoiceKind;
use crate::domain::token::Role;
use crate::store::{EventFilter, Page};

/// Which accounts, as the form of the list asks. What is empty is not asked for.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub struct ListAsked {
    search: String,
    status: String,
    group: String,
    /// `connected` or `disconnected`.
    service: String,
    /// `open`: with an event that is to come.
    event: String,
    /// `name`, else by number.
    sort: String,
    after: String,
}

impl ListAsked {
    fn filter(&self) -> Answer<AccountFilter> {
        Ok(AccountFilter {
            search: some(&self.search)?,
            status: some(&self.status)?,
            group: some(&self.group)?,
            parent: None,
            disconnected: match self.service.as_str() {
                "connected" => Some(false),
                "disconnected" => Some(true),
                _ => None,
            },
            open_event: (self.event == "open").then_some(true),
            order: if self.sort == "name" { AccountOrder::Name } else { AccountOrder::Number },
        })
    }

    fn page(&self) -> Answer<Page> {
        page_after(&self.after)
    }

    /// The same list, from here on.
    fn link(&self, after: &str) -> String {
        let fields = [
            ("search", self.search.as_str()),
            ("status", &self.status),
            ("group", &self.group),
            ("service", &self.service),
            ("event", &self.event),
            ("sort", &self.sort),
            ("after", after),
        ];
        lists::link("/accounts", &fields)
    }
}

/// An account's path, with its number percent-encoded.
pub fn path_of(number: &AccountNumber) -> String {
    let number: String = form_urlencoded::byte_serialize(number.as_str().as_bytes()).collect();
    // A form's way to write a blank is none of a path.
    format!("/accounts/{}", number.replace('+', "%20"))
}

/// An account in a list.
struct Row {
    number: AccountNumber,
    path: String,
    name: String,
    status: String,
    is_disconnected: bool,
    address: String,
    uninvoiced: String,
    open_event: Option<i64>,
    may_disconnect: bool,
}

impl Row {
    fn of(account: AccountView, reader: Reader, is_operator: bool) -> Self {
        Self {
            path: path_of(&account.number),
            may_disconnect: is_operator && account.disconnected_at.is_none(),
            is_disconnected: account.disconnected_at.is_some(),
            address: account.address.unwrap_or_default(),
            uninvoiced: reader.money(account.uninvoiced),
            open_event: account.open_event.map(|event| event.0),
            number: account.number,
            name: account.name,
            status: account.status,
        }
    }
}

#[derive(Template)]
#[template(path = "accounts.html")]
struct ListPart {
    asked: ListAsked,
    statuses: Vec<String>,
    groups: Groups,
    rows: Vec<Row>,
    next: Option<String>,
    first: Option<String>,
    /// A new campaign of these, where it can be one.
    campaign: Option<String>,
    /// They are none that a campaign takes.
    is_none_of_campaigns: bool,
}

pub async fn list(State(console): State<Shared>, visitor: Visitor, Query(asked): Query<ListAsked>) -> Answer<Response> {
    let filter = asked.filter()?;
    let accounts = console.store.accounts(&filter, &asked.page()?).await.map_err(words::problem)?;
    let (reader, is_operator) = (visitor.asked.reader, visitor.may(Role::Operator));
    let picked = Picked::of_list(&filter).filter(|_| is_operator);
    // Whoever filters has the filters already, and takes the list alone.
    let (statuses, groups) = if visitor.asked.is_part {
        Default::default()
    } else {
        (console.store.statuses().await?, Groups::offered(&console, asked.group.trim(), reader).await?)
    };
    let part = ListPart {
        groups,
        is_none_of_campaigns: is_operator && picked.is_none(),
        campaign: picked.and_then(|picked| picked.added_to("").ok()).and_then(|expression| campaign_of(&expression)),
        statuses: statuses.into_iter().map(|status| status.name).collect(),
        next: accounts.next_cursor.as_deref().map(|after| asked.link(after)),
        first: (!asked.after.is_empty()).then(|| asked.link("")),
        rows: accounts.items.into_iter().map(|account| Row::of(account, reader, is_operator)).collect(),
        asked,
    };
    visitor.view("Accounts", &part)
}

/// A new campaign of what an expression selects; none of everybody.
fn campaign_of(expression: &str) -> Option<String> {
    (!expression.is_empty()).then(|| lists::link("/campaigns/new", &[("where", expression)]))
}

/// What stands above every tab of an account.
struct Head {
    number: AccountNumber,
    path: String,
    name: String,
    status: String,
    disconnected_at: Option<Moment>,
    may_disconnect: bool,
    tab: &'static str,
    /// What was just done.
    notice: Option<String>,
}

impl Head {
    fn of(account: &AccountView, zone: Tz, visitor: &Visitor, tab: &'static str) -> Self {
        Self {
            number: account.number.clone(),
            path: path_of(&account.number),
            name: account.name.clone(),
            status: account.status.clone(),
            disconnected_at: account.disconnected_at.map(|at| visitor.asked.reader.moment_in(at, zone)),
            may_disconnect: visitor.may(Role::Operator) && account.disconnected_at.is_none(),
            tab,
            notice: None,
        }
    }

    fn title(&self) -> String {
        format!("{} {}", self.number, self.name)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct TabAsked {
    after: String,
    /// The event that was just asked for.
    done: Option<i64>,
}

/// The number in a path.
pub fn number_of(text: &str) -> Answer<AccountNumber> {
    AccountNumber::parse(text)
        .ok()
        .filter(|number| number.as_str() == text)
        .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "unknown_account", "There is no such account."))
}

/// An account, and the zone that its dates are shown in.
async fn found(console: &Shared, number: &str) -> Answer<(AccountView, Tz)> {
    let account = console.store.account(&number_of(number)?).await.map_err(words::problem)?;
    let zone = match account.zone {
        Some(zone) => zone,
        None => console.store.settings().await?.company_zone,
    };
    Ok((account, zone))
}

struct InvoiceRow {
    number: i64,
    is_final: bool,
    issued_at: Moment,
    total: String,
}

#[derive(Template)]
#[template(path = "account_invoices.html")]
struct InvoicesPart {
    head: Head,
    zone: &'static str,
    rows: Vec<InvoiceRow>,
    next: Option<String>,
}

pub async fn invoices(
    State(console): State<Shared>,
    visitor: Visitor,
    Path(number): Path<String>,
    Query(asked): Query<TabAsked>,
) -> Answer<Response> {
    let (account, zone) = found(&console, &number).await?;
    let invoices = console.store.invoices(Some(&account.number), &numbered_page_after(&asked.after)?).await?;
    let (reader, head) = (visitor.asked.reader, Head::of(&account, zone, &visitor, "invoices"));
    let part = InvoicesPart {
        zone: zone.name(),
        next: next(&head, "invoices", invoices.next_cursor.as_deref()),
        rows: invoices
            .items
            .iter()
            .map(|invoice| InvoiceRow {
                number: invoice.number.0,
                is_final: invoice.kind == InvoiceKind::Final,
                issued_at: reader.moment(invoice.issued_at, zone),
                total: reader.money(invoice.total),
            })
            .collect(),
        head,
    };
    visitor.view(&part.head.title(), &part)
}

fn next(head: &Head, tab: &str, cursor: Option<&str>) -> Option<String> {
    let after: String = form_urlencoded::byte_serialize(cursor?.as_bytes()).collect();
    Some(format!("{}/{tab}?after={after}", head.path))
}

/// How many children the tab shows at once.
const CHILDREN: u32 = 100;

#[derive(Template)]
#[template(path = "account_family.html")]
struct FamilyPart {
    head: Head,
    children: String,
    first: Option<String>,
    parent: Option<(AccountNumber, String)>,
    rows: Vec<Row>,
    next: Option<String>,
}

pub async fn family(
    State(console): State<Shared>,
    visitor: Visitor,
    Path(number): Path<String>,
    Query(asked): Query<TabAsked>,
) -> Answer<Response> {
    let (account, zone) = found(&console, &number).await?;
    let filter = AccountFilter { parent: Some(account.number.clone()), ..AccountFilter::default() };
    let page = Page { limit: CHILDREN, ..page_after(&asked.after)? };
    let children = console.store.accounts(&filter, &page).await.map_err(words::problem)?;
    let (reader, is_operator) = (visitor.asked.reader, visitor.may(Role::Operator));
    let head = Head::of(&account, zone, &visitor, "family");
    let part = FamilyPart {
        children: reader.count(account.children),
        first: (!asked.after.is_empty()).then(|| format!("{}/family", head.path)),
        parent: account.parent_number.as_ref().map(|parent| (parent.clone(), path_of(parent))),
        next: next(&head, "family", children.next_cursor.as_deref()),
        rows: children.items.into_iter().map(|child| Row::of(child, reader, is_operator)).collect(),
        head,
    };
    visitor.view(&part.head.title(), &part)
}

struct EventRow {
    id: i64,
    state: &'static str,
    outcome: String,
    due_at: Moment,
    planned: Option<String>,
    requested_by: String,
    reason: String,
    last_error: String,
}

#[derive(Template)]
#[template(path = "account_events.html")]
struct EventsPart {
    head: Head,
    zone: &'static str,
    rows: Vec<EventRow>,
    next: Option<String>,
}

pub async fn events(
    State(console): State<Shared>,
    visitor: Visitor,
    Path(number): Path<String>,
    Query(asked): Query<TabAsked>,
) -> Answer<Response> {
    let (account, zone) = found(&console, &number).await?;
    let filter = EventFilter { account: Some(account.number.clone()), ..EventFilter::default() };
    let events = console.store.events(&filter, &numbered_page_after(&asked.after)?).await?;
    let (reader, head) = (visitor.asked.reader, Head::of(&account, zone, &visitor, "events"));
    let part = EventsPart {
        zone: zone.name(),
        next: next(&head, "events", events.next_cursor.as_deref()),
        rows: events
            .items
            .into_iter()
            .map(|event| EventRow {
                id: event.id.0,
                state: event.state.as_str(),
                outcome: event.outcome.map(|outcome| outcome.as_str().replace('_', " ")).unwrap_or_default(),
                due_at: reader.moment(event.due_at, zone),
                planned: planned(&event),
                requested_by: event.requested_by,
                reason: event.reason.unwrap_or_default(),
                last_error: plain(&event.last_error.unwrap_or_default(), zone, reader),
            })
            .collect(),
        head,
    };
    visitor.view(&part.head.title(), &part)
}

/// The date as it was given, where that is something else than an instant.
pub fn planned(event: &EventView) -> Option<String> {
    let given = event.planned.planned_for.as_ref()?;
    Some(event.planned.zone.as_ref().map_or_else(|| given.clone(), |zone| format!("{given} in {zone}")))
}

struct LogRow {
    at: Moment,
    message: String,
    actor: String,
    source: String,
    reason: String,
}

#[derive(Template)]
#[template(path = "account_log.html")]
struct LogPart {
    head: Head,
    zone: &'static str,
    rows: Vec<LogRow>,
    next: Option<String>,
}

pub async fn log(
    State(console): State<Shared>,
    visitor: Visitor,
    Path(number): Path<String>,
    Query(asked): Query<TabAsked>,
) -> Answer<Response> {
    let (account, zone) = found(&console, &number).await?;
    let entries = console.store.log(&account.number, &numbered_page_after(&asked.after)?).await?;
    let (reader, head) = (visitor.asked.reader, Head::of(&account, zone, &visitor, "log"));
    let part = LogPart {
        zone: zone.name(),
        next: next(&head, "log", entries.next_cursor.as_deref()),
        rows: entries
            .items
            .into_iter()
            .map(|entry| LogRow {
                at: reader.moment(entry.at, zone),
                message: entry.message,
                actor: entry.actor,
                source: entry.source,
                reason: entry.reason.unwrap_or_default(),
            })
            .collect(),
        head,
    };
    visitor.view(&part.head.title(), &part)
}
