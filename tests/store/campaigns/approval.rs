//! A large campaign is started only once somebody else has approved what its dry run showed.

use disconnectd::domain::actor::{Actor, Source};
use disconnectd::domain::campaign::{CampaignId, Revision, State, Terms};
use disconnectd::domain::refusal::Refusal;
use disconnectd::store::campaigns::{Made, Making};

use crate::support::both_engines;
use crate::support::campaigns::{boss, draft, list, terms};
use crate::support::database::TestDatabase;
use crate::support::rows::{account, debit};
use crate::support::scenario::{clerk, refusal};

both_engines!(
    over_the_setting_it_waits_for_an_approval,
    neither_its_maker_nor_who_changed_it_last_may_approve_it,
    an_approval_is_of_what_the_dry_run_showed,
    another_cohort_or_other_terms_void_an_approval,
    what_can_not_be_started_is_not_approved,
    an_approval_holds_however_the_facts_move_until_it_is_started_with_its_digest,
    a_small_one_may_be_approved_too,
);

impl TestDatabase {
    /// A campaign of three accounts, where two need no approval.
    async fn large(&self) -> CampaignId {
        self.accounts(["A-1", "A-2", "A-3", "A-4"].map(account)).await;
        self.approval_over(2).await;
        self.drafted(["A-1", "A-2", "A-3"]).await
    }

    async fn approve(&self, campaign: CampaignId, by: &Actor) {
        let view = self.store.approve_campaign(campaign, None, by).await.unwrap();
        assert_eq!((view.state, view.approved_by.as_deref()), (State::Draft, Some(by.name.as_str())));
    }

    async fn refused_approval(&self, campaign: CampaignId, digest: Option<&str>, by: &Actor) -> Refusal {
        let before = self.dump().await;
        let refused = refusal(self.store.approve_campaign(campaign, digest, by).await);
        assert_eq!(self.dump().await, before);
        refused
    }

    async fn refused_start(&self, campaign: CampaignId, digest: Option<&str>) -> Refusal {
        let before = self.dump().await;
        let refused = refusal(self.store.start_campaign(campaign, digest, &clerk()).await);
        assert_eq!(self.dump().await, before);
        refused
    }

    async fn change_terms(&self, campaign: CampaignId, by: &Actor) {
        let terms = Some(Terms { per_minute: Some(60), ..terms() });
        let revision = Revision { terms, ..self.revision(campaign).await };
        let made = self.store.change_campaign(campaign, &revision, None, by, Making::QUIET).await.unwrap();
        assert!(matches!(made, Made::Campaign(_)), "{made:?}");
    }
}

async fn over_the_setting_it_waits_for_an_approval(db: &TestDatabase) {
    let id = db.large().await;
    let view = db.campaign(id).await;
    assert_eq!((view.state, view.needs_approval, view.approved_by), (State::AwaitingApproval, true, None));
    let refused = db.refused_start(id, None).await;
    assert_eq!(refused, Refusal::CampaignNotApproved { campaign: id, accounts: 3, limit: 2 });
    assert_eq!(db.claimed(10).await, []);
    db.approve(id, &boss()).await;
    let dry_run = db.dry_run(id).await;
    assert!(dry_run.needs_approval && dry_run.is_approved);
    assert_eq!(db.start(id).await.campaign.state, State::Running);
    let small = db.made(&draft("small"), list(["A-4"])).await;
    assert_eq!((small.state, small.needs_approval), (State::Draft, false));
}

async fn neither_its_maker_nor_who_changed_it_last_may_approve_it(db: &TestDatabase) {
    let id = db.large().await;
    let own = |maker: &str| Refusal::OwnApproval { campaign: id, maker: maker.into() };
    // However they come in: it is about the person.
    let clerk_of_the_api = Actor::new("clerk", Source::Api);
    assert_eq!(db.refused_approval(id, None, &clerk_of_the_api).await, own("clerk"));
    db.change_terms(id, &boss()).await;
    assert_eq!(db.refused_approval(id, None, &boss()).await, own("boss"));
    assert_eq!(db.refused_approval(id, None, &clerk()).await, own("clerk"));
    db.approve(id, &Actor::new("director", Source::Api)).await;
}

