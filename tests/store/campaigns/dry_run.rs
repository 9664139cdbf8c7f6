//! What a campaign would do, before it does anything.

use chrono::{Datelike as _, TimeDelta, Utc};
use chrono_tz::Tz;
use disconnectd::domain::campaign::cohort::{Blocker, BlockerEffect, BlockerKind, BlockersOfKind, EXAMPLES_MAX};
use disconnectd::domain::campaign::dry_run::DryRun;
use disconnectd::domain::campaign::{CampaignId, Terms};
use disconnectd::domain::dispositions::Disposition;
use disconnectd::domain::settings::SettingKey;
use disconnectd::domain::window::Window;

use crate::support::both_engines;
use crate::support::campaigns::{draft, draft_on, list, member, members, numbered, terms};
use crate::support::database::TestDatabase;
use crate::support::rows::{account, debit};

both_engines!(
    a_dry_run_shows_what_the_campaign_would_do_and_changes_nothing,
    blockers_are_counted_by_kind_with_examples_and_listed_in_full,
    an_open_event_names_its_campaign,
    the_childrens_terms_decide_who_is_asked_about,
    a_recipient_is_the_account_or_its_connected_parent,
    the_digest_stands_for_what_is_shown_but_for_the_time,
    its_end_is_reckoned_from_pace_and_window,
    days_are_counted_by_the_dates_of_the_members,
    days_are_those_of_the_companys_zone,
    of_one_that_has_begun_it_is_what_was_agreed_to,
);

fn sum(dry_run: &DryRun) -> Vec<String> {
    dry_run.final_invoices.iter().map(ToString::to_string).collect()
}

impl TestDatabase {
    /// The kinds of blockers, and how many of each; the full list has as many.
    async fn kinds(&self, campaign: CampaignId) -> Vec<(BlockerKind, i64)> {
        let dry_run = self.dry_run(campaign).await;
        let all = self.blockers(campaign).await;
        for BlockersOfKind { kind, effect, accounts, examples } in &dry_run.blockers {
            let of_kind: Vec<&Blocker> = all.iter().filter(|blocker| blocker.kind == *kind).collect();
            assert_eq!(i64::try_from(of_kind.len()).unwrap(), *accounts, "{kind:?}");
            assert_eq!(*effect, kind.effect());
            assert_eq!(examples.len(), of_kind.len().min(EXAMPLES_MAX));
            for (example, blocker) in examples.iter().zip(of_kind) {
                assert_eq!(
                    (&example.account_number, &example.detail),
                    (&blocker.account_number.to_string(), &blocker.detail)
                );
            }
        }
        let kinds: Vec<_> = dry_run.blockers.iter().map(|of_kind| (of_kind.kind, of_kind.accounts)).collect();
        assert_eq!(kinds.iter().map(|(_, accounts)| accounts).sum::<i64>(), i64::try_from(all.len()).unwrap());
        kinds
    }
}

