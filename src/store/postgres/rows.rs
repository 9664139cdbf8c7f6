//! From rows to the words of the domain.

use chrono_tz::Tz;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::failure::Failure;
use crate::domain::account::{AccountNumber, AccountView, Contact, LogEntry, LogKind, Status};
use crate::domain::calendar::{self, Planned};
use crate::domain::campaign::CampaignId;
use crate::domain::digest::Shown;
use crate::domain::event::{Attempt, EventId, EventView, OpenEvent, Outcome, State};
use crate::domain::family::Relative;
use crate::domain::invoice::{InvoiceKind, InvoiceNumber, InvoiceSummary, InvoiceView, LineView};
use crate::domain::money::{Currency, Money};
use crate::domain::token::{Role, TokenId, TokenView};
use crate::store::StoreError;

/// What this program wrote it can read. Something else has written what it can't.
pub(super) fn unreadable(what: &str, text: &str) -> Failure {
    StoreError::Rejected(format!("the database holds the {what} `{text}`, which this program does not know")).into()
}

pub(super) fn currency(code: &str) -> Result<Currency, Failure> {
    Currency::parse(code).map_err(|_| unreadable("currency", code))
}

pub(super) fn zone(name: Option<String>) -> Result<Option<Tz>, Failure> {
    name.map(|name| calendar::parse_zone(&name).map_err(|_| unreadable("time zone", &name))).transpose()
}

pub(super) fn state(text: &str) -> Result<State, Failure> {
    State::parse(text).ok_or_else(|| unreadable("event state", text))
}

pub(super) fn outcome(text: Option<String>) -> Result<Option<Outcome>, Failure> {
    text.map(|text| Outcome::parse(&text).ok_or_else(|| unreadable("outcome", &text))).transpose()
}

pub(super) fn number(text: Option<String>) -> Option<AccountNumber> {
    text.map(AccountNumber::from_stored)
}

pub(super) fn status(row: &PgRow) -> Result<Status, Failure> {
    Ok(Status { name: row.try_get("status")?, activates_account: row.try_get("activates_account")? })
}

pub(super) fn contact(row: &PgRow) -> Result<Contact, Failure> {
    Ok(Contact { email: row.try_get("email")?, mailing_address: row.try_get("mailing_address")? })
}

pub(super) fn account_view(row: &PgRow) -> Result<AccountView, Failure> {
    let currency = currency(row.try_get("currency")?)?;
    Ok(AccountView {
        number: AccountNumber::from_stored(row.try_get("number")?),
        name: row.try_get("name")?,
        status: row.try_get("status")?,
        disconnected_at: row.try_get("disconnected_at")?,
        parent_number: number(row.try_get("parent_number")?),
        children: row.try_get("children")?,
        address: row.try_get("address")?,
        currency,
        zone: zone(row.try_get("zone")?)?,
        contact: contact(row)?,
        groups: row.try_get("groups")?,
        uninvoiced: Money::new(row.try_get("uninvoiced")?, currency),
        open_event: row.try_get::<Option<i64>, _>("open_event")?.map(EventId),
    })
}

pub(super) fn relative(row: &PgRow) -> Result<Relative, Failure> {
    Ok(Relative {
        number: AccountNumber::from_stored(row.try_get("number")?),
        name: row.try_get("name")?,
        status: row.try_get("status")?,
        disconnected_at: row.try_get("disconnected_at")?,
        contact: contact(row)?,
        parent_number: number(row.try_get("parent_number")?),
        zone: zone(row.try_get("zone")?)?,
        open_event: open_event(row)?,
    })
}

pub(super) fn open_event(row: &PgRow) -> Result<Option<OpenEvent>, Failure> {
    let Some(id) = row.try_get::<Option<i64>, _>("open_event")? else { return Ok(None) };
    Ok(Some(OpenEvent {
        id: EventId(id),
        state: state(row.try_get("open_state")?)?,
        due_at: row.try_get("open_due_at")?,
        lane: row.try_get("open_lane")?,
        made_with: row.try_get::<Option<i64>, _>("open_made_with")?.map(EventId),
    }))
}

