//! What becomes of the children: decided with their parent's disconnect, and again where the family changed since.

use disconnectd::domain::account::{ContactChange, LogKind};
use disconnectd::domain::dispositions::{Choice, Disposition, Dispositions};
use disconnectd::domain::event::{Along, Change, EventId, EventView, Outcome, State};
use disconnectd::domain::overview::Overview;
use disconnectd::domain::refusal::Refusal;
use disconnectd::domain::request::DisconnectRequest;
use disconnectd::store::{EventFilter, Page, Requested, StoreResult};

use crate::support::both_engines;
use crate::support::database::TestDatabase;
use crate::support::rows::{account, debit, number};
use crate::support::scenario::{FAILURES_MAX, REDISPATCH, clerk, outcome_of, refusal, request, reschedule};

both_engines!(
    rule_5_a_parent_is_not_disconnected_before_every_child_is_decided_about,
    rule_5_each_child_goes_the_way_that_was_decided,
    rule_5_who_is_below_a_child_that_goes_is_decided_about_too,
    what_cannot_be_done_for_one_child_is_done_for_none,
    now_brings_the_children_forward_that_go_along,
    an_event_that_comes_no_later_serves_for_the_child,
    a_family_that_changes_asks_for_a_decision_until_there_is_one,
    a_question_stays_after_the_parent_is_gone,
    a_departure_is_acknowledged,
    who_takes_a_child_from_a_parent_that_is_gone_has_decided,
    a_mind_that_changes_cancels_the_childs_event,
    whoever_speaks_while_the_event_is_queued_is_heard,
    what_is_asked_for_by_itself_goes_along_no_more,
    an_adopted_event_of_an_earlier_plan_goes_along_again,
    what_was_confirmed_with_the_parent_is_no_change_of_the_child,
    whatever_becomes_of_families_the_list_and_the_domain_ask_the_same,
    there_is_nothing_to_decide_where_nothing_changed,
    a_parents_change_of_plan_asks_what_becomes_of_the_childrens_events,
    a_parents_cancellation_takes_along_or_leaves,
    rule_8_a_digest_is_agreed_to_while_nothing_has_changed,
    rule_8_a_stale_digest_is_refused_with_what_changed,
    rule_8_what_changed_until_the_execution_is_recorded,
);

fn choices(text: &str) -> Dispositions {
    let mut choices = Dispositions::default();
    for one in text.split_whitespace() {
        match one.split_once('=') {
            None => choices.all = Some(Choice::parse(one).unwrap()),
            Some((child, choice)) => drop(choices.each.insert(number(child), Choice::parse(choice).unwrap())),
        }
    }
    choices
}

fn created(requested: StoreResult<Requested>) -> EventId {
    match requested.unwrap() {
        Requested::Created(event) => event,
        other => panic!("{other:?}"),
    }
}

impl TestDatabase {
    /// P has the children C-1, C-2 and C-3, each with an email, and C-1 has G.
    async fn family(&self) {
        self.accounts([
            account("P").email("p@example.com"),
            account("C-1").parent("P").email("c1@example.com"),
            account("C-2").parent("P").email("c2@example.com"),
            account("C-3").parent("P").email("c3@example.com"),
            account("G").parent("C-1").email("g@example.com"),
        ])
        .await;
    }

    async fn ask(&self, account: &str, when: &str, children: &str) -> StoreResult<Requested> {
        self.store.request(&DisconnectRequest { children: choices(children), ..request(account, when) }).await
    }

    async fn planned(&self, children: &str) -> EventView {
        self.event(created(self.ask("P", "2126-12-01", children).await)).await
    }

    async fn decide(&self, event: EventId, children: &str) -> StoreResult<EventView> {
        self.store.decide(event, &choices(children), &clerk(), Some("asked them"), FAILURES_MAX).await
    }

    async fn undecided(&self) -> Vec<EventId> {
        let filter = EventFilter { to_decide: true, ..EventFilter::default() };
        let listed = self.store.events(&filter, &Page::default()).await.unwrap().items;
        let listed: Vec<_> = listed.iter().map(|event| event.id).collect();
        let all = self.store.events(&EventFilter::default(), &Page { after: None, limit: 1_000 }).await.unwrap().items;
        let asking = all.iter().filter(|event| !event.to_decide.is_empty()).map(|event| event.id);
        assert_eq!(listed, asking.collect::<Vec<_>>(), "the list and the domain ask the same");
        listed
    }