async fn a_dry_run_shows_what_the_campaign_would_do_and_changes_nothing(db: &TestDatabase) {
    db.accounts([
        account("ok").address("1 Main St").email("a@b.c"),
        account("nothing").email("a@b.c"),
        account("euro").currency("EUR").address("2 Main St"),
        account("gone").address("3 Main St"),
        account("busy").address("4 Main St"),
        account("parent").email("p@b.c"),
        account("child").parent("parent"),
    ])
    .await;
    db.debits([
        debit("ok", "d1", "10.00").tax("1.00"),
        debit("ok", "d2", "0.50"),
        debit("euro", "d1", "20.00"),
        debit("busy", "d1", "7.00"),
        debit("child", "d1", "3.00"),
    ])
    .await;
    db.disconnected("gone").await;
    let busy = db.scheduled("busy").await;
    let id = db.drafted(["ok", "nothing", "ghost", "euro", "gone", "busy", "parent"]).await;
    let before = db.dump().await;
    let dry_run = db.dry_run(id).await;
    let blockers = db.blockers(id).await;
    assert_eq!(db.dump().await, before);
    assert_eq!((dry_run.campaign_id, dry_run.revision), (id, 1));
    assert_eq!((dry_run.accounts, dry_run.to_disconnect, dry_run.left_out), (7, 4, 3));
    assert_eq!((dry_run.invoices, dry_run.nothing_to_invoice, dry_run.addresses_released), (2, 2, 2));
    assert_eq!(sum(&dry_run), ["20.00 EUR", "11.50 USD"]);
    assert_eq!((dry_run.children_kept, dry_run.children_unlinked), (1, 0));
    assert!(dry_run.can_start && !dry_run.needs_approval && !dry_run.is_approved);
    assert!((db.store.now().await.unwrap() - dry_run.as_of).num_seconds() < 10);
    assert_eq!((dry_run.begins_at, dry_run.days.len()), (Some(dry_run.as_of), 1));
    assert!(dry_run.ends_at >= dry_run.begins_at);
    let shown: Vec<_> = blockers.iter().map(|it| (it.account_number.as_str(), it.kind, it.effect)).collect();
    assert_eq!(
        shown,
        [
            ("ghost", BlockerKind::UnknownAccount, BlockerEffect::LeavesOut),
            ("euro", BlockerKind::NoRecipient, BlockerEffect::Warns),
            ("gone", BlockerKind::AlreadyDisconnected, BlockerEffect::LeavesOut),
            ("busy", BlockerKind::OpenEvent, BlockerEffect::LeavesOut),
        ]
    );
    assert!(blockers[3].detail.contains(&format!("event {busy} already")), "{}", blockers[3].detail);
    assert_eq!(db.kinds(id).await.len(), 4);
}

async fn blockers_are_counted_by_kind_with_examples_and_listed_in_full(db: &TestDatabase) {
    db.accounts(numbered("A", 8).iter().map(|number| account(number))).await;
    db.debits(numbered("A", 8).iter().map(|number| debit(number, "d", "1.00"))).await;
    let mut rows: Vec<_> = numbered("A", 8).iter().map(|number| member(number).on("2126-12-01")).collect();
    rows.extend(numbered("ghost", 7).iter().map(member));
    let id = db.made(&draft("x"), members(rows)).await.id;
    let past = db.instant(-3_600);
    db.sql(&format!("update campaign_members set due_at = {past} where position > 2 and account_id is not null")).await;
    let kinds = [(BlockerKind::UnknownAccount, 7), (BlockerKind::NoRecipient, 8), (BlockerKind::DatePassed, 6)];
    assert_eq!(db.kinds(id).await, kinds);
    // More than one chunk of them.
    let id = db.made(&draft("y"), list(numbered("ghost", 2_500).iter().chain(&numbered("A", 1)))).await.id;
    assert_eq!(db.kinds(id).await, [(BlockerKind::UnknownAccount, 2_500), (BlockerKind::NoRecipient, 1)]);
    let all = db.blockers(id).await;
    let numbers: Vec<_> = all[..2_500].iter().map(|blocker| blocker.account_number.to_string()).collect();
    assert_eq!(numbers, numbered("ghost", 2_500), "in the order of the cohort");
    // Somebody who listens no more ends it.
    let (sender, chunks) = tokio::sync::mpsc::channel(1);
    drop(chunks);
    db.store.blockers(id, sender).await.unwrap();
}

async fn an_open_event_names_its_campaign(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    let first = db.started(["A-1"]).await;
    let id = db.drafted(["A-1", "A-2"]).await;
    let detail = db.blockers(id).await.remove(0).detail;
    assert!(detail.contains(&format!("of campaign {first} already")), "{detail}");
}

