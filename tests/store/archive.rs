//! The archive: what ended some time ago moves there, nothing else does, and nobody who looks can tell.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use disconnectd::domain::account::AccountFilter;
use disconnectd::domain::campaign::Command;
use disconnectd::domain::campaign::report::MemberOutcome;
use disconnectd::domain::dispositions::{Choice, Disposition, Dispositions};
use disconnectd::domain::event::{Along, Attempt, Change, EventId, Order, Outcome, State};
use disconnectd::domain::overview::Overview;
use disconnectd::domain::refusal::Refusal;
use disconnectd::domain::request::DisconnectRequest;
use disconnectd::domain::retry::Verdict;
use disconnectd::store::campaigns::CampaignFilter;
use disconnectd::store::{ARCHIVE_MAX, EventFilter, Executed, Page, Requested, Store};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support::campaigns::{filtered, numbered};
use crate::support::database::{Engine, TestDatabase};
use crate::support::rows::{account, debit, number};
use crate::support::scenario::{FAILURES_MAX, REDISPATCH, clerk, outcome_of, refusal, request, reschedule};
use crate::support::{SOON, both_engines, wait_until};

both_engines!(
    what_is_archived_is_shown_as_before,
    what_is_archived_is_refused_as_what_has_ended,
    families_are_asked_about_across_the_border,
    a_campaign_goes_on_without_its_events_that_were_archived,
    a_child_stays_where_its_parents_event_says_so_from_the_archive,
    who_was_disconnected_long_ago_is_not_disconnected_again,
);

/// Whatever has ended, however short ago.
const AT_ONCE: Duration = Duration::ZERO;

const DISCONNECT: Choice = Choice::Disconnect { on: None };

const MONTH: Duration = Duration::from_hours(30 * 24);

impl TestDatabase {
    async fn archive(&self, after: Duration) -> u64 {
        self.store.archive(after).await.unwrap()
    }

    /// Everything that may go; on SQLite nothing.
    async fn archive_all(&self) {
        let stays = "select count(*) from disconnect_events where state in ('completed', 'cancelled')";
        // Whatever was refused a moment ago may be rolling back still, and what it has locked is passed over.
        wait_until(SOON, "all that has ended is archived", async || {
            self.archive(AT_ONCE).await == 0 && (self.engine() == Engine::Sqlite || self.number(stays).await == 0)
        })
        .await;
    }

    /// As if it had ended that many days ago.
    async fn ended_days_ago(&self, events: &[EventId], days: i64) {
        let at = self.instant(-days * 24 * 60 * 60);
        for event in events {
            let sql =
                format!("update disconnect_events set ended_at = {at} where id = {event} and ended_at is not null");
            assert_eq!(self.sql(&sql).await, 1, "{event}");
        }
    }

    async fn archived(&self) -> Vec<EventId> {
        let ids = self.texts("select cast(e.id as text) from archived_disconnect_events e order by e.id").await;
        ids.iter().map(|id| EventId(id.parse().unwrap())).collect()
    }

    async fn cancelled(&self, account: &str) -> EventId {
        let event = self.scheduled(account).await;
        self.store.change(event, &Change::CANCEL, &clerk(), None).await.unwrap();
        event
    }

    async fn failed_event(&self, account: &str) -> EventId {
        let order = self.queued(account).await;
        self.fail_orders(&[order], Verdict::GiveUp).await;
        order.event_id
    }

    async fn list_into(&self, seen: &mut String, filter: &EventFilter) {
        writeln!(seen, "{filter:?}").unwrap();
        let mut page = Page { after: None, limit: 2 };
        loop {
            let found = self.store.events(filter, &page).await.unwrap();
            for event in &found.items {
                writeln!(seen, "  {event:?}").unwrap();
            }
            page.after = found.next_cursor;
            if page.after.is_none() {
                return;
            }
        }
    }

