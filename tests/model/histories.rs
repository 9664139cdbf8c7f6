//! Both stores, driven by histories of chance, against the [`Row`]: after every step each event has to be what the row says,
//! and every answer what the row answers.

use disconnectd::domain::calendar::When;
use disconnectd::domain::event::{Attempt, Change, EventId, Order, Outcome, State};
use disconnectd::domain::refusal::Refusal;
use disconnectd::domain::request::DisconnectRequest;
use disconnectd::domain::retry::{FailedAttempt, Verdict};
use disconnectd::store::{Executed, Redispatch, Requested, StoreError};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::row::{FAILURES_MAX, Row};
use crate::support::both_engines;
use crate::support::database::TestDatabase;
use crate::support::rows::{account, debit};
use crate::support::scenario::{clerk, disconnect, event_of, request};

both_engines!(whatever_is_asked_in_whatever_order_the_store_does_as_the_model);

/// How many histories, each of up to [`STEPS_MAX`] steps.
const HISTORIES: u32 = 40;

const STEPS_MAX: usize = 25;

const ACCOUNTS: usize = 2;

/// How long a command that was refused may hold what it had locked.
const LETS_GO_MAX: Duration = Duration::from_secs(2);

/// A history that goes wrong is made shorter so often; each try may take that long.
const SHRINKS_MAX: u32 = 16;

/// Nothing comes again by itself while a history runs.
const LATER: Redispatch = Redispatch { base: Duration::from_secs(3_600), max: Duration::from_secs(3_600) };

/// Whose account, event or order is meant by a number is found among those that are there.
#[derive(Debug, Clone)]
enum Step {
    Ask {
        account: Index,
        is_now: bool,
    },
    Cancel(Index),
    Reschedule {
        event: Index,
        is_due: bool,
    },
    Retry(Index),
    /// Its time comes.
    Ripen(Index),
    Claim,
    ClaimOne(Index),
    Release(Index),
    /// Old orders come again too, and some twice at once.
    Run(Vec<Index>),
    Fail(Index),
    Suspect(Index),
}

fn step() -> impl Strategy<Value = Step> {
    let at = any::<Index>;
    prop_oneof![
        4 => (at(), any::<bool>()).prop_map(|(account, is_now)| Step::Ask { account, is_now }),
        1 => at().prop_map(Step::Cancel),
        1 => (at(), any::<bool>()).prop_map(|(event, is_due)| Step::Reschedule { event, is_due }),
        1 => at().prop_map(Step::Retry),
        3 => at().prop_map(Step::Ripen),
        4 => Just(Step::Claim),
        1 => at().prop_map(Step::ClaimOne),
        1 => at().prop_map(Step::Release),
        3 => proptest::collection::vec(at(), 1..4).prop_map(Step::Run),
        3 => at().prop_map(Step::Fail),
        1 => at().prop_map(Step::Suspect),
    ]
}

/// An account, and what its events have to be.
struct Modelled {
    number: String,
    is_disconnected: bool,
    events: Vec<(EventId, Row)>,
}

struct History<'a> {
    db: &'a TestDatabase,
    accounts: Vec<Modelled>,
    /// All that were ever claimed, in their order.
    orders: Vec<Order>,
}

type Checked = Result<(), String>;

#[expect(clippy::needless_pass_by_value, reason = "what is compared was made for it")]
fn same<T: PartialEq + std::fmt::Debug>(what: &str, store: T, model: T) -> Checked {
    if store == model { Ok(()) } else { Err(format!("{what}: the store has {store:?}, the model {model:?}")) }
}

/// What the two have in common to be compared: done, or refused by the rule of this name.
fn answer<T>(answer: Result<T, StoreError>) -> Result<&'static str, String> {
    match answer {
        Ok(_) => Ok("done"),
        Err(StoreError::Refused(refusal)) => Ok(refusal.code()),
        Err(error) => Err(error.to_string()),
    }
}

impl<'a> History<'a> {
    async fn begin(db: &'a TestDatabase, of: u32) -> Self {
        let accounts: Vec<_> = (0..ACCOUNTS)
            .map(|n| Modelled { number: format!("H-{of}-{n}"), is_disconnected: false, events: Vec::new() })
            .collect();
        db.accounts(accounts.iter().map(|one| account(&one.number).address(&format!("{} Elm Street", one.number))))
            .await;
        db.debits(accounts.iter().map(|one| debit(&one.number, "november", "10.00"))).await;
        Self { db, accounts, orders: Vec::new() }
    }

    fn events(&mut self) -> Vec<(usize, usize)> {
        let of = |(n, one): (usize, &Modelled)| (0..one.events.len()).map(move |event| (n, event)).collect::<Vec<_>>();
        self.accounts.iter().enumerate().flat_map(of).collect()
    }

    /// The event that is meant; none, where there is none yet.
    fn event(&mut self, at: Index) -> Option<(&mut Modelled, usize)> {
        let events = self.events();
        let (account, event) = *(!events.is_empty()).then(|| at.get(&events))?;
        Some((&mut self.accounts[account], event))
    }

