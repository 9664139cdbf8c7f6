//! A campaign starts: its members become events, or are left out with the reason.

use disconnectd::domain::account::LogKind;
use disconnectd::domain::campaign::cohort::BlockerKind;
use disconnectd::domain::campaign::{CampaignId, State, Terms};
use disconnectd::domain::dispositions::{Choice, Disposition, Dispositions};
use disconnectd::domain::event;
use disconnectd::domain::refusal::Refusal;
use disconnectd::domain::request::DisconnectRequest;
use disconnectd::store::Requested;

use crate::support::both_engines;
use crate::support::campaigns::{boss, draft, draft_on, list, member, members, terms};
use crate::support::database::TestDatabase;
use crate::support::rows::{account, debit};
use crate::support::scenario::{FAILURES_MAX, clerk, refusal, request};

both_engines!(
    members_become_events_of_the_campaign_in_its_lanes,
    the_log_says_which_campaign_and_who_started_it,
    rule_6_a_member_with_an_open_event_is_left_out_and_that_event_goes_on,
    rule_6_a_single_request_names_the_campaigns_event,
    a_member_that_was_disconnected_meanwhile_is_left_out,
    what_it_owed_then_is_kept_as_what_is_expected,
    a_family_that_nobody_decided_about_stops_it_and_is_named,
    many_undecided_families_are_counted_and_the_first_are_named,
    kept_children_are_decided_about_with_the_parents_event,
    unlinked_children_leave_their_parent_when_it_starts,
    children_that_are_members_too_are_decided_about_with_both_events,
    a_start_with_the_digest_of_another_dry_run_is_refused,
    a_campaign_with_nobody_to_disconnect_is_not_started,
    a_start_repeated_does_nothing,
    the_rules_1_to_3_hold_for_each_of_its_disconnects,
);

impl TestDatabase {
    async fn refused_to_start(&self, campaign: CampaignId, digest: Option<&str>) -> Refusal {
        let before = self.dump().await;
        let refused = refusal(self.store.start_campaign(campaign, digest, &clerk()).await);
        assert_eq!(self.dump().await, before);
        refused
    }

    /// Why members were left out, in their order: number, kind, note.
    async fn left_out(&self, campaign: CampaignId) -> Vec<String> {
        self.texts(&format!(
            "select account_number || ' ' || left_out || ': ' || left_out_note from campaign_members \
             where campaign_id = {campaign} and left_out is not null order by position"
        ))
        .await
    }
}

async fn members_become_events_of_the_campaign_in_its_lanes(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3"].map(account)).await;
    let draft = draft_on("x", Terms { canary: Some(2), ..terms() });
    let id = db.made(&draft, list(["A-2", "A-3", "A-1"])).await.id;
    let commanded = db.store.start_campaign(id, None, &boss()).await.unwrap();
    let view = commanded.campaign;
    assert_eq!((view.state, view.started_by.as_deref()), (State::Running, Some("boss")));
    assert_eq!((view.counts.scheduled, view.counts.waiting), (3, 0), "all of it is there when it answers");
    let lanes = format!("select cast(lane as text) from disconnect_events where campaign_id = {id} order by id");
    assert_eq!(db.texts(&lanes).await, [format!("-{id}"), format!("-{id}"), id.to_string()]);
    let mut events = Vec::new();
    for account in ["A-2", "A-3", "A-1"] {
        events.push(db.event_of(id, account).await);
    }
    assert!(events.is_sorted(), "in the order of the list");
    let event = db.event(events[0]).await;
    assert_eq!((event.campaign_id, event.state, event.attempt.0), (Some(id), event::State::Scheduled, 0));
    assert_eq!((event.failures, event.failures_max), (0, FAILURES_MAX));
    assert_eq!((event.requested_by.as_str(), event.requested_from.as_str()), ("boss", "api"));
    assert_eq!(event.reason.as_deref(), Some("the tower is taken down"));
    assert_eq!(Some(event.due_at), view.started_at);
    assert!(event.next_at.unwrap() >= event.due_at && event.next_at.unwrap() <= db.store.now().await.unwrap());
    assert_eq!(event.agreed, None, "what was agreed to is the campaign's dry run");
    assert_eq!(db.account("A-2").await.open_event, Some(event.id));
}

