//! Recurring campaigns: one at each tick, never two, whoever serves.

use chrono::TimeDelta;
use disconnectd::domain::calendar::Cron;
use disconnectd::domain::campaign::template::{NewTemplate, TemplateCommand, TemplateId, TemplateView};
use disconnectd::domain::campaign::{CampaignId, CampaignView, State, Terms};
use disconnectd::domain::filter::Filter;
use disconnectd::domain::refusal::Refusal;
use disconnectd::store::Page;
use disconnectd::store::campaigns::{CampaignFilter, Ticked};
use futures_util::future::join_all;

use crate::support::both_engines;
use crate::support::campaigns::{boss, terms};
use crate::support::database::TestDatabase;
use crate::support::rows::account;
use crate::support::scenario::{FAILURES_MAX, clerk, refusal};

both_engines!(
    a_template_shows_what_it_was_made_with_and_when_it_makes_the_next,
    a_name_is_taken_once,
    a_tick_makes_one_campaign_that_waits_for_a_person,
    eight_at_once_make_one_campaign,
    missed_ticks_make_one_campaign_and_are_said,
    with_a_standing_approval_it_starts_by_itself,
    its_maker_can_not_approve_it,
    one_that_is_too_large_waits,
    one_that_is_blocked_waits,
    the_last_tick_of_all_makes_its_campaign_too,
    one_that_can_not_be_read_is_switched_off,
    an_empty_cohort_makes_none,
    a_template_that_is_switched_off_makes_none,
    each_tick_selects_anew,
    templates_are_listed_newest_first,
    an_unknown_template_is_refused,
);

fn template(name: &str) -> NewTemplate {
    NewTemplate {
        name: name.into(),
        filter: Filter::parse("group = unpaid").unwrap(),
        cron: Cron::parse_user("0 3 * * *").unwrap(),
        zone: chrono_tz::Europe::Berlin,
        accounts_max: 100,
        terms: terms(),
        by: clerk(),
    }
}

fn each_minute(name: &str) -> NewTemplate {
    NewTemplate { cron: Cron::parse_user("* * * * *").unwrap(), ..template(name) }
}

impl TestDatabase {
    async fn unpaid(&self, numbers: &[&str]) {
        let unpaid = numbers.iter().map(|number| account(number).groups(&["unpaid"]));
        self.accounts(unpaid.chain([account("other")])).await;
    }

    async fn new_template(&self, template: &NewTemplate) -> TemplateId {
        self.store.create_template(template).await.unwrap().id
    }

    async fn template(&self, template: TemplateId) -> TemplateView {
        self.store.template(template).await.unwrap()
    }

    /// Its tick was a while ago.
    async fn tick(&self, template: TemplateId, seconds_ago: i64) {
        let at = self.instant(-seconds_ago);
        assert_eq!(self.sql(&format!("update campaign_templates set next_at = {at} where id = {template}")).await, 1);
    }

    async fn command_of(&self, template: TemplateId, command: TemplateCommand) -> TemplateView {
        self.store.command_template(template, command, &boss()).await.unwrap()
    }

    /// Newest first.
    async fn made_by(&self, template: TemplateId) -> Vec<CampaignView> {
        let filter = CampaignFilter { template: Some(template), ..CampaignFilter::default() };
        self.store.campaigns(&filter, &Page::default()).await.unwrap().items
    }
}

async fn a_template_shows_what_it_was_made_with_and_when_it_makes_the_next(db: &TestDatabase) {
    let new = template("Unpaid");
    let before = db.store.now().await.unwrap();
    let view = db.store.create_template(&new).await.unwrap();
    assert_eq!(
        (view.name.as_str(), view.filter.as_str(), view.cron.as_str()),
        ("Unpaid", "group = unpaid", "0 3 * * *")
    );
    assert_eq!((view.zone, view.accounts_max, &view.terms), (chrono_tz::Europe::Berlin, 100, &new.terms));
    assert_eq!((view.created_by.as_str(), &view.approved_by, &view.last_note), ("clerk", &None, &None));
    let expected = new.cron.next_after_in(before, chrono_tz::Europe::Berlin);
    assert_eq!(view.next_at, expected, "three o'clock in Berlin");
    assert_eq!(db.template(view.id).await, view);
    let ticked = db.store.tick(FAILURES_MAX).await.unwrap();
    assert_eq!(ticked.note, None);
    let waits = TimeDelta::from_std(ticked.next.unwrap()).unwrap();
    let next_in = expected.unwrap() - before;
    assert!(waits <= next_in && waits > next_in - TimeDelta::seconds(60), "{waits}, not {next_in}");
}

