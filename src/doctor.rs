//! What is wrong with this configuration, database, broker or data: looked at for `doctor`, on any face.

pub mod probes;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::store::{EventCounts, EventFilter, OpenCounts, Page, ServerSeen, Store, StoreResult};

/// What was found.
#[derive(Debug, Serialize, ToSchema)]
pub struct Diagnosis {
    /// Nothing is wrong. There may be warnings.
    pub ok: bool,
    pub checks: Vec<Check>,
    /// Who runs events at this moment. Empty also where the database could not be asked.
    pub servers: Vec<ServerSeen>,
    /// Missing where the database could not be asked.
    pub events: Option<EventCounts>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Check {
    pub name: &'static str,
    pub finding: Finding,
    /// A sentence for people.
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    Ok,
    /// Worth knowing.
    Warning,
    Wrong,
}

/// Something that is looked at besides the database: the configuration, the broker.
#[async_trait]
pub trait Probe: Send + Sync {
    fn name(&self) -> &'static str;

    /// Whether there is nothing to find out while the database is away.
    fn needs_database(&self) -> bool {
        false
    }

    /// # Errors
    /// A sentence that says what is wrong and what to do.
    async fn look(&self) -> Result<String, String>;
}

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What is answered at once.
    Glance,
    /// All of the data as well, which takes its time.
    All,
}

/// So many events of a state are counted at a glance, which takes a millisecond. Of more it is known that there are more.
pub const COUNTED_AT_A_GLANCE: u32 = 1_000;

impl Depth {
    fn count_max(self) -> Option<u32> {
        (self == Self::Glance).then_some(COUNTED_AT_A_GLANCE + 1)
    }

    /// Whether there are more of a state than were counted.
    #[must_use]
    pub fn is_cut(self, count: i64) -> bool {
        self.count_max().is_some_and(|max| count >= i64::from(max))
    }
}

/// How long one look may take, so that the doctor answers also where a server does not. What it reads of the data may
/// take its time: a big database is no failure.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// Looks at everything, or at what is seen at a glance.
pub async fn diagnose(store: &dyn Store, probes: &[Arc<dyn Probe>], depth: Depth) -> Diagnosis {
    let mut diagnosis = Diagnosis { ok: true, checks: Vec::new(), servers: Vec::new(), events: None };
    let database = within(LOOK_MAX, "the database", told(store.ping(), |()| "answers".into())).await;
    for probe in probes {
        let name = probe.name();
        if database.is_err() && probe.needs_database() {
            diagnosis.put(name, Finding::Warning, "not looked at: it needs the database, which is away");
        } else {
            diagnosis.add(name, within(LOOK_MAX, &format!("the {name}"), probe.look()).await);
        }
    }
    if diagnosis.add("database", database) {
        let schema = told(store.check_schema(), |()| "is up to date".into());
        if diagnosis.add("schema", within(LOOK_MAX, "the database", schema).await)
            && let Err(error) = examine(store, &mut diagnosis, depth).await
        {
            diagnosis.add("database", Err(error.to_string()));
        }
    }
    diagnosis
}

async fn examine(store: &dyn Store, diagnosis: &mut Diagnosis, depth: Depth) -> StoreResult<()> {
    let installation = store.installation().await?;
    let demo = if installation.is_demo { ", the sample provider's" } else { "" };
    diagnosis.add("installation", Ok(format!("{}{demo}", installation.id)));

    let (settings, statuses) = (store.settings().await?, store.statuses().await?);
    let target = settings.target(&statuses);
    diagnosis.add(
        "settings",
        target.map(|status| format!("a disconnect leads to {}", status.name)).map_err(|refusal| refusal.to_string()),
    );

    if !store.has_search_indexes().await? {
        diagnosis.put("search", Finding::Warning, SLOW_SEARCH);
    }

    let counts = store.event_counts(depth.count_max()).await?;
    diagnosis.servers = store.servers().await?;
    if diagnosis.servers.is_empty() {
        diagnosis.put("serving", unserved(&counts.open), "nobody serves this database; `disconnectd serve` does");
    } else {
        diagnosis.add("serving", Ok(serving(&diagnosis.servers)));
    }
    let (finding, message) = backlog(&counts.open, depth);
    diagnosis.put("events", finding, message);
    diagnosis.events = Some(counts);

    let (finding, message) = families(store).await?;
    diagnosis.put("families", finding, message);

    if depth == Depth::Glance {
        return Ok(());
    }
    let wrongs = store.inspect().await?;
    if wrongs.is_empty() {
        diagnosis.add("data", Ok("nothing that should not be".into()));
    }
    for wrong in wrongs {
        diagnosis.add("data", Err(wrong));
    }
    Ok(())
}

/// Each is named; on PostgreSQL there may be any number.
fn serving(servers: &[ServerSeen]) -> String {
    let named: Vec<_> = servers.iter().map(|server| format!("{} ({})", server.process, server.roles)).collect();
    format!("by {}", named.join("; "))
}

/// With nothing to do, nobody is missed.
fn unserved(counts: &OpenCounts) -> Finding {
    if counts.scheduled + counts.queued > 0 { Finding::Warning } else { Finding::Ok }
}

const SLOW_SEARCH: &str = "a search reads all accounts: the extension pg_trgm could not be used when the database was \
                           migrated; README, \"At scale\", has what makes it quick";

/// An event that is overdue for longer than this is worth knowing: a scheduler takes it within moments.
const LAG_MAX_S: f64 = 60.0;

/// And one that is due for longer than this is taken again and again, or put off, and not done.
const DUE_MAX_S: f64 = 600.0;