    fn row(&mut self, id: EventId) -> Option<(&mut Row, &mut bool)> {
        self.accounts.iter_mut().find_map(|one| {
            let (_, row) = one.events.iter_mut().find(|(event, _)| *event == id)?;
            Some((row, &mut one.is_disconnected))
        })
    }

    async fn takes(&mut self, step: &Step) -> Checked {
        match step {
            Step::Ask { account, is_now } => self.asks(account.index(ACCOUNTS), *is_now).await?,
            Step::Cancel(at) => {
                self.changes(*at, &Change::CANCEL, |_, row| row.cancel().then_some(()).ok_or("event_ended")).await?;
            }
            Step::Reschedule { event, is_due } => {
                let when = When::parse(if *is_due { "2020-01-01" } else { "2126-12-01" })?;
                let change = Change::Reschedule { when, zone: None, late: true, children: None };
                self.changes(*event, &change, |_, row| row.reschedule(*is_due).then_some(()).ok_or("event_ended"))
                    .await?;
            }
            Step::Retry(at) => {
                let retries = |is_other_open: bool, row: &mut Row| match row.state {
                    State::Failed if is_other_open => Err("other_open_event"),
                    _ => row.retry().then_some(()).ok_or("event_not_failed"),
                };
                self.changes(*at, &Change::Retry, retries).await?;
            }
            Step::Ripen(at) => self.ripens(*at).await,
            Step::Claim => self.claims().await?,
            Step::ClaimOne(at) => self.claims_one(*at).await?,
            Step::Release(at) => {
                if let Some(order) = self.order(*at) {
                    self.db.store.release(&[order], LATER.base).await.map_err(|error| error.to_string())?;
                    self.row(order.event_id).expect("it is one of these").0.release(attempt(order));
                }
            }
            Step::Run(which) => self.runs(which).await?,
            Step::Fail(at) => self.fails(*at).await?,
            Step::Suspect(at) => {
                if let Some((modelled, event)) = self.event(*at) {
                    let (id, row) = &mut modelled.events[event];
                    let (id, expected) = (*id, row.suspect());
                    let told = self.db.store.record_suspect(id, "it may have killed its worker").await;
                    let told = told.map_err(|error| error.to_string())?;
                    same("suspect", told.map(|attempt| attempt.0), expected.map(i32::from))?;
                }
            }
        }
        self.is_as_modelled().await
    }

    async fn asks(&mut self, account: usize, is_now: bool) -> Checked {
        let modelled = &mut self.accounts[account];
        let when = if is_now { "now" } else { "2126-12-01" };
        let asked = DisconnectRequest { failures_max: FAILURES_MAX.into(), ..request(&modelled.number, when) };
        let told = self.db.store.request(&asked).await;
        let open = modelled.events.iter_mut().find(|(_, row)| row.state.is_open());
        let expected = match open {
            _ if modelled.is_disconnected => "already_disconnected",
            Some((_, row)) if is_now => {
                if row.bring_forward() {
                    "brought_forward"
                } else {
                    "under_way"
                }
            }
            Some(_) => "open_event",
            None => "created",
        };
        let told = match told {
            Ok(Requested::Created(id)) => {
                modelled.events.push((id, Row::new(is_now)));
                "created"
            }
            Ok(Requested::BroughtForward(_)) => "brought_forward",
            Ok(Requested::UnderWay(_)) => "under_way",
            Ok(Requested::AlreadyDisconnected { .. }) => "already_disconnected",
            Err(StoreError::Refused(Refusal::OpenEvent { .. })) => "open_event",
            Err(error) => return Err(error.to_string()),
        };
        same("request", told, expected)
    }

    async fn changes(
        &mut self,
        at: Index,
        change: &Change,
        model: impl FnOnce(bool, &mut Row) -> Result<(), &'static str>,
    ) -> Checked {
        let db = self.db;
        let Some((modelled, event)) = self.event(at) else { return Ok(()) };
        let is_other_open = modelled.events.iter().enumerate().any(|(n, (_, row))| n != event && row.state.is_open());
        let (id, row) = &mut modelled.events[event];
        let told = answer(db.store.change(*id, change, &clerk(), None).await)?;
        same("change", told, model(is_other_open, row).err().unwrap_or("done"))
    }

    async fn ripens(&mut self, at: Index) {
        let db = self.db;
        let Some((modelled, event)) = self.event(at) else { return };
        let (id, row) = &mut modelled.events[event];
        if row.state.is_open() {
            row.ripen();
            let now = db.instant(-1);
            let sql = "update disconnect_events set next_at =";
            let due = format!("due_at = case when due_at > {now} then {now} else due_at end");
            assert_eq!(db.sql(&format!("{sql} {now}, {due} where id = {id}")).await, 1);
        }
    }

