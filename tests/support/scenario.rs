//! The steps that tests are told in: import, ask, claim, disconnect, look.

use std::time::Duration;

use chrono::TimeDelta;
use disconnectd::domain::account::{AccountView, LogEntry, LogKind};
use disconnectd::domain::actor::{Actor, Source};
use disconnectd::domain::calendar::When;
use disconnectd::domain::dispositions::{Choice, Dispositions};
use disconnectd::domain::event::{Change, EventId, EventView, Order, Outcome, State};
use disconnectd::domain::import::ImportReport;
use disconnectd::domain::plan::plan_disconnect;
use disconnectd::domain::refusal::Refusal;
use disconnectd::domain::request::DisconnectRequest;
use disconnectd::store::{Executed, ImportOptions, Page, Redispatch, Requested, Store, StoreError, StoreResult};

use super::database::TestDatabase;
use super::rows::{Account, Debit, file, number};

pub const REDISPATCH: Redispatch = Redispatch { base: Duration::from_secs(10), max: Duration::from_secs(300) };

/// How many failures the events of these tests may have.
pub const FAILURES_MAX: i32 = 3;

pub fn clerk() -> Actor {
    Actor::new("clerk", Source::Cli)
}

pub fn import_options(dry_run: bool) -> ImportOptions<'static> {
    ImportOptions { dry_run, by: Actor::new("clerk", Source::Import), progress: &|_| {} }
}

/// `when` as a person writes it. Children are kept, if there are any.
pub fn request(account: &str, when: &str) -> DisconnectRequest {
    DisconnectRequest {
        account: number(account),
        when: When::parse(when).unwrap(),
        zone: None,
        late: false,
        reason: Some("moved away".into()),
        by: clerk(),
        failures_max: FAILURES_MAX,
        digest: None,
        children: Dispositions::all(Choice::Keep),
        trace: None,
    }
}

/// To the date that a person writes.
pub fn reschedule(when: &str, late: bool) -> Change {
    Change::Reschedule { when: When::parse(when).unwrap(), zone: None, late, children: None }
}

/// To that long from now, or ago.
pub async fn reschedule_by(store: &dyn Store, from_now: TimeDelta, late: bool) -> Change {
    let at = store.now().await.unwrap() + from_now;
    Change::Reschedule { when: When::Instant(at.fixed_offset()), zone: None, late, children: None }
}

/// The refusal that a verb must have answered.
#[track_caller]
pub fn refusal<T: std::fmt::Debug>(answer: StoreResult<T>) -> Refusal {
    match answer {
        Err(StoreError::Refused(refusal)) => refusal,
        other => panic!("this is no refusal: {other:?}"),
    }
}

/// The sentence of an error that a person has to act on.
#[track_caller]
pub fn unusable<T: std::fmt::Debug>(answer: StoreResult<T>) -> String {
    match answer {
        Err(StoreError::Unusable(sentence)) => sentence,
        other => panic!("this should not be usable: {other:?}"),
    }
}

pub fn event_of(executed: &Executed) -> EventId {
    match executed {
        Executed::Completed { event_id, .. } | Executed::Stale { event_id } => *event_id,
        Executed::Failed(failed) => failed.event_id,
    }
}

/// How an order ended, without the particulars.
pub fn outcome_of(executed: &Executed) -> Option<Outcome> {
    match executed {
        Executed::Completed { outcome, .. } => Some(*outcome),
        Executed::Stale { .. } | Executed::Failed(_) => None,
    }
}

/// Runs orders as a worker does. Sorted by event.
pub async fn disconnect(store: &dyn Store, orders: &[Order]) -> StoreResult<Vec<Executed>> {
    let mut executed = store.disconnect(orders, &plan_disconnect).await?;
    executed.sort_by_key(event_of);
    Ok(executed)
}

impl TestDatabase {
    pub async fn import_accounts(&self, rows: impl IntoIterator<Item = Account>) -> ImportReport {
        self.store.import_accounts(file(rows), import_options(false)).await.unwrap()
    }

    pub async fn import_debits(&self, rows: impl IntoIterator<Item = Debit>) -> ImportReport {
        self.store.import_debits(file(rows), import_options(false)).await.unwrap()
    }

    /// Imports what must go in.
    pub async fn accounts(&self, rows: impl IntoIterator<Item = Account>) {
        let report = self.import_accounts(rows).await;
        assert!(report.applied, "{report:?}");
    }

    /// Imports what must go in.
    pub async fn debits(&self, rows: impl IntoIterator<Item = Debit>) {
        let report = self.import_debits(rows).await;
        assert!(report.applied, "{report:?}");
    }

    /// An event for some day next century.
    pub async fn scheduled(&self, account: &str) -> EventId {
        self.created(account, "2126-12-01").await
    }

    /// An event that is due now.
    pub async fn due(&self, account: &str) -> EventId {
        self.created(account, "now").await
    }

    async fn created(&self, account: &str, when: &str) -> EventId {
        match self.store.request(&request(account, when)).await.unwrap() {
            Requested::Created(event) => event,
            other => panic!("{account}: {other:?}"),
        }
    }

    /// An event that was claimed: as a worker gets it.
    pub async fn queued(&self, account: &str) -> Order {
        let event = self.due(account).await;
        self.store.claim_one(event, REDISPATCH).await.unwrap().expect("it is due")
    }

    /// From asking to the end.
    pub async fn disconnected(&self, account: &str) -> EventId {
        let order = self.queued(account).await;
        let executed = self.disconnect(&[order]).await;
        assert_eq!(outcome_of(&executed[0]), Some(Outcome::Disconnected), "{executed:?}");
        order.event_id
    }

    pub async fn claim(&self, limit: u32) -> Vec<Order> {
        self.store.claim(limit, REDISPATCH).await.unwrap()
    }

    pub async fn disconnect(&self, orders: &[Order]) -> Vec<Executed> {
        disconnect(&*self.store, orders).await.unwrap()
    }

    pub async fn account(&self, account: &str) -> AccountView {
        self.store.account(&number(account)).await.unwrap()
    }

    pub async fn event(&self, event: EventId) -> EventView {
        self.store.event(event).await.unwrap()
    }

    pub async fn state(&self, event: EventId) -> State {
        self.event(event).await.state
    }

    pub async fn log(&self, account: &str) -> Vec<LogEntry> {
        let page = Page { after: None, limit: 1_000 };
        self.store.log(&number(account), &page).await.unwrap().items
    }

    /// What the log says of an account, in order.
    pub async fn logged(&self, account: &str) -> Vec<LogKind> {
        self.log(account).await.into_iter().map(|entry| entry.kind).collect()
    }

    /// Lets time pass for one event: its `next_at` was that many seconds ago.
    pub async fn make_overdue(&self, event: EventId, seconds: i64) {
        let at = self.instant(-seconds);
        assert_eq!(self.sql(&format!("update disconnect_events set next_at = {at} where id = {event}")).await, 1);
    }
}
