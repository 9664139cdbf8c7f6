mod by_hand;
mod decisions;

use super::dry_run::Page;
use super::show::{in_short, next_steps, sheet_of};
use super::*;
use crate::domain::campaign::cohort::{BlockerEffect, BlockerExample, BlockerKind, BlockersOfKind};
use crate::domain::campaign::dry_run::{DryRun, DryRunDay};
use crate::domain::campaign::{CampaignView, Counts, State, Terms, Totals};
use crate::domain::dispositions::Disposition;
use crate::domain::money::{Currency, Money};

/// One that was just made.
pub fn campaign() -> CampaignView {
    let at = "2026-11-24T09:00:00Z".parse().unwrap();
    CampaignView {
        id: CampaignId(7),
        name: "leavers".into(),
        state: State::Draft,
        pause_cause: None,
        pause_note: None,
        counts: Counts { accounts: 1_874, waiting: 1_874, ..Counts::default() },
        totals: Totals::default(),
        terms: Terms { pause_percent: 10, ..Terms::default() },
        filter: None,
        revision: 1,
        needs_approval: false,
        approved_by: None,
        approved_at: None,
        agreed: None,
        created_at: at,
        created_by: "ada".into(),
        started_at: None,
        started_by: None,
        ended_at: None,
        template_id: None,
        tick_at: None,
        as_of: at,
    }
}

fn dry_run() -> DryRun {
    let at = |text: &str| Some(text.parse().unwrap());
    let day = |day: &str, accounts| DryRunDay { day: day.parse().unwrap(), accounts };
    DryRun {
        campaign_id: CampaignId(7),
        digest: "0123456789abcdef0123456789abcdef".into(),
        revision: 1,
        accounts: 1_874,
        to_disconnect: 1_869,
        left_out: 5,
        children_kept: 3,
        children_unlinked: 0,
        invoices: 1_866,
        nothing_to_invoice: 3,
        final_invoices: vec![Money::new(1_200, Currency::parse("EUR").unwrap()), Money::new(13_913_085, Currency::USD)],
        addresses_released: 1_700,
        blockers: vec![BlockersOfKind {
            kind: BlockerKind::UnknownAccount,
            effect: BlockerEffect::LeavesOut,
            accounts: 5,
            examples: vec![BlockerExample { account_number: "0\u{1b}1".into(), detail: "there was none".into() }],
        }],
        can_start: true,
        needs_approval: false,
        is_approved: false,
        seconds: 11_220,
        begins_at: at("2026-12-01T15:00:00Z"),
        ends_at: at("2026-12-01T18:07:00Z"),
        days: vec![day("2026-12-01", 1_800), day("2026-12-02", 69)],
        zone: "America/Denver".into(),
        amounts: Vec::new(),
        as_of: "2026-11-24T09:00:00Z".parse().unwrap(),
    }
}

fn page() -> Page {
    let mut view = campaign();
    view.terms.per_minute = Some(10);
    view.terms.window = Some("mon-fri 08:00-16:00 America/Denver".into());
    view.terms.canary = Some(25);
    Page::from(view, dry_run(), chrono_tz::Tz::America__Denver, 5_000)
}

#[test]
fn a_dry_run_reads_like_this() {
    assert_eq!(page().rendered(None), GOLDEN);
}

const GOLDEN: &str = "\
What campaign 7 (leavers) would do if it were started now; nothing is changed

Accounts        1,874
To disconnect   1,869
Left out        5
Children        3 stay
Final invoices  1,866, over
                     12.00 EUR
                139,130.85 USD
Without one     3, with nothing to invoice
Addresses       1,700 released
Takes           about 3 h 7 min, at 10 a minute
Begins          2026-12-01 08:00:00 America/Denver (2026-12-01 15:00:00 UTC)
Ends            2026-12-01 11:07:00 America/Denver (2026-12-01 18:07:00 UTC)
Pace            at most 10 a minute
Canary          pauses after the first 25
Window          mon-fri 08:00-16:00 America/Denver
Pauses          by itself when more than 10 % of what it tried has failed
Approval        not needed
Digest          0123456789abcdef0123456789abcdef

