//! Lists: what they filter by, and that paging covers everything once.

use disconnectd::domain::account::{AccountFilter, AccountOrder};
use disconnectd::domain::event::{Change, State};
use disconnectd::domain::overview::Overview;
use disconnectd::domain::refusal::Refusal;
use disconnectd::domain::retry::Verdict;
use disconnectd::store::{DueCounts, EventFilter, Page, Paged, StoreResult};

use crate::support::both_engines;
use crate::support::database::TestDatabase;
use crate::support::rows::{account, debit, number};
use crate::support::scenario::{clerk, refusal, request};

both_engines!(
    accounts_are_filtered_by_everything_given,
    a_search_is_for_the_text_itself,
    a_search_folds_all_letters_whatever_the_database_does,
    accounts_are_paged_by_number_each_once,
    accounts_are_paged_by_name_each_once,
    accounts_are_found_by_whether_an_event_is_to_come,
    events_are_filtered_and_listed_newest_first,
    what_is_coming_is_listed_soonest_first,
    events_and_invoices_are_paged_each_once,
    a_log_is_paged_oldest_first,
    a_cursor_that_nobody_gave_is_an_error_and_not_a_panic,
    unknown_accounts_are_refused,
    a_sum_that_no_number_can_hold_does_not_fail_a_list,
    an_overview_is_read_in_one_view,
    events_are_counted_by_state_with_their_lag,
    events_are_counted_up_to_a_bound,
    what_is_taken_up_again_and_again_is_known_by_its_due_date,
    a_calendar_counts_what_is_due_between_instants,
);

/// Follows the cursors to the end, two at a time.
async fn all<T>(mut page: impl AsyncFnMut(&Page) -> StoreResult<Paged<T>>) -> Vec<T> {
    let mut items = Vec::new();
    let mut next = Page { after: None, limit: 2 };
    loop {
        let part = page(&next).await.unwrap();
        assert!(part.items.len() <= 2);
        items.extend(part.items);
        match part.next_cursor {
            Some(cursor) => next.after = Some(cursor),
            None => return items,
        }
        assert!(items.len() < 100, "the cursors go round in circles");
    }
}

impl TestDatabase {
    pub async fn found(&self, filter: AccountFilter) -> Vec<String> {
        let page = self.store.accounts(&filter, &Page::default()).await.unwrap();
        assert_eq!(page.next_cursor, None);
        page.items.into_iter().map(|account| account.number.to_string()).collect()
    }

    pub async fn searched(&self, text: &str) -> Vec<String> {
        self.found(AccountFilter { search: Some(text.into()), ..AccountFilter::default() }).await
    }
}

async fn accounts_are_filtered_by_everything_given(db: &TestDatabase) {
    db.accounts([
        account("A-1").status("Lead").groups(&["north"]),
        account("A-2").groups(&["north", "south"]).parent("A-1"),
        account("A-3").parent("A-1").groups(&["south"]),
        account("A-4"),
    ])
    .await;
    db.disconnected("A-3").await;
    let none = AccountFilter::default;
    assert_eq!(db.found(none()).await, ["A-1", "A-2", "A-3", "A-4"]);
    assert_eq!(db.found(AccountFilter { status: Some("Active".into()), ..none() }).await, ["A-2", "A-4"]);
    assert_eq!(db.found(AccountFilter { group: Some("north".into()), ..none() }).await, ["A-1", "A-2"]);
    assert_eq!(db.found(AccountFilter { parent: Some(number("A-1")), ..none() }).await, ["A-2", "A-3"]);
    assert_eq!(db.found(AccountFilter { disconnected: Some(true), ..none() }).await, ["A-3"]);
    assert_eq!(db.found(AccountFilter { disconnected: Some(false), ..none() }).await, ["A-1", "A-2", "A-4"]);
    let both = AccountFilter { group: Some("south".into()), disconnected: Some(false), ..none() };
    assert_eq!(db.found(both).await, ["A-2"]);
    assert!(db.found(AccountFilter { group: Some("west".into()), ..none() }).await.is_empty());
}

