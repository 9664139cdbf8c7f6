//! Who is in a campaign: the list as it was given, frozen.

use std::sync::Mutex;

use disconnectd::domain::actor::{Actor, Source};
use disconnectd::domain::campaign::cohort::BlockerKind;
use disconnectd::domain::campaign::{CampaignId, Command, Draft, Revision, State, Terms};
use disconnectd::domain::dispositions::Disposition;
use disconnectd::domain::import::{LISTED_MAX, Problem};
use disconnectd::domain::refusal::Refusal;
use disconnectd::store::campaigns::{CampaignFilter, Cohort, ENLIST_AT_START, Made, Making};
use disconnectd::store::{CHUNK_ROWS, Page};
use futures_util::future::join_all;

use crate::support::both_engines;
use crate::support::campaigns::{boss, draft, draft_on, filtered, lines, list, member, members, terms};
use crate::support::database::TestDatabase;
use crate::support::rows::{Row, account, debit};
use crate::support::scenario::{clerk, refusal};

both_engines!(
    a_list_keeps_its_order_dates_and_reasons,
    a_date_is_read_in_the_campaigns_zone_else_the_accounts_else_the_companys,
    a_cohort_is_frozen_when_it_is_made,
    a_row_that_repeats_an_account_and_a_date_in_the_past_are_bad_and_nothing_is_made,
    a_row_that_could_not_be_read_makes_no_campaign,
    all_bad_rows_are_told_also_those_that_are_only_counted,
    a_date_in_the_past_may_be_meant,
    an_unknown_account_is_a_member_that_is_left_out,
    an_empty_cohort_is_refused,
    everyone_is_refused_unless_it_is_meant,
    children_that_are_to_be_disconnected_are_members_however_deep,
    children_of_a_filters_accounts_are_members_too,
    children_go_at_the_instant_of_their_parent_whatever_their_zone,
    other_terms_take_children_in_and_out_and_keep_the_dates,
    a_new_cohort_takes_the_place_of_the_old_one,
    a_new_cohort_brings_its_failures_max_and_its_maker,
    of_two_who_change_what_they_saw_the_second_is_refused,
    what_has_begun_is_not_changed,
    a_long_list_is_taken_in_chunks,
    campaigns_are_listed_newest_first_by_state_and_name,
    an_unknown_campaign_is_refused_by_every_verb,
);

impl TestDatabase {
    /// The members' account numbers, in order.
    pub async fn members(&self, campaign: CampaignId) -> Vec<String> {
        self.texts(&format!(
            "select account_number from campaign_members where campaign_id = {campaign} order by position"
        ))
        .await
    }

    async fn refused_cohort(&self, cohort: Cohort) -> Refusal {
        let before = self.dump().await;
        let refusal = refusal(self.store.create_campaign(&draft("x"), cohort, Making::QUIET).await);
        assert_eq!(self.dump().await, before);
        refusal
    }

    async fn revised(&self, campaign: CampaignId, terms: Terms) -> (i64, i32) {
        let revision = Revision { terms: Some(terms), ..self.revision(campaign).await };
        match self.store.change_campaign(campaign, &revision, None, &clerk(), Making::QUIET).await.unwrap() {
            Made::Campaign(view) => (view.counts.accounts, view.revision),
            Made::BadRows(bad) => panic!("{bad:?}"),
        }
    }
}

