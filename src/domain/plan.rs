//! What one disconnect does to one account, as data. All deciding is here; the stores load, lock and write.

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;

use super::account::{AccountNumber, Contact, LogKind, Status};
use super::address::Assignment;
use super::event::{Event, Outcome};
use super::family::Family;
use super::filter::{Candidate, Filter};
use super::invoice::{Debit, InvoiceDraft};
use super::money::Currency;
use super::refusal::{Refusal, instant};

/// Everything that a disconnect is decided from, read under the account's lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub number: AccountNumber,
    pub name: String,
    pub contact: Contact,
    /// Its parent and its children, for events that bear what was agreed to; nobody, for others.
    pub family: Family,
    pub status: Status,
    pub disconnected_at: Option<DateTime<Utc>>,
    pub currency: Currency,
    /// All uninvoiced debits, in any order.
    pub debits: Vec<Debit>,
    pub assignment: Option<Assignment>,
    /// For events whose account has to match a filter still.
    pub standing: Option<Standing>,
    /// The status that a disconnect leads to, or why there is none. See [`super::settings::Settings::target`].
    pub target: Result<Status, Refusal>,
}

/// What of an account a filter asks about, beside what the snapshot has anyway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub groups: Vec<String>,
    pub parent: Option<AccountNumber>,
    /// Its own, else the company's.
    pub zone: Tz,
    /// In the company's zone.
    pub today: NaiveDate,
}

impl Snapshot {
    /// What of `filter` the account does not match any more.
    fn no_longer_eligible(&self, filter: &Filter, standing: &Standing) -> Option<String> {
        filter.why_not(&Candidate {
            number: &self.number,
            name: &self.name,
            status: &self.status.name,
            groups: &standing.groups,
            parent: standing.parent.as_ref(),
            zone: standing.zone,
            currency: self.currency,
            balance: self
                .debits
                .iter()
                .fold(0, |sum: i64, debit| sum.saturating_add(debit.amount).saturating_add(debit.tax)),
            oldest_debit: self.debits.iter().map(|debit| debit.charged_on).min(),
            address: self.assignment.as_ref().map(|assignment| assignment.address.as_str()),
            today: standing.today,
        })
    }

    /// Who gets the account's invoices: itself, or for it its parent, while that one is connected.
    #[must_use]
    pub fn recipient(&self) -> Option<(&AccountNumber, &Contact)> {
        let parent = self.family.parent.as_ref().filter(|parent| parent.disconnected_at.is_none());
        let parent = parent.map(|parent| (&parent.number, &parent.contact));
        [Some((&self.number, &self.contact)), parent].into_iter().flatten().find(|(_, contact)| !contact.is_empty())
    }
}

/// What is to be done with one queued event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Write all of it, in one transaction.
    Apply(Vec<Effect>),
    /// Write nothing. The event has failed once more, for this reason.
    Fail(String),
}

/// One thing to write. A store has one `match` arm and one set-based statement for each kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A final invoice that bears the event's id; its debits are invoiced by it.
    IssueFinalInvoice(InvoiceDraft),
    /// The open assignment ends now.
    ReleaseAddress(Assignment),
    /// The account gets this status and is disconnected now.
    Disconnect { status: String },
    /// What had changed since the event was confirmed, beside the event.
    NoteChanges(Vec<String>),
    /// An entry in the account's log.
    Log { kind: LogKind, message: String },
    /// The event is completed now.
    Complete(Outcome),
}

/// Decides. A store calls it while it holds the locks, and calls it again if it has to start over.
pub type Decide<'a> = &'a (dyn Fn(&Snapshot, &Event) -> Plan + Send + Sync);