async fn a_search_is_for_the_text_itself(db: &TestDatabase) {
    db.accounts([
        account("A-1").name("Ana Smith"),
        account("A-2").address("12 Smithfield Rd"),
        account("B_3").name("100% fibre"),
        account("B-4").name("O'Brien \\ Sons"),
    ])
    .await;
    assert_eq!(db.searched("smith").await, ["A-1", "A-2"]);
    assert_eq!(db.searched("a-1").await, ["A-1"]);
    assert_eq!(db.searched("%").await, ["B_3"]);
    assert_eq!(db.searched("b_").await, ["B_3"]);
    assert_eq!(db.searched("'").await, ["B-4"]);
    assert_eq!(db.searched("\\").await, ["B-4"]);
    assert!(db.searched("nowhere").await.is_empty());
}

async fn a_search_folds_all_letters_whatever_the_database_does(db: &TestDatabase) {
    db.accounts([
        account("Ä-1").name("ÖZDEMİR").address("Straße 1"),
        account("B-2").name("özdemi\u{307}r"),
        account("B-3").name("Élan").address("12 ÉLISÉE"),
    ])
    .await;
    let searches = [
        ("özdemi", &["B-2", "Ä-1"][..]),
        ("ä-1", &["Ä-1"]),
        ("élan", &["B-3"]),
        ("élisée", &["B-3"]),
        ("STRAß", &["Ä-1"]),
    ];
    for (text, numbers) in searches {
        assert_eq!(db.searched(text).await, numbers, "{text}");
        // A campaign that is made of the same words is of the same accounts.
        let filter = format!("number ~ \"{text}\" or name ~ \"{text}\" or address ~ \"{text}\"");
        assert_eq!(db.selected(&filter).await, numbers, "{text}");
    }
    db.accounts([account("B-3").name("ÜBER").address("12 ÉLISÉE")]).await;
    assert_eq!((db.searched("über").await, db.searched("élan").await.len()), (vec!["B-3".to_owned()], 0), "a new name");
    // What a program of before has written is found as the database folds it.
    for table in ["accounts", "serviceable_addresses"] {
        db.sql(&format!("update {table} set searched = null")).await;
    }
    assert_eq!((db.searched("b-3").await, db.searched("STRA").await), (vec!["B-3".into()], vec!["Ä-1".to_owned()]));
}

async fn accounts_are_paged_by_number_each_once(db: &TestDatabase) {
    let mut numbers = ["b", "A", "a-2", "Z", "a", "ä", "A-10", "é", "1", "a'b", "a b"].map(String::from);
    db.accounts(numbers.iter().map(|number| account(number))).await;
    let listed = all(async |page| db.store.accounts(&AccountFilter::default(), page).await).await;
    numbers.sort_unstable();
    let listed: Vec<_> = listed.into_iter().map(|account| account.number.to_string()).collect();
    assert_eq!(listed, numbers, "by their bytes, on both engines alike");
}

async fn accounts_are_paged_by_name_each_once(db: &TestDatabase) {
    let named = [("5", "Zoe"), ("1", "ada"), ("4", "Ada"), ("2", "Zoe"), ("3", "é"), ("6", "Zoe"), ("7", "")];
    // An import refuses a name that is empty; a list does not fail over one.
    db.accounts(named.map(|(number, name)| account(number).name(if name.is_empty() { "-" } else { name }))).await;
    let filter = AccountFilter { order: AccountOrder::Name, ..AccountFilter::default() };
    let listed = all(async |page| db.store.accounts(&filter, page).await).await;
    let listed: Vec<_> = listed.into_iter().map(|account| account.number.to_string()).collect();
    assert_eq!(listed, ["7", "4", "2", "5", "6", "1", "3"], "by their bytes, on both engines alike; then by number");
    let disconnected = AccountFilter { disconnected: Some(true), ..filter };
    assert!(all(async |page| db.store.accounts(&disconnected, page).await).await.is_empty());
}