/// What the family adds to it comes from elsewhere.
pub(super) fn event_view(row: &PgRow) -> Result<EventView, Failure> {
    let final_invoice = match row.try_get::<Option<i64>, _>("invoice_number")? {
        None => None,
        Some(number) => Some(InvoiceSummary {
            number: InvoiceNumber(number),
            total: Money::new(row.try_get("invoice_total")?, currency(row.try_get("invoice_currency")?)?),
        }),
    };
    Ok(EventView {
        id: EventId(row.try_get("id")?),
        account_number: AccountNumber::from_stored(row.try_get("account_number")?),
        state: state(row.try_get("state")?)?,
        outcome: outcome(row.try_get("outcome")?)?,
        due_at: row.try_get("due_at")?,
        planned: Planned { planned_for: row.try_get("planned_for")?, zone: row.try_get("zone")? },
        next_at: row.try_get("next_at")?,
        attempt: Attempt(row.try_get("attempt")?),
        failures: row.try_get("failures")?,
        failures_max: row.try_get("failures_max")?,
        last_error: row.try_get("last_error")?,
        reason: row.try_get("reason")?,
        requested_by: row.try_get("requested_by")?,
        requested_from: row.try_get("requested_from")?,
        campaign_id: row.try_get::<Option<i64>, _>("campaign_id")?.map(CampaignId),
        lane: row.try_get("lane")?,
        final_invoice,
        created_at: row.try_get("created_at")?,
        ended_at: row.try_get("ended_at")?,
        agreed: shown(row)?.and_then(|shown| shown.agreed()),
        changed_since: sentences(row.try_get("changed_since")?)?,
        parent_event_id: row.try_get::<Option<i64>, _>("parent_event_id")?.map(EventId),
        children: Vec::new(),
        to_decide: Vec::new(),
    })
}

/// What was agreed to; none where a newer program wrote it in a form of its own.
pub(super) fn shown(row: &PgRow) -> Result<Option<Shown>, Failure> {
    let digest: Option<&str> = row.try_get("agreed")?;
    Ok(digest.and_then(Shown::read))
}

fn sentences(json: Option<&str>) -> Result<Vec<String>, Failure> {
    match json {
        None => Ok(Vec::new()),
        Some(json) => serde_json::from_str(json).map_err(|_| unreadable("list of changes", json)),
    }
}

/// Without its lines.
pub(super) fn invoice_view(row: &PgRow) -> Result<InvoiceView, Failure> {
    let currency = currency(row.try_get("currency")?)?;
    let kind: &str = row.try_get("kind")?;
    Ok(InvoiceView {
        number: InvoiceNumber(row.try_get("number")?),
        kind: InvoiceKind::parse(kind).ok_or_else(|| unreadable("invoice kind", kind))?,
        account_number: AccountNumber::from_stored(row.try_get("account_number")?),
        event_id: row.try_get::<Option<i64>, _>("event_id")?.map(EventId),
        issued_at: row.try_get("issued_at")?,
        amount: Money::new(row.try_get("amount")?, currency),
        tax: Money::new(row.try_get("tax")?, currency),
        total: Money::new(row.try_get("total")?, currency),
        lines: Vec::new(),
    })
}

pub(super) fn line_view(row: &PgRow, currency: Currency) -> Result<LineView, Failure> {
    Ok(LineView {
        description: row.try_get("description")?,
        charged_on: row.try_get("charged_on")?,
        amount: Money::new(row.try_get("amount")?, currency),
        tax: Money::new(row.try_get("tax")?, currency),
        total: Money::new(row.try_get("total")?, currency),
    })
}

pub(super) fn log_entry(row: &PgRow) -> Result<LogEntry, Failure> {
    let kind: &str = row.try_get("kind")?;
    Ok(LogEntry {
        at: row.try_get("at")?,
        kind: LogKind::parse(kind).ok_or_else(|| unreadable("log kind", kind))?,
        message: row.try_get("message")?,
        actor: row.try_get("actor")?,
        source: row.try_get("source")?,
        event_id: row.try_get::<Option<i64>, _>("event_id")?.map(EventId),
        reason: row.try_get("reason")?,
    })
}

pub(super) fn token_view(row: &PgRow) -> Result<TokenView, Failure> {
    let role: &str = row.try_get("role")?;
    Ok(TokenView {
        id: TokenId(row.try_get("id")?),
        name: row.try_get("name")?,
        role: Role::parse(role).map_err(|_| unreadable("role", role))?,
        created_at: row.try_get("created_at")?,
        created_by: row.try_get("created_by")?,
        revoked_at: row.try_get("revoked_at")?,
        revoked_by: row.try_get("revoked_by")?,
    })
}

/// A cursor that is a number: the last item's id.
pub(super) fn id_cursor(after: Option<&str>) -> Result<Option<i64>, Failure> {
    let read = |text: &str| {
        text.parse().map_err(|_| StoreError::Rejected(format!("`{text}` is not the cursor of a list that it answered")))
    };
    Ok(after.map(read).transpose()?)
}
