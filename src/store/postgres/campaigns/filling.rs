//! Putting members into a campaign, chunk by chunk: those of a list, those that a filter selects, and children.

use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use sha2::{Digest, Sha256};
use sqlx::postgres::PgConnection;

use super::cohort::Members;
use super::members::PAGE;
use super::selection;
use crate::domain::calendar::Planned;
use crate::domain::calendar::When;
use crate::domain::campaign::CampaignId;
use crate::domain::campaign::cohort::{BadRows, MemberDate, MemberRow};
use crate::domain::campaign::dry_run::hex;
use crate::domain::filter::Filter;
use crate::domain::import::Problem;
use crate::domain::refusal::Refusal;
use crate::store::campaigns::{MEMBERS_MAX, Making};
use crate::store::postgres::failure::{Failure, expect_rows};
use crate::store::postgres::{VERB_LIMIT, rows, within};
use crate::store::{Rows, StoreError};

/// A cohort that is complete.
pub(super) struct Filled {
    pub(super) accounts: i64,
    pub(super) fingerprint: String,
}

pub(super) struct Filling<'a> {
    db: &'a mut PgConnection,
    campaign: CampaignId,
    of: &'a Members<'a>,
    making: &'a Making<'a>,
    /// How many there are, which is the last position too.
    accounts: i64,
    hash: Sha256,
}

struct NewMember<'n> {
    number: &'n str,
    account: Option<i64>,
    parent: Option<i64>,
    date: MemberDate,
    reason: Option<&'n str>,
}

impl<'a> Filling<'a> {
    /// Of a campaign that has no members yet; or see [`Filling::read_again`].
    pub(super) fn new(
        db: &'a mut PgConnection,
        campaign: CampaignId,
        of: &'a Members<'a>,
        making: &'a Making<'a>,
    ) -> Self {
        Self { db, campaign, of, making, accounts: 0, hash: Sha256::new() }
    }

    pub(super) fn end(self) -> Filled {
        let fingerprint = hex(&self.hash.finalize());
        Filled { accounts: self.accounts, fingerprint }
    }

    /// Reads a list to its end. What is wrong with it, if anything is.
    ///
    /// # Errors
    /// [`Refusal::EmptyCohort`].
    pub(super) async fn add_rows(&mut self, mut list: Rows<MemberRow>) -> Result<Option<BadRows>, Failure> {
        within(VERB_LIMIT, keep_lines(self.db)).await?;
        let mut bad = BadRows::default();
        let mut last_bad_line = None;
        let mut looks_up_lines = false;
        while let Some(chunk) = list.recv().await {
            let mut good = Vec::with_capacity(chunk.len());
            let mut problems = Vec::new();
            for row in chunk {
                match row {
                    Ok(row) => {
                        bad.rows += 1;
                        good.push(row);
                    }
                    Err(problem) => {
                        // A line with two problems is one row.
                        if last_bad_line.replace(problem.line) != Some(problem.line) {
                            bad.rows += 1;
                        }
                        problems.push(problem);
                    }
                }
            }
            let add = self.add_chunk(&good, &mut problems, &mut looks_up_lines);
            within(VERB_LIMIT, add).await?;
            for problem in problems {
                (self.making.problem)(&problem);
                bad.add(problem);
            }
            (self.making.progress)(self.accounts.cast_unsigned());
        }
        if bad.total() > 0 {
            bad.problems.sort_by_key(|problem| problem.line);
            return Ok(Some(bad));
        }
        if self.accounts == 0 {
            return Err(Refusal::EmptyCohort { why: "the list names no account".into() }.into());
        }
        Ok(None)
    }