async fn the_childrens_terms_decide_who_is_asked_about(db: &TestDatabase) {
    db.accounts([
        account("P"),
        account("with").parent("P").email("x@b.c"),
        account("without").parent("P"),
        account("gone").parent("P"),
        account("member").parent("P"),
    ])
    .await;
    db.disconnected("gone").await;
    let tried = async |children: Option<Disposition>| {
        let id = db.made(&draft_on("x", Terms { children, ..terms() }), list(["P", "member"])).await.id;
        let dry_run = db.dry_run(id).await;
        let details: Vec<_> = db.blockers(id).await.into_iter().map(|blocker| (blocker.kind, blocker.detail)).collect();
        (dry_run, details)
    };
    let (undecided, details) = tried(None).await;
    assert!(!undecided.can_start);
    let [(BlockerKind::UndecidedFamily, detail)] = &details[..] else { panic!("{details:?}") };
    assert!(detail.contains("with (Customer with), without (Customer without)"), "{detail}");
    assert!(!detail.contains("gone") && !detail.contains("member"), "{detail}");
    let (kept, details) = tried(Some(Disposition::Keep)).await;
    assert_eq!((kept.can_start, kept.children_kept, details), (true, 2, vec![]));
    let (unlinked, details) = tried(Some(Disposition::Unlink)).await;
    assert_eq!((unlinked.can_start, unlinked.children_unlinked), (false, 2));
    assert!(details[0].1.contains("without (Customer without)") && !details[0].1.contains("with (C"), "{details:?}");
    let (all, details) = tried(Some(Disposition::Disconnect)).await;
    assert_eq!((all.can_start, all.accounts, all.children_kept, details), (true, 4, 0, vec![]));
}

async fn a_recipient_is_the_account_or_its_connected_parent(db: &TestDatabase) {
    db.accounts([
        account("P").email("p@b.c"),
        account("Q").email("q@b.c"),
        account("of-p").parent("P"),
        account("of-q").parent("Q"),
        account("own").parent("Q").email("o@b.c"),
        account("no-debit"),
    ])
    .await;
    db.debits(["of-p", "of-q", "own"].map(|number| debit(number, "d", "1.00"))).await;
    db.disconnected("Q").await;
    let id = db.drafted(["of-p", "of-q", "own", "no-debit"]).await;
    let blockers = db.blockers(id).await;
    let shown: Vec<_> = blockers.iter().map(|it| (it.account_number.as_str(), it.kind)).collect();
    assert_eq!(shown, [("of-q", BlockerKind::NoRecipient)]);
    assert!(db.dry_run(id).await.can_start, "it warns");
}

async fn the_digest_stands_for_what_is_shown_but_for_the_time(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3", "other"].map(account)).await;
    db.debits([debit("A-1", "d", "5.00"), debit("A-2", "d", "5.00")]).await;
    let id = db.drafted(["A-1", "A-2", "A-3"]).await;
    let mut digest = db.dry_run(id).await;
    let again = db.dry_run(id).await;
    assert!(again.as_of > digest.as_of);
    assert_eq!(again.digest, digest.digest, "time passed, and nothing else");
    db.debits([debit("other", "d", "1.00")]).await;
    assert_eq!(db.dry_run(id).await.digest, digest.digest, "it is about others");
    let mut changed = async |what: &str| {
        let next = db.dry_run(id).await;
        assert_ne!(next.digest, digest.digest, "{what}");
        digest = next;
    };
    db.debits([debit("A-1", "d2", "0.01")]).await;
    changed("a debit more").await;
    db.accounts([account("A-3").address("1 Main St")]).await;
    changed("an address more").await;
    db.accounts([account("A-1").email("a@b.c")]).await;
    changed("a blocker less").await;
    db.scheduled("A-2").await;
    changed("one with an open event").await;
    db.disconnected("A-3").await;
    changed("one is disconnected").await;
    // Another campaign over the same accounts is not the same one.
    let other = db.drafted(["A-1", "A-2", "A-3"]).await;
    assert_ne!(db.dry_run(other).await.digest, db.dry_run(id).await.digest);
}