async fn a_name_is_taken_once(db: &TestDatabase) {
    db.new_template(&template("Unpaid")).await;
    let refused = refusal(db.store.create_template(&template("Unpaid")).await);
    assert_eq!(refused, Refusal::TemplateExists { name: "Unpaid".into() });
    db.new_template(&template("Others")).await;
}

async fn a_tick_makes_one_campaign_that_waits_for_a_person(db: &TestDatabase) {
    db.unpaid(&["A-1", "A-2"]).await;
    let id = db.new_template(&template("Unpaid")).await;
    assert_eq!(db.upkeep().await, Vec::<String>::new());
    db.tick(id, 5).await;
    let notes = db.upkeep().await;
    assert_eq!(notes.len(), 1, "{notes:?}");
    let made = db.made_by(id).await;
    assert_eq!(made.len(), 1);
    let campaign = &made[0];
    assert_eq!((campaign.state, campaign.counts.accounts, campaign.counts.waiting), (State::Draft, 2, 2));
    assert_eq!((campaign.template_id, campaign.filter.as_deref()), (Some(id), Some("group = unpaid")));
    assert_eq!(campaign.terms, terms());
    assert!(campaign.name.contains("Unpaid"), "{}", campaign.name);
    let after = db.template(id).await;
    assert_eq!((after.last_campaign_id, after.last_tick_at), (Some(campaign.id), campaign.tick_at));
    assert!(after.last_note.as_ref().is_some_and(|note| !note.is_empty()), "{after:?}");
    assert!(after.next_at.unwrap() > db.store.now().await.unwrap());
    assert_eq!(db.upkeep().await, Vec::<String>::new(), "the tick has its campaign");
    assert_eq!(db.claimed(500).await, []);
    db.start(campaign.id).await;
    db.run_campaigns().await;
    assert_eq!(db.counts(campaign.id).await.disconnected, 2);
}

async fn eight_at_once_make_one_campaign(db: &TestDatabase) {
    db.unpaid(&["A-1"]).await;
    let id = db.new_template(&template("Unpaid")).await;
    let stores = [db.open().await, db.open().await];
    for round in 1..=5 {
        db.tick(id, 5).await;
        let upkeeps = (0..8).map(|n| {
            let store = std::sync::Arc::clone(&stores[n % 2]);
            tokio::spawn(async move {
                let mut notes = 0;
                loop {
                    match store.tick(FAILURES_MAX).await {
                        Ok(ticked) if ticked.note.is_some() => notes += 1,
                        // Otherwise somebody has it in hand.
                        Ok(ticked) if ticked.next.is_some_and(|next| !next.is_zero()) => return notes,
                        Ok(_) => tokio::task::yield_now().await,
                        Err(error) => {
                            assert!(error.is_transient() && !error.to_string().contains("deadlock"), "{error}");
                        }
                    }
                }
            })
        });
        let notes: usize = join_all(upkeeps).await.into_iter().map(Result::unwrap).sum();
        assert_eq!((notes, db.made_by(id).await.len()), (1, round));
    }
}

async fn missed_ticks_make_one_campaign_and_are_said(db: &TestDatabase) {
    db.unpaid(&["A-1"]).await;
    let id = db.new_template(&each_minute("Unpaid")).await;
    db.tick(id, 10 * 60).await;
    let notes = db.upkeep().await;
    assert_eq!((notes.len(), db.made_by(id).await.len()), (1, 1));
    let view = db.template(id).await;
    let note = view.last_note.unwrap();
    assert!(note.contains("ticks before it were missed"), "{note}");
    assert!(notes[0].contains("ticks before it were missed"), "{notes:?}");
    let now = db.store.now().await.unwrap();
    let age = now - view.last_tick_at.unwrap();
    assert!(age >= TimeDelta::zero() && age < TimeDelta::seconds(70), "the last one that passed, {age} ago");
    assert!(view.next_at.unwrap() > view.last_tick_at.unwrap());
}