    async fn asks(&self, event: EventId, words: &str) {
        let to_decide = self.event(event).await.to_decide;
        assert!(to_decide.len() == 1 && to_decide[0].contains(words), "{words}: {to_decide:?}");
        assert_eq!(self.undecided().await, [event]);
    }

    async fn run_all(&self) {
        let orders = self.claim(100).await;
        for executed in self.disconnect(&orders).await {
            assert_eq!(outcome_of(&executed), Some(Outcome::Disconnected), "{executed:?}");
        }
    }

    async fn child_event(&self, event: EventId, child: &str) -> EventId {
        let view = self.event(event).await;
        let found = view.children.iter().find(|one| one.number.as_str() == child);
        found.and_then(|one| one.event_id).unwrap_or_else(|| panic!("{child}: {:?}", view.children))
    }

    async fn digest(&self, account: &str) -> String {
        let facts = self.store.overview_facts(&number(account)).await.unwrap();
        let now = facts.now;
        Overview::of(facts, now).digest
    }
}

async fn rule_5_a_parent_is_not_disconnected_before_every_child_is_decided_about(db: &TestDatabase) {
    db.family().await;
    let before = db.dump().await;
    for (children, left) in [("", "C-1 C-2 C-3"), ("C-2=keep", "C-1 C-3"), ("C-2=keep C-1=disconnect", "C-3 G")] {
        match refusal(db.ask("P", "2126-12-01", children).await) {
            Refusal::UndecidedChildren { children, .. } => {
                let named: Vec<_> = children.iter().map(|child| child.number.as_str()).collect();
                assert_eq!(named.join(" "), left);
            }
            other => panic!("{other}"),
        }
    }
    assert!(matches!(refusal(db.ask("P", "now", "keep nobody=keep").await), Refusal::NotAChild { .. }));
    assert_eq!(db.dump().await, before, "a refusal writes nothing");
    // Nobody is asked about who is not connected, nor about a child's own children while it stays.
    db.disconnected("C-3").await;
    created(db.ask("P", "2126-12-01", "C-1=keep C-2=keep").await);
}

async fn rule_5_each_child_goes_the_way_that_was_decided(db: &TestDatabase) {
    db.family().await;
    let event = db.planned("C-1=keep C-2=unlink C-3=disconnect@2126-12-24").await;
    let decided: Vec<_> = event.children.iter().map(|child| (child.number.as_str(), child.disposition)).collect();
    let wanted = [("C-1", Disposition::Keep), ("C-2", Disposition::Unlink), ("C-3", Disposition::Disconnect)];
    assert_eq!(decided, wanted);
    assert_eq!(event.to_decide, Vec::<String>::new());
    // An unlink happens now, the others at their dates.
    assert_eq!(db.account("C-2").await.parent_number, None);
    assert_eq!(db.account("C-1").await.parent_number, Some(number("P")));
    let own = db.event(db.child_event(event.id, "C-3").await).await;
    assert_eq!((own.state, own.parent_event_id), (State::Scheduled, Some(event.id)));
    assert_eq!(own.due_at.to_rfc3339(), "2126-12-24T00:00:00+00:00");
    assert_eq!((own.requested_by.as_str(), own.reason.as_deref()), ("clerk", Some("moved away")));
    assert!(own.agreed.is_some() && event.agreed.is_some());
    let log = db.log("P").await.pop().unwrap();
    assert_eq!((log.kind, log.event_id), (LogKind::FamilyDecided, Some(event.id)));
    assert_eq!(log.message, format!("children decided: C-1 keep, C-2 unlink, C-3 disconnect (event {})", own.id));
    assert_eq!(db.logged("C-1").await, [LogKind::Created, LogKind::FamilyDecided]);
    assert_eq!(db.logged("C-2").await, [LogKind::Created, LogKind::Unlinked]);
    assert_eq!(db.logged("C-3").await, [LogKind::Created, LogKind::Scheduled]);

    db.make_overdue(event.id, 1).await;
    db.run_all().await;
    assert!(db.account("P").await.disconnected_at.is_some());
    for child in ["C-1", "C-2", "C-3", "G"] {
        assert_eq!(db.account(child).await.disconnected_at, None, "{child}");
    }
    assert_eq!(db.event(event.id).await.changed_since, Vec::<String>::new(), "all of it was confirmed");
    assert_eq!(db.undecided().await, []);
}