    /// All that anybody is shown of events, and of what hangs on them.
    async fn seen(&self) -> String {
        let mut seen = String::new();
        let none = EventFilter::default;
        let numbers = self.texts("select number from accounts order by number").await;
        let campaigns = self.store.campaigns(&CampaignFilter::default(), &Page::default()).await.unwrap().items;
        let mut filters =
            vec![none(), EventFilter { coming: true, ..none() }, EventFilter { to_decide: true, ..none() }];
        filters.extend(State::ALL.map(|state| EventFilter { state: Some(state), ..none() }));
        filters.extend(numbers.iter().map(|one| EventFilter { account: Some(number(one)), ..none() }));
        filters.extend(campaigns.iter().map(|one| EventFilter { campaign: Some(one.id), ..none() }));
        filters.push(EventFilter { search: Some("customer".into()), ..none() });
        let now = self.store.now().await.unwrap();
        filters.push(EventFilter { due_until: Some(now), ..none() });
        for filter in &filters {
            // The instant of the question itself is no part of the answer.
            let mut part = String::new();
            self.list_into(&mut part, filter).await;
            let part = if filter.due_until.is_some() { part.split_once('\n').unwrap().1.to_owned() } else { part };
            seen.push_str(&part);
        }
        for id in self.texts("select cast(id as text) from all_disconnect_events order by id").await {
            writeln!(seen, "{:?}", self.event(EventId(id.parse().unwrap())).await).unwrap();
        }
        writeln!(seen, "{:?}", self.store.accounts(&AccountFilter::default(), &Page::default()).await.unwrap())
            .unwrap();
        for one in &numbers {
            writeln!(seen, "{:?} {:?}", self.account(one).await, self.log(one).await).unwrap();
            let facts = self.store.overview_facts(&number(one)).await.unwrap();
            let now = facts.now;
            let overview = Overview::of(facts, now);
            writeln!(seen, "{} {:?} {:?}", overview.digest, overview.account, overview.blockers).unwrap();
            writeln!(seen, "{:?}", self.store.invoices(Some(&number(one)), &Page::default()).await.unwrap()).unwrap();
        }
        for campaign in &campaigns {
            let view = self.campaign(campaign.id).await;
            writeln!(seen, "{:?} {:?} {:?}", view.state, view.counts, view.totals).unwrap();
            writeln!(seen, "{:?}", self.report(campaign.id).await).unwrap();
            writeln!(seen, "{:?}", self.reconciliation(campaign.id).await).unwrap();
        }
        let day = |days: i64| now.date_naive().and_hms_opt(0, 0, 0).unwrap().and_utc() + chrono::TimeDelta::days(days);
        writeln!(seen, "{:?}", self.store.due_counts(&[day(-1), day(0), day(1), day(2)]).await.unwrap()).unwrap();
        let counts = self.store.event_counts(None).await.unwrap();
        writeln!(seen, "{} {} {}", counts.completed, counts.cancelled, counts.open.failed).unwrap();
        writeln!(seen, "{:?}", self.store.inspect().await.unwrap()).unwrap();
        seen
    }

    /// A family of which the parent and one child go, singles in every state, and a campaign that has ended. Answers the
    /// events that have.
    async fn lived_long(&self) -> Vec<EventId> {
        self.accounts([
            account("P").email("p@example.com"),
            account("C-1").parent("P").email("c1@example.com"),
            account("C-2").parent("P").email("c2@example.com"),
            account("G").parent("C-1").email("g@example.com"),
        ])
        .await;
        self.accounts(["gone", "twice", "failed", "later", "M-1", "M-2", "M-3", "M-4"].map(account)).await;
        self.debits([debit("P", "d", "10.00"), debit("gone", "d", "5.00"), debit("M-1", "d", "7.00")]).await;
        let mut children = Dispositions::all(Choice::Keep);
        children.each.insert(number("C-1"), DISCONNECT);
        self.store.request(&DisconnectRequest { children, ..request("P", "now") }).await.unwrap();
        let orders = self.claim(100).await;
        self.disconnect(&orders).await;
        let mut ended: Vec<EventId> = orders.iter().map(|order| order.event_id).collect();
        assert_eq!(ended.len(), 2);
        ended.push(self.disconnected("gone").await);
        ended.push(self.cancelled("twice").await);
        ended.push(self.cancelled("twice").await);
        self.failed_event("failed").await;
        self.scheduled("later").await;
        self.scheduled("twice").await;
        let campaign = self.started(numbered("M", 4)).await;
        let orders = self.claimed(500).await;
        self.store.change(orders[3].event_id, &Change::CANCEL, &clerk(), None).await.unwrap();
        self.fail_orders(&orders[2..3], Verdict::GiveUp).await;
        self.disconnect(&orders[..2]).await;
        self.run_campaigns().await;
        assert!(self.campaign_state(campaign).await.is_over());
        ended.extend([0, 1, 3].map(|n: usize| orders[n].event_id));
        ended
    }
}

