//! The accounts of a filter are looked at once more when the turn of each comes; those of a list are not.

use disconnectd::domain::account::LogKind;
use disconnectd::domain::actor::{Actor, Source};
use disconnectd::domain::campaign::{CampaignId, State};
use disconnectd::domain::dispositions::Disposition;
use disconnectd::domain::event::{self, Outcome};
use disconnectd::domain::settings::SettingKey;
use disconnectd::store::Executed;

use crate::support::both_engines;
use crate::support::campaigns::filtered;
use crate::support::database::TestDatabase;
use crate::support::rows::{account, debit, number};
use crate::support::scenario::{clerk, outcome_of, request};

both_engines!(
    an_account_that_left_the_group_is_no_longer_eligible,
    an_account_of_another_status_is_no_longer_eligible,
    an_account_that_paid_is_no_longer_eligible,
    an_account_that_was_unlinked_is_no_longer_eligible,
    every_kind_of_condition_is_looked_at_again,
    a_change_that_does_not_matter_to_the_filter_changes_nothing,
    the_accounts_of_a_list_stay_whatever_becomes_of_them,
    children_taken_in_with_their_parent_are_not_asked_for_the_filter,
    a_child_stays_where_its_parent_is_no_longer_eligible,
    one_that_a_person_brought_forward_is_its_own,
    batches_of_several_campaigns_and_singles_are_each_asked_for_their_own,
);

impl TestDatabase {
    async fn started_filter(&self, text: &str) -> CampaignId {
        let (mut draft, cohort) = filtered("x", text);
        draft.everyone = true;
        let id = self.made(&draft, cohort).await.id;
        self.start(id).await;
        id
    }

    /// Runs it all: who was not eligible any more, with why.
    async fn not_eligible(&self, campaign: CampaignId) -> Vec<(String, String)> {
        self.run_campaigns().await;
        let view = self.campaign(campaign).await;
        assert_eq!(view.state, State::Completed);
        let mut found = Vec::new();
        for number in self.members(campaign).await {
            let event = self.event(self.event_of(campaign, &number).await).await;
            if event.outcome != Some(Outcome::NoLongerEligible) {
                continue;
            }
            assert_eq!((event.state, event.final_invoice), (event::State::Completed, None));
            let account = self.account(&number).await;
            assert_eq!((account.disconnected_at, account.open_event), (None, None), "{number} keeps its service");
            let entry = self.log(&number).await.pop().unwrap();
            assert_eq!((entry.kind, entry.event_id), (LogKind::NoLongerEligible, Some(event.id)));
            found.push((number, entry.message));
        }
        assert_eq!(view.counts.no_longer_eligible, i64::try_from(found.len()).unwrap());
        found
    }
}

async fn an_account_that_left_the_group_is_no_longer_eligible(db: &TestDatabase) {
    let tower = |number: &str| account(number).groups(&["tower"]).address("1 Main St");
    db.accounts(["A-1", "A-2", "A-3"].map(tower)).await;
    db.debits(["A-1", "A-2"].map(|number| debit(number, "d", "5.00"))).await;
    let id = db.started_filter("group = tower").await;
    db.accounts([account("A-1").groups(&["fiber"]).address("1 Main St")]).await;
    let gone = db.not_eligible(id).await;
    assert_eq!(gone.len(), 1);
    assert_eq!(gone[0].0, "A-1");
    assert!(gone[0].1.contains("group = tower no longer holds: the group is fiber"), "{gone:?}");
    let view = db.campaign(id).await;
    assert_eq!((view.counts.disconnected, view.totals.invoices, view.totals.addresses_released), (2, 1, 2));
    let kept = db.account("A-1").await;
    assert_eq!((kept.uninvoiced.minor, kept.address.as_deref()), (500, Some("1 Main St")));
}

async fn an_account_of_another_status_is_no_longer_eligible(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(|number| account(number).status("Lead"))).await;
    let id = db.started_filter("status = Lead").await;
    db.accounts([account("A-2").status("Active")]).await;
    let gone = db.not_eligible(id).await;
    assert!(gone.len() == 1 && gone[0].1.contains("the status is Active"), "{gone:?}");
}