async fn accounts_are_found_by_whether_an_event_is_to_come(db: &TestDatabase) {
    // By name they come the other way round.
    let named = |n: u8| account(&format!("A-{n}")).name(&format!("Customer {}", 9 - n)).address("1 Main St");
    db.accounts((1..=9).map(named)).await;
    db.scheduled("A-1").await;
    db.queued("A-2").await;
    db.disconnected("A-3").await;
    db.started(["A-4"]).await;
    // What an aborted campaign has left, and what failed and is to come again.
    let aborted = db.started(["A-5"]).await;
    db.abort(aborted).await;
    for account in ["A-6", "A-7"] {
        let failed = db.queued(account).await;
        db.fail_orders(&[failed], Verdict::GiveUp).await;
        if account == "A-7" {
            db.store.change(failed.event_id, &Change::Retry, &clerk(), None).await.unwrap();
        }
    }
    // By hand, as nobody should.
    let far = "'2099-12-01T00:00:00.000000Z'";
    db.sql(&format!(
        "insert into disconnect_events (account_id, state, due_at, next_at, failures_max, requested_by, requested_from)
         select id, 'scheduled', {far}, {far}, 3, 'x', 'cli' from accounts where number = 'A-8'"
    ))
    .await;
    let (with, without) = (["A-1", "A-2", "A-4", "A-7", "A-8"], ["A-3", "A-5", "A-6", "A-9"]);
    for order in [AccountOrder::Number, AccountOrder::Name] {
        let in_order = |numbers: &[&'static str]| -> Vec<&str> {
            let by_number = numbers.iter().copied();
            if order == AccountOrder::Number { by_number.collect() } else { by_number.rev().collect() }
        };
        let filter = |open| AccountFilter { open_event: Some(open), order, ..AccountFilter::default() };
        for (open, expected) in [(true, &with[..]), (false, &without[..])] {
            let listed = all(async |page| db.store.accounts(&filter(open), page).await).await;
            let listed: Vec<_> = listed.iter().map(|account| account.number.to_string()).collect();
            assert_eq!(listed, in_order(expected), "{order:?}");
            let searched = AccountFilter { search: Some("main".into()), ..filter(open) };
            let listed: Vec<_> = db.found(searched).await.into_iter().filter(|number| number != "A-3").collect();
            let at_the_address: Vec<_> = expected.iter().copied().filter(|number| *number != "A-3").collect();
            assert_eq!(listed, in_order(&at_the_address), "{order:?}");
        }
        let inactive = AccountFilter { status: Some("Inactive".into()), ..filter(true) };
        assert!(db.found(inactive).await.is_empty());
        let connected = AccountFilter { disconnected: Some(false), ..filter(true) };
        assert_eq!(db.found(connected).await, in_order(&with));
    }
}

