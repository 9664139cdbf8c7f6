//! What a campaign would do: over all its members in one consistent view, page by page.

use sqlx::postgres::PgConnection;
use tokio::sync::mpsc;

use super::members::{self, Member, PAGE};
use super::stored::{self, Stored};
use crate::domain::campaign::CampaignId;
use crate::domain::campaign::cohort::{Blocker, BlockerKind, MemberAccount};
use crate::domain::campaign::dry_run::{Adding, DryRun, DryRunOf};
use crate::domain::dispositions::Disposition;
use crate::domain::refusal::Refusal;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::{PostgresStore, VERB_LIMIT, installation, within};

/// How many children a refusal names.
const CHILDREN_NAMED: usize = 20;

/// A dry run, with what a refusal of it says.
pub(super) struct Tried {
    pub(super) dry_run: DryRun,
    /// Some of the children that nobody decided about.
    children: Vec<String>,
}

pub(super) async fn show(store: &PostgresStore, campaign: CampaignId) -> Result<DryRun, Failure> {
    let mut tx = store.begin_view().await?;
    let stored = stored::load(&mut tx, campaign).await?;
    let agreed = if stored.state.is_begun() { stored.agreed() } else { None };
    let dry_run = match agreed {
        Some(agreed) => agreed,
        None => of(&mut tx, &stored).await?.dry_run,
    };
    tx.rollback().await;
    Ok(dry_run)
}

/// Of what `db` sees: a view of everything, or what the transaction has made itself.
pub(super) async fn of(db: &mut PgConnection, stored: &Stored) -> Result<Tried, Failure> {
    let settings = installation::settings(db).await?;
    let facts = stored.facts(&settings, 0);
    let now = sqlx::query_scalar("/* dry run: now */ select clock_timestamp()").fetch_one(&mut *db).await?;
    let mut adding = Adding::of(DryRunOf {
        campaign_id: stored.id,
        revision: stored.revision,
        fingerprint: stored.fingerprint.clone(),
        terms: stored.terms.clone(),
        needs_approval: facts.needs_approval(),
        is_approved: facts.is_approved(),
        window: stored.window(&settings)?,
        zone: settings.company_zone,
        now,
    });
    let mut children = Vec::new();
    let mut after = 0;
    loop {
        let page = members::page(db, stored.id, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.facts.position;
        for member in &page {
            adding.add(&member.facts);
            if children.len() < CHILDREN_NAMED
                && let (Some(account), None) = (&member.facts.account, member.facts.left_out())
            {
                children.extend(undecided(account, stored.terms.children));
            }
        }
    }
    children.truncate(CHILDREN_NAMED);
    Ok(Tried { dry_run: adding.end(), children })
}

/// The children that stand in the way.
fn undecided(account: &MemberAccount, decided: Option<Disposition>) -> impl Iterator<Item = String> {
    let asked = account.children.iter().filter(move |child| match decided {
        None | Some(Disposition::Disconnect) => true,
        Some(Disposition::Unlink) => !child.has_contact,
        Some(Disposition::Keep) => false,
    });
    asked.map(|child| format!("{} ({})", child.number, child.name))
}

impl Tried {
    /// Whether what was shown may be said yes to.
    ///
    /// # Errors
    /// It is not what `digest` stands for, it is blocked, or there is nobody to disconnect.
    pub(super) fn check(&self, stored: &Stored, digest: Option<&str>) -> Result<(), Refusal> {
        let campaign = stored.id;
        if let Some(digest) = digest {
            let changes = self.dry_run.changes_since(stored.agreed().as_ref(), digest);
            if !changes.is_empty() {
                return Err(Refusal::StaleDryRun { campaign, changes });
            }
        }
        if self.dry_run.to_disconnect == 0 {
            return Err(Refusal::NobodyLeft { campaign });
        }
        if !self.dry_run.can_start {
            let undecided = self.dry_run.blockers.iter().find(|it| it.kind == BlockerKind::UndecidedFamily);
            let accounts = undecided.map_or(0, |it| it.accounts);
            return Err(Refusal::CampaignBlocked { campaign, accounts, children: self.children.clone() });
        }
        Ok(())
    }
}

/// All blockers, in the order of the cohort; ends when nobody listens any more. Of members whose turn has come: why they
/// were left out.
pub(super) async fn blockers(
    store: &PostgresStore,
    campaign: CampaignId,
    to: &mpsc::Sender<Vec<Blocker>>,
) -> Result<(), Failure> {
    let mut tx = within(VERB_LIMIT, store.begin_view()).await?;
    let stored = within(VERB_LIMIT, stored::load(&mut tx, campaign)).await?;
    super::report::await_reader(&mut tx).await?;
    let now = sqlx::query_scalar("/* blockers: now */ select clock_timestamp()").fetch_one(&mut *tx).await?;
    let mut after = 0;
    loop {
        let page = within(VERB_LIMIT, members::page(&mut tx, campaign, after, PAGE)).await?;
        let Some(last) = page.last() else { break };
        after = last.facts.position;
        let mut found: Vec<Blocker> = Vec::new();
        for Member { facts, left_out, .. } in page {
            if let Some((kind, detail)) = left_out {
                found.push(Blocker { account_number: facts.number, kind, effect: kind.effect(), detail });
            } else if facts.position > stored.enlisted {
                found.extend(facts.blockers(&stored.terms, now));
            }
        }
        if !found.is_empty() && to.send(found).await.is_err() {
            break;
        }
    }
    tx.rollback().await;
    Ok(())
}