    async fn add_chunk(
        &mut self,
        list: &[MemberRow],
        problems: &mut Vec<Problem>,
        looks_up_lines: &mut bool,
    ) -> Result<(), Failure> {
        if list.is_empty() {
            return Ok(());
        }
        let accounts = accounts(self.db, list).await?;
        let mut members = Vec::with_capacity(list.len());
        for row in list {
            let (account, zone) = accounts.get(row.account.as_str()).copied().unzip();
            let Members { terms, late, settings, now, .. } = self.of;
            let date =
                MemberDate::of(row.on, terms, *late, zone.flatten(), settings, *now).unwrap_or_else(|sentence| {
                    problems.push(Problem::new(row.line, "date", sentence));
                    MemberDate::default()
                });
            let reason = row.reason.as_deref();
            members.push(NewMember { number: row.account.as_str(), account, parent: None, date, reason });
        }
        if self.accounts.cast_unsigned() + members.len() as u64 > MEMBERS_MAX {
            return Err(Refusal::CohortTooLarge { max: MEMBERS_MAX }.into());
        }
        let first = self.accounts + 1;
        let taken = self.insert(&members).await?;
        if taken.len() < members.len() {
            let repeated = (first..).zip(list).filter(|(position, _)| taken.binary_search(position).is_err());
            let repeated: Vec<&MemberRow> = repeated.map(|(_, row)| row).collect();
            add_lines(self.db, &taken, first, list).await?;
            self.report_repeated(&repeated, problems, looks_up_lines).await
        } else {
            add_lines(self.db, &taken, first, list).await
        }
    }

    /// Where the accounts of these rows stand already.
    async fn report_repeated(
        &mut self,
        repeated: &[&MemberRow],
        problems: &mut Vec<Problem>,
        looks_up_lines: &mut bool,
    ) -> Result<(), Failure> {
        if !*looks_up_lines {
            // Most lists need none.
            sqlx::raw_sql("/* cohort: index lines */ create unique index on campaign_lines (position)")
                .execute(&mut *self.db)
                .await?;
            *looks_up_lines = true;
        }
        let found: Vec<(String, i64)> = sqlx::query_as(
            "/* cohort: first lines */
             select m.account_number, l.line
               from campaign_members m join campaign_lines l on l.position = m.position
              where m.campaign_id = $1 and m.account_number = any($2)",
        )
        .bind(self.campaign.0)
        .bind(repeated.iter().map(|row| row.account.as_str()).collect::<Vec<_>>())
        .fetch_all(&mut *self.db)
        .await?;
        let first: HashMap<&str, i64> = found.iter().map(|(number, line)| (number.as_str(), *line)).collect();
        problems.extend(repeated.iter().map(|row| {
            let number = row.account.as_str();
            let line = first.get(number).copied().unwrap_or_default().cast_unsigned();
            Problem::duplicate(row.line, "account_number", number, line)
        }));
        Ok(())
    }

    /// Every connected account that `filter` matches, by id.
    ///
    /// # Errors
    /// [`Refusal::EmptyCohort`], [`Refusal::EveryoneSelected`], [`Refusal::PastDate`].
    pub(super) async fn add_selected(&mut self, filter: &Filter) -> Result<(), Failure> {
        let Members { terms, late, everyone, settings, now } = self.of;
        let (mut after, mut connected) = (0, 0_i64);
        loop {
            let page = within(VERB_LIMIT, selection::page(self.db, after, settings, *now)).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            let mut members = Vec::with_capacity(page.len());
            for account in page.iter().filter(|account| account.is_connected) {
                connected += 1;
                if !filter.matches(&account.candidate()) {
                    continue;
                }
                let date = MemberDate::of(None, terms, *late, account.own_zone, settings, *now)
                    .map_err(|_| self.past_date(account.own_zone))?;
                let number = account.number.as_str();
                members.push(NewMember { number, account: Some(account.id), parent: None, date, reason: None });
            }
            if self.accounts.cast_unsigned() + members.len() as u64 > MEMBERS_MAX {
                return Err(Refusal::CohortTooLarge { max: MEMBERS_MAX }.into());
            }
            within(VERB_LIMIT, self.insert_all(&members)).await?;
            (self.making.progress)(self.accounts.cast_unsigned());
        }
        if self.accounts == 0 {
            return Err(Refusal::EmptyCohort { why: "the filter selects no connected account".into() }.into());
        }
        if self.accounts == connected && !everyone {
            return Err(Refusal::EveryoneSelected { accounts: connected }.into());
        }
        Ok(())
    }

    fn past_date(&self, zone: Option<Tz>) -> Failure {
        let Members { terms, settings, now, .. } = self.of;
        let when = terms.on.as_deref().map(When::parse);
        match when {
            Some(Ok(when)) => {
                let zone = terms.on_zone.or(zone).unwrap_or(settings.company_zone);
                let (due_at, _) = when.resolve(zone, settings.cutoff_time, *now);
                Refusal::PastDate { due_at, now: *now }.into()
            }
            Some(Err(sentence)) => StoreError::Rejected(sentence).into(),
            None => StoreError::Rejected("there is no date".into()).into(),
        }
    }

