//! What was decided about the children of an event's account, and what somebody has to decide since the family changed.
//!
//! Nothing of it is written down as a flag: it follows from what was decided and what is true now, so that no change of
//! a family can slip by, whoever made it.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::account::AccountNumber;
use super::calendar::Planned;
use super::dispositions::{ChildPlan, ChildStep, Dates, Disposition, Dispositions, settle_for};
use super::event::{EventId, EventView, Outcome, State};
use super::family::Family;
use super::overview::OverviewFacts;
use super::refusal::Refusal;

/// A child of the event's account, or one that was when it was decided about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub number: AccountNumber,
    pub disconnected_at: Option<DateTime<Utc>>,
    /// Whether it has a contact of its own.
    pub has_contact: bool,
    /// Whether it is under the event's account now.
    pub is_child: bool,
    /// Its own open event.
    pub open_event: Option<EventId>,
    pub decision: Option<Decision>,
}

/// What was decided about a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub disposition: Disposition,
    /// Whether it had a contact of its own then.
    pub had_contact: bool,
    /// Its own event, where it is to be disconnected.
    pub event: Option<ChildEvent>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChildEvent {
    pub id: EventId,
    pub state: State,
    pub outcome: Option<Outcome>,
}

/// What is to become of one child, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ChildView {
    pub number: AccountNumber,
    pub disposition: Disposition,
    /// Its own event, where it is to be disconnected.
    pub event_id: Option<EventId>,
    pub event_state: Option<State>,
    /// What to know about the choice; null where there is nothing.
    pub warning: Option<String>,
}

/// Whether the family of such an event is looked at: its account is to be disconnected, or was by it.
fn is_in_question(state: State, outcome: Option<Outcome>) -> bool {
    state.is_open() || outcome == Some(Outcome::Disconnected)
}

/// What was decided, child by child.
fn decided(parent: &AccountNumber, members: &[Member]) -> Vec<ChildView> {
    let view = |member: &Member| {
        let decision = member.decision.as_ref()?;
        Some(ChildView {
            number: member.number.clone(),
            disposition: decision.disposition,
            event_id: decision.event.map(|event| event.id),
            event_state: decision.event.map(|event| event.state),
            warning: warning(parent, member, decision.disposition),
        })
    };
    members.iter().filter_map(view).collect()
}

fn warning(parent: &AccountNumber, member: &Member, disposition: Disposition) -> Option<String> {
    if member.disconnected_at.is_some() || disposition == Disposition::Disconnect {
        return None;
    }
    if let Some(event) = member.open_event {
        let stays = if disposition == Disposition::Keep { "kept" } else { "unlinked" };
        return Some(format!("{} is {stays}, and its own event {event} disconnects it all the same", member.number));
    }
    let stays = disposition == Disposition::Keep && member.is_child;
    (stays && !member.has_contact).then(|| nobody_gets_invoices(parent, &member.number))
}

#[must_use]
pub fn nobody_gets_invoices(parent: &AccountNumber, child: &AccountNumber) -> String {
    format!("once {parent} is gone nobody gets the invoices of {child}: it has no contact of its own")
}

/// What somebody has to decide about, each in a sentence.
#[must_use]
pub fn questions(parent: &AccountNumber, members: &[Member]) -> Vec<String> {
    members.iter().filter_map(|member| question(parent, member)).collect()
}

