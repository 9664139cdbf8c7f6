//! How the installation is: who serves, what waits, what is wrong. Below it are its settings, tokens and users.

pub mod settings;
pub mod tokens;
pub mod users;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::gate::Visitor;
use super::reader::{Moment, Reader};
use super::{Console, Shared};
use crate::api::problem::Answer;
use crate::doctor::probes::QUEUE_WAIT;
use crate::doctor::{self, Check, Finding};
use crate::domain::token::Role;
use crate::queue::Depth;
use crate::store::{EventCounts, ServerSeen};

#[derive(Template)]
#[template(path = "system.html")]
struct SystemPart {
    is_admin: bool,
    tab: &'static str,
    /// In a sentence.
    verdict: &'static str,
    is_well: bool,
    is_whole: bool,
    zone: &'static str,
    numbers: Vec<Number>,
    servers: Vec<ServerRow>,
    checks: Vec<Check>,
}

/// How many there are of something, and where to look at them.
struct Number {
    name: &'static str,
    shown: String,
    path: Option<&'static str>,
}

struct ServerRow {
    process: String,
    roles: String,
    since: Option<Moment>,
}

/// What waits and what failed. The broker's part is missing where it can't be asked.
fn numbers(events: &EventCounts, looked: doctor::Depth, depth: Option<Depth>, reader: Reader) -> Vec<Number> {
    let count = |count: i64| {
        if looked.is_cut(count) {
            format!("more than {}", reader.count(doctor::COUNTED_AT_A_GLANCE.into()))
        } else {
            reader.count(count)
        }
    };
    let of = |name, events: i64, path| Number { name, shown: count(events), path: Some(path) };
    let mut numbers = vec![
        of("Scheduled", events.open.scheduled, "/events?state=scheduled"),
        of("Queued", events.open.queued, "/events?state=queued"),
        of("Failed", events.open.failed, "/events?state=failed"),
        of("Completed", events.completed, "/events?state=completed"),
        of("Cancelled", events.cancelled, "/events?state=cancelled"),
    ];
    let lag = match events.open.overdue {
        0 => "none".into(),
        overdue => format!("{}, the oldest for {}", count(overdue), doctor::span(events.open.lag_seconds)),
    };
    numbers.push(Number { name: "Overdue", shown: lag, path: None });
    if let Some(Depth { single, campaign, dead }) = depth {
        let count = |n: u64| reader.count(i64::try_from(n).unwrap_or(i64::MAX));
        let dead = if dead > 0 { format!(", {} can't be read", count(dead)) } else { String::new() };
        let shown = format!("{} single, {} of campaigns{dead}", count(single), count(campaign));
        numbers.push(Number { name: "Wait in the queue", shown, path: None });
    }
    numbers
}

async fn depth(console: &Console) -> Option<Depth> {
    let depth = tokio::time::timeout(QUEUE_WAIT, console.queue.depth()).await.ok()?.ok()?;
    Some(*depth)
}

impl SystemPart {
    fn verdict(checks: &[Check]) -> (bool, &'static str) {
        let worst = |finding| checks.iter().any(|check| check.finding == finding);
        if worst(Finding::Wrong) {
            (false, "Something is wrong: see below what, and what to do.")
        } else if worst(Finding::Warning) {
            (false, "It works. There is something to know: see below.")
        } else {
            (true, "All is well.")
        }
    }
}

#[derive(Deserialize)]
pub struct SystemAsked {
    data: Option<String>,
}

/// At a glance; all of the data is read only where that is asked for.
pub async fn show(
    State(console): State<Shared>,
    visitor: Visitor,
    Query(asked): Query<SystemAsked>,
) -> Answer<Response> {
    let is_whole = asked.data.is_some();
    let looked = if is_whole { doctor::Depth::All } else { doctor::Depth::Glance };
    let (diagnosis, depth) = {
        let _alone = is_whole.then(|| console.examining.begin()).transpose()?;
        tokio::join!(doctor::diagnose(&*console.store, &console.probes, looked), depth(&console))
    };
    let (is_well, verdict) = SystemPart::verdict(&diagnosis.checks);
    let is_admin = visitor.may(Role::Admin);
    let (reader, zone) = (visitor.asked.reader, console.store.settings().await?.company_zone);
    let server = |server: ServerSeen| ServerRow {
        process: server.process,
        roles: server.roles,
        since: server.since.map(|since| reader.moment(since, zone)),
    };
    let part = SystemPart {
        is_admin,
        tab: "health",
        verdict,
        is_well,
        is_whole,
        zone: zone.name(),
        numbers: diagnosis.events.map(|events| numbers(&events, looked, depth, reader)).unwrap_or_default(),
        servers: diagnosis.servers.into_iter().map(server).collect(),
        checks: diagnosis.checks,
    };
    visitor.view("System", &part)
}