    /// The connected children of connected members, however deep, behind all others. Each goes at the instant of its
    /// parent, whatever zone it has itself.
    pub(super) async fn add_children(&mut self) -> Result<(), Failure> {
        let mut after = 0;
        while after < self.accounts {
            // What is added stands behind, and comes later.
            let until = self.accounts.min(after + PAGE);
            let found = within(VERB_LIMIT, children(self.db, self.campaign, after, until)).await?;
            after = until;
            let mut members = Vec::with_capacity(found.len());
            for child in &found {
                let planned = Planned { planned_for: child.planned_for.clone(), zone: child.zone.clone() };
                let date = MemberDate { due_at: child.due_at, planned };
                let reason = child.reason.as_deref();
                let (account, parent) = (Some(child.id), Some(child.parent));
                members.push(NewMember { number: &child.number, account, parent, date, reason });
            }
            if self.accounts.cast_unsigned() + members.len() as u64 > MEMBERS_MAX {
                return Err(Refusal::CohortTooLarge { max: MEMBERS_MAX }.into());
            }
            within(VERB_LIMIT, self.insert_all(&members)).await?;
            (self.making.progress)(self.accounts.cast_unsigned());
        }
        Ok(())
    }

    /// Takes the members that are there as if they had been added.
    pub(super) async fn read_again(&mut self) -> Result<(), Failure> {
        loop {
            let page = within(VERB_LIMIT, frozen(self.db, self.campaign, self.accounts)).await?;
            if page.is_empty() {
                return Ok(());
            }
            for (number, due_at, reason) in &page {
                self.hash(number, *due_at, reason.as_deref());
            }
            self.accounts += i64::try_from(page.len()).unwrap_or(i64::MAX);
        }
    }