async fn rule_5_who_is_below_a_child_that_goes_is_decided_about_too(db: &TestDatabase) {
    db.family().await;
    let event = db.planned("C-1=disconnect keep G=disconnect").await;
    let of_child = db.child_event(event.id, "C-1").await;
    let of_grandchild = db.child_event(of_child, "G").await;
    assert_eq!(db.event(of_grandchild).await.parent_event_id, Some(of_child));
    for event in [event.id, of_child, of_grandchild] {
        db.make_overdue(event, 1).await;
    }
    db.run_all().await;
    assert!(db.account("G").await.disconnected_at.is_some() && db.account("C-2").await.disconnected_at.is_none());
}

async fn what_cannot_be_done_for_one_child_is_done_for_none(db: &TestDatabase) {
    db.family().await;
    db.accounts([account("C-4").parent("P")]).await;
    let open = db.scheduled("C-2").await;
    let before = db.dump().await;
    let refused = refusal(db.ask("P", "2126-12-01", "unlink").await);
    assert!(matches!(&refused, Refusal::UnlinkWithoutContact { child, .. } if child.as_str() == "C-4"), "{refused}");
    let refused = refusal(db.ask("P", "2126-11-01", "keep C-1=unlink C-2=disconnect").await);
    assert!(matches!(refused, Refusal::OpenEvent { event, .. } if event == open), "{refused}");
    let refused = refusal(db.ask("P", "2126-11-01", "keep C-1=disconnect@2020-01-01 G=keep").await);
    assert!(matches!(refused, Refusal::PastDate { .. }), "{refused}");
    assert_eq!(db.dump().await, before);
}

async fn now_brings_the_children_forward_that_go_along(db: &TestDatabase) {
    db.family().await;
    let event = db.planned("disconnect").await;
    let of_child = db.child_event(event.id, "C-2").await;
    assert!(matches!(refusal(db.ask("P", "now", "").await), Refusal::UndecidedChildren { .. }));
    let requested = db.ask("P", "now", "keep C-2=disconnect").await.unwrap();
    assert_eq!(requested, Requested::BroughtForward(event.id));
    db.run_all().await;
    let gone: Vec<_> = db.texts("select number from accounts where disconnected_at is not null order by number").await;
    assert_eq!(gone, ["C-2", "P"]);
    assert_eq!(db.state(of_child).await, State::Completed);
    // The others are kept now: what was planned for them with the parent is cancelled, and who was to go with them.
    let of_parent = db.event(event.id).await;
    let kept = of_parent.children.iter().filter(|child| child.disposition == Disposition::Keep).count();
    assert_eq!(kept, 2);
    assert_eq!(db.number("select count(*) from disconnect_events where state = 'cancelled'").await, 3);
    for child in ["C-1", "C-3", "G"] {
        assert_eq!(db.account(child).await.open_event, None, "{child}");
        assert!(db.logged(child).await.contains(&LogKind::Cancelled), "{child}");
    }
}

async fn an_event_that_comes_no_later_serves_for_the_child(db: &TestDatabase) {
    db.family().await;
    let own = db.scheduled("C-2").await;
    let event = created(db.ask("P", "2126-12-31", "keep C-2=disconnect").await);
    assert_eq!(db.child_event(event, "C-2").await, own);
    assert_eq!(db.event(own).await.parent_event_id, None, "it was not made with it");
    assert_eq!(db.event(own).await.due_at.to_rfc3339(), "2126-12-01T00:00:00+00:00");
    // So it does not go along.
    db.store.change(event, &Change::CANCEL, &clerk(), None).await.unwrap();
    assert_eq!(db.state(own).await, State::Scheduled);
}

