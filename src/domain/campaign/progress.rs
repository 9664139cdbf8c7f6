//! How a running campaign goes on: what it may claim now, when it pauses by itself, and when it is complete.
//!
//! A store reads the facts of the running campaigns under the locks of their rows, asks, and writes the answer, all in
//! the transaction of the claim.

use chrono::{DateTime, TimeDelta, Utc};

use super::{CampaignId, PauseCause};
use crate::domain::pace::Pace;
use crate::domain::window::Window;

/// So many accounts are tried before a share of failures pauses a campaign: of fewer a share says nothing.
pub const TRIED_MIN: i64 = 20;

/// Of a paced campaign so many may be in flight, however slow it is: one that is stuck holds up no others.
const PACED_IN_FLIGHT_MIN: u32 = 4;

/// While the last of it are in flight: how soon to look whether they are done.
pub const LOOK_AGAIN: TimeDelta = TimeDelta::milliseconds(100);

/// A running campaign as a claim finds it.
#[derive(Debug, Clone)]
pub struct Running {
    pub id: CampaignId,
    pub accounts: i64,
    /// The members up to this position are events, or left out.
    pub enlisted: i64,
    pub canary: Option<u32>,
    pub canary_passed: bool,
    pub pace: Option<Pace>,
    pub pace_at: Option<DateTime<Utc>>,
    pub window: Option<Window>,
    pub pause_percent: u8,
    /// In the queue, and not finished.
    pub queued: i64,
    /// Since the campaign began: with an outcome, or in trouble; and those in trouble (failed, or to be tried again).
    pub tried: i64,
    pub troubled: i64,
    /// The same when it was last resumed.
    pub tried_before: i64,
    pub troubled_before: i64,
    /// Whether an open event of the canary's lane has not been tried yet.
    pub canary_untried: bool,
    /// Whether its lanes have an open event.
    pub has_open: bool,
    /// The earliest `next_at` of what is scheduled in the lanes that it may claim from; see [`lanes`].
    pub next_at: Option<DateTime<Utc>>,
}

/// What is to be done with a running campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Up to so many of its events may go to the queue now, given window and pace.
    Claim { at_most: u32 },
    /// Nothing before this instant; `None`: not by the clock, but when something of it changes.
    Wait { until: Option<DateTime<Utc>> },
    /// Its window has closed: what is queued goes back, since workers ask for no window.
    TakeBack,
    /// It pauses by itself, for this reason.
    Pause { cause: PauseCause, note: String },
    /// Nothing is left.
    Complete,
}

/// The lane that a member's event is made in.
#[must_use]
pub fn lane(campaign: CampaignId, position: i64, canary: Option<u32>, canary_passed: bool) -> i64 {
    let is_first = canary.is_some_and(|canary| position <= i64::from(canary));
    if is_first && !canary_passed { -campaign.0 } else { campaign.0 }
}

/// The lanes that it may claim from, in this order: while the canary is not passed, only that one's.
#[must_use]
pub fn lanes(campaign: CampaignId, canary: Option<u32>, canary_passed: bool) -> Vec<i64> {
    match (canary, canary_passed) {
        (None, _) => vec![campaign.0],
        (Some(_), false) => vec![-campaign.0],
        (Some(_), true) => vec![-campaign.0, campaign.0],
    }
}