async fn a_list_keeps_its_order_dates_and_reasons(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3"].map(account)).await;
    let draft = draft_on("Tower 7", Terms { on: Some("2126-12-01".into()), ..terms() });
    let rows = [member("A-3"), member("A-1").on("2126-11-05T09:30").because("asked for it"), member("A-2").on("now")];
    let view = db.made(&draft, members(rows)).await;
    assert_eq!((view.name.as_str(), view.state, view.revision), ("Tower 7", State::Draft, 1));
    assert_eq!((view.counts.accounts, view.counts.waiting, &view.filter), (3, 3, &None));
    assert_eq!((view.terms, view.created_by.as_str(), view.started_at), (draft.terms, "clerk", None));
    assert_eq!(db.members(view.id).await, ["A-3", "A-1", "A-2"]);
    db.start(view.id).await;
    let shown = async |account: &str| {
        let event = db.event(db.event_of(view.id, account).await).await;
        let planned = event.planned.planned_for.unwrap_or_default();
        (event.due_at.to_rfc3339(), planned, event.reason.unwrap_or_default(), event.due_at)
    };
    let (due_at, planned, reason, _) = shown("A-3").await;
    assert_eq!((due_at.as_str(), planned.as_str()), ("2126-12-01T00:00:00+00:00", "2126-12-01"));
    assert_eq!(reason, "the tower is taken down");
    let (due_at, planned, reason, _) = shown("A-1").await;
    assert_eq!((due_at.as_str(), planned.as_str()), ("2126-11-05T09:30:00+00:00", "2126-11-05T09:30"));
    assert_eq!(reason, "asked for it");
    let (_, planned, _, due_at) = shown("A-2").await;
    assert_eq!((planned.as_str(), Some(due_at)), ("", db.campaign(view.id).await.started_at), "now is the start");
}

async fn a_date_is_read_in_the_campaigns_zone_else_the_accounts_else_the_companys(db: &TestDatabase) {
    db.accounts([account("tokyo").zone("Asia/Tokyo"), account("company")]).await;
    let on = Terms { on: Some("2126-12-01".into()), ..terms() };
    let due = async |terms: Terms| {
        let id = db.made(&draft_on("x", terms), list(["tokyo", "company"])).await.id;
        db.start(id).await;
        let mut due = Vec::new();
        for account in ["tokyo", "company"] {
            let event = db.event(db.event_of(id, account).await).await;
            due.push((event.due_at.to_rfc3339(), event.planned.zone.unwrap()));
        }
        db.abort(id).await;
        db.upkeep().await;
        due
    };
    let at = |at: &str, zone: &str| (at.to_owned(), zone.to_owned());
    assert_eq!(
        due(on.clone()).await,
        [at("2126-11-30T15:00:00+00:00", "Asia/Tokyo"), at("2126-12-01T00:00:00+00:00", "UTC")]
    );
    let berlin = at("2126-11-30T23:00:00+00:00", "Europe/Berlin");
    assert_eq!(due(Terms { on_zone: Some(chrono_tz::Europe::Berlin), ..on }).await, [berlin.clone(), berlin]);
}

async fn a_cohort_is_frozen_when_it_is_made(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "other"].map(|number| account(number).groups(&["tower"]).status("Active"))).await;
    let (draft, cohort) = filtered("x", "group = tower and number != other");
    let view = db.made(&draft, cohort).await;
    assert_eq!(view.filter.as_deref(), Some("group = tower and number != other"));
    db.accounts([account("A-3").groups(&["tower"])]).await;
    db.start(view.id).await;
    db.run_campaigns().await;
    assert_eq!(db.members(view.id).await, ["A-1", "A-2"]);
    assert_eq!(db.counts(view.id).await.disconnected, 2);
    assert_eq!(db.account("A-3").await.disconnected_at, None, "it came later");
}

fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by_key(|problem| problem.line);
    problems
}

async fn a_row_that_repeats_an_account_and_a_date_in_the_past_are_bad_and_nothing_is_made(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3"].map(account)).await;
    let before = db.dump().await;
    let rows = [member("A-1"), member("A-2").on("2020-01-01"), member("A-1"), member("A-3"), member("A-1")];
    let (bad, told) = db.bad_rows(&draft("x"), members(rows)).await;
    assert_eq!((bad.rows, bad.total(), bad.problems_not_listed), (5, 3, 0));
    let problems = sorted(bad.problems);
    let shown: Vec<_> = problems.iter().map(|problem| (problem.line, problem.column)).collect();
    assert_eq!(shown, [(3, "date"), (4, "account_number"), (6, "account_number")]);
    assert!(problems[0].message.contains("2020-01-01 is in the past"), "{}", problems[0].message);
    assert_eq!(problems[1].message, "`A-1` stands in line 2 already");
    assert_eq!(problems[2].message, "`A-1` stands in line 2 already");
    assert_eq!(sorted(told), problems);
    assert_eq!(db.dump().await, before);
}