fn question(parent: &AccountNumber, member: &Member) -> Option<String> {
    let number = &member.number;
    if member.disconnected_at.is_some() {
        return None;
    }
    let Some(decision) = &member.decision else {
        return member
            .is_child
            .then(|| format!("nobody decided about child {number} of {parent}: keep it, disconnect it, or unlink it"));
    };
    match (decision.disposition, member.is_child) {
        (Disposition::Unlink, true) => Some(format!(
            "child {number} was unlinked from {parent} and is linked to it again: keep it, disconnect it, or unlink it"
        )),
        (Disposition::Unlink, false) => None,
        (Disposition::Keep, false) => {
            Some(format!("{number} was to be kept as a child of {parent} and is no child of it any more"))
        }
        (Disposition::Disconnect, false) => Some(match decision.event.filter(|event| event.state.is_open()) {
            Some(event) => format!(
                "{number} was to be disconnected with {parent} and is no child of it any more; its event {} stands",
                event.id
            ),
            None => format!("{number} was to be disconnected with {parent} and is no child of it any more"),
        }),
        (Disposition::Keep, true) => (decision.had_contact && !member.has_contact)
            .then(|| format!("{}: give it a contact, or decide again", nobody_gets_invoices(parent, number))),
        (Disposition::Disconnect, true) => {
            let event = decision.event?;
            let ended = match event.state {
                State::Scheduled | State::Queued => return None,
                State::Cancelled => "was cancelled",
                State::Failed => "failed",
                State::Completed => "did not disconnect it",
            };
            Some(format!(
                "child {number} was to be disconnected with {parent}, but its event {} {ended}: keep it, disconnect it, \
                 or unlink it",
                event.id
            ))
        }
    }
}

/// An event whose family somebody decides about once more.
#[derive(Debug, Clone)]
pub struct ReviewFacts {
    pub event: EventId,
    pub account: AccountNumber,
    pub state: State,
    pub outcome: Option<Outcome>,
    pub family: Family,
    pub members: Vec<Member>,
    /// Of the event while it is open; after it, now.
    pub dates: Dates,
}

/// Adds to an event, as it is shown, what was decided about its family and what there is to decide.
pub fn add_to(view: &mut EventView, members: &[Member]) {
    view.children = decided(&view.account_number, members);
    if is_in_question(view.state, view.outcome) {
        view.to_decide = questions(&view.account_number, members);
    }
}

impl ReviewFacts {
    #[must_use]
    pub fn of(event: EventView, facts: OverviewFacts, members: Vec<Member>) -> Self {
        let OverviewFacts { snapshot, settings, now, .. } = facts;
        // A child of one that is gone already goes now.
        let (due_at, planned) =
            if event.state.is_open() { (event.due_at.max(now), event.planned) } else { (now, Planned::default()) };
        Self {
            event: event.id,
            account: event.account_number,
            state: event.state,
            outcome: event.outcome,
            family: snapshot.family,
            members,
            dates: Dates {
                due_at,
                planned,
                zone: None,
                company_zone: settings.company_zone,
                cutoff_time: settings.cutoff_time,
                late: false,
                event: Some(event.id),
                now,
            },
        }
    }