async fn a_family_that_changes_asks_for_a_decision_until_there_is_one(db: &TestDatabase) {
    db.family().await;
    db.accounts([account("new").email("new@example.com")]).await;
    let event = db.planned("keep C-3=disconnect").await.id;
    assert_eq!(db.undecided().await, []);

    // Linked, and undone.
    db.store.link(&number("new"), &number("P"), &clerk()).await.unwrap();
    db.asks(event, "nobody decided about child new of P").await;
    db.store.unlink(&number("new"), &clerk()).await.unwrap();
    assert_eq!(db.undecided().await, []);
    db.store.link(&number("new"), &number("P"), &clerk()).await.unwrap();
    let decided = db.decide(event, "new=disconnect").await.unwrap();
    assert_eq!(decided.to_decide, Vec::<String>::new());
    let own = db.event(db.child_event(event, "new").await).await;
    assert_eq!((own.due_at, own.parent_event_id), (decided.due_at, Some(event)), "for the parent's date");
    assert_eq!(db.log("P").await.pop().unwrap().reason.as_deref(), Some("asked them"));

    // Its own plan was cancelled.
    let of_child = db.child_event(event, "C-3").await;
    db.store.change(of_child, &Change::CANCEL, &clerk(), None).await.unwrap();
    db.asks(event, "its event").await;
    db.decide(event, "C-3=keep").await.unwrap();
    assert_eq!(db.undecided().await, []);

    // Its contact was removed.
    let none = ContactChange { email: Some(None), mailing_address: None };
    db.store.change_contact(&number("C-1"), &none, &clerk()).await.unwrap();
    db.asks(event, "nobody gets the invoices of C-1").await;
    db.decide(event, "keep").await.unwrap();
    let kept = db.event(event).await;
    assert_eq!(kept.to_decide, Vec::<String>::new(), "that it is kept all the same is a decision");
    assert!(kept.children.iter().any(|child| child.warning.is_some()));

    // The event ended without a disconnect: nobody loses a parent.
    db.accounts([account("other")]).await;
    db.store.link(&number("C-2"), &number("other"), &clerk()).await.unwrap();
    db.asks(event, "C-2 was to be kept").await;
    db.store.change(event, &Change::Cancel { children: Some(Along::Leave) }, &clerk(), None).await.unwrap();
    assert_eq!(db.undecided().await, []);
}

async fn a_question_stays_after_the_parent_is_gone(db: &TestDatabase) {
    db.family().await;
    let event = db.planned("keep").await.id;
    db.accounts([account("late").parent("P").email("late@example.com")]).await;
    db.asks(event, "nobody decided about child late of P").await;
    db.make_overdue(event, 1).await;
    db.run_all().await;
    assert_eq!(db.account("late").await.disconnected_at, None, "rule 5");
    db.asks(event, "nobody decided about child late of P").await;
    assert_eq!(db.event(event).await.changed_since, ["child late was linked"]);
    db.decide(event, "disconnect").await.unwrap();
    assert_eq!(db.undecided().await, []);
    db.run_all().await;
    assert!(db.account("late").await.disconnected_at.is_some(), "a child of one that is gone goes now");
}

async fn a_departure_is_acknowledged(db: &TestDatabase) {
    db.family().await;
    let event = db.planned("keep").await.id;
    db.store.unlink(&number("C-2"), &clerk()).await.unwrap();
    db.asks(event, "C-2 was to be kept as a child of P and is no child of it any more").await;
    let decided = db.decide(event, "C-2=keep").await.unwrap();
    assert_eq!((decided.to_decide.len(), db.undecided().await.len()), (0, 0));
    db.store.link(&number("C-2"), &number("P"), &clerk()).await.unwrap();
    db.asks(event, "is linked to it again").await;
}

async fn there_is_nothing_to_decide_where_nothing_changed(db: &TestDatabase) {
    db.family().await;
    let event = db.planned("keep").await.id;
    let before = db.dump().await;
    for (children, words) in [("", "nothing to decide"), ("keep", "nothing to decide"), ("nobody=keep", "not among")] {
        let refused = refusal(db.decide(event, children).await).to_string();
        assert!(refused.contains(words), "{children}: {refused}");
    }
    assert_eq!(db.dump().await, before);
    assert!(matches!(refusal(db.decide(EventId(999), "keep").await), Refusal::UnknownEvent { .. }));
    db.decide(event, "C-2=unlink").await.unwrap();
    assert_eq!(db.account("C-2").await.parent_number, None, "a mind may be changed");
    db.store.change(event, &Change::CANCEL, &clerk(), None).await.unwrap();
    let refused = refusal(db.decide(event, "C-1=unlink").await);
    assert!(refused.to_string().contains("disconnects nobody"), "{refused}");
}

