//! The disconnect window: what it will do, when, why, what becomes of the children, and a button that does it.
//!
//! It is a page of its own, and the same form in a dialog where there is JavaScript.

use std::collections::BTreeMap;
use std::time::Duration;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono_tz::Tz;
use tokio::time::Instant;

use super::form::{Form, KEY_FIELD};
use super::gate::{self, Ours, Place, Visitor};
use super::reader::Moment;
use super::{Console, Shared, accounts, words};
use crate::api::problem::{Answer, Problem};
use crate::domain::account::AccountNumber;
use crate::domain::calendar::{When, parse_zone};
use crate::domain::dispositions::{Choice, Dispositions};
use crate::domain::event::EventId;
use crate::domain::family::{Family, Relative};
use crate::domain::overview::{Overview, OverviewFacts};
use crate::domain::refusal::Refusal;
use crate::domain::request::{DisconnectRequest, check_digest};
use crate::domain::text::parse_text;
use crate::store::{Requested, StoreError};

/// How long somebody waits for the outcome of an immediate disconnect before the account is shown as it is.
const OUTCOME_MAX: Duration = Duration::from_secs(10);
const OUTCOME_PAUSE: Duration = Duration::from_millis(50);

/// How many children are asked about one by one; for the others there is one choice for all.
const CHILDREN_MAX: usize = 200;

/// What stands before the number of a child in the name of its field.
const CHILD: &str = "child:";

/// The same for the date of its own.
const ON: &str = "on:";

/// The form as it was filled in, and as it is shown again.
#[derive(Debug, Clone, Default)]
struct Filled {
    /// At a date, else now.
    is_at_date: bool,
    date: String,
    time: String,
    zone: String,
    late: bool,
    reason: String,
    /// For those that are not named.
    others: String,
    children: BTreeMap<String, String>,
    /// The dates of children that are not disconnected with their parent.
    dates: BTreeMap<String, String>,
}

impl Filled {
    fn of(form: &Form) -> Self {
        let text = |name| form.get(name).unwrap_or_default().to_owned();
        let each =
            |before| form.beginning(before).map(|(number, value)| (number.to_owned(), value.to_owned())).collect();
        Self {
            is_at_date: form.get("when") == Some("date"),
            date: text("date"),
            time: text("time"),
            zone: text("zone"),
            late: form.get("late").is_some(),
            reason: text("reason"),
            others: text("others"),
            children: each(CHILD),
            dates: each(ON),
        }
    }

    fn when(&self) -> Result<When, String> {
        match (self.is_at_date, self.date.as_str(), self.time.as_str()) {
            (false, "", "") => Ok(When::Now),
            (false, _, _) => Err("There is a date, but Now is chosen. Choose one of them.".into()),
            (true, "", _) => Err("Choose a date, or disconnect now.".into()),
            (true, date, "") => When::parse(date),
            (true, date, time) => When::parse(&format!("{date}T{time}")),
        }
    }

    fn zone(&self) -> Result<Option<Tz>, String> {
        if self.zone.is_empty() { Ok(None) } else { parse_zone(&self.zone).map(Some) }
    }

    fn reason(&self) -> Result<Option<String>, String> {
        if self.reason.is_empty() { Ok(None) } else { parse_text(&self.reason).map(Some) }
    }

    fn choice(&self, number: &AccountNumber) -> &str {
        self.children.get(number.as_str()).map_or("", String::as_str)
    }

    fn date(&self, number: &AccountNumber) -> &str {
        self.dates.get(number.as_str()).map_or("", String::as_str)
    }

    /// The choices for those that are asked about.
    fn dispositions(&self, asked: &[&Relative]) -> Result<Dispositions, String> {
        let mut choices = Dispositions::default();
        if !self.others.is_empty() {
            choices.all = Some(Choice::parse(&self.others)?);
        }
        for child in asked {
            let choice = match (self.choice(&child.number), self.date(&child.number)) {
                ("", _) => continue,
                ("disconnect", date) if !date.is_empty() => Choice::parse(&format!("disconnect@{date}"))?,
                (choice, _) => Choice::parse(choice)?,
            };
            choices.each.insert(child.number.clone(), choice);
        }
        Ok(choices)
    }

    /// Those that are asked about: the connected children, and those of each that is to be disconnected too.
    fn asked_about<'f>(&self, account: &'f AccountNumber, family: &'f Family) -> Vec<&'f Relative> {
        let mut asked: Vec<&Relative> = family.connected_children_of(account).collect();
        let mut next = 0;
        // No family has a cycle; but this ends on any data.
        let bound = family.children.len() + family.descendants.len();
        while let Some(child) = asked.get(next).copied() {
            next += 1;
            let choice = self.choice(&child.number);
            let choice = if choice.is_empty() { self.others.as_str() } else { choice };
            if choice.starts_with("disconnect") && asked.len() <= bound {
                asked.extend(
                    family
                        .children
                        .iter()
                        .chain(&family.descendants)
                        .filter(|one| one.parent_number.as_ref() == Some(&child.number))
                        .filter(|one| one.disconnected_at.is_none()),
                );
            }
        }
        asked
    }
}