async fn events_are_filtered_and_listed_newest_first(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3"].map(account)).await;
    let cancelled = db.scheduled("A-1").await;
    db.store.change(cancelled, &Change::CANCEL, &clerk(), None).await.unwrap();
    let (open, done, queued) = (db.scheduled("A-1").await, db.disconnected("A-2").await, db.queued("A-3").await);
    let listed = async |state, account: Option<&str>| {
        let filter = EventFilter { state, account: account.map(number), ..EventFilter::default() };
        let page = db.store.events(&filter, &Page::default()).await.unwrap();
        page.items.into_iter().map(|event| event.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(None, None).await, [queued.event_id, done, open, cancelled]);
    assert_eq!(listed(None, Some("A-1")).await, [open, cancelled]);
    assert_eq!(listed(Some(State::Completed), None).await, [done]);
    assert_eq!(listed(Some(State::Cancelled), Some("A-1")).await, [cancelled]);
    assert!(listed(Some(State::Failed), None).await.is_empty());
}

async fn what_is_coming_is_listed_soonest_first(db: &TestDatabase) {
    let numbers = ["A-1", "A-2", "A-3", "A-4", "A-5", "A-6"];
    db.accounts(numbers.map(account)).await;
    // Two of them are due at the same instant; one is cancelled, one is done.
    let mut events = Vec::new();
    for (number, day) in numbers.into_iter().zip([3, 1, 2, 1, 5, 4]) {
        let event = db.scheduled(number).await;
        let due_at = format!("2099-12-0{day}T00:00:00.000000Z");
        db.sql(&format!("update disconnect_events set due_at = '{due_at}' where id = {event}")).await;
        events.push(event);
    }
    let cancel = "update disconnect_events set state = 'cancelled', next_at = null, ended_at = created_at";
    db.sql(&format!("{cancel} where id = {}", events[5])).await;
    let coming = EventFilter { coming: true, ..EventFilter::default() };
    let listed = all(async |page| db.store.events(&coming, page).await).await;
    let listed: Vec<_> = listed.iter().map(|event| event.id).collect();
    assert_eq!(listed, [events[1], events[3], events[2], events[0], events[4]]);
    let of_one = EventFilter { account: Some(number("A-3")), ..coming };
    assert_eq!(all(async |page| db.store.events(&of_one, page).await).await.len(), 1);
}

async fn events_and_invoices_are_paged_each_once(db: &TestDatabase) {
    let numbers = ["A-1", "A-2", "A-3", "A-4", "A-5"];
    db.accounts(numbers.map(account)).await;
    db.debits(numbers.map(|number| debit(number, "d", "1.00"))).await;
    let mut events = Vec::new();
    for number in numbers {
        events.push(db.disconnected(number).await);
    }
    events.reverse();
    let listed = all(async |page| db.store.events(&EventFilter::default(), page).await).await;
    assert_eq!(listed.iter().map(|event| event.id).collect::<Vec<_>>(), events);
    let invoices = all(async |page| db.store.invoices(None, page).await).await;
    let theirs: Vec<_> = invoices.iter().map(|invoice| invoice.event_id.unwrap()).collect();
    assert_eq!(theirs, events);
}

async fn a_log_is_paged_oldest_first(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    db.disconnected("A-1").await;
    let whole = db.log("A-1").await;
    assert!(whole.len() >= 4 && whole.is_sorted_by_key(|entry| entry.at), "{whole:?}");
    let paged = all(async |page| db.store.log(&number("A-1"), page).await).await;
    assert_eq!(paged, whole);
}

async fn a_cursor_that_nobody_gave_is_an_error_and_not_a_panic(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    for cursor in ["", "nonsense", "-1", "99999999999999999999", "'; drop table accounts; --"] {
        let page = Page { after: Some(cursor.into()), limit: 10 };
        // An error or an empty page: which one is the engine's to say.
        let _ = db.store.accounts(&AccountFilter::default(), &page).await;
        let _ = db.store.events(&EventFilter::default(), &page).await;
        let _ = db.store.invoices(None, &page).await;
        let _ = db.store.log(&number("A-1"), &page).await;
    }
    assert_eq!(db.count("accounts").await, 1);
}

async fn unknown_accounts_are_refused(db: &TestDatabase) {
    let nobody = number("nobody");
    let unknown = Refusal::UnknownAccount { number: nobody.clone() };
    assert_eq!(refusal(db.store.account(&nobody).await), unknown);
    assert_eq!(refusal(db.store.overview_facts(&nobody).await), unknown);
    assert_eq!(refusal(db.store.log(&nobody, &Page::default()).await), unknown);
    // A filter that nothing matches is no mistake.
    let filter = EventFilter { account: Some(nobody), ..EventFilter::default() };
    assert!(db.store.events(&filter, &Page::default()).await.unwrap().items.is_empty());
}

async fn a_sum_that_no_number_can_hold_does_not_fail_a_list(db: &TestDatabase) {
    let huge = "92233720368547758.07";
    db.accounts([account("A-1"), account("A-2")]).await;
    db.debits([debit("A-1", "d", huge), debit("A-1", "e", huge), debit("A-2", "d", huge)]).await;
    let listed = db.store.accounts(&AccountFilter::default(), &Page::default()).await.unwrap().items;
    assert_eq!(listed[1].uninvoiced.minor, i64::MAX);
    assert_eq!(listed[0].uninvoiced.minor, i64::MAX, "as much as can be shown");
    db.account("A-1").await;
    let facts = db.store.overview_facts(&number("A-1")).await.unwrap();
    let overview = Overview::of(facts.clone(), facts.now);
    assert!(overview.blockers[0].contains("more than an invoice can hold"), "{:?}", overview.blockers);
}

async fn an_overview_is_read_in_one_view(db: &TestDatabase) {
    db.accounts([
        account("P").email("p@example.com"),
        account("A-1").parent("P").address("1 Main St"),
        account("C-1").parent("A-1"),
        account("C-2").parent("A-1").email("c@example.com"),
    ])
    .await;
    db.debits([debit("A-1", "d", "10.00").tax("1.00")]).await;
    db.disconnected("C-1").await;
    let (open, of_child) = (db.scheduled("A-1").await, db.scheduled("C-2").await);
    let before = db.dump().await;

    let facts = db.store.overview_facts(&number("A-1")).await.unwrap();

    assert_eq!(db.dump().await, before, "looking changes nothing");
    assert_eq!(facts.account, db.account("A-1").await);
    assert_eq!(facts.open_event, Some(db.event(open).await));
    let parent = facts.snapshot.family.parent.as_ref().unwrap();
    assert_eq!((parent.number.as_str(), parent.contact.email.as_deref()), ("P", Some("p@example.com")));
    let children: Vec<_> = facts.snapshot.family.children.iter().map(|child| child.number.as_str()).collect();
    assert_eq!(children, ["C-1", "C-2"]);
    assert!(
        facts.snapshot.family.children[0].disconnected_at.is_some()
            && facts.snapshot.family.children[0].status == "Inactive"
    );
    let second = &facts.snapshot.family.children[1];
    assert_eq!(second.open_event.as_ref().map(|open| open.id), Some(of_child));
    assert_eq!(second.disconnected_at, None);
    assert_eq!((facts.snapshot.debits.len(), facts.snapshot.debits[0].amount), (1, 1_000));
    assert_eq!(facts.snapshot.status.name, "Active");
    let overview = Overview::of(facts.clone(), facts.now);
    assert_eq!(overview.address_to_release.as_deref(), Some("1 Main St"));
    assert_eq!(overview.status_after.as_deref(), Some("Inactive"));
    assert_eq!(overview.final_invoice.unwrap().total.minor, 1_100);
    assert_eq!(overview.invoice_recipient.unwrap().account_number, "P");
    let single = db.store.overview_facts(&number("P")).await.unwrap();
    assert!(
        single.snapshot.family.parent.is_none() && single.open_event.is_none() && single.snapshot.debits.is_empty()
    );
}

async fn events_are_counted_by_state_with_their_lag(db: &TestDatabase) {
    let counts = db.store.event_counts(None).await.unwrap();
    assert_eq!((counts.open.scheduled, counts.completed, counts.open.overdue), (0, 0, 0));
    assert!(counts.open.lag_seconds.abs() < f64::EPSILON && counts.open.oldest_due_seconds.abs() < f64::EPSILON);
    db.accounts(["A-1", "A-2", "A-3", "A-4"].map(account)).await;
    db.disconnected("A-1").await;
    db.scheduled("A-2").await;
    db.queued("A-3").await;
    let overdue = db.due("A-4").await;
    db.make_overdue(overdue, 90).await;
    let counts = db.store.event_counts(None).await.unwrap();
    assert_eq!((counts.open.scheduled, counts.open.queued, counts.completed), (2, 1, 1));
    assert_eq!((counts.open.failed, counts.cancelled, counts.open.overdue), (0, 0, 1));
    let lag = counts.open.lag_seconds;
    assert!((89.0..150.0).contains(&lag), "{lag}");
    let open = db.store.open_counts().await.unwrap();
    assert_eq!((open.scheduled, open.queued, open.failed, open.overdue), (2, 1, 0, 1));
}

async fn events_are_counted_up_to_a_bound(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3", "A-4", "A-5", "A-6", "A-7"].map(account)).await;
    for number in ["A-1", "A-2", "A-3"] {
        db.disconnected(number).await;
    }
    for number in ["A-4", "A-5"] {
        db.scheduled(number).await;
    }
    for number in ["A-6", "A-7"] {
        let event = db.due(number).await;
        db.make_overdue(event, 90).await;
    }
    for (max, completed, scheduled, overdue) in
        [(None, 3, 4, 2), (Some(4), 3, 4, 2), (Some(3), 3, 3, 2), (Some(1), 1, 1, 1)]
    {
        let counts = db.store.event_counts(max).await.unwrap();
        assert_eq!((counts.completed, counts.open.scheduled, counts.cancelled), (completed, scheduled, 0), "{max:?}");
        assert_eq!(counts.open.overdue, overdue, "{max:?}");
        assert!(counts.open.lag_seconds > 80.0, "{max:?}: of the oldest of all");
    }
}

/// DESIGN 3: `due_at` is the business instant. `next_at` begins anew with each try, so it hides what never ends.
async fn what_is_taken_up_again_and_again_is_known_by_its_due_date(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3", "A-4"].map(account)).await;
    db.scheduled("A-1").await;
    let (queued, failing, retried) = (db.queued("A-2").await.event_id, db.due("A-3").await, db.due("A-4").await);
    let oldest = async || {
        let counts = db.store.open_counts().await.unwrap();
        (counts.oldest_due_seconds / 60.0).floor()
    };
    let came_due = async |event, minutes: i64, set: &str| {
        let (due, next) = (db.instant(-minutes * 60), db.instant(290));
        let change = format!("update disconnect_events set due_at = {due}, next_at = {next} {set} where id = {event}");
        assert_eq!(db.sql(&change).await, 1);
    };
    came_due(queued, 20, "").await;
    assert!((oldest().await - 20.0).abs() < f64::EPSILON, "it is queued, and comes again in five minutes");
    // It waits for its retry, and is counted as failed.
    came_due(failing, 40, ", failures = 1").await;
    assert!((oldest().await - 20.0).abs() < f64::EPSILON);
    came_due(retried, 60, "").await;
    assert!((oldest().await - 60.0).abs() < f64::EPSILON, "the broker refuses it each time, say");
    // And how often it was tried, whoever asked for it: of a campaign's events none has a due date of its own.
    assert_eq!(db.store.open_counts().await.unwrap().dispatches_max, 1);
    db.sql(&format!("update disconnect_events set lane = 7, dispatches = 9 where id = {queued}")).await;
    db.sql(&format!("update disconnect_events set dispatches = 12 where id = {retried}")).await;
    assert_eq!(db.store.open_counts().await.unwrap().dispatches_max, 9, "of those that are queued");
}

async fn a_calendar_counts_what_is_due_between_instants(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3", "A-4"].map(account)).await;
    for (number, when) in [("A-1", "2126-12-01"), ("A-2", "2126-12-01T23:59:59Z"), ("A-3", "2126-12-02T00:00:00Z")] {
        db.store.request(&request(number, when)).await.unwrap();
    }
    let cancelled = db.scheduled("A-4").await;
    db.store.change(cancelled, &Change::CANCEL, &clerk(), None).await.unwrap();
    let bounds =
        ["2126-11-30", "2126-12-01", "2126-12-02", "2126-12-03"].map(|day| format!("{day}T00:00:00Z").parse().unwrap());
    let counts = db.store.due_counts(&bounds).await.unwrap();
    let totals: Vec<_> = counts.iter().map(DueCounts::total).collect();
    assert_eq!(totals, [0, 3, 1], "an instant belongs to the span that it begins");
    assert_eq!((counts[1].of(State::Scheduled), counts[1].of(State::Cancelled)), (2, 1));
    assert!(!counts[1].is_cut());
    for none in [&bounds[..1], &[]] {
        assert!(db.store.due_counts(none).await.unwrap().is_empty());
    }
}
