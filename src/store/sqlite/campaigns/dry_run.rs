//! What a campaign would do if it were started now.

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;
use tokio::sync::mpsc;

use super::super::settings::settings;
use super::members::{self, PAGE};
use super::stored::{self, Stored};
use crate::domain::campaign::CampaignId;
use crate::domain::campaign::cohort::{Blocker, BlockerKind, MemberFacts};
use crate::domain::campaign::dry_run::{Adding, DryRun, DryRunOf};
use crate::domain::dispositions::Disposition;
use crate::domain::refusal::Refusal;
use crate::domain::settings::Settings;
use crate::store::StoreResult;

/// How many children a refusal names.
const CHILDREN_NAMED: usize = 20;

/// A dry run, and the first of the children that nobody decided about.
pub struct Computed {
    pub dry_run: DryRun,
    undecided: Vec<String>,
}

impl Computed {
    /// # Errors
    /// It is not what `digest` stands for, or nothing can come of it.
    pub fn agree(&self, digest: Option<&str>, then: Option<&DryRun>) -> Result<(), Refusal> {
        let campaign = self.dry_run.campaign_id;
        let changes = digest.map(|digest| self.dry_run.changes_since(then, digest)).unwrap_or_default();
        if !changes.is_empty() {
            return Err(Refusal::StaleDryRun { campaign, changes });
        }
        if self.dry_run.can_start {
            return Ok(());
        }
        let blocked = self.dry_run.blockers.iter().find(|blockers| blockers.kind == BlockerKind::UndecidedFamily);
        Err(match blocked {
            Some(blocked) => {
                Refusal::CampaignBlocked { campaign, accounts: blocked.accounts, children: self.undecided.clone() }
            }
            None => Refusal::NobodyLeft { campaign },
        })
    }
}

/// Of one that has begun, what was agreed to. In a transaction.
pub async fn shown(connection: &mut SqliteConnection, campaign: CampaignId, now: DateTime<Utc>) -> StoreResult<DryRun> {
    let mut stored = stored::load(connection, campaign).await?;
    if stored.started_at.is_some()
        && let Some(agreed) = stored.agreed.take()
    {
        return Ok(agreed);
    }
    let settings = settings(connection).await?;
    Ok(compute(connection, &stored, &settings, now).await?.dry_run)
}

/// In a transaction, so that all members are looked at in one view.
pub async fn compute(
    connection: &mut SqliteConnection,
    stored: &Stored,
    settings: &Settings,
    now: DateTime<Utc>,
) -> StoreResult<Computed> {
    let facts = stored.facts(settings, 0);
    let mut adding = Adding::of(DryRunOf {
        campaign_id: stored.id,
        revision: stored.revision,
        fingerprint: stored.fingerprint.clone(),
        terms: stored.terms.clone(),
        needs_approval: facts.needs_approval(),
        is_approved: facts.is_approved(),
        window: stored::window(&stored.terms, settings)?,
        zone: settings.company_zone,
        now,
    });
    let mut undecided = Vec::new();
    let mut last = 0;
    loop {
        let page = members::page(connection, stored.id, last, PAGE).await?;
        let Some(end) = page.last() else { break };
        last = end.facts.position;
        for found in page {
            adding.add(&found.facts);
            if undecided.len() < CHILDREN_NAMED {
                undecided.extend(undecided_children(&found.facts, stored, now));
            }
        }
    }
    undecided.truncate(CHILDREN_NAMED);
    Ok(Computed { dry_run: adding.end(), undecided })
}

/// The children that stop it, as a refusal names them.
fn undecided_children(member: &MemberFacts, stored: &Stored, now: DateTime<Utc>) -> Vec<String> {
    let Some(account) = member.account.as_ref().filter(|account| !account.children.is_empty()) else {
        return Vec::new();
    };
    if !member.blockers(&stored.terms, now).iter().any(|blocker| blocker.kind == BlockerKind::UndecidedFamily) {
        return Vec::new();
    }
    let can_go = |has_contact: bool| stored.terms.children == Some(Disposition::Unlink) && has_contact;
    let stops = account.children.iter().filter(|child| !can_go(child.has_contact));
    stops.map(|child| format!("{} ({}) of {}", child.number, child.name, member.number)).collect()
}

/// Sends all of them in the order of the cohort. Of members whose turn has come: why they were left out. In a transaction.
pub async fn blockers(
    connection: &mut SqliteConnection,
    campaign: CampaignId,
    now: DateTime<Utc>,
    to: &mpsc::Sender<Vec<Blocker>>,
) -> StoreResult<()> {
    let stored = stored::load(connection, campaign).await?;
    let mut last = 0;
    loop {
        let page = members::page(connection, campaign, last, PAGE).await?;
        let Some(end) = page.last() else { return Ok(()) };
        last = end.facts.position;
        let mut chunk = Vec::new();
        for found in page {
            if let Some((kind, detail)) = found.left_out {
                chunk.push(Blocker { account_number: found.facts.number, kind, effect: kind.effect(), detail });
            } else if found.facts.position > stored.enlisted {
                chunk.extend(found.facts.blockers(&stored.terms, now));
            }
        }
        if !chunk.is_empty() && to.send(chunk).await.is_err() {
            return Ok(());
        }
    }
}