async fn its_end_is_reckoned_from_pace_and_window(db: &TestDatabase) {
    let numbers = numbered("A", 10);
    db.accounts(numbers.iter().map(|number| account(number))).await;
    let now = db.store.now().await.unwrap();
    let opens_on = (now + TimeDelta::days(3)).weekday().to_string().to_lowercase();
    let hours = format!("{opens_on} 09:00-09:05 UTC");
    let window = Window::parse(&hours, Tz::UTC, &std::collections::BTreeSet::new()).unwrap().unwrap();
    let opens_at = window.next_open(now).unwrap();
    let reckoned = async |terms: Terms, numbers: &[String]| {
        let id = db.made(&draft_on("x", terms), list(numbers)).await.id;
        db.dry_run(id).await
    };
    // One a minute, so the tenth goes nine minutes after the first: five of them are open on the first day.
    let paced = Terms { per_minute: Some(1), window: Some(window.text()), ..terms() };
    let dry_run = reckoned(paced.clone(), &numbers).await;
    assert_eq!((dry_run.seconds, dry_run.begins_at), (540, Some(opens_at)));
    assert_eq!(dry_run.ends_at, Some(opens_at + TimeDelta::days(7) + TimeDelta::minutes(4)));
    // On a holiday it opens a week later.
    let holiday = Terms { holidays: opens_at.date_naive().to_string(), ..paced };
    let dry_run = reckoned(holiday, &numbers[..1]).await;
    assert_eq!(dry_run.begins_at, Some(opens_at + TimeDelta::days(7)));
    let without_window = Terms { per_minute: Some(1), ..terms() };
    let dry_run = reckoned(without_window, &numbers).await;
    assert_eq!((dry_run.seconds, dry_run.ends_at), (540, Some(dry_run.as_of + TimeDelta::seconds(540))));
    let at_full_speed = reckoned(terms(), &numbers).await;
    assert_eq!((at_full_speed.seconds, at_full_speed.begins_at), (1, Some(at_full_speed.as_of)));
}

async fn days_are_counted_by_the_dates_of_the_members(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3", "A-4"].map(account)).await;
    let rows = [
        member("A-1").on("2126-12-02"),
        member("A-2").on("2126-12-01T23:59"),
        member("A-3").on("2126-12-02T01:00"),
        member("A-4"),
    ];
    let id = db.made(&draft("x"), members(rows)).await.id;
    let dry_run = db.dry_run(id).await;
    let days: Vec<_> = dry_run.days.iter().map(|day| (day.day.to_string(), day.accounts)).collect();
    let today = dry_run.as_of.with_timezone(&Utc).date_naive().to_string();
    assert_eq!(days, [(today, 1), ("2126-12-01".into(), 1), ("2126-12-02".into(), 2)]);
    assert_eq!(dry_run.ends_at.unwrap().date_naive().to_string(), "2126-12-02");
}

async fn days_are_those_of_the_companys_zone(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    let rows = [member("A-1").on("2126-12-01T10:00:00Z"), member("A-2").on("2126-12-01T12:00:00Z")];
    let id = db.made(&draft("x"), members(rows)).await.id;
    let in_utc = db.dry_run(id).await;
    assert_eq!((in_utc.days.len(), in_utc.zone.as_str()), (1, "UTC"));
    db.store.change_setting(SettingKey::CompanyZone, "Pacific/Auckland").await.unwrap();
    let dry_run = db.dry_run(id).await;
    let days: Vec<_> = dry_run.days.iter().map(|day| (day.day.to_string(), day.accounts)).collect();
    assert_eq!(days, [("2126-12-01".into(), 1), ("2126-12-02".into(), 1)]);
    assert_eq!(dry_run.zone, "Pacific/Auckland");
    assert_eq!(dry_run.digest, in_utc.digest, "when is not what is agreed to");
}

async fn of_one_that_has_begun_it_is_what_was_agreed_to(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    db.debits([debit("A-1", "d", "5.00")]).await;
    let id = db.drafted(["A-1", "A-2"]).await;
    let before = db.dry_run(id).await;
    assert_eq!(db.campaign(id).await.agreed, None);
    db.start(id).await;
    let agreed = db.campaign(id).await.agreed.unwrap();
    assert_eq!((&agreed.digest, &agreed.final_invoices), (&before.digest, &before.final_invoices));
    db.run_campaigns().await;
    assert_eq!(db.dry_run(id).await, agreed, "though there is nothing left to disconnect");
}