async fn an_approval_is_of_what_the_dry_run_showed(db: &TestDatabase) {
    let id = db.large().await;
    let digest = db.dry_run(id).await.digest;
    db.debits([debit("A-1", "d", "5.00")]).await;
    let refused = db.refused_approval(id, Some(&digest), &boss()).await;
    assert!(matches!(refused, Refusal::StaleDryRun { .. }), "{refused}");
    let shown = db.dry_run(id).await;
    let view = db.store.approve_campaign(id, Some(&shown.digest), &boss()).await.unwrap();
    assert!(view.approved_at.is_some());
    assert_eq!(view.agreed.unwrap().digest, shown.digest, "what the approver saw is kept");
}

async fn another_cohort_or_other_terms_void_an_approval(db: &TestDatabase) {
    let id = db.large().await;
    db.approve(id, &boss()).await;
    db.change_terms(id, &clerk()).await;
    let voided = async || {
        let view = db.campaign(id).await;
        assert_eq!((view.state, view.approved_by), (State::AwaitingApproval, None));
        assert!(matches!(db.refused_start(id, None).await, Refusal::CampaignNotApproved { .. }));
    };
    voided().await;
    db.approve(id, &boss()).await;
    let cohort = Some((draft("x"), list(["A-2", "A-1", "A-3"])));
    db.store.change_campaign(id, &db.revision(id).await, cohort, &clerk(), Making::QUIET).await.unwrap();
    voided().await;
    // One that is small enough after it needs none.
    let cohort = Some((draft("x"), list(["A-2"])));
    db.store.change_campaign(id, &db.revision(id).await, cohort, &clerk(), Making::QUIET).await.unwrap();
    assert_eq!(db.campaign_state(id).await, State::Draft);
    db.start(id).await;
}

async fn what_can_not_be_started_is_not_approved(db: &TestDatabase) {
    db.accounts([account("P"), account("C").parent("P"), account("gone")]).await;
    db.disconnected("gone").await;
    db.approval_over(0).await;
    let mut undecided = draft("x");
    undecided.terms.children = None;
    let id = db.made(&undecided, list(["P"])).await.id;
    let refused = db.refused_approval(id, None, &boss()).await;
    assert!(matches!(refused, Refusal::CampaignBlocked { accounts: 1, .. }), "{refused}");
    let id = db.drafted(["gone", "ghost"]).await;
    assert_eq!(db.refused_approval(id, None, &boss()).await, Refusal::NobodyLeft { campaign: id });
    let id = db.drafted(["P"]).await;
    db.approve(id, &boss()).await;
    db.start(id).await;
    let refused = db.refused_approval(id, None, &boss()).await;
    assert_eq!(refused, Refusal::CampaignState { campaign: id, wanted: "approved", state: State::Running });
}

async fn an_approval_holds_however_the_facts_move_until_it_is_started_with_its_digest(db: &TestDatabase) {
    let id = db.large().await;
    let digest = db.dry_run(id).await.digest;
    db.store.approve_campaign(id, Some(&digest), &boss()).await.unwrap();
    db.debits([debit("A-1", "d", "5.00")]).await;
    match db.refused_start(id, Some(&digest)).await {
        Refusal::StaleDryRun { campaign, changes } => {
            assert_eq!(campaign, id);
            assert_eq!(changes, ["the sum of the final invoices was nothing and is 5.00 USD now"]);
        }
        other => panic!("{other}"),
    }
    let now = db.dry_run(id).await.digest;
    let started = db.store.start_campaign(id, Some(&now), &clerk()).await.unwrap().campaign;
    assert_eq!(started.agreed.unwrap().digest, now);
}

async fn a_small_one_may_be_approved_too(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let id = db.drafted(["A-1"]).await;
    db.approve(id, &boss()).await;
    db.start(id).await;
}