impl Running {
    #[must_use]
    pub fn step(&self, now: DateTime<Utc>) -> Step {
        if let Some(note) = self.too_many_failures() {
            return Step::Pause { cause: PauseCause::Failures, note };
        }
        let canary = self.canary.filter(|canary| !self.canary_passed && i64::from(*canary) < self.accounts);
        if let Some(canary) = canary
            && self.enlisted >= i64::from(canary)
            && !self.canary_untried
        {
            let note = format!("its first {canary} accounts have been tried: look at them, then resume or abort it");
            return Step::Pause { cause: PauseCause::Canary, note };
        }
        if self.enlisted >= self.accounts && !self.has_open {
            return Step::Complete;
        }
        if let Some(window) = &self.window {
            let opens = window.next_open(now);
            if opens != Some(now) {
                return match self.queued {
                    0 => Step::Wait { until: opens.and_then(|opens| Some(opens.max(self.next_at?))) },
                    _ => Step::TakeBack,
                };
            }
        }
        // Nothing is scheduled: it is all in flight, or to be enlisted still.
        let Some(next_at) = self.next_at else {
            return self.wait((self.queued > 0).then(|| now + LOOK_AGAIN), now);
        };
        if next_at > now {
            return self.wait(Some(next_at), now);
        }
        let Some(pace) = &self.pace else { return Step::Claim { at_most: u32::MAX } };
        // Some at a time, since each claim writes to the campaign's row; of a second's worth nothing is lost by that. And
        // no more are in flight at once: what gathers while the workers are away would all go when they are back.
        let at_once = (pace.burst() / 4).max(1);
        let in_flight_max = pace.burst().max(PACED_IN_FLIGHT_MIN);
        let room = in_flight_max.saturating_sub(u32::try_from(self.queued).unwrap_or(u32::MAX));
        let (granted, _) = pace.take(self.pace_at, now, u32::MAX);
        if granted < at_once {
            self.wait(Some(pace.next(self.pace_at, now, at_once)), now)
        } else if room < at_once {
            self.wait(Some(now + LOOK_AGAIN), now)
        } else {
            Step::Claim { at_most: granted.min(room) }
        }
    }

    /// No longer than until its window closes over what is in flight.
    fn wait(&self, until: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Step {
        let closes = self.window.as_ref().filter(|_| self.queued > 0).and_then(|window| window.closes_at(now));
        Step::Wait { until: until.into_iter().chain(closes).min() }
    }

    /// In trouble when it was last resumed, of which those that recovered since no longer count.
    #[must_use]
    pub fn still_troubled_before(&self) -> i64 {
        self.troubled_before.min(self.troubled)
    }

    fn too_many_failures(&self) -> Option<String> {
        let (tried, troubled) = (self.tried - self.tried_before, self.troubled - self.still_troubled_before());
        let is_too_many = tried >= TRIED_MIN && troubled * 100 > tried * i64::from(self.pause_percent);
        is_too_many.then(|| {
            format!(
                "{troubled} of {tried} accounts that were tried have failed, more than {} %: see what is wrong, then \
                 resume or abort it",
                self.pause_percent
            )
        })
    }
}

/// A campaign that may claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    pub queued: u32,
    /// Window and pace let so many through.
    pub at_most: u32,
}

