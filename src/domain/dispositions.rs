//! What is to become of the children when their parent is disconnected: a person's explicit choice for each (DESIGN 2,
//! rule 5).
//!
//! Asked about are the connected children of the account, and those of every child that is to be disconnected with it,
//! however deep. An unlink happens at the confirmation, a disconnect is an event of the child's own.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use chrono::{DateTime, NaiveTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::account::AccountNumber;
use super::calendar::{Planned, When};
use super::event::{EventId, OpenEvent};
use super::family::{Family, Relative};
use super::refusal::{Refusal, UndecidedChild};

/// The choice for one child, as a person gives it: `keep`, `unlink`, `disconnect` or `disconnect@2026-12-01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// It stays linked to a parent that is disconnected.
    Keep,
    /// It has no parent any more, from the confirmation on.
    Unlink,
    /// It gets an event of its own, for its parent's date unless another is given.
    Disconnect { on: Option<When> },
}

impl Choice {
    /// # Errors
    /// A sentence that shows the forms there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "keep" => Ok(Self::Keep),
            "unlink" => Ok(Self::Unlink),
            "disconnect" => Ok(Self::Disconnect { on: None }),
            other => match other.strip_prefix("disconnect@") {
                Some(when) => When::parse(when).map(|when| Self::Disconnect { on: Some(when) }),
                None => Err(format!(
                    "`{other}` is none of keep, unlink, disconnect, and disconnect@DATE as in disconnect@2026-12-01"
                )),
            },
        }
    }

    #[must_use]
    pub fn disposition(self) -> Disposition {
        match self {
            Self::Keep => Disposition::Keep,
            Self::Unlink => Disposition::Unlink,
            Self::Disconnect { .. } => Disposition::Disconnect,
        }
    }
}

/// The choice without its date, as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    Keep,
    Unlink,
    Disconnect,
}

impl Disposition {
    pub const ALL: [Self; 3] = [Self::Keep, Self::Unlink, Self::Disconnect];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Unlink => "unlink",
            Self::Disconnect => "disconnect",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|disposition| disposition.as_str() == text)
    }
}

impl fmt::Display for Disposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The choices of one confirmation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dispositions {
    /// For every child that is not named.
    pub all: Option<Choice>,
    pub each: BTreeMap<AccountNumber, Choice>,
}

impl Dispositions {
    /// The same for every child.
    #[must_use]
    pub fn all(choice: Choice) -> Self {
        Self { all: Some(choice), each: BTreeMap::new() }
    }

    #[must_use]
    pub fn of(&self, child: &AccountNumber) -> Option<Choice> {
        self.each.get(child).copied().or(self.all)
    }
}

/// What a confirmation does to one child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildPlan {
    pub child: AccountNumber,
    /// The one whose disconnect asks about it. It comes earlier among the plans where it is a child itself.
    pub parent: AccountNumber,
    pub disposition: Disposition,
    /// Whether it has a contact of its own.
    pub has_contact: bool,
    /// Its open event that was made with its parent's, when another choice was made: it is cancelled, and those that
    /// were made with it are.
    pub cancels: Option<EventId>,
    pub step: ChildStep,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChildStep {
    /// It stays as it is.
    Keep,
    /// Its parent is taken from it, and remembered.
    Unlink,
    /// It has an open event that comes no later: nothing to write but that this is what was decided.
    Adopt { event: EventId },
    /// A new event of its own, made with its parent's.
    Create { due_at: DateTime<Utc>, planned: Planned },
    /// Its open event, brought forward: it is asked for now.
    BringForward { event: EventId, due_at: DateTime<Utc> },
    /// It left the family: that this is known now is all there is to write.
    Acknowledge,
}