async fn a_row_that_could_not_be_read_makes_no_campaign(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let before = db.dump().await;
    let unreadable = Problem::new(3, "date", "`tomorrow` is not a date");
    let rows = vec![Ok(member("A-1").at_line(2)), Err(unreadable.clone()), Ok(member("A-1").at_line(4))];
    let (bad, told) = db.bad_rows(&draft("x"), lines(rows)).await;
    let told = sorted(told);
    assert_eq!((bad.total(), told.len(), &told[0], told[1].line), (2, 2, &unreadable, 4));
    assert_eq!(db.dump().await, before);
}

async fn all_bad_rows_are_told_also_those_that_are_only_counted(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let rows = LISTED_MAX + CHUNK_ROWS;
    let (bad, told) = db.bad_rows(&draft("x"), list(std::iter::repeat_n("A-1", rows))).await;
    assert_eq!((bad.rows, bad.total()), (rows as u64, rows as u64 - 1));
    assert_eq!((bad.problems.len(), bad.problems_not_listed), (LISTED_MAX, (CHUNK_ROWS - 1) as u64));
    assert_eq!(told.len(), rows - 1);
    assert_eq!(db.count("campaigns").await + db.count("campaign_members").await, 0);
}

async fn a_date_in_the_past_may_be_meant(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let mut draft = draft("x");
    draft.late = true;
    let id = db.made(&draft, members([member("A-1").on("2020-01-01")])).await.id;
    let started = db.start(id).await.campaign;
    let event = db.event(db.event_of(id, "A-1").await).await;
    assert_eq!(event.due_at.to_rfc3339(), "2020-01-01T00:00:00+00:00");
    assert!(event.next_at >= started.started_at, "due long ago, it is overdue only from now on");
    assert_eq!(db.claimed(10).await.len(), 1);
}

async fn an_unknown_account_is_a_member_that_is_left_out(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let id = db.drafted(["ghost", "A-1"]).await;
    assert_eq!(db.counts(id).await.accounts, 2);
    // Frozen: it was not there when the cohort was made.
    db.accounts([account("ghost")]).await;
    let dry_run = db.dry_run(id).await;
    assert_eq!((dry_run.accounts, dry_run.to_disconnect, dry_run.left_out), (2, 1, 1));
    assert_eq!(dry_run.blockers[0].kind, BlockerKind::UnknownAccount);
    db.start(id).await;
    db.run_campaigns().await;
    let counts = db.counts(id).await;
    assert_eq!((counts.left_out, counts.disconnected), (1, 1));
    assert_eq!(db.account("ghost").await.disconnected_at, None);
}

async fn an_empty_cohort_is_refused(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let none: [&str; 0] = [];
    for cohort in [list(none), filtered("x", "group = nobody").1] {
        let refused = db.refused_cohort(cohort).await;
        assert!(matches!(refused, Refusal::EmptyCohort { .. }), "{refused}");
    }
}

async fn everyone_is_refused_unless_it_is_meant(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "gone"].map(account)).await;
    db.disconnected("gone").await;
    let all = "status = Active";
    assert_eq!(db.refused_cohort(filtered("x", all).1).await, Refusal::EveryoneSelected { accounts: 2 });
    let (mut meant, cohort) = filtered("x", all);
    meant.everyone = true;
    assert_eq!(db.made(&meant, cohort).await.counts.accounts, 2);
    // A list names each, so it says what is meant.
    assert_eq!(db.made(&draft("x"), list(["A-1", "A-2"])).await.counts.accounts, 2);
    db.accounts([account("A-3").status("Lead")]).await;
    let (of_some, cohort) = filtered("x", all);
    assert_eq!(db.made(&of_some, cohort).await.counts.accounts, 2, "these are not all any more");
}

/// P has C and D below it, C has G, G has H; gone was disconnected.
async fn family(db: &TestDatabase) {
    let child = |number: &str, parent: &str| account(number).parent(parent).email("x@example.com");
    db.accounts([
        account("P"),
        child("C", "P"),
        child("D", "P"),
        child("G", "C"),
        child("H", "G"),
        child("gone", "P"),
        account("other").status("Lead"),
    ])
    .await;
    db.disconnected("gone").await;
}

fn with_children(on: Option<&str>) -> Terms {
    Terms { children: Some(Disposition::Disconnect), on: on.map(str::to_owned), ..terms() }
}