/// Shares the room that is left in flight among the campaigns that may claim, so that they come to have equally much in
/// flight. Answers how many each may claim. `in_flight`: of all campaigns, also of those that may not claim now; `claim_max`:
/// of all together.
#[must_use]
pub fn share_out(in_flight_max: u32, in_flight: u32, claim_max: u32, demands: &[Demand]) -> Vec<u32> {
    let mut grants = vec![0; demands.len()];
    let mut room = in_flight_max.saturating_sub(in_flight).min(claim_max);
    // Each round gives to the campaigns with the least in flight, up to the next one's level; so at most as many rounds
    // as there are campaigns, twice.
    loop {
        let level = |i: usize, grants: &[u32]| demands[i].queued.saturating_add(grants[i]);
        let hungry: Vec<usize> = (0..demands.len()).filter(|i| grants[*i] < demands[*i].at_most).collect();
        let Some(least) = hungry.iter().map(|i| level(*i, &grants)).min() else { return grants };
        let lowest: Vec<usize> = hungry.iter().copied().filter(|i| level(*i, &grants) == least).collect();
        let next = hungry.iter().map(|i| level(*i, &grants)).filter(|level| *level > least).min();
        let count = u32::try_from(lowest.len()).unwrap_or(u32::MAX);
        if room == 0 {
            return grants;
        }
        let each = (room / count).min(next.map_or(u32::MAX, |next| next - least));
        if each == 0 {
            // Fewer left than campaigns: the first ones get one each.
            for i in lowest.into_iter().take(room as usize) {
                grants[i] += 1;
            }
            return grants;
        }
        for i in lowest {
            let given = each.min(demands[i].at_most - grants[i]);
            grants[i] += given;
            room -= given;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000, 0).unwrap()
    }

    fn running() -> Running {
        Running {
            id: CampaignId(7),
            accounts: 1_000,
            enlisted: 1_000,
            canary: None,
            canary_passed: false,
            pace: None,
            pace_at: None,
            window: None,
            pause_percent: 10,
            queued: 0,
            tried: 0,
            troubled: 0,
            tried_before: 0,
            troubled_before: 0,
            canary_untried: false,
            has_open: true,
            next_at: Some(now()),
        }
    }

    #[test]
    fn it_claims_what_is_due_and_waits_for_what_is_not() {
        assert_eq!(running().step(now()), Step::Claim { at_most: u32::MAX });
        let later = now() + TimeDelta::hours(1);
        assert_eq!(Running { next_at: Some(later), ..running() }.step(now()), Step::Wait { until: Some(later) });
        assert_eq!(Running { next_at: None, ..running() }.step(now()), Step::Wait { until: None });
        let in_flight = Running { next_at: None, queued: 1, ..running() };
        assert_eq!(in_flight.step(now()), Step::Wait { until: Some(now() + LOOK_AGAIN) }, "until they are done");
    }

    #[test]
    fn it_is_complete_when_all_are_enlisted_and_nothing_is_open() {
        let done = Running { has_open: false, next_at: None, ..running() };
        assert_eq!(done.step(now()), Step::Complete);
        assert_eq!(Running { enlisted: 999, ..done }.step(now()), Step::Wait { until: None });
    }

    #[test]
    fn a_canary_pauses_once_it_was_tried_and_only_once() {
        let canary = Running { canary: Some(10), ..running() };
        assert_eq!(Running { canary_untried: true, ..canary.clone() }.step(now()), Step::Claim { at_most: u32::MAX });
        assert!(matches!(canary.step(now()), Step::Pause { cause: PauseCause::Canary, .. }));
        assert_eq!(Running { canary_passed: true, ..canary.clone() }.step(now()), Step::Claim { at_most: u32::MAX });
        assert_eq!(Running { enlisted: 9, ..canary.clone() }.step(now()), Step::Claim { at_most: u32::MAX });
        let all_of_it = Running { canary: Some(1_000), has_open: false, ..canary };
        assert_eq!(all_of_it.step(now()), Step::Complete, "there is nothing after the canary to be asked about");
        assert_eq!(lanes(CampaignId(7), Some(10), false), [-7]);
        assert_eq!(lanes(CampaignId(7), Some(10), true), [-7, 7]);
        assert_eq!([lane(CampaignId(7), 10, Some(10), false), lane(CampaignId(7), 11, Some(10), false)], [-7, 7]);
    }

    #[test]
    fn failures_past_a_share_pause_it_counted_from_the_last_resume() {
        let troubled = Running { tried: 20, troubled: 3, ..running() };
        assert!(matches!(troubled.step(now()), Step::Pause { cause: PauseCause::Failures, .. }));
        assert!(matches!(Running { troubled: 2, ..troubled.clone() }.step(now()), Step::Claim { .. }), "not more than");
        assert!(matches!(Running { tried: 19, ..troubled.clone() }.step(now()), Step::Claim { .. }), "too few to tell");
        let resumed = Running { tried_before: 20, troubled_before: 3, ..troubled };
        assert!(matches!(resumed.step(now()), Step::Claim { .. }));
        assert!(matches!(Running { tried: 40, troubled: 6, ..resumed }.step(now()), Step::Pause { .. }));
    }

    #[test]
    fn those_that_recover_after_a_resume_hide_no_new_failures() {
        let resumed = Running { tried: 60, troubled: 30, tried_before: 60, troubled_before: 30, ..running() };
        let recovered = Running { troubled: 0, ..resumed };
        assert_eq!(recovered.still_troubled_before(), 0);
        let later =
            Running { tried: 360, troubled: 59, troubled_before: recovered.still_troubled_before(), ..recovered };
        assert!(matches!(later.step(now()), Step::Pause { cause: PauseCause::Failures, .. }));
    }

    #[test]
    fn what_is_queued_goes_back_when_the_window_closes() {
        let office =
            Window::parse("mon-sun 09:00-17:00", chrono_tz::UTC, &std::collections::BTreeSet::new()).unwrap().unwrap();
        let at = |time: &str| format!("2026-12-01T{time}Z").parse::<DateTime<Utc>>().unwrap();
        let running = Running { window: Some(office), next_at: Some(at("10:00:00")), queued: 3, ..running() };
        assert_eq!(running.step(at("16:59:59")), Step::Claim { at_most: u32::MAX });
        assert_eq!(running.step(at("17:00:00")), Step::TakeBack);
        let none = Running { queued: 0, ..running.clone() };
        assert_eq!(none.step(at("17:00:00")), Step::Wait { until: Some(at("09:00:00") + TimeDelta::days(1)) });
        let tomorrow = Some(at("10:00:00") + TimeDelta::days(1));
        let rest = Running { next_at: tomorrow, ..running };
        assert_eq!(rest.step(at("12:00:00")), Step::Wait { until: Some(at("17:00:00")) }, "it looks when it closes");
        assert_eq!(Running { queued: 0, ..rest }.step(at("12:00:00")), Step::Wait { until: tomorrow });
    }

    #[test]
    fn a_paced_one_claims_some_at_a_time_and_has_a_seconds_worth_in_flight_at_most() {
        let paced = Running { pace: Some(Pace::per_minute(6_000).unwrap()), ..running() };
        assert_eq!(paced.step(now()), Step::Claim { at_most: 100 });
        assert_eq!(Running { queued: 60, ..paced.clone() }.step(now()), Step::Claim { at_most: 40 });
        let full = Running { queued: 90, ..paced.clone() };
        assert_eq!(full.step(now()), Step::Wait { until: Some(now() + LOOK_AGAIN) }, "the workers are behind");
        // All was let through a moment ago: the next ones go when a quarter of the burst may.
        let (_, pace_at) = Pace::per_minute(6_000).unwrap().take(None, now(), 100);
        let Step::Wait { until: Some(until) } = (Running { pace_at: Some(pace_at), ..paced.clone() }).step(now())
        else {
            panic!("nothing may go yet")
        };
        let wait = until - now();
        assert!((TimeDelta::milliseconds(240)..TimeDelta::milliseconds(260)).contains(&wait), "{wait}");
        let next = Running { pace_at: Some(pace_at), ..paced };
        assert_eq!(next.step(until), Step::Claim { at_most: 25 });
    }

    #[test]
    fn two_campaigns_come_to_share_and_one_alone_has_all() {
        let demand = |queued| Demand { queued, at_most: u32::MAX };
        assert_eq!(share_out(5_000, 0, 500, &[demand(0)]), [500]);
        assert_eq!(share_out(5_000, 0, 500, &[demand(0), demand(0)]), [250, 250]);
        assert_eq!(share_out(5_000, 4_900, 500, &[demand(4_900), demand(0)]), [0, 100]);
        assert_eq!(share_out(5_000, 5_000, 500, &[demand(5_000), demand(0)]), [0, 0]);
        let paced = Demand { queued: 0, at_most: 3 };
        assert_eq!(share_out(5_000, 0, 500, &[paced, demand(0)]), [3, 497]);
    }

    proptest! {
        #[test]
        fn what_is_in_flight_stays_bounded_and_nothing_is_left_lying(
            queued in prop::collection::vec((0_u32..3_000, 0_u32..2_000), 0..6),
        ) {
            let demands: Vec<_> = queued.iter().map(|(queued, at_most)| Demand { queued: *queued, at_most: *at_most }).collect();
            let in_flight = demands.iter().map(|demand| demand.queued).sum();
            let grants = share_out(5_000, in_flight, 500, &demands);
            let given: u32 = grants.iter().sum();
            let room = 5_000_u32.saturating_sub(in_flight).min(500);
            let wanted: u32 = demands.iter().map(|demand| demand.at_most).sum();
            prop_assert_eq!(given, room.min(wanted));
            for (grant, demand) in grants.iter().zip(&demands) {
                prop_assert!(*grant <= demand.at_most);
            }
        }
    }
}
