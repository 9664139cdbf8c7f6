//! A campaign in words.

use chrono_tz::Tz;

use super::May;
use crate::console::reader::Reader;
use crate::domain::campaign::{CampaignView, State};
use crate::domain::dispositions::Disposition;

/// `awaiting approval`.
pub fn state_name(state: State) -> &'static str {
    match state {
        State::AwaitingApproval => "awaiting approval",
        state => state.as_str(),
    }
}

/// `1 account`, `1,869 accounts`.
pub fn accounts(count: i64, reader: Reader) -> String {
    format!("{} account{}", reader.count(count), if count == 1 { "" } else { "s" })
}

/// A campaign, for whoever reads of it.
pub struct Told<'c> {
    pub campaign: &'c CampaignView,
    pub reader: Reader,
}

impl Told<'_> {
    /// What became of its accounts so far, without what there is none of. The parts add up to all.
    pub fn in_short(&self) -> String {
        let counts = &self.campaign.counts;
        let is_aborted = self.campaign.state == State::Aborted;
        let retrying = match counts.retrying {
            0 => String::new(),
            n => format!(" ({} of these failed and are tried again)", self.reader.count(n)),
        };
        let parts = [
            (counts.disconnected, "disconnected".to_owned()),
            (counts.already_disconnected, "already disconnected".into()),
            (counts.no_longer_eligible, "no longer eligible".into()),
            (counts.failed, "failed".into()),
            (counts.cancelled, "cancelled".into()),
            (counts.left_out, "left out".into()),
            (
                counts.scheduled + counts.queued,
                if is_aborted { "being cancelled".into() } else { format!("to come{retrying}") },
            ),
            (counts.waiting, if is_aborted { "never begun" } else { "not events yet" }.into()),
        ];
        let there = parts.into_iter().filter(|(count, _)| *count > 0);
        let parts: Vec<_> = there.map(|(count, what)| format!("{} {what}", self.reader.count(count))).collect();
        if parts.is_empty() { "nothing yet".into() } else { parts.join(", ") }
    }

    pub fn invoices(&self) -> String {
        let totals = &self.campaign.totals;
        match totals.invoices {
            0 if self.campaign.state.is_over() => "none".into(),
            0 => "none yet".into(),
            n => format!("{} over {}", self.reader.count(n), self.reader.sums(&totals.invoiced)),
        }
    }

    pub fn terms(&self) -> Vec<(&'static str, String)> {
        let (terms, reader) = (&self.campaign.terms, self.reader);
        let on = terms.on.clone().unwrap_or_else(|| "when it starts".into());
        let zone = terms.on_zone.map(|zone| format!(" in {}", zone.name())).unwrap_or_default();
        let children = match terms.children {
            None => "nobody decided about those that are not in it",
            Some(Disposition::Keep) => "those that are not in it stay",
            Some(Disposition::Unlink) => "those that are not in it are taken from their parent",
            Some(Disposition::Disconnect) => "they are in it, too",
        };
        let count = |n: u32| reader.count(n.into());
        let mut pairs = vec![
            ("Due", format!("{on}{zone}, unless a row has its own date")),
            ("Children", children.into()),
            (
                "Pace",
                terms.per_minute.map_or("as fast as it goes".into(), |n| format!("at most {} a minute", count(n))),
            ),
            ("Canary", terms.canary.map_or("none".into(), |n| format!("pauses after the first {}", count(n)))),
            ("Window", terms.window.clone().unwrap_or_else(|| "always".into())),
        ];
        if !terms.holidays.is_empty() {
            pairs.push(("Not on", terms.holidays.clone()));
        }
        let pauses = match terms.pause_percent {
            100.. => "not by itself".into(),
            percent => format!("by itself when more than {percent} % of what it tried has failed"),
        };
        pairs.push(("Pauses", pauses));
        pairs.push(("Reason", terms.reason.clone().unwrap_or_else(|| "none given".into())));
        pairs
    }

    /// Who did what when, and what was agreed to.
    pub fn facts(&self, zone: Tz) -> Vec<(&'static str, String)> {
        let (campaign, reader) = (self.campaign, self.reader);
        let at = |at| reader.moment_in(at, zone).shown;
        let approval = match (&campaign.approved_by, campaign.approved_at) {
            (Some(by), Some(on)) => format!("given by {by}, {}", at(on)),
            _ if campaign.needs_approval && !campaign.state.is_begun() => {
                "needed, by somebody else than its maker".into()
            }
            _ if campaign.needs_approval => "needed".into(),
            _ => "not needed".into(),
        };
        let mut facts =
            vec![("Made", format!("by {}, {}", campaign.created_by, at(campaign.created_at))), ("Approval", approval)];
        if let Some(agreed) = &campaign.agreed {
            let sums = reader.sums(&agreed.final_invoices);
            facts.push(("Agreed to", format!("{} final invoices over {sums}", reader.count(agreed.invoices))));
        }
        if let Some(started_at) = campaign.started_at {
            let by = campaign.started_by.as_ref().map(|by| format!("by {by}, ")).unwrap_or_default();
            facts.push(("Started", format!("{by}{}", at(started_at))));
        }
        if let Some(ended_at) = campaign.ended_at {
            facts.push(("Ended", at(ended_at)));
        }
        facts
    }

    /// What to do next with it, in a sentence.
    pub fn next_step(&self, may: &May) -> String {
        let text = match self.campaign.state {
            State::Draft | State::AwaitingApproval if may.start => "Look at the dry run, and start it there.",
            State::Draft | State::AwaitingApproval if may.approve => "Look at the dry run, and approve it there.",
            State::AwaitingApproval => {
                "Somebody else than its maker, with the role approver, has to approve it before it can start."
            }
            State::Draft => "Somebody with the role operator may start it. The dry run shows what it would do.",
            State::Running => "It goes on by itself; this page follows it.",
            State::Paused if may.resume => "Nothing of it begins. Resume it, or abort it for good.",
            State::Paused => "Nothing of it begins until somebody resumes it.",
            State::Completed if may.retry => "Retry what failed once the cause is mended; the report names it.",
            State::Completed | State::Aborted => "The report says what became of each account.",
        };
        text.into()
    }
}