/// The date of the parent's disconnect, and how other dates are read.
#[derive(Debug, Clone)]
pub struct Dates {
    pub due_at: DateTime<Utc>,
    pub planned: Planned,
    /// The zone that was given for the request.
    pub zone: Option<Tz>,
    pub company_zone: Tz,
    pub cutoff_time: NaiveTime,
    /// A date in the past is meant.
    pub late: bool,
    /// The parent's event, where it is there already.
    pub event: Option<EventId>,
    pub now: DateTime<Utc>,
}

impl Dates {
    /// The date of a child is the date of those below it.
    fn below(&self, step: &ChildStep, child: &Relative) -> Self {
        let (due_at, planned, event) = match step {
            ChildStep::Create { due_at, planned } => (*due_at, planned.clone(), None),
            ChildStep::Adopt { event } => {
                let due_at = child.open_event.as_ref().map_or(self.due_at, |open| open.due_at);
                (due_at.max(self.now), Planned::default(), Some(*event))
            }
            ChildStep::BringForward { event, .. } => (self.now, Planned::default(), Some(*event)),
            ChildStep::Keep | ChildStep::Unlink | ChildStep::Acknowledge => (self.now, Planned::default(), None),
        };
        Self { due_at, planned, event, ..self.clone() }
    }
}

/// Who is asked about, each behind its parent: the connected children of `account`, and those of every child that goes.
pub fn asked_about<'f>(
    account: &AccountNumber,
    family: &'f Family,
    goes: impl Fn(&AccountNumber) -> bool,
) -> Vec<&'f Relative> {
    let connected = family.connected();
    let mut asked: Vec<&Relative> = connected.of(account).to_vec();
    // No family has a cycle; but this ends on any data.
    let mut gone = HashSet::from([account]);
    let mut next = 0;
    while let Some(child) = asked.get(next).copied() {
        next += 1;
        if goes(&child.number) && gone.insert(&child.number) {
            asked.extend(connected.of(&child.number));
        }
    }
    asked
}

/// Settles what becomes of the children of `account` and of those below them, each plan behind that of its parent.
///
/// # Errors
/// Children that nobody decided about, a choice for somebody who is no such child, or one that can't be carried out.
pub fn settle(
    choices: &Dispositions,
    account: &AccountNumber,
    family: &Family,
    dates: &Dates,
) -> Result<Vec<ChildPlan>, Refusal> {
    settle_for(choices, account, family.connected_children_of(account).collect(), family, dates)
}

/// The same for some of the children only: `asked`.
pub(super) fn settle_for(
    choices: &Dispositions,
    account: &AccountNumber,
    asked: Vec<&Relative>,
    family: &Family,
    dates: &Dates,
) -> Result<Vec<ChildPlan>, Refusal> {
    let connected = family.connected();
    let mut plans: Vec<ChildPlan> = Vec::new();
    // No family has a cycle; but this ends on any data.
    let mut seen = HashSet::from([account]);
    let mut undecided = Vec::new();
    let mut level: Vec<(&AccountNumber, &Relative, Dates)> =
        asked.into_iter().map(|child| (account, child, dates.clone())).collect();
    while !level.is_empty() {
        let mut below = Vec::new();
        for (parent, child, dates) in level {
            if !seen.insert(&child.number) {
                continue;
            }
            let Some(choice) = choices.of(&child.number) else {
                let (number, name, parent_number) = (child.number.clone(), child.name.clone(), parent.clone());
                undecided.push(UndecidedChild { number, name, parent_number });
                continue;
            };
            let plan = plan(choice, parent, child, &dates)?;
            if choice.disposition() == Disposition::Disconnect {
                let dates = dates.below(&plan.step, child);
                let children = connected.of(&child.number);
                below.extend(children.iter().map(|grandchild| (&child.number, *grandchild, dates.clone())));
            }
            plans.push(plan);
        }
        level = below;
    }
    if !undecided.is_empty() {
        return Err(Refusal::UndecidedChildren { account: account.clone(), children: undecided });
    }
    let planned: HashSet<&AccountNumber> = plans.iter().map(|plan| &plan.child).collect();
    match choices.each.keys().find(|named| !planned.contains(named)) {
        Some(child) => Err(Refusal::NotAChild { account: account.clone(), child: child.clone() }),
        None => Ok(plans),
    }
}