async fn with_a_standing_approval_it_starts_by_itself(db: &TestDatabase) {
    db.unpaid(&["A-1", "A-2"]).await;
    let id = db.new_template(&template("Unpaid")).await;
    assert_eq!(db.command_of(id, TemplateCommand::Approve).await.approved_by.as_deref(), Some("boss"));
    db.tick(id, 5).await;
    db.upkeep().await;
    let campaign = db.made_by(id).await.remove(0);
    assert_eq!((campaign.state, campaign.counts.scheduled), (State::Running, 2));
    assert!(campaign.started_by.is_some() && campaign.agreed.is_some());
    db.run_campaigns().await;
    assert_eq!(db.counts(campaign.id).await.disconnected, 2);
    assert_eq!(db.command_of(id, TemplateCommand::Unapprove).await.approved_by, None);
    db.unpaid(&["B-1"]).await;
    db.tick(id, 5).await;
    db.upkeep().await;
    assert_eq!(db.made_by(id).await[0].state, State::Draft, "the approval was taken back");
}

async fn its_maker_can_not_approve_it(db: &TestDatabase) {
    let id = db.new_template(&template("Unpaid")).await;
    let refused = refusal(db.store.command_template(id, TemplateCommand::Approve, &clerk()).await);
    assert_eq!(refused, Refusal::OwnTemplateApproval { template: id, maker: "clerk".into() });
    assert_eq!(db.template(id).await.approved_by, None);
}

async fn one_that_is_too_large_waits(db: &TestDatabase) {
    db.unpaid(&["A-1", "A-2", "A-3"]).await;
    let id = db.new_template(&NewTemplate { accounts_max: 2, ..template("Unpaid") }).await;
    db.command_of(id, TemplateCommand::Approve).await;
    db.tick(id, 5).await;
    db.upkeep().await;
    let campaign = db.made_by(id).await.remove(0);
    assert_eq!((campaign.state, campaign.counts.accounts), (State::Draft, 3));
    let note = db.template(id).await.last_note.unwrap();
    assert!(note.contains('3') && note.contains('2'), "{note}");
}

async fn one_that_is_blocked_waits(db: &TestDatabase) {
    db.unpaid(&["P"]).await;
    db.accounts([account("C").parent("P")]).await;
    db.unpaid(&["Q"]).await;
    db.approval_over(1).await;
    let undecided = Terms { children: None, ..terms() };
    let id = db.new_template(&NewTemplate { terms: undecided, ..template("Unpaid") }).await;
    db.command_of(id, TemplateCommand::Approve).await;
    db.tick(id, 5).await;
    db.upkeep().await;
    let campaign = db.made_by(id).await.remove(0);
    // The standing approval is of what may start, and not of what somebody makes of it later.
    assert_eq!((campaign.state, &campaign.approved_by), (State::AwaitingApproval, &None));
    assert_eq!(campaign.counts.waiting, 2);
    assert!(db.template(id).await.last_note.is_some());
    assert_eq!(db.upkeep().await, Vec::<String>::new(), "it is not tried again and again");
}

async fn the_last_tick_of_all_makes_its_campaign_too(db: &TestDatabase) {
    db.unpaid(&["A-1"]).await;
    let once = Cron::parse_user("0 0 3 1 12 * 2099").unwrap();
    let id = db.new_template(&NewTemplate { cron: once, ..template("Unpaid") }).await;
    // Its one date has come.
    db.sql(&format!("update campaign_templates set cron = '0 0 3 1 12 * 2025' where id = {id}")).await;
    db.tick(id, 5).await;
    db.upkeep().await;
    assert_eq!(db.made_by(id).await.len(), 1);
    assert_eq!(db.template(id).await.next_at, None, "it never fires again");
    let never = Cron::parse_user("0 2 30 2 *").unwrap();
    let refused = refusal(db.store.create_template(&NewTemplate { cron: never, ..template("Never") }).await);
    assert_eq!(refused, Refusal::NeverFires { cron: "0 2 30 2 *".into() });
    let refused = refusal(db.store.command_template(id, TemplateCommand::SwitchOn, &boss()).await);
    assert_eq!(refused, Refusal::NeverFires { cron: "0 0 3 1 12 * 2025".into() });
}