async fn a_parents_change_of_plan_asks_what_becomes_of_the_childrens_events(db: &TestDatabase) {
    db.family().await;
    let event = db.planned("disconnect").await.id;
    let before = db.dump().await;
    for change in [Change::CANCEL, reschedule("2127-01-01", false)] {
        match refusal(db.store.change(event, &change, &clerk(), None).await) {
            Refusal::UndecidedEvents { events, .. } => assert_eq!(events.len(), 4, "{events:?}"),
            other => panic!("{other}"),
        }
    }
    assert_eq!(db.dump().await, before);
    let Change::Reschedule { when, zone, late, .. } = reschedule("2127-01-01", false) else { unreachable!() };
    let along = |children| Change::Reschedule { when, zone, late, children: Some(children) };
    db.store.change(event, &along(Along::Leave), &clerk(), None).await.unwrap();
    assert_eq!(db.number("select count(distinct due_at) from disconnect_events").await, 2);
    db.store.change(event, &along(Along::Along), &clerk(), None).await.unwrap();
    assert_eq!(db.number("select count(distinct due_at) from disconnect_events").await, 1);
    let told = db.log("G").await.pop().unwrap();
    assert_eq!(told.kind, LogKind::Rescheduled);
    assert!(told.message.ends_with(&format!("along with event {event}")), "{}", told.message);
}

async fn a_parents_cancellation_takes_along_or_leaves(db: &TestDatabase) {
    for along in [Along::Along, Along::Leave] {
        let name = |text: &str| format!("{text}-{along:?}");
        db.accounts([
            account(&name("P")),
            account(&name("A")).parent(&name("P")),
            account(&name("B")).parent(&name("P")),
        ])
        .await;
        let event = created(db.ask(&name("P"), "2126-12-01", "disconnect").await);
        let (one, other) = (db.child_event(event, &name("A")).await, db.child_event(event, &name("B")).await);
        // One that is in the queue already goes along as well; one that ended is left.
        db.make_overdue(one, 1).await;
        assert_eq!(db.claim(10).await.len(), 1);
        db.store.change(other, &Change::CANCEL, &clerk(), None).await.unwrap();
        let ended_at = db.event(other).await.ended_at;
        db.store.change(event, &Change::Cancel { children: Some(along) }, &clerk(), None).await.unwrap();
        assert_eq!(db.state(event).await, State::Cancelled);
        let wanted = if along == Along::Along { State::Cancelled } else { State::Queued };
        assert_eq!(db.state(one).await, wanted);
        assert_eq!(db.event(other).await.ended_at, ended_at);
    }
}

async fn rule_8_a_digest_is_agreed_to_while_nothing_has_changed(db: &TestDatabase) {
    db.family().await;
    db.debits([debit("P", "d", "86.25")]).await;
    let digest = db.digest("P").await;
    assert_eq!(db.digest("P").await, digest, "looking twice is seeing the same");
    // What happens elsewhere is no change of this account.
    db.debits([debit("C-1", "d", "1.00")]).await;
    let asked = DisconnectRequest { digest: Some(digest), ..request("P", "2126-12-01") };
    let event = db.event(created(db.store.request(&asked).await)).await;
    let agreed = event.agreed.unwrap();
    assert_eq!((agreed.debits, agreed.final_invoice.unwrap().minor), (1, 8_625));
    assert_eq!((agreed.status.as_str(), agreed.status_after.as_deref()), ("Active", Some("Inactive")));
}