async fn an_account_that_paid_is_no_longer_eligible(db: &TestDatabase) {
    db.accounts(["A-1", "A-2", "A-3"].map(account)).await;
    db.debits(["A-1", "A-2", "A-3"].map(|number| debit(number, "d", "50.00").on("2026-01-05"))).await;
    let id = db.started_filter("balance > 20 and debit_age > 30").await;
    // What was billed elsewhere is nothing that it owes here any more; then one owes again, but not for long.
    db.store.invoice_all(&Actor::new("clerk", Source::Cli)).await.unwrap();
    let today = db.store.now().await.unwrap().date_naive().to_string();
    db.debits([
        debit("A-2", "new", "60.00").on(&today),
        debit("A-3", "new", "60.00").on("2026-02-01"),
        debit("A-3", "more", "1.00").on(&today),
    ])
    .await;
    let gone = db.not_eligible(id).await;
    let numbers: Vec<_> = gone.iter().map(|(number, _)| number.as_str()).collect();
    assert_eq!(numbers, ["A-1", "A-2"]);
    assert!(gone[0].1.contains("the balance is 0.00 USD") && gone[0].1.contains("no uninvoiced debit"), "{gone:?}");
    assert!(gone[1].1.contains("the oldest debit is 0 days old"), "{gone:?}");
}

async fn an_account_that_was_unlinked_is_no_longer_eligible(db: &TestDatabase) {
    let child = |number: &str| account(number).parent("P").email("c@b.c");
    db.accounts([account("P"), child("C"), child("D")]).await;
    let id = db.started_filter("parent = P").await;
    db.store.unlink(&number("C"), &clerk()).await.unwrap();
    let gone = db.not_eligible(id).await;
    assert!(gone.len() == 1 && gone[0].0 == "C" && gone[0].1.contains("there is no parent"), "{gone:?}");
}

async fn every_kind_of_condition_is_looked_at_again(db: &TestDatabase) {
    let before = |number: &str| {
        account(number).name("Ada").groups(&["tower"]).address("1 Main St").email("a@b.c").status("Active")
    };
    let conditions = [
        ("name ~ ada", "the name is Bob"),
        ("zone = UTC", "the zone is Asia/Tokyo"),
        ("currency = USD", "the currency is EUR"),
        ("address = '1 Main St'", "the address is 2 Main St"),
        ("address ~ '1 main'", "the address is 2 Main St"),
        ("group != gold", "the groups are gold, tower"),
        ("parent = none", "the parent is P"),
    ];
    let numbers: Vec<_> = (0..conditions.len()).map(|n| format!("A-{n}")).collect();
    db.accounts(numbers.iter().map(|number| before(number)).chain([account("P"), account("other")])).await;
    let mut ids = Vec::new();
    for (number, (condition, _)) in numbers.iter().zip(conditions) {
        ids.push(db.started_filter(&format!("number = {number} and {condition}")).await);
    }
    db.accounts(numbers.iter().map(|number| {
        before(number)
            .name("Bob")
            .zone("Asia/Tokyo")
            .currency("EUR")
            .address("2 Main St")
            .groups(&["gold", "tower"])
            .parent("P")
    }))
    .await;
    db.run_campaigns().await;
    for (id, (condition, why)) in ids.into_iter().zip(conditions) {
        let gone = db.not_eligible(id).await;
        assert!(gone.len() == 1 && gone[0].1.contains(why), "{condition}: {gone:?}");
    }
}

async fn a_change_that_does_not_matter_to_the_filter_changes_nothing(db: &TestDatabase) {
    db.accounts([account("A-1").groups(&["tower"]), account("A-2").groups(&["tower"]), account("other")]).await;
    let id = db.started_filter("group = tower").await;
    db.accounts([account("A-1").groups(&["gold", "tower"]).name("Another").status("Lead")]).await;
    db.debits([debit("A-2", "d", "5.00")]).await;
    // Read in the company's zone, whatever that was at the start.
    db.store.change_setting(SettingKey::CompanyZone, "Asia/Tokyo").await.unwrap();
    assert_eq!(db.not_eligible(id).await, []);
    assert_eq!(db.counts(id).await.disconnected, 2);
}

async fn the_accounts_of_a_list_stay_whatever_becomes_of_them(db: &TestDatabase) {
    db.accounts([account("A-1").groups(&["tower"])]).await;
    let id = db.started(["A-1"]).await;
    db.accounts([account("A-1").status("Lead")]).await;
    assert_eq!(db.not_eligible(id).await, []);
    assert_eq!(db.counts(id).await.disconnected, 1);
}