async fn the_log_says_which_campaign_and_who_started_it(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    let id = db.made(&draft("Tower 7"), members([member("A-1").because("own"), member("A-2")])).await.id;
    db.store.start_campaign(id, None, &boss()).await.unwrap();
    for (account, reason) in [("A-1", "own"), ("A-2", "the tower is taken down")] {
        let entry = db.log(account).await.pop().unwrap();
        assert_eq!((entry.kind, entry.actor.as_str(), entry.source.as_str()), (LogKind::Scheduled, "boss", "api"));
        assert_eq!(entry.event_id, Some(db.event_of(id, account).await));
        assert!(entry.message.contains(&format!("campaign {id} (Tower 7)")), "{}", entry.message);
        assert_eq!(entry.reason.as_deref(), Some(reason));
    }
}

async fn rule_6_a_member_with_an_open_event_is_left_out_and_that_event_goes_on(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3"].map(account)).await;
    let own = db.scheduled("A-1").await;
    let first = db.started(["A-2"]).await;
    let id = db.started(["A-1", "A-2", "A-3"]).await;
    let counts = db.counts(id).await;
    assert_eq!((counts.left_out, counts.scheduled), (2, 1));
    let notes = db.left_out(id).await;
    assert_eq!(notes[0], format!("A-1 open_event: it has event {own} already; that one goes on"));
    let event = db.event_of(first, "A-2").await;
    assert_eq!(notes[1], format!("A-2 open_event: it has event {event} of campaign {first} already; that one goes on"));
    assert_eq!(db.account("A-1").await.open_event, Some(own));
    db.run_campaigns().await;
    assert_eq!([db.campaign_state(first).await, db.campaign_state(id).await], [State::Completed; 2]);
}

async fn rule_6_a_single_request_names_the_campaigns_event(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let id = db.started(["A-1"]).await;
    let open = db.event_of(id, "A-1").await;
    match refusal(db.store.request(&request("A-1", "2126-12-01")).await) {
        Refusal::OpenEvent { event, .. } => assert_eq!(event, open),
        other => panic!("{other}"),
    }
}

async fn a_member_that_was_disconnected_meanwhile_is_left_out(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    let id = db.drafted(["A-1", "A-2"]).await;
    db.disconnected("A-1").await;
    db.start(id).await;
    let notes = db.left_out(id).await;
    assert!(notes[0].starts_with("A-1 already_disconnected: it has been disconnected since 20"), "{notes:?}");
    assert_eq!(db.counts(id).await.left_out, 1);
}

async fn what_it_owed_then_is_kept_as_what_is_expected(db: &TestDatabase) {
    db.accounts([account("A-1"), account("A-2"), account("A-3").currency("EUR")]).await;
    db.debits([debit("A-1", "d1", "5.00").tax("0.10"), debit("A-1", "d2", "1.00"), debit("A-3", "d", "2.00")]).await;
    let id = db.drafted(["A-1", "A-2", "A-3"]).await;
    db.debits([debit("A-1", "d3", "1.00")]).await;
    db.start(id).await;
    db.debits([debit("A-1", "d4", "9.00")]).await;
    let expected: Vec<_> = db.campaign(id).await.totals.expected.iter().map(ToString::to_string).collect();
    let expected: Vec<_> = expected.into_iter().filter(|sum| !sum.starts_with("0.00")).collect();
    assert_eq!(expected, ["2.00 EUR", "7.10 USD"]);
}

async fn a_family_that_nobody_decided_about_stops_it_and_is_named(db: &TestDatabase) {
    db.accounts([account("P"), account("C").parent("P"), account("A-1")]).await;
    let id = db.made(&draft_on("x", Terms { children: None, ..terms() }), list(["A-1", "P"])).await.id;
    match db.refused_to_start(id, None).await {
        Refusal::CampaignBlocked { campaign, accounts, children } => {
            assert_eq!((campaign, accounts), (id, 1));
            assert!(children.iter().any(|child| child.contains('C')), "{children:?}");
        }
        other => panic!("{other}"),
    }
    // One that comes after the cohort was made is decided about by nobody, whatever was said of those before.
    let all = Terms { children: Some(Disposition::Disconnect), ..terms() };
    let id = db.made(&draft_on("y", all), list(["A-1", "P"])).await.id;
    db.accounts([account("late").parent("A-1").email("x@b.c")]).await;
    match db.refused_to_start(id, None).await {
        Refusal::CampaignBlocked { children, .. } => {
            assert!(children.iter().any(|child| child.contains("late")), "{children:?}");
        }
        other => panic!("{other}"),
    }
}