By day, in America/Denver:

DUE ON      ACCOUNTS
2026-12-01     1,800
2026-12-02        69

What stands in the way:

  5 accounts: unknown (left out, the rest goes on)
    0\\u{1b}1  there was none
    and 4 more; --blockers FILE lists them all

Next:
  disconnectd campaign start 7
";

#[test]
fn a_dry_run_says_what_has_to_be_done_before_the_start() {
    let rendered = |change: &dyn Fn(&mut DryRun)| {
        let mut page = page();
        change(&mut page.dry_run);
        page.rendered(None)
    };
    let undecided = rendered(&|dry_run| dry_run.can_start = false);
    assert!(undecided.contains("disconnectd campaign change 7 --children keep|unlink|disconnect"), "{undecided}");
    let large = rendered(&|dry_run| dry_run.needs_approval = true);
    assert!(large.contains("disconnectd campaign approve 7") && !large.contains("campaign start"), "{large}");
    let approved = rendered(&|dry_run| (dry_run.needs_approval, dry_run.is_approved) = (true, true));
    assert!(approved.contains("Approval        given") && approved.contains("campaign start 7"), "{approved}");
    let nobody = rendered(&|dry_run| {
        (dry_run.to_disconnect, dry_run.can_start, dry_run.begins_at, dry_run.ends_at) = (0, false, None, None);
    });
    assert!(nobody.contains("nobody to disconnect") && nobody.contains("--accounts FILE"), "{nobody}");
}

#[test]
fn counts_are_told_without_what_there_is_none_of_and_add_up() {
    let mut view = campaign();
    view.state = State::Running;
    view.counts = Counts {
        accounts: 1_874,
        waiting: 1,
        left_out: 5,
        scheduled: 1_000,
        queued: 100,
        retrying: 2,
        completed: 766,
        disconnected: 766,
        failed: 2,
        ..Counts::default()
    };
    let told = "766 disconnected, 2 failed, 5 left out, 1,100 to come (2 of these failed and are tried again), \
                1 not events yet";
    assert_eq!(in_short(&view), told);
    view.state = State::Aborted;
    assert_eq!(in_short(&view), "766 disconnected, 2 failed, 5 left out, 1,100 being cancelled, 1 never begun");
    view.counts = Counts::default();
    assert_eq!(in_short(&view), "nothing yet");
}

#[test]
fn a_campaign_is_shown_with_its_terms_and_what_to_do_next() {
    let mut view = campaign();
    view.terms.children = Some(Disposition::Keep);
    view.filter = Some("balance > 50".into());
    let sheet = sheet_of(&view, None);
    for part in ["what matches balance > 50", "keep: those that are not in it stay", "not needed", "by ada at"] {
        assert!(sheet.contains(part), "{part}: {sheet}");
    }
    assert!(!sheet.contains("Final invoices"), "nothing has begun: {sheet}");
    assert!(next_steps(&view).contains("campaign start 7"));

    view.state = State::Paused;
    view.pause_note = Some("calls come in".into());
    view.started_at = Some(view.created_at);
    view.started_by = Some("bo".into());
    view.agreed = Some(dry_run());
    let sheet = sheet_of(&view, None);
    for part in ["paused: calls come in", "by bo at", "1,866 over 12.00 EUR + 139,130.85 USD"] {
        assert!(sheet.contains(part), "{part}: {sheet}");
    }
    assert!(next_steps(&view).contains("campaign resume 7"));

    view.state = State::Completed;
    assert!(!next_steps(&view).contains("retry"), "nothing failed");
    view.counts.failed = 1;
    assert!(next_steps(&view).contains("campaign retry 7"));
}