async fn children_taken_in_with_their_parent_are_not_asked_for_the_filter(db: &TestDatabase) {
    db.accounts([account("P").groups(&["tower"]), account("C").parent("P").email("c@b.c"), account("other")]).await;
    let (mut draft, cohort) = filtered("x", "group = tower");
    draft.terms.children = Some(Disposition::Disconnect);
    let id = db.made(&draft, cohort).await.id;
    assert_eq!(db.members(id).await, ["P", "C"]);
    db.start(id).await;
    assert_eq!(db.not_eligible(id).await, [], "it is there as a child, not by the filter");
    assert_eq!(db.counts(id).await.disconnected, 2);
}

/// Whoever comes first: one after the other, all in one batch, the youngest first.
async fn a_child_stays_where_its_parent_is_no_longer_eligible(db: &TestDatabase) {
    let child = |number: String, parent: String| account(&number).parent(&parent).email("c@b.c");
    let families = (0..3).flat_map(|n| {
        let parent = account(&format!("P{n}")).groups(&["tower"]);
        [parent, child(format!("C{n}"), format!("P{n}")), child(format!("G{n}"), format!("C{n}"))]
    });
    db.accounts(families.chain([account("other")])).await;
    let (mut draft, cohort) = filtered("x", "group = tower");
    draft.terms.children = Some(Disposition::Disconnect);
    let id = db.made(&draft, cohort).await.id;
    db.start(id).await;
    db.accounts((0..3).map(|n| account(&format!("P{n}")).groups(&["fiber"]))).await;
    let orders = db.claimed(500).await;
    let numbers = db.accounts_of(&orders).await;
    let order = |number: &str| orders[numbers.iter().position(|it| it == number).unwrap()];
    for batch in [&["P0"][..], &["C0"], &["G0"], &["P1", "C1", "G1"], &["G2"], &["C2"], &["P2"]] {
        let orders: Vec<_> = batch.iter().map(|number| order(number)).collect();
        for executed in db.disconnect(&orders).await {
            assert_eq!(outcome_of(&executed), Some(Outcome::NoLongerEligible), "{batch:?}");
        }
    }
    db.run_campaigns().await;
    assert_eq!(db.number("select count(*) from accounts where disconnected_at is not null").await, 0);
}

async fn one_that_a_person_brought_forward_is_its_own(db: &TestDatabase) {
    db.accounts([account("A-1").groups(&["tower"]), account("other")]).await;
    let id = db.started_filter("group = tower").await;
    db.store.request(&request("A-1", "now")).await.unwrap();
    db.accounts([account("A-1")]).await;
    let orders = db.claim(10).await;
    let executed = db.disconnect(&orders).await;
    // Somebody has asked for this account itself.
    assert_eq!(outcome_of(&executed[0]), Some(Outcome::Disconnected));
    assert_eq!(db.counts(id).await.disconnected, 1);
    db.run_campaigns().await;
}

async fn batches_of_several_campaigns_and_singles_are_each_asked_for_their_own(db: &TestDatabase) {
    db.accounts([
        account("A-1").groups(&["tower"]),
        account("A-2").groups(&["tower"]),
        account("B-1").groups(&["gold"]),
        account("B-2").groups(&["gold"]),
        account("listed").groups(&["tower"]),
        account("single").groups(&["tower"]),
    ])
    .await;
    let towers = db.started_filter("group = tower and number in (A-1, A-2)").await;
    let golds = db.started_filter("group = gold").await;
    let lists = db.started(["listed"]).await;
    let mut orders = vec![db.queued("single").await];
    db.accounts(["A-1", "B-2", "listed", "single"].map(|number| account(number).groups(&["other"]))).await;
    orders.extend(db.claimed(500).await);
    let executed = db.disconnect(&orders).await;
    let ended = executed.iter().filter(|one| matches!(one, Executed::Completed { .. })).count();
    assert_eq!(ended, 6);
    let of = async |id: CampaignId| {
        let counts = db.counts(id).await;
        (counts.disconnected, counts.no_longer_eligible)
    };
    assert_eq!([of(towers).await, of(golds).await, of(lists).await], [(1, 1), (1, 1), (1, 0)]);
    assert!(db.account("single").await.disconnected_at.is_some());
}