/// Those who leave the family with the confirmation.
#[must_use]
pub fn leaving(plans: &[ChildPlan]) -> HashSet<&AccountNumber> {
    plans.iter().filter(|plan| plan.step == ChildStep::Unlink).map(|plan| &plan.child).collect()
}

fn plan(choice: Choice, parent: &AccountNumber, child: &Relative, dates: &Dates) -> Result<ChildPlan, Refusal> {
    let step = match choice {
        Choice::Keep => ChildStep::Keep,
        Choice::Unlink if child.contact.is_empty() => {
            return Err(Refusal::UnlinkWithoutContact { child: child.number.clone(), parent: parent.clone() });
        }
        Choice::Unlink => ChildStep::Unlink,
        Choice::Disconnect { on } => own_event(on, child, dates)?,
    };
    let is_made_with = |open: &&OpenEvent| dates.event.is_some() && open.made_with == dates.event;
    let goes = matches!(choice, Choice::Disconnect { .. });
    let cancels = if goes { None } else { child.open_event.as_ref().filter(is_made_with).map(|open| open.id) };
    Ok(ChildPlan {
        child: child.number.clone(),
        parent: parent.clone(),
        disposition: choice.disposition(),
        has_contact: !child.contact.is_empty(),
        cancels,
        step,
    })
}