/// What is wrong, by the field that it belongs to.
#[derive(Debug, Default)]
struct Errors {
    /// Of the form as a whole.
    form: Option<String>,
    /// What has changed since the form was made.
    changes: Vec<String>,
    date: Option<String>,
    zone: Option<String>,
    reason: Option<String>,
    children: Option<String>,
}

impl Errors {
    fn of(refusal: &Refusal) -> Self {
        let words = words::refusal(refusal);
        match refusal {
            Refusal::StaleDigest { changes, .. } => Self { changes: changes.clone(), ..Self::default() },
            Refusal::PastDate { .. } => Self { date: Some(words), ..Self::default() },
            Refusal::UndecidedChildren { .. } | Refusal::NotAChild { .. } | Refusal::UnlinkWithoutContact { .. } => {
                Self { children: Some(words), ..Self::default() }
            }
            _ => Self { form: Some(words), ..Self::default() },
        }
    }

    /// With what has changed since the form was made.
    fn with_changes(self, moved: Option<Refusal>) -> Self {
        match moved {
            Some(Refusal::StaleDigest { changes, .. }) => Self { changes, ..self },
            _ => self,
        }
    }

    fn any(&self) -> bool {
        let Self { form, changes, date, zone, reason, children } = self;
        !changes.is_empty() || [form, date, zone, reason, children].into_iter().any(Option::is_some)
    }
}

struct Child {
    number: AccountNumber,
    name: String,
    status: String,
    contact: String,
    /// The one above, where that is not the account itself.
    parent: Option<AccountNumber>,
    field: String,
    choice: String,
    /// Of its own date.
    date_field: String,
    date: String,
}

struct Line {
    description: String,
    charged_on: String,
    total: String,
}

#[derive(Template)]
#[template(path = "disconnect.html")]
struct WindowPart {
    number: AccountNumber,
    path: String,
    name: String,
    status: String,
    status_after: Option<String>,
    address: Option<String>,
    recipient: Option<String>,
    lines: Vec<Line>,
    total: Option<String>,
    children: Vec<Child>,
    more_children: usize,
    blockers: Vec<String>,
    warnings: Vec<String>,
    filled: Filled,
    zone: &'static str,
    /// What the chosen date means.
    means: Option<Moment>,
    errors: Errors,
    digest: String,
    form_key: String,
    key_field: &'static str,
}

impl WindowPart {
    fn of(facts: OverviewFacts, filled: Filled, mut errors: Errors, visitor: &Visitor) -> Answer<Self> {
        let reader = visitor.asked.reader;
        let zone = filled.zone().ok().flatten().or(facts.account.zone).unwrap_or(facts.settings.company_zone);
        let on = filled.when().ok().map(|when| when.resolve(zone, facts.settings.cutoff_time, facts.now).0);
        let means = on.filter(|_| filled.is_at_date).map(|on| reader.moment_in_both(on, zone));
        let asked = filled.asked_about(&facts.account.number, &facts.snapshot.family);
        let more_children = asked.len().saturating_sub(CHILDREN_MAX);
        let account = facts.account.number.clone();
        let children = asked
            .into_iter()
            .take(CHILDREN_MAX)
            .map(|child| Child {
                number: child.number.clone(),
                name: child.name.clone(),
                status: child.status.clone(),
                contact: child.contact.ways(),
                parent: child.parent_number.clone().filter(|parent| *parent != account),
                field: format!("{CHILD}{}", child.number),
                choice: filled.choice(&child.number).to_owned(),
                date_field: format!("{ON}{}", child.number),
                date: filled.date(&child.number).to_owned(),
            })
            .collect();
        let on = on.unwrap_or(facts.now);
        let overview = Overview::of(facts, on);
        if !overview.blockers.is_empty() {
            errors.form = errors.form.or_else(|| Some("It can't be disconnected as things are.".into()));
        }
        let invoice = overview.final_invoice.as_ref();
        Ok(Self {
            path: accounts::path_of(&overview.account.number),
            number: overview.account.number,
            name: overview.account.name,
            status: overview.status_now,
            status_after: overview.status_after,
            address: overview.address_to_release,
            recipient: overview.invoice_recipient.map(|one| {
                let ways = one.contact.ways();
                if one.account_number == account.as_str() { ways } else { format!("{ways} of {}", one.account_number) }
            }),
            lines: invoice
                .iter()
                .flat_map(|invoice| &invoice.lines)
                .map(|line| Line {
                    description: line.description.clone(),
                    charged_on: reader.date(line.charged_on),
                    total: reader.money(line.total),
                })
                .collect(),
            total: invoice.map(|invoice| reader.money(invoice.total)),
            children,
            more_children,
            blockers: overview.blockers.iter().map(|one| words::capital(one)).collect(),
            warnings: overview.warnings.iter().map(|one| words::capital(one)).collect(),
            filled,
            zone: zone.name(),
            means,
            errors,
            digest: overview.digest,
            form_key: visitor.form_key()?,
            key_field: KEY_FIELD,
        })
    }
}