    async fn insert_all(&mut self, members: &[NewMember<'_>]) -> Result<(), Failure> {
        if members.is_empty() {
            return Ok(());
        }
        let taken = self.insert(members).await?;
        expect_rows("members", members.len(), taken.len() as u64)
    }

    /// Behind those that are there. Answers the positions that were taken, ascending: not that of an account which is a
    /// member already.
    async fn insert(&mut self, members: &[NewMember<'_>]) -> Result<Vec<i64>, Failure> {
        let mut taken: Vec<i64> = sqlx::query_scalar(
            "/* cohort: members */
             insert into campaign_members (campaign_id, position, account_number, account_id, parent_id, due_at,
                                           planned_for, zone, reason)
             select $1, $2 + m.n, m.number, m.account_id, m.parent_id, m.due_at, m.planned_for, m.zone, m.reason
               from unnest($3::text[], $4::bigint[], $5::bigint[], $6::timestamptz[], $7::text[], $8::text[],
                           $9::text[])
                    with ordinality as m (number, account_id, parent_id, due_at, planned_for, zone, reason, n)
              order by m.n
             on conflict (campaign_id, account_number) do nothing
             returning position",
        )
        .bind(self.campaign.0)
        .bind(self.accounts)
        .bind(members.iter().map(|member| member.number).collect::<Vec<_>>())
        .bind(members.iter().map(|member| member.account).collect::<Vec<_>>())
        .bind(members.iter().map(|member| member.parent).collect::<Vec<_>>())
        .bind(members.iter().map(|member| member.date.due_at).collect::<Vec<_>>())
        .bind(members.iter().map(|member| member.date.planned.planned_for.as_deref()).collect::<Vec<_>>())
        .bind(members.iter().map(|member| member.date.planned.zone.as_deref()).collect::<Vec<_>>())
        .bind(members.iter().map(|member| member.reason).collect::<Vec<_>>())
        .fetch_all(&mut *self.db)
        .await?;
        taken.sort_unstable();
        self.accounts += i64::try_from(members.len()).unwrap_or(i64::MAX);
        for member in members {
            self.hash(member.number, member.date.due_at, member.reason);
        }
        Ok(taken)
    }

    fn hash(&mut self, number: &str, due_at: Option<DateTime<Utc>>, reason: Option<&str>) {
        let due_at = due_at.map(|at| at.to_rfc3339_opts(SecondsFormat::Micros, true)).unwrap_or_default();
        for part in [number, &due_at, reason.unwrap_or_default()] {
            self.hash.update(part.as_bytes());
            self.hash.update([0]);
        }
    }
}

/// In which line of the file each member stands: for what is said about one that comes twice.
async fn keep_lines(db: &mut PgConnection) -> Result<(), Failure> {
    sqlx::raw_sql(
        "/* cohort: keep lines */
         create temp table campaign_lines (position bigint not null, line bigint not null) on commit drop",
    )
    .execute(db)
    .await?;
    Ok(())
}

async fn add_lines(db: &mut PgConnection, taken: &[i64], first: i64, list: &[MemberRow]) -> Result<(), Failure> {
    let line = |position: &i64| {
        let row = usize::try_from(position - first).ok().and_then(|n| list.get(n));
        row.map(|row| row.line.cast_signed()).unwrap_or_default()
    };
    sqlx::query(
        "/* cohort: lines */
         insert into campaign_lines (position, line) select * from unnest($1::bigint[], $2::bigint[])",
    )
    .bind(taken)
    .bind(taken.iter().map(line).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// The accounts of a chunk, by number, and their zones.
async fn accounts(db: &mut PgConnection, list: &[MemberRow]) -> Result<HashMap<String, (i64, Option<Tz>)>, Failure> {
    let found: Vec<(String, i64, Option<String>)> =
        sqlx::query_as("/* cohort: accounts */ select number, id, zone from accounts where number = any($1)")
            .bind(list.iter().map(|row| row.account.as_str()).collect::<Vec<_>>())
            .fetch_all(db)
            .await?;
    found.into_iter().map(|(number, id, zone)| Ok((number, (id, rows::zone(zone)?)))).collect()
}

struct Child {
    id: i64,
    number: String,
    /// The parent's account, and what its member has.
    parent: i64,
    due_at: Option<DateTime<Utc>>,
    planned_for: Option<String>,
    zone: Option<String>,
    reason: Option<String>,
}

/// The fields of [`Child`].
type ChildRow = (i64, String, i64, Option<DateTime<Utc>>, Option<String>, Option<String>, Option<String>);

/// Those of members behind position `after`, up to `until`, that are no members yet.
async fn children(db: &mut PgConnection, campaign: CampaignId, after: i64, until: i64) -> Result<Vec<Child>, Failure> {
    let found: Vec<ChildRow> = sqlx::query_as(
        "/* cohort: children */
         select c.id, c.number, m.account_id as parent, m.due_at, m.planned_for, m.zone, m.reason
           from (select position, account_id, due_at, planned_for, zone, reason
                   from campaign_members
                  where campaign_id = $1 and position > $2 and position <= $3 and account_id is not null
                  order by position
                 offset 0) m
          cross join lateral (
                select p.id from accounts p where p.id = m.account_id and p.disconnected_at is null limit 1) p
          cross join lateral (
                select c.id, c.number
                  from accounts c
                 where c.parent_id = p.id and c.disconnected_at is null
                   and (select true from campaign_members k
                         where k.campaign_id = $1 and k.account_number = c.number limit 1) is null
                offset 0) c
          order by m.position, c.number",
    )
    .bind(campaign.0)
    .bind(after)
    .bind(until)
    .fetch_all(db)
    .await?;
    let child = |(id, number, parent, due_at, planned_for, zone, reason)| Child {
        id,
        number,
        parent,
        due_at,
        planned_for,
        zone,
        reason,
    };
    Ok(found.into_iter().map(child).collect())
}

type Frozen = (String, Option<DateTime<Utc>>, Option<String>);

async fn frozen(db: &mut PgConnection, campaign: CampaignId, after: i64) -> Result<Vec<Frozen>, Failure> {
    Ok(sqlx::query_as(
        "/* cohort: read again */
         select account_number, due_at, reason
           from campaign_members
          where campaign_id = $1 and position > $2 and position <= $2 + $3
          order by position",
    )
    .bind(campaign.0)
    .bind(after)
    .bind(PAGE)
    .fetch_all(db)
    .await?)
}