fn own_event(on: Option<When>, child: &Relative, dates: &Dates) -> Result<ChildStep, Refusal> {
    let (due_at, planned) = match on {
        None => (dates.due_at, dates.planned.clone()),
        Some(when) => {
            let zone = dates.zone.or(child.zone).unwrap_or(dates.company_zone);
            when.resolve(zone, dates.cutoff_time, dates.now)
        }
    };
    if on.is_some() && due_at < dates.now && !dates.late {
        return Err(Refusal::PastDate { due_at, now: dates.now });
    }
    match &child.open_event {
        // A date that was given for the child is meant; another of its own is not silently taken for it.
        Some(open) if open.lane == 0 && (open.due_at == due_at || (open.due_at < due_at && on.is_none())) => {
            Ok(ChildStep::Adopt { event: open.id })
        }
        Some(open) if due_at <= dates.now => {
            Ok(ChildStep::BringForward { event: open.id, due_at: open.due_at.min(due_at) })
        }
        Some(open) => Err(Refusal::OpenEvent {
            account: child.number.clone(),
            event: open.id,
            state: open.state,
            due_at: open.due_at,
        }),
        None => Ok(ChildStep::Create { due_at, planned }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::State;
    use crate::domain::sample::{child, number};
    use chrono::TimeDelta;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000, 0).unwrap()
    }

    fn dates() -> Dates {
        Dates {
            due_at: now() + TimeDelta::days(7),
            planned: Planned { planned_for: Some("2026-11-25".into()), zone: Some("UTC".into()) },
            zone: None,
            company_zone: Tz::UTC,
            cutoff_time: NaiveTime::MIN,
            late: false,
            event: None,
            now: now(),
        }
    }

    /// 1 has the children 2 and 3, and 2 has 4.
    fn family() -> Family {
        Family { parent: None, children: vec![child("2", "1"), child("3", "1")], descendants: vec![child("4", "2")] }
    }

    fn choices(text: &str) -> Dispositions {
        let mut choices = Dispositions::default();
        for one in text.split_whitespace() {
            match one.split_once('=') {
                None => choices.all = Some(Choice::parse(one).unwrap()),
                Some((child, choice)) => drop(choices.each.insert(number(child), Choice::parse(choice).unwrap())),
            }
        }
        choices
    }

    fn settled(text: &str, family: &Family) -> Result<Vec<(String, ChildStep)>, Refusal> {
        let plans = settle(&choices(text), &number("1"), family, &dates())?;
        Ok(plans.into_iter().map(|plan| (format!("{}<{}", plan.child, plan.parent), plan.step)).collect())
    }

    fn undecided(text: &str) -> Vec<String> {
        match settled(text, &family()) {
            Err(Refusal::UndecidedChildren { children, .. }) => {
                children.into_iter().map(|child| child.number.to_string()).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rule_5_nobody_is_decided_about_in_silence() {
        assert_eq!(undecided(""), ["2", "3"]);
        assert_eq!(undecided("2=keep"), ["3"]);
        assert_eq!(undecided("2=disconnect 3=keep"), ["4"], "nor who is below a child that goes");
        assert!(settled("2=keep 3=unlink", &family()).is_ok(), "but not below one that stays");
        assert_eq!(settled("", &Family::default()), Ok(vec![]));
        let mut gone = family();
        gone.children.iter_mut().for_each(|child| child.disconnected_at = Some(now()));
        assert_eq!(settled("", &gone), Ok(vec![]), "who is disconnected is not asked about");
    }

    #[test]
    fn who_is_below_a_child_that_goes_is_asked_about_too() {
        let asked = |goes: &[&str]| -> Vec<String> {
            let family = family();
            let asked = asked_about(&number("1"), &family, |child| goes.contains(&child.as_str()));
            asked.into_iter().map(|child| child.number.to_string()).collect()
        };
        assert_eq!(asked(&[]), ["2", "3"]);
        assert_eq!(asked(&["3"]), ["2", "3"]);
        assert_eq!(asked(&["2", "3"]), ["2", "3", "4"]);
        let mut ring = family();
        ring.descendants = vec![child("4", "2"), child("2", "4"), child("1", "4")];
        assert!(asked_about(&number("1"), &ring, |_| true).len() < 10, "a cycle in the data ends");
    }

    #[test]
    fn a_family_of_thousands_is_gone_through_in_a_moment() {
        const CHILDREN: usize = 20_000;
        let children: Vec<_> = (0..CHILDREN).map(|n| child(&format!("C-{n:05}"), "1")).collect();
        let descendants: Vec<_> = (0..CHILDREN).map(|n| child(&format!("G-{n:05}"), &format!("C-{n:05}"))).collect();
        let family = Family { parent: None, children, descendants };
        let each = family.children.iter().map(|child| (child.number.clone(), Choice::Keep));
        let choices = Dispositions { all: None, each: each.collect() };
        // Pair by pair it would take minutes.
        let began = std::time::Instant::now();
        assert_eq!(asked_about(&number("1"), &family, |_| true).len(), 2 * CHILDREN);
        let all = Dispositions::all(Choice::Disconnect { on: None });
        assert_eq!(settle(&all, &number("1"), &family, &dates()).unwrap().len(), 2 * CHILDREN);
        assert_eq!(settle(&choices, &number("1"), &family, &dates()).unwrap().len(), CHILDREN);
        assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
    }

    #[test]
    fn one_choice_for_all_goes_down_the_family_each_behind_its_parent() {
        let Dates { due_at, planned, .. } = dates();
        let own = ChildStep::Create { due_at, planned };
        let wanted = ["2<1", "3<1", "4<2"].map(|who| (who.to_owned(), own.clone()));
        assert_eq!(settled("disconnect", &family()).unwrap(), wanted);
    }

    #[test]
    fn a_child_may_have_a_date_of_its_own_and_those_below_it_follow() {
        let plans = settled("2=disconnect@2026-12-24T12:00 4=disconnect 3=keep", &family()).unwrap();
        let dues: Vec<_> = plans
            .iter()
            .map(|(who, step)| match step {
                ChildStep::Create { due_at, .. } => format!("{who} {}", due_at.format("%m-%d")),
                other => format!("{who} {other:?}"),
            })
            .collect();
        assert_eq!(dues, ["2<1 12-24", "3<1 Keep", "4<2 12-24"]);
        assert!(matches!(settled("2=disconnect@2020-01-01 keep", &family()), Err(Refusal::PastDate { .. })));
    }

    #[test]
    fn an_unlink_needs_a_contact() {
        let mut family = family();
        family.children[0].contact.email = None;
        assert!(matches!(settled("unlink", &family), Err(Refusal::UnlinkWithoutContact { .. })));
        assert!(settled("2=keep 3=unlink", &family).is_ok());
    }

    #[test]
    fn who_is_no_such_child_is_named() {
        for text in ["keep 9=keep", "keep 4=keep", "keep 1=keep"] {
            let refused = settled(text, &family());
            assert!(matches!(refused, Err(Refusal::NotAChild { .. })), "{text}: {refused:?}");
        }
    }

    #[test]
    fn rule_6_an_open_event_that_comes_no_later_serves_and_another_is_named() {
        let with_event = |choice: &str, due_at| {
            let mut family = family();
            family.children[1].open_event =
                Some(OpenEvent { id: EventId(9), state: State::Scheduled, due_at, lane: 0, made_with: None });
            let settled = settle(&choices(&format!("2=keep 3={choice}")), &number("1"), &family, &dates());
            settled.map(|mut plans| plans.pop().unwrap().step)
        };
        let soon = now() + TimeDelta::days(3);
        assert_eq!(with_event("disconnect", soon), Ok(ChildStep::Adopt { event: EventId(9) }));
        let named = |answer| matches!(answer, Err(Refusal::OpenEvent { event: EventId(9), .. }));
        assert!(named(with_event("disconnect", now() + TimeDelta::days(30))));
        assert!(named(with_event("disconnect@2099-12-24", soon)), "a date that was given is meant");
        assert!(matches!(with_event("disconnect@2020-01-01", soon), Err(Refusal::PastDate { .. })), "or a slip");
        let forward = with_event("disconnect@now", soon);
        assert_eq!(forward, Ok(ChildStep::BringForward { event: EventId(9), due_at: now() }));
    }

    #[test]
    fn another_choice_cancels_the_childs_event_that_was_made_with_the_parents() {
        let made_with = |parents| {
            let mut family = family();
            let open = OpenEvent {
                id: EventId(9),
                state: State::Scheduled,
                due_at: now() + TimeDelta::days(7),
                lane: 0,
                made_with: parents,
            };
            family.children[1].open_event = Some(open);
            let dates = Dates { event: Some(EventId(7)), ..dates() };
            let cancels = |choice: &str| {
                let text = format!("2=keep 3={choice}");
                settle(&choices(&text), &number("1"), &family, &dates).unwrap().pop().unwrap().cancels
            };
            ["keep", "unlink", "disconnect"].map(cancels)
        };
        assert_eq!(made_with(Some(EventId(7))), [Some(EventId(9)), Some(EventId(9)), None]);
        assert_eq!(made_with(Some(EventId(6))), [None; 3], "one of another plan stays");
        assert_eq!(made_with(None), [None; 3], "and one of its own");
    }

    #[test]
    fn a_cycle_in_the_data_ends() {
        let mut ring = family();
        ring.descendants = vec![child("4", "2"), child("2", "4"), child("1", "4")];
        assert!(settle(&choices("disconnect"), &number("1"), &ring, &dates()).is_ok());
    }

    #[test]
    fn choices_are_read_as_they_are_written() {
        assert_eq!(Choice::parse(" unlink "), Ok(Choice::Unlink));
        assert!(matches!(Choice::parse("disconnect@now"), Ok(Choice::Disconnect { on: Some(When::Now) })));
        for text in ["", "drop", "disconnect@", "disconnect@tomorrow", "keep@now"] {
            assert!(Choice::parse(text).is_err(), "{text}");
        }
    }
}
