//! The dry run: what a campaign would do if it were started now. It changes nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::cohort::{BlockerEffect, BlockersByKind, BlockersOfKind, MemberFacts};
use super::{CampaignId, Terms};
use crate::domain::dispositions::Disposition;
use crate::domain::money::{Currency, Money};
use crate::domain::pace::Pace;
use crate::domain::window::Window;

/// What is assumed of a campaign without a pace, in disconnects a second: one small server does more.
pub const ASSUMED_PER_SECOND: u32 = 500;

/// What a campaign would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DryRun {
    pub campaign_id: CampaignId,
    /// Stands for all that is shown here but times. An approval and a start may bear it, and are refused if anything
    /// of it has changed.
    pub digest: String,
    pub revision: i32,
    /// All members.
    pub accounts: i64,
    /// Members that would become events.
    pub to_disconnect: i64,
    /// Members that would be left out.
    pub left_out: i64,
    /// Children that would stay, or be taken from their parent.
    pub children_kept: i64,
    pub children_unlinked: i64,
    /// Final invoices, and accounts with nothing to invoice.
    pub invoices: i64,
    pub nothing_to_invoice: i64,
    /// Their sums, one for each currency, taxes included.
    pub final_invoices: Vec<Money>,
    pub addresses_released: i64,
    pub blockers: Vec<BlockersOfKind>,
    /// Whether it can be started: there is somebody to disconnect, and no blocker stops it.
    pub can_start: bool,
    pub needs_approval: bool,
    pub is_approved: bool,
    /// How long it takes at the pace, in seconds of open windows. Without a pace, at 500 a second.
    pub seconds: i64,
    /// When the first disconnect may happen, and when the last one has, given dates, pace and window, if it is started
    /// now. The time that somebody needs to look at a canary is not in it. Null: not within the horizon of its window.
    pub begins_at: Option<DateTime<Utc>>,
    pub ends_at: Option<DateTime<Utc>>,
    /// How many have their date on each day of `zone`, the earliest first; those without one count for today.
    pub days: Vec<DryRunDay>,
    /// The IANA zone that the days are counted in: the company's, when it was looked at.
    #[serde(default = "utc", skip_serializing_if = "String::is_empty")]
    pub zone: String,
    /// How many final invoices are of which amount, by currency, the smallest first.
    #[serde(default)]
    pub amounts: Vec<DryRunAmounts>,
    pub as_of: DateTime<Utc>,
}

/// Those that were agreed to before there was a zone counted in UTC.
fn utc() -> String {
    "UTC".into()
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DryRunDay {
    pub day: chrono::NaiveDate,
    pub accounts: i64,
}

/// Final invoices of more than the amount before, in the same currency, and of at most this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DryRunAmounts {
    pub up_to: Money,
    pub invoices: i64,
}

/// The bound that an amount is counted under: 0, else 1, 2 or 5 times a power of ten, in the currency's smallest unit.
fn bound(minor: i64) -> i64 {
    if minor <= 0 {
        return 0;
    }
    let powers = std::iter::successors(Some(1_i64), |power| power.checked_mul(10));
    let bounds = powers.flat_map(|power| [1, 2, 5].map(|n| power.saturating_mul(n)));
    bounds.into_iter().find(|bound| *bound >= minor).unwrap_or(i64::MAX)
}

/// At most so many days are listed; the last one has all that come later.
const DAYS_MAX: usize = 366;

/// What a dry run is told about its campaign.
#[derive(Debug, Clone)]
pub struct DryRunOf {
    pub campaign_id: CampaignId,
    pub revision: i32,
    pub fingerprint: String,
    pub terms: Terms,
    pub needs_approval: bool,
    pub is_approved: bool,
    pub window: Option<Window>,
    /// The company's, which its days are counted in.
    pub zone: Tz,
    /// The database's now.
    pub now: DateTime<Utc>,
}