async fn children_that_are_to_be_disconnected_are_members_however_deep(db: &TestDatabase) {
    family(db).await;
    let draft = draft_on("x", with_children(Some("2126-12-01")));
    let id = db.made(&draft, list(["D", "P"])).await.id;
    let all = db.members(id).await;
    assert_eq!(all[..2], ["D", "P"], "behind all others");
    let mut children = all[2..].to_vec();
    children.sort_unstable();
    assert_eq!(children, ["C", "G", "H"], "however deep, and none twice");
    let marked = db
        .texts(&format!(
            "select m.account_number || ' ' || p.number from campaign_members m join accounts p on p.id = m.parent_id \
             where m.campaign_id = {id} order by m.account_number"
        ))
        .await;
    assert_eq!(marked, ["C P", "G C", "H G"]);
    let dry_run = db.dry_run(id).await;
    assert_eq!((dry_run.to_disconnect, dry_run.blockers, dry_run.can_start), (5, vec![], true));
    let due = format!("select count(*) from campaign_members where campaign_id = {id} and due_at is not null");
    assert_eq!(db.number(&due).await, 5, "their dates too are frozen");
}

async fn children_of_a_filters_accounts_are_members_too(db: &TestDatabase) {
    family(db).await;
    let (mut draft, cohort) = filtered("x", "number in (C, other)");
    draft.terms = with_children(None);
    let id = db.made(&draft, cohort).await.id;
    assert_eq!(db.members(id).await[..2], ["C", "other"], "of a filter in the order of the ids");
    assert_eq!(db.members(id).await.len(), 4);
}

async fn children_go_at_the_instant_of_their_parent_whatever_their_zone(db: &TestDatabase) {
    let far = account("C").zone("Pacific/Auckland").parent("P");
    db.accounts([account("P").zone("America/New_York"), far]).await;
    let id = db.made(&draft("x"), members([member("P").on("2126-12-01")])).await.id;
    db.revised(id, with_children(None)).await;
    let dates = |number: &str| {
        format!(
            "select planned_for || ' ' || zone || ' ' || due_at from campaign_members \
             where campaign_id = {id} and account_number = '{number}'"
        )
    };
    let parents = db.texts(&dates("P")).await;
    assert!(parents[0].starts_with("2126-12-01 America/New_York 2126-12-01"), "{parents:?}");
    assert_eq!(db.texts(&dates("C")).await, parents);
}

async fn other_terms_take_children_in_and_out_and_keep_the_dates(db: &TestDatabase) {
    family(db).await;
    let rows = || [member("P").on("2126-11-05"), member("D")];
    let id = db.made(&draft("x"), members(rows())).await.id;
    assert_eq!(db.revised(id, with_children(None)).await, (5, 2));
    assert_eq!(db.members(id).await[..2], ["P", "D"]);
    assert_eq!(db.revised(id, terms()).await, (2, 3));
    assert_eq!(db.members(id).await, ["P", "D"]);
    assert_eq!(db.dry_run(id).await.children_kept, 1, "C alone is asked about: D is a member");
    let dated =
        format!("select count(*) from campaign_members where campaign_id = {id} and planned_for = '2126-11-05'");
    assert_eq!(db.number(&dated).await, 1);
}

async fn a_new_cohort_takes_the_place_of_the_old_one(db: &TestDatabase) {
    db.accounts([account("A-1"), account("A-2").groups(&["tower"]), account("A-3")]).await;
    let id = db.drafted(["A-1", "A-2"]).await;
    let first = db.dry_run(id).await.digest;
    let change = async |cohort: Cohort, draft| {
        let revision = Revision { name: Some("Another".into()), ..db.revision(id).await };
        db.store.change_campaign(id, &revision, Some((draft, cohort)), &boss(), Making::QUIET).await.unwrap()
    };
    let Made::Campaign(view) = change(list(["A-3", "A-1", "A-2"]), draft("x")).await else { panic!("they are good") };
    assert_eq!((view.name.as_str(), view.counts.accounts, view.revision), ("Another", 3, 2));
    assert_eq!(db.members(id).await, ["A-3", "A-1", "A-2"]);
    assert_ne!(db.dry_run(id).await.digest, first);
    let (filters, cohort) = filtered("x", "group = tower");
    let Made::Campaign(view) = change(cohort, filters).await else { panic!("there is one") };
    assert_eq!((view.filter.as_deref(), view.counts.accounts, view.revision), (Some("group = tower"), 1, 3));
    // Bad rows leave it as it is.
    let before = db.dump().await;
    let bad = change(list(["A-1", "A-1"]), draft("x")).await;
    assert!(matches!(bad, Made::BadRows(_)), "{bad:?}");
    assert_eq!(db.dump().await, before);
}