async fn many_undecided_families_are_counted_and_the_first_are_named(db: &TestDatabase) {
    let parents: Vec<_> = (0..30).map(|n| format!("P-{n:02}")).collect();
    db.accounts(parents.iter().map(|number| account(number))).await;
    db.accounts(parents.iter().map(|number| account(&format!("child-{number}")).parent(number))).await;
    let id = db.made(&draft_on("x", Terms { children: None, ..terms() }), list(&parents)).await.id;
    let refused = db.refused_to_start(id, None).await;
    let Refusal::CampaignBlocked { accounts: 30, children, .. } = &refused else { panic!("{refused}") };
    assert!(!children.is_empty() && children.len() <= 20, "{children:?}");
    assert!(refused.to_string().contains("30 of its accounts"), "{refused}");
}

async fn kept_children_are_decided_about_with_the_parents_event(db: &TestDatabase) {
    db.accounts([account("P"), account("C").parent("P").email("c@b.c"), account("D").parent("P")]).await;
    let id = db.started(["P"]).await;
    let event = db.event(db.event_of(id, "P").await).await;
    let mut kept: Vec<_> =
        event.children.iter().map(|child| (child.number.as_str(), child.disposition, child.event_id)).collect();
    kept.sort_unstable_by_key(|(number, ..)| *number);
    assert_eq!(kept, [("C", Disposition::Keep, None), ("D", Disposition::Keep, None)]);
    assert_eq!(event.to_decide, Vec::<String>::new());
    let contacts = "select number || ' ' || (case when had_contact then 'yes' else 'no' end) from family_decisions d \
                    join accounts a on a.id = d.child_id order by 1";
    assert_eq!(db.texts(contacts).await, ["C yes", "D no"]);
    db.run_campaigns().await;
    let child = db.account("C").await;
    assert_eq!((child.disconnected_at, child.parent_number.unwrap().as_str()), (None, "P"), "rule 5");
}

async fn unlinked_children_leave_their_parent_when_it_starts(db: &TestDatabase) {
    db.accounts([
        account("P"),
        account("C").parent("P").email("c@b.c"),
        account("D").parent("P").email("d@b.c"),
        account("Q"),
        account("E").parent("Q").email("e@b.c"),
    ])
    .await;
    let unlink = Terms { children: Some(Disposition::Unlink), ..terms() };
    let id = db.started_on(unlink, ["P", "Q"]).await;
    for child in ["C", "D", "E"] {
        assert_eq!(db.account(child).await.parent_number, None, "{child}");
        let log = db.log(child).await;
        assert!(log.iter().any(|entry| entry.kind == LogKind::Unlinked), "{log:?}");
    }
    let event = db.event(db.event_of(id, "P").await).await;
    assert_eq!(event.children.len(), 2);
    assert!(event.children.iter().all(|child| child.disposition == Disposition::Unlink));
    assert_eq!(event.to_decide, Vec::<String>::new());
    // No import links it again.
    let report = db.import_accounts([account("C").parent("P").email("c@b.c")]).await;
    assert!(!report.notes.is_empty() || !report.problems.is_empty(), "{report:?}");
    assert_eq!(db.account("C").await.parent_number, None);
    db.run_campaigns().await;
    assert_eq!(db.account("C").await.disconnected_at, None);
}