    async fn claims(&mut self) -> Checked {
        let rows = self.accounts.iter_mut().flat_map(|one| one.events.iter_mut());
        let mut expected: Vec<_> = rows.filter_map(|(id, row)| Some(order(*id, row.claim()?))).collect();
        expected.sort_unstable();
        // What is locked is passed over, and a command that was refused lets go of it a moment after its answer.
        let deadline = Instant::now() + LETS_GO_MAX;
        let mut claimed = Vec::new();
        loop {
            let more = self.db.store.claim(10_000, LATER).await.map_err(|error| error.to_string())?;
            // Those of other histories are claimed as well.
            claimed.extend(more.into_iter().filter(|order| self.row(order.event_id).is_some()));
            if claimed.len() >= expected.len() || Instant::now() > deadline {
                break;
            }
        }
        claimed.sort_unstable();
        self.orders.extend(&claimed);
        same("claim", claimed, expected)
    }

    async fn claims_one(&mut self, at: Index) -> Checked {
        let db = self.db;
        let Some((modelled, event)) = self.event(at) else { return Ok(()) };
        let (id, row) = &mut modelled.events[event];
        let claimed = db.store.claim_one(*id, LATER).await.map_err(|error| error.to_string())?;
        let expected = row.claim().map(|attempt| order(*id, attempt));
        self.orders.extend(claimed);
        same("claim one", claimed, expected)
    }

    fn order(&self, at: Index) -> Option<Order> {
        (!self.orders.is_empty()).then(|| *at.get(&self.orders))
    }

    async fn runs(&mut self, which: &[Index]) -> Checked {
        let orders: Vec<_> = which.iter().filter_map(|at| self.order(*at)).collect();
        if orders.is_empty() {
            return Ok(());
        }
        let mut expected: Vec<_> = orders.iter().map(|order| order.event_id).collect();
        expected.sort_unstable();
        expected.dedup();
        let told = disconnect(&*self.db.store, &orders).await.map_err(|error| error.to_string())?;
        let told: Vec<_> = told.iter().map(|executed| (event_of(executed), ended(executed))).collect();
        let expected: Vec<_> = expected.into_iter().map(|id| (id, self.runs_one(id))).collect();
        same("disconnect", told, expected)
    }

    fn runs_one(&mut self, id: EventId) -> Option<Outcome> {
        let (row, is_disconnected) = self.row(id).expect("it is one of these");
        row.complete().then(|| {
            let before = std::mem::replace(is_disconnected, true);
            if before { Outcome::AlreadyDisconnected } else { Outcome::Disconnected }
        })
    }

    async fn fails(&mut self, at: Index) -> Checked {
        let Some(order) = self.order(at) else { return Ok(()) };
        let row = self.row(order.event_id).expect("it is one of these").0;
        let failures = row.failures;
        let expected = row.fail(attempt(order));
        let failed = FailedAttempt {
            event_id: order.event_id,
            attempt: order.attempt,
            failures: failures.into(),
            failures_max: FAILURES_MAX.into(),
            error: "of chance".into(),
        };
        let gives_up = failures + 1 >= FAILURES_MAX;
        let verdict = if gives_up { Verdict::GiveUp } else { Verdict::RetryAfter(LATER.base) };
        let written = self.db.store.record_failures(&[(failed, verdict)]).await.map_err(|error| error.to_string())?;
        same("failure", !written.is_empty(), expected)
    }

    async fn is_as_modelled(&self) -> Checked {
        for modelled in &self.accounts {
            for (id, row) in &modelled.events {
                let event = self.db.event(*id).await;
                same(
                    &format!("event {id}"),
                    (event.state, event.attempt.0, event.failures),
                    (row.state, row.attempt.into(), row.failures.into()),
                )?;
            }
            let account = self.db.account(&modelled.number).await;
            same(&modelled.number, account.disconnected_at.is_some(), modelled.is_disconnected)?;
        }
        Ok(())
    }
}

fn order(event_id: EventId, attempt: u8) -> Order {
    Order { event_id, attempt: Attempt(attempt.into()), trace: None }
}

fn attempt(order: Order) -> u8 {
    u8::try_from(order.attempt.0).expect("a history is short")
}

fn ended(executed: &Executed) -> Option<Outcome> {
    match executed {
        Executed::Completed { outcome, .. } => Some(*outcome),
        Executed::Stale { .. } => None,
        Executed::Failed(failed) => panic!("nothing here fails by itself: {failed:?}"),
    }
}

async fn whatever_is_asked_in_whatever_order_the_store_does_as_the_model(db: &TestDatabase) {
    let config =
        Config { cases: HISTORIES, failure_persistence: None, max_shrink_iters: SHRINKS_MAX, ..Config::default() };
    let begun = std::cell::Cell::new(0);
    let tried = block_in_place(|| {
        TestRunner::new(config).run(&proptest::collection::vec(step(), 1..=STEPS_MAX), |steps| {
            begun.set(begun.get() + 1);
            Handle::current().block_on(async {
                let mut history = History::begin(db, begun.get()).await;
                for (n, step) in steps.iter().enumerate() {
                    history.takes(step).await.map_err(|wrong| TestCaseError::fail(format!("step {n}: {wrong}")))?;
                }
                Ok(())
            })
        })
    });
    if let Err(wrong) = tried {
        panic!("{wrong}");
    }
}