async fn what_is_archived_is_shown_as_before(db: &TestDatabase) {
    let ended = db.lived_long().await;
    // Every other one, so that each list goes back and forth between the two tables.
    let old: Vec<EventId> = ended.iter().copied().step_by(2).collect();
    db.ended_days_ago(&old, 31).await;
    let before = db.seen().await;
    let moves = db.engine() == Engine::Postgres;
    assert_eq!(db.archive(MONTH).await, if moves { old.len() as u64 } else { 0 });
    assert_eq!(db.seen().await, before);
    db.archive_all().await;
    assert_eq!(db.seen().await, before);
    assert_eq!(db.count("all_disconnect_events").await, 12);
}

async fn what_is_archived_is_refused_as_what_has_ended(db: &TestDatabase) {
    let ended = db.lived_long().await;
    let asked = async || {
        let mut refusals = Vec::new();
        for event in &ended {
            for change in [Change::CANCEL, reschedule("2127-01-01", false), Change::Retry] {
                refusals.push(refusal(db.store.change(*event, &change, &clerk(), None).await).to_string());
            }
        }
        refusals
    };
    let before = asked().await;
    db.archive_all().await;
    let dump = db.dump().await;
    assert_eq!(asked().await, before);
    assert_eq!(db.dump().await, dump, "a refusal writes nothing");
    assert!(before.iter().all(|sentence| !sentence.contains("no event")), "{before:?}");
}

async fn who_was_disconnected_long_ago_is_not_disconnected_again(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let event = db.disconnected("A-1").await;
    db.archive_all().await;
    let again = db.store.request(&request("A-1", "now")).await.unwrap();
    assert!(matches!(again, Requested::AlreadyDisconnected { event: Some(by), .. } if by == event), "{again:?}");
    // The last message of it comes late.
    assert_eq!(db.store.claim_one(event, REDISPATCH).await.unwrap(), None);
    let order = Order { event_id: event, attempt: Attempt(1), trace: None };
    let executed = db.disconnect(&[order]).await;
    assert!(matches!(executed[..], [Executed::Stale { .. }]), "{executed:?}");
}

async fn families_are_asked_about_across_the_border(db: &TestDatabase) {
    db.accounts([
        account("P").email("p@example.com"),
        account("C-1").parent("P").email("c1@example.com"),
        account("G").parent("C-1").email("g@example.com"),
    ])
    .await;
    // The child's event ends and is archived, while the parent's and the grandchild's are open.
    let children = Dispositions::all(DISCONNECT);
    let asked = DisconnectRequest { children, ..request("P", "2126-12-01") };
    let Requested::Created(of_parent) = db.store.request(&asked).await.unwrap() else { panic!("it is new") };
    let event_of = async |child: &str| db.account(child).await.open_event.unwrap();
    let (of_child, of_grandchild) = (event_of("C-1").await, event_of("G").await);
    let leave = Change::Cancel { children: Some(Along::Leave) };
    db.store.change(of_child, &leave, &clerk(), None).await.unwrap();
    db.archive_all().await;
    assert_eq!(db.event(of_child).await.parent_event_id, Some(of_parent));
    let undecided = async || -> Vec<EventId> {
        let filter = EventFilter { to_decide: true, ..EventFilter::default() };
        db.store.events(&filter, &Page::default()).await.unwrap().items.iter().map(|event| event.id).collect()
    };
    assert_eq!(undecided().await, [of_parent], "what was planned for the child is cancelled");
    // Who was made with the parent's by way of it is known still.
    match refusal(db.store.change(of_parent, &Change::CANCEL, &clerk(), None).await) {
        Refusal::UndecidedEvents { events, .. } => assert_eq!(events.len(), 1, "{events:?}"),
        other => panic!("{other}"),
    }
    assert_eq!(db.state(of_grandchild).await, State::Scheduled);
    // And a child that was linked to one that is gone, and archived, is asked and decided about.
    let decide = async |choice| {
        db.store.decide(of_parent, &Dispositions::all(choice), &clerk(), None, FAILURES_MAX).await.unwrap()
    };
    decide(Choice::Keep).await;
    assert_eq!(undecided().await, []);
    db.accounts([account("late").parent("P").email("late@example.com")]).await;
    db.make_overdue(of_parent, 1).await;
    let orders = db.claim(10).await;
    db.disconnect(&orders).await;
    db.archive_all().await;
    assert_eq!(undecided().await, [of_parent]);
    let decided = decide(DISCONNECT).await;
    assert_eq!((decided.id, undecided().await.len()), (of_parent, 0));
    let own = db.event(event_of("late").await).await;
    assert_eq!(own.parent_event_id, Some(of_parent));
    // Whoever takes a child from it has decided.
    db.store.unlink(&number("late"), &clerk()).await.unwrap();
    assert_eq!(undecided().await, []);
}