fn backlog(counts: &OpenCounts, depth: Depth) -> (Finding, String) {
    let OpenCounts { scheduled, queued, failed, overdue, lag_seconds, oldest_due_seconds, .. } = counts;
    let of = |count: i64| {
        if depth.is_cut(count) { format!("more than {COUNTED_AT_A_GLANCE}") } else { count.to_string() }
    };
    let mut message = format!("{} scheduled, {} queued, {} failed", of(*scheduled), of(*queued), of(*failed));
    let mut finding = Finding::Ok;
    if *failed > 0 {
        finding = Finding::Warning;
        message.push_str("; `disconnectd events list --state failed` shows why");
    }
    if *overdue > 0 && *lag_seconds > LAG_MAX_S {
        let overdue = of(*overdue);
        finding = Finding::Warning;
        let _ = write!(message, "; {overdue} overdue, the oldest for {}", span(*lag_seconds)); // a String takes everything
    }
    if *oldest_due_seconds > DUE_MAX_S {
        finding = Finding::Warning;
        let late = span(*oldest_due_seconds);
        let _ = write!(message, "; one came due {late} ago and is not done: `disconnectd events list --coming`");
    }
    (finding, message)
}

/// A duration for people, in its two biggest units: `3 d 4 h`, `2 min 5 s`.
#[must_use]
pub fn span(seconds: f64) -> String {
    const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let whole = Duration::try_from_secs_f64(seconds.round()).map_or(0, |span| span.as_secs());
    let biggest = UNITS.iter().position(|(_, length)| whole >= *length).unwrap_or(UNITS.len() - 1);
    let mut rest = whole;
    let mut parts = Vec::new();
    for (unit, length) in UNITS.iter().skip(biggest).take(2) {
        let number = rest / length;
        rest %= length;
        if number > 0 || parts.is_empty() {
            parts.push(format!("{number} {unit}"));
        }
    }
    parts.join(" ")
}

/// How many events with something to decide are named.
const UNDECIDED_NAMED: u32 = 5;

/// How many questions of each are told; a building has hundreds of children.
const QUESTIONS_TOLD: usize = 3;

/// Whether somebody has to decide about children, since a family changed after its parent's disconnect was confirmed.
async fn families(store: &dyn Store) -> StoreResult<(Finding, String)> {
    let filter = EventFilter { to_decide: true, ..EventFilter::default() };
    let events = store.events(&filter, &Page { after: None, limit: UNDECIDED_NAMED }).await?;
    if events.items.is_empty() {
        return Ok((Finding::Ok, "nothing to decide about".into()));
    }
    let told: Vec<_> = events
        .items
        .iter()
        .map(|event| {
            let more = event.to_decide.len().saturating_sub(QUESTIONS_TOLD);
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            let told: Vec<_> = event.to_decide.iter().take(QUESTIONS_TOLD).map(String::as_str).collect();
            format!("event {}: {}{more}", event.id, told.join("; "))
        })
        .collect();
    let more = if events.next_cursor.is_some() { "; and more" } else { "" };
    let how = "`disconnectd events decide` does it, `disconnectd events list --to-decide` lists them";
    Ok((Finding::Warning, format!("{}{more}; {how}", told.join("; "))))
}

async fn told<T>(
    looking: impl Future<Output = StoreResult<T>>,
    well: impl FnOnce(T) -> String,
) -> Result<String, String> {
    looking.await.map(well).map_err(|error| error.to_string())
}

async fn within(
    limit: Duration,
    what: &str,
    looking: impl Future<Output = Result<String, String>>,
) -> Result<String, String> {
    timeout(limit, looking)
        .await
        .unwrap_or_else(|_| Err(format!("{what} does not answer within {} s; is it running?", limit.as_secs())))
}

impl Diagnosis {
    /// Answers whether it is well.
    fn add(&mut self, name: &'static str, looked: Result<String, String>) -> bool {
        match looked {
            Ok(message) => self.put(name, Finding::Ok, message),
            Err(message) => self.put(name, Finding::Wrong, message),
        }
    }

    fn put(&mut self, name: &'static str, finding: Finding, message: impl Into<String>) -> bool {
        let is_well = finding != Finding::Wrong;
        self.ok &= is_well;
        self.checks.push(Check { name, finding, message: message.into() });
        is_well
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_look_that_hangs_is_ended() {
        let hanging = std::future::pending::<StoreResult<()>>();
        let looked = within(Duration::ZERO, "the database", told(hanging, |()| String::new())).await;
        assert_eq!(looked.unwrap_err(), "the database does not answer within 0 s; is it running?");
    }

    #[test]
    fn what_is_late_or_failed_is_worth_knowing_and_not_wrong() {
        let counts = OpenCounts { failed: 1, overdue: 1, lag_seconds: 273_600.0, ..OpenCounts::default() };
        let (finding, message) = backlog(&counts, Depth::All);
        assert_eq!(finding, Finding::Warning);
        assert!(message.contains("the oldest for 3 d 4 h"), "{message}");
        assert_eq!(backlog(&OpenCounts::default(), Depth::All).0, Finding::Ok);
        let many = OpenCounts { scheduled: 1_001, queued: 1_000, ..OpenCounts::default() };
        assert_eq!(backlog(&many, Depth::All).1, "1001 scheduled, 1000 queued, 0 failed");
        assert_eq!(backlog(&many, Depth::Glance).1, "more than 1000 scheduled, 1000 queued, 0 failed");
    }

    #[test]
    fn durations_are_for_people() {
        for (seconds, text) in [
            (0.2, "0 s"),
            (59.6, "1 min"),
            (125.0, "2 min 5 s"),
            (7_200.0, "2 h"),
            (273_600.0, "3 d 4 h"),
            (217_511_523.0, "2517 d 11 h"),
            (-3.0, "0 s"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