async fn a_new_cohort_brings_its_failures_max_and_its_maker(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    let id = db.drafted(["A-1"]).await;
    let revision = db.revision(id).await;
    let other = Draft { failures_max: 7, by: Actor::new("another maker", Source::Api), ..draft("x") };
    let cohort = Some((other, list(["A-2"])));
    db.store.change_campaign(id, &revision, cohort, &boss(), Making::QUIET).await.unwrap();
    let stored = db.texts(&format!("select failures_max || ' ' || changed_by from campaigns where id = {id}")).await;
    assert!(stored[0].starts_with("7 ") && stored[0].contains("another maker"), "{stored:?}");
}

async fn of_two_who_change_what_they_saw_the_second_is_refused(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3"].map(account)).await;
    let id = db.drafted(["A-1"]).await;
    let of = db.campaign(id).await.revision;
    let stores = [db.open().await, db.open().await];
    let changes = stores.into_iter().zip(["A-2", "A-3"]).map(|(store, number)| {
        let revision = Revision { of, name: Some(format!("of {number}")), terms: None };
        let cohort = Some((draft("x"), list([number])));
        tokio::spawn(async move { store.change_campaign(id, &revision, cohort, &boss(), Making::QUIET).await })
    });
    let ended: Vec<_> = join_all(changes).await.into_iter().map(Result::unwrap).collect();
    let refused: Vec<_> = ended.into_iter().filter(Result::is_err).collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    for refused in refused {
        assert_eq!(refusal(refused), Refusal::CampaignChanged { campaign: id });
    }
    let view = db.campaign(id).await;
    assert_eq!((view.revision, format!("of {}", db.members(id).await[0])), (2, view.name));
}

async fn what_has_begun_is_not_changed(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    let id = db.started(["A-1"]).await;
    let before = db.dump().await;
    for cohort in [None, Some((draft("x"), list(["A-2"])))] {
        let revision = Revision { name: Some("Another".into()), ..db.revision(id).await };
        let refused = refusal(db.store.change_campaign(id, &revision, cohort, &clerk(), Making::QUIET).await);
        let expected = Refusal::CampaignState { campaign: id, wanted: "changed", state: State::Running };
        assert_eq!(refused, expected);
    }
    assert_eq!(db.dump().await, before);
}

async fn a_long_list_is_taken_in_chunks(db: &TestDatabase) {
    const COUNT: u32 = 20_500;
    db.many_accounts("N", COUNT).await;
    db.debits([debit("N1", "d", "1.00"), debit("N20500", "d", "2.00")]).await;
    // Backwards, so that no order of the database's own is the list's.
    let rows = || (1..=COUNT).rev().map(|n| member(format!("N{n}")));
    let (bad, _) = db.bad_rows(&draft("x"), members(rows().chain([member("N20500")]))).await;
    assert_eq!(
        (bad.total(), bad.problems[0].line, bad.problems[0].message.as_str()),
        (1, 20_502, "`N20500` stands in line 2 already")
    );
    let told = Mutex::new(Vec::new());
    let progress = |members: u64| told.lock().unwrap().push(members);
    let made = db
        .store
        .create_campaign(
            &draft_on("x", Terms { canary: Some(10), ..terms() }),
            members(rows().chain([member("ghost")])),
            Making { problem: &|_| {}, progress: &progress },
        )
        .await
        .unwrap();
    let Made::Campaign(view) = made else { panic!("{made:?}") };
    let told = told.into_inner().unwrap();
    assert!(told.len() > 1 && told.is_sorted() && told.iter().all(|told| *told <= 20_501), "{told:?}");
    assert_eq!(view.counts.accounts, 20_501);
    let before = db.members(view.id).await;
    assert_eq!((before[0].as_str(), before[20_499].as_str(), before[20_500].as_str()), ("N20500", "N1", "ghost"));
    let dry_run = db.dry_run(view.id).await;
    assert_eq!((dry_run.accounts, dry_run.to_disconnect, dry_run.left_out), (20_501, 20_500, 1));
    assert_eq!((dry_run.invoices, dry_run.nothing_to_invoice), (2, 20_498));
    assert_eq!(dry_run.final_invoices[0].minor, 300);
    db.store.approve_campaign(view.id, Some(&dry_run.digest), &boss()).await.unwrap();
    let counts = db.start(view.id).await.campaign.counts;
    assert_eq!((counts.scheduled, counts.waiting), (i64::from(ENLIST_AT_START), 20_501 - i64::from(ENLIST_AT_START)));
    // Its canary runs all the same.
    let orders = db.claimed(500).await;
    assert_eq!(db.accounts_of(&orders).await, before[..10]);
    db.upkeep().await;
    let counts = db.counts(view.id).await;
    assert_eq!((counts.scheduled, counts.queued, counts.waiting, counts.left_out), (20_490, 10, 0, 1));
}