async fn a_campaign_goes_on_without_its_events_that_were_archived(db: &TestDatabase) {
    db.accounts(numbered("M", 6).iter().map(|one| account(one))).await;
    let campaign = db.started(numbered("M", 6)).await;
    let orders = db.claimed(4).await;
    db.disconnect(&orders[..2]).await;
    db.fail_orders(&orders[2..3], Verdict::GiveUp).await;
    db.archive_all().await;
    db.pause(campaign).await;
    db.resume(campaign).await;
    db.archive_all().await;
    assert_eq!(db.command(campaign, Command::Retry).await.events, 1);
    db.run_campaigns().await;
    db.archive_all().await;
    let counts = db.counts(campaign).await;
    assert_eq!((counts.disconnected, counts.failed, counts.accounts), (6, 0, 6));
    assert!(db.report(campaign).await.iter().all(|row| row.outcome == MemberOutcome::Disconnected));
    assert!(db.reconciliation(campaign).await.adds_up);
    assert!(db.campaign_state(campaign).await.is_over());
}

async fn a_child_stays_where_its_parents_event_says_so_from_the_archive(db: &TestDatabase) {
    let child = account("C").parent("P").email("c@example.com");
    db.accounts([account("P").groups(&["tower"]), child, account("other")]).await;
    let (mut draft, cohort) = filtered("x", "group = tower");
    draft.terms.children = Some(Disposition::Disconnect);
    let campaign = db.made(&draft, cohort).await.id;
    db.start(campaign).await;
    db.accounts([account("P").groups(&["fiber"])]).await;
    for order in db.claimed(500).await {
        let executed = db.disconnect(&[order]).await;
        assert_eq!(outcome_of(&executed[0]), Some(Outcome::NoLongerEligible), "{executed:?}");
        db.archive_all().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_long_ago_moves_and_nothing_else() {
    TestDatabase::run(Engine::Postgres, async |db: &TestDatabase| {
        let ended = db.lived_long().await;
        assert_eq!(db.archive(MONTH).await, 0, "it ended a moment ago");
        db.ended_days_ago(&ended[1..3], 31).await;
        db.ended_days_ago(&ended[3..4], 29).await;
        let failed = db.texts("select cast(id as text) from disconnect_events where state = 'failed'").await;
        let failed: Vec<EventId> = failed.iter().map(|id| EventId(id.parse().unwrap())).collect();
        db.ended_days_ago(&failed, 400).await;
        let rows = "select cast(e.* as text) from all_disconnect_events e order by id";
        let before = db.texts(rows).await;
        assert_eq!(db.archive(MONTH).await, 2);
        assert_eq!(db.archived().await, ended[1..3]);
        assert_eq!(db.archive(MONTH).await, 0);
        db.archive_all().await;
        let mut all = ended.clone();
        all.sort_unstable();
        assert_eq!(db.archived().await, all);
        let stay = "select distinct state from disconnect_events order by state";
        assert_eq!(db.texts(stay).await, ["failed", "scheduled"]);
        assert_eq!(db.texts(rows).await, before, "each as it was, to the last column");
        // A person looks at one that failed, and it goes on.
        db.store.change(failed[0], &Change::Retry, &clerk(), None).await.unwrap();
        assert_eq!(db.archive(AT_ONCE).await, 0);
    })
    .await;
}

impl TestDatabase {
    /// Each of them ended a second after the one before, the last of them just now.
    async fn many_ended(&self, count: i64) {
        self.many_accounts("N-", u32::try_from(count).unwrap()).await;
        let sql = format!(
            "insert into disconnect_events (account_id, state, due_at, failures_max, requested_by, requested_from, ended_at)
             select id, 'cancelled', now(), 3, 'clerk', 'cli', now() - ({count} - row_number() over (order by id)) * interval '1 second'
               from accounts"
        );
        self.sql(&sql).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_bounded_and_takes_what_ended_first() {
    TestDatabase::run(Engine::Postgres, async |db: &TestDatabase| {
        let batch = i64::from(ARCHIVE_MAX);
        db.many_ended(batch + 10).await;
        assert_eq!(db.archive(AT_ONCE).await, u64::from(ARCHIVE_MAX));
        let newest_there = "select extract(epoch from max(ended_at))::bigint from archived_disconnect_events";
        let oldest_here = "select extract(epoch from min(ended_at))::bigint from disconnect_events";
        assert!(db.number(newest_there).await < db.number(oldest_here).await);
        assert_eq!((db.archive(AT_ONCE).await, db.archive(AT_ONCE).await), (10, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_archive_at_once_each_event_is_moved_by_one() {
    TestDatabase::run(Engine::Postgres, async |db: &TestDatabase| {
        let count = i64::from(ARCHIVE_MAX) * 4 + 7;
        db.many_ended(count).await;
        let mut movers = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let store: Arc<dyn Store> = db.open().await;
            movers.spawn(async move {
                let mut moved = 0;
                // What another has in hand is passed over, so that one may find nothing while there is more.
                while store.event_counts(None).await.unwrap().cancelled > 0 {
                    let batch = store.archive(AT_ONCE).await.unwrap();
                    moved += batch;
                    if batch == 0 {
                        break;
                    }
                }
                moved
            });
        }
        let moved: u64 = movers.join_all().await.into_iter().sum();
        let rest = db.archive(AT_ONCE).await;
        assert_eq!(moved + rest, u64::try_from(count).unwrap());
        let counts = (db.count("disconnect_events").await, db.count("archived_disconnect_events").await);
        assert_eq!(counts, (0, count));
    })
    .await;
}

/// A transaction beside the store, for what holds a lock until it ends.
async fn beside(db: &TestDatabase, sql: &str) -> PgConnection {
    let mut other = PgConnection::connect(&db.url()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("begin; {sql}"))).execute(&mut other).await.unwrap();
    other
}

/// When this answers, its locks are gone.
async fn ends(mut other: PgConnection) {
    sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
}

impl TestDatabase {
    async fn until_it_waits(&self) {
        let waits = "select count(*) from pg_stat_activity where query like '/* archive: move%' and wait_event_type = 'Lock' \
                     and datname = current_database()";
        wait_until(SOON, "a batch is under way", async || self.number(waits).await == 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_broken_off_has_moved_nothing() {
    TestDatabase::run(Engine::Postgres, async |db: &TestDatabase| {
        let ended = db.lived_long().await;
        let before = db.dump().await;
        let holder = beside(db, "lock table archived_disconnect_events in share mode").await;
        let store = db.open().await;
        let batch = tokio::spawn(async move { store.archive(AT_ONCE).await });
        db.until_it_waits().await;
        let killed = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                      where query like '/* archive: move%' and datname = current_database()";
        assert_eq!(db.number(killed).await, 1);
        assert!(batch.await.unwrap().is_err());
        ends(holder).await;
        assert_eq!(db.dump().await, before, "each is where it was");
        db.archive_all().await;
        assert_eq!(db.count("archived_disconnect_events").await, i64::try_from(ended.len()).unwrap());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_waits_for_nobody_and_holds_up_nobody() {
    TestDatabase::run(Engine::Postgres, async |db: &TestDatabase| {
        let ended = db.lived_long().await;
        db.accounts([account("new"), account("waits")]).await;
        // One that somebody has in hand is left for later; so is nobody's account.
        let holder = beside(db, &format!("select from disconnect_events where id = {} for update", ended[0])).await;
        let account = beside(db, "select from accounts for update").await;
        assert_eq!(db.archive(AT_ONCE).await, ended.len() as u64 - 1);
        ends(account).await;
        ends(holder).await;
        // While a batch is under way, everything else goes on.
        let another = db.cancelled("waits").await;
        let holder = beside(db, "lock table archived_disconnect_events in share mode").await;
        let store = db.open().await;
        let batch = tokio::spawn(async move { store.archive(AT_ONCE).await });
        db.until_it_waits().await;
        let running = db.started(["M-3"]).await;
        db.run_campaigns().await;
        assert_eq!(db.counts(running).await.disconnected, 1);
        db.disconnected("new").await;
        let planned = db.scheduled("waits").await;
        db.store.change(planned, &Change::CANCEL, &clerk(), None).await.unwrap();
        assert_eq!(db.state(another).await, State::Cancelled);
        ends(holder).await;
        assert_eq!(batch.await.unwrap().unwrap(), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_4_events_are_kept_in_the_archive_and_on_the_way_to_it() {
    TestDatabase::run(Engine::Postgres, async |db: &TestDatabase| {
        let ended = db.lived_long().await;
        db.ended_days_ago(&ended[..2], 31).await;
        assert_eq!(db.archive(MONTH).await, 2);
        let before = db.dump().await;
        for sql in [
            "delete from archived_disconnect_events",
            "update archived_disconnect_events set state = 'cancelled', outcome = null",
            "truncate archived_disconnect_events",
            "delete from disconnect_events",
            "delete from disconnect_events where state = 'completed'",
            "delete from disconnect_events where state = 'scheduled'",
            "truncate disconnect_events",
            "truncate disconnect_events cascade",
        ] {
            let refused = db.refusal_of(sql).await;
            assert!(refused.contains("keeps all history"), "{sql}: {refused}");
        }
        // What has not ended has no place in it.
        let copies = |changed: &str| {
            format!(
                "create temporary table copies as select * from archived_disconnect_events limit 1; \
                 update copies set {changed}; insert into archived_disconnect_events select * from copies"
            )
        };
        for state in ["scheduled", "queued", "failed"] {
            let refused = db.refusal_of(&copies(&format!("id = id + 1000, state = '{state}', outcome = null"))).await;
            assert!(refused.contains("state_check"), "{state}: {refused}");
        }
        // Nor does another row of the same number make room for its delete.
        let another = "create temporary table copies as select * from disconnect_events where state = 'scheduled' limit 1; \
                       update copies set state = 'cancelled', ended_at = now(), next_at = null; \
                       insert into archived_disconnect_events select * from copies; \
                       delete from disconnect_events where id = (select id from copies)";
        let refused = db.refusal_of(another).await;
        assert!(refused.contains("keeps all history"), "{refused}");
        assert_eq!(db.dump().await, before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_what_names_an_event_that_is_missing() {
    TestDatabase::run(Engine::Postgres, async |db: &TestDatabase| {
        let ended = db.lived_long().await;
        db.archive_all().await;
        assert_eq!(db.store.inspect().await.unwrap(), Vec::<String>::new());
        db.is_broken_on_purpose();
        let gone = format!(
            "alter table archived_disconnect_events disable trigger user; \
             delete from archived_disconnect_events where id = {}; \
             alter table archived_disconnect_events enable trigger user",
            ended[3]
        );
        db.sql(&gone).await;
        let found = db.store.inspect().await.unwrap();
        let sentence = format!("and that are missing, 1 in all: {}", ended[3]);
        assert!(found.len() == 1 && found[0].contains(&sentence), "{found:?}");
        for names in [
            "insert into account_log (account_id, at, kind, message, actor, source, event_id) \
             select id, now(), 'cancelled', 'x', 'x', 'cli', 901 from accounts where number = 'later'",
            "update family_decisions set child_event_id = 902 where child_event_id is not null",
            "insert into family_decisions select 903, id, 'keep', null, false, now(), 'x', 'cli' from accounts where number = 'G'",
            "update disconnect_events set parent_event_id = 904 where state = 'scheduled'",
        ] {
            db.sql(names).await;
        }
        let found = db.store.inspect().await.unwrap();
        assert!(found[0].contains(&format!("5 in all: {}, 901, 902, 903, 904", ended[3])), "{found:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_events_stay_where_they_are() {
    TestDatabase::run(Engine::Sqlite, async |db: &TestDatabase| {
        db.lived_long().await;
        let before = db.dump().await;
        assert_eq!(db.archive(AT_ONCE).await, 0);
        assert_eq!(db.dump().await, before);
        assert_eq!(db.count("all_disconnect_events").await, db.count("disconnect_events").await);
    })
    .await;
}