/// Adds up members, in the order of the cohort and in bounded memory.
#[derive(Debug)]
pub struct Adding {
    of: DryRunOf,
    result: DryRun,
    blockers: BlockersByKind,
    stops: bool,
    sums: BTreeMap<Currency, i128>,
    /// How many invoices, by [`bound`].
    amounts: BTreeMap<(Currency, i64), i64>,
    /// Due instants, to the minute, and how many.
    dues: BTreeMap<DateTime<Utc>, u64>,
}

impl Adding {
    #[must_use]
    pub fn of(of: DryRunOf) -> Self {
        let result = DryRun {
            campaign_id: of.campaign_id,
            digest: String::new(),
            revision: of.revision,
            accounts: 0,
            to_disconnect: 0,
            left_out: 0,
            children_kept: 0,
            children_unlinked: 0,
            invoices: 0,
            nothing_to_invoice: 0,
            final_invoices: Vec::new(),
            addresses_released: 0,
            blockers: Vec::new(),
            can_start: false,
            needs_approval: of.needs_approval,
            is_approved: of.is_approved,
            seconds: 0,
            begins_at: None,
            ends_at: None,
            days: Vec::new(),
            zone: of.zone.name().into(),
            amounts: Vec::new(),
            as_of: of.now,
        };
        Self {
            of,
            result,
            blockers: BlockersByKind::default(),
            stops: false,
            sums: BTreeMap::new(),
            amounts: BTreeMap::new(),
            dues: BTreeMap::new(),
        }
    }

    pub fn add(&mut self, member: &MemberFacts) {
        let result = &mut self.result;
        result.accounts += 1;
        for blocker in member.blockers(&self.of.terms, self.of.now) {
            self.stops |= blocker.effect == BlockerEffect::Stops;
            self.blockers.add(blocker);
        }
        let (Some(account), None) = (&member.account, member.left_out()) else {
            result.left_out += 1;
            return;
        };
        result.to_disconnect += 1;
        let children = i64::try_from(account.children.len()).unwrap_or(i64::MAX);
        match self.of.terms.children {
            Some(Disposition::Keep) => result.children_kept += children,
            Some(Disposition::Unlink) => result.children_unlinked += children,
            Some(Disposition::Disconnect) | None => {}
        }
        if account.debits > 0 {
            result.invoices += 1;
            *self.sums.entry(account.currency).or_default() += i128::from(account.uninvoiced);
            *self.amounts.entry((account.currency, bound(account.uninvoiced))).or_default() += 1;
        } else {
            result.nothing_to_invoice += 1;
        }
        result.addresses_released += i64::from(account.has_address);
        let due_at = member.due_at.unwrap_or(self.of.now).max(self.of.now);
        let minute = due_at.duration_trunc(TimeDelta::minutes(1)).unwrap_or(due_at).max(self.of.now);
        *self.dues.entry(minute).or_default() += 1;
    }

    #[must_use]
    pub fn end(mut self) -> DryRun {
        let mut result = self.result;
        let sums = std::mem::take(&mut self.sums).into_iter();
        result.final_invoices =
            sums.map(|(currency, sum)| Money::new(i64::try_from(sum).unwrap_or(i64::MAX), currency)).collect();
        result.amounts = std::mem::take(&mut self.amounts)
            .into_iter()
            .map(|((currency, bound), invoices)| DryRunAmounts { up_to: Money::new(bound, currency), invoices })
            .collect();
        result.blockers = self.blockers.into_list();
        result.can_start = result.to_disconnect > 0 && !self.stops;
        let mut days: BTreeMap<chrono::NaiveDate, i64> = BTreeMap::new();
        for (due_at, count) in &self.dues {
            let day = match days.last_key_value() {
                Some((last, _)) if days.len() >= DAYS_MAX => *last,
                _ => due_at.with_timezone(&self.of.zone).date_naive(),
            };
            *days.entry(day).or_default() += i64::try_from(*count).unwrap_or(i64::MAX);
        }
        result.days = days.into_iter().map(|(day, accounts)| DryRunDay { day, accounts }).collect();
        (result.seconds, result.begins_at, result.ends_at) = times(&self.of, &self.dues);
        result.digest = digest(&self.of, &result);
        result
    }
}