    /// Settles what there is to decide about: the children that are named, and with a choice for all of them those that
    /// are in question. Pure; the store holds the locks and writes the answer.
    ///
    /// # Errors
    /// There is nothing to decide, or a choice can't be carried out.
    pub fn decide(&self, choices: &Dispositions) -> Result<Vec<ChildPlan>, Refusal> {
        let is_in_question = is_in_question(self.state, self.outcome);
        let nothing = || Refusal::NothingToDecide { event: self.event, is_in_question };
        if !is_in_question {
            return Err(nothing());
        }
        let in_question = |member: &&Member| {
            choices.each.contains_key(&member.number)
                || (choices.all.is_some() && question(&self.account, member).is_some())
        };
        let (here, gone): (Vec<&Member>, Vec<&Member>) =
            self.members.iter().filter(in_question).partition(|member| member.is_child);
        let asked = self.family.connected_children_of(&self.account);
        let here: HashSet<_> = here.into_iter().map(|member| &member.number).collect();
        let asked: Vec<_> = asked.filter(|child| here.contains(&child.number)).collect();
        let gone: Vec<_> = gone.into_iter().filter(|member| question(&self.account, member).is_some()).collect();
        let mut choices = choices.clone();
        let numbers: HashSet<_> = gone.iter().map(|member| &member.number).collect();
        choices.each.retain(|named, _| !numbers.contains(named));
        let mut plans = settle_for(&choices, &self.account, asked, &self.family, &self.dates)?;
        plans.extend(gone.into_iter().map(|member| ChildPlan {
            child: member.number.clone(),
            parent: self.account.clone(),
            disposition: Disposition::Unlink,
            has_contact: member.has_contact,
            cancels: None,
            step: ChildStep::Acknowledge,
        }));
        if plans.is_empty() { Err(nothing()) } else { Ok(plans) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sample::number;

    fn member(disposition: Option<Disposition>) -> Member {
        let event = ChildEvent { id: EventId(8), state: State::Scheduled, outcome: None };
        Member {
            number: number("2"),
            disconnected_at: None,
            has_contact: true,
            is_child: true,
            open_event: None,
            decision: disposition.map(|disposition| Decision {
                disposition,
                had_contact: true,
                event: (disposition == Disposition::Disconnect).then_some(event),
            }),
        }
    }

    fn asked(member: &Member) -> Option<String> {
        question(&number("1"), member)
    }

    fn with_event(state: State, outcome: Option<Outcome>) -> Member {
        let mut member = member(Some(Disposition::Disconnect));
        let decision = member.decision.as_mut().unwrap();
        decision.event = Some(ChildEvent { id: EventId(8), state, outcome });
        member
    }

    #[test]
    fn what_goes_as_it_was_decided_asks_nothing() {
        assert_eq!(asked(&member(Some(Disposition::Keep))), None);
        assert_eq!(asked(&with_event(State::Queued, None)), None);
        assert_eq!(asked(&Member { is_child: false, ..member(Some(Disposition::Unlink)) }), None);
        let gone = Member { disconnected_at: Some(DateTime::UNIX_EPOCH), ..member(None) };
        assert_eq!(asked(&gone), None, "nor does a child that is disconnected");
        let elsewhere = Member { is_child: false, ..member(None) };
        assert_eq!(asked(&elsewhere), None);
    }

    #[test]
    fn a_family_that_changed_asks_for_a_decision() {
        let words = |member: &Member, words: &str| {
            let asked = asked(member).unwrap_or_default();
            assert!(asked.contains(words), "{words}: {asked}");
        };
        words(&member(None), "nobody decided about child 2 of 1");
        words(&member(Some(Disposition::Unlink)), "is linked to it again");
        words(&Member { is_child: false, ..member(Some(Disposition::Keep)) }, "is no child of it any more");
        words(&Member { is_child: false, ..with_event(State::Scheduled, None) }, "its event 8 stands");
        words(&with_event(State::Cancelled, None), "its event 8 was cancelled");
        words(&with_event(State::Failed, None), "its event 8 failed");
        words(&with_event(State::Completed, Some(Outcome::NoLongerEligible)), "did not disconnect it");
        words(&Member { has_contact: false, ..member(Some(Disposition::Keep)) }, "nobody gets the invoices of 2");
    }

    #[test]
    fn a_child_that_had_no_contact_when_it_was_kept_is_a_warning_and_no_question() {
        let mut kept = Member { has_contact: false, ..member(Some(Disposition::Keep)) };
        kept.decision.as_mut().unwrap().had_contact = false;
        assert_eq!(asked(&kept), None);
        let view = decided(&number("1"), &[kept]).pop().unwrap();
        assert!(view.warning.unwrap().contains("nobody gets the invoices of 2"));
    }

    #[test]
    fn a_child_that_stays_and_has_an_event_of_its_own_is_a_warning() {
        for disposition in [Disposition::Keep, Disposition::Unlink] {
            let planned = Member { open_event: Some(EventId(8)), ..member(Some(disposition)) };
            let view = decided(&number("1"), &[planned]).pop().unwrap();
            assert!(view.warning.unwrap().contains("its own event 8 disconnects it all the same"));
        }
    }

    #[test]
    fn only_a_family_that_loses_its_parent_is_looked_at() {
        assert!(is_in_question(State::Scheduled, None) && is_in_question(State::Queued, None));
        assert!(is_in_question(State::Completed, Some(Outcome::Disconnected)));
        assert!(!is_in_question(State::Cancelled, None) && !is_in_question(State::Failed, None));
        assert!(!is_in_question(State::Completed, Some(Outcome::AlreadyDisconnected)));
    }
}