async fn children_that_are_members_too_are_decided_about_with_both_events(db: &TestDatabase) {
    let child = |number: &str, parent: &str| account(number).parent(parent).email("x@b.c");
    db.accounts([account("P"), child("C", "P"), child("G", "C"), account("Q"), child("D", "Q")]).await;
    let all = Terms { children: Some(Disposition::Disconnect), ..terms() };
    // D before its parent, C and G behind theirs.
    let id = db.started_on(all, ["P", "D", "Q"]).await;
    for (parent, child) in [("P", "C"), ("C", "G"), ("Q", "D")] {
        let (parents, childs) = (db.event_of(id, parent).await, db.event_of(id, child).await);
        let event = db.event(parents).await;
        assert_eq!(event.children.len(), 1, "{parent}");
        let decided = &event.children[0];
        assert_eq!((decided.number.as_str(), decided.disposition), (child, Disposition::Disconnect));
        assert_eq!(decided.event_id, Some(childs));
        assert_eq!(db.event(childs).await.parent_event_id, Some(parents));
        assert_eq!(event.to_decide, Vec::<String>::new());
    }
    db.run_campaigns().await;
    let counts = db.counts(id).await;
    assert_eq!((counts.accounts, counts.disconnected), (5, 5));
}

async fn a_start_with_the_digest_of_another_dry_run_is_refused(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    let id = db.drafted(["A-1", "A-2"]).await;
    let digest = db.dry_run(id).await.digest;
    db.disconnected("A-1").await;
    let refused = db.refused_to_start(id, Some(&digest)).await;
    assert!(matches!(refused, Refusal::StaleDryRun { .. }), "{refused}");
    let digest = db.dry_run(id).await.digest;
    let started = db.store.start_campaign(id, Some(&digest), &clerk()).await.unwrap();
    assert_eq!(started.campaign.agreed.unwrap().digest, digest);
}

async fn a_campaign_with_nobody_to_disconnect_is_not_started(db: &TestDatabase) {
    db.accounts(["gone", "busy"].map(account)).await;
    db.disconnected("gone").await;
    db.scheduled("busy").await;
    let id = db.drafted(["ghost", "gone", "busy"]).await;
    assert!(!db.dry_run(id).await.can_start);
    assert_eq!(db.refused_to_start(id, None).await, Refusal::NobodyLeft { campaign: id });
}

async fn a_start_repeated_does_nothing(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    let id = db.started(["A-1", "A-2"]).await;
    let before = db.dump().await;
    let again = db.store.start_campaign(id, None, &boss()).await.unwrap().campaign;
    assert_eq!((again.state, again.started_by.as_deref()), (State::Running, Some("clerk")));
    assert_eq!(db.dump().await, before);
    db.pause(id).await;
    let refused = db.refused_to_start(id, None).await;
    assert_eq!(refused, Refusal::CampaignState { campaign: id, wanted: "started", state: State::Paused });
}

async fn the_rules_1_to_3_hold_for_each_of_its_disconnects(db: &TestDatabase) {
    db.accounts([account("A-1").address("1 Main St"), account("A-2"), account("C").parent("A-2").email("c@b.c")]).await;
    db.debits([debit("A-1", "d", "5.00").tax("0.40")]).await;
    let id = db.started(["A-1", "A-2"]).await;
    let notes = db.run_campaigns().await;
    assert_eq!(notes.len(), 1, "that it is complete: {notes:?}");
    let event = db.event(db.event_of(id, "A-1").await).await;
    assert_eq!(event.final_invoice.unwrap().total.to_string(), "5.40 USD");
    let disconnected = db.account("A-1").await;
    assert_eq!((disconnected.status.as_str(), disconnected.address), ("Inactive", None));
    let log = db.logged("A-1").await;
    let ending = [LogKind::Scheduled, LogKind::FinalInvoice, LogKind::AddressReleased, LogKind::Disconnected];
    assert_eq!(log[log.len() - 4..], ending);
    assert!(db.logged("A-2").await.contains(&LogKind::NothingToInvoice));
    let view = db.campaign(id).await;
    assert_eq!((view.state, view.ended_at.is_some()), (State::Completed, true));
    assert_eq!((view.totals.invoices, view.totals.addresses_released), (1, 1));
    // Its accounts are like any other afterwards.
    let asked = DisconnectRequest { children: Dispositions::all(Choice::Keep), ..request("A-1", "now") };
    let requested = db.store.request(&asked).await.unwrap();
    assert!(matches!(requested, Requested::AlreadyDisconnected { event: Some(by), .. } if by == event.id));
    assert_eq!(db.left_out(id).await, [""; 0]);
    let dry_run = db.dry_run(db.drafted(["A-1"]).await).await;
    assert_eq!(dry_run.blockers[0].kind, BlockerKind::AlreadyDisconnected);
}