pub async fn window(State(console): State<Shared>, visitor: Visitor, Path(number): Path<String>) -> Answer<Response> {
    let facts = console.store.overview_facts(&accounts::number_of(&number)?).await.map_err(words::problem)?;
    show(facts, Filled::default(), Errors::default(), &visitor)
}

fn show(facts: OverviewFacts, filled: Filled, errors: Errors, visitor: &Visitor) -> Answer<Response> {
    let (title, is_refused) = (format!("Disconnect account {}", facts.account.number), errors.any());
    let moved = !errors.changes.is_empty();
    let view = visitor.view(&title, &WindowPart::of(facts, filled, errors, visitor)?)?;
    let status = match (is_refused, moved) {
        (false, _) => StatusCode::OK,
        (true, false) => StatusCode::UNPROCESSABLE_ENTITY,
        (true, true) => StatusCode::CONFLICT,
    };
    Ok((status, view).into_response())
}

pub async fn confirm(
    State(console): State<Shared>,
    visitor: Visitor,
    place: Place,
    Path(number): Path<String>,
    Ours(form): Ours,
) -> Answer<Response> {
    let account = accounts::number_of(&number)?;
    let facts = console.store.overview_facts(&account).await.map_err(words::problem)?;
    let filled = Filled::of(&form);
    // Whatever is shown again has a new digest, so what is new in it is said.
    let moved = form.get("digest").and_then(|digest| check_digest(digest, &facts).err());
    let (when, zone, reason) = (filled.when(), filled.zone(), filled.reason());
    let asked = filled.asked_about(&account, &facts.snapshot.family);
    let choices = filled.dispositions(&asked);
    let errors = Errors {
        date: when.as_ref().err().cloned(),
        zone: zone.as_ref().err().cloned(),
        reason: reason.as_ref().err().cloned(),
        children: choices.as_ref().err().cloned(),
        ..Errors::default()
    };
    let (Ok(when), Ok(zone), Ok(reason), Ok(children)) = (when, zone, reason, choices) else {
        return show(facts, filled, errors.with_changes(moved), &visitor);
    };
    if form.get("step") == Some("show") {
        return show(facts, filled, errors.with_changes(moved), &visitor);
    }
    let Some(digest) = form.get("digest") else {
        let detail = "The form does not say what it showed, so nothing was done. Load the page again.";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail));
    };
    let request = DisconnectRequest {
        account: account.clone(),
        when,
        zone,
        late: filled.late,
        reason,
        by: visitor.actor(),
        failures_max: console.failures_max,
        digest: Some(digest.to_owned()),
        children,
    };
    let store = console.store.clone();
    let event = match gate::to_the_end(async move { store.request(&request).await }).await? {
        Ok(Requested::Created(event) | Requested::BroughtForward(event) | Requested::UnderWay(event)) => Some(event),
        Ok(Requested::AlreadyDisconnected { event, .. }) => event,
        Err(StoreError::Refused(refusal)) => {
            let facts = console.store.overview_facts(&account).await.map_err(words::problem)?;
            return show(facts, filled, Errors::of(&refusal), &visitor);
        }
        Err(error) => return Err(words::problem(error)),
    };
    if let (When::Now, Some(event)) = (when, event) {
        // Whoever waits holds up nobody.
        place.leave();
        until_ended(&console, event).await;
    }
    let done = event.map(|event| format!("?done={event}")).unwrap_or_default();
    let to = format!("{}{done}", accounts::path_of(&account));
    Ok(visitor.leads_to(&to))
}

/// Waits for an outcome as long as somebody does. What is not there by then, the account's page says.
async fn until_ended(console: &Console, event: EventId) {
    let deadline = Instant::now() + OUTCOME_MAX;
    while Instant::now() < deadline {
        if matches!(console.store.event(event).await, Ok(event) if !event.state.is_open()) {
            return;
        }
        tokio::time::sleep(OUTCOME_PAUSE).await;
    }
}
