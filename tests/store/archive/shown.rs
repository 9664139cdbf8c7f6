//! What moved to the archive is shown as before, and everything goes on with it, on both engines.

use std::fmt::Write as _;

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
use disconnectd::store::{EventFilter, Executed, Page, Requested};

use super::{DISCONNECT, MONTH};
use crate::support::both_engines;
use crate::support::campaigns::{filtered, numbered};
use crate::support::database::{Engine, TestDatabase};
use crate::support::rows::{account, number};
use crate::support::scenario::{FAILURES_MAX, REDISPATCH, clerk, outcome_of, refusal, request, reschedule};

both_engines!(
    what_is_archived_is_shown_as_before,
    what_is_archived_is_refused_as_what_has_ended,
    families_are_asked_about_across_the_border,
    a_campaign_goes_on_without_its_events_that_were_archived,
    a_child_stays_where_its_parents_event_says_so_from_the_archive,
    who_was_disconnected_long_ago_is_not_disconnected_again,
);

impl TestDatabase {
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