async fn rule_8_a_stale_digest_is_refused_with_what_changed(db: &TestDatabase) {
    db.family().await;
    db.debits([debit("P", "d", "86.25")]).await;
    let digest = db.digest("P").await;
    db.debits([debit("P", "e", "12.50")]).await;
    db.store.unlink(&number("C-3"), &clerk()).await.unwrap();
    let before = db.dump().await;
    for when in ["now", "2126-12-01"] {
        let asked = DisconnectRequest { digest: Some(digest.clone()), ..request("P", when) };
        match refusal(db.store.request(&asked).await) {
            Refusal::StaleDigest { changes, .. } => {
                let wanted = ["a debit of 12.50 was added", "the final invoice is now 98.75", "child C-3 was unlinked"];
                assert_eq!(changes, wanted);
            }
            other => panic!("{other}"),
        }
    }
    for digest in [db.digest("C-1").await, "none".into()] {
        let asked = DisconnectRequest { digest: Some(digest), ..request("P", "now") };
        assert!(matches!(refusal(db.store.request(&asked).await), Refusal::StaleDigest { .. }));
    }
    assert_eq!(db.dump().await, before, "nothing happened");
    let asked = DisconnectRequest { digest: Some(db.digest("P").await), ..request("P", "now") };
    created(db.store.request(&asked).await);
}

async fn rule_8_what_changed_until_the_execution_is_recorded(db: &TestDatabase) {
    db.accounts([account("A").address("1 Main St").email("a@example.com"), account("B")]).await;
    db.debits([debit("A", "d", "86.25")]).await;
    let (a, b) = (db.due("A").await, db.due("B").await);
    db.debits([debit("A", "e", "12.50")]).await;
    db.accounts([account("A").address("2 Oak St").email("a@example.com")]).await;
    db.run_all().await;
    let event = db.event(a).await;
    let wanted = ["a debit of 12.50 was added", "the final invoice is now 98.75", "the address is 2 Oak St now"];
    assert_eq!((event.outcome, event.changed_since), (Some(Outcome::Disconnected), wanted.map(str::to_owned).to_vec()));
    assert_eq!(event.final_invoice.unwrap().total.minor, 9_875);
    let log = db.log("A").await;
    let moved = log.iter().find(|entry| entry.kind == LogKind::FactsMoved).unwrap();
    assert!(moved.message.contains("12.50"), "{}", moved.message);
    assert_eq!(db.event(b).await.changed_since, Vec::<String>::new());
    assert!(!db.logged("B").await.contains(&LogKind::FactsMoved));
}

async fn who_takes_a_child_from_a_parent_that_is_gone_has_decided(db: &TestDatabase) {
    db.family().await;
    db.accounts([account("other")]).await;
    let event = db.planned("keep").await.id;
    db.make_overdue(event, 1).await;
    db.run_all().await;
    db.store.unlink(&number("C-2"), &clerk()).await.unwrap();
    db.store.link(&number("C-3"), &number("other"), &clerk()).await.unwrap();
    assert_eq!(db.undecided().await, []);
    let left: Vec<_> = db.event(event).await.children.into_iter().map(|child| child.disposition).collect();
    assert_eq!(left, [Disposition::Keep, Disposition::Unlink, Disposition::Unlink]);
}

async fn a_mind_that_changes_cancels_the_childs_event(db: &TestDatabase) {
    db.family().await;
    let event = db.planned("disconnect").await.id;
    let (one, other) = (db.child_event(event, "C-1").await, db.child_event(event, "C-2").await);
    let below = db.child_event(one, "G").await;
    db.decide(event, "C-1=keep C-2=unlink").await.unwrap();
    for gone in [one, other, below] {
        assert_eq!(db.state(gone).await, State::Cancelled);
    }
    assert_eq!(db.account("C-2").await.parent_number, None);
    let told = db.log("C-1").await;
    let cancelled = told.iter().find(|entry| entry.kind == LogKind::Cancelled).unwrap();
    assert!(cancelled.message.contains("decided otherwise"), "{}", cancelled.message);
    assert_eq!(cancelled.reason.as_deref(), Some("asked them"));
    let unlinked = db.log("C-2").await.pop().unwrap();
    assert_eq!((unlinked.kind, unlinked.reason.as_deref()), (LogKind::Unlinked, Some("asked them")));
    assert_eq!(db.undecided().await, []);
}

async fn whoever_speaks_while_the_event_is_queued_is_heard(db: &TestDatabase) {
    db.family().await;
    let event = created(db.ask("P", "now", "keep").await);
    assert_eq!(db.claim(1).await.len(), 1);
    assert_eq!(db.ask("P", "now", "").await.unwrap(), Requested::UnderWay(event), "it is confirmed already");
    assert_eq!(db.ask("P", "now", "keep C-2=unlink").await.unwrap(), Requested::UnderWay(event));
    assert_eq!(db.account("C-2").await.parent_number, None);
}