async fn campaigns_are_listed_newest_first_by_state_and_name(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    let mut ids = Vec::new();
    for name in ["Tower 7", "Unpaid", "TOWER 8"] {
        ids.push(db.made(&draft(name), list(["A-1"])).await.id);
    }
    db.start(ids[0]).await;
    let listed = async |filter: CampaignFilter, limit: u32| {
        let mut page = Page { after: None, limit };
        let mut listed = Vec::new();
        loop {
            let part = db.store.campaigns(&filter, &page).await.unwrap();
            assert!(part.items.len() <= limit as usize);
            listed.extend(part.items.into_iter().map(|view| view.id));
            page.after = part.next_cursor;
            if page.after.is_none() {
                return listed;
            }
        }
    };
    for limit in [1, 2, 50] {
        assert_eq!(listed(CampaignFilter::default(), limit).await, [ids[2], ids[1], ids[0]]);
        let tower = CampaignFilter { search: Some("tower".into()), ..CampaignFilter::default() };
        assert_eq!(listed(tower, limit).await, [ids[2], ids[0]]);
    }
    let running = CampaignFilter { state: Some(State::Running), ..CampaignFilter::default() };
    assert_eq!(listed(running, 50).await, [ids[0]]);
    let odd = CampaignFilter { search: Some("%".into()), ..CampaignFilter::default() };
    assert_eq!(listed(odd, 50).await, []);
    // What a list shows of one is what it shows alone.
    let first = db.store.campaigns(&CampaignFilter::default(), &Page::default()).await.unwrap().items.pop().unwrap();
    let alone = db.campaign(ids[0]).await;
    assert_eq!((first.counts, &first.totals, first.state), (alone.counts, &alone.totals, alone.state));
}

async fn an_unknown_campaign_is_refused_by_every_verb(db: &TestDatabase) {
    let campaign = CampaignId(404);
    let unknown = Refusal::UnknownCampaign { campaign };
    assert_eq!(refusal(db.store.campaign(campaign).await), unknown);
    assert_eq!(refusal(db.store.dry_run(campaign).await), unknown);
    assert_eq!(refusal(db.store.approve_campaign(campaign, None, &boss()).await), unknown);
    assert_eq!(refusal(db.store.start_campaign(campaign, None, &clerk()).await), unknown);
    for command in [Command::Pause { note: None }, Command::Resume, Command::Abort { note: None }, Command::Retry] {
        assert_eq!(refusal(db.store.command_campaign(campaign, &command, &clerk()).await), unknown);
    }
    let revision = Revision { of: 1, name: None, terms: None };
    let changed = db.store.change_campaign(campaign, &revision, None, &clerk(), Making::QUIET).await;
    assert_eq!(refusal(changed), unknown);
    let (sender, _chunks) = tokio::sync::mpsc::channel(1);
    assert_eq!(refusal(db.store.report(campaign, sender).await), unknown);
    let (sender, _chunks) = tokio::sync::mpsc::channel(1);
    assert_eq!(refusal(db.store.blockers(campaign, sender).await), unknown);
}