/// A template that a newer program wrote holds up no other.
async fn one_that_can_not_be_read_is_switched_off(db: &TestDatabase) {
    db.unpaid(&["A-1"]).await;
    let unreadable = db.new_template(&template("Newer")).await;
    let good = db.new_template(&template("Unpaid")).await;
    db.sql(&format!("update campaign_templates set terms = '{{\"children\": 7}}' where id = {unreadable}")).await;
    db.tick(unreadable, 10).await;
    db.tick(good, 5).await;
    db.upkeep().await;
    assert_eq!(db.made_by(good).await.len(), 1);
    let off = format!("select last_note from campaign_templates where id = {unreadable} and next_at is null");
    assert!(db.texts(&off).await[0].contains("switched off"));
    db.is_broken_on_purpose();
}

async fn an_empty_cohort_makes_none(db: &TestDatabase) {
    db.accounts([account("other")]).await;
    let id = db.new_template(&template("Unpaid")).await;
    db.tick(id, 5).await;
    db.upkeep().await;
    assert_eq!(db.count("campaigns").await, 0);
    let view = db.template(id).await;
    assert_eq!(view.last_campaign_id, None);
    assert!(view.last_note.is_some() && view.last_tick_at.is_some(), "{view:?}");
    assert!(view.next_at.unwrap() > db.store.now().await.unwrap());
    assert_eq!(db.store.tick(FAILURES_MAX).await.unwrap().note, None);
}

async fn a_template_that_is_switched_off_makes_none(db: &TestDatabase) {
    db.unpaid(&["A-1"]).await;
    let id = db.new_template(&each_minute("Unpaid")).await;
    db.tick(id, 5).await;
    assert_eq!(db.command_of(id, TemplateCommand::SwitchOff).await.next_at, None);
    assert_eq!(db.store.tick(FAILURES_MAX).await.unwrap(), Ticked::default());
    assert_eq!(db.made_by(id).await.len(), 0);
    let on = db.command_of(id, TemplateCommand::SwitchOn).await;
    assert!(on.next_at.unwrap() > db.store.now().await.unwrap() - TimeDelta::seconds(60), "from the next tick on");
    assert_eq!(db.made_by(id).await.len(), 0, "what it missed is not made up for");
}

async fn each_tick_selects_anew(db: &TestDatabase) {
    db.unpaid(&["A-1"]).await;
    let id = db.new_template(&template("Unpaid")).await;
    db.command_of(id, TemplateCommand::Approve).await;
    db.tick(id, 5).await;
    db.upkeep().await;
    db.run_campaigns().await;
    db.unpaid(&["A-2", "A-3"]).await;
    db.tick(id, 5).await;
    db.upkeep().await;
    let made = db.made_by(id).await;
    let members: Vec<CampaignId> = made.iter().map(|campaign| campaign.id).collect();
    assert_eq!(db.members(members[0]).await, ["A-2", "A-3"], "A-1 is disconnected");
    assert_eq!(db.members(members[1]).await, ["A-1"]);
    assert_ne!(made[0].tick_at, made[1].tick_at);
}

async fn templates_are_listed_newest_first(db: &TestDatabase) {
    let mut ids = Vec::new();
    for name in ["A", "B", "C"] {
        ids.push(db.new_template(&template(name)).await);
    }
    ids.reverse();
    for limit in [1, 2, 50] {
        let mut page = Page { after: None, limit };
        let mut listed = Vec::new();
        loop {
            let part = db.store.templates(&page).await.unwrap();
            listed.extend(part.items.into_iter().map(|template| template.id));
            page.after = part.next_cursor;
            if page.after.is_none() {
                break;
            }
        }
        assert_eq!(listed, ids);
    }
}

async fn an_unknown_template_is_refused(db: &TestDatabase) {
    let template = TemplateId(404);
    let unknown = Refusal::UnknownTemplate { template };
    assert_eq!(refusal(db.store.template(template).await), unknown);
    assert_eq!(refusal(db.store.command_template(template, TemplateCommand::Approve, &boss()).await), unknown);
}