async fn what_is_asked_for_by_itself_goes_along_no_more(db: &TestDatabase) {
    db.family().await;
    let event = db.planned("keep C-2=disconnect").await.id;
    let own = db.child_event(event, "C-2").await;
    assert_eq!(db.store.request(&request("C-2", "now")).await.unwrap(), Requested::BroughtForward(own));
    db.store.change(event, &Change::CANCEL, &clerk(), None).await.unwrap();
    assert_eq!(db.state(own).await, State::Scheduled);
}

async fn an_adopted_event_of_an_earlier_plan_goes_along_again(db: &TestDatabase) {
    db.family().await;
    let first = db.planned("keep C-2=disconnect").await.id;
    let own = db.child_event(first, "C-2").await;
    let leave = Change::Cancel { children: Some(Along::Leave) };
    db.store.change(first, &leave, &clerk(), None).await.unwrap();
    let second = db.planned("keep C-2=disconnect").await.id;
    assert_eq!(db.child_event(second, "C-2").await, own);
    let refused = refusal(db.store.change(second, &Change::CANCEL, &clerk(), None).await);
    assert!(matches!(refused, Refusal::UndecidedEvents { .. }), "{refused}");
}

async fn what_was_confirmed_with_the_parent_is_no_change_of_the_child(db: &TestDatabase) {
    db.accounts([account("P").email("p@example.com"), account("C").parent("P")]).await;
    let event = created(db.ask("P", "now", "disconnect").await);
    let own = db.child_event(event, "C").await;
    // One by one: the parent first, whose contact was to get the child's invoice.
    for next in [event, own] {
        let order = db.store.claim_one(next, REDISPATCH).await.unwrap().unwrap();
        assert_eq!(outcome_of(&db.disconnect(&[order]).await[0]), Some(Outcome::Disconnected));
        assert_eq!(db.event(next).await.changed_since, Vec::<String>::new());
    }
}

/// Many small changes in an order that differs from family to family; both answers are compared after each.
async fn whatever_becomes_of_families_the_list_and_the_domain_ask_the_same(db: &TestDatabase) {
    for round in 0..6_usize {
        let [parent, one, two, other] = ["P", "A", "B", "O"].map(|name| format!("{name}-{round}"));
        let with_email = |number: &str| account(number).email("x@example.com");
        db.accounts([with_email(&parent), with_email(&one).parent(&parent), with_email(&two).parent(&parent)]).await;
        db.accounts([with_email(&other)]).await;
        let choices = ["keep", "disconnect", "unlink"];
        let children = format!("{one}={} {two}={}", choices[round % 3], choices[(round / 2) % 3]);
        let event = created(db.ask(&parent, "2126-12-01", &children).await);
        for step in 0..9 {
            // The answer does not matter here: many are refusals.
            match (step * 7 + round * 5) % 9 {
                0 => drop(db.store.link(&number(&other), &number(&parent), &clerk()).await),
                1 => drop(db.store.unlink(&number(&one), &clerk()).await),
                2 => drop(db.store.link(&number(&two), &number(&parent), &clerk()).await),
                3 => {
                    let none = ContactChange { email: Some(None), mailing_address: None };
                    db.store.change_contact(&number(&two), &none, &clerk()).await.unwrap();
                }
                4 => {
                    if let Some(open) = db.account(&one).await.open_event {
                        drop(db.store.change(open, &Change::CANCEL, &clerk(), None).await);
                    }
                }
                5 => drop(db.decide(event, "keep").await),
                6 => drop(db.decide(event, &format!("{two}=disconnect")).await),
                7 => {
                    db.sql(&format!(
                        "update disconnect_events set next_at = {} where id = {event} and state = 'scheduled'",
                        db.instant(-1)
                    ))
                    .await;
                    let orders = db.claim(10).await;
                    db.disconnect(&orders).await;
                }
                _ => drop(db.store.link(&number(&one), &number(&other), &clerk()).await),
            }
            db.undecided().await;
        }
    }
}