/// How long `n` take, whatever the window.
fn work(terms: &Terms, n: u64) -> TimeDelta {
    match terms.per_minute.and_then(|n| Pace::per_minute(n).ok()) {
        Some(pace) => pace.duration(n),
        None => {
            TimeDelta::milliseconds(i64::try_from(n * 1000 / u64::from(ASSUMED_PER_SECOND)).unwrap_or(i64::MAX / 2))
        }
    }
}

type Times = (i64, Option<DateTime<Utc>>, Option<DateTime<Utc>>);

/// Goes through the due instants in order: each waits for its own, for those before it, and for the window.
fn times(of: &DryRunOf, dues: &BTreeMap<DateTime<Utc>, u64>) -> Times {
    let total = work(&of.terms, dues.values().sum());
    let seconds = (total + TimeDelta::milliseconds(999)).num_seconds();
    let Some((first, _)) = dues.first_key_value() else { return (0, None, None) };
    let opens = |at: DateTime<Utc>| match &of.window {
        None => Some(at),
        Some(window) => window.next_open(at),
    };
    let begins_at = opens(*first);
    let mut at = Some(*first);
    for (due_at, count) in dues {
        at = at.and_then(|at| {
            let (from, work) = (at.max(*due_at), work(&of.terms, *count));
            match &of.window {
                None => from.checked_add_signed(work),
                Some(window) => window.advance(from, work),
            }
        });
    }
    (seconds, begins_at, at)
}

/// Of everything that was shown, but when: a day later the same is agreed to.
fn digest(of: &DryRunOf, result: &DryRun) -> String {
    let shown = DryRun {
        digest: String::new(),
        needs_approval: false,
        is_approved: false,
        seconds: 0,
        begins_at: None,
        ends_at: None,
        days: Vec::new(),
        zone: String::new(),
        as_of: DateTime::UNIX_EPOCH,
        ..result.clone()
    };
    let mut hash = Sha256::new();
    for part in [of.fingerprint.clone(), json(&of.terms), json(&shown)] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hex(&hash.finalize()[..16])
}

/// In lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Plain data: it has no map with odd keys that JSON could not hold.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

impl DryRun {
    /// What changed since another one of the same campaign, in sentences. Empty where the digests are the same.
    #[must_use]
    pub fn changes_since(&self, then: Option<&Self>, digest: &str) -> Vec<String> {
        if self.digest == digest {
            return Vec::new();
        }
        let Some(then) = then.filter(|then| then.digest == digest) else {
            return vec!["it is not what the dry run shows now".into()];
        };
        let mut changes = Vec::new();
        let mut say = |what: &str, was: String, is: String| {
            if was != is {
                changes.push(format!("{what} was {was} and is {is} now"));
            }
        };
        say("the cohort", format!("revision {}", then.revision), format!("revision {}", self.revision));
        say("the number of accounts to disconnect", then.to_disconnect.to_string(), self.to_disconnect.to_string());
        say("the sum of the final invoices", sums(&then.final_invoices), sums(&self.final_invoices));
        say("the number left out", then.left_out.to_string(), self.left_out.to_string());
        if changes.is_empty() && !then.amounts.is_empty() && then.amounts != self.amounts {
            changes.push("the amounts of the final invoices have changed".into());
        }
        if changes.is_empty() {
            changes.push("what stands in the way of some accounts has changed".into());
        }
        changes
    }
}

/// `139,130.85 USD + 12.00 EUR`, or `nothing`.
#[must_use]
pub fn sums(sums: &[Money]) -> String {
    if sums.is_empty() {
        return "nothing".into();
    }
    sums.iter().map(ToString::to_string).collect::<Vec<_>>().join(" + ")
}