/// What one disconnect does to one account, or why it does nothing. Pure.
///
/// An account that is disconnected already stays as it is. One that merely has an inactive status goes on: its books
/// are still open.
#[must_use]
pub fn plan_disconnect(snapshot: &Snapshot, order: &Event) -> Plan {
    if let Some(at) = snapshot.disconnected_at {
        let message = format!("nothing to do: already disconnected at {}", instant(&at));
        return Plan::Apply(vec![
            Effect::Log { kind: LogKind::AlreadyDisconnected, message },
            Effect::Complete(Outcome::AlreadyDisconnected),
        ]);
    }
    if let Some(filter) = &order.eligibility {
        let Some(standing) = &snapshot.standing else {
            return Plan::Fail("the account was not looked at as its campaign's filter asks, which is a fault".into());
        };
        if let Some(why) = snapshot.no_longer_eligible(filter, standing) {
            return Plan::Apply(vec![
                Effect::Log { kind: LogKind::NoLongerEligible, message: format!("not disconnected: {why}") },
                Effect::Complete(Outcome::NoLongerEligible),
            ]);
        }
    }
    let target = match &snapshot.target {
        Ok(target) => target,
        Err(refusal) => return Plan::Fail(refusal.to_string()),
    };
    let invoice = match InvoiceDraft::of(&snapshot.debits, snapshot.currency) {
        Ok(invoice) => invoice,
        Err(error) => return Plan::Fail(error),
    };

    let mut effects = Vec::with_capacity(8);
    match invoice {
        Some(invoice) => {
            let lines = invoice.lines.len();
            let plural = if lines == 1 { "" } else { "s" };
            effects.push(Effect::Log {
                kind: LogKind::FinalInvoice,
                message: format!("final invoice over {} with {lines} line{plural}", invoice.total()),
            });
            effects.push(Effect::IssueFinalInvoice(invoice));
        }
        None => {
            effects.push(Effect::Log { kind: LogKind::NothingToInvoice, message: "nothing to invoice".into() });
        }
    }
    if let Some(assignment) = &snapshot.assignment {
        effects.push(Effect::Log {
            kind: LogKind::AddressReleased,
            message: format!("address released: {}", assignment.address),
        });
        effects.push(Effect::ReleaseAddress(assignment.clone()));
    }
    effects.push(Effect::Log {
        kind: LogKind::Disconnected,
        message: format!(
            "disconnected: status {} -> {} (due {})",
            snapshot.status.name,
            target.name,
            instant(&order.due_at)
        ),
    });
    effects.push(Effect::Disconnect { status: target.name.clone() });
    // Rule 8: what moved between the confirmation and now is recorded, not refused.
    let changes = order.agreed.as_ref().map(|agreed| agreed.changes_until_execution(snapshot)).unwrap_or_default();
    if !changes.is_empty() {
        let message = format!("changed since it was confirmed: {}", changes.join("; "));
        effects.push(Effect::Log { kind: LogKind::FactsMoved, message });
        effects.push(Effect::NoteChanges(changes));
    }
    effects.push(Effect::Complete(Outcome::Disconnected));
    Plan::Apply(effects)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::account::AccountId;
    use crate::domain::actor::{Actor, Source};
    use crate::domain::address::AssignmentId;
    use crate::domain::event::{Attempt, EventId};
    use crate::domain::invoice::DebitId;
    use chrono::NaiveDate;
    use proptest::prelude::*;

    fn status(name: &str, activates_account: bool) -> Status {
        Status { name: name.into(), activates_account }
    }

    fn order() -> Event {
        let now = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
        Event {
            id: EventId(1),
            account_id: AccountId(1),
            attempt: Attempt(1),
            failures: 0,
            failures_max: 5,
            due_at: now,
            now,
            reason: None,
            requested_by: Actor::new("clerk", Source::Cli),
            agreed: None,
            campaign: None,
            eligibility: None,
        }
    }

    fn snapshot(debits: Vec<Debit>) -> Snapshot {
        Snapshot {
            number: AccountNumber::parse("A-1").unwrap(),
            name: "Ada".into(),
            contact: Contact::default(),
            family: Family::default(),
            status: status("Active", true),
            disconnected_at: None,
            currency: Currency::USD,
            debits,
            assignment: Some(Assignment {
                id: AssignmentId(3),
                address: "1 Main St".into(),
                from: DateTime::from_timestamp(0, 0).unwrap(),
            }),
            standing: None,
            target: Ok(status("Inactive", false)),
        }
    }

    /// What a store makes of an account by writing a plan.
    fn apply(mut snapshot: Snapshot, plan: &Plan, order: &Event) -> Snapshot {
        let Plan::Apply(effects) = plan else { return snapshot };
        for effect in effects {
            match effect {
                Effect::IssueFinalInvoice(invoice) => {
                    snapshot.debits.retain(|debit| !invoice.lines.iter().any(|line| line.debit == debit.id));
                }
                Effect::ReleaseAddress(_) => snapshot.assignment = None,
                Effect::Disconnect { status } => {
                    snapshot.status = self::status(status, false);
                    snapshot.disconnected_at = Some(order.now);
                }
                Effect::Log { .. } | Effect::NoteChanges(_) | Effect::Complete(_) => {}
            }
        }
        snapshot
    }

    fn kinds(plan: &Plan) -> Vec<LogKind> {
        let Plan::Apply(effects) = plan else { return vec![] };
        effects.iter().filter_map(|e| if let Effect::Log { kind, .. } = e { Some(*kind) } else { None }).collect()
    }

    fn outcome(plan: &Plan) -> Option<Outcome> {
        let Plan::Apply(effects) = plan else { return None };
        effects.iter().find_map(|e| if let Effect::Complete(outcome) = e { Some(*outcome) } else { None })
    }

    fn invoice(plan: &Plan) -> Option<&InvoiceDraft> {
        let Plan::Apply(effects) = plan else { return None };
        effects.iter().find_map(|e| if let Effect::IssueFinalInvoice(invoice) = e { Some(invoice) } else { None })
    }

    #[test]
    fn no_debits_no_invoice_and_the_log_says_so() {
        let plan = plan_disconnect(&snapshot(vec![]), &order());
        assert_eq!(invoice(&plan), None);
        assert_eq!(kinds(&plan), [LogKind::NothingToInvoice, LogKind::AddressReleased, LogKind::Disconnected]);
        assert_eq!(outcome(&plan), Some(Outcome::Disconnected));
    }

    #[test]
    fn an_account_disconnected_before_is_left_alone_and_the_log_says_so() {
        let mut before = snapshot(vec![]);
        before.disconnected_at = Some(order().now);
        let plan = plan_disconnect(&before, &order());
        assert_eq!(outcome(&plan), Some(Outcome::AlreadyDisconnected));
        assert_eq!(kinds(&plan), [LogKind::AlreadyDisconnected]);
        assert_eq!(apply(before.clone(), &plan, &order()), before);
    }

    #[test]
    fn an_account_that_is_merely_inactive_is_disconnected() {
        let mut inactive = snapshot(vec![]);
        inactive.status = status("Inactive", false);
        assert_eq!(outcome(&plan_disconnect(&inactive, &order())), Some(Outcome::Disconnected));
    }

    #[test]
    fn a_disconnect_status_that_is_missing_or_activates_fails_the_event_with_what_to_do() {
        for refusal in [
            Refusal::DisconnectStatusMissing { name: "Gone".into() },
            Refusal::DisconnectStatusActivates { name: "Gone".into() },
        ] {
            let mut wrong = snapshot(vec![]);
            wrong.target = Err(refusal);
            let Plan::Fail(error) = plan_disconnect(&wrong, &order()) else { panic!("it was applied") };
            assert!(error.contains("`Gone`") && error.contains("settings set disconnect_status"), "{error}");
        }
    }

    #[test]
    fn a_total_that_no_invoice_can_hold_fails_the_event() {
        let debit = |id| Debit {
            id: DebitId(id),
            description: "x".into(),
            amount: i64::MAX,
            tax: 0,
            charged_on: NaiveDate::MIN,
        };
        let plan = plan_disconnect(&snapshot(vec![debit(1), debit(2)]), &order());
        assert!(matches!(plan, Plan::Fail(_)));
    }

    fn debits() -> impl Strategy<Value = Vec<Debit>> {
        let debit = (0..1_000_000_000_i64, 0..100_000_000_i64, 0..3650_i32);
        proptest::collection::vec(debit, 0..20).prop_map(|debits| {
            let debit = |(id, (amount, tax, day)): (usize, (i64, i64, i32))| Debit {
                id: DebitId(i64::try_from(id).unwrap()),
                description: format!("charge {id}"),
                amount,
                tax,
                charged_on: NaiveDate::from_num_days_from_ce_opt(735_000 + day).unwrap(),
            };
            debits.into_iter().enumerate().map(debit).collect()
        })
    }

    proptest! {
        #[test]
        fn the_lines_sum_to_the_total_to_the_last_minor_unit(debits in debits()) {
            let plan = plan_disconnect(&snapshot(debits.clone()), &order());
            let owed: i64 = debits.iter().map(|debit| debit.amount + debit.tax).sum();
            match invoice(&plan) {
                None => prop_assert!(debits.is_empty()),
                Some(invoice) => {
                    prop_assert_eq!(invoice.lines.iter().map(|line| line.total).sum::<i64>(), invoice.total);
                    prop_assert_eq!(invoice.amount + invoice.tax, invoice.total);
                    prop_assert_eq!(invoice.total, owed);
                    prop_assert!(invoice.lines.is_sorted_by_key(|line| line.charged_on));
                }
            }
        }

        #[test]
        fn rule_3_nothing_uninvoiced_and_no_address_stays(debits in debits()) {
            let before = snapshot(debits);
            let after = apply(before.clone(), &plan_disconnect(&before, &order()), &order());
            prop_assert!(after.debits.is_empty());
            prop_assert_eq!(after.assignment, None);
            prop_assert!(after.disconnected_at.is_some());
        }

        #[test]
        fn rule_2_planning_the_result_again_plans_nothing(debits in debits()) {
            let before = snapshot(debits);
            let after = apply(before.clone(), &plan_disconnect(&before, &order()), &order());
            let again = plan_disconnect(&after, &order());
            prop_assert_eq!(outcome(&again), Some(Outcome::AlreadyDisconnected));
            prop_assert_eq!(apply(after.clone(), &again, &order()), after);
        }
    }
}
